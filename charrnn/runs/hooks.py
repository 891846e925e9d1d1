"""What a trainer calls for everything that is not training: validate, sample, save, go back."""

import math
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime

from charrnn.checkpoint.format import Saved, write_checkpoint
from charrnn.checkpoint.layout import MODEL_FILE
from charrnn.checkpoint.lifecycle import ClaimedRun, drop_after, read_before, retire
from charrnn.checkpoint.manifest import CorpusRecord, Manifest
from charrnn.checkpoint.model_file import SavedModel, read_model
from charrnn.checkpoint.origin import signature
from charrnn.checkpoint.store import Run
from charrnn.checkpoint.writer import remove
from charrnn.errors import CharrnnError, NoTextError
from charrnn.generation.encoding import encode_request
from charrnn.generation.request import GenerationRequest, SamplingConfig
from charrnn.generation.stepper import Stepper
from charrnn.generation.texts import generations
from charrnn.model.config import multiplied_weights
from charrnn.model.language_model import LanguageModel, export_weights, load_weights
from charrnn.runs.choice import strain
from charrnn.runs.curves import read_curve
from charrnn.runs.plan import RunPlan
from charrnn.runs.verdict import verdict
from charrnn.text.paragraphs import PARAGRAPH_END
from charrnn.training.context import ExecutionContext
from charrnn.training.events import Verdict
from charrnn.training.group import Group
from charrnn.training.hooks import Hooks, TrainerState
from charrnn.training.progress import TrainerProgress
from charrnn.training.saving import state_of
from charrnn.training.trainer import Trainer
from charrnn.training.validation import Validation, validate

SAMPLE_LENGTH = 200
SAMPLE_DOCUMENTS = 8


class _StoppedError(Exception):
    """Raised to abandon an evaluation when a stop was requested."""


def make_hooks(
    plan: RunPlan,
    context: ExecutionContext,
    claim: ClaimedRun,
    model: LanguageModel,
    background: Executor,
) -> Hooks:
    """Make the hooks of a run. background: removes old checkpoints while training continues.

    All processes of the run call them. The first one alone reads and writes the run's folder.
    """
    group = context.group
    return Hooks(
        validate=_validate(plan, context, model),
        validate_best=_validate_best(plan, context, claim),
        write_sample=lambda step: group.from_first(lambda: _write_sample(plan, model, step)),
        save=lambda trainer: _save(plan, context, claim, trainer, background),
        go_back=lambda step: _go_back(plan, group, claim, model, step),
        drop_after=lambda step: group.from_first(lambda: drop_after(claim.run, step)),
        judge=lambda trainer, reason: group.from_first(
            lambda: _judge(plan, claim, trainer, reason)
        ),
    )


def trainer_state(plan: RunPlan, saved: Saved) -> TrainerState:
    """Return the trainer's part of a checkpoint. Raises TypeError or ValueError."""
    progress = TrainerProgress.from_json(saved.manifest.trainer)
    same_corpus = saved.manifest.corpus.sha256 == plan.corpus.sha256
    return TrainerState(dict(saved.arrays), progress, same_corpus)


def _judge(plan: RunPlan, claim: ClaimedRun, trainer: Trainer, reason: str) -> Verdict | None:
    try:
        curve = read_curve(claim.run.log)
    except OSError:  # the log could not be written either, which was said
        return None
    symbols = len(plan.corpus.vocabulary)
    weights = multiplied_weights(plan.model, symbols)
    own = strain(trainer.lanes.epochs_done, weights, len(plan.corpus.train))
    guessing = math.log(symbols)
    return verdict(curve, plan.model, plan.training, reason, trainer.progress, own, guessing)


def _validate(
    plan: RunPlan, context: ExecutionContext, model: LanguageModel
) -> Callable[[], Validation | None] | None:
    often, _ = plan.evaluated
    if not len(plan.corpus.val):
        return None
    return lambda: _unless_stopped(plan, context, model, often)


