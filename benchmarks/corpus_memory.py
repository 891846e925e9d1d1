"""Peak memory of encoding and training on a corpus of 2 GB, against the same training on 1 MB.

Makes both corpora, runs `charrnn train` on each in a process of its own, and reads its peak
resident set. Needs about 5 GB of disk space while it runs.

    python benchmarks/corpus_memory.py [MEGABYTES]
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import machine

CORPORA = Path(__file__).parents[1] / "corpora"
TRAIN = [
    sys.executable, "-m", "charrnn", "train", "--quiet", "--steps", "300", "--hidden-size", "64",
    "--threads", "1",
]  # fmt: skip


def write_corpus(path: Path, megabytes: int) -> None:
    """Write paragraphs of the English, Russian and Chinese books in random order."""
    rng = np.random.default_rng(0)
    texts = [p.read_text(encoding="utf-8") for p in sorted(CORPORA.glob("*.txt"))]
    paragraphs = [f"{part}\n\n".encode() for text in texts for part in text.split("\n\n")]
    with path.open("wb") as file:
        while file.tell() < megabytes * 1_000_000:
            order = rng.permutation(len(paragraphs))
            file.write(b"".join(paragraphs[i] for i in order))


def peak_megabytes(corpus: Path, folder: Path, *options: str) -> float:
    """Train on a corpus; returns the peak resident set of the process in megabytes."""
    process = subprocess.Popen(
        [*TRAIN, str(corpus), "--cache-dir", str(folder / "cache"), *options], cwd=folder
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"charrnn train ended with {process.returncode}")
    return usage.ru_maxrss * 1024 / 1e6  # kibibytes on Linux


def main() -> None:
    """Print the peak of each run, and the difference."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, large = folder / "small.txt", folder / "large.txt"
        write_corpus(small, 1)
        write_corpus(large, megabytes)
        base = peak_megabytes(small, folder)
        print(f"1 MB: {base:.0f} MB at its peak")
        for what in ("encoded first", "from the cache"):
            peak = peak_megabytes(large, folder)
            print(f"{megabytes:,} MB, {what}: {peak:.0f} MB, {peak - base:.0f} MB more")


if __name__ == "__main__":
    main()
