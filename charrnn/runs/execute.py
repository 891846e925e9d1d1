"""Train a run to its end, from its beginning or from a checkpoint of it."""

import shlex
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from charrnn.checkpoint.format import Saved, write_checkpoint
from charrnn.checkpoint.lifecycle import ClaimedRun, drop_after
from charrnn.checkpoint.migrations import TRAINER_FORMAT
from charrnn.checkpoint.origin import can_sign
from charrnn.checkpoint.store import Run
from charrnn.errors import CharrnnError, CheckpointError, CorpusError, RunError, counted
from charrnn.model.device import precision_name, torch_threads
from charrnn.model.language_model import LanguageModel, load_weights
from charrnn.render.numbers import duration
from charrnn.runs.hooks import make_hooks, trainer_state
from charrnn.runs.memory import translate_out_of_memory
from charrnn.runs.plan import RunPlan
from charrnn.training.allocation import freed_memory_kept
from charrnn.training.context import ExecutionContext
from charrnn.training.cost import memory_estimate
from charrnn.training.documents import reader_of
from charrnn.training.events import EndEvent, Log, Observer, StartEvent, WarningEvent
from charrnn.training.limits import seconds_left
from charrnn.training.saving import restore
from charrnn.training.trainer import Trainer

if TYPE_CHECKING:
    from charrnn.checkpoint.arrays import Arrays


def execute(
    plan: RunPlan,
    context: ExecutionContext,
    claim: ClaimedRun,
    *,
    weights: "Arrays | None" = None,
    saved: Saved | None = None,
    rewrite: bool = False,
    notices: Sequence[str] = (),
    observers: Sequence[Observer] = (),
) -> EndEvent:
    """Train a run to its end.

    weights: to start from; fresh ones by default. saved: the checkpoint to resume from. rewrite:
    its settings were changed; commit it again before the first step, so that they are kept.
    notices: warnings to emit at the start. The number of torch's threads is set for the run only.
    Nothing on disk is touched before it is certain that the run can start or be resumed.
    All processes of a run call this, with the claim and the checkpoint of the first one.
    """
    if plan.corpus.vocabulary.symbols == ("",):
        raise CorpusError(
            f"{plan.corpus.name}: every character is rarer than "
            f"`min_count={plan.corpus_config.min_count}`, so there is nothing to learn; lower it"
        )
    with (
        torch_threads(context.threads),
        freed_memory_kept(),
        translate_out_of_memory(
            plan.model, plan.training, len(plan.corpus.vocabulary), context.device
        ),
        ThreadPoolExecutor(1, "charrnn") as background,
    ):
        initial = weights if saved is None else saved.model.weights
        trainer = _make_trainer(plan, context, claim, initial, background)
        messages = [*plan.notices(), *notices]
        if not can_sign():
            messages.append(
                "the run cannot be signed, since your data folder cannot keep a key; commands will "
                "ask for its corpus: `corpus=PATH`"
            )
        if saved is not None:
            _restore(plan, trainer, saved)
            _check_unfinished(claim.run, trainer)
            messages += plan.differences(saved.manifest, context)
        start = _start_event(plan, context, claim.run, trainer)
        for observer in observers:
            observer(start)  # from now on a signal saves the run and stops it
        if saved is None:
            trainer.save_first()
        else:
            messages += context.group.from_first(
                lambda: _prepare_folder(claim, saved, trainer.step, rewrite=rewrite)
            )
        with ExitStack() as stack:
            everyone = tuple(observers)
            if context.group.rank == 0:
                log = stack.enter_context(closing(Log(claim.run.log, trainer.step, observers)))
                log(start)
                everyone = (log, *observers)
            for message in messages:
                for observer in everyone:
                    observer(WarningEvent(trainer.step, message))
            try:
                return trainer.run(everyone)
            except CheckpointError as error:
                raise _with_way_to_resume(claim.run, error) from error