def _validate_best(
    plan: RunPlan, context: ExecutionContext, claim: ClaimedRun
) -> Callable[[int], Validation | None] | None:
    often, finally_ = plan.evaluated
    if min(finally_, len(plan.corpus.val) - 1) <= often:
        return None

    def validate_best(symbols: int) -> Validation | None:
        weights = context.group.from_first(
            lambda: read_model(Run(claim.run.path).best.path / MODEL_FILE).weights
        )
        own = LanguageModel(plan.model, len(plan.corpus.vocabulary)).to(context.device)
        load_weights(own, weights)
        return _unless_stopped(plan, context, own, min(symbols, finally_))

    return validate_best


def _unless_stopped(
    plan: RunPlan, context: ExecutionContext, model: LanguageModel, symbols: int
) -> Validation | None:
    def stop_if_asked(_predicted: int) -> None:
        # Several processes are not at the same place of it, so they end it first.
        if context.group.size == 1 and context.stop():
            raise _StoppedError

    shards = plan.training.shard_count
    try:
        return validate(
            model, plan.corpus.val, symbols, stop_if_asked, group=context.group, shards=shards
        )
    except _StoppedError:
        return None


def _write_sample(plan: RunPlan, model: LanguageModel, step: int) -> str:
    end = plan.corpus_config.document_end
    stepper = Stepper(export_weights(model), plan.model)
    request = GenerationRequest(
        num_samples=SAMPLE_DOCUMENTS if end else 1,
        sampling=SamplingConfig(length=SAMPLE_LENGTH, seed=step),
    )
    encoded = encode_request(request, plan.corpus.vocabulary, end)
    texts: list[str] = []
    with suppress(NoTextError):  # the model has not learned much yet
        for generation in generations(stepper, encoded):
            texts.append("".join(generation))
            if sum(map(len, texts)) >= SAMPLE_LENGTH:
                break
    return (end if end == PARAGRAPH_END else "\n").join(texts)


def _save(
    plan: RunPlan,
    context: ExecutionContext,
    claim: ClaimedRun,
    trainer: Trainer,
    background: Executor,
) -> str:
    folder = claim.run.checkpoint_folder(trainer.step)
    state = state_of(trainer)

    def commit() -> str:
        claim.check_folder()
        model = SavedModel(
            export_weights(trainer.model),
            plan.model,
            plan.corpus.vocabulary,
            plan.corpus_config,
            trainer.step,
        )
        write_checkpoint(folder, model, state.arrays, _manifest(plan, context, trainer, state))
        with suppress(OSError, CharrnnError):  # what cannot be deleted now is deleted next time
            for gone in retire(claim.run, plan.training.keep):
                background.submit(remove, gone)  # training need not wait for it
        return str(folder)

    return context.group.from_first(commit)


def _go_back(
    plan: RunPlan, group: Group, claim: ClaimedRun, model: LanguageModel, step: int
) -> TrainerState | None:
    found = group.from_first(lambda: read_before(claim.run, step))
    if found is None:
        return None
    load_weights(model, found.model.weights)
    return trainer_state(plan, found)


def _manifest(
    plan: RunPlan, context: ExecutionContext, trainer: Trainer, state: TrainerState
) -> Manifest:
    corpus, progress = plan.corpus, state.progress
    record = CorpusRecord(
        name=corpus.name,
        sources=corpus.sources,
        sha256=corpus.sha256,
        characters=corpus.characters,
    )
    return Manifest(
        step=progress.step,
        saved_at=datetime.now(UTC).isoformat(),
        train_loss=progress.train_loss,
        val_loss=_val_loss(trainer),
        corpus=record,
        corpus_config=plan.corpus_config,
        model=plan.model,
        training=asdict(plan.training),
        trainer=progress.to_json(),
        environment=plan.environment(context),
        origin=signature(record, plan.corpus_config.val_text),
    )


def _val_loss(trainer: Trainer) -> float | None:
    """Return the validation loss at this very step, None if there is none or it is not finite."""
    loss = trainer.val_loss
    if loss is None or trainer.progress.evaluated_at != trainer.step or not math.isfinite(loss):
        return None
    return loss
