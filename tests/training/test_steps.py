"""Truncated BPTT: a step, and what is carried from one to the next."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from charrnn.training.lanes import Lanes
from charrnn.training.trainer import Trainer
from tests.training.trainers import V, ids_of, trainer_over


def read_two_chunks(trainer: Trainer) -> None:
    """Make an epoch of two chunks from the beginning of the text."""
    assert isinstance(trainer.lanes, Lanes)
    trainer.lanes.chunks_per_epoch, trainer.lanes.offset = 2, 0


def losses_of(ids: Any, ends: tuple[int, ...], steps: int) -> list[float]:
    """The losses of a model with a learning rate of nearly 0, on one lane in chunks of 10."""
    losses: list[float] = []
    trainer = trainer_over(
        ids, 1, 10, ends=ends, steps=steps, optimizer="sgd", learning_rate=1e-300
    )
    read_two_chunks(trainer)
    trainer.run([lambda e: losses.append(e.loss) if e.kind == "step" else None])
    return losses


def test_one_chunk_over_the_text_is_full_bptt() -> None:
    """With one lane and one chunk, the gradient is that of the whole text."""
    ids = ids_of(30)
    trainer = trainer_over(ids, 1, 29, steps=1, optimizer="sgd", learning_rate=1e-300)
    whole = torch.from_numpy(ids.astype(np.int64))[:, None]
    logits, _ = trainer.model(whole[:-1], trainer.model.start(1))
    F.cross_entropy(logits.flatten(0, 1), whole[1:].flatten()).backward()
    expected = {
        n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.grad is not None
    }
    trainer.run()
    for name, parameter in trainer.model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-12, atol=1e-12)


def test_the_state_is_carried_from_chunk_to_chunk() -> None:
    """The second chunk's loss is that of an unbroken forward pass over both."""
    ids = ids_of(41)
    losses: list[float] = []
    trainer = trainer_over(ids, 2, 10, steps=2, optimizer="sgd", learning_rate=1e-300)
    read_two_chunks(trainer)
    trainer.run([lambda e: losses.append(e.loss) if e.kind == "step" else None])
    lanes = torch.from_numpy(ids[:40].astype(np.int64)).view(2, 20).T
    targets = torch.from_numpy(ids[1:].astype(np.int64)).view(2, 20).T
    logits, _ = trainer.model(lanes, trainer.model.start(2))
    second = F.cross_entropy(logits[10:].flatten(0, 1), targets[10:].flatten())
    assert losses[1] == pytest.approx(second.item(), rel=1e-12)


def test_the_state_does_not_cross_documents() -> None:
    """The first document changes its own loss, but not that of the second."""
    ids, other = ids_of(31), ids_of(31)
    other[:9] = (other[:9] + 1) % V  # not its last symbol, which predicts the next document
    for ends in ((10,), (10, 15, 31)):
        first, second = losses_of(ids, ends, 2), losses_of(other, ends, 2)
        assert first[0] != second[0]
        assert first[1] == second[1]
    assert losses_of(ids, (), 2)[1] != losses_of(other, (), 2)[1], "carried within a document"


def test_a_document_end_within_a_chunk_resets_the_state() -> None:
    """The loss is the mean over both documents, each read from a fresh state."""
    ids = ids_of(31)
    trainer = trainer_over(ids, 1, 10, steps=1)
    whole = torch.from_numpy(ids.astype(np.int64))[:, None]
    logits = [trainer.model(part, trainer.model.start(1))[0] for part in (whole[:3], whole[3:10])]
    expected = F.cross_entropy(torch.cat(logits).flatten(0, 1), whole[1:11].flatten())
    assert losses_of(ids, (4,), 1) == [pytest.approx(expected.item(), rel=1e-12)]


