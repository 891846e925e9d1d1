"""One training run, its parts put together: corpus, model, trainer, checkpoints, log."""

import math
import platform
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import charrnn
from charrnn.checkpoint.format import (
    FORMAT,
    CorpusRecord,
    Manifest,
    Saved,
    SavedModel,
    write_checkpoint,
)
from charrnn.checkpoint.store import Run
from charrnn.checkpoint.upkeep import drop_after, read_before, retire
from charrnn.checkpoint.writer import remove
from charrnn.errors import (
    CharrnnError,
    CheckpointError,
    CorpusError,
    MemoryShortageError,
    RunError,
    counted,
)
from charrnn.generation.config import SamplingConfig
from charrnn.generation.stepper import Stepper
from charrnn.generation.texts import begin, generations
from charrnn.model.config import ModelConfig, multiplied_weights, parameter_shapes
from charrnn.model.device import precision_name, resolve_precision, torch_threads
from charrnn.model.language_model import LanguageModel, export_weights, load_weights
from charrnn.text.config import CorpusConfig
from charrnn.text.encoded import EncodedCorpus
from charrnn.training.config import TrainingConfig, fit
from charrnn.training.cost import memory_estimate, symbols_per_second
from charrnn.training.events import EndEvent, Log, Observer, StartEvent, WarningEvent
from charrnn.training.lanes import Lanes
from charrnn.training.trainer import Hooks, Trainer, TrainerState
from charrnn.training.validation import total_nats

if TYPE_CHECKING:
    from charrnn.checkpoint.arrays import Arrays

# What torch says in errors that are of no type of their own.
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "alloc_failed")
SAMPLE_LENGTH = 200
SAMPLE_DOCUMENTS = 8
VALIDATION_LANES = 32


@dataclass(frozen=True)
class Plan:
    """Everything that decides a run.

    chosen: the settings that were chosen for the user, name to value. check_folder: see `claimed`.
    """

    run: Run
    corpus: EncodedCorpus
    text: CorpusConfig
    model: ModelConfig
    training: TrainingConfig
    device: torch.device
    threads: int
    check_folder: Callable[[], None]
    chosen: Mapping[str, Any] = field(default_factory=dict)


def execute(
    plan: Plan,
    *,
    weights: "Arrays | None" = None,
    saved: Saved | None = None,
    notices: Sequence[str] = (),
    observers: Sequence[Observer] = (),
    stop: Callable[[], bool] = lambda: False,
) -> EndEvent:
    """Train a run to its end, from its beginning or from a checkpoint of it.

    weights: to begin with; fresh ones where left out. notices: warnings to give at the start.
    The number of torch's threads is set for the time of the run. The run must be `claimed`.
    Nothing on disk is touched before it is certain that the run can begin or go on.
    """
    if plan.corpus.vocabulary.symbols == ("",):
        raise CorpusError(
            f"{plan.corpus.name}: every character is rarer than `min_count={plan.text.min_count}`; "
            "nothing is left to learn. Give a lower one"
        )
    with (
        torch_threads(plan.threads),
        _memory_told(plan.model, plan.training, len(plan.corpus.vocabulary), plan.device),
        ThreadPoolExecutor(1, "charrnn") as background,
    ):
        begin_with = weights if saved is None else saved.model.weights
        trainer = _trainer(plan, begin_with, stop, background)
        told = [*plan.corpus.notices, *notices, *_notices(plan.training, trainer.lanes)]
        if saved is not None:
            _restore(plan, trainer, saved)
            _check_unfinished(plan, trainer)
            told += _differences(plan, saved.manifest)
        start = _start_event(plan, trainer)
        for observer in observers:
            observer(start)  # from now on a signal is no reason to leave in the middle
        if saved is None:
            trainer.save_first()
        else:
            told += drop_after(plan.run, trainer.step)
        with closing(Log(plan.run.log, trainer.step, observers)) as log:
            log(start)
            everyone: tuple[Observer, ...] = (log, *observers)
            for message in told:
                for observer in everyone:
                    observer(WarningEvent(trainer.step, message))
            try:
                return trainer.run(everyone)
            except CheckpointError as error:
                raise _unsaved(plan, error) from error


