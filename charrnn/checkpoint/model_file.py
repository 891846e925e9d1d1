"""model.safetensors: the weights, and in its header all that sampling and scoring need besides.

Sizes are compared with what the configuration asks for before anything is allocated.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as parse_safetensors

from charrnn.checkpoint.arrays import Arrays, not_finite, safetensors_pieces
from charrnn.checkpoint.layout import MANIFEST_FILE, MODEL_FILE
from charrnn.checkpoint.manifest import read_file_records
from charrnn.checkpoint.migrations import MODEL_FORMAT, MODEL_MIGRATIONS, versions_to_migrate
from charrnn.checkpoint.reading import FileRecord, check_hash, check_size, errors_of, opened
from charrnn.errors import CheckpointError
from charrnn.model.config import ModelConfig, parameter_shapes
from charrnn.settings import make
from charrnn.text.config import CorpusConfig
from charrnn.text.vocabulary import Vocabulary

HEADER_KEY = "charrnn"
# JSON takes up to fifty times its bytes in memory; the largest vocabulary needs less than this.
MAX_JSON = 3 * 2**20


@dataclass(frozen=True)
class SavedModel:
    """What a model.safetensors holds."""

    weights: Arrays
    config: ModelConfig
    vocabulary: Vocabulary
    corpus_config: CorpusConfig
    step: int


def model_pieces(model: SavedModel) -> list[memoryview]:
    """Lay a model out as the bytes of a model.safetensors, in pieces."""
    header = {
        "format": MODEL_FORMAT,
        "step": model.step,
        "model": asdict(model.config),
        "text": asdict(model.corpus_config) | {"val_text": None},
        "vocabulary": model.vocabulary.to_json(),
    }
    return safetensors_pieces(model.weights, {HEADER_KEY: json.dumps(header, ensure_ascii=False)})


def read_model(path: Path) -> SavedModel:
    """Read a model.safetensors. Raises CheckpointError if it is damaged or not of charrnn.

    Its hash is verified if the manifest of its checkpoint is beside it.
    """
    beside = path.name == MODEL_FILE and os.path.lexists(path.parent / MANIFEST_FILE)
    return read_listed_model(path, read_file_records(path.parent) if beside else None)


def read_listed_model(path: Path, files: Mapping[str, FileRecord] | None) -> SavedModel:
    """Read a model.safetensors that a manifest lists; None if there is no manifest."""
    with opened(path) as (file, size):
        if files is not None:
            check_size(path, size, files)
        length = int.from_bytes(file.read(8), "little")  # by the safetensors format
        if not 2 <= length <= min(MAX_JSON, size - 8):
            raise CheckpointError(f"{path}: not a charrnn model file, or cut short")
        header = _header(path, file.read(length))
        shapes = parameter_shapes(header.config, len(header.vocabulary))
        expected = 8 + length + sum(4 * math.prod(shape) for shape in shapes.values())
        if size != expected:
            raise CheckpointError(
                f"{path}: {size:,} bytes, but its configuration asks for {expected:,}"
            )
        file.seek(0)
        data = file.read()
    if files is not None:
        check_hash(path, data, files)
    weights = parse_arrays(path, data)
    _check_weights(path, weights, shapes)
    return replace(header, weights=weights)


def parse_arrays(path: Path, data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays in the bytes of a safetensors file. Raises CheckpointError."""
    try:
        arrays: dict[str, NDArray[Any]] = parse_safetensors(data)
    # KeyError: a type that numpy lacks, say BF16. ValueError: a shape that it lacks, such as one of
    # more than 64 dimensions.
    except (SafetensorError, KeyError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
    return arrays


def _header(path: Path, data: bytes) -> SavedModel:
    """Return what the header of a model.safetensors says, without the weights."""
    with errors_of(path, "a charrnn model"):
        header = json.loads(json.loads(data)["__metadata__"][HEADER_KEY])
        for version in versions_to_migrate(header["format"], MODEL_FORMAT, MODEL_MIGRATIONS):
            header = MODEL_MIGRATIONS[version](header)
        return SavedModel(
            weights={},
            config=make(ModelConfig, header["model"]),
            vocabulary=Vocabulary.from_json(header["vocabulary"]),
            corpus_config=make(CorpusConfig, header["text"]),
            step=int(header["step"]),
        )


def _check_weights(path: Path, weights: Arrays, shapes: Mapping[str, tuple[int, ...]]) -> None:
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
        raise CheckpointError(f"{path}: weight {wrong_one} contains NaN or infinity")
