"""Where a corpus is: files, folders, patterns, pipes, archives, names; read as streams of bytes."""

import difflib
import glob
import io
import os
import shlex
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from charrnn.errors import CorpusError
from charrnn.text import catalog
from charrnn.text.config import CorpusConfig
from charrnn.text.decoding import BLOCK_BYTES, SNIFF_BYTES, looks_like_text

STDIN = "-"
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_PACKED_SUFFIXES = {".gz", ".bz2", ".xz", ".zst", ".tar", ".tgz", ".zip"}


@dataclass(frozen=True)
class SourceFile:
    """A file to read.

    name: what messages call it. path: where its bytes are. command: what the user can run again
    with other options. glob: which members to read where it is an archive; None for all of text.
    """

    name: str
    path: Path
    command: str
    glob: str | None = None


@dataclass
class LeftOut:
    """What was not read, and the first of each kind: told in a notice."""

    reasons: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """Count one."""
        count, first = self.reasons.get(reason, (0, name))
        self.reasons[reason] = (count + 1, first)

    def notices(self) -> list[str]:
        """Say how many of each kind were left out."""
        return [
            f"left out {count:,} {reason} (first: {first})"
            for reason, (count, first) in self.reasons.items()
        ]


@dataclass(frozen=True)
class Found:
    """The files of a corpus.

    sources: what finds the same files again: absolute paths, names, - for what came by a pipe.
    """

    name: str
    sources: tuple[str, ...]
    files: tuple[SourceFile, ...]
    notices: tuple[str, ...]


class _Finder:
    """Collects the files that sources stand for."""

    def __init__(
        self, config: CorpusConfig, workspace: Path, corpora_dir: Path, pipes: bool, command: str
    ) -> None:
        self.config = config
        self.workspace = workspace
        self.corpora_dir = corpora_dir
        self.pipes = pipes
        self.command = command
        self.files: list[SourceFile] = []
        self.sources: list[str] = []
        self.left_out = LeftOut()

    def add(self, source: str) -> None:
        """Add what a path, a pattern or a name stands for."""
        path = Path(source)
        is_file = os.path.isfile(source)  # noqa: PTH113 - False for what is no path at all
        if source == STDIN:
            self._spool(source, sys.stdin.buffer)
        elif not is_file and source in catalog.BUILT_IN:
            self._built_in(source)
        elif not is_file and source in catalog.PUBLIC:
            self._public(catalog.PUBLIC[source])
        elif not os.path.lexists(source) and glob.has_magic(source):
            self._pattern(source)
        else:
            self._path(path, source)

    def _path(self, path: Path, source: str) -> None:
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a NUL
            raise CorpusError(_unknown(source)) from error
        except OSError as error:
            reason = error.strerror or error
            raise CorpusError(f"{source[:80]}: cannot be opened ({reason})") from error
        if stat.S_ISDIR(mode):
            self._folder(path, source)
        elif stat.S_ISREG(mode):
            self._file(path, str(path.absolute()))
        else:
            with _opened(path, source) as stream:
                self._spool(source, stream)

    def _file(self, path: Path, recorded: str) -> None:
        self.sources.append(recorded)
        self.files.append(SourceFile(str(path), path, self.command, self.config.glob))

    def _pattern(self, pattern: str) -> None:
        matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - takes ** and ~ alike
        if not matches:
            raise CorpusError(f"no file matches {pattern!r}")
        for match in matches:
            self._path(Path(match), match)

    def _folder(self, folder: Path, source: str) -> None:
        left_out = LeftOut()
        texts = [
            SourceFile(str(path), path, self.command, self.config.glob)
            for path in _walk(folder, left_out)
            if self._wanted(path, folder, left_out)
        ]
        if not texts:
            counts = "; ".join(left_out.notices()) or "it is empty, or nothing matches --glob"
            raise CorpusError(
                f"{source}: no text in this folder ({counts}); if there should be, name the "
                "files' --encoding or another --glob"
            )
        self.files += texts
        self.sources.append(str(folder.absolute()))
        for reason, (count, first) in left_out.reasons.items():
            for _ in range(count):
                self.left_out.add(reason, first)

    def _wanted(self, path: Path, folder: Path, left_out: LeftOut) -> bool:
        if self.config.glob and not path.relative_to(folder).match(self.config.glob):
            return False
        try:
            with path.open("rb") as raw:
                head = _unpacked(raw, str(path))[0].read(SNIFF_BYTES)
        except (CorpusError, OSError):
            left_out.add("unreadable files", str(path))
            return False
        if (
            not _is_tar(head)
            and not head.startswith(b"PK\3\4")
            and not (looks_like_text(head, self.config))
        ):
            left_out.add("files that are not text", str(path))
            return False
        return True

    def _built_in(self, name: str) -> None:
        path = self.workspace / f"{name}.txt"
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(catalog.BUILT_IN[name].blocks())
        self.sources.append(name)
        self.files.append(SourceFile(name, path, self.command))

    def _public(self, corpus: catalog.PublicCorpus) -> None:
        path = self.corpora_dir / corpus.file
        if not path.is_file():
            raise CorpusError(
                f"{corpus.name} is not in {self.corpora_dir} yet; get it with: "
                f"charrnn corpora fetch {corpus.name}"
            )
        self.sources.append(corpus.name)
        wanted = self.config.glob or corpus.glob
        self.files.append(SourceFile(corpus.name, path, self.command, wanted))

    def _spool(self, source: str, stream: IO[bytes]) -> None:
        """Keep what can be read only once, for the time of encoding."""
        name = "stdin" if source == STDIN else source
        if not self.pipes:
            raise CorpusError(f"{name}: what came by a pipe cannot be read again")
        path = self.workspace / f"pipe-{len(self.files)}"
        budget = Budget(self.config.max_corpus_bytes)
        with path.open("wb") as file:
            while block := stream.read(BLOCK_BYTES):
                budget.spend(len(block))
                file.write(block)
        self.sources.append(STDIN if source == STDIN else str(Path(source).absolute()))
        self.files.append(SourceFile(name, path, self.command, self.config.glob))


