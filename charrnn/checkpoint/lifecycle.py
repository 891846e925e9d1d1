"""Run-folder lifecycle: naming, locking, cleanup, retention."""

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from charrnn.checkpoint.format import Saved, read_checkpoint
from charrnn.checkpoint.layout import LOCK_FILE, LOG_FILE
from charrnn.checkpoint.store import Run, step_in
from charrnn.checkpoint.writer import (
    clear_left_overs,
    delete,
    is_temporary,
    sync_folder,
    take_away,
)
from charrnn.errors import CheckpointError, MemoryShortageError, RunError
from charrnn.text.locks import file_lock

_LOCK_SECONDS = 1.0  # a process that only checks a run's lock holds it briefly


@dataclass(frozen=True)
class ClaimedRun:
    """A run that no other process trains as long as it is claimed.

    identity: of the folder, so that another one in its place is noticed.
    """

    run: Run
    identity: os.stat_result

    def check_folder(self) -> None:
        """Raise CheckpointError if the run's folder is gone or another one is in its place."""
        path = self.run.path
        try:
            same = os.path.samestat(self.identity, path.stat())
        except OSError as error:
            raise CheckpointError(f"{path}: is gone ({error.strerror or error})") from error
        if not same:
            raise CheckpointError(f"{path}: was replaced by another folder since the run started")


