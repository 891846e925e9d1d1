"""What the benchmarks share: the text they read, how they name the machine, and their records."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FETCHED = ROOT / "corpora" / "tiny-shakespeare.txt"
FETCH = "charrnn corpora fetch tiny-shakespeare"
RESULTS = ROOT / "docs" / "research" / "results.md"


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


def charrnn(*arguments: object) -> str:
    """Run `charrnn ...`; returns its stdout."""
    command = [sys.executable, "-m", "charrnn", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read records, a JSON object a line; none if there is no such file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def add_record(path: Path, record: dict[str, Any]) -> None:
    """Append a record to a file, and print it."""
    print(json.dumps(record), flush=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def put_table(marks: tuple[str, str], table: str) -> None:
    """Replace the table between two marks in docs/research/results.md."""
    before, _, rest = RESULTS.read_text(encoding="utf-8").partition(marks[0])
    after = rest.partition(marks[1])[2]
    RESULTS.write_text(before + marks[0] + table + marks[1] + after, encoding="utf-8")
