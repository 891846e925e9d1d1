"""Learning curves, drawn into a file by matplotlib or in the terminal by plotext."""

import io
import logging
import math
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.errors import CharrnnError, MissingExtraError
from charrnn.render.numbers import size
from charrnn.render.terminal import harmless, has_colours, takes_unicode

if TYPE_CHECKING:
    from charrnn.runs.compare import Comparison

# Told apart by those who see colours otherwise: Okabe and Ito 2008, without their yellow and sky
# blue, which are faint on paper. The terminal's are near to them in its palette of 256.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")
TERMINAL_COLOURS = (32, 166, 36, 175, 214, 245)
# Fonts that have Chinese and Japanese, on Linux, macOS and Windows; the usual one has not.
CJK_FONTS = (
    "Noto Sans CJK SC",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "Arial Unicode MS",
)
MARKERS = "os^Dv*X"  # of matplotlib; as many as have no divisor in common with the colours
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WITHIN = 8  # runs whose legend has room within the plot
MARKED = 20  # markers of a line
HIGH = 0.9  # share of the training losses that there is room for; the first are far above
PIPED = 80  # columns, where there is no terminal
FEWEST, MOST = 10, 24  # lines
TIMES = ((3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))
TICK = 12  # columns of a tick's label and what parts it from the next
_ASCII = str.maketrans("┌┐└┘├┤┬┴┼─│", "+++++++++-|")

Line = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Run:
    """The curves of a run, and the name by which the legend knows them."""

    name: str
    validation: Line
    train: Line


@dataclass(frozen=True)
class Chart:
    """Curves, at least one, and what their axes are.

    longest: the largest x. low, high: the losses at the bottom and the top.
    """

    runs: Sequence[Run]
    x_label: str
    y_unit: str
    longest: float
    low: float
    high: float


def need(setting: str, module: str) -> None:
    """Raise MissingExtraError if a module that a setting needs is not installed."""
    # matplotlib tells of the fonts that it looks for, and of where it keeps what it found.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        import_module(module)
    except ImportError as error:
        raise MissingExtraError(setting, module.partition(".")[0], "plot") from error
    except ValueError as error:  # matplotlib, where the environment asks it for what it has not
        raise CharrnnError(f"`{setting}`: {str(error).splitlines()[0]}") from error


def check_writable(path: Path) -> None:
    """Raise CharrnnError for a file that cannot be written; what is in it stays."""
    new = not path.exists()
    _write(path, "ab", b"")
    if new:
        path.unlink()


def chart(
    names: Sequence[str],
    rows: "Sequence[Comparison]",
    axis: str,
    notice: Callable[[str], None],
) -> Chart:
    """Return the curves of runs over steps, characters or time.

    notice: told of runs that have none. Raises CharrnnError where no run has any.
    """
    runs, units = [], set()
    for name, row in zip(names, rows, strict=True):
        validation = row.curve.line("validation", axis)  # type: ignore[arg-type]
        train = row.curve.line("train", axis)  # type: ignore[arg-type]
        if validation[0] or train[0]:
            runs.append(Run(_printable(name), validation, train))
            units.add("char" if row.corpus_config is None else row.corpus_config.unit)
        else:
            notice(f"{name}: its log has no loss to draw over {axis}")
    if not runs:
        raise CharrnnError("nothing to draw: no run has a loss in its log")
    unit = "symbol" if len(units) > 1 else "byte" if "byte" in units else "character"
    low, high = _bounds(runs)
    longest = max(x for run in runs for line in (run.validation, run.train) for x in line[0][-1:])
    if axis != "time":
        label = "optimizer steps" if axis == "steps" else f"{unit}s trained on"
        return Chart(runs, label, unit, longest, low, high)
    scale, word = next((s, w) for s, w in TIMES if longest >= 2 * s or s == 1)
    scaled = [_over(run, scale) for run in runs]
    return Chart(scaled, f"training time in {word}", unit, longest / scale, low, high)


