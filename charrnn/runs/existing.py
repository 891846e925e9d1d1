"""The runs that exist: listed, checked, renamed, removed. Part of the public Python API."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from charrnn.checkpoint.format import read_checkpoint
from charrnn.checkpoint.layout import CHECKPOINT_DIR
from charrnn.checkpoint.model_file import read_model
from charrnn.checkpoint.moving import removable_run, remove_taken, rename, run_in, take_runs_away
from charrnn.checkpoint.store import Run, find_checkpoints, saved_runs
from charrnn.errors import CharrnnError
from charrnn.settings import make
from charrnn.training.config import TrainingConfig
from charrnn.training.events import StartEvent, log_lines
from charrnn.training.limits import limit_reached
from charrnn.training.progress import LanePosition, TrainerProgress


def list_runs(
    checkpoint_dir: str | Path = CHECKPOINT_DIR,
    *,
    notice: Callable[[str], None] = lambda _: None,
) -> list[Run]:
    """Return the runs under a folder that have a checkpoint, the newest first.

    notice: called with the runs that cannot be read, which are skipped.
    """
    return saved_runs(Path(checkpoint_dir), notice)


def verify(
    model: str | Path | None = None, *, checkpoint_dir: str | Path = CHECKPOINT_DIR
) -> dict[Path, str | None]:
    """Check every checkpoint of the run that MODEL means, or a single model file.

    Returns each path with None if it is sound, else with what is wrong.
    """
    findings: dict[Path, str | None] = {}
    for path in find_checkpoints(model, Path(checkpoint_dir)):
        try:
            if path.is_file():
                read_model(path)
            else:
                read_checkpoint(path)
            findings[path] = None
        except CharrnnError as error:
            if path.exists():  # not deleted just now by the run, which may still be training
                findings[path] = str(error)
    return findings


def is_finished(run: Run) -> bool | None:
    """Return whether a run has reached its limit; it is then resumed only with another one.

    False while it is being trained. None if that is not known: its checkpoint is of an earlier
    version, or the run is limited by epochs and its log does not say how long one is.
    Raises RunError and CheckpointError.
    """
    if run.is_training:
        return False
    manifest = run.latest.manifest
    try:
        config = make(TrainingConfig, manifest.training)
        progress = TrainerProgress.from_json(manifest.trainer)
    except (TypeError, ValueError):
        return None
    assert progress.lanes is not None
    if not progress.scheduled:  # saved because it was interrupted
        return False
    epochs_done: float | None = 0.0
    if config.epochs is not None:
        epochs_done = _epochs_done(run, progress.lanes)
    if epochs_done is None:
        return True if limit_reached(config, progress, 0.0) else None
    return limit_reached(config, progress, epochs_done) is not None


def remove_runs(
    models: str | Path | Sequence[str | Path],
    *,
    checkpoint_dir: str | Path = CHECKPOINT_DIR,
    confirm: Callable[[Sequence[Run]], bool] = lambda _: True,
) -> list[Run]:
    """Delete runs for good; returns those that were deleted.

    models: names of runs in the folder, or their folders. The encoded corpora in the cache stay.
    confirm: called with all runs once each has been checked; if it returns False, all stay.
    Raises RunError, before anything is deleted, if there is no such run in the folder or one is
    being trained; CheckpointError if a run is gone but some of its files cannot be deleted.
    """
    folder = Path(checkpoint_dir)
    names = [models] if isinstance(models, str | Path) else models
    runs = list(dict.fromkeys(removable_run(folder, name) for name in names))
    if not runs or not confirm(runs):
        return []
    remove_taken(folder, take_runs_away(runs))
    return runs


def rename_run(model: str | Path, name: str, *, checkpoint_dir: str | Path = CHECKPOINT_DIR) -> Run:
    """Give a run another name; returns it under that name.

    model: its name, or its folder. Its checkpoints and its log do not depend on its name, so it is
    resumed, sampled and evaluated as before.
    Raises RunError if there is no such run in the folder, it is being trained, or the name is taken
    or cannot be that of a run.
    """
    return rename(run_in(Path(checkpoint_dir), model), name)


def _epochs_done(run: Run, position: LanePosition) -> float | None:
    """Return the epochs behind a position, given their length from the log; None without it."""
    try:
        if not run.log.is_file():  # opening a pipe might wait forever
            return None
        with run.log.open("rb") as file:
            start = json.loads(next(log_lines(file)))
    except (OSError, StopIteration, ValueError, RecursionError):
        return None
    length = start.get("steps_per_epoch")
    same = start.get("characters") == run.latest.manifest.corpus.characters
    if start.get("event") != StartEvent.kind or not same or type(length) is not int or length < 1:
        return None
    return position.epoch + position.chunk / length
