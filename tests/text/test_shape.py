"""The shape of texts, measured: lists, collections, order, duplicates, parts that differ."""

import math
import random
import textwrap
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.text import shape as module
from charrnn.text.config import CorpusConfig
from charrnn.text.shape import (
    Shape,
    divergence,
    divergences,
    form_of,
    is_list,
    kind_of_paragraphs,
    order_of,
    repeated,
    shape_of,
)
from tests.conftest import ROOT
from tests.text.reading import encode, write
from tests.text.texts import VERSE, names, poems

BOOKS = sorted((ROOT / "corpora").glob("*.txt"))


def measured(tmp_path: Path, text: str, config: CorpusConfig | None = None) -> Shape:
    config = config or CorpusConfig()
    corpus = encode(write(tmp_path / "t.txt", text), config, cache_dir=tmp_path / "cache")
    return shape_of(corpus, config)


def sentences() -> str:
    return (ROOT / "corpora" / "ferry-book.txt").read_text(encoding="utf-8")


ORDINARY = {
    "verse": "\n".join(VERSE * 20),
    "verse in stanzas": "\n\n".join("\n".join(VERSE[i : i + 4]) for i in range(0, 48, 4)) * 20,
    "a play": "\n\n".join(f"ANNA\n{a}\n\nBERT\n{b}" for a, b in pairwise(VERSE * 9)),
    "a play with colons": "\n\n".join(f"Anna {i}:\n{line}" for i, line in enumerate(VERSE * 9)),
    "code": (ROOT / "charrnn" / "text" / "sources.py").read_text(encoding="utf-8") * 3,
    "a page": (ROOT / "docs" / "how-to" / "read-any-text.md").read_text(encoding="utf-8") * 3,
    "a narrow page": textwrap.fill(sentences(), 40),
    "style sheets": "\n\n".join(f"a.b{i} {{\n  color: red;\n  top: 0;" for i in range(200)),
    "a chat": "\n".join(f"Anna: {' '.join(line.split()[:3])}" for line in VERSE * 50),
    "a log": "\n".join(f"{i // 60 % 24:02}:{i % 60:02} step {i}" for i in range(3_000)),
    "nothing": "",
    "blank lines": "\n" * 500,
    "one line": "a" * 5_000,
} | {path.stem: path.read_text(encoding="utf-8") for path in BOOKS}  # fmt: skip


@pytest.mark.parametrize("kind", ORDINARY)
@pytest.mark.parametrize("unit", ["char", "byte"])
def test_ordinary_text_has_no_special_form(tmp_path: Path, kind: str, unit: str) -> None:
    """Prose, verse, plays, code and logs are not lists, whatever their lines look like."""
    found = measured(tmp_path, ORDINARY[kind], CorpusConfig(unit=unit))  # type: ignore[arg-type]
    assert (found.form, found.table, found.order) == ("text", None, "")


LISTS = {
    "names": names(),
    "titles": [f"The {a} of {b}" for a, b in zip(names(), names(seed=1), strict=True)],
    "formulas": ["".join(random.Random(i).choices("CNO(=)1", k=36)) + "C" for i in range(300)],
    "sums": [f"{i}+{i * 7 % 91}={i + i * 7 % 91}" for i in range(300)],
    "words in Chinese": [chr(0x4E00 + i) * 2 + "山" for i in range(300)],
}


@pytest.mark.parametrize("kind", LISTS)
def test_short_lines_of_few_words_are_a_list(kind: str) -> None:
    """Names, titles, formulas: a few exceptions and blank lines do not matter."""
    lines = [*LISTS[kind], "", "A sentence, which ends with a mark.", "12:30"]
    assert is_list(lines)
    assert form_of(["\n".join(lines)]) == "list"
    assert not is_list(lines[:90]), "too few to tell"
    assert not is_list([f"{line}," for line in lines])
    assert not is_list([f"  {line}" for line in lines])
    assert not is_list([f"{line} {'and so on ' * 5}" for line in lines])
    assert not is_list([part for line in lines for part in (line, "")])


def test_paragraphs_under_titles_are_told_apart() -> None:
    """From the speeches of a play, where titles recur, and from stanzas, which have none."""
    assert kind_of_paragraphs(poems()) == "titled"
    assert form_of(["\n\n".join("\n".join(lines) for lines in poems())]) == "titled"
    assert kind_of_paragraphs(poems(50)) == "text", "too few to tell"
    assert kind_of_paragraphs([lines[1:] for lines in poems()]) == "text"
    speeches = [["ANNA", *lines[1:]] for lines in poems()]
    assert kind_of_paragraphs(speeches) == "text"