def locked(run: Run) -> FileLock:
    """Lock a run, whose folder exists; returns the lock, to be released.

    Raises RunError if another process trains the run, OSError if there can be no lock.
    """
    lock = file_lock(run.path / LOCK_FILE, timeout=_LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout as error:
        raise being_trained(run) from error
    return lock


def being_trained(run: Run) -> RunError:
    """Return the error that a run cannot be had because a process trains it."""
    return RunError(f"run {run.name} is being trained by another process; stop that one first")


@contextmanager
def claimed(run: Run) -> Iterator[ClaimedRun]:
    """Keep other trainers out of a run, and clean up what a dead one left.

    Makes the run's folder, and removes it again if nothing was saved.
    Raises RunError if another process trains the run, CheckpointError if the folder cannot be
    written.
    """
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        sync_folder(run.path.parent)
        lock = locked(run)
        clear_left_overs(run.path)
        identity = run.path.stat()
    except OSError as error:
        raise CheckpointError(
            f"{run.path}: cannot be used as the run's folder ({error.strerror or error}); choose "
            "another `checkpoint_dir` or `run`"
        ) from error
    new = not run.folders
    try:
        yield ClaimedRun(run, identity)
    except MemoryShortageError:
        if new and [step_in(folder.name) for folder in run.folders] == [0]:
            delete(run.folders[0])  # nothing was learned, and it can be large
        raise
    finally:
        if not run.folders:
            for name in (LOG_FILE, LOCK_FILE):
                with suppress(OSError):
                    (run.path / name).unlink()
        lock.release()
        with suppress(OSError):  # it is not empty
            run.path.rmdir()


@contextmanager
def claimed_new(checkpoint_dir: Path, name: str | None, corpus_name: str) -> Iterator[ClaimedRun]:
    """Make a new run, see `new_run`, and keep others out of it, see `claimed`."""
    with ExitStack() as stack:
        while True:
            run = new_run(checkpoint_dir, name, corpus_name)
            try:
                claim = stack.enter_context(claimed(run))
            except RunError:  # another process was faster
                if name is not None:
                    raise
                continue
            if not run.folders:
                break
            stack.close()  # another process was faster, and has ended already
        yield claim


def new_run(checkpoint_dir: Path, name: str | None, corpus_name: str) -> Run:
    """Return a run that does not exist yet: of this name, or named after its corpus, novel-2.

    Raises RunError if a run of that name exists or the name is not a plain folder name.
    """
    stem = new_stem(checkpoint_dir, name, corpus_name, ("",))
    return Run(checkpoint_dir / stem)


def new_stem(
    checkpoint_dir: Path, name: str | None, corpus_name: str, endings: Sequence[str]
) -> str:
    """Return a name that is free with each of these endings: this one, or that of the corpus.

    Raises RunError if one of the runs exists or its name is not a plain folder name.
    """
    if name is not None:
        for ending in endings:
            _check_name(checkpoint_dir, name + ending)
        return name
    corpus_stem = re.sub(r"[^\w.-]+", "-", corpus_name).strip("-.") or "run"
    stem, number = corpus_stem, 1
    while not all(_is_free(checkpoint_dir / f"{stem}{ending}") for ending in endings):
        number += 1
        stem = f"{corpus_stem}-{number}"
    return stem


def _check_name(checkpoint_dir: Path, name: str) -> None:
    """Raise RunError if a new run cannot have this name."""
    check_name(name, f"`run={name[:80]}`")
    if not _is_free(checkpoint_dir / name):
        raise RunError(
            f"run {name!r} is in {checkpoint_dir} already; continue it with: charrnn resume "
            f"{shlex.quote(str(checkpoint_dir / name))}, or choose another `run`"
        )


def check_name(name: str, shown: str) -> None:
    """Raise RunError if a run cannot have this name. shown: how the message names it."""
    if not name or Path(name).name != name or name[0] in ".-" or not name.isprintable():
        raise RunError(
            f"{shown}: not a name for a folder; use printable characters without /, and begin with "
            "neither . nor -"
        )


def drop_after(run: Run, step: int) -> list[str]:
    """Delete the checkpoints after the step that a run continues from.

    Those that do not verify are renamed. Returns what was done, in words.
    Raises CheckpointError if that fails: the run would later resume from one of them.
    """
    dropped, aside = [], []
    for folder in run.folders:
        later = step_in(folder.name)
        if later is None or later <= step:
            continue
        try:
            try:
                read_checkpoint(folder)
            except CheckpointError:
                aside.append(_set_aside(folder))
            else:
                delete(folder)
                dropped.append(f"{later:,}")
        except OSError as error:
            raise CheckpointError(
                f"{folder}: cannot be moved out of the way ({error.strerror or error}); remove it"
            ) from error
    notices = []
    if dropped:
        notices.append(f"deleted the checkpoints after this one, of steps {', '.join(dropped)}")
    if aside:
        notices.append(f"kept what is damaged as {', '.join(aside)}")
    return notices


def read_before(run: Run, step: int) -> Saved | None:
    """Read the newest scheduled checkpoint from before a step, else the oldest; None if unsound."""
    scheduled = [c for c in Run(run.path).checkpoints if c.scheduled]
    earlier = [c for c in scheduled if c.step < step]
    for checkpoint in (*reversed(earlier), *(c for c in scheduled if c not in earlier)):
        with suppress(CheckpointError):
            return read_checkpoint(checkpoint.path)
    return None


def retire(run: Run, keep: int) -> list[Path]:
    """Rename all checkpoints but the latest, the `keep` latest scheduled ones, and the best.

    Returns what is left to be removed, which takes longer.
    """
    fresh = Run(run.path)
    scheduled = [c for c in fresh.checkpoints if c.scheduled]
    kept = {c.path for c in (fresh.latest, fresh.best, *scheduled[-keep:])}
    taken = []
    for checkpoint in fresh.checkpoints:
        if checkpoint.path not in kept:
            with suppress(OSError):  # try again the next time
                taken.append(take_away(checkpoint.path))
    return taken


def _set_aside(folder: Path) -> str:
    number = 1
    while (aside := folder.with_name(f"damaged-{number}-{folder.name}")).exists():
        number += 1
    folder.rename(aside)
    return aside.name


def _is_free(path: Path) -> bool:
    """Whether a new run may take this place; the remains of one that never saved do not count."""
    if not path.exists():
        return True
    if not path.is_dir() or any(not _is_remnant(entry.name) for entry in path.iterdir()):
        return False
    try:
        with file_lock(path / LOCK_FILE, timeout=0):
            return True
    except (Timeout, OSError):  # one is about to begin there
        return False


def _is_remnant(name: str) -> bool:
    return name in (LOG_FILE, LOCK_FILE) or is_temporary(name)
