"""A checkpoint on disk: a folder that is whole or absent, and holds no pickle.

model.safetensors    the weights; in its header the configuration and the vocabulary, so that this
                     file alone is a model
trainer.safetensors  state/0, ...: the carried state, (L, B, H); optimizer/WEIGHT/KEY: a number, or
                     an array of the weight's shape; random generators
manifest.json        everything else, size and SHA-256 of the two, and its own SHA-256; written last

What is read may be damaged or hostile: sizes are held against what they should be before anything
is allocated, hashes are verified before anything is believed, and no name in a file is opened.
"""

import hashlib
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from dataclasses import field as dataclass_field
from io import BufferedReader
from pathlib import Path
from types import UnionType
from typing import Any, get_origin

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as parse_safetensors

from charrnn.checkpoint.arrays import Arrays, not_finite, safetensors_pieces
from charrnn.checkpoint.layout import MANIFEST_FILE, MODEL_FILE, STEP_FOLDER, TRAINER_FILE
from charrnn.checkpoint.writer import commit
from charrnn.errors import CheckpointError
from charrnn.model.config import ModelConfig, parameter_shapes
from charrnn.settings import make
from charrnn.text.config import CorpusConfig
from charrnn.text.vocabulary import Vocabulary

FORMAT = 3
HEADER_KEY = "charrnn"
# JSON takes up to fifty times its bytes in memory; the largest vocabulary needs less than this.
MAX_JSON = 3 * 2**20
MAX_MANIFEST = 2**20
MAX_THREADS = 1024
MAX_STATE = 2**27  # bytes of the carried state, or 64 times those of the weights
_SEAL_END = b'"\n}\n'  # what stands behind a manifest's own hash
# What reading a file's JSON may raise where it is not what it should be.
_WRONG = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)


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


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was read and verified."""

    folder: Path
    manifest: Manifest
    model: SavedModel
    arrays: Arrays


def write_checkpoint(
    folder: Path, model: SavedModel, trainer_arrays: Arrays, manifest: Manifest
) -> None:
    """Commit a checkpoint; one of that name is replaced. The folder above must be there.

    Raises CheckpointError with the system's reason, and for weights that are not finite numbers.
    """
    if (wrong := not_finite(model.weights)) is not None:
        raise CheckpointError(f"{folder}: not saved, weight {wrong} holds what is no finite number")
    header = {
        "format": FORMAT,
        "step": model.step,
        "model": asdict(model.config),
        "text": asdict(model.text) | {"val_text": None},
        "vocabulary": model.vocabulary.to_json(),
    }
    files = {
        MODEL_FILE: safetensors_pieces(
            model.weights, {HEADER_KEY: json.dumps(header, ensure_ascii=False)}
        ),
        TRAINER_FILE: safetensors_pieces(trainer_arrays, {}),
    }
    try:
        with ThreadPoolExecutor(1) as pool:
            commit(folder, _with_manifest(files, manifest, pool))
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be saved ({error.strerror or error})") from error


def read_checkpoint(folder: Path) -> Saved:
    """Read and verify a whole checkpoint.

    Raises CheckpointError with the file and the finding where anything in it is not sound.
    """
    manifest = read_manifest(folder)
    named = STEP_FOLDER.fullmatch(folder.name)
    if named is not None and int(named[1]) != manifest.step:
        raise CheckpointError(f"{folder / MANIFEST_FILE}: of step {manifest.step:,}, not of this")
    model = _read_model(folder / MODEL_FILE, manifest)
    said = (manifest.step, manifest.model, replace(manifest.text, val_text=None))
    if said != (model.step, model.config, model.text):
        raise CheckpointError(
            f"{folder / MANIFEST_FILE}: its step, model or text is not that of {MODEL_FILE}"
        )
    arrays = _read_trainer(folder / TRAINER_FILE, manifest, model.weights)
    return Saved(folder, manifest, model, arrays)


def read_manifest(folder: Path) -> Manifest:
    """Read a checkpoint's manifest. Raises CheckpointError where it is missing or wrong."""
    path = folder / MANIFEST_FILE
    with _opened(path) as (file, size):
        if size > MAX_MANIFEST:
            raise CheckpointError(f"{path}: {size:,} bytes are too many for a manifest")
        return _manifest(path, file.read())


