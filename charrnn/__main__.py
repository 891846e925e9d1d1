"""The entry point of `charrnn` and `python -m charrnn`."""

import os
import sys
from types import FrameType

try:  # importing signal alone takes milliseconds in which Ctrl-C would end in a traceback
    import signal

    from charrnn.cli.signals import exit_code, heeded, importing
except KeyboardInterrupt:
    raise SystemExit(130) from None


def main() -> None:
    """Run the command line.

    From the start, a signal raises SystemExit, so that unfinished files are cleaned up and no
    traceback is shown. Training handles signals itself. If a library cannot be loaded, or there is
    too little memory to load charrnn itself, the error has one line, too.
    """
    try:
        for number in heeded():
            signal.signal(number, _leave)
        from charrnn.cli import app

        app.main()
    except (ImportError, MemoryError, OSError) as error:
        sys.stderr.write(f"error: {_reason(error)}\n")
        raise SystemExit(1) from None
    except KeyboardInterrupt:  # it came before its handler was set
        raise SystemExit(exit_code(signal.SIGINT)) from None
    finally:  # the program is ending: ignore a second signal
        for number in heeded():
            signal.signal(number, signal.SIG_IGN)


def _reason(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "out of memory; close other programs, or raise the limit (ulimit -v)"
    while isinstance(error.__cause__, ImportError):  # numpy wraps it in pages of advice
        error = error.__cause__
    return f"a library cannot be loaded: {error}".partition("\n")[0]


def _leave(number: int, frame: FrameType | None) -> None:
    if importing(frame):  # the import might catch SystemExit, or turn it into another error
        os._exit(exit_code(number))
    raise SystemExit(exit_code(number))


if __name__ == "__main__":
    main()
