"""Ids on disk."""

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
def test_any_text_and_its_documents_survive_the_disk(
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
def test_the_type_widens_when_an_id_does_not_fit(
    tmp_path: Path, distinct: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_COPY", 1_000)
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
    lengths=st.lists(st.integers(1, 9), min_size=2, max_size=30),
    share=st.floats(0.01, 0.99),
    group=st.integers(2, 40),
    copy=st.integers(1, 20),
)
def test_held_out_documents_stand_whole_behind_the_others(
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[int],
    share: float,
    group: int,
    copy: int,
) -> None:
    folder = tmp_path_factory.mktemp("held")
    documents = [chr(ord("a") + i) * length for i, length in enumerate(lengths)]
    ends = np.cumsum(lengths)
    with Writer(folder, "char") as writer:
        writer.add(Block("".join(documents), ends))
    stored = store.Stored(
        name="t", symbols=writer.symbols, counts=[], length=writer.length, bytes=0,
        documents=writer.documents, characters=writer.length, val_start=None, sha256="",
        settings={}, files=[], notices=[],
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_GROUP", group)
        patch.setattr(store, "_COPY", copy)
        cut = store.hold_out_documents(folder, stored, share)
    text = "".join(chr(writer.symbols[i]) for i in stored.ids(folder))
    starts = [0, *stored.ends(folder)[:-1]]
    found = [text[a:b] for a, b in zip(starts, stored.ends(folder), strict=True)]
    assert sorted(found) == sorted(documents), "every document is there once, and whole"
    train = [d for d, start in zip(found, starts, strict=True) if start < cut]
    held = [d for d, start in zip(found, starts, strict=True) if start >= cut]
    assert train == [d for d in documents if d in train], "in their order"
    assert held == [d for d in documents if d in held]
    assert cut == sum(map(len, train))
    assert held
    if group >= len(lengths):
        size = sum(map(len, held))
        assert size <= share * sum(lengths) or (len(held) == 1 and size == min(lengths))


def test_one_document_cannot_be_split(tmp_path: Path) -> None:
    with Writer(tmp_path, "char") as writer:
        writer.add(Block("abc", np.array([3])))
    stored = store.Stored(
        name="t", symbols=writer.symbols, counts=[], length=3, bytes=0, documents=1, characters=3,
        val_start=None, sha256="", settings={}, files=[], notices=[],
    )  # fmt: skip
    with pytest.raises(CorpusError, match="needs at least two documents"):
        store.hold_out_documents(tmp_path, stored, 0.5)


@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=12),
    data=st.data(),
    steps=st.integers(1, 6),
)
def test_states_begin_anew_at_the_last_symbol_of_each_document(
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


def test_columns_are_read_through_the_table() -> None:
    text = Symbols(np.array([0, 1, 2, 1, 0], np.uint8), np.array([7, 8, 9]))
    assert text.columns([0, 2], 3).tolist() == [[7, 9], [8, 8], [9, 7]]
    assert text[1:3].tolist() == [8, 9]
    assert np.concatenate(list(text.cut(1, 4).blocks())).tolist() == [8, 9, 8]
    assert len(text.cut(1, 4)) == 3
