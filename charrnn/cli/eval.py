"""`charrnn eval`."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

import charrnn
from charrnn.cli import flags, options
from charrnn.cli.commands import single
from charrnn.cli.messages import notices, say
from charrnn.cli.reports import report_facts
from charrnn.render.terminal import print_json

EXAMPLES = """\
Score the validation part of the newest run's corpus:
  charrnn eval

Score two texts under a run, with a fresh state every 256 characters:
  charrnn eval novel chapter1.txt chapter2.txt --context 256
"""


@options.with_settings(charrnn.DynamicConfig)
@options.with_settings(charrnn.CorpusConfig, only=("encoding", "errors"), default="the run's own")
def evaluate(
    model: options.ModelArgument = None,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXT]...",
            help="Texts to score one by one: anything that train accepts, read as the run's corpus "
            "was. [default: the validation part of the run's corpus]",
            autocompletion=options.complete_path,
            show_default=False,
        ),
    ] = None,
    context: Annotated[
        str,
        typer.Option(
            metavar="carried|N",
            help="Carry the state through the whole text, or start from a fresh one every N "
            "characters.",
        ),
    ] = "carried",
    dynamic: Annotated[
        bool,
        typer.Option(
            "--dynamic",
            help="Let the model learn from each chunk of a text after scoring it. The saved model "
            "does not change.",
            rich_help_panel="Dynamic evaluation",
        ),
    ] = False,
    generated: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Measure how far a generated text repeats itself or copies the training corpus.",
            autocompletion=options.complete_path,
            show_default=False,
        ),
    ] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="With --generated: compare with this corpus instead of the one of the run; can be "
            "repeated.",
            autocompletion=options.complete_corpus,
            show_default=False,
        ),
    ] = None,
    unknown: options.UnknownOption = "error",
    as_json: options.JsonOption = False,
    checkpoint: options.CheckpointOption = None,
    checkpoint_dir: options.CheckpointDirOption = options.CHECKPOINT_DIR,
    cache_dir: options.CacheDirOption = None,
    corpora_dir: options.CorporaDirOption = options.CORPORA_DIR,
    device: options.DeviceOption = "auto",
    threads: options.ThreadsOption = None,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
    *,
    given: dict[str, Any],
) -> None:
    """Score texts: nats, bits and perplexity per character.

    The first character of a text is read, not predicted, unless the model knows what texts begin
    after.
    """
    options.check_choice("--unknown", unknown, options.UNKNOWN)
    if generated is not None and texts:
        raise charrnn.SettingsError("--generated and TEXT: choose one")
    if corpus and generated is None:
        raise charrnn.SettingsError("--corpus needs --generated")
    block = _context(context)
    learning = _learning(dynamic, given, context=block, generated=generated)
    options.resolve(charrnn.CorpusConfig, given, {})  # report an unknown encoding early
    loaded = options.load(model, checkpoint, checkpoint_dir, quiet)
    from charrnn.render.bars import Progress

    if verbose and not quiet:
        say(f"{loaded.path}, context {context}")
    encoded = options.resolve(charrnn.CorpusConfig, given, {}, base=loaded.corpus_config)

    notice = notices(quiet)
    results: list[tuple[str, charrnn.Evaluation]] = []
    for source in texts or (generated,):
        name, text = "validation", None
        if source is not None:
            name = source
            text = charrnn.read_text(source, encoded, corpora_dir=corpora_dir, notice=notice)
        with _named(name):
            score = loaded.evaluate(
                text,
                context=block,
                dynamic=learning,
                unknown=unknown,  # type: ignore[arg-type]
                device=device,
                threads=threads,
                cache_dir=cache_dir,
                corpora_dir=corpora_dir,
                on_progress=Progress(name, quiet),
                on_gradients=Progress("gradients", quiet),
            )
        results.append((name, score))
    if generated is None:
        _print(results, context="dynamic" if learning else block or "carried", as_json=as_json)
        return
    report = loaded.report(
        text or "",
        score.bits_per_char,
        corpus=corpus or (),
        cache_dir=cache_dir,
        corpora_dir=corpora_dir,
    )
    if as_json:
        print_json({"text": generated} | dataclasses.asdict(report))
    else:
        from charrnn.render.tables import print_facts

        print_facts(report_facts(report))


app = single(evaluate, EXAMPLES)


@contextmanager
def _named(text: str) -> Iterator[None]:
    """Put the name of a text before errors about it."""
    try:
        yield
    except (charrnn.UnknownCharacterError, charrnn.CorpusError) as error:
        if text in str(error):
            raise
        raise charrnn.CharrnnError(f"{text}: {error}") from error


def _context(context: str) -> int | None:
    if context == "carried":
        return None
    if not context.isdecimal() or int(context) == 0:
        raise charrnn.SettingsError(
            f"--context {context}: carried, or a number of characters above 0"
        )
    return int(context)


def _learning(
    dynamic: bool, given: dict[str, Any], *, context: int | None, generated: str | None
) -> "charrnn.DynamicConfig | None":
    config = options.resolve(charrnn.DynamicConfig, given, {})
    if not dynamic:
        for field in dataclasses.fields(config):
            if field.name in given:
                raise charrnn.SettingsError(f"{flags.flag(field.name)} needs --dynamic")
        return None
    if context is not None:
        raise charrnn.SettingsError(
            f"--dynamic and --context {context}: choose one; --dynamic carries the state"
        )
    if generated is not None:
        raise charrnn.SettingsError("--dynamic and --generated: choose one")
    return config


def _print(
    results: "list[tuple[str, charrnn.Evaluation]]", *, context: str | int, as_json: bool
) -> None:
    if as_json:
        objects = [
            {"text": name} | dataclasses.asdict(e) | {"context": context} for name, e in results
        ]
        print_json(objects[0] if len(objects) == 1 else objects)
        return
    columns = ("text", "context", "nats/char", "bits/char", "bits/byte", "perplexity", "characters")
    rows: list[list[Any]] = [
        [
            name,
            str(context),
            f"{e.nats_per_char:.4f}",
            f"{e.bits_per_char:.4f}",
            f"{e.bits_per_byte:.4f}",
            f"{e.perplexity:.4f}",
            f"{e.characters:,}",
        ]
        for name, e in results
    ]
    from charrnn.render.tables import print_rows

    print_rows(columns, rows, right=columns[2:])