def test_paragraphs_under_one_label_are_told_apart() -> None:
    """Such as tunes in ABC notation; not if other lines begin so, too, or there are others."""
    tunes = [[f"X:{i}", f"T:{name}", "AB cd|"] for i, name in enumerate(names())]
    assert kind_of_paragraphs(tunes) == "labelled"
    assert kind_of_paragraphs([[*tune, "X:"] for tune in tunes]) == "text"
    assert kind_of_paragraphs([*tunes, *[["Y:1", *tune[1:]] for tune in tunes]]) == "text"


def test_sorted_lines_are_recognized() -> None:
    """In either direction, with some out of place; not by numbers or time."""
    found = names(1_000)
    assert order_of(found) == ""
    assert order_of(sorted(found)) == order_of(sorted(found, reverse=True)) == "alphabetical"
    assert order_of(sorted(found, key=str.casefold)) == "alphabetical"
    assert order_of(sorted(found) + found[:10]) == "alphabetical"
    assert order_of(sorted(found, key=len)) == "length"
    assert order_of(sorted(found)[:90]) == "", "too few to tell"
    assert order_of(["same"] * 500) == ""
    assert order_of([f"{i:05} {name}" for i, name in enumerate(found)]) == ""
    assert order_of([f"{100 * i} LET {name[:2]}" for i, name in enumerate(found)]) == ""
    assert order_of([f"{i // 60:02}:{i % 60:02} {'x' * i}" for i in range(999)]) == ""


def test_repeated_units_are_counted_in_the_validation_part() -> None:
    assert repeated(["a", "b", "b"], ["a", "c"] * 20) == 0.5
    assert repeated(["a"], ["a"] * 19) == 0, "too few to tell"
    assert repeated(["a", "long"], ["a"] * 30 + ["long"] * 30 + ["other"] * 30, shortest=4) == 0.5


counts = st.lists(st.integers(0, 50), min_size=4, max_size=4).filter(any)


@given(p=counts, q=counts)
def test_divergence_matches_its_definition(p: list[int], q: list[int]) -> None:
    """The entropy of the mean, less the mean entropy: 0 for the same shares, 1 for no overlap."""

    def entropy(shares: list[float]) -> float:
        return -sum(x * math.log2(x) for x in shares if x)

    shares = [[x / sum(c) for x in c] for c in (p, q)]
    mean = [sum(pair) / 2 for pair in zip(*shares, strict=True)]
    expected = entropy(mean) - sum(map(entropy, shares)) / 2
    assert divergence(np.array(p), np.array(q)) == pytest.approx(expected, abs=1e-9)


def test_a_part_of_another_kind_diverges() -> None:
    """A random part of the same text does not, whatever the vocabulary."""
    rng = np.random.default_rng(0)
    for symbols in (30, 3_000, 300_000):
        same = rng.integers(symbols, size=50_000)
        last, usual = divergences(same[:45_000], same[45_000:])
        assert last < usual + 0.01
        other = rng.integers(symbols, symbols + 20, size=5_000)
        last, usual = divergences(same[:45_000], other)
        assert last > max(0.9, 2 * usual)
    assert divergences(same[:900], same[900:1_000]) == (0, 0), "too short to tell"
    assert divergences(same, same[:0]) == (0, 0)
    assert divergences(same, same[:100]) == (0, 0)


def test_long_texts_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evenly, so that the sample has the shape of the whole; its size is bounded."""
    monkeypatch.setattr(module, "SAMPLED", 1 << 15)
    monkeypatch.setattr(module, "PIECE", 1 << 10)
    lines = sorted(names(9_000))
    text = "\n".join(lines) + "\n"
    found = measured(tmp_path, text)
    assert (found.form, found.order, found.whole) == ("list", "alphabetical", False)
    assert found.units * (found.length + 1) <= 1 << 15
    assert found.length == pytest.approx(np.mean([*map(len, lines)]), rel=0.1)
    again = measured(tmp_path, text * 3, CorpusConfig(lines=True, split_documents=True))
    assert again.form == "documents"
    assert 0 < again.repeated <= 1


def test_the_whole_of_a_short_text_is_counted(tmp_path: Path) -> None:
    """Also what the split cuts in two."""
    text = "\n\n".join("\n".join(lines) for lines in poems())
    found = measured(tmp_path, text)
    assert (found.form, found.units, found.whole) == ("titled", 150, True)
    assert found.length == np.mean([len("\n".join(lines)) for lines in poems()])
    twice = measured(tmp_path, "\n".join(Counter(names())) + "\n" + "\n".join(names()))
    assert (twice.form, twice.units) == ("list", 600)
    assert twice.repeated > 0.9
