"""Statistics of a corpus, to look at before training."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.text.encoded import EncodedCorpus
from charrnn.text.vocabulary import Vocabulary

SAMPLED = 5_000_000  # symbols to compute entropies and duplicate lines from
ORDERS = 4
LISTED = 10  # characters to list as the most and as the least frequent


@dataclass(frozen=True)
class CorpusStatistics:
    """Statistics of a corpus, including its separate validation text if it has one.

    bytes: its size in UTF-8. vocabulary: the number of symbols.
    most_frequent, least_frequent: characters (bytes) and how often they occur.
    entropy: bits per symbol for orders 0 to 3, see `entropies`. duplicate_lines: the share of
    non-blank lines that repeat an earlier one. Both are computed from the first `sampled`
    characters (bytes).
    train, val: the number of characters (bytes) in each part.
    """

    name: str
    bytes: int
    characters: int
    documents: int
    unit: str
    vocabulary: int
    most_frequent: list[tuple[str, int]]
    least_frequent: list[tuple[str, int]]
    entropy: list[float]
    lines: int
    duplicate_lines: float
    sampled: int
    train: int
    val: int


def statistics(corpus: EncodedCorpus) -> CorpusStatistics:
    """Compute the statistics of a corpus."""
    found = np.flatnonzero(corpus.counts)
    order = found[np.argsort(-corpus.counts[found], kind="stable")]
    listed = [(_name(code, corpus.vocabulary), int(corpus.counts[code])) for code in order]
    ids = np.concatenate(
        [corpus.train[:SAMPLED], corpus.val[: max(SAMPLED - len(corpus.train), 0)]]
    )
    lines = [line for line in corpus.vocabulary.shown(ids).split("\n") if line.strip()]
    return CorpusStatistics(
        name=corpus.name,
        bytes=_utf8_bytes(corpus),
        characters=corpus.characters,
        documents=corpus.documents,
        unit=corpus.vocabulary.unit,
        vocabulary=len(corpus.vocabulary),
        most_frequent=listed[:LISTED],
        least_frequent=listed[: -LISTED - 1 : -1],
        entropy=entropies(ids, ORDERS),
        lines=int(corpus.counts[ord("\n")]),
        duplicate_lines=1 - len(set(lines)) / len(lines) if lines else 0.0,
        sampled=len(ids),
        train=len(corpus.train),
        val=len(corpus.val),
    )


def entropies(ids: npt.NDArray[np.int64], orders: int) -> list[float]:
    """Return the entropy of a symbol given the k before it, in bits, for k = 0 .. orders - 1.

    It is H(k + 1 symbols) - H(k symbols), computed from the frequencies in the text itself (Shannon
    1951, eq. 1). It is therefore too low if most groups of k + 1 symbols occur once or twice, as in
    short texts and for large k.
    """
    result = []
    groups, before = np.zeros(len(ids), dtype=np.int64), 0.0
    size = int(ids.max(initial=0)) + 1
    for k in range(orders):
        groups = groups[: max(len(ids) - k, 0)] * size + ids[k:]
        _, groups, counts = np.unique(groups, return_inverse=True, return_counts=True)
        together = _entropy(counts)
        result.append(max(0.0, together - before))
        before = together
    return result


def _entropy(counts: npt.NDArray[np.int64]) -> float:
    shares = counts / max(counts.sum(), 1)
    return float(-(shares * np.log2(shares)).sum())


def _name(code: int, vocabulary: Vocabulary) -> str:
    """Return a character, or the number of a byte that is only a part of one."""
    return f"0x{code:02X}" if vocabulary.unit == "byte" and code > 0x7F else chr(code)


def _utf8_bytes(corpus: EncodedCorpus) -> int:
    counts: npt.NDArray[Any] = corpus.counts
    if corpus.vocabulary.unit == "byte":
        return int(counts.sum())
    widths = 1 + (np.arange(len(counts)) > np.array([[0x7F], [0x7FF], [0xFFFF]])).sum(axis=0)
    return int(counts @ widths)
