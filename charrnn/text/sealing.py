"""Sealed JSON: an object that ends with the SHA-256 of everything before that hash, its seal.

Manifests of checkpoints and cache entries are sealed. Nothing in such a file is believed before
its seal was checked, so that no flipped bit in it goes unnoticed.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from charrnn.errors import CharrnnError

_SEAL_END = b'"\n}\n'  # what follows the seal


class BrokenSealError(CharrnnError):
    """A sealed file is not what was written."""


def sealed(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of a JSON object, its seal included, which is called sha256."""
    body = (json.dumps({**content, "sha256": ""}, indent=1) + "\n").encode()
    body = body.removesuffix(_SEAL_END)
    return body + hashlib.sha256(body).hexdigest().encode() + _SEAL_END


def unsealed(data: bytes) -> dict[str, Any]:
    """Return the JSON object, without its seal.

    Raises BrokenSealError if the seal is wrong, and KeyError, TypeError, ValueError or
    RecursionError if the data is not a JSON object with a seal.
    """
    content = json.loads(data)
    if not isinstance(content, dict):
        raise TypeError("not a JSON object")
    digest = content.pop("sha256")
    body = data[: -len(digest) - len(_SEAL_END)]
    if hashlib.sha256(body).hexdigest() != digest or data != body + digest.encode() + _SEAL_END:
        raise BrokenSealError("damaged (its hash is wrong)")
    return content
