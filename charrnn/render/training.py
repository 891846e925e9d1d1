"""A training run in the terminal: a summary, a live bar, a line per evaluation, and the result."""

import math
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from rich.console import Console
from rich.text import Text
from tqdm import tqdm

from charrnn.render.bars import reading
from charrnn.render.live import LiveFigures
from charrnn.render.numbers import bits, size
from charrnn.render.tables import print_facts, print_unbroken, standard_error
from charrnn.render.terminal import harmless, silence, takes_unicode
from charrnn.render.wording import (
    best_line,
    end_line,
    evaluation_line,
    fitted,
    run_facts,
    verdict_line,
)
from charrnn.training import events

REFRESH_SECONDS = 0.1
BAR_STEPS = 1000  # how finely the bar shows progress
WIDE, MIN_BAR = 100, 4  # columns


class TrainingView:
    """An observer that shows a run on stderr.

    If stderr is not a terminal, the bar is left out. quiet: show nothing at all. verbose: also show
    every setting and every checkpoint.
    wording: turns a message that names settings in backticks into what the user reads.
    command: the name by which other commands find a run, given its name and folder.
    """

    def __init__(
        self,
        *,
        quiet: bool,
        verbose: bool,
        wording: Callable[[str], str] = str,
        command: Callable[[str, str], str] = lambda _run, folder: folder,
    ) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._wording = wording
        self._command = command
        self._output = standard_error()
        self._bar: Any = None
        self._figures = LiveFigures(REFRESH_SECONDS)
        self._started: events.StartEvent | None = None
        self._bars = ExitStack()
        self._reading = self._bars.enter_context(reading(quiet))

    def __call__(self, event: events.Event) -> None:
        """Show an event. If the terminal or the pipe is gone, the run continues unseen."""
        if self._quiet:
            return
        try:
            self._show(event)
        except OSError:
            self._quiet = True
            with suppress(OSError):
                silence(sys.stderr)

    def close(self) -> None:
        """Remove the bars, in case the run ended without an end event."""
        self._bars.close()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show(self, event: events.Event) -> None:
        match event:
            case events.ReadingEvent():
                self._reading(event.what, event.done, event.total)
            case events.StartEvent():
                self._start(event)
            case events.StepEvent():
                self._step(event)
            case events.EvaluationEvent():
                best = "  best" if event.best else ""
                self._print(Text(evaluation_line(event)).append(best, style="green"))
            case events.SampleEvent():
                self._print(_sample_block(event.text, self._output))
            case events.CheckpointEvent() if self._verbose:
                self._print(Text(f"saved {harmless(event.path)}", style="dim"))
            case events.WarningEvent():
                message = harmless(self._wording(event.message))
                self._print(Text(f"notice: {message}", style="yellow"))
            case events.EndEvent():
                self._end(event)

    def _print(self, text: Text) -> None:
        with tqdm.external_write_mode(file=sys.stderr):
            self._output.print(text)

    def _start(self, event: events.StartEvent) -> None:
        self._started = event
        facts = run_facts(event)
        print_facts(facts, self._output)
        if event.chosen:
            chosen = " ".join(self._wording(f"`{k}={v}`") for k, v in event.chosen.items())
            print_unbroken({"chosen": chosen}, self._output, max(map(len, facts)))
        if self._verbose:
            settings = event.model | event.training
            shown = {k.replace("_", "-"): str(v) for k, v in settings.items() if v is not None}
            print_facts(shown, self._output)
        self._output.print()
        if self._output.is_terminal:
            self._bar = tqdm(
                total=BAR_STEPS,
                file=sys.stderr,
                bar_format="{percentage:3.0f}%|{bar}|{desc}",
                dynamic_ncols=True,
                leave=False,
                ascii=not takes_unicode(sys.stderr),
            )

    def _step(self, event: events.StepEvent) -> None:
        if self._bar is None or self._started is None or not math.isfinite(event.loss):
            return
        now = self._figures.step(event, self._started.training["eval_every"])
        if now is None:
            return
        loss, speed = self._figures.loss, self._figures.speed
        assert loss is not None
        assert speed is not None
        self._bar.n = round(self._bar.total * event.progress)
        width = self._output.width
        parts = (
            f" {event.step:,}",
            f"loss {loss:.3f}",
            f"{bits(loss):.2f} bits",
            f"{size(speed)}/s",
            now,
            f"lr {event.learning_rate:.1e}".replace("e-0", "e-"),
            f"grad {event.grad_norm:.2f}",
        )
        gap = " " if width < WIDE else "  "
        self._bar.set_description_str(fitted(parts, gap, width - len("100%||") - MIN_BAR))

    def _end(self, event: events.EndEvent) -> None:
        self.close()
        assert self._started is not None
        interrupted = event.reason == "interrupted"
        facts = {"stopped" if interrupted else "finished": end_line(event)}
        if event.reason == "patience":
            evaluations = self._wording("`patience`")
            facts["because"] = f"no better validation loss in {evaluations} evaluations"
        if event.best_loss is not None:
            facts["best"] = best_line(event, self._started.unit)
        facts["saved in"] = self._started.folder
        run = self._command(self._started.run, self._started.folder)
        if event.verdict is not None:
            facts["verdict"] = verdict_line(
                event.verdict,
                event.step,
                lambda flags: f"charrnn resume {run} {' '.join(flags)}",
                self._wording,
            )
        if interrupted:
            facts["continue"] = f"charrnn resume {run}"
        facts["try"] = f"charrnn sample {run} --temperature 0.8"
        self._output.print()
        print_unbroken(facts, self._output)


def _sample_block(text: str, console: Console) -> Text:
    """Set a sample off by a margin; long lines are folded."""
    margin = "  │ "
    lines = Text(harmless(text)).wrap(console, max(console.width - len(margin), 1), overflow="fold")
    return Text("\n".join(margin + line.plain for line in lines), style="dim")
