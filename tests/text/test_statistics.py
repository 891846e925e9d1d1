"""Statistics of a corpus, compared with definitions that are too slow to use."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charrnn.text import statistics as module
from charrnn.text.config import CorpusConfig
from charrnn.text.statistics import CorpusStatistics, entropies, statistics
from tests.text.reading import encode

ORDERS = 4


def naive(ids: list[int], orders: int) -> list[float]:
    """Compute H(k + 1 symbols) - H(k symbols) from a dictionary of groups (Shannon 1951, eq. 1)."""

    def together(width: int) -> float:
        groups = Counter(tuple(ids[at : at + width]) for at in range(len(ids) - width + 1))
        total = groups.total()
        return sum(count / total * math.log2(total / count) for count in groups.values())

    return [max(together(k + 1) - (together(k) if k else 0.0), 0.0) for k in range(orders)]


def of(ids: list[int], orders: int = ORDERS) -> list[float]:
    return entropies(np.array(ids, dtype=np.int64), orders)


def figures(tmp_path: Path, text: str, config: CorpusConfig | None = None) -> CorpusStatistics:
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8", newline="")
    corpus = encode((str(path),), config, cache_dir=tmp_path / "cache")
    return statistics(corpus)


@given(
    ids=st.integers(1, 5).flatmap(lambda high: st.lists(st.integers(0, high), max_size=30)),
    orders=st.integers(1, ORDERS),
)
def test_entropies_match_the_definition(ids: list[int], orders: int) -> None:
    assert of(ids, orders) == pytest.approx(naive(ids, orders), abs=1e-9)


@given(ids=st.lists(st.sampled_from([0, 7, 0x10000, 0x10FFFF]), max_size=30))
@example(ids=[0, 0, 0, 0, 0x10000, 0, 0, 0, 0x10FFFF])  # 64 bits cannot hold groups of 4
def test_entropies_do_not_depend_on_the_ids(ids: list[int]) -> None:
    """However high they are."""
    known = sorted(set(ids))
    assert of(ids) == pytest.approx(of([known.index(i) for i in ids]), abs=1e-9)


@pytest.mark.parametrize("symbols", [2, 4, 8])
def test_uniform_random_symbols_have_log2_bits(symbols: int) -> None:
    ids = np.random.default_rng(0).integers(symbols, size=200_000)
    assert entropies(ids, 3) == pytest.approx([math.log2(symbols)] * 3, abs=5e-3)


def test_equally_frequent_symbols_have_log2_bits() -> None:
    assert of([3, 1, 0, 2] * 5)[0] == pytest.approx(2)


def test_constant_text_has_no_entropy() -> None:
    assert of([4] * 50) == [0, 0, 0, 0]


def test_alternating_symbols_are_certain_after_one() -> None:
    """1,001 symbols: the same number of pairs of each kind, so only rounding remains."""
    first, *others = of([0, 1] * 500 + [0])
    assert first == pytest.approx(1, abs=1e-5)
    assert others == pytest.approx([0, 0, 0], abs=1e-5)


def test_a_pattern_is_certain_after_enough_of_it() -> None:
    """In 0 0 1 1, two symbols determine the next one, but one does not."""
    assert of([0, 0, 1, 1] * 500) == pytest.approx([1, 1, 0, 0], abs=2e-3)


@pytest.mark.parametrize("length", range(4))
def test_texts_shorter_than_the_orders_have_entropies(length: int) -> None:
    result = of(list(range(length)))
    assert len(result) == ORDERS
    assert all(value >= 0 for value in result)


def test_counts_cover_the_whole_text(tmp_path: Path) -> None:
    """Including the validation part, which is the only one with a z here."""
    text = "e" * 60 + "a" * 20 + "t" * 15 + "zzz"
    found = figures(tmp_path, text)
    assert found.most_frequent == [("e", 60), ("a", 20), ("t", 15), ("z", 3)]
    assert found.least_frequent == [("z", 3), ("t", 15), ("a", 20), ("e", 60)]
    assert (found.name, found.unit) == ("text", "char")
    assert (found.characters, found.vocabulary, found.documents) == (98, 4, 1)
    assert (found.train, found.val, found.sampled) == (88, 10, 98)
    assert found.entropy == pytest.approx(naive([ord(c) for c in text], ORDERS), abs=1e-9)


def test_ten_characters_of_each_kind_are_listed(tmp_path: Path) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    found = figures(tmp_path, "".join(c * n for n, c in enumerate(letters, 1)))
    expected = [(c, n) for n, c in enumerate(letters, 1)]
    assert found.least_frequent == expected[:10]
    assert found.most_frequent == expected[:-11:-1]


def test_duplicate_lines_are_counted_without_blank_ones(tmp_path: Path) -> None:
    """Here, 2 of 5 non-blank lines are duplicates."""
    found = figures(tmp_path, "one\n\ntwo\n  \none\nthree\n\none\n")
    assert found.lines == 8
    assert found.duplicate_lines == pytest.approx(2 / 5)


def test_lines_are_compared_across_the_split(tmp_path: Path) -> None:
    found = figures(tmp_path, "a line\nother\na line\n", CorpusConfig(val_fraction=0.4))
    assert found.val == 8
    assert found.duplicate_lines == pytest.approx(1 / 3)


def test_bytes_are_counted_in_utf8(tmp_path: Path) -> None:
    """Characters of one, two, three and four bytes, at the first and last code point of each."""
    text = "a\x01\x7f" + "\x80é\u07ff" + "\u0800水\uffff" + "\U00010000😀\U0010ffff"
    found = figures(tmp_path, text)
    assert found.bytes == len(text.encode()) == 3 * (1 + 2 + 3 + 4)
    assert found.characters == 12


@given(text=st.text(st.characters(codec="utf-8"), max_size=40))
def test_both_units_agree_on_the_text(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("units")
    kept = CorpusConfig(keep_newlines=True)
    by_char = figures(folder, "x" + text, kept)
    by_byte = figures(folder, "x" + text, CorpusConfig(keep_newlines=True, unit="byte"))
    assert by_char.bytes == by_byte.bytes == len(("x" + text).encode())
    assert by_char.characters == by_byte.characters == len("x" + text)
    assert by_char.lines == by_byte.lines == text.count("\n")
    assert by_char.duplicate_lines == by_byte.duplicate_lines


def test_byte_corpora_have_statistics(tmp_path: Path) -> None:
    text = "éé\naé\né é\naé\n"
    found = figures(tmp_path, text, CorpusConfig(unit="byte"))
    assert (found.unit, found.vocabulary) == ("byte", 256)
    assert sorted(found.most_frequent[:2]) == [("0xA9", 6), ("0xC3", 6)]  # UTF-8 of é: C3 A9
    assert (found.bytes, found.characters) == (19, 13)
    assert found.train + found.val == found.sampled == 19
    assert found.duplicate_lines == pytest.approx(1 / 4)
    assert found.entropy == pytest.approx(naive(list(text.encode()), ORDERS), abs=1e-9)


@pytest.mark.parametrize("unit", ["char", "byte"])
@pytest.mark.parametrize("text", ["", "\n", "a", " \n \n", "ab"])
def test_tiny_texts_have_statistics(text: str, unit: str, tmp_path: Path) -> None:
    found = figures(tmp_path, text, CorpusConfig(unit=unit))  # type: ignore[arg-type]
    assert found.bytes == found.characters == found.sampled == len(text)
    assert found.lines == text.count("\n")
    assert found.duplicate_lines == 0
    assert all(0 <= value <= 1 for value in found.entropy)


def test_folded_characters_count_as_one_symbol(tmp_path: Path) -> None:
    """They are still listed one by one, so that users can choose min_count."""
    text = "ab" * 20 + "qab" + "zab" + "\n" * 5
    found = figures(tmp_path, text, CorpusConfig(min_count=2))
    assert found.vocabulary == 4
    assert sorted(found.least_frequent[:2]) == [("q", 1), ("z", 1)]
    assert found.bytes == found.characters == len(text)
    folded = [ord(c) for c in text.replace("z", "q")]
    assert found.entropy == pytest.approx(naive(folded, ORDERS), abs=1e-9)


def test_only_the_beginning_of_long_texts_is_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is for entropies and duplicate lines; sizes and counts are of the whole text."""
    text = "ab\ncd\n" * 5 + "ab\n" * 90
    for sampled in (12, 280):  # less than the training part, and more
        monkeypatch.setattr(module, "SAMPLED", sampled)
        found = figures(tmp_path, text)
        beginning = text[:sampled]
        lines = beginning.split()
        assert found.sampled == sampled
        assert found.train == 270
        assert found.entropy == pytest.approx(naive([ord(c) for c in beginning], ORDERS), abs=1e-9)
        assert found.duplicate_lines == pytest.approx(1 - len(set(lines)) / len(lines))
        assert (found.characters, found.lines) == (300, 100)
        assert found.most_frequent[0] == ("\n", 100)
