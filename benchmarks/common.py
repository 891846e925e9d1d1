"""What the benchmarks share: the text they read, and how they name the machine."""

import os
import platform
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FETCHED = ROOT / "corpora" / "tiny-shakespeare.txt"
FETCH = "charrnn corpora fetch tiny-shakespeare"


def shakespeare(path: Path | None = None) -> Path:
    """Return the path of tiny Shakespeare: the given one, the first argument or the fetched file.

    Ends the program if there is no such file.
    """
    path = path or (Path(sys.argv[1]) if len(sys.argv) > 1 else FETCHED)
    if not path.is_file():
        sys.exit(f"{path}: no such file; in {ROOT}, run: {FETCH}")
    return path


def machine() -> str:
    """Describe the machine in one line."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