def read_model(path: Path) -> SavedModel:
    """Read a model.safetensors. Raises CheckpointError where it is damaged or not of charrnn.

    Its hash is verified where the manifest of its checkpoint is beside it.
    """
    beside = path.name == MODEL_FILE and os.path.lexists(path.parent / MANIFEST_FILE)
    return _read_model(path, read_manifest(path.parent) if beside else None)


def _read_model(path: Path, manifest: Manifest | None) -> SavedModel:
    with _opened(path) as (file, size):
        if manifest is not None:
            _check_size(path, size, manifest)
        length = int.from_bytes(file.read(8), "little")  # by the safetensors format
        if not 2 <= length <= min(MAX_JSON, size - 8):
            raise CheckpointError(f"{path}: not a safetensors file of charrnn, or cut short")
        header = _header(path, file.read(length))
        shapes = parameter_shapes(header.config, len(header.vocabulary))
        expected = 8 + length + sum(4 * math.prod(shape) for shape in shapes.values())
        if size != expected:
            raise CheckpointError(
                f"{path}: {size:,} bytes, but its configuration asks for {expected:,}"
            )
        file.seek(0)
        data = file.read()
    if manifest is not None:
        _check_hash(path, data, manifest)
    weights = _parse(path, data)
    _check_shapes(path, weights, shapes)
    return replace(header, weights=weights)


def _read_trainer(path: Path, manifest: Manifest, weights: Arrays) -> dict[str, NDArray[Any]]:
    with _opened(path) as (file, size):
        _check_size(path, size, manifest)
        own = sum(array.nbytes for array in weights.values())
        if size > 3 * own + max(MAX_STATE, 64 * own):
            raise CheckpointError(f"{path}: {size:,} bytes are too many for this model")
        if int.from_bytes(file.read(8), "little") > MAX_JSON:
            raise CheckpointError(f"{path}: not a safetensors file of charrnn")
        file.seek(0)
        data = file.read()
    _check_hash(path, data, manifest)
    arrays = _parse(path, data)
    layers, hidden = manifest.model.num_layers, manifest.model.hidden_size
    for name, array in arrays.items():
        kind, _, rest = name.partition("/")
        shape = array.shape
        if kind == "state" and not (len(shape) == 3 and (shape[0], shape[2]) == (layers, hidden)):
            raise CheckpointError(f"{path}: {name} is {shape}, but of {layers} x {hidden} units")
        weight = weights.get(rest.rpartition("/")[0])
        if kind == "optimizer" and (weight is None or shape not in ((), weight.shape)):
            raise CheckpointError(f"{path}: {name} is {shape}, which is not its weight's shape")
        if kind not in ("state", "optimizer", "dropout_rng"):
            raise CheckpointError(f"{path}: {name[:80]} is nothing that a trainer has")
    return arrays


def _header(path: Path, data: bytes) -> SavedModel:
    """Return what the header of a model.safetensors says, without the weights."""
    try:
        header = json.loads(json.loads(data)["__metadata__"][HEADER_KEY])
        _check_format(header["format"])
        return SavedModel(
            weights={},
            config=make(ModelConfig, header["model"]),
            vocabulary=Vocabulary.from_json(header["vocabulary"]),
            text=make(CorpusConfig, header["text"]),
            step=int(header["step"]),
        )
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except _WRONG as error:
        raise CheckpointError(f"{path}: not a model of charrnn ({_shortly(error)})") from error


def _check_shapes(path: Path, weights: Arrays, shapes: Mapping[str, tuple[int, ...]]) -> None:
    found = {name: array.shape for name, array in weights.items()}
    if found != shapes:
        wrong = min(set(found.items()) ^ set(shapes.items()))[0]
        raise CheckpointError(
            f"{path}: weight {wrong[:80]} is {found.get(wrong, 'missing')}, "
            f"the configuration says {shapes.get(wrong, 'none')}"
        )
    if any(array.dtype != np.float32 for array in weights.values()):
        raise CheckpointError(f"{path}: its weights are not 32-bit floating-point numbers")
    if (wrong_one := not_finite(weights)) is not None:
        raise CheckpointError(f"{path}: weight {wrong_one} holds what is no finite number")


def _sealed(content: Mapping[str, Any]) -> bytes:
    """Write a manifest with the hash of all that stands before the hash."""
    body = (json.dumps({**content, "sha256": ""}, indent=1) + "\n").encode()
    body = body.removesuffix(_SEAL_END)
    return body + hashlib.sha256(body).hexdigest().encode() + _SEAL_END


