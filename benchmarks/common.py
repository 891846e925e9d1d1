"""What the benchmarks share: the text they read, and how they name the machine."""

import os
import platform
import sys
from pathlib import Path

SHAKESPEARE = Path(__file__).parents[2] / "shared" / "data" / "tinyshakespeare.txt"


def shakespeare() -> Path:
    """Return the path of tiny Shakespeare, or end with the reason why there is none."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else SHAKESPEARE
    if not path.is_file():
        print(f"skipped: {path} is not there; give the path of tinyshakespeare.txt")
        sys.exit(0)
    return path


def machine() -> str:
    """Name the machine in a line."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
