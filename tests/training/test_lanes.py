"""Lanes over the corpus: what is read, in which order, and where it continues."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.text.store import Symbols
from charrnn.training.config import fit
from charrnn.training.lanes import Chunk, Lanes


def lanes_over(length: int, batch_size: int, seq_length: int, seed: int = 0) -> Lanes:
    """Lanes over one document, whose ids are their own positions."""
    text = Symbols(np.arange(length, dtype=np.uint32))
    return Lanes(text, *fit(length, batch_size, seq_length), np.random.default_rng(seed))


def is_first(chunk: Chunk) -> bool:
    """Whether all lanes are reset before the chunk's first step; asserts no other resets."""
    if chunk.resets is None:
        return False
    assert chunk.resets[0].all()
    assert not chunk.resets[1:].any()
    return True


sizes = {
    "length": st.integers(2, 400),
    "batch_size": st.integers(1, 9),
    "seq_length": st.integers(1, 20),
}


@given(**sizes)
def test_each_lane_continues_where_it_stopped(
    length: int, batch_size: int, seq_length: int
) -> None:
    """Targets are the inputs one symbol later; a chunk starts where the last one ended."""
    lanes = lanes_over(length, batch_size, seq_length)
    before = None
    for number in range(2 * lanes.chunks_per_epoch):
        chunk = lanes.next()
        assert is_first(chunk) == (number % lanes.chunks_per_epoch == 0)
        assert (chunk.targets == chunk.inputs + 1).all()
        assert (chunk.inputs[1:] == chunk.inputs[:-1] + 1).all()
        if before is not None and not is_first(chunk):
            assert (chunk.inputs[0] == before.inputs[-1] + 1).all()
        before = chunk


@given(**sizes)
def test_no_symbol_is_learned_twice_in_an_epoch(
    length: int, batch_size: int, seq_length: int
) -> None:
    lanes = lanes_over(length, batch_size, seq_length)
    seen = np.concatenate(
        [lanes.next().targets.numpy().ravel() for _ in range(lanes.chunks_per_epoch)]
    )
    assert len(np.unique(seen)) == len(seen)
    assert seen.min() >= 1
    assert seen.max() < length


def test_an_epoch_leaves_out_less_than_a_chunk_and_a_lane_step() -> None:
    lanes = lanes_over(100_000, 8, 50)
    left_out = 100_000 - 1 - lanes.chunks_per_epoch * 8 * 50
    assert left_out < 8 * 50 + 50


def test_chunk_borders_and_lanes_move_between_epochs() -> None:
    lanes = lanes_over(10_001, 10, 100)  # 10,000 targets, which are exactly 10 chunks
    offsets = set()
    for _ in range(20 * lanes.chunks_per_epoch):
        if is_first(lanes.next()):
            offsets.add(lanes.offset)
    assert len(offsets) > 10


@given(taken=st.integers(0, 40), **sizes)
def test_a_restored_position_continues_the_same(
    length: int, batch_size: int, seq_length: int, taken: int
) -> None:
    lanes = lanes_over(length, batch_size, seq_length)
    for _ in range(taken):
        lanes.next()
    state = lanes.position()
    other = lanes_over(length, batch_size, seq_length, seed=9)
    other.move_to(state)
    for _ in range(30):
        a, b = lanes.next(), other.next()
        assert (a.inputs == b.inputs).all()
        assert is_first(a) == is_first(b)
    assert lanes.epochs_done == other.epochs_done


@given(
    data=st.data(),
    before=st.integers(0, 30),
    behind=st.integers(0, 30),
    seed=st.integers(0, 99),
    **sizes,
)
def test_states_are_reset_at_documents_and_epochs_only(
    data: st.DataObject,
    before: int,
    behind: int,
    seed: int,
    length: int,
    batch_size: int,
    seq_length: int,
) -> None:
    """At the last symbol of a document, from which the first of the next is predicted.

    The text is a part of a longer one, as the training part of a corpus is.
    """
    total = before + length + behind
    ends = sorted(data.draw(st.sets(st.integers(1, total))))
    whole = Symbols(np.arange(total, dtype=np.uint32), ends=np.array(ends, dtype=np.int64))
    text = whole.cut(before, before + length)
    lanes = Lanes(text, *fit(length, batch_size, seq_length), np.random.default_rng(seed))
    for number in range(3 * lanes.chunks_per_epoch):
        chunk = lanes.next()
        expected = np.isin(chunk.inputs.numpy() + 1, ends)  # an id is its own position
        if number % lanes.chunks_per_epoch == 0:
            expected[0] = True
        found = np.zeros_like(expected) if chunk.resets is None else chunk.resets.numpy()
        assert found.dtype == bool
        assert (found == expected).all()
        assert (chunk.resets is None) == (not expected.any())


@pytest.mark.parametrize(
    ("length", "expected"),
    [(10_000, (32, 64)), (2_049, (32, 64)), (1_000, (15, 64)), (65, (1, 64)), (11, (1, 10))],
)
def test_a_short_text_gets_fewer_lanes_then_fewer_steps(
    length: int, expected: tuple[int, int]
) -> None:
    assert fit(length, 32, 64) == expected