def find_files(
    sources: tuple[str, ...],
    config: CorpusConfig,
    *,
    workspace: Path,
    corpora_dir: Path,
    pipes: bool = True,
    command: str = "charrnn train",
) -> Found:
    """Find the files that paths, patterns and names stand for; none means the first built-in one.

    A file wins over a corpus of its name. workspace: a folder for what can be read only once and
    for what is not a file. pipes: whether to read from pipes. command: for messages.
    Raises CorpusError for what is none of these, and for a folder without text.
    """
    wanted = sources or (catalog.DEFAULT,)
    finder = _Finder(
        config, workspace, corpora_dir, pipes, " ".join((command, *map(shlex.quote, wanted)))
    )
    for source in wanted:
        finder.add(source)
    return Found(
        name=corpus_name(finder.sources[0], finder.files[0].name),
        sources=tuple(finder.sources),
        files=tuple(finder.files),
        notices=tuple(finder.left_out.notices()),
    )


def corpus_name(source: str, shown: str) -> str:
    """Name a corpus after its first source: poems for poems.txt.gz."""
    if source == STDIN:
        return shown
    path = Path(source)
    while path.suffix in _PACKED_SUFFIXES:
        path = path.with_suffix("")
    return path.stem or path.name or "corpus"


class Budget:
    """Counts the bytes of a text, and stops a text that is larger than it may be."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.spent = 0

    def spend(self, count: int) -> None:
        """Count bytes; raises CorpusError once they are more than the limit."""
        self.spent += count
        if self.spent > self.limit:
            raise CorpusError(
                f"the text is larger than {self.limit:,} bytes; if that is meant, allow more with "
                "--max-corpus-bytes"
            )


class _Checked(io.RawIOBase):
    """A stream whose bytes are counted, and whose failures are told in the user's words."""

    def __init__(
        self,
        inner: Any,
        name: str,
        count: Callable[[int], None],
        damage: tuple[type[Exception], ...] = (),
    ) -> None:
        super().__init__()
        self._inner, self._name, self._count, self._damage = inner, name, count, damage

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            size: int = self._inner.readinto(buffer)
        except self._damage as error:
            raise CorpusError(f"{self._name}: damaged or cut short ({error})") from error
        except OSError as error:
            reason = error.strerror or error
            raise CorpusError(f"{self._name}: cannot be read ({reason})") from error
        self._count(size)
        return size


