"""Truncated BPTT, and the loop around it."""

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import charrnn
from charrnn.errors import CheckpointError, GenerationError, TrainingError
from charrnn.model.config import ModelConfig
from charrnn.model.language_model import LanguageModel
from charrnn.text.store import Symbols
from charrnn.training.config import TrainingConfig
from charrnn.training.context import ExecutionContext
from charrnn.training.documents import DocumentLanes
from charrnn.training.events import Event
from charrnn.training.hooks import Hooks
from charrnn.training.lanes import Lanes
from charrnn.training.saving import restore, state_of
from charrnn.training.trainer import Trainer
from charrnn.training.validation import Validation

V = 7


def trainer_over(
    ids: Any,
    batch_size: int,
    seq_length: int,
    *,
    ends: tuple[int, ...] = (),
    validate: Callable[[], float] | None = None,
    **settings: Any,
) -> Trainer:
    """A trainer in float64 without files. ends: of the documents of the text."""
    config = ModelConfig(
        num_layers=2, hidden_size=6, embedding_size=5, dropout=0.0, input_dropout=0.0
    )
    model = LanguageModel(config, V, torch.Generator().manual_seed(2)).double()
    text = Symbols(ids, ends=np.array(ends, dtype=np.int64))
    lanes = Lanes(text, batch_size, seq_length, np.random.default_rng(0))
    length = len(ids)
    hooks = Hooks(
        validate=None if validate is None else lambda: Validation(validate(), length),
        validate_best=None,
        write_sample=lambda _: "",
        save=lambda trainer: str(trainer.step),
        go_back=lambda _: None,
        drop_after=lambda _: None,
        judge=lambda _trainer, _reason: None,
    )
    context = ExecutionContext(torch.device("cpu"), threads=1, clock=lambda: 0.0)
    training = TrainingConfig(**({"warmup": 0, "grad_clip": 0.0, "state_reset": 0.0} | settings))
    return Trainer(model, lanes, training, context, hooks, torch.Generator())


def read_two_chunks(trainer: Trainer) -> None:
    """Make an epoch of two chunks from the beginning of the text."""
    assert isinstance(trainer.lanes, Lanes)
    trainer.lanes.chunks_per_epoch, trainer.lanes.offset = 2, 0


def ids_of(length: int) -> Any:
    return np.random.default_rng(5).integers(V, size=length).astype(np.uint8)


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


def losses_of(ids: Any, ends: tuple[int, ...], steps: int) -> list[float]:
    """The losses of a model with a learning rate of nearly 0, on one lane in chunks of 10."""
    losses: list[float] = []
    trainer = trainer_over(
        ids, 1, 10, ends=ends, steps=steps, optimizer="sgd", learning_rate=1e-300
    )
    read_two_chunks(trainer)
    trainer.run([lambda e: losses.append(e.loss) if e.kind == "step" else None])
    return losses


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
    assert all(part.abs().max() > 0 for part in trainer.state), "there was a state to carry"


def test_the_carried_state_is_detached() -> None:
    trainer = trainer_over(ids_of(100), 2, 10, steps=3)
    trainer.run()
    assert all(part.grad_fn is None and part.abs().max() > 0 for part in trainer.state)


