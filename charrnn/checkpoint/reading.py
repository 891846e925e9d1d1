"""Reading files that may be damaged or hostile: opened with care, checked, errors in one line."""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from charrnn.errors import CheckpointError

# What reading JSON may raise if it is not what it should be.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class FileRecord:
    """Size and hash of a file."""

    bytes: int
    sha256: str


@contextmanager
def opened(path: Path) -> Iterator[tuple[BufferedReader, int]]:
    """Open a regular file; yields it and its size. Raises CheckpointError if it cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe might wait forever
            raise CheckpointError(f"{path}: not a file")
        with path.open("rb") as file:
            yield file, os.fstat(file.fileno()).st_size
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error


@contextmanager
def errors_of(path: Path, what: str) -> Iterator[None]:
    """Turn whatever malformed JSON raises into a CheckpointError that names the file."""
    try:
        yield
    except CheckpointError as error:
        if str(error).startswith(str(path)):
            raise
        raise CheckpointError(f"{path}: {error}") from error
    except MALFORMED as error:
        raise CheckpointError(f"{path}: not {what} ({_shortly(error)})") from error


def check_size(path: Path, size: int, files: Mapping[str, FileRecord]) -> None:
    """Raise CheckpointError if a file is not as long as the manifest beside it says."""
    record = files.get(path.name)
    if record is None:
        raise CheckpointError(f"{path}: the manifest beside it does not list it")
    if size != record.bytes:
        raise CheckpointError(f"{path}: damaged ({size:,} bytes instead of {record.bytes:,})")


def check_hash(path: Path, data: bytes, files: Mapping[str, FileRecord]) -> None:
    """Raise CheckpointError if a file is not the one that the manifest beside it lists."""
    if hashlib.sha256(data).hexdigest() != files[path.name].sha256:
        raise CheckpointError(f"{path}: damaged (its hash is wrong)")


def _shortly(error: Exception) -> str:
    """Describe an error in a few words, whatever a file made it say."""
    if isinstance(error, UnicodeDecodeError | json.JSONDecodeError | RecursionError):
        return "not JSON"
    if isinstance(error, KeyError):
        return f"lacks {error}"[:120]
    return str(error)[:120]
