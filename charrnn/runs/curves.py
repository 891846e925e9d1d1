"""The learning curves of a run, read from its log."""

import bisect
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from charrnn.settings import LARGEST
from charrnn.training.events import log_lines

Axis = Literal["steps", "characters", "time"]

MAX_BINS = 256  # points of a training curve; each is the mean of the steps around it
MAX_POINTS = 512  # of a validation curve
_MOST = 1_000_000  # lanes, or time steps of a chunk
_HIGHEST = 1e30  # what a loss or a time may be, either side of 0
_BROKEN = (ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class Point:
    """A loss, in nats per symbol, and where in the run it was measured.

    symbols: those trained on by then, lanes x time steps x steps. seconds: training time. Both are
    None if the log does not say.
    """

    step: int
    symbols: int | None
    seconds: float | None
    loss: float

    def at(self, axis: Axis) -> float | None:
        """Return where the point lies on an axis; time is in seconds."""
        if axis == "steps":
            return self.step
        return self.symbols if axis == "characters" else self.seconds


@dataclass(frozen=True)
class Stretch:
    """Steps of a run with chunks of the same size. symbols: those trained on before them."""

    step: int
    symbols: int
    per_step: int

    def seen(self, step: int) -> int:
        """Return the symbols trained on by a step."""
        return self.symbols + (step - self.step) * self.per_step


@dataclass(frozen=True)
class FullLoss:
    """The loss of the checkpoint at a step on so many symbols, more than in its evaluation."""

    step: int
    loss: float
    symbols: int


@dataclass(frozen=True)
class Curve:
    """The losses of a run, each step once: if the run went back, the later ones count.

    train: means over as many steps as keep the points below MAX_BINS. stretches: in order of their
    steps. parameters: of the model. evaluated: the symbols of the last evaluation. full: the loss
    of the best checkpoint at the end of the run. Empty or None if the log does not say. ended:
    whether the run has reached a limit, and may have been continued since. skipped: the steps
    without a usable gradient since it last started.
    """

    validation: tuple[Point, ...] = ()
    train: tuple[Point, ...] = ()
    stretches: tuple[Stretch, ...] = ()
    parameters: int | None = None
    evaluated: int | None = None
    full: FullLoss | None = None
    ended: bool = False
    skipped: int = 0

    def seen(self, step: int) -> int | None:
        """Return the symbols that the run was trained on by a step."""
        return _seen(self.stretches, step)

    def line(
        self, losses: Literal["validation", "train"], axis: Axis
    ) -> tuple[list[float], list[float]]:
        """Return a curve as ascending places on an axis and the losses there."""
        xs: list[float] = []
        ys: list[float] = []
        for point in self.validation if losses == "validation" else self.train:
            x = point.at(axis)
            if x is not None and (not xs or x > xs[-1]):
                xs.append(x)
                ys.append(point.loss)
        return xs, ys


def read_curve(log: Path) -> Curve:
    """Read the curves of a log.jsonl, once and line by line.

    Lines that are damaged or of another program are skipped. Raises OSError if the log cannot be
    read.
    """
    reader = _Reader()
    if log.exists() and not log.is_file():  # opening a pipe might wait forever
        raise OSError(f"{log}: not a file")
    with log.open("rb") as file:
        for line in log_lines(file):
            try:
                reader.take(json.loads(line))
            except (*_BROKEN, RecursionError):
                continue
    return reader.curve()


@dataclass
class _Bin:
    """The mean loss of some consecutive steps; `last` is the last of them."""

    last: int
    symbols: int | None
    seconds: float | None
    total: float
    count: int

    def point(self) -> Point:
        return Point(self.last, self.symbols, self.seconds, self.total / self.count)


@dataclass
class _Reader:
    """Takes events in order, and forgets the steps that a run repeats after going back."""

    parameters: int | None = None
    width: int = 1  # steps of a bin
    bins: list[_Bin] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    evaluated: int | None = None
    full: FullLoss | None = None
    ended: bool = False
    skipped: int = 0

    def take(self, event: dict[str, Any]) -> None:
        """Take an event, or raise one of _BROKEN if it is malformed."""
        kind = event.get("event")
        if kind == "end":
            self._end(event)
        if kind not in ("start", "step", "evaluation"):
            return
        step = _whole(event["step"], LARGEST)
        if kind == "start":
            sizes = [_whole(event[key], _MOST) for key in ("batch_size", "seq_length")]
            parameters = _whole(event["parameters"], LARGEST)
            self._start(step, sizes[0] * sizes[1])
            self.parameters = parameters
            return
        loss = event["loss" if kind == "step" else "val_loss"]
        loss = None if loss is None else _finite(loss)
        if kind == "step":
            self._forget(step)
            self.skipped += loss is None or event.get("grad_norm", 0) is None
            if loss is not None:
                self._add(step, _seconds(event), loss)
            return
        while self.points and self.points[-1].step >= step:
            self.points.pop()
        if loss is not None:
            self.points.append(Point(step, _seen(self.stretches, step), _seconds(event), loss))
        symbols = event.get("symbols")  # earlier versions did not log it
        self.evaluated = None if symbols is None else _whole(symbols, LARGEST)

    def curve(self) -> Curve:
        """Return the curve of the events so far."""
        return Curve(
            tuple(_thinned(self.points)),
            tuple(b.point() for b in self.bins),
            tuple(self.stretches),
            self.parameters,
            self.evaluated,
            self.full,
            self.ended,
            self.skipped,
        )

    def _start(self, step: int, per_step: int) -> None:
        self._forget(step + 1)
        self.skipped = 0
        before = _seen(self.stretches, step)
        while self.stretches and self.stretches[-1].step >= step:
            self.stretches.pop()
        # Steps from before the log began are assumed to have been like its first ones.
        symbols = step * per_step if before is None else before
        self.stretches.append(Stretch(step, symbols, per_step))

    def _end(self, event: dict[str, Any]) -> None:
        self.ended |= event.get("reason") != "interrupted"
        if event.get("full_loss") is not None:
            step, symbols = (_whole(event[key], LARGEST) for key in ("best_step", "full_symbols"))
            self.full = FullLoss(step, _finite(event["full_loss"]), symbols)

    def _forget(self, step: int) -> None:
        """Forget a step and those after it, which are repeated."""
        if self.full is not None and self.full.step >= step:
            self.full = None
        while self.bins and self.bins[-1].last >= step:
            self.bins.pop()
        while self.points and self.points[-1].step >= step:
            self.points.pop()

    def _add(self, step: int, seconds: float | None, loss: float) -> None:
        last = self.bins[-1] if self.bins else None
        if last is not None and last.count < self.width:
            last.last, last.symbols, last.seconds = step, _seen(self.stretches, step), seconds
            last.total += loss
            last.count += 1
            return
        if len(self.bins) == MAX_BINS:
            self.width *= 2
            pairs = zip(self.bins[::2], self.bins[1::2], strict=True)
            self.bins = [_merged(first, second) for first, second in pairs]
        self.bins.append(_Bin(step, _seen(self.stretches, step), seconds, loss, 1))


def _seen(stretches: Sequence[Stretch], step: int) -> int | None:
    place = bisect.bisect_right(stretches, step, key=lambda stretch: stretch.step)
    return stretches[place - 1].seen(step) if place else None


def _merged(first: _Bin, second: _Bin) -> _Bin:
    return replace(second, total=first.total + second.total, count=first.count + second.count)


def _thinned(points: list[Point]) -> list[Point]:
    """Return at most MAX_POINTS of the points, including the first and the last."""
    if len(points) <= MAX_POINTS:
        return points
    stride = (len(points) - 1) / (MAX_POINTS - 1)
    return [points[round(i * stride)] for i in range(MAX_POINTS)]


def _whole(value: Any, largest: int) -> int:
    if type(value) is not int or not 0 <= value <= largest:
        raise ValueError("not such a number")
    return value


def _finite(value: Any) -> float:
    """Return a number as a float. Raises ValueError for anything else or too large to draw."""
    if type(value) not in (int, float) or not -_HIGHEST <= value <= _HIGHEST:
        raise ValueError("not such a number")
    return float(value)


def _seconds(event: dict[str, Any]) -> float | None:
    try:
        return _finite(event.get("seconds"))
    except ValueError:
        return None
