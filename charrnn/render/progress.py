"""The progress bar of `charrnn.train(progress=True)`, for notebooks and plain terminals."""

import math
import shutil
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from charrnn.render.live import LiveFigures
from charrnn.render.numbers import size
from charrnn.render.terminal import harmless, takes_unicode
from charrnn.render.wording import (
    WORTH_A_BAR,
    best_line,
    end_line,
    evaluation_line,
    fitted,
    model_line,
    verdict_line,
)
from charrnn.training import events

_REFRESH_SECONDS = 0.2
_STEPS = 1000  # how finely the bar shows progress
_MIN_BAR = 10  # columns of a terminal
_NOTEBOOK_COLUMNS = 100


class ProgressBar:
    """An observer with one bar for the run and a line for each evaluation.

    The bar shows the loss, the best validation loss, the speed and the time left: as a widget in a
    notebook that has ipywidgets, else as text. If stderr is neither a terminal nor a notebook's,
    there are lines and no bar. tqdm is imported when the first event arrives.
    """

    def __init__(self) -> None:
        self._notebook = _in_notebook()
        # A notebook shows stderr as if everything on it were an error.
        self._stream = sys.stdout if self._notebook else sys.stderr
        self._bar: Any = None
        self._reading: str | None = None  # what of the corpus the bar shows
        self._started: events.StartEvent | None = None
        self._figures = LiveFigures(_REFRESH_SECONDS)
        self._best: float | None = None

    def __call__(self, event: events.Event) -> None:
        """Show an event."""
        match event:
            case events.ReadingEvent():
                self._read(event)
            case events.StartEvent():
                self.close()
                self._started = event
                self._write(f"{event.run}: {model_line(event)}")
                self._open(total=_STEPS, bar_format="{percentage:3.0f}%|{bar}|{desc}")
            case events.StepEvent() if math.isfinite(event.loss):
                self._step(event)
            case events.EvaluationEvent():
                self._best = event.val_loss if event.best else self._best
                self._write(evaluation_line(event) + ("  best" if event.best else ""))
            case events.WarningEvent():
                self._write(f"notice: {event.message}")
            case events.EndEvent():
                self._end(event)

    def close(self) -> None:
        """Stop the bar, in case the run ended without an end event."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _open(self, **options: Any) -> None:
        bar = _tqdm()
        self._bar = bar(
            file=self._stream,
            disable=not self._notebook and not self._stream.isatty(),
            dynamic_ncols=True,
            ascii=not takes_unicode(self._stream),
            **options,
        )

    def _write(self, line: str) -> None:
        _tqdm().write(harmless(line), file=self._stream)

    def _read(self, event: events.ReadingEvent) -> None:
        if event.total < WORTH_A_BAR:
            return
        if self._bar is None or self._reading != event.what:
            self.close()
            self._reading = event.what
            label = f"{event.what} the corpus"
            self._open(total=event.total, desc=label, unit="B", unit_scale=True, leave=False)
        self._bar.update(event.done - self._bar.n)

    def _step(self, event: events.StepEvent) -> None:
        assert self._started is not None
        assert self._bar is not None
        now = self._figures.step(event, self._started.training["eval_every"])
        if now is not None:
            self._bar.n = round(_STEPS * event.progress)
            self._describe(now)

    def _describe(self, now: str) -> None:
        assert self._started is not None
        loss, speed = self._figures.loss, self._figures.speed
        parts = (
            " started" if loss is None else f" loss {loss:.3f}",
            "" if self._best is None else f"best validation {self._best:.3f}",
            "" if speed is None else f"{size(speed)} {self._started.unit}/s",
            now,
        )
        columns = _NOTEBOOK_COLUMNS if self._notebook else shutil.get_terminal_size().columns
        room = columns - len("100%||") - _MIN_BAR
        self._bar.set_description_str(fitted(parts, "  ", room))

    def _end(self, event: events.EndEvent) -> None:
        assert self._started is not None
        interrupted = event.reason == "interrupted"
        if self._bar is not None and not interrupted:
            self._bar.n = _STEPS  # patience may have ended the run early
            self._describe("")
        self.close()
        self._write(f"{'stopped' if interrupted else 'finished'}: {end_line(event)}")
        if event.best_loss is not None:
            self._write(f"best: {best_line(event, self._started.unit)}")
        if event.verdict is not None:
            line = verdict_line(event.verdict, event.step, self._resume, _as_argument)
            self._write(f"verdict: {line}")

    def _resume(self, arguments: Sequence[str]) -> str:
        """Return the call that resumes the run with other settings."""
        assert self._started is not None
        return f"charrnn.resume({self._started.folder!r}, {', '.join(arguments)})"


def _as_argument(message: str) -> str:
    """Show the settings that a message names in backticks as arguments of a call."""
    return message.replace("`", "")


def _in_notebook() -> bool:
    """Whether this process is a notebook's kernel, and has not merely imported ipykernel."""
    kernel = sys.modules.get("ipykernel.kernelapp")
    return kernel is not None and bool(kernel.IPKernelApp.initialized())


def _tqdm() -> Any:
    """Return tqdm's class for a notebook or for a terminal."""
    with warnings.catch_warnings():  # one says that ipywidgets is missing; text will do
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    return tqdm
