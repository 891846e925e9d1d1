"""A run under the eyes of a user: its view, and Ctrl-C and its relatives."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import typer

import charrnn
from charrnn.cli.signals import exit_code, heeded


class Interrupt:
    """Turns a signal into a wish to stop, which training asks for after each step.

    Before training has begun there is nothing to save, and a second signal means it: both leave
    at once.
    """

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.training = self.finished = False

    def __call__(self) -> bool:
        """Return whether to stop."""
        return self.exit_code is not None

    def observe(self, event: "charrnn.events.Event") -> None:
        """Follow the run's events, to know when training begins."""
        if event.kind == "start":
            self.training = True
        if event.kind == "end":
            self.finished = event.reason != "interrupted"

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        leave = not self.training or self.exit_code is not None
        # Kept in any case: an import may swallow the exit, and training then stops at once.
        self.exit_code = exit_code(number)
        if leave:
            raise SystemExit(self.exit_code)


@contextmanager
def watched(*, quiet: bool, verbose: bool, checkpoint_dir: Path) -> Iterator[dict[str, Any]]:
    """Show a run and heed signals while it goes on.

    Yields the `observers` and `stop` for charrnn.train or charrnn.resume. Ends the command with the
    signal's exit code where one stopped the run.
    """
    from charrnn.cli.console import TrainingView, say

    view, interrupt = TrainingView(quiet, verbose, checkpoint_dir), Interrupt()
    before = {number: signal.signal(number, interrupt.handle) for number in heeded()}
    try:
        yield {"observers": (interrupt.observe, view), "stop": interrupt}
    except SystemExit:
        view.close()
        if not quiet:
            say(
                "left at once; what was saved before is sound: charrnn resume"
                if interrupt.training
                else "stopped before training began"
            )
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        view.close()
    if interrupt.exit_code is not None and not interrupt.finished:
        raise typer.Exit(interrupt.exit_code)