def open_members(
    file: SourceFile,
    config: CorpusConfig,
    *,
    budget: Budget,
    on_bytes: Callable[[int], None],
    left_out: LeftOut,
) -> Iterator[tuple[str, io.BufferedReader]]:
    """Yield the name and the bytes of a file, decompressed, or of each text in an archive.

    budget: of bytes after decompression. on_bytes: called with the bytes read from the disk.
    left_out: takes what an archive holds besides text. Raises CorpusError for a damaged file.
    """
    with _opened(file.path, file.name) as opened:
        raw = io.BufferedReader(_Checked(opened, file.name, on_bytes), BLOCK_BYTES)
        if raw.peek(4)[:4] == b"PK\3\4":
            members = _zip_members(opened, file.name)
        else:
            stream, damage = _unpacked(raw, file.name)
            checked = _buffered(stream, file.name, budget.spend, damage)
            if not _is_tar(checked.peek(_TAR_MAGIC_AT + len(_TAR_MAGIC))):
                yield file.name, checked
                return
            members = _tar_members(checked, file.name)
        for name, member in members:
            shown = f"{file.name}/{name}"
            if any(part.startswith(".") and part.strip(".") for part in _parts(name)):
                left_out.add("hidden files", shown)
            elif file.glob is None or PurePosixPath(name).match(file.glob):
                damage = (zipfile.BadZipFile, zlib.error, EOFError, tarfile.TarError)
                spend = budget.spend if isinstance(member, zipfile.ZipExtFile) else _ignore
                stream = _buffered(member, shown, spend, damage)
                if looks_like_text(stream.peek(SNIFF_BYTES)[:SNIFF_BYTES], config):
                    yield shown, stream
                else:
                    left_out.add("files that are not text", shown)


def _buffered(
    inner: Any, name: str, count: Callable[[int], None], damage: tuple[type[Exception], ...]
) -> io.BufferedReader:
    return io.BufferedReader(_Checked(inner, name, count, damage), BLOCK_BYTES)


def _ignore(_size: int) -> None:
    """Bytes of a tar's members were counted with the tar's."""


def _opened(path: Path, name: str) -> IO[bytes]:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise CorpusError(f"{name}: cannot be opened ({error.strerror or error})") from error


def _unpacked(raw: Any, name: str) -> tuple[Any, tuple[type[Exception], ...]]:
    """Return a stream of what a file holds, decompressed, and the errors that mean damage."""
    head = raw.peek(10)[:10]
    try:
        if head.startswith(b"\x1f\x8b"):
            import gzip

            return gzip.GzipFile(fileobj=raw), (gzip.BadGzipFile, zlib.error, EOFError)
        if head[:3] == b"BZh" and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
            import bz2

            return bz2.BZ2File(raw), (OSError, EOFError, ValueError)
        if head.startswith(b"\xfd7zXZ\0"):
            import lzma

            return lzma.LZMAFile(raw), (lzma.LZMAError, EOFError)
        if head.startswith(b"\x28\xb5\x2f\xfd"):
            zstd = _zstd()
            return zstd.ZstdFile(raw), (zstd.ZstdError, EOFError)
    except ModuleNotFoundError as error:
        raise CorpusError(
            f"{name}: this Python has no {error.name} to decompress it; decompress it first"
        ) from error
    return raw, ()


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(name).parts


def _is_tar(head: bytes) -> bool:
    return head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + len(_TAR_MAGIC)] == _TAR_MAGIC


def _tar_members(stream: io.BufferedReader, name: str) -> Iterator[tuple[str, Any]]:
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.isreg() and (content := archive.extractfile(member)) is not None:
                    yield member.name, content
    except (tarfile.TarError, EOFError) as error:
        raise CorpusError(f"{name}: damaged or cut short ({error})") from error


def _zip_members(opened: IO[bytes], name: str) -> Iterator[tuple[str, Any]]:
    opened.seek(0)
    try:
        with zipfile.ZipFile(opened) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    with archive.open(member) as content:
                        yield member.filename, content
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        # RuntimeError: a password is needed. NotImplementedError: an unknown method.
        raise CorpusError(f"{name}: cannot be unpacked ({error}); unpack it first") from error


def _walk(folder: Path, left_out: LeftOut) -> Iterator[Path]:
    """Yield the files under a folder in the order of their paths; hidden ones are left out."""

    def unreadable(error: OSError) -> None:
        left_out.add("unreadable folders", str(error.filename))

    found = []
    for root, folders, names in os.walk(folder, onerror=unreadable):
        for name in [n for n in (*folders, *names) if n.startswith(".")]:
            left_out.add("hidden files and folders", str(Path(root, name)))
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root, name) for name in names if not name.startswith(".")]
    for path in sorted(found, key=lambda path: path.relative_to(folder).parts):
        if path.is_file():
            yield path
        else:
            left_out.add("links without a target and devices", str(path))


def _unknown(source: str) -> str:
    names = (*catalog.BUILT_IN, *catalog.PUBLIC)
    close = difflib.get_close_matches(source, names, n=1)
    hint = f"did you mean {close[0]}?" if close else "charrnn corpora lists those that have a name"
    return f"no file and no corpus is called {source!r}; {hint}"