def test_a_run_learns(corpus: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    result = charrnn.train(
        corpus,
        model=ModelConfig(hidden_size=32, embedding_size=8),
        training=TrainingConfig(
            steps=150, batch_size=4, seq_length=16, learning_rate=0.01, eval_every=50
        ),
        checkpoint_dir=tmp_path,
        observers=[events.append],
    )
    losses = [e.val_loss for e in events if e.kind == "evaluation"]
    assert len(losses) == 3
    assert losses[-1] < 2 < losses[0] < math.log(27)
    assert result.end.best_loss == min(losses)


def run_kinds(corpus: Path, folder: Path, **settings: Any) -> list[Event]:
    events: list[Event] = []
    charrnn.train(
        corpus,
        model=ModelConfig(hidden_size=8, embedding_size=4),
        training=TrainingConfig(**({"batch_size": 4, "seq_length": 16} | settings)),
        checkpoint_dir=folder,
        observers=[events.append],
    )
    return events


def steps_of(events: list[Event], kind: str) -> list[int]:
    return [e.step for e in events if e.kind != "reading" and e.kind == kind]


def of_the_run(events: list[Event]) -> list[Event]:
    """All events but those of reading the corpus."""
    return [e for e in events if e.kind != "reading"]


def test_evaluations_samples_and_saves_come_when_due(corpus: Path, tmp_path: Path) -> None:
    events = run_kinds(corpus, tmp_path, steps=10, eval_every=4, sample_every=3, save_every=5)
    assert steps_of(events, "step") == list(range(1, 11))
    assert steps_of(events, "evaluation") == [4, 8, 10]
    assert steps_of(events, "sample") == [3, 6, 9]
    assert set(steps_of(events, "checkpoint")) >= {5, 10}
    assert of_the_run(events)[0].kind == "start"
    assert events[-1].kind == "end"
    (run,) = charrnn.list_runs(tmp_path)
    assert [c.step for c in run.checkpoints][-1] == 10


def test_reading_events_come_before_the_run_starts(corpus: Path, tmp_path: Path) -> None:
    """They count all bytes, first while checking and then while encoding."""
    events = run_kinds(corpus, tmp_path, steps=1)
    reading = list(itertools.takewhile(lambda e: e.kind == "reading", events))
    assert [*reading, *of_the_run(events)] == events
    last = {e.what: (e.done, e.total) for e in reading if e.kind == "reading"}
    size = corpus.stat().st_size
    assert last["checking"] == (size, size)
    assert last.get("encoding", (size, size)) == (size, size)  # not if the cache has it


def test_samples_come_with_evaluations_by_default(corpus: Path, tmp_path: Path) -> None:
    default = run_kinds(corpus, tmp_path, steps=7, eval_every=3)
    assert steps_of(default, "evaluation") == steps_of(default, "sample") == [3, 6, 7]
    assert all(len(e.text) == 200 for e in default if e.kind == "sample")
    assert (
        steps_of(run_kinds(corpus, tmp_path, steps=6, eval_every=3, sample_every=0), "sample") == []
    )


@pytest.mark.parametrize("settings", [{"eval_every": 0}, {"eval_every": 3}])
def test_the_last_evaluation_is_in_the_last_checkpoint(
    corpus: Path, tmp_path: Path, settings: dict[str, int]
) -> None:
    """Also if --save-every falls on the last step."""
    end = run_kinds(corpus, tmp_path, steps=10, save_every=5, **settings)[-1]
    assert end.kind == "end"
    (run,) = charrnn.list_runs(tmp_path)
    assert run.latest.step == 10
    assert run.latest.manifest.val_loss is not None
    assert (run.best.step, run.best.manifest.val_loss) == (end.best_step, end.best_loss)


def test_an_overflowing_model_is_neither_sampled_nor_best() -> None:
    """A loss of NaN is never the best, and a sample that fails is a warning."""
    events: list[Event] = []
    losses = iter([math.nan, 2.0])
    trainer = trainer_over(ids_of(100), 2, 10, steps=2, eval_every=1, validate=lambda: next(losses))

    def fail(_step: int) -> str:
        raise GenerationError("overflow")

    trainer.hooks = replace(trainer.hooks, write_sample=fail)
    end = trainer.run([events.append])
    assert (end.best_step, end.best_loss) == (2, 2.0)
    assert [e.message for e in events if e.kind == "warning"] == ["no sample: overflow"] * 2


def test_the_first_limit_ends_the_run(corpus: Path, tmp_path: Path) -> None:
    events = run_kinds(corpus, tmp_path, steps=1000, epochs=1.5)
    end, start = events[-1], of_the_run(events)[0]
    assert end.kind == "end"
    assert start.kind == "start"
    assert end.reason == "epochs"
    assert end.step == math.ceil(1.5 * start.steps_per_epoch)
    timed = run_kinds(corpus, tmp_path, minutes=0.002)[-1]
    assert timed.kind == "end"
    assert timed.reason == "minutes"
    assert timed.seconds >= 0.12


def test_the_schedule_follows_the_limit_reached_first(corpus: Path, tmp_path: Path) -> None:
    """The cosine reaches its minimum at the end, whichever limit ends the run."""
    for limits in ({"steps": 40}, {"epochs": 1, "steps": 10_000}, {"minutes": 0.005}):
        events = run_kinds(corpus, tmp_path, warmup=0, learning_rate=0.01, **limits)
        rates = [e.learning_rate for e in events if e.kind == "step"]
        assert rates[0] == pytest.approx(0.01)
        assert rates[-1] < 0.002
        assert rates == sorted(rates, reverse=True)


def test_patience_ends_a_run_that_stops_improving() -> None:
    losses = iter([3.0, 2.0, 2.1, 2.2, 2.3])
    trainer = trainer_over(
        ids_of(100), 2, 10, steps=100, eval_every=1, patience=3, validate=lambda: next(losses)
    )
    end = trainer.run()
    assert (end.reason, end.step, end.best_step, end.best_loss) == ("patience", 5, 2, 2.0)


def test_a_run_can_train_without_validation(corpus: Path, tmp_path: Path) -> None:
    result = charrnn.train(
        corpus,
        corpus_config=charrnn.CorpusConfig(val_fraction=0),
        model=ModelConfig(hidden_size=8),
        training=TrainingConfig(steps=3, eval_every=1),
        checkpoint_dir=tmp_path,
    )
    assert result.end.best_loss is None
    assert charrnn.load(result.folder).step == 3


def test_a_short_corpus_gets_fewer_lanes_and_a_notice(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("a short text of some forty characters..")
    events: list[Event] = []
    charrnn.train(
        path,
        model=ModelConfig(hidden_size=4),
        training=TrainingConfig(steps=2),
        checkpoint_dir=tmp_path,
        observers=[events.append],
    )
    (notice,) = (e.message for e in events if e.kind == "warning")
    assert notice == "the corpus is short: 1 lane x 34 characters instead of 32 x 64"


def test_a_loss_that_is_not_a_number_ends_the_run_with_advice(corpus: Path, tmp_path: Path) -> None:
    """Real divergence: a plain RNN with relu, a huge learning rate and no clipping."""
    events: list[Event] = []
    with pytest.raises(TrainingError, match=r"smaller `learning_rate` or with `grad_clip=1`"):
        charrnn.train(
            corpus,
            model=ModelConfig(cell="rnn", nonlinearity="relu", hidden_size=32, num_layers=3),
            training=TrainingConfig(
                steps=500, optimizer="sgd", learning_rate=1e5, warmup=0, grad_clip=0, save_every=1,
                schedule="constant", eval_every=0,
            ),
            checkpoint_dir=tmp_path,
            observers=[events.append],
        )  # fmt: skip
    assert any("is not finite or far too large" in e.message for e in events if e.kind == "warning")
    for run in charrnn.list_runs(tmp_path):
        weights = charrnn.load(run.path, checkpoint="latest")._weights
        assert all(np.isfinite(array).all() for array in weights.values())


def test_the_log_contains_every_point_of_the_curves(corpus: Path, tmp_path: Path) -> None:
    events = run_kinds(corpus, tmp_path, steps=12, eval_every=5)
    lines = (tmp_path / "river" / "log.jsonl").read_text().splitlines()
    logged = [json.loads(line) for line in lines]
    assert [o["event"] for o in logged] == [e.kind for e in of_the_run(events)]
    curve = [
        (o["step"], o["loss"], o["grad_norm"], o["learning_rate"])
        for o in logged
        if o["event"] == "step"
    ]
    assert curve == [
        (e.step, e.loss, e.grad_norm, e.learning_rate) for e in events if e.kind == "step"
    ]
    assert [o["val_loss"] for o in logged if o["event"] == "evaluation"] == [
        e.val_loss for e in events if e.kind == "evaluation"
    ]


def test_lanes_are_reset_at_the_given_rate() -> None:
    """Each lane on its own, before a chunk: never at 0, always at 1."""
    found = {}
    for rate in (0.0, 0.3, 1.0):
        trainer = trainer_over(ids_of(2000), 50, 2, state_reset=rate)
        trainer.lanes.next()  # every epoch starts with a reset of all lanes
        fresh = []
        for _ in range(15):
            resets = trainer._read().resets
            assert resets is None or not resets[1:].any()
            fresh.append(torch.zeros(50) if resets is None else resets[0].float())
        found[rate] = float(torch.stack(fresh).mean())
    assert found == {0.0: 0.0, 0.3: pytest.approx(0.3, abs=0.06), 1.0: 1.0}


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan)])
def test_a_step_that_is_not_finite_is_skipped(loss: float, norm: float) -> None:
    """The weights stay; the state, which may have overflowed, is reset."""
    trainer = trainer_over(ids_of(200), 4, 10)
    found, state = trainer._forward(trainer._read())
    trainer.optimizer.backward(found)
    before = [p.detach().clone() for p in trainer.model.parameters()]
    assert not trainer._update(torch.tensor(loss), norm, 0.1, state)
    assert all(map(torch.equal, trainer.model.parameters(), before))
    assert all(not part.any() for part in trainer.state)
    assert trainer._update(torch.tensor(1.0), 1.0, 0.1, state)
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
        trainer.state = trainer.model.start(4)
        trainer.precision = precision
        trainer.run()
        losses[precision] = trainer.progress.train_loss
        tensors = [*trainer.model.parameters(), *trainer.state]
        assert {t.dtype for t in tensors} == {torch.float32}
    assert losses[torch.float32] != losses[torch.bfloat16]
    assert losses[torch.float32] == pytest.approx(losses[torch.bfloat16], rel=0.02)


def test_a_run_that_read_documents_otherwise_says_what_helps() -> None:
    """Earlier versions read short documents one after the other, with a state for each lane."""
    ids = ids_of(200)
    before = trainer_over(ids, 4, 10, ends=tuple(range(5, 201, 5)))
    now = trainer_over(ids, 4, 10, ends=tuple(range(5, 201, 5)))
    assert isinstance(before.lanes, Lanes)
    text = before.lanes.text
    now.lanes = DocumentLanes(text, 4, 10, np.random.default_rng(0))
    assert now.lanes.carried != 4
    with pytest.raises(CheckpointError, match=r"short documents in another way.*`init_from=RUN`"):
        restore(now, state_of(before))
