"""Draw docs/train.svg: `charrnn train` in a terminal, from a real run.

Runs the command in a terminal of 80 columns until the bar has reached 80%, then draws the screen
with rich.

    python benchmarks/picture.py [tinyshakespeare.txt]
"""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from common import shakespeare
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

COLUMNS, LINES = 80, 40
PICTURE = Path(__file__).parents[1] / "docs" / "train.svg"
COMMAND = ["train", "shakespeare.txt", "--minutes", "2", "--eval-every", "400"]
STOP_AT = 80  # percent


def watch(folder: str) -> str:
    """Run the command in a terminal; returns all it showed up to STOP_AT."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "charrnn", *COMMAND],
        stdin=slave, stdout=slave, stderr=slave, cwd=folder, start_new_session=True,
        env=os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"},
    )  # fmt: skip
    os.close(slave)
    shown = b""
    while True:
        shown += os.read(master, 65536)
        bars = re.findall(rb"(\d+)%\|", shown)
        if bars and int(bars[-1]) >= STOP_AT and b"left" in shown[-200:]:
            break
    process.send_signal(signal.SIGTERM)
    while process.poll() is None:
        try:
            os.read(master, 65536)
        except OSError:  # the other end is closed
            break
    process.wait()
    return shown.decode(errors="ignore")


def screen(shown: str) -> list[str]:
    """Return the lines that remain visible: text after \\r replaces the line."""
    lines = []
    for line in shown.replace("\r\n", "\n").split("\n"):
        parts = [part for part in line.split("\r") if part.strip()]
        lines.append(parts[-1] if parts else "")
    return lines


def main() -> None:
    """Run the command, and draw its screen."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "shakespeare.txt").symlink_to(shakespeare().resolve())
        lines = screen(watch(folder))
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(Text("$ charrnn " + " ".join(COMMAND), style="bold"))
    for line in lines:
        console.print(Text.from_ansi(line), soft_wrap=False)
    console.save_svg(str(PICTURE), title="charrnn", theme=MONOKAI)
    print(f"wrote {PICTURE} ({len(lines)} lines)")


if __name__ == "__main__":
    main()
