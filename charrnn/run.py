"""One training run, its parts put together: corpus, model, trainer, checkpoints, log."""

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import torch

import charrnn
from charrnn.checkpoint.format import FORMAT, CorpusRecord, Manifest, SavedModel, write_checkpoint
from charrnn.checkpoint.store import Run, retire
from charrnn.errors import CheckpointError, CorpusError, RunError
from charrnn.evaluation import total_nats
from charrnn.generation.config import SamplingConfig
from charrnn.generation.stepper import Stepper
from charrnn.generation.text import Generation
from charrnn.model.config import ModelConfig
from charrnn.model.language_model import LanguageModel, export_weights, load_weights
from charrnn.text.config import CorpusConfig
from charrnn.text.encoded import EncodedCorpus
from charrnn.training.config import TrainingConfig
from charrnn.training.events import EndEvent, Log, Observer, StartEvent, WarningEvent
from charrnn.training.lanes import Lanes, fit
from charrnn.training.trainer import Hooks, Trainer, TrainerState, memory_estimate

if TYPE_CHECKING:
    from charrnn.checkpoint.format import Arrays

SAMPLE_LENGTH = 200
VALIDATION_LANES = 32


@dataclass(frozen=True)
class Plan:
    """Everything that decides a run."""

    run: Run
    corpus: EncodedCorpus
    text: CorpusConfig
    model: ModelConfig
    training: TrainingConfig
    device: torch.device
    threads: int


def execute(
    plan: Plan,
    *,
    weights: "Arrays | None" = None,
    saved: TrainerState | None = None,
    notices: Sequence[str] = (),
    observers: Sequence[Observer] = (),
    stop: Callable[[], bool] = lambda: False,
) -> EndEvent:
    """Train a run to its end, from its beginning or from where `saved` is.

    weights: to start from; fresh ones where left out. notices: warnings to give at the start.
    The number of torch's threads is set for the time of the run.
    """
    if len(plan.corpus.vocabulary) == 1 and plan.corpus.vocabulary.unknown is not None:
        raise CorpusError(
            f"{plan.corpus.name}: every character is rarer than --min-count {plan.text.min_count}; "
            "nothing is left to learn. Give a lower one"
        )
    threads_before = torch.get_num_threads()
    torch.set_num_threads(plan.threads)
    plan.run.path.mkdir(parents=True, exist_ok=True)
    log = Log(plan.run.log, step=saved.values["step"] if saved else 0)
    try:
        return _execute(plan, weights, saved, notices, (log, *observers), stop)
    finally:
        log.close()
        torch.set_num_threads(threads_before)


def _execute(
    plan: Plan,
    weights: "Arrays | None",
    saved: TrainerState | None,
    notices: Sequence[str],
    observers: Sequence[Observer],
    stop: Callable[[], bool],
) -> EndEvent:
    config, corpus = plan.training, plan.corpus
    weight_seed, dropout_seed, order_seed = np.random.SeedSequence(config.seed).spawn(3)
    model = LanguageModel(plan.model, len(corpus.vocabulary), _generator("cpu", weight_seed))
    if weights is not None:
        load_weights(model, weights)
    model.to(plan.device)
    batch_size, seq_length = fit(len(corpus.train), config.batch_size, config.seq_length)
    lanes = Lanes(corpus.train, batch_size, seq_length, np.random.default_rng(order_seed))
    dropout_rng = _generator(plan.device, dropout_seed)
    hooks = _hooks(plan, model, stop)
    trainer = Trainer(model, lanes, config, hooks, observers, dropout_rng)
    if saved is not None:
        _restore(plan, trainer, saved)
    start = _start_event(plan, trainer)
    for observer in observers:
        observer(start)
    for message in (*notices, *_fit_notices(config, batch_size, seq_length)):
        for observer in observers:
            observer(WarningEvent(trainer.step, message))
    return trainer.run()


def _restore(plan: Plan, trainer: Trainer, saved: TrainerState) -> None:
    try:
        trainer.load_state_dict(saved)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{plan.run.path}: the trainer's state in its checkpoint cannot be read ({error}); "
            "resume from another: --checkpoint STEP"
        ) from error
    if (reason := trainer.limit_reached()) is not None:
        raise RunError(
            f"run {plan.run.name} is finished ({reason}) after {trainer.step:,} steps; raise "
            "--steps, --epochs or --minutes to go on with it"
        )


def _hooks(plan: Plan, model: LanguageModel, stop: Callable[[], bool]) -> Hooks:
    corpus = plan.corpus

    def validate() -> float:
        nats = total_nats(model, corpus.val, lanes=VALIDATION_LANES)
        return nats / (len(corpus.val) - 1)

    def write_sample(step: int) -> str:
        stepper = Stepper(export_weights(model), plan.model)
        config = SamplingConfig(length=SAMPLE_LENGTH, seed=step)
        return "".join(Generation(stepper, corpus.vocabulary, config))

    def save(trainer: Trainer) -> str:
        state = trainer.state_dict()
        folder = plan.run.checkpoint_folder(trainer.step)
        saved_model = SavedModel(
            export_weights(model), plan.model, corpus.vocabulary, plan.text, trainer.step
        )
        write_checkpoint(folder, saved_model, state.arrays, _manifest(plan, trainer, state))
        retire(plan.run, plan.training.keep)
        return str(folder)

    has_validation = len(corpus.val) > 0
    return Hooks(validate if has_validation else None, write_sample, save, stop, time.perf_counter)


def _manifest(plan: Plan, trainer: Trainer, state: TrainerState) -> Manifest:
    corpus = plan.corpus
    return Manifest(
        format=FORMAT,
        step=trainer.step,
        saved_at=datetime.now(UTC).isoformat(),
        train_loss=trainer.train_loss,
        val_loss=trainer.val_loss if trainer.evaluated_at == trainer.step else None,
        corpus=CorpusRecord(
            name=corpus.name,
            sources=corpus.sources,
            sha256=corpus.sha256,
            characters=corpus.characters,
        ),
        text=plan.text,
        model=plan.model,
        training=asdict(plan.training),
        trainer=state.values,
        environment={
            "charrnn": charrnn.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "device": str(plan.device),
            "threads": plan.threads,
        },
    )


def _start_event(plan: Plan, trainer: Trainer) -> StartEvent:
    corpus, lanes = plan.corpus, trainer.lanes
    return StartEvent(
        step=trainer.step,
        run=plan.run.name,
        folder=str(plan.run.path),
        corpus=corpus.name,
        unit=corpus.vocabulary.unit,
        characters=corpus.characters,
        train_symbols=len(corpus.train),
        val_symbols=len(corpus.val),
        vocabulary_size=len(corpus.vocabulary),
        parameters=sum(p.numel() for p in trainer.model.parameters()),
        memory_bytes=memory_estimate(trainer.model, lanes.batch_size, lanes.seq_length),
        device=str(plan.device),
        threads=plan.threads,
        batch_size=lanes.batch_size,
        seq_length=lanes.seq_length,
        steps_per_epoch=lanes.chunks_per_epoch,
        model=asdict(plan.model),
        training=asdict(plan.training),
    )


def _fit_notices(config: TrainingConfig, batch_size: int, seq_length: int) -> list[str]:
    if (batch_size, seq_length) == (config.batch_size, config.seq_length):
        return []
    return [
        f"the corpus is short: {batch_size} lanes x {seq_length} steps instead of "
        f"{config.batch_size} x {config.seq_length}"
    ]


def _generator(device: torch.device | str, seed: np.random.SeedSequence) -> torch.Generator:
    return torch.Generator(device).manual_seed(int(seed.generate_state(1, np.uint64)[0]))