def draw(shown: Chart, path: Path) -> None:
    """Draw into a file; its suffix says which kind. Raises CharrnnError where it is unwritable."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.font_manager import get_font_names
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter

    # The same whatever the user's own settings are, which might ask for LaTeX.
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a name in a script without a font
        mpl.rcdefaults()
        fonts = set(get_font_names())
        family = ["DejaVu Sans", *(font for font in CJK_FONTS if font in fonts)]
        mpl.rcParams.update({"svg.hashsalt": "charrnn", "font.family": family})
        figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
        axes = figure.add_subplot()
        handles = []
        for number, run in enumerate(shown.runs):
            colour = COLOURS[number % len(COLOURS)]
            marker = MARKERS[number % len(MARKERS)]
            axes.plot(*run.train, color=colour, linewidth=0.7, alpha=0.6)
            every = math.ceil(len(run.validation[0]) / MARKED) or 1
            style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5}
            axes.plot(*run.validation, linewidth=1.6, markevery=every, **style)
            handles.append(Line2D([], [], linewidth=1.6, **style))
        handles.append(Line2D([], [], color="grey", linewidth=0.7))
        entries = ["run"] * len(handles)
        if len(shown.runs) > WITHIN:
            legend = figure.legend(handles, entries, frameon=False, loc="outside right upper")
        else:
            legend = axes.legend(handles, entries, frameon=False)
        names = [run.name for run in shown.runs]
        for text, name in zip(legend.get_texts(), [*names, "training (means)"], strict=True):
            text.set_parse_math(False)  # a name is no formula
            text.set_text(name)
        axes.set_xlabel(shown.x_label)
        axes.set_ylabel(f"loss in nats per {shown.y_unit}")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size(value)))
        axes.set_xlim(left=0)
        axes.set_ylim(shown.low, shown.high)
        axes.grid(color="0.9", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        kind = path.suffix[1:].lower()
        undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        data = io.BytesIO()
        figure.savefig(data, format=kind, metadata=undated)
    _write(path, "wb", data.getvalue())


def print_chart(shown: Chart) -> None:
    """Draw on stdout, as wide as the terminal; each line ends in the letter of its run.

    Without colours, the lines are made of these letters.
    """
    import plotext

    on_terminal = sys.stdout.isatty()
    coloured = on_terminal and has_colours()
    unicode = takes_unicode(sys.stdout)
    screen = shutil.get_terminal_size()
    width = screen.columns if on_terminal else PIPED
    plotext.terminal.limit(False, False)  # it takes a pipe for as wide as it likes
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, max(FEWEST, min(MOST, screen.lines - len(shown.runs) - 4)))
    letters = [LETTERS[number % len(LETTERS)] for number in range(len(shown.runs))]
    colours: list[Any] = ["default"] * len(letters)
    if coloured:
        colours = [TERMINAL_COLOURS[n % len(TERMINAL_COLOURS)] for n in range(len(letters))]
    parts = list(zip(shown.runs, letters, colours, strict=True))
    for run, _, colour in parts:  # below all that is drawn after it
        _plot(figure, run.train, plotext.marker(".", colour), joined=False)
    for run, letter, colour in parts:
        (xs, losses), symbol = run.validation, "braille" if coloured and unicode else letter
        _plot(figure, run.validation, plotext.marker(symbol, colour), joined=True)
        _plot(figure, (xs[-1:], losses[-1:]), plotext.marker(letter, colour), joined=False)
    ruler = figure.ruler("x")
    ticks = _ticks(shown.longest, max(2, width // TICK))
    ruler.lim(0, shown.longest or 1)
    ruler.ticks(ticks, [size(tick) for tick in ticks])
    figure.ruler("y").lim(shown.low, shown.high)
    drawing = figure.build().string(not coloured)
    sys.stdout.write(f"\nnats per {shown.y_unit}\n")
    sys.stdout.write(drawing.rstrip("\n") if unicode else drawing.translate(_ASCII).rstrip("\n"))
    sys.stdout.write(f"\n{shown.x_label:>{width - 1}}\n")
    for run, letter, colour in parts:
        key = f"\x1b[38;5;{colour}m{letter}\x1b[0m" if coloured else letter
        sys.stdout.write(f"{key}  {run.name}\n")
    sys.stdout.write(".  training, means of some steps\n")


def _plot(figure: Any, line: Line, marker: Any, *, joined: bool) -> None:
    if line[0]:
        figure.draw(figure.signal(*line, marker=marker).lines(joined))


def _ticks(longest: float, most: int) -> list[float]:
    """Return round numbers from 0 to the longest, so many at most."""
    rough = max(longest, 1e-9) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 2.5, 5, 10) if power * digit >= 0.999 * rough)
    return [step * number for number in range(math.floor(longest / step + 1e-9) + 1)]


def _over(run: Run, scale: float) -> Run:
    (xs, losses), (train_xs, train_losses) = run.validation, run.train
    return Run(
        run.name,
        ([x / scale for x in xs], losses),
        ([x / scale for x in train_xs], train_losses),
    )


def _bounds(runs: Sequence[Run]) -> tuple[float, float]:
    """Return the losses at the bottom and the top; the first of training may be above it."""
    validation = [loss for run in runs for loss in run.validation[1]]
    train = sorted(loss for run in runs for loss in run.train[1])
    top = [*validation, *train[: math.ceil(HIGH * len(train))]]
    low, high = min(validation + train), max(top)
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def _printable(name: str) -> str:
    """Return a name as one line that any font, file and terminal can take."""
    name = harmless(name).replace("\n", "\N{SYMBOL FOR LINE FEED}").replace("\t", " ")
    return name.encode("utf-8", "backslashreplace").decode()


def _write(path: Path, mode: str, data: bytes) -> None:
    try:
        with path.open(mode) as file:
            file.write(data)
    except OSError as error:
        raise CharrnnError(f"`plot={path}`: {error.strerror or error}") from error
