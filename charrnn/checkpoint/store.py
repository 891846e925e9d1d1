"""Finding runs and checkpoints.

A run is a folder with a log.jsonl and checkpoints step-00000250, step-00000500, ... Which one is
the latest and which the best is read from the manifests, not from a pointer that can break.
"""

import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

from charrnn.checkpoint.format import Saved, read_checkpoint
from charrnn.checkpoint.layout import (
    LOCK_FILE,
    LOG_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    STEP_FOLDER,
    run_names,
    step_folder,
)
from charrnn.checkpoint.manifest import Manifest, read_manifest
from charrnn.checkpoint.writer import is_temporary, replaced
from charrnn.errors import CheckpointError, RunError, shortened
from charrnn.text.locks import is_held

_OWN_FOLDER = re.compile(rf"(damaged-\d+-)?{STEP_FOLDER.pattern}")


def ignore(_message: str) -> None:
    """Ignore a notice."""


@dataclass(frozen=True)
class Checkpoint:
    """A committed checkpoint."""

    path: Path

    @property
    def step(self) -> int:
        """The number of optimizer steps taken before it."""
        return self.manifest.step

    @cached_property
    def manifest(self) -> Manifest:
        """Its manifest. Raises CheckpointError if that is damaged."""
        return read_manifest(self.path)

    @property
    def scheduled(self) -> bool:
        """Whether the run would have saved it even without an interruption.

        A run goes back to no other checkpoint, so that an interruption changes nothing.
        """
        return bool(self.manifest.trainer.get("scheduled"))


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
        """The readable checkpoints, oldest first; those without a sound manifest are skipped."""
        found = []
        for folder in self.folders:
            checkpoint = Checkpoint(folder)
            with suppress(CheckpointError):
                found.append((checkpoint.step, checkpoint))
        return tuple(checkpoint for _, checkpoint in sorted(found, key=lambda pair: pair[0]))

    @property
    def folders(self) -> list[Path]:
        """The folders of checkpoints, damaged ones included, oldest first.

        A checkpoint that was being replaced when the process died counts until it is put back.
        Raises RunError if the run's folder cannot be read.
        """
        entries = self._entries()
        found = {step_in(replaced(e.name)): e for e in entries}
        found |= {step_in(e.name): e for e in entries}
        return [found[step] for step in sorted(step for step in found if step is not None)]

    def _entries(self) -> list[Path]:
        try:
            return list(self.path.iterdir()) if self.path.is_dir() else []
        except OSError as error:
            raise RunError(f"{self.path}: cannot be read ({error.strerror or error})") from error

    @property
    def unreadable(self) -> list[Path]:
        """The folders of checkpoints that are skipped because of their manifests."""
        readable = {checkpoint.path for checkpoint in self.checkpoints}
        return [folder for folder in self.folders if folder not in readable]

    def read_latest(
        self, check: Callable[[Saved], object] = lambda _: None
    ) -> tuple[Saved, list[CheckpointError]]:
        """Read the newest checkpoint that verifies; returns it and what was wrong with newer ones.

        check: raises CheckpointError for anything else that is wrong with a checkpoint.
        Raises RunError if there is no checkpoint, CheckpointError if none verifies.
        """
        findings: list[CheckpointError] = []
        for folder in reversed(self.folders):
            try:
                saved = read_checkpoint(folder)
                check(saved)
                return saved, findings  # noqa: TRY300
            except CheckpointError as error:
                findings.append(error)
        if not findings:
            raise RunError(f"{self.path}: no checkpoint in it; train again, or name another run")
        raise CheckpointError(
            f"no checkpoint of {self.path} is sound (charrnn info `verify` lists all); newest: "
            f"{findings[0]}"
        )

    @property
    def latest(self) -> Checkpoint:
        """The checkpoint with the most steps.

        Raises RunError if there is none, CheckpointError if none can be read.
        """
        if not self.checkpoints:
            self._check_none_unreadable()
            raise RunError(f"{self.path}: no checkpoint in it; train again, or name another run")
        return self.checkpoints[-1]

    def _check_none_unreadable(self) -> None:
        """Raise CheckpointError with what is wrong with the newest checkpoint, if there is one."""
        if self.folders:
            read_manifest(self.folders[-1])

    @property
    def best(self) -> Checkpoint:
        """The checkpoint with the lowest validation loss; the latest if none was validated.

        Losses on a corpus that the run had earlier do not count.
        """
        latest = self.latest
        corpus = latest.manifest.corpus.sha256
        same = [c for c in self.checkpoints if c.manifest.corpus.sha256 == corpus]
        rated = [c for c in same if c.manifest.val_loss is not None]
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
        raise RunError(
            f"{self.path}: no checkpoint {shortened(repr(which))}; choose latest, best, {steps}"
        )

    @property
    def is_training(self) -> bool:
        """Whether a process trains it right now; asking does not disturb that process.

        False if the file system does not say, as some network disks.
        """
        return is_held(self.path / LOCK_FILE)

    @property
    def size(self) -> int:
        """The bytes of all files in its folder; what cannot be read does not count."""
        total = 0
        for folder, _, files in os.walk(self.path):
            for name in files:
                with suppress(OSError):
                    status = Path(folder, name).lstat()
                    total += status.st_size if stat.S_ISREG(status.st_mode) else 0
        return total

    @property
    def other_files(self) -> list[str]:
        """The names of files and folders in it that charrnn did not write. Raises RunError."""
        own = (LOG_FILE, LOCK_FILE)
        return sorted(
            entry.name
            for entry in self._entries()
            if not (
                entry.name in own or is_temporary(entry.name) or _OWN_FOLDER.fullmatch(entry.name)
            )
        )

    def checkpoint_folder(self, step: int) -> Path:
        """Return where the checkpoint of a step is, or would be."""
        return self.path / step_folder(step)


