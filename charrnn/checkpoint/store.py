"""Runs under the checkpoint folder: found, named, resolved, retired.

A run is a folder with a log.jsonl and checkpoints step-00000250, step-00000500, ... Which one is
the latest and which the best is read from the manifests, not from a pointer that can break.
"""

import re
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from charrnn.checkpoint.format import Manifest, read_manifest
from charrnn.checkpoint.layout import (
    LOG_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    STEP_FOLDER,
    run_names,
)
from charrnn.errors import CheckpointError, RunError


@dataclass(frozen=True)
class Checkpoint:
    """A committed checkpoint."""

    path: Path

    @property
    def step(self) -> int:
        """The number of optimizer steps behind it."""
        return self.manifest.step

    @cached_property
    def manifest(self) -> Manifest:
        """Its manifest. Raises CheckpointError where that is damaged."""
        return read_manifest(self.path)


@dataclass(frozen=True)
class Run:
    """A run's folder."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def log(self) -> Path:
        """The log of the run's events, one JSON object a line."""
        return self.path / LOG_FILE

    @cached_property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The readable checkpoints, oldest first; what has no sound manifest is passed over."""
        found = []
        for folder in self.path.iterdir() if self.path.is_dir() else ():
            if STEP_FOLDER.fullmatch(folder.name) and (folder / MANIFEST_FILE).is_file():
                checkpoint = Checkpoint(folder)
                try:
                    found.append((checkpoint.step, checkpoint))
                except CheckpointError:
                    continue
        return tuple(checkpoint for _, checkpoint in sorted(found, key=lambda pair: pair[0]))

    @property
    def latest(self) -> Checkpoint:
        """The checkpoint with the most steps. Raises RunError where there is none."""
        if not self.checkpoints:
            raise RunError(f"{self.path}: no checkpoint in it; train again, or name another run")
        return self.checkpoints[-1]

    @property
    def best(self) -> Checkpoint:
        """The checkpoint with the lowest validation loss; the latest where none was validated."""
        latest = self.latest
        rated = [c for c in self.checkpoints if c.manifest.val_loss is not None]
        return min(rated, key=lambda c: (c.manifest.val_loss or 0.0, -c.step), default=latest)

    def at(self, which: str) -> Checkpoint:
        """Return the checkpoint called latest, best, or by its step. Raises RunError."""
        if which == "latest":
            return self.latest
        if which == "best":
            return self.best
        for checkpoint in self.checkpoints:
            if str(checkpoint.step) == which:
                return checkpoint
        steps = ", ".join(str(c.step) for c in self.checkpoints) or "none"
        raise RunError(f"{self.path}: no checkpoint {which!r}; there are latest, best, {steps}")

    def checkpoint_folder(self, step: int) -> Path:
        """Return where the checkpoint of a step is, or would be."""
        return self.path / f"step-{step:08d}"


def list_runs(checkpoint_dir: Path) -> list[Run]:
    """Return the runs that have a checkpoint, the one saved last first."""
    folders = checkpoint_dir.iterdir() if checkpoint_dir.is_dir() else ()
    runs = [
        Run(folder) for folder in folders if folder.is_dir() and not folder.name.startswith(".")
    ]
    saved = [run for run in runs if run.checkpoints]
    return sorted(saved, key=lambda run: (run.latest.manifest.saved_at, run.name), reverse=True)


def new_run(checkpoint_dir: Path, name: str | None, corpus_name: str) -> Run:
    """Return a run that does not exist yet, called name, else after its corpus: novel, novel-2.

    Raises RunError where a run of that name exists or the name is not a plain folder name.
    """
    if name is None:
        stem = re.sub(r"[^\w.-]+", "-", corpus_name).strip("-.") or "run"
        number = 1
        while not _is_free(path := checkpoint_dir / (stem if number == 1 else f"{stem}-{number}")):
            number += 1
        return Run(path)
    if not name or Path(name).name != name or name.startswith(".") or not name.isprintable():
        raise RunError(
            f"--run {name!r}: a run's name is that of a folder, without / or a leading dot"
        )
    if not _is_free(checkpoint_dir / name):
        raise RunError(
            f"a run {name!r} is in {checkpoint_dir} already; go on with: charrnn resume {name}, "
            "or choose another --run"
        )
    return Run(checkpoint_dir / name)


def find_checkpoint(
    model: str | Path | None, checkpoint_dir: Path, which: str | None, default: str
) -> Path:
    """Find the model.safetensors that MODEL means.

    model: a run's name, a run's folder, a checkpoint's folder or a model.safetensors; None is the
    newest run. which: latest, best or a step, of a run; None is `default`.
    Raises RunError where there is no such thing.
    """
    run = _find_run(model, checkpoint_dir)
    if run is not None:
        return run.at(which or default).path / MODEL_FILE
    try:
        path = Path(model or "")
        file = path / MODEL_FILE if path.is_dir() else path
        found = file.is_file()
    except OSError:  # a name that no file can have
        found = False
    if not found:
        raise _no_model(str(model), checkpoint_dir)
    if which is not None:
        raise RunError(f"{model} is one checkpoint already; --checkpoint is for a run")
    return file


def find_checkpoints(model: str | Path | None, checkpoint_dir: Path) -> list[Path]:
    """Find the folders of all checkpoints of the run that MODEL means, damaged ones included.

    For a MODEL that is one checkpoint already, its folder, or the file where it has no manifest.
    Raises RunError.
    """
    run = _find_run(model, checkpoint_dir)
    if run is not None:
        return sorted(folder for folder in run.path.iterdir() if STEP_FOLDER.fullmatch(folder.name))
    file = find_checkpoint(model, checkpoint_dir, None, "best")
    return [file.parent if (file.parent / MANIFEST_FILE).is_file() else file]


def drop_after(run: Run, step: int) -> list[int]:
    """Delete the checkpoints behind a step, which a run that goes on from there makes anew."""
    later = [c for c in Run(run.path).checkpoints if c.step > step]
    for checkpoint in later:
        shutil.rmtree(checkpoint.path)
    return [c.step for c in later]


def retire(run: Run, keep: int) -> None:
    """Delete all checkpoints but the `keep` latest and the best."""
    fresh = Run(run.path)
    kept = {c.path for c in fresh.checkpoints[-keep:]} | {fresh.best.path}
    for checkpoint in fresh.checkpoints:
        if checkpoint.path not in kept:
            shutil.rmtree(checkpoint.path, ignore_errors=True)


def _find_run(model: str | Path | None, checkpoint_dir: Path) -> Run | None:
    """Return the run called or at `model`, the newest for None, or None where it is no run."""
    if model is None:
        runs = list_runs(checkpoint_dir)
        if not runs:
            raise RunError(
                f"no run with a checkpoint in {checkpoint_dir}; start one: charrnn train"
            )
        return runs[0]
    return next((Run(p) for p in (checkpoint_dir / model, Path(model)) if _is_run(p)), None)


def _is_run(folder: Path) -> bool:
    try:
        if not folder.is_dir() or (folder / MODEL_FILE).is_file():
            return False
        return any(STEP_FOLDER.fullmatch(entry.name) for entry in folder.iterdir())
    except OSError:  # a name that no file can have
        return False


def _is_free(path: Path) -> bool:
    """Whether a new run may take this place: what a run left that never saved does not hold it."""
    return not path.exists() or (
        path.is_dir() and all(entry.name == LOG_FILE for entry in path.iterdir())
    )


def _no_model(model: str, checkpoint_dir: Path) -> RunError:
    if model in run_names(checkpoint_dir):
        return RunError(f"run {model} ended before its first checkpoint; train it again")
    names = [run.name for run in list_runs(checkpoint_dir)]
    known = (
        f"runs in {checkpoint_dir}: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
        if names
        else f"{checkpoint_dir} has none"
    )
    return RunError(f"no run, checkpoint or model file {model[:80]!r}; {known}")
