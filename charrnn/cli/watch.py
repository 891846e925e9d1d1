"""A run as its user watches it: the view of its progress, and Ctrl-C and other signals."""

import functools
import math
import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

import charrnn
from charrnn.cli.flags import with_flags
from charrnn.cli.groups import Verbosity
from charrnn.cli.messages import say
from charrnn.cli.signals import exit_code, heeded, importing

if TYPE_CHECKING:
    from charrnn.render.training import TrainingView


# Seconds within which another signal than Ctrl-C counts once: a system that shuts down sends it to
# each process, and the one that started several passes it on.
SAME_SIGNAL = 1.0


class Interrupt:
    """Remembers that a signal arrived; training asks after each step, and saves before it stops.

    A signal before training has begun, or a second one, ends the program at once; but an import
    is finished first, since SystemExit within one can be swallowed, or crash torch.
    """

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.training = self.finished = False
        self.run = "", ""  # name and folder, once training has begun
        self._since = -math.inf

    def __call__(self) -> bool:
        """Return whether to stop."""
        return self.exit_code is not None

    def observe(self, event: "charrnn.events.Event") -> None:
        """Note when training begins and whether it finishes."""
        if event.kind == "reading" and self.exit_code is not None:
            raise SystemExit(self.exit_code)  # for a signal that came during an import
        if event.kind == "start":
            self.training = True
            self.run = event.run, event.folder
        if event.kind == "end":
            self.finished = event.reason != "interrupted"

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        now = time.monotonic()
        if number != signal.SIGINT and now - self._since < SAME_SIGNAL:
            return
        self._since = now
        leave = not self.training or self.exit_code is not None
        # Set in any case: training stops at once if it begins all the same.
        self.exit_code = exit_code(number)
        if leave and not importing(frame):
            raise SystemExit(self.exit_code)


@contextmanager
def watched(
    talk: Verbosity, checkpoint_dir: Path, *, silent: bool = False
) -> Iterator[dict[str, Any]]:
    """Show a run, and save it if a signal arrives.

    silent: print nothing, because another process of the run does.

    Yields the `observers` and `stop` for charrnn.train or charrnn.resume. If a signal stopped the
    run, the command ends with its exit code.
    """

    def command(run: str, folder: str) -> str:
        return _words_for(run, Path(folder), checkpoint_dir)

    @functools.cache
    def view() -> "TrainingView":  # made at the first event: a usage error imports no rich
        from charrnn.render.training import TrainingView

        return TrainingView(**vars(talk), wording=with_flags, command=command)

    def close() -> None:
        if view.cache_info().currsize:
            view().close()

    interrupt = Interrupt()
    before = {number: signal.signal(number, interrupt.handle) for number in heeded()}
    try:
        observers = [interrupt.observe]
        if not silent:
            observers.append(lambda event: view()(event))
        yield {"observers": tuple(observers), "stop": interrupt}
    except SystemExit:
        close()
        if not talk.quiet and not silent:
            say(
                "stopped at once, without saving; continue from the last checkpoint with: "
                f"charrnn resume {command(*interrupt.run)}"
                if interrupt.training
                else "stopped before training began"
            )
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        close()
    if interrupt.exit_code is not None and not interrupt.finished:
        raise typer.Exit(interrupt.exit_code)


def _words_for(run: str, folder: Path, checkpoint_dir: Path) -> str:
    """Return the words by which another command finds a run."""
    if folder != checkpoint_dir / run:
        return shlex.quote(str(folder))
    if checkpoint_dir == Path(charrnn.CHECKPOINT_DIR):
        return shlex.quote(run)
    return f"{shlex.quote(run)} --checkpoint-dir {shlex.quote(str(checkpoint_dir))}"
