"""The program's beginning: `charrnn`, and `python -m charrnn`."""

import os
import signal
from types import FrameType

from charrnn.cli.signals import exit_code, heeded


def main() -> None:
    """Run the command line.

    A signal ends it as an exit, from the first moment on, so that what is half made is cleaned up
    and no traceback is shown. Training has its own way.
    """
    for number in heeded():
        signal.signal(number, _leave)
    try:
        from charrnn.cli import app

        app.main()
    finally:  # it is leaving: a second signal changes nothing about that
        for number in heeded():
            signal.signal(number, signal.SIG_IGN)


def _leave(number: int, frame: FrameType | None) -> None:
    if _importing(frame):  # where an exit may be caught, or turned into another error
        os._exit(exit_code(number))
    raise SystemExit(exit_code(number))


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being loaded, in which nothing is half made but the module."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


if __name__ == "__main__":
    main()
