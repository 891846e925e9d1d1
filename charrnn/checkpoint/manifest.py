"""manifest.json: what a checkpoint is of, and the size and SHA-256 of its other files.

It ends with the SHA-256 of everything before that hash, its seal. Anything else in it is believed
only after the seal was checked.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from charrnn.checkpoint.layout import MANIFEST_FILE
from charrnn.checkpoint.migrations import (
    TRAINER_FORMAT,
    TRAINER_MIGRATIONS,
    migrated_trainer,
    versions_to_migrate,
)
from charrnn.checkpoint.reading import MALFORMED, FileRecord, errors_of, opened
from charrnn.checkpoint.records import read_record
from charrnn.errors import CheckpointError
from charrnn.model.config import ModelConfig
from charrnn.settings import MAX_THREADS, make
from charrnn.text import sealing
from charrnn.text.config import CorpusConfig

MAX_MANIFEST = 2**20  # bytes


@dataclass(frozen=True)
class CorpusRecord:
    """Which text a run learns: enough to find it again and to know that it is the same."""

    name: str
    sources: tuple[str, ...]
    sha256: str
    characters: int


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint says about itself.

    format: the version of the trainer's files. origin: see charrnn.checkpoint.origin. train_loss
    and val_loss are nats per symbol: of the last step, and of the evaluation at this step, None if
    there was none. trainer: the progress of the training loop, see charrnn.training.progress.
    environment: what the run was trained with.
    """

    step: int
    saved_at: str
    train_loss: float | None
    val_loss: float | None
    corpus: CorpusRecord
    corpus_config: CorpusConfig
    model: ModelConfig
    training: dict[str, Any]
    trainer: dict[str, Any]
    environment: dict[str, Any]
    origin: str = ""
    files: dict[str, FileRecord] = field(default_factory=dict)
    format: int = TRAINER_FORMAT

    def versions_to_migrate(self) -> range:
        """Return the versions to migrate the trainer's files from, in order.

        Raises CheckpointError if they are too old or too new to resume from.
        """
        writer = str(self.environment.get("charrnn", ""))
        return versions_to_migrate(self.format, TRAINER_FORMAT, TRAINER_MIGRATIONS, writer)


def read_manifest(folder: Path) -> Manifest:
    """Read a checkpoint's manifest. Raises CheckpointError if it is missing or unsound.

    What an earlier version wrote of the trainer is migrated, if there is a migration.
    """
    path = folder / MANIFEST_FILE
    with errors_of(path, "a charrnn manifest"):
        return _parsed(_read(path))


def read_file_records(folder: Path) -> dict[str, FileRecord]:
    """Return the sizes and hashes that a checkpoint's manifest lists, whatever its version.

    Raises CheckpointError if the manifest is missing or damaged.
    """
    path = folder / MANIFEST_FILE
    with errors_of(path, "a charrnn manifest"):
        files = _sealed_content(_read(path))["files"]
        return {name: read_record(FileRecord, record) for name, record in files.items()}


def sealed(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest.json, its seal included."""
    content = asdict(manifest)
    content["text"] = content.pop("corpus_config")
    return sealing.sealed({"format": content.pop("format"), **content})


def with_files(manifest: Manifest, files: Mapping[str, FileRecord]) -> bytes:
    """Return the bytes of a manifest that lists these files.

    Raises CheckpointError for one that `read_manifest` would refuse: what is written can be read.
    """
    data = sealed(replace(manifest, files=dict(files)))
    if len(data) > MAX_MANIFEST:
        raise CheckpointError(
            f"its manifest would take {len(data):,} bytes of {MAX_MANIFEST:,}; name the folder of "
            "the corpus instead of its files, or shorten `separator`"
        )
    try:
        _parsed(data)
    except MALFORMED as error:
        raise CheckpointError(f"its manifest could not be read again ({error})") from error
    return data


def _read(path: Path) -> bytes:
    with opened(path) as (file, size):
        if size > MAX_MANIFEST:
            raise CheckpointError(f"{path}: {size:,} bytes are too many for a manifest")
        return file.read()


def _parsed(data: bytes) -> Manifest:
    """Read the bytes of a manifest. Raises CheckpointError, or one of MALFORMED."""
    content = _sealed_content(data)
    content.setdefault("origin", "")  # format 3 has none
    content["trainer"] = migrated_trainer(content["format"], content["trainer"])
    content["corpus_config"] = make(CorpusConfig, content.pop("text"))
    content["model"] = make(ModelConfig, content["model"])
    manifest = read_record(Manifest, content)
    _check_values(manifest)
    return manifest


def _sealed_content(data: bytes) -> dict[str, Any]:
    """Return the JSON of a manifest whose seal is right, without the seal."""
    try:
        return sealing.unsealed(data)
    except sealing.BrokenSealError as error:
        raise CheckpointError(str(error)) from error


def _check_values(manifest: Manifest) -> None:
    threads = manifest.environment["threads"]
    if type(threads) is not int or not 1 <= threads <= MAX_THREADS:
        raise ValueError(f"{str(threads)[:40]} threads")
    if manifest.trainer["step"] != manifest.step:
        raise ValueError("its trainer is of another step")
