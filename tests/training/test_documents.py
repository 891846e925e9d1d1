"""Short documents side by side: what is read, in which order, and where it continues."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import charrnn
from charrnn.errors import CheckpointError
from charrnn.model.language_model import PADDING
from charrnn.text.store import Symbols
from charrnn.training import documents
from charrnn.training.documents import DocumentLanes, has_short_documents
from tests.training.runs import stopping


def text_of(lengths: list[int], cut: int = 0) -> Symbols:
    """Documents whose ids are their own positions, without the last `cut` symbols."""
    ends = np.cumsum(lengths)
    whole = Symbols(np.arange(ends[-1], dtype=np.uint32), ends=ends)
    return whole.cut(0, len(whole) - cut)


def lanes_over(text: Symbols, batch_size: int = 3, seq_length: int = 5) -> DocumentLanes:
    return DocumentLanes(text, batch_size, seq_length, np.random.default_rng(0))


def epoch_of(lanes: DocumentLanes) -> list[Any]:
    chunks = [lanes.next() for _ in range(lanes.chunks_per_epoch)]
    return [chunk.targets[chunk.targets != PADDING].numpy() for chunk in chunks]


shapes = {
    "lengths": st.lists(st.integers(1, 40), min_size=2, max_size=60),
    "batch_size": st.integers(1, 6),
    "seq_length": st.integers(1, 8),
    "block": st.integers(1, 20),
}


@settings(deadline=None)
@given(**shapes, cut=st.integers(0, 1))
def test_every_symbol_is_learned_once_an_epoch(
    lengths: list[int], batch_size: int, seq_length: int, block: int, cut: int
) -> None:
    """However documents are cut, padded and arranged in blocks; each symbol follows its own."""
    text = text_of(lengths, cut)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "BLOCK", block)
        lanes = lanes_over(text, batch_size, seq_length)
        for _ in range(2):
            seen = []
            for _ in range(lanes.chunks_per_epoch):
                chunk = lanes.next()
                counted = chunk.targets != PADDING
                seen.append(chunk.targets[counted].numpy())
                assert chunk.symbols == len(seen[-1])
                before = chunk.inputs[counted].numpy()
                first = seen[-1] == 0  # the end of a document comes before the text
                assert (before[~first] == seen[-1][~first] - 1).all()
                assert (before[first] == lengths[0] - 1).all() or len(text) < lengths[0]
            assert (np.sort(np.concatenate(seen)) == np.arange(len(text))).all()


@given(**shapes)
@settings(deadline=None)
def test_a_saved_position_continues_with_the_same_chunks(
    lengths: list[int], batch_size: int, seq_length: int, block: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "BLOCK", block)
        text = text_of(lengths)
        lanes = lanes_over(text, batch_size, seq_length)
        for _ in range(lanes.chunks_per_epoch + 2):
            other = DocumentLanes(text, batch_size, seq_length, np.random.default_rng(7))
            other.move_to(lanes.position())
            assert other.carried == lanes.carried
            one, two = lanes.next(), other.next()
            assert one.fresh == two.fresh
            assert (one.inputs == two.inputs).all()
            assert (one.targets == two.targets).all()
            assert other.epochs_done == lanes.epochs_done


def test_each_epoch_has_an_order_of_its_own() -> None:
    lanes = lanes_over(text_of([3] * 50))
    one, two = np.concatenate(epoch_of(lanes)), np.concatenate(epoch_of(lanes))
    assert not np.array_equal(one, two)


def test_documents_of_similar_lengths_fill_the_chunks() -> None:
    """Ten thousand lengths like those of names: little padding, and chunks of one size."""
    lengths = np.random.default_rng(3).integers(3, 14, 10_000).tolist()
    lanes = lanes_over(text_of(lengths), 32, 64)
    chunks = [lanes.next() for _ in range(lanes.chunks_per_epoch)]
    assert sum(c.symbols for c in chunks) > 0.95 * sum(c.inputs.numel() for c in chunks)
    assert np.median([c.symbols for c in chunks]) == pytest.approx(32 * 64, rel=0.05)


def test_a_long_document_carries_its_state() -> None:
    """The first of its chunks starts afresh, and no other."""
    lanes = lanes_over(text_of([20, 20]), 2, 5)
    assert [lanes.next().fresh for _ in range(4)] == [True, False, False, False]


def test_long_documents_are_left_to_ordinary_lanes() -> None:
    assert has_short_documents(text_of([80] * 10), 5)
    assert not has_short_documents(text_of([81] * 10), 5)
    assert not has_short_documents(text_of([10]), 5)


@pytest.mark.parametrize("stop", [2, 9])
def test_a_run_of_an_earlier_version_says_to_fine_tune(
    corpus: Path, tmp_path: Path, stop: int
) -> None:
    """It read documents in lanes, and no checkpoint of it can be continued; its weights can be."""
    settings: dict[str, Any] = {"corpus_config": {"lines": True}, "checkpoint_dir": tmp_path}
    training = {"steps": 50, "batch_size": 4, "seq_length": 8, "save_every": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "has_short_documents", lambda *_: False)
        run = charrnn.train(
            corpus,
            model={"hidden_size": 8},
            training=training,
            run="old",
            **settings,
            **stopping(stop),
        )
        before = sorted(run.folder.iterdir())
    with pytest.raises(CheckpointError, match=r"cannot be continued.*`init_from=RUN`") as found:
        charrnn.resume(run.folder)
    assert "checkpoint=STEP" not in str(found.value)
    assert sorted(run.folder.iterdir()) == before, "nothing was deleted"
    tuned = charrnn.train(corpus, training={"steps": 1}, init_from=run.folder, **settings)
    assert tuned.end.step == 1
