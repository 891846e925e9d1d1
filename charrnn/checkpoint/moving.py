"""Renaming and removing runs: each in one step, and never one that is being trained."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from charrnn.checkpoint.lifecycle import being_trained, check_name, locked
from charrnn.checkpoint.store import Run, find_checkpoint, find_run
from charrnn.checkpoint.writer import remove, sync_folder, take_away, taken_away
from charrnn.errors import CheckpointError, RunError


def run_in(checkpoint_dir: Path, model: str | Path) -> Run:
    """Return the run in a folder that is called `model` or is at that path.

    Raises RunError if there is none, it is somewhere else, or a process trains it.
    """
    found = find_run(model, checkpoint_dir)
    if found is None:
        find_checkpoint(model, checkpoint_dir, None, "best")  # raises RunError if there is nothing
        raise RunError(f"{model} is a single checkpoint or model file; name its run")
    path = found.path.absolute()
    if path.name == ".." or not _same_folder(path.parent, checkpoint_dir):
        raise RunError(
            f"{model} is not in {checkpoint_dir}; to name it, add `checkpoint_dir={path.parent}`"
        )
    run = Run(checkpoint_dir / path.name)
    if run.is_training:
        raise being_trained(run)
    return run


def removable_run(checkpoint_dir: Path, model: str | Path) -> Run:
    """Return the run that `run_in` finds. Raises RunError also for a link to a run elsewhere."""
    run = run_in(checkpoint_dir, model)
    if run.path.is_symlink():
        raise RunError(f"{run.path} is a link to {run.path.resolve()}; delete the link yourself")
    return run


def take_runs_away(runs: Sequence[Run]) -> list[Path]:
    """Rename runs, all or none, to names that stand for no run; returns these, to be removed.

    Raises RunError if a process trains one of them, or one cannot be renamed.
    """
    taken: list[tuple[Path, Path]] = []
    with _kept_from_trainers(runs):
        for run in runs:
            try:
                taken.append((run.path, take_away(run.path)))
            except OSError as error:
                for path, gone in taken:
                    with suppress(OSError):
                        gone.rename(path)
                raise RunError(
                    f"{run.path}: cannot be removed ({error.strerror or error})"
                ) from error
    return [gone for _, gone in taken]


def remove_taken(checkpoint_dir: Path, taken: Sequence[Path]) -> None:
    """Remove what `take_runs_away` renamed, and what an interrupted removal left.

    Raises CheckpointError if some of it stays, once everything else is gone.
    """
    for gone in (*taken, *taken_away(checkpoint_dir)):
        remove(gone)
    for gone in taken:
        try:
            if gone.exists():
                shutil.rmtree(gone)  # which says why it stays
        except OSError as error:
            raise CheckpointError(
                f"{gone}: the rest of a removed run cannot be deleted "
                f"({error.strerror or error}); delete that folder"
            ) from error


def rename(run: Run, name: str) -> Run:
    """Give a run another name, in the same folder; returns it under that name.

    Raises RunError if the name is taken or no name for a run, or if a process trains the run.
    """
    check_name(name, repr(name[:80]))
    target = run.path.with_name(name)
    if os.path.lexists(target):
        raise RunError(f"{target} exists already; choose another name")
    with _kept_from_trainers([run]):
        try:
            run.path.rename(target)
            sync_folder(target.parent)
        except OSError as error:
            raise RunError(
                f"{run.path}: cannot be renamed to {name[:80]} ({error.strerror or error})"
            ) from error
    return Run(target)


def _same_folder(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there
        return False


@contextmanager
def _kept_from_trainers(runs: Sequence[Run]) -> Iterator[None]:
    """Lock runs while they are renamed. Raises RunError if a process trains one of them."""
    with ExitStack() as stack:
        for run in runs:
            try:
                stack.callback(locked(run).release)
            except OSError as error:
                raise RunError(
                    f"{run.path}: cannot be locked ({error.strerror or error})"
                ) from error
        if os.name == "nt":
            stack.close()  # Windows renames no folder in which a file is open
        yield
