"""Ids on disk: written, memory-mapped, read slice by slice."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import CorpusError
from charrnn.text import store
from charrnn.text.corpus import Block
from charrnn.text.store import Symbols, Writer

block = st.tuples(st.text(st.characters(codec="utf-8"), max_size=8), st.lists(st.integers(0, 8)))


@pytest.mark.parametrize("unit", ["char", "byte"])
@given(blocks=st.lists(block))
def test_texts_and_document_ends_survive_the_disk(
    tmp_path_factory: pytest.TempPathFactory, unit: str, blocks: list[tuple[str, list[int]]]
) -> None:
    folder = tmp_path_factory.mktemp("store")
    ends, text = set(), ""
    with Writer(folder, unit) as writer:
        for piece, offsets in blocks:
            kept = sorted(offset for offset in offsets if offset <= len(piece))
            writer.add(Block(piece, np.array(kept, dtype=np.int64)))
            ends |= {len(encoded(text + piece[:offset], unit)) for offset in kept} - {0}
            text += piece
    kind = np.min_scalar_type(max(len(writer.symbols) - 1, 0))
    ids = np.fromfile(folder / "ids.bin", kind)
    assert [writer.symbols[i] for i in ids] == encoded(text, unit)
    assert np.fromfile(folder / "ends.bin", np.int64).tolist() == sorted(ends)
    assert (writer.characters, writer.length) == (len(text), len(encoded(text, unit)))
    expected = np.bincount(ids, minlength=len(writer.symbols))
    assert writer.counts[: len(writer.symbols)].tolist() == expected.tolist()


def encoded(text: str, unit: str) -> list[int]:
    return list(text.encode()) if unit == "byte" else [ord(c) for c in text]


@pytest.mark.parametrize("distinct", [255, 256, 257, 65_536, 65_537])
def test_the_integer_type_widens_when_an_id_does_not_fit(
    tmp_path: Path, distinct: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BLOCK_SYMBOLS", 1_000)
    text = "".join(map(chr, range(0x10000, 0x10000 + distinct)))
    with Writer(tmp_path, "char") as writer:
        for start in range(0, distinct, 7_001):
            writer.add(Block(text[start : start + 7_001], np.zeros(0, np.int64)))
        writer.add(Block(text[:50], np.zeros(0, np.int64)))
    ids = np.fromfile(tmp_path / "ids.bin", np.min_scalar_type(distinct - 1))
    assert ids.tolist() == [*range(distinct), *range(50)]


def test_a_lone_surrogate_is_refused(tmp_path: Path) -> None:
    with (
        Writer(tmp_path, "char") as writer,
        pytest.raises(CorpusError, match=r"U\+DC80, half of a surrogate pair"),
    ):
        writer.add(Block("a\udc80", np.zeros(0, np.int64)))


@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=12),
    data=st.data(),
    steps=st.integers(1, 6),
)
def test_states_are_reset_at_the_end_of_each_document(
    lengths: list[int], data: st.DataObject, steps: int
) -> None:
    ends = np.cumsum(lengths)
    ids = np.arange(ends[-1], dtype=np.uint8)
    first = data.draw(st.integers(0, len(ids) - 1))
    text = Symbols(ids, ends=ends).cut(first, len(ids))
    starts = data.draw(st.lists(st.integers(0, len(text)), min_size=1, max_size=4))
    expected = np.array([[first + s + t + 1 in ends for s in starts] for t in range(steps)])
    found = text.resets(starts, steps)
    assert (found is None) == (not expected.any())
    if found is not None:
        assert found.tolist() == expected.tolist()


def test_ids_are_translated_by_the_table() -> None:
    text = Symbols(np.array([0, 1, 2, 1, 0], np.uint8), np.array([7, 8, 9]))
    assert text.columns([0, 2], 3).tolist() == [[7, 9], [8, 8], [9, 7]]
    assert text[1:3].tolist() == [8, 9]
    assert np.concatenate(list(text.cut(1, 4).blocks())).tolist() == [8, 9, 8]
    assert len(text.cut(1, 4)) == 3
