"""`charrnn compare`."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

import charrnn
from charrnn import settings
from charrnn.cli import options
from charrnn.cli.commands import single
from charrnn.cli.groups import Computing, Folders, with_groups
from charrnn.cli.messages import notices, say
from charrnn.errors import DISTRIBUTION
from charrnn.render.terminal import print_json

EXAMPLES = """\
Compare two runs and draw their learning curves in the terminal:
  charrnn compare novel novel-gru --terminal

Save the curves of all runs over training time:
  charrnn compare --plot curves.svg --x time

Score two runs on their whole validation parts:
  charrnn compare novel novel-gru --eval
"""
AXES = ("steps", "characters", "time")
CONTEXT = 256  # characters
_SCORES, _CURVES = "Scores", "Learning curves"
FIGURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Curves:
    """Where to draw learning curves, and over what."""

    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png|svg|pdf",
            help=f"Save the learning curves as a figure. Needs {DISTRIBUTION}[plot].",
            autocompletion=options.complete_path,
            show_default=False,
            rich_help_panel=_CURVES,
        ),
    ] = None
    terminal: Annotated[
        bool,
        typer.Option(
            "--terminal",
            help=f"Draw the learning curves below the table. Needs {DISTRIBUTION}[plot].",
            rich_help_panel=_CURVES,
        ),
    ] = False
    x: Annotated[
        str,
        typer.Option(
            "--x",
            metavar="|".join(AXES),
            help="The horizontal axis of the curves.",
            rich_help_panel=_CURVES,
        ),
    ] = "characters"

    def check(self) -> None:
        """Raise CharrnnError, before any work, if the curves cannot be drawn."""
        options.check_choice("--x", self.x, AXES)
        if self.plot is not None and self.plot.suffix.lower() not in FIGURES:
            raise charrnn.SettingsError(f"--plot {self.plot}: must end in {', '.join(FIGURES)}")
        if self.plot is not None or self.terminal:
            from charrnn.render import plots

            if self.terminal:
                plots.need("terminal", "plotext")
            if self.plot is not None:
                plots.need("plot", "matplotlib.figure")
                plots.check_writable(self.plot)

    def draw(
        self, names: Sequence[str], rows: "Sequence[charrnn.Comparison]", *, quiet: bool
    ) -> None:
        """Draw the curves of runs, if that was asked for."""
        if self.plot is None and not self.terminal:
            return
        from charrnn.render import plots
        from charrnn.render.chart import chart

        drawn = chart(names, rows, self.x, notices(quiet))
        if self.terminal:
            plots.print_chart(drawn)
        if self.plot is not None:
            plots.draw(drawn, self.plot)
            if not quiet:
                say(f"curves saved in {self.plot}")


@with_groups(curves=Curves, folders=Folders, computing=Computing)
def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Names or folders of runs. [default: all runs, the newest first]",
            autocompletion=options.complete_model,
            show_default=False,
        ),
    ] = None,
    evaluate: Annotated[
        bool | None,
        typer.Option(
            "--eval/--no-eval",
            help="Score each run on its whole validation part, which takes a while, instead of "
            "showing the validation loss that training logged. [default: no-eval]",
            show_default=False,
            rich_help_panel=_SCORES,
        ),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=settings.LARGEST,
            help="Start from a fresh state every N characters for the second pair of scores. "
            f"Implies --eval. [default: {CONTEXT}]",
            show_default=False,
            rich_help_panel=_SCORES,
        ),
    ] = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    *,
    curves: Curves,
    folders: Folders,
    computing: Computing,
) -> None:
    """Compare runs: what each cost and what loss it reached.

    Everything comes from logs and manifests, so the answer is there at once. The losses are those
    of the best checkpoint that training logged, on up to a million characters at its end.

    With --eval, they are nats and bits per character of the best checkpoint on the whole validation
    part: with the state carried through the text, and with a fresh state every N characters.
    """
    scored = context is not None if evaluate is None else evaluate
    context = CONTEXT if context is None else context
    if as_json and curves.terminal:
        raise charrnn.SettingsError("--json and --terminal: choose one")
    curves.check()
    from charrnn.render.bars import bars

    with bars(quiet) as show:
        rows = charrnn.compare(
            runs or (),
            evaluate=scored,
            context=context,
            notice=notices(quiet),
            on_progress=show,
            **vars(folders),
            **vars(computing),
        )
    names = _names(rows)
    if as_json:
        print_json([_facts(row, context) for row in rows])
    elif rows:
        print_table(names, rows, context, logged=not scored)
    else:
        say(f"no runs in {folders.checkpoint_dir}; start one with: charrnn train")
    if not scored and "byte" in _units(rows):
        notices(quiet)("the logged figures of byte models are per byte")
    if evaluate is None and not scored and rows and not as_json:
        _hint(quiet)
    curves.draw(names, rows, quiet=quiet)


app = single(compare, EXAMPLES)


def print_table(
    names: Sequence[str], rows: "Sequence[charrnn.Comparison]", context: int, *, logged: bool
) -> None:
    """Print a row for each run. logged: show the losses of training, not those of a score."""
    from charrnn.render.tables import print_rows

    columns = ["run", "model", "params", _seen(rows), "time", "best step"]
    columns += _figures(context, logged=logged)
    cells = [_row(name, row, logged=logged) for name, row in zip(names, rows, strict=True)]
    print_rows(columns, cells, right=columns[2:])


def _hint(quiet: bool) -> None:
    """Tell somebody who reads the table in a terminal that there are better figures."""
    if sys.stdout.isatty() and sys.stderr.isatty():
        notices(quiet)(
            "these losses were logged in training; --eval scores the whole validation part"
        )


def _names(rows: "Sequence[charrnn.Comparison]") -> list[str]:
    """Return the names of runs, or their folders if two share a name."""
    names = [row.name for row in rows]
    return [
        name if names.count(name) == 1 else str(row.run.path)
        for name, row in zip(names, rows, strict=True)
    ]


def _units(rows: "Sequence[charrnn.Comparison]") -> set[str]:
    return {row.corpus_config.unit for row in rows if row.corpus_config is not None}


def _seen(rows: "Sequence[charrnn.Comparison]") -> str:
    units = _units(rows)
    return "symbols" if len(units) > 1 else "bytes" if "byte" in units else "chars"


def _figures(context: int, *, logged: bool) -> list[str]:
    ways = ("logged in training",) if logged else ("carried", f"fresh {context}")
    return [f"{unit} {way}" for way in ways for unit in ("nats", "bits")]


def _row(name: str, row: "charrnn.Comparison", *, logged: bool) -> list[str]:
    from charrnn.render.numbers import bits, duration, size

    model = row.model
    scores = (row.carried, row.fresh)
    nats = [None if score is None else score.nats_per_char for score in scores]
    if logged:
        nats = [row.val_loss]
    return [
        name,
        "-" if model is None else f"{model.cell} {model.num_layers}x{model.hidden_size}",
        _shown(row.parameters, size),
        _shown(row.symbols, size),
        _shown(row.seconds, duration),
        _shown(row.best_step, "{:,}".format),
        *(
            "-" if value is None else f"{figure(value):.4f}"
            for value in nats
            for figure in (float, bits)
        ),
    ]


def _shown(value: Any, show: Callable[[Any], str]) -> str:
    return "-" if value is None else show(value)


def _facts(row: "charrnn.Comparison", context: int) -> dict[str, Any]:
    return {
        "run": row.name,
        "folder": str(row.run.path),
        "corpus": row.corpus and row.corpus.name,
        "unit": row.corpus_config and row.corpus_config.unit,
        "model": row.model and dataclasses.asdict(row.model),
        "parameters": row.parameters,
        "steps": row.steps,
        "symbols": row.symbols,
        "seconds": row.seconds,
        "best_step": row.best_step,
        "logged_val_loss": row.val_loss,
        "logged_val_symbols": row.val_symbols,
        "carried": row.carried and dataclasses.asdict(row.carried),
        "fresh": row.fresh and {"context": context, **dataclasses.asdict(row.fresh)},
        "problem": row.problem,
    }
