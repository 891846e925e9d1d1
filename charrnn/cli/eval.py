"""`charrnn eval`."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import typer

import charrnn
from charrnn import settings
from charrnn.cli import flags, options
from charrnn.cli.commands import single
from charrnn.cli.groups import Computing, Folders, Verbosity, with_groups
from charrnn.cli.memory import check_room_for_torch
from charrnn.cli.messages import notices, say
from charrnn.cli.reports import report_facts
from charrnn.errors import shortened
from charrnn.render.terminal import print_json

EXAMPLES = """\
Score the validation part of the newest run's corpus:
  charrnn eval

Score two texts under a run, with a fresh state every 256 characters:
  charrnn eval novel chapter1.txt chapter2.txt --context 256
"""
_SCORING = "Scoring"  # a section of the help page


@dataclass(frozen=True)
class Scoring:
    """How texts are scored."""

    context: Annotated[
        str,
        typer.Option(
            metavar="carried|N",
            help="Carry the state through the whole text, or start from a fresh one every N "
            "characters.",
            rich_help_panel=_SCORING,
        ),
    ] = "carried"
    generated: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Measure how far a generated text repeats itself or copies the training corpus.",
            autocompletion=options.complete_path,
            show_default=False,
            rich_help_panel=_SCORING,
        ),
    ] = None
    corpus: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="Where the run's corpus is, if it was moved or someone else made the run; with "
            "--generated, a corpus to compare with. Can be repeated.",
            autocompletion=options.complete_corpus,
            show_default=False,
            rich_help_panel=_SCORING,
        ),
    ] = None
    val_text: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Where the run's validation text is, if it has one of its own and was moved.",
            autocompletion=options.complete_path,
            show_default=False,
            rich_help_panel=_SCORING,
        ),
    ] = None
    dynamic: Annotated[
        bool,
        typer.Option(
            "--dynamic",
            help="Let the model learn from each chunk of a text after scoring it. The saved model "
            "does not change.",
            rich_help_panel="Dynamic evaluation",
        ),
    ] = False

    @property
    def block(self) -> int | None:
        """The characters between two fresh states; None to carry the state."""
        if self.context == "carried":
            return None
        number = int(self.context) if self.context.isdecimal() and len(self.context) < 20 else 0
        if not 1 <= number <= settings.LARGEST:
            raise charrnn.SettingsError(
                f"--context {shortened(self.context)}: must be carried, or a number of at least 1"
            )
        return number

    def learning(self, given: Mapping[str, Any]) -> "charrnn.DynamicConfig | None":
        """Return the settings of dynamic evaluation, None without it. Raises SettingsError."""
        config = options.resolve(charrnn.DynamicConfig, dict(given), {})
        if not self.dynamic:
            for field in dataclasses.fields(config):
                if field.name in given:
                    raise charrnn.SettingsError(f"{flags.flag(field.name)} needs --dynamic")
            return None
        if self.block is not None:
            raise charrnn.SettingsError(
                f"--dynamic and --context {self.context}: choose one; --dynamic carries the state"
            )
        if self.generated is not None:
            raise charrnn.SettingsError("--dynamic and --generated: choose one")
        return config


@with_groups(folders=Folders, computing=Computing, talk=Verbosity)
@options.with_settings(charrnn.DynamicConfig)
@options.with_settings(charrnn.CorpusConfig, only=("encoding", "errors"), default="the run's own")
@with_groups(scoring=Scoring)
def evaluate(
    model: options.ModelArgument = None,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            help="Texts to score one by one: anything that train accepts, read as the run's corpus "
            "was. [default: the validation part of the run's corpus]",
            autocompletion=options.complete_path,
            show_default=False,
        ),
    ] = None,
    unknown: options.UnknownOption = "error",
    as_json: options.JsonOption = False,
    checkpoint: options.CheckpointOption = None,
    *,
    scoring: Scoring,
    folders: Folders,
    computing: Computing,
    talk: Verbosity,
    given: dict[str, Any],
) -> None:
    """Score texts: nats, bits and perplexity per character.

    The first character of a text is read, not predicted, unless the model was trained on documents
    or lines; it then predicts the first character as well.
    """
    options.check_choice("--unknown", unknown, options.UNKNOWN)
    if scoring.generated is not None and texts:
        raise charrnn.SettingsError("--generated and TEXT: choose one")
    if scoring.corpus and texts and not scoring.dynamic:
        raise charrnn.SettingsError("--corpus and TEXT: choose one, or add --dynamic")
    block, learning = scoring.block, scoring.learning(given)
    options.resolve(charrnn.CorpusConfig, given, {})  # report an unknown encoding early
    if learning is not None:
        check_room_for_torch()
    loaded = options.load(model, checkpoint, folders.checkpoint_dir, talk.quiet)
    if talk.verbose and not talk.quiet:
        say(f"{loaded.path}, context {scoring.context}")
    config = options.resolve(charrnn.CorpusConfig, given, {}, base=loaded.corpus_config)
    how: dict[str, Any] = {"context": block, "dynamic": learning, "unknown": unknown}
    how["corpus"] = () if scoring.generated else scoring.corpus or ()
    how["val_text"] = scoring.val_text
    how |= {"cache_dir": folders.cache_dir, "corpora_dir": folders.corpora_dir, **vars(computing)}

    def scored(source: str | None) -> tuple[str, str | None, charrnn.Evaluation]:
        return _scored(loaded, source, config, how, talk.quiet)

    if scoring.generated is None:
        results = [(name, score) for name, _, score in map(scored, texts or (None,))]
        context = "dynamic" if learning else block or "carried"
        _print(results, context=context, as_json=as_json)
        return
    name, text, score = scored(scoring.generated)
    report = loaded.report(
        text or "",
        score.bits_per_char,
        corpus=scoring.corpus or (),
        cache_dir=folders.cache_dir,
        corpora_dir=folders.corpora_dir,
    )
    if as_json:
        print_json({"text": name} | dataclasses.asdict(report))
    else:
        from charrnn.render.tables import print_facts

        print_facts(report_facts(report))


app = single(evaluate, EXAMPLES)


def _scored(
    model: "charrnn.Model",
    source: str | None,
    config: "charrnn.CorpusConfig",
    how: Mapping[str, Any],
    quiet: bool,
) -> "tuple[str, str | None, charrnn.Evaluation]":
    """Read and score a text; None is the validation part of the run. Returns its name, too."""
    from charrnn.render.bars import Progress

    notice = notices(quiet)
    name, text = source or "validation", None
    if source is not None:
        text = charrnn.read_text(source, config, corpora_dir=how["corpora_dir"], notice=notice)
    progress: dict[str, Any] = {
        "on_progress": Progress(name, quiet),
        "on_gradients": Progress("gradients", quiet),
    }
    with _named(name):
        score = model.evaluate(
            text, **how, **progress, notice=lambda message: notice(f"{name}: {message}")
        )
    return name, text, score


@contextmanager
def _named(text: str) -> Iterator[None]:
    """Put the name of a text before errors about it."""
    try:
        yield
    except (charrnn.UnknownCharacterError, charrnn.CorpusError) as error:
        if text in str(error):
            raise
        raise charrnn.CharrnnError(f"{text}: {error}") from error


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
