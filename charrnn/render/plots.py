"""Learning curves, drawn by matplotlib into a file or by plotext in the terminal."""

import io
import logging
import math
import shutil
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

from charrnn.errors import CharrnnError, MissingExtraError
from charrnn.render.chart import Chart, Line, ticks
from charrnn.render.numbers import size
from charrnn.render.terminal import has_colours, takes_unicode

# Safe for colour-blind readers: Okabe and Ito 2008, without their yellow and sky blue, which are
# faint on paper. The terminal's are the nearest of its 256 colours.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")
TERMINAL_COLOURS = (32, 166, 36, 175, 214, 245)
# Fonts with Chinese and Japanese on Linux, macOS and Windows; the default font has neither.
CJK_FONTS = (
    "Noto Sans CJK SC",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "Arial Unicode MS",
)
MARKERS = "os^Dv*X"  # seven, so that six colours and the markers combine in 42 ways
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WITHIN = 8  # runs whose legend fits inside the plot
MARKED = 20  # markers per line, at most
PIPED = 80  # columns, if stdout is not a terminal
FEWEST, MOST = 10, 24  # lines
TICK = 12  # columns of a tick's label and the gap to the next
_ASCII = str.maketrans("┌┐└┘├┤┬┴┼─│", "+++++++++-|")


def need(setting: str, module: str) -> None:
    """Raise MissingExtraError if a module that a setting needs is not installed."""
    # matplotlib logs which fonts it searches and where it caches them.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        import_module(module)
    except ImportError as error:
        raise MissingExtraError(setting, module.partition(".")[0], "plot") from error
    except ValueError as error:  # MPLBACKEND names what matplotlib does not have
        raise CharrnnError(f"`{setting}`: {str(error).splitlines()[0]}") from error


def check_writable(path: Path) -> None:
    """Raise CharrnnError if a file cannot be written; do not change its contents."""
    new = not path.exists()
    _write(path, "ab", b"")
    if new:
        path.unlink()


def draw(shown: Chart, path: Path) -> None:
    """Draw into a file in the format of its suffix. Raises CharrnnError if it cannot be written."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.font_manager import get_font_names
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter

    # The user's own settings would change the figure, or require LaTeX.
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # no font has all its characters
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
            text.set_parse_math(False)  # a $ in a name does not begin a formula
            text.set_text(name)
        axes.set_xlabel(shown.x_label)
        axes.set_ylabel(f"loss in nats per {shown.y_unit}")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size(value)))
        axes.set_xlim(shown.first, shown.last + 0.02 * (shown.last - shown.first))
        axes.set_ylim(shown.low, shown.high)
        axes.grid(color="0.9", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        kind = path.suffix[1:].lower()
        undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        data = io.BytesIO()
        figure.savefig(data, format=kind, metadata=undated)
    _write(path, "wb", data.getvalue())


def print_chart(shown: Chart) -> None:
    """Draw on stdout, as wide as the terminal. Each line ends in the letter of its run.

    Without colours, the lines consist of these letters.
    """
    import plotext

    on_terminal = sys.stdout.isatty()
    coloured = on_terminal and has_colours()
    unicode = takes_unicode(sys.stdout)
    screen = shutil.get_terminal_size()
    width = screen.columns if on_terminal else PIPED
    plotext.terminal.limit(False, False)  # it would guess the width of a pipe
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, max(FEWEST, min(MOST, screen.lines - len(shown.runs) - 4)))
    letters = [LETTERS[number % len(LETTERS)] for number in range(len(shown.runs))]
    colours: list[Any] = ["default"] * len(letters)
    if coloured:
        colours = [TERMINAL_COLOURS[n % len(TERMINAL_COLOURS)] for n in range(len(letters))]
    parts = list(zip(shown.runs, letters, colours, strict=True))
    for run, _, colour in parts:  # first, so that the validation curves cover it
        _plot(figure, run.train, plotext.marker(".", colour), joined=False)
    for run, letter, colour in parts:
        (xs, losses), symbol = run.validation, "braille" if coloured and unicode else letter
        _plot(figure, run.validation, plotext.marker(symbol, colour), joined=True)
        _plot(figure, (xs[-1:], losses[-1:]), plotext.marker(letter, colour), joined=False)
    ruler = figure.ruler("x")
    ruler.lim(shown.first, shown.last)
    places = ticks(shown.first, shown.last, max(2, width // TICK))
    ruler.ticks(places, [size(place) for place in places])
    figure.ruler("y").lim(shown.low, shown.high)
    drawing = figure.build().string(not coloured)
    sys.stdout.write(f"\nnats per {shown.y_unit}\n")
    sys.stdout.write(drawing.rstrip("\n") if unicode else drawing.translate(_ASCII).rstrip("\n"))
    sys.stdout.write(f"\n{shown.x_label:>{width - 1}}\n")
    for run, letter, colour in parts:
        key = f"\x1b[38;5;{colour}m{letter}\x1b[0m" if coloured else letter
        sys.stdout.write(f"{key}  {run.name}\n")
    sys.stdout.write(".  training, mean of several steps\n")


def _plot(figure: Any, line: Line, marker: Any, *, joined: bool) -> None:
    if line[0]:
        figure.draw(figure.signal(*line, marker=marker).lines(joined))


def _write(path: Path, mode: str, data: bytes) -> None:
    try:
        with path.open(mode) as file:
            file.write(data)
    except OSError as error:
        raise CharrnnError(f"`plot={path}`: {error.strerror or error}") from error