def test_an_epoch_starts_from_a_fresh_state() -> None:
    """In a text with no room for another offset, every epoch has the same chunks and losses."""
    losses: list[float] = []
    trainer = trainer_over(ids_of(21), 2, 10, steps=3, optimizer="sgd", learning_rate=1e-300)
    assert trainer.lanes.chunks_per_epoch == 1
    trainer.run([lambda e: losses.append(e.loss) if e.kind == "step" else None])
    assert losses[0] == losses[1] == losses[2]
    assert all(part.abs().max() > 0 for part in trainer.states[0]), "there was a state to carry"


def test_the_carried_state_is_detached() -> None:
    trainer = trainer_over(ids_of(100), 2, 10, steps=3)
    trainer.run()
    assert all(part.grad_fn is None and part.abs().max() > 0 for part in trainer.states[0])


def test_lanes_are_reset_at_the_given_rate() -> None:
    """Each lane on its own, before a chunk: never at 0, always at 1."""
    found = {}
    for rate in (0.0, 0.3, 1.0):
        trainer = trainer_over(ids_of(2000), 50, 2, state_reset=rate)
        trainer.lanes.next()  # every epoch starts with a reset of all lanes
        fresh = []
        for _ in range(15):
            resets = trainer._resets(trainer.lanes.next(), trainer.generators[0])
            assert resets is None or not resets[1:].any()
            fresh.append(torch.zeros(50) if resets is None else resets[0].float())
        found[rate] = float(torch.stack(fresh).mean())
    assert found == {0.0: 0.0, 0.3: pytest.approx(0.3, abs=0.06), 1.0: 1.0}


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan)])
def test_a_step_that_is_not_finite_is_skipped(loss: float, norm: float) -> None:
    """The weights stay; the state, which may have overflowed, is reset."""
    trainer = trainer_over(ids_of(200), 4, 10)
    _, states = trainer._learn(trainer.lanes.next())
    before = [p.detach().clone() for p in trainer.model.parameters()]
    assert not trainer._update(loss, norm, 0.1, states)
    assert all(map(torch.equal, trainer.model.parameters(), before))
    assert all(not part.any() for part in trainer.states[0])
    assert trainer._update(1.0, 1.0, 0.1, states)
    assert not all(map(torch.equal, trainer.model.parameters(), before))


def test_with_state_reset_1_no_chunk_depends_on_the_last() -> None:
    """The loss of a model that does not learn is that of the chunk alone; not so if carried."""
    ids = ids_of(41)
    lanes = torch.from_numpy(ids[:40].astype(np.int64)).view(2, 20).T
    targets = torch.from_numpy(ids[1:].astype(np.int64)).view(2, 20).T
    losses: list[float] = []
    for share in (1.0, 0.0):
        losses.clear()
        trainer = trainer_over(
            ids, 2, 10, steps=2, optimizer="sgd", learning_rate=1e-300, state_reset=share
        )
        read_two_chunks(trainer)
        trainer.run([lambda e: losses.append(e.loss) if e.kind == "step" else None])
        logits, _ = trainer.model(lanes[10:], trainer.model.start(2))
        alone = F.cross_entropy(logits.flatten(0, 1), targets[10:].flatten()).item()
        assert (losses[1] == pytest.approx(alone, rel=1e-12)) == (share == 1.0)


def test_bfloat16_keeps_weights_and_states_in_float32() -> None:
    """And products are in bfloat16: the loss differs a little."""
    losses = {}
    for precision in (torch.float32, torch.bfloat16):
        trainer = trainer_over(ids_of(200), 4, 10, steps=3)
        trainer.model.float()
        trainer.states = trainer.fresh_states()
        trainer.precision = precision
        trainer.run()
        losses[precision] = trainer.progress.train_loss
        tensors = [*trainer.model.parameters(), *trainer.states[0]]
        assert {t.dtype for t in tensors} == {torch.float32}
    assert losses[torch.float32] != losses[torch.bfloat16]
    assert losses[torch.float32] == pytest.approx(losses[torch.bfloat16], rel=0.02)
