"""Where text comes from: files and built-in corpora, decoded as a stream of blocks."""

import codecs
import io
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from charrnn.errors import CorpusError
from charrnn.text import catalog

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Corpus:
    """A text that can be read from its beginning any number of times.

    sources: what to hand to `open_corpus` to get the same text again: absolute paths or names.
    blocks: yields the text in pieces; which pieces is of no meaning. Raises CorpusError.
    """

    name: str
    sources: tuple[str, ...]
    blocks: Callable[[], Iterator[str]]


def open_corpus(sources: tuple[str, ...], *, keep_newlines: bool = False) -> Corpus:
    """Find the corpus that paths and names stand for; several are read one after the other.

    No source means the first built-in corpus. A file wins over a built-in corpus of its name.
    Raises CorpusError for what is neither a readable file nor the name of a corpus.
    """
    readers: list[Callable[[], Iterator[str]]] = []
    found: list[str] = []
    for source in sources or (catalog.DEFAULT,):
        path = Path(source)
        if source in catalog.BUILT_IN and not path.is_file():
            readers.append(catalog.BUILT_IN[source].blocks)
            found.append(source)
            continue
        _check_file(path, source)
        readers.append(lambda path=path: read_file(path, keep_newlines=keep_newlines))  # type: ignore[misc]
        found.append(str(path.absolute()))

    def blocks() -> Iterator[str]:
        for reader in readers:
            yield from reader()

    return Corpus(name=Path(found[0]).stem or found[0], sources=tuple(found), blocks=blocks)


def read_file(path: Path, *, keep_newlines: bool = False) -> Iterator[str]:
    """Decode a UTF-8 file block by block; a byte order mark is dropped.

    CRLF and lone CR become LF, unless keep_newlines.
    Raises CorpusError naming the byte where the file is not UTF-8, or why it cannot be read.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    newlines = None if keep_newlines else io.IncrementalNewlineDecoder(None, translate=True)
    consumed, begun = 0, False
    try:
        with path.open("rb") as file:
            while True:
                data = file.read(BLOCK_BYTES)
                pending = len(decoder.getstate()[0])
                try:
                    text = decoder.decode(data, final=not data)
                except UnicodeDecodeError as error:
                    offset = consumed - pending + error.start
                    raise CorpusError(_not_utf8(path, error, offset)) from error
                if text and not begun:
                    text, begun = text.removeprefix("\ufeff"), True  # the byte order mark
                if newlines is not None:
                    text = newlines.decode(text, final=not data)
                if text:
                    yield text
                if not data:
                    return
                consumed += len(data)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_text(path: Path, *, keep_newlines: bool = False) -> str:
    """Read a whole UTF-8 file, as `read_file` does."""
    return "".join(read_file(path, keep_newlines=keep_newlines))


def normalise_newlines(text: str) -> str:
    """Turn CRLF and lone CR into LF, as a corpus is read unless it keeps its newlines."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _check_file(path: Path, source: str) -> None:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, ValueError) as error:  # ValueError: a NUL in the name
        names = ", ".join(catalog.BUILT_IN)
        raise CorpusError(
            f"no file and no corpus is called {source!r}; built-in corpora: {names}"
        ) from error
    except OSError as error:
        raise CorpusError(f"{source[:80]}: cannot be opened ({error.strerror or error})") from error
    if stat.S_ISDIR(mode):
        raise CorpusError(
            f"{path} is a folder; name the text files in it, for instance {path}/*.txt"
        )


def _not_utf8(path: Path, error: UnicodeDecodeError, offset: int) -> str:
    raw = error.object[error.start : error.start + 4]
    sequence = " ".join(f"{byte:02X}" for byte in raw)
    hint = (
        " (it looks like UTF-16)" if offset == 0 and raw[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
    )
    return (
        f"{path}: not UTF-8 at byte {offset:,} ({sequence}){hint}; "
        "save it as UTF-8, for instance: iconv -f ENCODING -t UTF-8 OLD > NEW"
    )