def _check_seal(data: bytes, digest: str) -> None:
    body = data[: -len(digest) - len(_SEAL_END)]
    found = hashlib.sha256(body).hexdigest()
    if data != body + digest.encode() + _SEAL_END or found != digest:
        raise CheckpointError("damaged (its hash is wrong)")


def _manifest(path: Path, data: bytes) -> Manifest:
    try:
        content = json.loads(data)
        _check_format(content["format"])
        _check_seal(data, content.pop("sha256"))
        corpus = CorpusRecord(**content["corpus"])
        if not isinstance(content["corpus"]["sources"], list):
            raise TypeError("its corpus has no list of sources")
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
        _check_values(manifest)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except _WRONG as error:
        raise CheckpointError(f"{path}: not a manifest of charrnn ({_shortly(error)})") from error
    return manifest


def _check_types(*records: Any) -> None:
    for record in records:
        for field in fields(record):
            kind: Any = field.type
            if not isinstance(kind, UnionType):
                kind = get_origin(kind) or kind
            if not isinstance(getattr(record, field.name), kind):
                raise TypeError(f"{field.name} is no {kind}")


def _check_values(manifest: Manifest) -> None:
    if not all(isinstance(source, str) for source in manifest.corpus.sources):
        raise TypeError("a source of its corpus is no text")
    threads = manifest.environment["threads"]
    if type(threads) is not int or not 1 <= threads <= MAX_THREADS:
        raise ValueError(f"{str(threads)[:40]} threads")
    if manifest.trainer["step"] != manifest.step:
        raise ValueError("its trainer is of another step")


def _check_format(found: Any) -> None:
    if found != FORMAT:
        raise CheckpointError(
            f"format {str(found)[:40]}, and this charrnn reads format {FORMAT}; "
            "use the version of charrnn that wrote it"
        )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BufferedReader, int]]:
    """Open a file, and tell its size. Raises CheckpointError for one that cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe might wait for ever
            raise CheckpointError(f"{path}: not a file")
        with path.open("rb") as file:
            yield file, os.fstat(file.fileno()).st_size
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error


def _check_size(path: Path, size: int, manifest: Manifest) -> None:
    record = manifest.files.get(path.name)
    if record is None:
        raise CheckpointError(f"{path}: the manifest beside it does not list it")
    if size != record.bytes:
        raise CheckpointError(f"{path}: damaged ({size:,} bytes instead of {record.bytes:,})")


def _check_hash(path: Path, data: bytes, manifest: Manifest) -> None:
    if hashlib.sha256(data).hexdigest() != manifest.files[path.name].sha256:
        raise CheckpointError(f"{path}: damaged (its hash is wrong)")


def _parse(path: Path, data: bytes) -> dict[str, NDArray[Any]]:
    try:
        arrays: dict[str, NDArray[Any]] = parse_safetensors(data)
    except (SafetensorError, KeyError) as error:  # KeyError: a type that numpy lacks, BF16 say
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
    return arrays


def _with_manifest(
    files: Mapping[str, list[memoryview]], manifest: Manifest, pool: ThreadPoolExecutor
) -> Iterator[tuple[str, list[memoryview]]]:
    """Yield files, hashed while they are written, and then the manifest that lists them."""
    records = {name: pool.submit(_record, pieces) for name, pieces in files.items()}
    yield from files.items()
    listed = {name: record.result() for name, record in records.items()}
    sealed = _sealed(asdict(replace(manifest, files=listed)))
    if len(sealed) > MAX_MANIFEST:
        raise CheckpointError(
            f"a manifest cannot name {len(manifest.corpus.sources):,} files; name their folder"
        )
    yield MANIFEST_FILE, [memoryview(sealed)]


def _record(pieces: list[memoryview]) -> FileRecord:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return FileRecord(bytes=sum(piece.nbytes for piece in pieces), sha256=digest.hexdigest())


def _shortly(error: Exception) -> str:
    """Say what was wrong in few words, whatever a file made the error say."""
    if isinstance(error, UnicodeDecodeError | json.JSONDecodeError | RecursionError):
        return "no JSON"
    if isinstance(error, KeyError):
        return f"lacks {error}"[:120]
    return str(error)[:120]