def _make_trainer(
    plan: RunPlan,
    context: ExecutionContext,
    claim: ClaimedRun,
    weights: "Arrays | None",
    background: Executor,
) -> Trainer:
    corpus = plan.corpus
    weight_seed, dropout_seed, order_seed = np.random.SeedSequence(plan.training.seed).spawn(3)
    shards = plan.training.shard_count
    seeds = [dropout_seed] if shards == 1 else dropout_seed.spawn(shards)
    share = context.group.share(shards)
    model = LanguageModel(plan.model, len(corpus.vocabulary), _generator("cpu", weight_seed))
    if weights is not None:
        load_weights(model, weights)
    model.to(context.device)
    order = np.random.default_rng(order_seed)
    return Trainer(
        model,
        reader_of(corpus.train, plan.lanes, plan.steps, order),
        plan.training,
        context,
        make_hooks(plan, context, claim, model, background),
        [_generator(context.device, seed) for seed in seeds[share.first : share.last]],
        plan.precision(context.device),
    )


def _prepare_folder(claim: ClaimedRun, saved: Saved, step: int, *, rewrite: bool) -> list[str]:
    """Delete what comes after the checkpoint to continue from; returns what was done, in words."""
    notices = drop_after(claim.run, step)
    if rewrite:
        claim.check_folder()
        current = replace(saved.manifest, format=TRAINER_FORMAT)
        write_checkpoint(saved.folder, saved.model, saved.arrays, current)
    return notices


def _restore(plan: RunPlan, trainer: Trainer, saved: Saved) -> None:
    try:
        restore(trainer, trainer_state(plan, saved))
    except CheckpointError as error:
        raise CheckpointError(f"{saved.folder}: {error}") from error


def _check_unfinished(run: Run, trainer: Trainer) -> None:
    if (reason := trainer.limit_reached()) is None or trainer.lacks_evaluation():
        return
    finished = f"run {run.name} is finished ({reason}) after {counted(trainer.step, 'step')}"
    if reason == "patience":
        raise RunError(f"{finished}; raise `patience` to continue training")
    raise RunError(  # limits count from the beginning of the run
        f"{finished}, {trainer.lanes.epochs_done:,.1f} epochs, "
        f"{duration(trainer.progress.seconds)} in all; to continue training, raise `steps`, "
        "`epochs` or `minutes` above that"
    )


def _with_way_to_resume(run: Run, error: CheckpointError) -> CheckpointError:
    """Add to why a run could not be saved at its end how it can be resumed."""
    try:
        step = Run(run.path).latest.step
    except (OSError, CharrnnError):
        return error
    return CheckpointError(
        f"{error}\n  Once that is fixed, continue from step {step:,}: charrnn resume "
        f"{shlex.quote(str(run.path))}"
    )


def _start_event(
    plan: RunPlan, context: ExecutionContext, run: Run, trainer: Trainer
) -> StartEvent:
    corpus, lanes = plan.corpus, trainer.lanes
    return StartEvent(
        step=trainer.step,
        run=run.name,
        folder=str(run.path),
        corpus=corpus.name,
        unit=corpus.vocabulary.unit,
        characters=corpus.characters,
        documents=corpus.documents,
        train_symbols=len(corpus.train),
        val_symbols=len(corpus.val),
        vocabulary_size=len(corpus.vocabulary),
        parameters=sum(p.numel() for p in trainer.model.parameters()),
        memory_bytes=memory_estimate(trainer.model, lanes.batch_size, lanes.seq_length),
        device=str(context.device),
        threads=context.threads,
        precision=precision_name(trainer.precision),
        batch_size=lanes.batch_size,
        seq_length=lanes.seq_length,
        steps_per_epoch=lanes.chunks_per_epoch,
        model=asdict(plan.model),
        training=asdict(plan.training),
        chosen=dict(plan.chosen),
        expected_seconds=_expected_seconds(plan, trainer),
    )


def _expected_seconds(plan: RunPlan, trainer: Trainer) -> float | None:
    """Return how long a run will take from here, judged by the time it took so far."""
    left = seconds_left(trainer.progress.seconds, trainer.fraction_done())
    return plan.expected_seconds if left is None else left


def _generator(device: torch.device | str, seed: np.random.SeedSequence) -> torch.Generator:
    return torch.Generator(device).manual_seed(int(seed.generate_state(1, np.uint64)[0]))
