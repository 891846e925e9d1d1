"""Learning curves as data: what charrnn.render.plots draws."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from charrnn.errors import CharrnnError
from charrnn.render.terminal import harmless

if TYPE_CHECKING:
    from charrnn.runs.compare import Comparison

_SHOWN_SHARE = 0.9  # of the training losses; the first are far above the others
_TIMES = ((3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))

Line = tuple[list[float], list[float]]  # x values in ascending order, and the losses there


@dataclass(frozen=True)
class Run:
    """The curves of a run, and its name in the legend."""

    name: str
    validation: Line
    train: Line


@dataclass(frozen=True)
class Chart:
    """The curves of at least one run.

    first, last: the ends of the horizontal axis, where the earliest curve begins and the latest
    ends; first is less than last. low, high: the losses at the bottom and the top.
    """

    runs: Sequence[Run]
    x_label: str
    y_unit: str
    first: float
    last: float
    low: float
    high: float


def chart(
    names: Sequence[str],
    rows: "Sequence[Comparison]",
    axis: str,
    notice: Callable[[str], None],
) -> Chart:
    """Return the curves of runs over steps, characters or time.

    notice: called for each run that has no curve. Raises CharrnnError if no run has one.
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
    scale, label = 1.0, "optimizer steps" if axis == "steps" else f"{unit}s trained on"
    if axis == "time":
        longest = max(x for run in runs for x in _all_x(run))
        scale, word = next((s, w) for s, w in _TIMES if longest >= 2 * s or s == 1)
        label = f"training time in {word}"
    scaled = [_over(run, scale) for run in runs]
    every_x = [x for run in scaled for x in _all_x(run)]
    first, last = min(every_x), max(every_x)
    if first == last:  # a single point has no width
        first, last = 0.0, last or 1.0
    low, high = _bounds(runs)
    return Chart(scaled, label, unit, first, last, low, high)


def ticks(first: float, last: float, most: int) -> list[float]:
    """Return at most so many round numbers between the ends of an axis."""
    rough = max(last - first, 1e-9) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 2.5, 5, 10) if power * digit >= 0.999 * rough)
    numbers = range(math.ceil(first / step - 1e-9), math.floor(last / step + 1e-9) + 1)
    return [step * number for number in numbers] or [last]


def _all_x(run: Run) -> list[float]:
    return [*run.validation[0], *run.train[0]]


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
    top = [*validation, *train[: math.ceil(_SHOWN_SHARE * len(train))]]
    low, high = min(validation + train), max(top)
    margin = 0.04 * (high - low) or 0.5
    return max(low - margin, min(low, 0.0)), high + margin


def _printable(name: str) -> str:
    """Return a name as one line that any font, file and terminal can take."""
    name = harmless(name).replace("\n", "\N{SYMBOL FOR LINE FEED}").replace("\t", " ")
    return name.encode("utf-8", "backslashreplace").decode()
