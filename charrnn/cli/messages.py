"""What a command says on stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import typer

from charrnn.cli.flags import with_flags
from charrnn.render.terminal import harmless


def say(message: str) -> None:
    """Write a line to stderr, with flags for settings; if nobody reads it, do nothing."""
    with suppress(OSError):
        typer.echo(harmless(with_flags(message)), err=True)


def notices(quiet: bool) -> Callable[[str], None]:
    """Return a function that shows notices to the user; `quiet`, one that does nothing."""

    def notice(message: str) -> None:
        if not quiet:
            say(f"notice: {message}")

    return notice


def can_ask() -> bool:
    """Return whether there is somebody at a terminal who can read a question and answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def agrees(question: str) -> bool:
    """Ask on the terminal. Only y and yes are a yes; the end of the input is a no."""
    typer.echo(f"{harmless(question)} [y/N] ", err=True, nl=False)
    answer = sys.stdin.buffer.readline().decode(errors="replace")
    if not answer.endswith("\n"):
        typer.echo(err=True)  # Ctrl-D leaves the cursor behind the question
    return answer.strip().lower() in ("y", "yes")


@contextmanager
def library_notices(*, quiet: bool) -> Iterator[None]:
    """If quiet, hide what the library logs, such as that it waits for another process."""
    if not quiet:
        yield
        return
    import logging  # here, since help pages do without it

    logger = logging.getLogger("charrnn")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