def _trainer(
    plan: Plan, weights: "Arrays | None", stop: Callable[[], bool], background: Executor
) -> Trainer:
    config, corpus = plan.training, plan.corpus
    weight_seed, dropout_seed, order_seed = np.random.SeedSequence(config.seed).spawn(3)
    model = LanguageModel(plan.model, len(corpus.vocabulary), _generator("cpu", weight_seed))
    if weights is not None:
        load_weights(model, weights)
    model.to(plan.device)
    batch_size, seq_length = fit(len(corpus.train), config.batch_size, config.seq_length)
    lanes = Lanes(corpus.train, batch_size, seq_length, np.random.default_rng(order_seed))
    dropout_rng = _generator(plan.device, dropout_seed)
    hooks = _hooks(plan, model, stop, background)
    precision = _precision(plan.model, config, plan.device)
    return Trainer(model, lanes, config, hooks, dropout_rng, precision)


def _restore(plan: Plan, trainer: Trainer, saved: Saved) -> None:
    state = TrainerState(dict(saved.arrays), saved.manifest.trainer)
    try:
        trainer.load_state_dict(
            state, same_corpus=saved.manifest.corpus.sha256 == plan.corpus.sha256
        )
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise CheckpointError(
            f"{saved.folder}: the trainer's state in it cannot be used ({str(error)[:200]}); "
            "resume from another checkpoint: `checkpoint=STEP`"
        ) from error


def _check_unfinished(plan: Plan, trainer: Trainer) -> None:
    if (reason := trainer.limit_reached()) is not None and not trainer.lacks_evaluation():
        flag = "`patience`" if reason == "patience" else "`steps`, `epochs` or `minutes`"
        raise RunError(
            f"run {plan.run.name} is finished ({reason}) after {trainer.step:,} steps; raise "
            f"{flag} to go on with it"
        )


def _unsaved(plan: Plan, error: CheckpointError) -> CheckpointError:
    """Say besides why a run could not be saved at its end how it can go on."""
    try:
        step = Run(plan.run.path).latest.step
    except (OSError, CharrnnError):
        return error
    return CheckpointError(
        f"{error}\n  Once that is mended, go on from step {step:,}: charrnn resume "
        f"{shlex.quote(str(plan.run.path))}"
    )


class _StoppedError(Exception):
    """A wish to stop, on its way out of an evaluation."""


def _hooks(
    plan: Plan, model: LanguageModel, stop: Callable[[], bool], background: Executor
) -> Hooks:
    corpus, end = plan.corpus, plan.text.document_end
    held_out = corpus.val.cut(0, plan.training.eval_length + 1)

    def ask(_predicted: int) -> None:
        if stop():
            raise _StoppedError

    def validate() -> float | None:
        try:
            nats = total_nats(model, held_out, lanes=VALIDATION_LANES, on_progress=ask)
        except _StoppedError:
            return None
        return nats / (len(held_out) - 1)

    def write_sample(step: int) -> str:
        stepper = Stepper(export_weights(model), plan.model)
        config = SamplingConfig(length=SAMPLE_LENGTH, seed=step)
        start = begin(corpus.vocabulary, config, end=end)
        texts: list[str] = []
        for generation in generations(stepper, start, config, SAMPLE_DOCUMENTS if end else 1):
            texts.append("".join(generation))
            if sum(map(len, texts)) >= SAMPLE_LENGTH:
                break
        return "\n".join(texts)

    return Hooks(
        validate=validate if len(held_out) else None,
        write_sample=write_sample,
        save=lambda trainer: _save(plan, trainer, background),
        go_back=lambda trainer: _go_back(plan, trainer),
        stop=stop,
        clock=time.perf_counter,
    )


def _save(plan: Plan, trainer: Trainer, background: Executor) -> str:
    plan.check_folder()
    state = trainer.state_dict()
    folder = plan.run.checkpoint_folder(trainer.step)
    weights, vocabulary = export_weights(trainer.model), plan.corpus.vocabulary
    saved = SavedModel(weights, plan.model, vocabulary, plan.text, trainer.step)
    write_checkpoint(folder, saved, state.arrays, _manifest(plan, trainer, state))
    with suppress(OSError, CharrnnError):  # what cannot be deleted now is deleted the next time
        for gone in retire(plan.run, plan.training.keep):
            background.submit(remove, gone)  # training need not wait for it
    return str(folder)


def _go_back(plan: Plan, trainer: Trainer) -> bool:
    found = read_before(plan.run, trainer.last_good)
    if found is None:
        return False
    load_weights(trainer.model, found.model.weights)
    _restore(plan, trainer, found)
    drop_after(plan.run, trainer.step)
    return True


def _manifest(plan: Plan, trainer: Trainer, state: TrainerState) -> Manifest:
    corpus = plan.corpus
    return Manifest(
        format=FORMAT,
        step=trainer.step,
        saved_at=datetime.now(UTC).isoformat(),
        train_loss=trainer.train_loss,
        val_loss=_val_loss(trainer),
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
        environment=_environment(plan),
    )


