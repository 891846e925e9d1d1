"""Measure repetition in a generated text, and copying from the training corpus."""

import bisect
import codecs
import functools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.text.store import Symbols
from charrnn.text.vocabulary import Ids, Vocabulary, code_points

_BLOCK = 1 << 19  # symbols of the corpus at which a copy may begin, per pass
_MAX_SIZE = math.isqrt(2**63 - 1)  # the number of names whose pairs fit an int64
_SLOT_BITS = 20
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Knuth, TAOCP 3, 6.4

# Scripts without spaces between words: Thai and Lao, Tibetan, Burmese, Khmer, kana, Han.
_UNSPACED = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)

_Names = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Copy:
    """A span of a text that also occurs in a corpus: its start in each, and its length, in ids."""

    start: int
    corpus_start: int
    length: int


@dataclass(frozen=True)
class Report:
    """Figures of a text; one is None if the text is too short for it, or there is no corpus.

    characters: of the text. bits_per_char: how well a model predicts it.
    distinct_4, _8, _16: see `distinct_ngrams`, of characters; low if a text repeats itself.
    copied: the longest span that also occurs in the corpus, see `longest_copy`; "" if none.
    copied_at: the characters of the corpus before it. copied_share: of the text's characters.
    words: how many were looked up. known_words: the share of them that the corpus has, see
    `known_words`. Without a corpus, all from `copied` on are None.
    """

    characters: int
    bits_per_char: float | None
    distinct_4: float | None
    distinct_8: float | None
    distinct_16: float | None
    copied: str | None
    copied_characters: int | None
    copied_at: int | None
    copied_share: float | None
    words: int | None
    known_words: float | None


def report(
    text: str,
    bits_per_char: float | None,
    vocabulary: Vocabulary,
    corpus: Symbols | None,
    *,
    ended: bool = False,
) -> Report:
    """Measure how much a text repeats itself and how much it copies from a corpus.

    corpus: as ids of the vocabulary; None if there is none to compare with.
    ended: whether the text came to its end, so that its last word is complete.
    bits_per_char: of the text, see `charrnn.Evaluation`. For a byte model, the longest copy is the
    longest in bytes, of which the complete characters are reported. A character that the vocabulary
    lacks never counts as copied, not even if it matches the unknown symbol.
    """
    codes = code_points(text)
    copied = copied_at = share = words = known_share = None
    if corpus is not None:
        copied, copied_at = _copied_text(text, vocabulary, corpus)
        share = len(copied) / len(text) if text else None
        known, words = known_words(text + "\n" if ended else text, _texts(corpus, vocabulary))
        known_share = known / words if words else None
    return Report(
        characters=len(text),
        bits_per_char=bits_per_char,
        distinct_4=distinct_ngrams(codes, 4),
        distinct_8=distinct_ngrams(codes, 8),
        distinct_16=distinct_ngrams(codes, 16),
        copied=copied,
        copied_characters=None if copied is None else len(copied),
        copied_at=copied_at,
        copied_share=share,
        words=words,
        known_words=known_share,
    )


def distinct_ngrams(ids: Ids, n: int) -> float | None:
    """Return the number of different n-grams of ids, as a share of all their n-grams.

    ids: (N,), none negative. None if there are fewer than n of them.
    This is distinct-n of Li et al. 2016 (arXiv:1510.03055), who divide by N.
    """
    if len(ids) < n:
        return None
    names, _ = _named(ids.astype(np.int64), np.zeros(0, np.int64), n)
    return len(np.unique(names)) / len(names)


def longest_copy(ids: Ids, corpus: Symbols) -> Copy | None:
    """Return the longest span of ids that also occurs in a corpus, None if they share no id.

    ids: (N,), none negative. Of several, the first in ids counts, at its first place in the corpus.
    Documents of the corpus are taken as one text: a span may run from one into the next.
    The corpus is read block by block, and ids are sorted for each, so ids should be the shorter.
    """
    text = ids.astype(np.int64)
    best: Copy | None = None
    for first in range(0, len(corpus), _BLOCK):
        found = _longest_from(text, corpus, first, best.length if best else 1)
        if found and (best is None or (-found.length, found.start) < (-best.length, best.start)):
            best = found
        if best and best.length == len(text):
            break
    return best


def known_words(text: str, corpus: Iterable[str]) -> tuple[int, int]:
    """Return how many words of a text occur in a corpus, and how many the text has.

    corpus: its text, in blocks that may end anywhere. A word is a run of letters and their marks;
    case is ignored; each counts as often as it occurs in the text. A word at the very end may be
    cut off, and is left out. Scripts without spaces between words, see _UNSPACED, have no words:
    their characters separate words as digits do.
    """
    folded = text.casefold()
    counts = Counter(word[0] for word in _word().finditer(folded) if word.end() < len(folded))
    unseen = set(counts)
    longest = max(map(len, unseen), default=0)
    held = ""  # the start of a word at the end of the blocks so far, cut where it matches none
    for block in corpus:
        if not unseen:
            break
        piece = held + block.casefold()
        words = _word().findall(piece)
        held = words.pop()[: longest + 1] if words and piece.endswith(words[-1]) else ""
        unseen.difference_update(words)
    unseen.discard(held)
    return counts.total() - sum(counts[word] for word in unseen), counts.total()


