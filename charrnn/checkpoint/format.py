"""A checkpoint on disk: a folder that is complete or absent, and holds no pickle.

model.safetensors    the weights; in its header the configuration and the vocabulary, so that this
                     file by itself is a model
trainer.safetensors  state/h, ...: the carried state, see StateSpec; optimizer/WEIGHT/KEY: a number,
                     or an array of the weight's shape; the state of the random generator
manifest.json        everything else, size and SHA-256 of the two, and its own SHA-256; written last

What is read may be damaged or hostile: sizes are compared with what they should be before anything
is allocated, hashes are verified before anything is believed, and no name in a file is opened.
"""

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from charrnn.checkpoint.arrays import Arrays, not_finite, safetensors_pieces
from charrnn.checkpoint.layout import MANIFEST_FILE, MODEL_FILE, STEP_FOLDER, TRAINER_FILE
from charrnn.checkpoint.manifest import Manifest, read_manifest, with_files
from charrnn.checkpoint.migrations import TRAINER_MIGRATIONS
from charrnn.checkpoint.model_file import (
    MAX_JSON,
    SavedModel,
    model_pieces,
    parse_arrays,
    read_listed_model,
)
from charrnn.checkpoint.reading import FileRecord, check_hash, check_size, opened
from charrnn.checkpoint.writer import commit
from charrnn.errors import CheckpointError

# Bytes of the carried state. Of a large model 64 times those of its weights, and with attention, as
# many as so many lanes take.
MAX_STATE = 2**27
MAX_LANES = 2**12


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was read and verified. arrays: those of the trainer."""

    folder: Path
    manifest: Manifest
    model: SavedModel
    arrays: Arrays


def write_checkpoint(
    folder: Path, model: SavedModel, trainer_arrays: Arrays, manifest: Manifest
) -> None:
    """Commit a checkpoint, replacing one of that name. The folder above must exist.

    Raises CheckpointError with the system's reason, and for weights that are not finite numbers.
    """
    if (wrong := not_finite(model.weights)) is not None:
        raise CheckpointError(f"{folder}: not saved, weight {wrong} contains NaN or infinity")
    files = {MODEL_FILE: model_pieces(model), TRAINER_FILE: safetensors_pieces(trainer_arrays, {})}
    try:
        with ThreadPoolExecutor(1) as pool:
            commit(folder, _with_manifest(files, manifest, pool))
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: not saved: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be saved ({error.strerror or error})") from error


def read_checkpoint(folder: Path) -> Saved:
    """Read and verify a whole checkpoint, whose trainer's files are of a version to resume from.

    Raises CheckpointError with the file and the finding if anything in it is unsound.
    """
    manifest = read_manifest(folder)
    named = STEP_FOLDER.fullmatch(folder.name)
    if named is not None and int(named[1]) != manifest.step:
        raise CheckpointError(
            f"{folder / MANIFEST_FILE}: belongs to step {manifest.step:,}, unlike its folder"
        )
    model = read_listed_model(folder / MODEL_FILE, manifest.files)
    recorded = (manifest.step, manifest.model, replace(manifest.corpus_config, val_text=None))
    if recorded != (model.step, model.config, model.corpus_config):
        raise CheckpointError(
            f"{folder / MANIFEST_FILE}: its step, model or text is not that of {MODEL_FILE}"
        )
    arrays = _read_trainer(folder / TRAINER_FILE, manifest, model.weights)
    return Saved(folder, manifest, model, arrays)


def _read_trainer(path: Path, manifest: Manifest, weights: Arrays) -> dict[str, Any]:
    try:
        versions = manifest.versions_to_migrate()
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    with opened(path) as (file, size):
        check_size(path, size, manifest.files)
        own = sum(array.nbytes for array in weights.values())
        lanes = 4 * MAX_LANES * manifest.model.state.size
        if size > 3 * own + max(MAX_STATE, 64 * own, lanes):
            raise CheckpointError(f"{path}: {size:,} bytes are too many for this model")
        if int.from_bytes(file.read(8), "little") > MAX_JSON:
            raise CheckpointError(f"{path}: not a charrnn trainer file")
        file.seek(0)
        data = file.read()
    check_hash(path, data, manifest.files)
    arrays = parse_arrays(path, data)
    for version in versions:
        arrays = TRAINER_MIGRATIONS[version].arrays(arrays, manifest.model)
    _check_arrays(path, arrays, manifest, weights)
    return arrays


def _check_arrays(path: Path, arrays: Arrays, manifest: Manifest, weights: Arrays) -> None:
    """Check that arrays are those of a trainer of this model, with as many lanes in each part."""
    lanes = set()
    for name, array in arrays.items():
        kind, _, rest = name.partition("/")
        shape = array.shape
        if kind == "state":
            part = manifest.model.state.named(rest)
            if part is None or not part.holds(shape):
                raise CheckpointError(f"{path}: {name[:80]} is {shape}, not a state of this model")
            lanes.add(shape[part.batch_axis])
        elif kind == "optimizer":
            weight = weights.get(rest.rpartition("/")[0])
            if weight is None or shape not in ((), weight.shape):
                raise CheckpointError(f"{path}: {name[:80]} is {shape}, not its weight's shape")
        elif name != "dropout_rng":
            raise CheckpointError(f"{path}: {name[:80]} is not an array of the trainer")
    if len(lanes) > 1:
        raise CheckpointError(f"{path}: the parts of its state have different numbers of lanes")


def _with_manifest(
    files: Mapping[str, list[memoryview]], manifest: Manifest, pool: ThreadPoolExecutor
) -> Iterator[tuple[str, list[memoryview]]]:
    """Yield files, hashed while they are written, and then the manifest that lists them."""
    records = {name: pool.submit(_record, pieces) for name, pieces in files.items()}
    yield from files.items()
    listed = {name: record.result() for name, record in records.items()}
    yield MANIFEST_FILE, [memoryview(with_files(manifest, listed))]


def _record(pieces: list[memoryview]) -> FileRecord:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return FileRecord(bytes=sum(piece.nbytes for piece in pieces), sha256=digest.hexdigest())
