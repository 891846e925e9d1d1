"""The entry point of `charrnn` and `python -m charrnn`."""

import os
import signal
from types import FrameType

from charrnn.cli.signals import exit_code, heeded


def main() -> None:
    """Run the command line.

    From the start, a signal raises SystemExit, so that unfinished files are cleaned up and no
    traceback is shown. Training handles signals itself.
    """
    for number in heeded():
        signal.signal(number, _leave)
    try:
        from charrnn.cli import app

        app.main()
    finally:  # the program is ending: ignore a second signal
        for number in heeded():
            signal.signal(number, signal.SIG_IGN)


def _leave(number: int, frame: FrameType | None) -> None:
    if _importing(frame):  # the import might catch SystemExit, or turn it into another error
        os._exit(exit_code(number))
    raise SystemExit(exit_code(number))


def _importing(frame: FrameType | None) -> bool:
    """Return whether a module is being imported; then there are no unfinished files."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


if __name__ == "__main__":
    main()
