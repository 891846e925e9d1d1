"""`charrnn corpora` and what belongs to it."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

import charrnn
from charrnn.cli import options

_DETAILS = ("bytes", "licence", "source", "url", "sha256", "file")
_SHOWN = tuple(
    name
    for name in charrnn.CorpusConfig.__dataclass_fields__
    if name != "val_text"  # no part of what is shown
)


def corpora(
    ctx: typer.Context,
    as_json: options.JsonOption = False,
    quiet: options.NamesOption = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also show licences, sizes and addresses.")
    ] = False,
    corpora_dir: options.CorporaDirOption = options.CORPORA_DIR,
) -> None:
    """List the corpora that have a name; look at one, fetch one."""
    if ctx.invoked_subcommand is not None:
        return
    from charrnn.cli import console

    facts = _named(corpora_dir)
    if as_json:
        console.print_json(facts)
    elif quiet:
        console.print_lines(fact["name"] for fact in facts)
    else:
        shown = ("name", "where", "description")
        if not verbose:
            console.print_table(shown, [[fact[column] for column in shown] for fact in facts])
        for fact in facts if verbose else ():
            console.print_facts({key: _cell(fact[key]) for key in (*shown, *_DETAILS)})
            console.print_lines([""])


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
    """Show what a corpus is like.

    Its size, documents, characters, entropy, duplicate lines and split. It is read as charrnn train
    would read it with the same options.
    """
    text = options.resolve(charrnn.CorpusConfig, given, {})
    from charrnn.cli import console

    with console.reading(quiet) as on_progress:
        found, notices = charrnn.survey(
            corpus or (),
            corpus_config=text,
            cache_dir=cache_dir,
            corpora_dir=corpora_dir,
            on_progress=on_progress,
        )
    if not quiet:
        for notice in notices:
            console.say(f"notice: {notice}")
    if as_json:
        console.print_json(asdict(found))
    else:
        console.print_facts(_facts(found))


def fetch(
    name: Annotated[
        str,
        typer.Argument(
            help="The name of a public corpus.",
            autocompletion=options.complete_public_corpus,
            show_default=False,
        ),
    ],
    unverified: Annotated[
        bool,
        typer.Option("--unverified", help="Take what is at the address now, whatever its hash."),
    ] = False,
    corpora_dir: options.CorporaDirOption = options.CORPORA_DIR,
    quiet: options.QuietOption = False,
) -> None:
    """Download a public corpus by its name.

    Its hash is checked where it is known. charrnn train then accepts the name.
    """
    from charrnn.cli import console

    progress = console.Progress(f"fetching {name}", quiet, "B")
    try:
        path = charrnn.fetch(name, corpora_dir, unverified=unverified, on_progress=progress)
    finally:
        progress.close()
    if not quiet:
        known = charrnn.PUBLIC_CORPORA[name].sha256
        checked = "its hash is right" if known and not unverified else "its hash was not checked"
        console.say(f"{path} ({checked}); train on it with: charrnn train {name}")


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all of them.")] = False,
    as_json: options.JsonOption = False,
    cache_dir: options.CacheDirOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """List encoded corpora, or clear them.

    A corpus is encoded once; a second run on the same text, whatever its name, starts at once. The
    cache may be cleared at any time; a run whose text came by a pipe, or is gone, can then no
    longer be resumed.
    """
    from charrnn.cli import console
    from charrnn.render.numbers import size

    if cache_dir is not None and cache_dir.exists() and not cache_dir.is_dir():
        raise charrnn.SettingsError(f"--cache-dir {cache_dir}: is no folder")
    if clear:
        freed = charrnn.clear_cache(cache_dir)
        if not quiet:
            console.say(f"{size(freed, 'B')} are free again")
        return
    folder, found = charrnn.cached_corpora(cache_dir)
    if as_json:
        entries = [{"name": n, "bytes": n_bytes, "used": used} for n, n_bytes, used in found]
        console.print_json({"folder": str(folder), "corpora": entries})
    elif not quiet:
        rows = [
            [name, size(n_bytes, "B"), f"{_local(used):%Y-%m-%d %H:%M}"]
            for name, n_bytes, used in found
        ]
        if rows:
            console.print_table(("corpus", "size", "last used"), rows, right=("size",))
        total = size(sum(n_bytes for _, n_bytes, _ in found), "B")
        console.say(f"encoded corpora in {folder}: {len(found):,}, {total} in all")


def _named(folder: Path) -> list[dict[str, Any]]:
    built_in: list[dict[str, Any]] = [
        {
            "name": c.name, "where": "built in", "description": c.description, "bytes": None,
            "licence": None, "url": None, "source": None, "sha256": None, "file": None,
        }
        for c in charrnn.CORPORA.values()
    ]  # fmt: skip
    public = [
        {
            "name": c.name,
            "where": "fetched" if (folder / c.file).is_file() else "to fetch",
            "description": c.description,
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
    if value is None:
        return "-"
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
        "entropy": f"{entropy} bits per {unit[:-1]} after 0, 1, 2, 3 {unit} before it{part}",
        "lines": f"{found.lines:,}",
        "duplicate lines": f"{found.duplicate_lines:.1%}{part}",
        "split": f"{found.train:,} {unit} to train on, {found.val:,} to validate on",
    }


def _frequencies(listed: list[tuple[str, int]]) -> str:
    shown = [(c if len(c) > 1 else charrnn.shown_character(c), count) for c, count in listed]
    return "  ".join(f"{name} {count:,}" for name, count in shown)
