"""Whether a run was made by this user on this machine.

A checkpoint names the files of its corpus. A stranger's checkpoint may name any file, so these are
opened only if the run was made here. That is known by a signature: an HMAC of what the checkpoint
names, under a random key that no one but the user can read. It lies in the user's data folder and
never leaves it.
"""

import hashlib
import hmac
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path

from platformdirs import user_data_path

from charrnn.checkpoint.manifest import CorpusRecord, Manifest
from charrnn.text.private import create_private_file

_KEY_BYTES = 32


def signature(corpus: CorpusRecord, val_text: str | None) -> str:
    """Sign what a new checkpoint names; "" if there can be no key, as in a read-only home."""
    key = _key(create=True)
    return "" if key is None else _signed(key, corpus, val_text)


def can_sign() -> bool:
    """Return whether there is a key, or one could be made."""
    return _key(create=True) is not None


def is_own(manifest: Manifest) -> bool:
    """Return whether a checkpoint was made by this user on this machine."""
    key = _key(create=False)
    if key is None or not manifest.origin:
        return False
    expected = _signed(key, manifest.corpus, manifest.corpus_config.val_text)
    return hmac.compare_digest(expected.encode(), manifest.origin.encode())


def _signed(key: bytes, corpus: CorpusRecord, val_text: str | None) -> str:
    named = json.dumps([corpus.sources, val_text, corpus.sha256]).encode()
    return hmac.new(key, named, hashlib.sha256).hexdigest()


def _key(*, create: bool) -> bytes | None:
    """Return the user's key; None if there is none, or one that others could have put there."""
    path = user_data_path("charrnn", appauthor=False) / "key"
    if create and not path.exists():
        with suppress(OSError):
            _create(path)
    try:
        status = path.lstat()
        key = path.read_bytes()
    except OSError:
        return None
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o077):
        return None
    return key if len(key) == _KEY_BYTES else None


def _create(path: Path) -> None:
    """Make a key under a temporary name first: two runs may start at once."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f"key-{secrets.token_hex(8)}")
    with create_private_file(temporary) as file:
        file.write(secrets.token_bytes(_KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)  # unlike a rename, this replaces no key
    except FileExistsError:
        pass
    except OSError:  # a file system without links: a key that just came is replaced at worst
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
