"""`charrnn corpora` and its commands show, fetch and cache."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

import charrnn
from charrnn.cli import options
from charrnn.cli.commands import group
from charrnn.cli.flags import with_flags
from charrnn.cli.messages import notices, say
from charrnn.render.numbers import size
from charrnn.render.terminal import print_json, print_lines

EXAMPLES = """\
See what there is to train on, with sizes, licences and sources:
  charrnn corpora -v

Download a corpus and train on it:
  charrnn corpora fetch tiny-shakespeare
  charrnn train tiny-shakespeare
"""
SHOW_EXAMPLES = """\
See how a text would be read, before training on it:
  charrnn corpora show novel.txt

Count the characters of the Markdown files in a folder:
  charrnn corpora show notes/ --glob '*.md'
"""
FETCH_EXAMPLES = """\
Download a corpus and train on it:
  charrnn corpora fetch tiny-shakespeare
  charrnn train tiny-shakespeare
"""
CACHE_EXAMPLES = """\
See how much disk space encoded corpora use:
  charrnn corpora cache

Free it:
  charrnn corpora cache --clear
"""
_DETAILS = ("bytes", "licence", "source", "url", "sha256", "file")
_SHOWN = tuple(
    name
    for name in charrnn.CorpusConfig.__dataclass_fields__
    if name != "val_text"  # its text would not be shown
)


def corpora(
    ctx: typer.Context,
    as_json: options.JsonOption = False,
    quiet: options.NamesOption = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also show licences, sizes and sources.")
    ] = False,
    corpora_dir: options.CorporaDirOption = options.CORPORA_DIR,
) -> None:
    """List the corpora that charrnn knows by name."""
    if ctx.invoked_subcommand is not None:
        return
    facts = _named(corpora_dir)
    if as_json:
        print_json(facts)
    elif quiet:
        print_lines(fact["name"] for fact in facts)
    else:
        from charrnn.render.tables import print_facts, print_table

        shown = ("name", "where", "description")
        if not verbose:
            print_table(shown, [[fact[column] for column in shown] for fact in facts])
        for fact in facts if verbose else ():
            print_facts({key: _cell(fact[key]) for key in (*shown, *_DETAILS) if fact[key]})
            print_lines([""])


@options.with_settings(charrnn.CorpusConfig, only=_SHOWN)
def show(
    corpus: options.CorpusArgument = None,
    as_json: options.JsonOption = False,
    cache_dir: options.CacheDirOption = None,
    corpora_dir: options.CorporaDirOption = options.CORPORA_DIR,
    quiet: options.QuietOption = False,
    *,
    given: dict[str, Any],
) -> None:
    """Describe a corpus: size, vocabulary, entropy, duplicates, split.

    The text is read as charrnn train would read it with the same options.
    """
    text = options.resolve(charrnn.CorpusConfig, given, {})
    from charrnn.render.bars import reading
    from charrnn.render.tables import print_facts

    with reading(quiet) as on_progress:
        found, remarks = charrnn.survey(
            corpus or (),
            corpus_config=text,
            cache_dir=cache_dir,
            corpora_dir=corpora_dir,
            on_progress=on_progress,
        )
    for remark in remarks:
        notices(quiet)(remark)
    if as_json:
        print_json(asdict(found))
    else:
        print_facts(_facts(found))


def fetch(
    name: Annotated[
        str,
        typer.Argument(
            help="The name of a public corpus; charrnn corpora lists them.",
            autocompletion=options.complete_public_corpus,
            show_default=False,
        ),
    ],
    unverified: Annotated[
        bool,
        typer.Option("--unverified", help="Accept the file whatever its hash is."),
    ] = False,
    corpora_dir: options.CorporaDirOption = options.CORPORA_DIR,
    quiet: options.QuietOption = False,
) -> None:
    """Download a public corpus; charrnn train then accepts its name.

    If the expected hash of the file is known, it is verified.
    """
    from charrnn.render.bars import Progress

    progress = Progress(f"fetching {name}", quiet, "B")
    try:
        path = charrnn.fetch(name, corpora_dir, unverified=unverified, on_progress=progress)
    finally:
        progress.close()
    if not quiet:
        known = charrnn.PUBLIC_CORPORA[name].sha256
        checked = "hash verified" if known and not unverified else "hash not checked"
        say(f"{path} ({checked}); train on it with: charrnn train {name}")


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all encoded corpora.")] = False,
    as_json: options.JsonOption = False,
    cache_dir: options.CacheDirOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """List the cache of encoded corpora, or clear it.

    A corpus is encoded once; later runs on the same text, under whatever name, start at once. It
    is safe to clear the cache, except that a run can no longer be resumed if its text was piped in
    or has been deleted.
    """
    if cache_dir is not None and cache_dir.exists() and not cache_dir.is_dir():
        raise charrnn.SettingsError(f"--cache-dir {cache_dir}: not a folder")
    if clear:
        freed = charrnn.clear_cache(cache_dir)
        if not quiet:
            say(f"cache cleared: {size(freed, 'B')} freed")
        return
    folder, found = charrnn.cached_corpora(cache_dir)
    if as_json:
        entries = [{"name": n, "bytes": n_bytes, "used": used} for n, n_bytes, used in found]
        print_json({"folder": str(folder), "corpora": entries})
    elif not quiet:
        rows = [
            [name, size(n_bytes, "B"), f"{_local(used):%Y-%m-%d %H:%M}"]
            for name, n_bytes, used in found
        ]
        if rows:
            from charrnn.render.tables import print_table

            print_table(("corpus", "size", "last used"), rows, right=("size",))
        total = size(sum(n_bytes for _, n_bytes, _ in found), "B")
        what = "corpus" if len(found) == 1 else "corpora"
        say(f"{len(found):,} encoded {what} in {folder}, {total} in total")


app = group(
    corpora,
    EXAMPLES,
    {
        "show": (show, SHOW_EXAMPLES),
        "fetch": (fetch, FETCH_EXAMPLES),
        "cache": (cache, CACHE_EXAMPLES),
    },
)


def _named(folder: Path) -> list[dict[str, Any]]:
    nothing = dict.fromkeys(("bytes", "licence", "url", "source", "sha256", "file"))
    built_in: list[dict[str, Any]] = [
        {"name": c.name, "where": "built in", "description": with_flags(c.description)} | nothing
        for c in charrnn.CORPORA.values()
    ]
    public = [
        {
            "name": c.name,
            "where": "fetched" if (folder / c.file).is_file() else "to fetch",
            "description": with_flags(c.description),
            "bytes": c.bytes,
            "licence": c.licence,
            "url": c.url,
            "source": c.source,
            "sha256": c.sha256,
            "file": str(folder / c.file),
        }
        for c in charrnn.PUBLIC_CORPORA.values()
    ]
    return built_in + public


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC).astimezone()


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else value


def _facts(found: "charrnn.CorpusStatistics") -> dict[str, str]:
    unit = "characters" if found.unit == "char" else "bytes"
    whole = found.sampled == found.train + found.val
    part = "" if whole else f" (of the first {found.sampled:,} {unit})"
    entropy = ", ".join(f"{value:.3f}" for value in found.entropy)
    return {
        "corpus": found.name,
        "size": f"{found.bytes:,} bytes of UTF-8",
        "characters": f"{found.characters:,}",
        "documents": f"{found.documents:,}",
        "vocabulary": f"{found.vocabulary:,} {unit}",
        "most frequent": _frequencies(found.most_frequent),
        "least frequent": _frequencies(found.least_frequent),
        "entropy": f"{entropy} bits per {unit[:-1]}, given the 0, 1, 2, 3 {unit} before it{part}",
        "lines": f"{found.lines:,}",
        "duplicate lines": f"{found.duplicate_lines:.1%}{part}",
        "split": f"{found.train:,} {unit} for training, {found.val:,} for validation",
    }


def _frequencies(listed: list[tuple[str, int]]) -> str:
    shown = [(c if len(c) > 1 else charrnn.shown_character(c), count) for c, count in listed]
    return "  ".join(f"{name} {count:,}" for name, count in shown)
