"""How fast a corpus is encoded, end to end: in megabytes of UTF-8 a second, and against numpy.

The plain pass starts with the whole text in memory: UTF-32 by str.encode, one look-up in a table of
ids, one conversion to the smallest type. It reads no file, and neither counts, hashes nor stores.
Both run in turn in one thread.

    python benchmarks/encoding.py
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import machine

from charrnn.catalog.corpora import Catalog
from charrnn.text.config import CorpusConfig
from charrnn.text.encoded import encode_corpus

CORPORA = Path(__file__).parents[1] / "corpora"
TEXTS = {"English": "ferry-book.txt", "Chinese": "shan-zhen-shou-ji.txt"}
BYTES = 64_000_000
ROUNDS = 5


def long_text(path: Path) -> str:
    """Return BYTES of UTF-8 text, made of a file's paragraphs in random order."""
    rng = np.random.default_rng(0)
    paragraphs = path.read_text(encoding="utf-8").split("\n\n")
    parts, size = [], 0
    while size < BYTES:
        parts.append(paragraphs[rng.integers(len(paragraphs))])
        size += len(parts[-1].encode()) + 2
    return "\n\n".join(parts)


def plain_pass(text: str, table: np.ndarray, kind: type) -> None:
    """Turn a text into ids, and do nothing else."""
    codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    table[codes].astype(kind)


def seconds(work: Callable[[], object]) -> float:
    """Time a piece of work."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Print a line for each language."""
    print(machine())
    for name, source in TEXTS.items():
        text = long_text(CORPORA / source)
        symbols = sorted(set(text))
        table = np.zeros(0x110000, dtype=np.int32)
        table[[ord(s) for s in symbols]] = np.arange(len(symbols))
        kind = np.uint8 if len(symbols) <= 256 else np.uint16
        megabytes = len(text.encode()) / 1e6
        encoding, plain, again = [], [], []
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "text.txt")
                path.write_text(text, encoding="utf-8")
                work = lambda path=path: encode_corpus(  # noqa: E731
                    (str(path),), CorpusConfig(), Catalog(), cache_dir=path.parent / "cache"
                )
                encoding.append(seconds(work))
                again.append(seconds(work))
            plain.append(seconds(lambda: plain_pass(text, table, kind)))  # noqa: B023
        ratio = statistics.median(a / b for a, b in zip(encoding, plain, strict=True))
        print(
            f"{name}: {megabytes / statistics.median(encoding):.0f} MB/s, {ratio:.2f} x the plain "
            f"pass ({megabytes / statistics.median(plain):.0f} MB/s); from the cache "
            f"{megabytes / statistics.median(again):.0f} MB/s"
        )


if __name__ == "__main__":
    main()
