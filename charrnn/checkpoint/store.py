"""Runs under the checkpoint folder: found, named, resolved, retired.

A run is a folder with a log.jsonl and checkpoints step-00000250, step-00000500, ... Which one is
the latest and which the best is read from the manifests, not from a pointer that can break.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from charrnn.checkpoint.format import Manifest, Saved, read_checkpoint, read_manifest
from charrnn.checkpoint.layout import (
    LOG_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    STEP_FOLDER,
    run_names,
)
from charrnn.checkpoint.writer import clear_left_overs, delete, take_away
from charrnn.errors import CheckpointError, RunError

_LOCK = ".lock"
_LOCK_SECONDS = 1.0  # whoever only looks whether a run is in use holds its lock for a moment


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

    @property
    def planned(self) -> bool:
        """Whether it was not made because a signal broke the run off.

        Only such ones are gone back to, so that a break changes nothing.
        """
        return bool(self.manifest.trainer.get("planned"))


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
        for folder in self.folders:
            checkpoint = Checkpoint(folder)
            with suppress(CheckpointError):
                found.append((checkpoint.step, checkpoint))
        return tuple(checkpoint for _, checkpoint in sorted(found, key=lambda pair: pair[0]))

    @property
    def folders(self) -> list[Path]:
        """The folders of checkpoints, damaged ones included, oldest first."""
        if not self.path.is_dir():
            return []
        names = [entry.name for entry in self.path.iterdir() if STEP_FOLDER.fullmatch(entry.name)]
        return [self.path / name for name in sorted(names, key=_step_in)]

    def read_latest(self) -> tuple[Saved, list[CheckpointError]]:
        """Read the newest checkpoint that verifies; returns it and what was wrong with newer ones.

        Raises RunError where there is no checkpoint, CheckpointError where none verifies.
        """
        findings: list[CheckpointError] = []
        for folder in reversed(self.folders):
            try:
                return read_checkpoint(folder), findings
            except CheckpointError as error:
                findings.append(error)
        if not findings:
            raise RunError(f"{self.path}: no checkpoint in it; train again, or name another run")
        raise CheckpointError(
            f"no checkpoint of {self.path} is sound; {len(findings)} are there, the newest: "
            f"{findings[0]}"
        )

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


def find_run(model: str | Path | None, checkpoint_dir: Path) -> Run | None:
    """Return the run called or at `model`, the newest for None, or None where it is no run.

    Raises RunError where none is named and there is none.
    """
    if model is None:
        runs = list_runs(checkpoint_dir)
        if not runs:
            raise RunError(
                f"no run with a checkpoint in {checkpoint_dir}; start one: charrnn train"
            )
        return runs[0]
    return next((Run(p) for p in (checkpoint_dir / model, Path(model)) if _is_run(p)), None)


def find_checkpoint(
    model: str | Path | None, checkpoint_dir: Path, which: str | None, default: str
) -> Path:
    """Find the model.safetensors that MODEL means.

    model: a run's name, a run's folder, a checkpoint's folder or a model.safetensors; None is the
    newest run. which: latest, best or a step, of a run; None is `default`.
    Raises RunError where there is no such thing.
    """
    run = find_run(model, checkpoint_dir)
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
    run = find_run(model, checkpoint_dir)
    if run is not None:
        return run.folders
    file = find_checkpoint(model, checkpoint_dir, None, "best")
    return [file.parent if (file.parent / MANIFEST_FILE).is_file() else file]


@contextmanager
def claimed(run: Run) -> Iterator[None]:
    """Keep other trainers out of a run, and put in order what one that died has left.

    Makes the run's folder, and removes it again where nothing was saved. Raises RunError where
    another process trains the run, CheckpointError where the folder cannot be written.
    """
    lock = FileLock(run.path / _LOCK, timeout=_LOCK_SECONDS)
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        clear_left_overs(run.path)
    except Timeout as error:
        raise RunError(
            f"run {run.name} is being trained by another process; stop that first"
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"{run.path}: cannot be written ({error.strerror or error}); make it writable, or "
            "choose another --checkpoint-dir"
        ) from error
    try:
        yield
    finally:
        if not run.folders:
            for name in (LOG_FILE, _LOCK):
                with suppress(OSError):
                    (run.path / name).unlink()
        lock.release()
        with suppress(OSError):  # it is not empty
            run.path.rmdir()


@contextmanager
def claimed_new(checkpoint_dir: Path, name: str | None, corpus_name: str) -> Iterator[Run]:
    """Make a new run, see `new_run`, and keep others out of it, see `claimed`."""
    with ExitStack() as stack:
        while True:
            run = new_run(checkpoint_dir, name, corpus_name)
            try:
                stack.enter_context(claimed(run))
            except RunError:  # another process was faster
                if name is not None:
                    raise
                continue
            if not run.folders:
                break
            stack.close()  # another was faster, and has ended already
        yield run


def drop_after(run: Run, step: int) -> list[str]:
    """Make way for a run that goes on from a step: later checkpoints are deleted.

    Those that do not verify are renamed. Returns what was done, in words.
    """
    dropped, aside = [], []
    for folder in run.folders:
        if (later := _step_in(folder.name)) > step:
            try:
                read_checkpoint(folder)
            except CheckpointError:
                aside.append(_set_aside(folder))
            else:
                delete(folder)
                dropped.append(f"{later:,}")
    told = []
    if dropped:
        told.append(f"dropped the checkpoints after this one, of steps {', '.join(dropped)}")
    if aside:
        told.append(f"kept what is damaged as {', '.join(aside)}")
    return told


def read_good(run: Run, loss_limit: float) -> Saved | None:
    """Read the newest checkpoint from which training can go on soundly, None where there is none.

    Its last loss (nats per symbol) is below the limit, and it verifies.
    """
    for checkpoint in reversed(Run(run.path).checkpoints):
        loss = checkpoint.manifest.train_loss
        if checkpoint.planned and (loss is None or loss < loss_limit):
            with suppress(CheckpointError):
                return read_checkpoint(checkpoint.path)
    return None


def retire(run: Run, keep: int) -> list[Path]:
    """Take away all checkpoints but the latest, the `keep` latest planned ones, and the best.

    Returns what is left to be removed, which takes longer.
    """
    fresh = Run(run.path)
    planned = [c for c in fresh.checkpoints if c.planned]
    kept = {c.path for c in (fresh.latest, fresh.best, *planned[-keep:])}
    return [take_away(c.path) for c in fresh.checkpoints if c.path not in kept]


def _set_aside(folder: Path) -> str:
    number = 1
    while (aside := folder.with_name(f"damaged-{number}-{folder.name}")).exists():
        number += 1
    with suppress(OSError):
        folder.rename(aside)
    return aside.name


def _step_in(name: str) -> int:
    match = STEP_FOLDER.fullmatch(name)
    assert match is not None
    return int(match[1])


def _is_run(folder: Path) -> bool:
    try:
        if not folder.is_dir() or (folder / MODEL_FILE).is_file():
            return False
        return any(STEP_FOLDER.fullmatch(entry.name) for entry in folder.iterdir())
    except OSError:  # a name that no file can have
        return False


def _is_free(path: Path) -> bool:
    """Whether a new run may take this place: what a run left that never saved does not hold it."""
    if not path.exists():
        return True
    if not path.is_dir() or any(not _is_left(entry.name) for entry in path.iterdir()):
        return False
    try:
        with FileLock(path / _LOCK, blocking=False):
            return True
    except (Timeout, OSError):  # one is about to begin there
        return False


def _is_left(name: str) -> bool:
    return name in (LOG_FILE, _LOCK) or (name.startswith(".") and name.endswith(".tmp"))


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
