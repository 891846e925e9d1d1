"""What a command says on stderr."""

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
