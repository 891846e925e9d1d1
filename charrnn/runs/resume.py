"""Continue a run exactly where it stopped: `charrnn.resume`."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from charrnn.catalog.places import CorpusPlaces
from charrnn.catalog.survey import sources
from charrnn.checkpoint.corpus import corpus_of
from charrnn.checkpoint.format import Saved, read_checkpoint
from charrnn.checkpoint.layout import CHECKPOINT_DIR, MANIFEST_FILE, STEP_FOLDER
from charrnn.checkpoint.lifecycle import claimed
from charrnn.checkpoint.store import Run, find_checkpoint, find_run
from charrnn.errors import CheckpointError, RunError, counted
from charrnn.runs.changes import changed, check_changes
from charrnn.runs.start import TrainingResult
from charrnn.runs.watching import reading_events, with_absolute_val_text, with_progress
from charrnn.settings import make
from charrnn.text.config import CORPORA_DIR
from charrnn.training.config import TrainingConfig
from charrnn.training.events import Observer
from charrnn.training.group import ALONE, Group
from charrnn.training.progress import TrainerProgress


def resume(
    model: str | Path | None = None,
    *,
    checkpoint: str | None = None,
    checkpoint_dir: str | Path = CHECKPOINT_DIR,
    steps: int | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    patience: int | None = None,
    changes: Mapping[str, Any] | None = None,
    corpus: str | Path | Sequence[str | Path] = (),
    val_text: str | Path | None = None,
    cache_dir: str | Path | None = None,
    corpora_dir: str | Path = CORPORA_DIR,
    device: str = "auto",
    threads: int | None = None,
    force: bool = False,
    progress: bool = False,
    observers: Sequence[Observer] = (),
    stop: Callable[[], bool] = lambda: False,
    group: Group = ALONE,
) -> TrainingResult:
    """Continue a run exactly where it stopped.

    model, checkpoint: which run, and which of its checkpoints (see `load`); by default the latest
    sound one.
    steps, epochs, minutes: limits that replace the run's own; counted from its beginning.
    changes: names and values of other settings (those in `CHANGEABLE`) that the run has from here
    on, and keeps when it is resumed again. Unless every step stays as it would have been, observers
    are warned that the result is no longer that of a run that never stopped.
    corpus, val_text: where these are now, if they were moved.
    cache_dir, corpora_dir: see `train`. A corpus that can no longer be read is looked up in the
    cache.
    threads: by default as many as the run had; on a machine with fewer processors, as in `train`.
    force: continue with a corpus that has changed, from its beginning.
    progress, observers, stop, group: see `train`. As many processes as in the run are not needed.
    Raises CharrnnError, also if the run is finished or its corpus has changed.
    """
    places = CorpusPlaces.of(cache_dir, corpora_dir)
    limits = {"steps": steps, "epochs": epochs, "minutes": minutes, "patience": patience}
    wanted = dict(changes or {}) | {k: v for k, v in limits.items() if v is not None}
    check_changes(wanted, model)
    run, chosen = group.from_first(lambda: _find(model, checkpoint, Path(checkpoint_dir)))
    with ExitStack() as stack:
        everyone = stack.enter_context(with_progress(observers, progress=progress))
        claim = group.from_first(lambda: stack.enter_context(claimed(run)))
        found, notices = group.from_first(lambda: _read(run, chosen))
        change = changed(found, wanted)
        saved = change.saved
        training = make(TrainingConfig, saved.manifest.training)
        from charrnn.runs.execute import execute
        from charrnn.runs.plan import RunPlan
        from charrnn.runs.threads import computing_on, thread_notices, trial_text

        config = saved.manifest.corpus_config
        if val_text is not None:
            config = with_absolute_val_text(replace(config, val_text=str(val_text)))
        encoded = group.in_turn(
            lambda: corpus_of(
                saved.manifest,
                saved.model.vocabulary,
                places,
                sources=sources(corpus),
                val_text=None if val_text is None else config.val_text,
                force=force,
                on_progress=reading_events(everyone),
            )
        )
        plan = RunPlan(encoded, config, saved.manifest.model, training)
        computing = computing_on(device, threads, stop, group)
        computing.check_alike(encoded.sha256, wanted)
        group.from_first(lambda: _check_shards(training, group))
        recorded = int(saved.manifest.environment["threads"])
        choice = computing.keeping(recorded).choose_threads(
            plan.model, plan.fitted, trial_text(encoded)
        )
        end = execute(
            plan,
            computing.with_threads(choice.number),
            claim,
            saved=saved,
            rewrite=change.to_be_kept,
            notices=[*notices, *change.notices, *thread_notices(choice)],
            observers=everyone,
        )
    return TrainingResult(run.name, run.path, end)


def _check_shards(training: TrainingConfig, group: Group) -> None:
    if group.size > training.shard_count:
        raise RunError(
            f"the run has {counted(training.shard_count, 'shard')}, so {group.size} processes "
            "cannot share it; resume it with fewer, or train a new run with `shards="
            f"{group.size}`"
        )


def _read(run: Run, chosen: Path | None) -> tuple[Saved, list[str]]:
    """Read the checkpoint to resume from; returns it and what was wrong with newer ones."""
    if chosen is not None:
        saved = read_checkpoint(chosen.parent)
        _check_resumable(saved)
        return saved, []
    saved, findings = run.read_latest(_check_resumable)
    return saved, [f"{error}; resuming from step {saved.manifest.step:,}" for error in findings]


def _find(
    model: str | Path | None, checkpoint: str | None, checkpoint_dir: Path
) -> tuple[Run, Path | None]:
    """Return the run to resume, and the model file of a checkpoint that was named."""
    run = find_run(model, checkpoint_dir)
    if run is not None and checkpoint in (None, "latest"):
        return run, None
    chosen = find_checkpoint(model, checkpoint_dir, checkpoint, "latest")
    return _run_of(chosen), chosen


def _run_of(model: Path) -> Run:
    """Return the run that a model.safetensors is in."""
    folder = model.parent if model.parent.parent.name else model.parent.resolve()
    if not STEP_FOLDER.fullmatch(folder.name) or not (folder / MANIFEST_FILE).is_file():
        raise RunError(
            f"{model} is a model outside of its run; start a new run from it: charrnn train "
            f"`init_from={model}`"
        )
    return Run(folder.parent)


def _check_resumable(saved: Saved) -> None:
    """Raise CheckpointError if training cannot continue from what a manifest says."""
    try:
        make(TrainingConfig, saved.manifest.training)
        TrainerProgress.from_json(saved.manifest.trainer)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{saved.folder / MANIFEST_FILE}: not a charrnn manifest ({str(error)[:120]})"
        ) from error