def saved_runs(checkpoint_dir: Path, notice: Callable[[str], None] = ignore) -> list[Run]:
    """Return the runs that have a checkpoint, the most recently saved first.

    notice: called with the runs that cannot be read, which are skipped.
    """
    saved = []
    for folder in checkpoint_dir.iterdir() if checkpoint_dir.is_dir() else ():
        if folder.name.startswith("."):
            continue
        run = Run(folder)
        try:
            if folder.is_dir() and run.folders:
                _ = run.latest
                saved.append(run)
        except (OSError, RunError, CheckpointError) as error:
            notice(f"skipped run {folder.name}: {error}")
    return sorted(saved, key=lambda run: (run.latest.manifest.saved_at, run.name), reverse=True)


def find_run(
    model: str | Path | None, checkpoint_dir: Path, notice: Callable[[str], None] = ignore
) -> Run | None:
    """Return the run that is called `model` or is at that path, or None if there is no such run.

    model: None is the newest run. notice: see `saved_runs`. Raises RunError if there is none.
    """
    if model is None:
        runs = saved_runs(checkpoint_dir, notice)
        if not runs:
            raise RunError(
                f"no run with a checkpoint in {checkpoint_dir}; start one: charrnn train"
            )
        return runs[0]
    return next((Run(p) for p in (checkpoint_dir / model, Path(model)) if _is_run(p)), None)


def find_checkpoint(
    model: str | Path | None,
    checkpoint_dir: Path,
    which: str | None,
    default: str,
    notice: Callable[[str], None] = ignore,
) -> Path:
    """Find the model.safetensors that MODEL means.

    model: a run's name, a run's folder, a checkpoint's folder or a model.safetensors; None is the
    newest run. which: latest, best or a step, of a run; None is `default`.
    notice: see `saved_runs`. Raises RunError if there is no such model.
    """
    run = find_run(model, checkpoint_dir, notice)
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
        raise RunError(f"{model} is a single checkpoint; `checkpoint` chooses among those of a run")
    return file


def find_checkpoints(model: str | Path | None, checkpoint_dir: Path) -> list[Path]:
    """Find the folders of all checkpoints of the run that MODEL means, damaged ones included.

    For a MODEL that is a single checkpoint, its folder, or the file if it has no manifest.
    Raises RunError.
    """
    run = find_run(model, checkpoint_dir)
    if run is not None:
        return run.folders
    file = find_checkpoint(model, checkpoint_dir, None, "best")
    return [file.parent if (file.parent / MANIFEST_FILE).is_file() else file]


def step_in(name: str | None) -> int | None:
    match = STEP_FOLDER.fullmatch(name or "")
    return int(match[1]) if match else None


def find_run_of(model: Path) -> Run:
    """Return the run that a model.safetensors is in; a folder that is not a run has none."""
    return Run(model.absolute().parent.parent)


def unreadable_beside(path: Path) -> list[Path]:
    """Return the unreadable checkpoints of the run that a model.safetensors is in, if it is."""
    with suppress(RunError):  # a folder above the model that cannot be listed
        return find_run_of(path).unreadable
    return []


def other_checkpoints(path: Path) -> str:
    """Name the other checkpoints of the run, to end a message about a damaged one."""
    steps: list[int] = []
    with suppress(RunError):
        run = find_run_of(path)
        steps = [c.step for c in run.checkpoints if c.path.name != path.parent.name]
    return f"; others of the run: `checkpoint={', '.join(map(str, steps))}`" if steps else ""


def _is_run(folder: Path) -> bool:
    try:
        return not (folder / MODEL_FILE).is_file() and bool(Run(folder).folders)
    except OSError:  # a name that no file can have
        return False


def _no_model(model: str, checkpoint_dir: Path) -> RunError:
    if model in run_names(checkpoint_dir):
        return RunError(f"run {model} ended before its first checkpoint; train it again")
    names = [run.name for run in saved_runs(checkpoint_dir)]
    if near := get_close_matches(model, names, n=1):
        hint = f"did you mean {near[0]}?"
    elif names:
        more = ", ..." if len(names) > 8 else ""
        hint = f"runs in {checkpoint_dir}: {', '.join(names[:8])}{more}"
    else:
        hint = f"{checkpoint_dir} has none"
    return RunError(f"no run, checkpoint or model file {model[:80]!r}; {hint}")
