"""A checkpoint on disk: a folder that is whole or absent, and holds no pickle.

model.safetensors    the weights; in its header the configuration and the vocabulary, so that this
                     file alone is a model
trainer.safetensors  optimizer moments, carried state, random generators
manifest.json        everything else, and size and SHA-256 of the two; written last
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from dataclasses import field as dataclass_field
from pathlib import Path
from types import UnionType
from typing import Any, get_origin

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as parse_safetensors
from safetensors.numpy import save as serialise_safetensors

from charrnn.checkpoint.layout import MANIFEST_FILE, MODEL_FILE, TRAINER_FILE
from charrnn.errors import CheckpointError
from charrnn.model.config import ModelConfig, parameter_shapes
from charrnn.settings import make
from charrnn.text.config import CorpusConfig
from charrnn.text.vocabulary import Vocabulary

FORMAT = 1
HEADER_KEY = "charrnn"

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class FileRecord:
    """Size and hash of a file."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class CorpusRecord:
    """Which text a run learns: enough to find it again and to tell that it is the same."""

    name: str
    sources: tuple[str, ...]
    sha256: str
    characters: int


@dataclass(frozen=True)
class Manifest:
    """The JSON part of a checkpoint.

    train_loss and val_loss are nats per symbol: of the last step, and of the evaluation at this
    step, None where there was none. training, trainer and environment belong to the trainer.
    """

    format: int
    step: int
    saved_at: str
    train_loss: float | None
    val_loss: float | None
    corpus: CorpusRecord
    text: CorpusConfig
    model: ModelConfig
    training: dict[str, Any]
    trainer: dict[str, Any]
    environment: dict[str, Any]
    files: dict[str, FileRecord] = dataclass_field(default_factory=dict)


@dataclass(frozen=True)
class SavedModel:
    """What model.safetensors holds: all that sampling and evaluation need."""

    weights: Arrays
    config: ModelConfig
    vocabulary: Vocabulary
    text: CorpusConfig
    step: int


def write_checkpoint(
    folder: Path, model: SavedModel, trainer_arrays: Arrays, manifest: Manifest
) -> None:
    """Commit a checkpoint: written and synced under a temporary name beside it, then renamed.

    A checkpoint of that name is replaced. Raises CheckpointError with the system's reason.
    """
    header = {
        "format": FORMAT,
        "step": model.step,
        "model": asdict(model.config),
        "text": asdict(model.text) | {"val_text": None},
        "vocabulary": model.vocabulary.to_json(),
    }
    files = {
        MODEL_FILE: _serialise(model.weights, {HEADER_KEY: json.dumps(header)}),
        TRAINER_FILE: _serialise(trainer_arrays, {}),
    }
    records = {
        name: FileRecord(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in files.items()
    }
    complete = asdict(replace(manifest, files=records))
    files[MANIFEST_FILE] = (json.dumps(complete, indent=1) + "\n").encode()
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, data in files.items():
            _write_synced(temporary / name, data)
        _sync_folder(temporary)
        replaced = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        if folder.exists():
            folder.rename(replaced)
        temporary.rename(folder)
        _sync_folder(folder.parent)
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(
            f"{folder}: cannot be saved ({error.strerror or error}); free space there, or train "
            "with another --checkpoint-dir"
        ) from error


def read_manifest(folder: Path) -> Manifest:
    """Read a checkpoint's manifest. Raises CheckpointError where it is missing or wrong."""
    path = folder / MANIFEST_FILE
    return _manifest(path, _read_bytes(path))


def read_model(path: Path) -> SavedModel:
    """Read a model.safetensors. Raises CheckpointError where it is damaged or not of charrnn.

    Its hash is verified where the manifest of its checkpoint is beside it.
    """
    data = _read_bytes(path)
    if path.name == MODEL_FILE and (path.parent / MANIFEST_FILE).is_file():
        _verify(path, data, read_manifest(path.parent))
    weights = _parse(path, data)
    length = int.from_bytes(data[:8], "little")  # of the JSON header, by the safetensors format
    return _model(path, json.loads(data[8 : 8 + length]).get("__metadata__", {}), weights)


def read_trainer(folder: Path, manifest: Manifest) -> dict[str, NDArray[Any]]:
    """Read a checkpoint's trainer.safetensors. Raises CheckpointError where it is damaged."""
    path = folder / TRAINER_FILE
    data = _read_bytes(path)
    _verify(path, data, manifest)
    return _parse(path, data)


def _model(path: Path, metadata: Mapping[str, str], weights: Arrays) -> SavedModel:
    try:
        header = json.loads(metadata[HEADER_KEY])
        _check_format(path, header["format"])
        model = SavedModel(
            weights=weights,
            config=make(ModelConfig, header["model"]),
            vocabulary=Vocabulary.from_json(header["vocabulary"]),
            text=make(CorpusConfig, header["text"]),
            step=int(header["step"]),
        )
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: not a model of charrnn (its header lacks {error})"
        ) from error
    shapes = parameter_shapes(model.config, len(model.vocabulary))
    found = {name: array.shape for name, array in weights.items()}
    if found != shapes:
        wrong = sorted(set(found.items()) ^ set(shapes.items()))[0][0]
        raise CheckpointError(
            f"{path}: weight {wrong} is {found.get(wrong, 'missing')}, "
            f"the configuration says {shapes.get(wrong, 'none')}"
        )
    return model


def _manifest(path: Path, data: bytes) -> Manifest:
    try:
        content = json.loads(data)
        _check_format(path, content["format"])
        corpus = CorpusRecord(**content["corpus"])
        manifest = Manifest(
            **content
            | {
                "corpus": replace(corpus, sources=tuple(corpus.sources)),
                "text": make(CorpusConfig, content["text"]),
                "model": make(ModelConfig, content["model"]),
                "files": {name: FileRecord(**record) for name, record in content["files"].items()},
            }
        )
        _check_types(manifest, manifest.corpus, *manifest.files.values())
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a manifest of charrnn ({error})") from error
    return manifest


def _check_types(*records: Any) -> None:
    for record in records:
        for field in fields(record):
            kind: Any = field.type
            if not isinstance(kind, UnionType):
                kind = get_origin(kind) or kind
            if not isinstance(getattr(record, field.name), kind):
                raise TypeError(f"{field.name} is no {kind}")


def _check_format(path: Path, found: Any) -> None:
    if found != FORMAT:
        raise CheckpointError(
            f"{path}: format {found!r}, and this charrnn reads format {FORMAT}; "
            "use the version of charrnn that wrote it"
        )


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error


def _verify(path: Path, data: bytes, manifest: Manifest) -> None:
    record = manifest.files.get(path.name)
    if record is None:
        raise CheckpointError(f"{path}: the manifest beside it does not list it")
    if len(data) != record.bytes or hashlib.sha256(data).hexdigest() != record.sha256:
        raise CheckpointError(
            f"{path}: damaged ({len(data):,} of {record.bytes:,} bytes, or their hash is wrong); "
            "use another checkpoint of the run: --checkpoint STEP"
        )


def _parse(path: Path, data: bytes) -> dict[str, NDArray[Any]]:
    try:
        arrays: dict[str, NDArray[Any]] = parse_safetensors(data)
    except (SafetensorError, KeyError) as error:  # KeyError: a type that numpy lacks, BF16 say
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
    return arrays


def _serialise(arrays: Arrays, metadata: dict[str, str]) -> bytes:
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data: bytes = serialise_safetensors(contiguous, metadata or None)
    return data


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows cannot open a folder; its rename is durable by itself
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
