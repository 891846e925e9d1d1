"""Whether a text repeats itself, or copies from the corpus."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charrnn.evaluation import copying as module
from charrnn.evaluation.copying import Copy, distinct_ngrams, known_words, longest_copy, report
from charrnn.text import store
from charrnn.text.store import Symbols
from charrnn.text.vocabulary import BYTES, Vocabulary

few_ids = st.lists(st.integers(0, 2), max_size=24)
MARK = "\N{COMBINING ACUTE ACCENT}"
# A letter that folds to two, capitals, a mark, separators, and scripts without spaces.
words_alphabet = st.sampled_from(["a", "A", "b", "ß", "s", MARK, " ", "7", "_", "中", "ก"])
wide_text = st.text(st.sampled_from("ab é中ä上🙂"), max_size=20)


@contextmanager
def bounds(
    block: int = module._BLOCK, max_size: int = module._MAX_SIZE, slot_bits: int = 4
) -> Iterator[None]:
    """Search with smaller bounds, so that short texts reach them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        patch.setattr(module, "_MAX_SIZE", max_size)
        patch.setattr(module, "_SLOT_BITS", slot_bits)
        yield


def naive_copy(ids: list[int], corpus: list[int]) -> Copy | None:
    """Compare every span with every place, in the order of longest_copy."""
    spans = (
        Copy(start, at, length)
        for length in range(min(len(ids), len(corpus)), 0, -1)
        for start in range(len(ids) - length + 1)
        for at in range(len(corpus) - length + 1)
        if ids[start : start + length] == corpus[at : at + length]
    )
    return next(spans, None)


def vocabulary_and_ids(corpus: str, unit: str) -> tuple[Vocabulary, Symbols]:
    vocabulary = BYTES if unit == "byte" else Vocabulary("char", tuple(sorted(set(corpus))))
    return vocabulary, Symbols(vocabulary.lookup(corpus))


@given(ids=few_ids, n=st.integers(1, 20), max_size=st.sampled_from([1, 10, module._MAX_SIZE]))
def test_distinct_ngrams_is_the_share_of_different_ngrams(
    ids: list[int], n: int, max_size: int
) -> None:
    ngrams = [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]
    expected = len(set(ngrams)) / len(ngrams) if ngrams else None
    with bounds(max_size=max_size):
        assert distinct_ngrams(np.array(ids, np.uint8), n) == expected


@given(
    ids=few_ids,
    corpus=st.lists(st.integers(0, 2), max_size=40),
    scale=st.sampled_from([1, 0x7FFFFFFF]),
    block=st.integers(1, 10),
    max_size=st.sampled_from([1, 10, module._MAX_SIZE]),
    slot_bits=st.integers(1, 20),
)
@example(ids=[1, 2], corpus=[2, 1], scale=1, block=1, max_size=10, slot_bits=4)
def test_the_longest_copy_matches_a_brute_force_search(
    ids: list[int], corpus: list[int], scale: int, block: int, max_size: int, slot_bits: int
) -> None:
    """Whatever the blocks are, and whichever names and slots collide."""
    symbols = Symbols(np.array(corpus, np.uint32) * np.uint32(scale))
    with bounds(block, max_size, slot_bits):
        found = longest_copy(np.array(ids, np.int64) * scale, symbols)
    assert found == naive_copy(ids, corpus)


def thue_morse(doublings: int) -> list[int]:
    """A text whose spans collide under polynomial hashes modulo a power of two."""
    bits = [0]
    for _ in range(doublings):
        bits += [1 - bit for bit in bits]
    return bits


PATHOLOGICAL = {
    "all one symbol": ([1] * 5_000, [1] * 40_000, Copy(0, 0, 5_000)),
    "all one symbol but the last": ([1] * 4_999 + [2], [1] * 40_000, Copy(0, 0, 4_999)),
    "all one symbol but the first": ([2] + [1] * 4_999, [1] * 40_000, Copy(1, 0, 4_999)),
    "a loop": ([1, 2, 3] * 2_000, [3, 1, 2] * 3 + [0] + [1, 2, 3] * 3, Copy(0, 10, 9)),
    "wholly copied": (list(range(500, 5_500)), list(range(9_000)), Copy(0, 500, 5_000)),
    "longer than the corpus": (list(range(9_000)), list(range(500, 5_500)), Copy(500, 0, 5_000)),
    "the corpus many times": ([1, 2, 3, 0] * 2_000, [1, 2, 3], Copy(0, 0, 3)),
    "its own complement": (thue_morse(12), thue_morse(13)[4_096:], Copy(0, 2_048, 2_048)),
    "nothing shared": ([1, 2] * 1_000, [3, 4] * 10_000, None),
    "an empty text": ([], [1, 2], None),
    "an empty corpus": ([1, 2], [], None),
}


@pytest.mark.parametrize("name", PATHOLOGICAL)
def test_the_longest_copy_in_pathological_texts_is_found(name: str) -> None:
    ids, corpus, expected = PATHOLOGICAL[name]
    with bounds(block=10_000, slot_bits=12):
        assert (
            longest_copy(np.array(ids, np.int64), Symbols(np.array(corpus, np.int64))) == expected
        )


def test_the_corpus_is_searched_block_by_block() -> None:
    """So the corpus is never in memory as a whole."""
    rng = np.random.default_rng(1)
    corpus = rng.integers(0, 50, 1_000_000, dtype=np.uint8)
    with bounds(block=1 << 12, slot_bits=12):
        tracemalloc.start()
        found = longest_copy(corpus[700_000:700_500], Symbols(corpus))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert found == Copy(0, 700_000, 500)
    assert peak < len(corpus) / 2  # bytes


