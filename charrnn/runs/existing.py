"""The runs that exist, and whether their checkpoints are sound. Part of the public Python API."""

from collections.abc import Callable
from pathlib import Path

from charrnn.checkpoint.format import read_checkpoint
from charrnn.checkpoint.layout import CHECKPOINT_DIR
from charrnn.checkpoint.model_file import read_model
from charrnn.checkpoint.store import Run, find_checkpoints, saved_runs
from charrnn.errors import CharrnnError


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
