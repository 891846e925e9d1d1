"""The program's beginning: `charrnn`, and `python -m charrnn`."""

import signal
from types import FrameType


def main() -> None:
    """Run the command line.

    A signal ends it as an exit, from the first moment on, so that what is half made is cleaned up
    and no traceback is shown: 130 for Ctrl-C, 143 for SIGTERM and SIGHUP. Training has its own way.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # One that is ignored stays so: nohup and shells want a program to survive it.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    from charrnn.cli import app

    app.main()


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + (signal.SIGINT if number == signal.SIGINT else signal.SIGTERM))


if __name__ == "__main__":
    main()