def _val_loss(trainer: Trainer) -> float | None:
    """Return the validation loss at this very step, if there is one that is a number."""
    loss = trainer.val_loss
    if loss is None or trainer.evaluated_at != trainer.step or not math.isfinite(loss):
        return None
    return loss


def _start_event(plan: Plan, trainer: Trainer) -> StartEvent:
    corpus, lanes = plan.corpus, trainer.lanes
    return StartEvent(
        step=trainer.step,
        run=plan.run.name,
        folder=str(plan.run.path),
        corpus=corpus.name,
        unit=corpus.vocabulary.unit,
        characters=corpus.characters,
        documents=corpus.documents,
        train_symbols=len(corpus.train),
        val_symbols=len(corpus.val),
        vocabulary_size=len(corpus.vocabulary),
        parameters=sum(p.numel() for p in trainer.model.parameters()),
        memory_bytes=memory_estimate(trainer.model, lanes.batch_size, lanes.seq_length),
        device=str(plan.device),
        threads=plan.threads,
        precision=precision_name(trainer.precision),
        batch_size=lanes.batch_size,
        seq_length=lanes.seq_length,
        steps_per_epoch=lanes.chunks_per_epoch,
        model=asdict(plan.model),
        training=asdict(plan.training),
        chosen=dict(plan.chosen),
    )


def _differences(plan: Plan, before: Manifest) -> list[str]:
    """Say what keeps a run from going on bit for bit as it would have."""
    notices = []
    if before.corpus.sha256 != plan.corpus.sha256:
        notices.append(
            f"the corpus {plan.corpus.name} has changed; training goes on from its beginning"
        )
    now = _environment(plan)
    differ = [
        f"{key} {now[key]} instead of {str(before.environment.get(key))[:40]}"
        for key in ("charrnn", "torch", "device", "threads", "precision")
        if now[key] != before.environment.get(key)
    ]
    if differ:
        notices.append(
            f"{', '.join(differ)}: the run goes on, but not bit for bit as it would have"
        )
    return notices


def products_per_second(
    vocabulary_size: int,
    device: torch.device,
    threads: int,
    model: ModelConfig,
    training: TrainingConfig,
) -> float:
    """Measure how fast a model would train here, in products of weights.

    Raises MemoryShortageError.
    """
    precision = _precision(model, training, device)
    with torch_threads(threads), _memory_told(model, training, vocabulary_size, device):
        speed = symbols_per_second(model, training, vocabulary_size, device, precision)
    return speed * multiplied_weights(model, vocabulary_size)


def _environment(plan: Plan) -> dict[str, str | int]:
    return {
        "charrnn": charrnn.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": str(plan.device),
        "threads": plan.threads,
        "precision": precision_name(_precision(plan.model, plan.training, plan.device)),
    }


def _notices(config: TrainingConfig, lanes: Lanes) -> list[str]:
    if (lanes.batch_size, lanes.seq_length) == (config.batch_size, config.seq_length):
        return []
    return [
        f"the corpus is short: {counted(lanes.batch_size, 'lane')} x "
        f"{counted(lanes.seq_length, 'step')} instead of "
        f"{config.batch_size} x {config.seq_length}"
    ]


@contextmanager
def _memory_told(
    model: ModelConfig, training: TrainingConfig, symbols: int, device: torch.device
) -> Iterator[None]:
    """Turn what torch and Python raise when memory runs out into a MemoryShortageError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch's own error is a RuntimeError
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not any(
            words in str(error).lower() for words in _OUT_OF_MEMORY
        ):
            raise
        weights = sum(map(math.prod, parameter_shapes(model, symbols).values()))
        raise MemoryShortageError(
            f"out of memory on {device}: {model.num_layers} x {model.hidden_size} units and "
            f"{symbols:,} symbols are {weights:,} weights, which take {16 * weights / 2**30:,.1f} "
            f"GiB in training, besides {training.batch_size} lanes x {training.seq_length} steps; "
            "a new run with a smaller `hidden_size`, or `batch_size` or `seq_length`, takes less"
        ) from error


def _precision(model: ModelConfig, training: TrainingConfig, device: torch.device) -> torch.dtype:
    return resolve_precision(training.precision, device, model.hidden_size)


def _generator(device: torch.device | str, seed: np.random.SeedSequence) -> torch.Generator:
    return torch.Generator(device).manual_seed(int(seed.generate_state(1, np.uint64)[0]))
