"""The signals that end a command, and its exit code then."""

import signal
from types import FrameType


def heeded() -> list[int]:
    """Return the signals that end a command: Ctrl-C, SIGTERM, and SIGHUP on systems that have it.

    A signal that is ignored stays ignored: nohup and shells want the program to survive it.
    """
    numbers = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    return [n for n in numbers if n is not None and signal.getsignal(n) is not signal.SIG_IGN]


def exit_code(number: int) -> int:
    """Return 130 for Ctrl-C and 143 for the others; SIGHUP counts as SIGTERM."""
    return 128 + (signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)


def importing(frame: FrameType | None) -> bool:
    """Return whether a module is being imported, which may swallow SystemExit or crash on it."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