def _longest_from(text: _Names, corpus: Symbols, first: int, least: int) -> Copy | None:
    """Return the longest copy, of at least `least` ids, that begins in a block of the corpus.

    Every part of a copy is a copy, too, so doubling and then bisection find the greatest length.
    """

    def shared(length: int) -> tuple[int, int] | None:
        return _shared(text, corpus[first : first + _BLOCK + length - 1], length)

    limit = min(len(text), len(corpus) - first)
    if least > limit or shared(least) is None:
        return None
    step = 1
    while least + step <= limit and shared(least + step):
        least, step = least + step, 2 * step
    longer = range(least + 1, min(least + step, limit + 1))
    length = least + bisect.bisect_left(longer, True, key=lambda n: shared(n) is None)
    found = shared(length)
    assert found
    return Copy(found[0], first + found[1], length)


def _shared(text: _Names, part: _Names, length: int) -> tuple[int, int] | None:
    """Return where `length` ids begin that text and part share: in text, and in part."""
    ours, theirs = _named(text, part, length)
    kinds, starts = np.unique(ours, return_index=True)
    places = _places(kinds, theirs)
    hits = np.flatnonzero(places < len(kinds))
    if not len(hits):
        return None
    first = np.argmin(starts[places[hits]])  # of equal ones, the first in part
    return int(starts[places[hits[first]]]), int(hits[first])


def _named(text: _Names, part: _Names, width: int) -> tuple[_Names, _Names]:
    """Name the windows of `width` ids by their start: in text, (N - width + 1,), and in part.

    Two windows have the same name if and only if they are equal, except that windows which text
    lacks may share one. A window is named by the names of two narrower ones that cover it, as in
    Karp, Miller and Rosenberg 1972. Names are renumbered, by those in text, before a pair outgrows
    an int64. So there is no hash whose collisions would have to be ruled out.
    """
    size = 1 + max(text.max(initial=0), part.max(initial=0)).item()  # names are below it
    covered = 1
    while covered < width:
        if size > _MAX_SIZE:
            kinds, text = np.unique(text, return_inverse=True)
            part = _places(kinds, part)
            size = len(kinds) + 1
        step = min(covered, width - covered)
        text = text[:-step] * size + text[step:]
        part = part[:-step] * size + part[step:]
        size *= size
        covered += step
    return text, part


def _places(kinds: _Names, names: _Names) -> _Names:
    """Return the place of each name in kinds, which ascend; len(kinds) if it is not among them.

    Most windows of a corpus are not. A table of the slots that kinds fall into rules most of them
    out, so that few are left for the binary search.
    """
    taken = np.zeros(1 << _SLOT_BITS, dtype=bool)
    taken[_slots(kinds)] = True
    likely = np.flatnonzero(taken[_slots(names)])
    found = np.searchsorted(kinds, names[likely])
    equal = kinds[np.minimum(found, len(kinds) - 1)] == names[likely]
    places = np.full(len(names), len(kinds))
    places[likely[equal]] = found[equal]
    return places


def _slots(names: _Names) -> npt.NDArray[np.uint64]:
    return names.view(np.uint64) * _MIX >> np.uint64(64 - _SLOT_BITS)


def _copied_text(text: str, vocabulary: Vocabulary, corpus: Symbols) -> tuple[str, int | None]:
    """Return the longest copy in complete characters, and the corpus characters before it."""
    if vocabulary.unit == "byte":
        # Half of a surrogate pair becomes bytes that no UTF-8 has.
        ids = np.frombuffer(text.encode(errors="surrogatepass"), np.uint8).astype(np.int64)
        borders = np.append(np.flatnonzero((ids & 0xC0) != 0x80), len(ids))
    else:
        ids = vocabulary.lookup(text).astype(np.int64)
        ids[ids < 0] = len(vocabulary)  # an id that does not occur in the corpus
        borders = np.arange(len(ids) + 1)
    copy = longest_copy(ids, corpus)
    if copy is None:
        return "", None
    start = int(np.searchsorted(borders, copy.start))
    stop = int(np.searchsorted(borders, copy.start + copy.length, side="right")) - 1
    if start >= stop:
        return "", None
    at = copy.corpus_start
    if vocabulary.unit == "byte":
        # If a copy begins within a character, that character's first byte counts as before it.
        at = sum(vocabulary.count_characters(block) for block in corpus.cut(0, at).blocks())
    return text[start:stop], at


def _texts(corpus: Symbols, vocabulary: Vocabulary) -> Iterator[str]:
    """Yield the text of a corpus in blocks; the unknown symbol is U+FFFD."""
    if vocabulary.unit == "byte":
        utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        for block in corpus.blocks():
            yield utf8.decode(block.astype(np.uint8).tobytes())
        return
    yield from map(vocabulary.shown, corpus.blocks())


@functools.cache
def _word() -> re.Pattern[str]:
    """Return the pattern of a word, see `known_words`.

    Marks above U+FFFF, of a few old scripts, are left out: they make it ten times slower.
    """
    marks = "".join(c for c in map(chr, range(0x10000)) if unicodedata.category(c)[0] == "M")
    letter = rf"[^\W\d_{_UNSPACED}]"
    return re.compile(rf"{letter}+(?:[{marks}]+{letter}*)*")
