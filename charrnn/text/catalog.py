"""Corpora that have a name. The built-in ones are on every machine and cost no download."""

import hashlib
import sys
import sysconfig
import tokenize
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from charrnn.errors import CorpusError

PYTHON_CAP_BYTES = 5_000_000
# Parts of the standard library's folder that are third-party, generated or tests.
_LEFT_OUT = {
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idle_test",
    "__pycache__",
    "_bundled",
}
# Names that are a running number behind a fixed prefix: 100,000 lines without news.
_NUMBERED = (
    "CJK UNIFIED IDEOGRAPH-", "CJK COMPATIBILITY IDEOGRAPH-", "HANGUL SYLLABLE ",
    "TANGUT IDEOGRAPH-", "NUSHU CHARACTER-", "KHITAN SMALL SCRIPT CHARACTER-",
    "EGYPTIAN HIEROGLYPH-",
)  # fmt: skip


@dataclass(frozen=True)
class NamedCorpus:
    """A corpus that is known by a name."""

    name: str
    description: str
    blocks: Callable[[], Iterator[str]]


def _scattered(name: str) -> bytes:
    """Sort key that is the same on every machine and unrelated to the order of the names.

    So the validation split, the end of the corpus, is of the same kind as the rest.
    """
    return hashlib.sha256(name.encode()).digest()


def python_source() -> Iterator[str]:
    """Yield the source of the running interpreter's standard library, a module a block.

    Third-party packages and tests are left out; modules follow in a scattered but fixed order,
    up to PYTHON_CAP_BYTES of UTF-8. Raises CorpusError where there is no source to read.
    """
    root = Path(sysconfig.get_path("stdlib"))
    modules = {
        path.relative_to(root).as_posix(): path
        for path in root.rglob("*.py")
        if not _LEFT_OUT & set(path.relative_to(root).parts)
    }
    size = 0
    for name in sorted(modules, key=_scattered):
        try:
            with tokenize.open(modules[name]) as file:
                source = file.read()
        except (OSError, SyntaxError, UnicodeDecodeError):
            continue  # unreadable here, or a deliberately broken file
        size += len(source.encode())
        if size > PYTHON_CAP_BYTES:
            return
        yield source
    if size == 0:
        raise CorpusError(f"no Python source under {root}; name a text file to train on")


def unicode_names() -> Iterator[str]:
    """Yield the names of all Unicode characters that have one of their own, one a line."""
    names = (unicodedata.name(chr(code), "") for code in range(sys.maxunicode + 1))
    kept = (name for name in names if name and not name.startswith(_NUMBERED))
    yield "".join(f"{name}\n" for name in sorted(kept, key=_scattered))


BUILT_IN = {
    corpus.name: corpus
    for corpus in (
        NamedCorpus(
            "python",
            "source of the Python standard library, "
            f"at most {PYTHON_CAP_BYTES // 1_000_000} MB, without tests",
            python_source,
        ),
        NamedCorpus("unicode-names", "names of Unicode characters, one a line", unicode_names),
    )
}
DEFAULT = "python"