def naive_words(text: str) -> list[str]:
    """The words of a text of words_alphabet; the last one follows the last separator."""
    parted = "".join(c if c in f"abs{MARK}" else " " for c in text.casefold())
    return [run.lstrip(MARK) for run in parted.split(" ")]


@given(
    text=st.text(words_alphabet, max_size=30),
    blocks=st.lists(st.text(words_alphabet, max_size=6), max_size=12),
)
def test_known_words_do_not_depend_on_block_boundaries(text: str, blocks: list[str]) -> None:
    """The last word of the text is left out, since it may be unfinished."""
    words = [word for word in naive_words(text)[:-1] if word]
    known = [word for word in words if word in naive_words("".join(blocks))]
    assert known_words(text, blocks) == (len(known), len(words))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cat, the dot.", (3, 4)),
        ("THE CAT the do", (3, 3)),
        ("हिन्दी किताब।", (1, 2)),
        ("我有一只猫。", (0, 0)),
        ("猫cat猫", (1, 1)),
        ("1984_", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_words_are_runs_of_letters_and_combining_marks(
    text: str, expected: tuple[int, int]
) -> None:
    assert known_words(text, ["the cat and the dog हिन्दी हि क 我有猫1984"]) == expected


def test_an_endless_word_matches_nothing_and_takes_no_memory() -> None:
    tracemalloc.start()
    assert known_words("aaa b ", ("a" * 1_000 for _ in range(1_000))) == (0, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000  # bytes, of the million


@pytest.mark.parametrize("unit", ["char", "byte"])
@given(text=wide_text, corpus=wide_text.filter(bool), copy=st.integers(1, 5))
def test_a_report_counts_characters_for_any_unit(
    unit: str, text: str, corpus: str, copy: int
) -> None:
    vocabulary, symbols = vocabulary_and_ids(corpus, unit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "BLOCK_SYMBOLS", copy)
        found = report(text, 1.5, vocabulary, symbols)
    assert (found.characters, found.bits_per_char) == (len(text), 1.5)
    assert found.distinct_4 == distinct_ngrams(np.array([*map(ord, text)]), 4)
    assert found.copied is not None
    assert found.copied in text
    assert found.copied_characters == len(found.copied)
    assert found.copied_share == (len(found.copied) / len(text) if text else None)
    if found.copied_at is None:
        assert found.copied == ""
    else:
        assert corpus[found.copied_at :].startswith(found.copied or "none")
    known, words = known_words(text, [corpus])
    assert (found.words, found.known_words) == (words, known / words if words else None)


@given(text=wide_text, corpus=wide_text.filter(bool))
def test_a_report_contains_the_longest_copy(text: str, corpus: str) -> None:
    expected = naive_copy([*map(ord, text)], [*map(ord, corpus)])
    found = report(text, 1.5, *vocabulary_and_ids(corpus, "char"))
    assert found.copied_characters == (expected.length if expected else 0)
    assert found.copied_at == (expected.corpus_start if expected else None)


def test_a_copy_found_in_bytes_is_whole_characters() -> None:
    """中 and 上 begin with the same two bytes, é and ä with the same one."""
    found = report("é中b é上", None, *vocabulary_and_ids("上上 ä中b é中", "byte"))
    assert (found.copied, found.copied_at, found.copied_characters) == ("中b é", 4, 4)
    assert report("中", None, *vocabulary_and_ids("上", "byte")).copied_at is None


def test_an_unknown_character_never_counts_as_copied() -> None:
    vocabulary = Vocabulary("char", ("", *"abc"))
    corpus = Symbols(
        np.array([1, 2, 0, 3, 2], np.uint8)
    )  # "ab", a character folded into the unknown symbol, "cb"
    found = report("ab☃cb", None, vocabulary, corpus)
    assert (found.copied, found.copied_at) == ("ab", 0)


def test_the_unknown_symbol_separates_words() -> None:
    vocabulary = Vocabulary("char", ("", *"abc"))
    corpus = Symbols(np.array([1, 2, 0, 3, 2], np.uint8))
    assert report("abcb ab cb ", None, vocabulary, corpus).known_words == 2 / 3


@pytest.mark.parametrize("unit", ["char", "byte"])
def test_a_lone_surrogate_can_be_reported_on(unit: str) -> None:
    """A prompt may contain one if the terminal's bytes are not UTF-8."""
    found = report("ab\udce4bc", None, *vocabulary_and_ids("ab?bc", unit))
    assert (found.copied, found.characters) == ("ab", 5)


@pytest.mark.parametrize("unit", ["char", "byte"])
def test_the_report_of_an_empty_text_is_empty(unit: str) -> None:
    found = report("", None, *vocabulary_and_ids("ab", unit))
    assert found == module.Report(0, None, None, None, None, "", 0, None, None, 0, None)


def test_a_repetitive_text_has_few_distinct_ngrams() -> None:
    found = report("to be or " * 100, None, *vocabulary_and_ids("to be or", "char"))
    assert found.distinct_4 == 9 / 897
    assert found.distinct_8 == 9 / 893
    assert found.distinct_16 == 9 / 885


def test_without_a_corpus_repetition_is_still_measured() -> None:
    vocabulary, symbols = vocabulary_and_ids("to be or", "char")
    alone = report("to be or " * 100, 2.0, vocabulary, None)
    compared = report("to be or " * 100, 2.0, vocabulary, symbols)
    assert (alone.bits_per_char, alone.distinct_4) == (2.0, compared.distinct_4)
    assert (alone.copied, alone.copied_characters, alone.copied_at) == (None, None, None)
    assert (alone.copied_share, alone.words, alone.known_words) == (None, None, None)
