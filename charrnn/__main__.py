"""The program's beginning: `charrnn`, and `python -m charrnn`."""

import signal
from types import FrameType

from charrnn.signals import exit_code, heeded


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


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(exit_code(number))


if __name__ == "__main__":
    main()
