"""Whether a text goes round in circles, or is copied."""

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
# A letter that folds to two, capitals, a mark, what parts words, and a script without spaces.
words_alphabet = st.sampled_from(["a", "A", "b", "ß", "s", MARK, " ", "7", "_", "中", "ก"])
wide_text = st.text(st.sampled_from("ab é中ä上🙂"), max_size=20)


@contextmanager
def bounds(
    block: int = module._BLOCK, max_size: int = module._MAX_SIZE, slot_bits: int = 4
) -> Iterator[None]:
    """Search with other bounds, so that small texts reach them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        patch.setattr(module, "_MAX_SIZE", max_size)
        patch.setattr(module, "_SLOT_BITS", slot_bits)
        yield


def naive_copy(ids: list[int], corpus: list[int]) -> Copy | None:
    """Every span against every place, as longest_copy orders them."""
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
def test_distinct_ngrams_is_the_share_of_different_ones(
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
def test_the_longest_copy_is_that_of_trying_every_span(
    ids: list[int], corpus: list[int], scale: int, block: int, max_size: int, slot_bits: int
) -> None:
    """Whatever the blocks are, and whatever names and slots coincide."""
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
def test_the_longest_copy_of_a_pathological_text_is_found(name: str) -> None:
    ids, corpus, expected = PATHOLOGICAL[name]
    with bounds(block=10_000, slot_bits=12):
        assert (
            longest_copy(np.array(ids, np.int64), Symbols(np.array(corpus, np.int64))) == expected
        )


def test_a_copy_is_looked_for_in_a_block_at_a_time() -> None:
    """So the corpus never is in memory as a whole."""
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
    """The words of a text of words_alphabet; the last is that behind what parts them last."""
    parted = "".join(c if c in f"abs{MARK}" else " " for c in text.casefold())
    return [run.lstrip(MARK) for run in parted.split(" ")]


@given(
    text=st.text(words_alphabet, max_size=30),
    blocks=st.lists(st.text(words_alphabet, max_size=6), max_size=12),
)
def test_known_words_are_those_of_the_whole_corpus(text: str, blocks: list[str]) -> None:
    """Wherever its blocks end, and a word that ends the text is left out."""
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
def test_words_are_runs_of_letters_and_marks_where_spaces_part_them(
    text: str, expected: tuple[int, int]
) -> None:
    assert known_words(text, ["the cat and the dog हिन्दी हि क 我有猫1984"]) == expected


def test_a_word_without_end_is_no_match_and_takes_no_memory() -> None:
    tracemalloc.start()
    assert known_words("aaa b ", ("a" * 1_000 for _ in range(1_000))) == (0, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000  # bytes, of the million


@pytest.mark.parametrize("unit", ["char", "byte"])
@given(text=wide_text, corpus=wide_text.filter(bool), copy=st.integers(1, 5))
def test_a_report_tells_characters_whatever_the_model_reads(
    unit: str, text: str, corpus: str, copy: int
) -> None:
    vocabulary, symbols = vocabulary_and_ids(corpus, unit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "BLOCK_SYMBOLS", copy)
        told = report(text, 1.5, vocabulary, symbols)
    assert (told.characters, told.bits_per_char) == (len(text), 1.5)
    assert told.distinct_4 == distinct_ngrams(np.array([*map(ord, text)]), 4)
    assert told.copied is not None
    assert told.copied in text
    assert told.copied_characters == len(told.copied)
    assert told.copied_share == (len(told.copied) / len(text) if text else None)
    if told.copied_at is None:
        assert told.copied == ""
    else:
        assert corpus[told.copied_at :].startswith(told.copied or "none")
    known, words = known_words(text, [corpus])
    assert (told.words, told.known_words) == (words, known / words if words else None)


@given(text=wide_text, corpus=wide_text.filter(bool))
def test_the_longest_copy_of_a_report_is_the_longest(text: str, corpus: str) -> None:
    expected = naive_copy([*map(ord, text)], [*map(ord, corpus)])
    told = report(text, 1.5, *vocabulary_and_ids(corpus, "char"))
    assert told.copied_characters == (expected.length if expected else 0)
    assert told.copied_at == (expected.corpus_start if expected else None)


def test_a_copy_in_bytes_is_told_in_whole_characters() -> None:
    """中 and 上 begin with the same two bytes, é and ä with the same one."""
    told = report("é中b é上", None, *vocabulary_and_ids("上上 ä中b é中", "byte"))
    assert (told.copied, told.copied_at, told.copied_characters) == ("中b é", 4, 4)
    assert report("中", None, *vocabulary_and_ids("上", "byte")).copied_at is None


def test_a_character_that_the_model_lacks_is_no_copy_of_its_unknown_symbol() -> None:
    vocabulary = Vocabulary("char", ("", *"abc"))
    corpus = Symbols(np.array([1, 2, 0, 3, 2], np.uint8))  # "ab", one that was folded, "cb"
    told = report("ab☃cb", None, vocabulary, corpus)
    assert (told.copied, told.copied_at) == ("ab", 0)


def test_the_unknown_symbol_parts_words() -> None:
    vocabulary = Vocabulary("char", ("", *"abc"))
    corpus = Symbols(np.array([1, 2, 0, 3, 2], np.uint8))
    assert report("abcb ab cb ", None, vocabulary, corpus).known_words == 2 / 3


@pytest.mark.parametrize("unit", ["char", "byte"])
def test_half_of_a_surrogate_pair_is_reported_on(unit: str) -> None:
    """A prompt may hold one, where the terminal's bytes are no UTF-8."""
    told = report("ab\udce4bc", None, *vocabulary_and_ids("ab?bc", unit))
    assert (told.copied, told.characters) == ("ab", 5)


@pytest.mark.parametrize("unit", ["char", "byte"])
def test_of_an_empty_text_nothing_is_told(unit: str) -> None:
    told = report("", None, *vocabulary_and_ids("ab", unit))
    assert told == module.Report(0, None, None, None, None, "", 0, None, None, 0, None)


def test_a_text_in_circles_has_few_distinct_ngrams() -> None:
    told = report("to be or " * 100, None, *vocabulary_and_ids("to be or", "char"))
    assert told.distinct_4 == 9 / 897
    assert told.distinct_8 == 9 / 893
    assert told.distinct_16 == 9 / 885


def test_without_a_corpus_repetition_is_still_measured() -> None:
    vocabulary, symbols = vocabulary_and_ids("to be or", "char")
    alone = report("to be or " * 100, 2.0, vocabulary, None)
    compared = report("to be or " * 100, 2.0, vocabulary, symbols)
    assert (alone.bits_per_char, alone.distinct_4) == (2.0, compared.distinct_4)
    assert (alone.copied, alone.copied_characters, alone.copied_at) == (None, None, None)
    assert (alone.copied_share, alone.words, alone.known_words) == (None, None, None)
