"""Hold out whole documents for validation."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import CorpusError
from charrnn.text import holdout
from charrnn.text.corpus import Block
from charrnn.text.holdout import hold_out_documents
from charrnn.text.store import StoredCorpus, StoredData, Writer


@given(
    lengths=st.lists(st.integers(1, 9), min_size=2, max_size=30),
    fraction=st.floats(0.01, 0.99),
    group=st.integers(2, 40),
    block=st.integers(1, 20),
)
def test_held_out_documents_follow_the_others_intact(
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[int],
    fraction: float,
    group: int,
    block: int,
) -> None:
    folder = tmp_path_factory.mktemp("held")
    documents = [chr(ord("a") + i) * length for i, length in enumerate(lengths)]
    ends = np.cumsum(lengths)
    with Writer(folder, "char") as writer:
        writer.add(Block("".join(documents), ends))
    stored = StoredCorpus(
        name="t", symbols=writer.symbols, counts=[], length=writer.length, bytes=0,
        documents=writer.documents, characters=writer.length, val_start=None, sha256="",
        settings={}, files={}, notices=[], data_sha256=[],
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(holdout, "_GROUP", group)
        patch.setattr(holdout, "BLOCK_SYMBOLS", block)
        cut = hold_out_documents(folder, stored, fraction)
    data = StoredData(folder, stored.type)
    text = "".join(chr(writer.symbols[i]) for i in data.ids[:])
    ends = data.ends[:]
    starts = [0, *ends[:-1]]
    found = [text[a:b] for a, b in zip(starts, ends, strict=True)]
    assert sorted(found) == sorted(documents), "each document is there once, and complete"
    train = [d for d, start in zip(found, starts, strict=True) if start < cut]
    held = [d for d, start in zip(found, starts, strict=True) if start >= cut]
    assert train == [d for d in documents if d in train], "in their original order"
    assert held == [d for d in documents if d in held]
    assert cut == sum(map(len, train))
    assert held
    if group >= len(lengths):
        size = sum(map(len, held))
        assert size <= fraction * sum(lengths) or (len(held) == 1 and size == min(lengths))


def test_a_single_document_cannot_be_held_out(tmp_path: Path) -> None:
    with Writer(tmp_path, "char") as writer:
        writer.add(Block("abc", np.array([3])))
    stored = StoredCorpus(
        name="t", symbols=writer.symbols, counts=[], length=3, bytes=0, documents=1, characters=3,
        val_start=None, sha256="", settings={}, files={}, notices=[], data_sha256=[],
    )  # fmt: skip
    with pytest.raises(CorpusError, match="needs at least two documents"):
        hold_out_documents(tmp_path, stored, 0.5)
