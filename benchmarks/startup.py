"""How long help, completion and usage errors take, against a bare `import typer`.

Times whole processes, in turn. The median over the rounds of each ratio should be at most 2.

    python benchmarks/startup.py
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

from common import machine

ROUNDS = 15
CHARRNN = [sys.executable, "-c", "from charrnn.__main__ import main; main()"]
COMPLETE = {
    "_CHARRNN_COMPLETE": "complete_bash",
    "COMP_WORDS": "charrnn sample ",
    "COMP_CWORD": "2",
}
COMMANDS: dict[str, tuple[list[str], dict[str, str]]] = {
    "import typer": ([sys.executable, "-c", "import typer"], {}),
    "charrnn --help": ([*CHARRNN, "--help"], {}),
    "charrnn train --help": ([*CHARRNN, "train", "--help"], {}),
    "completion of MODEL": (CHARRNN, COMPLETE),
    "completion of CORPUS": (CHARRNN, COMPLETE | {"COMP_WORDS": "charrnn train "}),
    "usage error: no such option": ([*CHARRNN, "train", "--sizes", "3"], {}),
    "usage error: out of bounds": ([*CHARRNN, "train", "--hidden-size", "0"], {}),
    "import torch": ([sys.executable, "-c", "import torch"], {}),
}


def main() -> None:
    """Time all commands in turn, and print a line for each."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            for name, (command, environment) in COMMANDS.items():
                began = time.perf_counter()
                subprocess.run(
                    command,
                    env=os.environ | environment,
                    capture_output=True,
                    cwd=folder,
                    check=False,
                )
                seconds[name].append(time.perf_counter() - began)
    print(machine())
    base = seconds["import typer"]
    for name, times in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(times, base, strict=True))
        print(f"{name:28} {1000 * statistics.median(times):6.0f} ms  {ratio:5.2f} x import typer")


if __name__ == "__main__":
    main()
