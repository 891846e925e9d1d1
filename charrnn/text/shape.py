"""The shape of a text, measured on a sample before training; no setting depends on it.

The numbers below are far from what prose, verse, plays, code and logs have on the one side, and
lists and collections of poems on the other; see docs/how-to/read-any-text.md for a table.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from charrnn.text.config import CorpusConfig
from charrnn.text.encoded import EncodedCorpus
from charrnn.text.paragraphs import PARAGRAPH_END, separated_paragraphs
from charrnn.text.store import Symbols
from charrnn.text.tables import Table, table_of
from charrnn.text.vocabulary import Vocabulary

SAMPLED = 1 << 22  # symbols to look at
PIECE = 1 << 14  # symbols that are read side by side
ROWS_IN = 16  # pieces at the beginning in which to look for rows
LOOKED_AT = 10_000  # lines or paragraphs to look at one by one
FEWEST = 100  # lines or paragraphs: of fewer, nothing is said
FEWEST_HELD_OUT = 20  # of them in the validation part
SHORT_LINE, FEW_WORDS = 50, 5  # on average, of the lines of a list
MOSTLY, RARELY = 0.95, 0.05
PLACES = 200  # where the order of a text is compared
COMPARED = 40  # characters
GROUPS = 250  # into which a text is cut to compare its parts
BINS = 4_096  # ids, modulo this number, that are counted apart
SMALLEST_GROUP = 40  # symbols
RANDOM_PARTS = 20
NO_STUB = 20  # characters; shorter paragraphs of prose may well be the same by chance

_CLOCK = re.compile(r"\d:\d\d")
_SPEAKER = re.compile(r"[^:]{1,40}: ")  # also a key, before its value
_NUMBER = re.compile(r"\d+")

Form = Literal["text", "documents", "list", "titled", "labelled"]
Order = Literal["", "alphabetical", "length"]
Ids = npt.NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True)
class Shape:
    """The shape of a text, and how its validation part relates to the rest.

    form: "documents" if the settings say what ends one; a "list" of short lines; paragraphs that
    are "titled", each under another first line, or "labelled", with first lines that begin with
    the same word and a colon; or a "text".
    table: its columns, if it is a table or JSON Lines.
    units: how many lines, paragraphs or documents were looked at. length: their mean, in
    characters. whole: whether these are all.
    order: of the units, from the beginning of the text to its end.
    repeated: the share of the units of the validation part that the training part has, too; 0 if
    there are too few of either. If not whole, there may be more.
    divergence: of the characters in the two parts, in bits, see `divergence`. usual: its mean for
    random parts of the same size. Both are 0 for a short text, or a very small validation part.
    """

    form: Form
    table: Table | None
    units: int
    length: float
    whole: bool
    order: Order
    repeated: float
    divergence: float
    usual: float


def shape_of(corpus: EncodedCorpus, config: CorpusConfig) -> Shape:
    """Measure the shape of a corpus; reads SAMPLED symbols of it, however long it is."""
    total = len(corpus.train) + len(corpus.val)
    whole, end = total <= SAMPLED, config.document_end
    train, val = (_pieces(part, total) for part in (corpus.train, corpus.val))
    texts = _texts(train, corpus.vocabulary), _texts(val, corpus.vocabulary)
    form: Form = "documents" if end else form_of(texts[0])
    units = [_units(part, form, end, whole=whole) for part in texts]
    every = [*units[0], *units[1]]
    if whole:  # the split may have cut one in two
        every = _units(["".join(texts[0] + texts[1])], form, end, whole=True)
    beginning = "".join(texts[0][:ROWS_IN])[: ROWS_IN * PIECE]
    unlike, usual = divergences(_joined(train), _joined(val))
    return Shape(
        form=form,
        table=None if end or config.lowercase else table_of(beginning),
        units=len(every),
        length=float(np.mean([*map(len, every)])) if every else 0.0,
        whole=whole,
        order="" if form == "text" else order_of(every),
        repeated=repeated(units[0], units[1], shortest=NO_STUB if form == "text" else 1),
        divergence=unlike,
        usual=usual,
    )


def form_of(texts: Sequence[str]) -> Form:
    """Return what the lines or the paragraphs of a text are, given pieces of it."""
    lines = _some([line for text in texts for line in text.split("\n")])
    if is_list(lines):
        return "list"
    if _share(lines, lambda line: not line.strip()) <= RARELY:
        return "text"
    paragraphs = _some([part for text in texts for part in _paragraphs(text)[1:-1]])
    return kind_of_paragraphs([part.split("\n") for part in paragraphs])


def is_list(lines: Sequence[str]) -> bool:
    """Return whether lines are short and do not continue each other: names, titles, formulas.

    Verse and prose have more words in a line, which often ends with a mark; code is indented, logs
    tell the time, and a chat names who speaks.
    """
    written = [line for line in lines if line.strip()]
    return (
        len(written) >= max(FEWEST, (1 - RARELY) * len(lines))
        and sum(map(len, written)) <= SHORT_LINE * len(written)
        and sum(len(line.split()) for line in written) <= FEW_WORDS * len(written)
        and _share(written, _ends_with_mark) <= RARELY
        and _share(written, lambda line: line[0].isspace()) <= RARELY
        and _share(written, lambda line: _CLOCK.search(line) is not None) <= RARELY
        and _share(written, lambda line: _SPEAKER.match(line) is not None) <= 0.5
    )


def kind_of_paragraphs(paragraphs: Sequence[Sequence[str]]) -> Form:
    """Return how paragraphs, lists of lines, show that each is a text of its own; else "text".

    The speeches of a play do not: the names above them recur. Neither do stanzas, and the
    paragraphs of prose and code, whose first lines are like the others.
    """
    first = [lines[0] for lines in paragraphs]
    others = [line for lines in paragraphs for line in lines[1:]]
    if len(first) < FEWEST or _share(paragraphs, lambda lines: len(lines) > 1) < MOSTLY:
        return "text"
    ((label, count),) = Counter(line.partition(":")[:2] for line in first).most_common(1)
    if label[1] and count >= MOSTLY * len(first):
        recurs = _share(others, lambda line: line.startswith("".join(label))) > RARELY
        return "text" if recurs else "labelled"
    titled = (
        _share(first, _ends_with_mark) <= RARELY
        and _share(others, _ends_with_mark) >= 0.5
        and _share(others, lambda line: line[:1].isspace()) <= RARELY
        and len(set(first)) >= 0.5 * len(first)
    )
    return "titled" if titled else "text"


def order_of(units: Sequence[str]) -> Order:
    """Return the order of lines or documents: by the alphabet, or by their length."""
    if len(units) < FEWEST:
        return ""
    some = [units[i * len(units) // PLACES] for i in range(PLACES)]
    if _share(some, lambda unit: _CLOCK.search(unit[:COMPARED]) is not None) > RARELY:
        return ""  # in the order of time, as everything that is written down
    # Not by their numbers: that tunes or rows are numbered says nothing about the rest of them.
    names = [_NUMBER.sub("", unit[:COMPARED]) for unit in some]
    if _is_sorted(names) or _is_sorted([name.casefold() for name in names]):
        return "alphabetical"
    return "length" if _is_sorted([len(_NUMBER.sub("", unit)) for unit in some]) else ""


def repeated(train: Sequence[str], val: Sequence[str], shortest: int = 1) -> float:
    """Return the share of units in val that train has, too; 0 for too few, or too short ones."""
    val = [unit for unit in val if len(unit) >= shortest]
    if len(val) < FEWEST_HELD_OUT:
        return 0.0
    known = set(train)
    return _share(val, lambda unit: unit in known)


def divergences(train: Ids, val: Ids) -> tuple[float, float]:
    """Return the divergence of the two parts of a text, and the mean one of random parts."""
    size = (len(train) + len(val)) // GROUPS
    held_out = len(val) // size if size else 0
    if size < SMALLEST_GROUP or not 0 < held_out < GROUPS // 2:
        return 0.0, 0.0
    ids = np.concatenate([train[len(train) % size :], val[len(val) % size :]]) % BINS
    groups = len(ids) // size
    places = np.arange(len(ids)) // size * BINS + ids
    counts = np.bincount(places, minlength=groups * BINS).reshape(groups, BINS)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(groups) for _ in range(RANDOM_PARTS)]
    last, *others = [
        divergence(counts[order[:-held_out]].sum(0), counts[order[-held_out:]].sum(0))
        for order in [np.arange(groups), *orders]
    ]
    return last, float(np.mean(others))


def divergence(p: Ids, q: Ids) -> float:
    """Return the Jensen-Shannon divergence of two counts, in bits: 0 for the same, at most 1.

    It is H((p + q) / 2) - (H(p) + H(q)) / 2 for the shares p and q (Lin 1991, eq. 4.1).
    """
    shares = np.stack([p / p.sum(), q / q.sum()])
    mean = shares.mean(axis=0)
    logarithms = np.log2(np.divide(shares, mean, out=np.ones_like(shares), where=shares > 0))
    return max(0.0, float((shares * logarithms).sum() / 2))


def _pieces(part: Symbols, total: int) -> list[Ids]:
    """Return all ids of a part, or its share of SAMPLED in pieces that are evenly spread."""
    if total <= SAMPLED:
        return [part[:]]
    number = SAMPLED * len(part) // total // PIECE
    starts = np.linspace(0, max(len(part) - PIECE, 0), number).astype(int).tolist()
    return [part[start : start + PIECE] for start in starts]


def _texts(pieces: Iterable[Ids], vocabulary: Vocabulary) -> list[str]:
    return [vocabulary.shown(ids) for ids in pieces]


def _joined(pieces: Sequence[Ids]) -> Ids:
    return np.concatenate([np.zeros(0, np.int64), *pieces])


def _units(texts: Sequence[str], form: Form, end: str, *, whole: bool) -> list[str]:
    """Cut pieces of a text into documents, lines or paragraphs that are complete."""
    inner = slice(None) if whole else slice(1, -1)
    if form in ("documents", "list"):
        found = (unit for text in texts for unit in text.split(end or "\n")[inner])
        return [unit for unit in found if unit]
    return [unit for text in texts for unit in _paragraphs(text)[inner]]


def _paragraphs(text: str) -> list[str]:
    return "".join(separated_paragraphs([text], "the sample")).split(PARAGRAPH_END)[:-1]


def _some(units: list[str]) -> list[str]:
    return units[:: len(units) // LOOKED_AT + 1]


def _share(units: Sequence[T], has: Callable[[T], bool]) -> float:
    return sum(map(has, units)) / max(len(units), 1)


def _ends_with_mark(line: str) -> bool:
    """Return whether a line ends as sentences and their parts do: Po is "punctuation, other"."""
    line = line.rstrip()
    return line != "" and unicodedata.category(line[-1]) == "Po"


def _is_sorted(keys: Sequence[str] | Sequence[int]) -> bool:
    """Return whether keys ascend, or descend, with few exceptions."""
    ranks = np.diff(np.unique(np.array(keys), return_inverse=True)[1])
    up, down = int((ranks > 0).sum()), int((ranks < 0).sum())
    return max(up, down) >= max(3, MOSTLY * (up + down))
