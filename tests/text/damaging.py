"""Packed texts of every kind, and ways to damage them."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile
from typing import Any

from charrnn.text import unpacking

TEXTS = {"a.txt": b"ay\n" * 300, "sub/" * 40 + "b.txt": b"bee\n" * 300}
METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflated": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}
FORMATS = {
    "ustar": tarfile.USTAR_FORMAT,
    "gnu": tarfile.GNU_FORMAT,
    "pax": tarfile.PAX_FORMAT,
}


def packed_texts() -> dict[str, bytes]:
    """Return files in all formats that charrnn unpacks, by a name for each."""
    found = {}
    for name, method in METHODS.items():
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            for path, text in TEXTS.items():
                archive.writestr(path, text)
        found[f"{name}.zip"] = file.getvalue()
    for name, form in FORMATS.items():
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=form) as tar:
            for path, text in TEXTS.items():
                info = tarfile.TarInfo(path)
                info.size = len(text)
                info.pax_headers = {"comment": "x", "path": path}
                tar.addfile(info, io.BytesIO(text))
        found[f"{name}.tar"] = file.getvalue()
    zstd: Any = unpacking.zstd  # type: ignore[attr-defined]
    for text in (TEXTS["a.txt"], found["pax.tar"]):
        kind = "tar" if text is not TEXTS["a.txt"] else "txt"
        found[f"{kind}.gz"] = gzip.compress(text)
        found[f"{kind}.bz2"] = bz2.compress(text)
        found[f"{kind}.xz"] = lzma.compress(text)
        found[f"{kind}.zst"] = zstd.compress(text)
    return found


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return a copy with a few changes: bits, bytes, numbers, pieces moved, repeated or lost."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at, size = rng.randrange(len(changed) + 1), rng.choice((1, 1, 2, 4, 8, 512))
        match rng.randrange(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at : at + size] = rng.randbytes(size)
            case 2:
                changed[at : at + size] = rng.choice((b"\0", b"\xff", b"7", b"\x80")) * size
            case 3:
                changed[at:at] = changed[at : at + size]
            case 4:
                del changed[at : at + size]
            case _:
                other = rng.randrange(len(changed) + 1)
                changed[at : at + size] = changed[other : other + size]
    return bytes(changed[: rng.randrange(len(changed) + 1)] if rng.random() < 0.1 else changed)
