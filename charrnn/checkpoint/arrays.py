"""Named arrays as the bytes of a safetensors file."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
_TYPES = {"f4": "F32", "f8": "F64", "u1": "U8"}  # of arrays, as safetensors calls them


def safetensors_pieces(arrays: Arrays, metadata: dict[str, str]) -> list[memoryview]:
    """Lay arrays out as a safetensors file, in pieces and without copies of the arrays.

    The library's own function copies every array twice, which takes longer than to write them.
    """
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    pieces = []
    end = 0
    for name, array in sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0])):
        kind = _TYPES[array.dtype.kind + str(array.itemsize)]
        start, end = end, end + array.nbytes
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": (start, end)}
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        pieces.append(memoryview(little.reshape(-1).view(np.uint8).data))
    described = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    described += b" " * (-len(described) % 8)
    return [memoryview(len(described).to_bytes(8, "little") + described), *pieces]


def not_finite(arrays: Arrays) -> str | None:
    """Return the name of the first array with NaN or infinity in it."""
    return next((name for name, a in arrays.items() if not np.isfinite(a).all()), None)
