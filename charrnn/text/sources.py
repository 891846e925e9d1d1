"""Where a corpus is: files, folders, patterns, pipes and names."""

import difflib
import glob
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from charrnn.errors import CorpusError, SettingsError
from charrnn.text.config import CorpusConfig
from charrnn.text.decoding import BLOCK_BYTES
from charrnn.text.streams import Budget, LeftOut, SourceFile, matches, why_left_out

STDIN = "-"
_RUN_LOG, _RUN_CHECKPOINT = "log.jsonl", "step-"  # how a folder that is a run is known
_PACKED_SUFFIXES = {".gz", ".bz2", ".xz", ".zst", ".tar", ".tgz", ".zip"}


@dataclass(frozen=True)
class Found:
    """The files of a corpus.

    sources: what finds the same files again: absolute paths, names, - for what came by a pipe.
    """

    name: str
    sources: tuple[str, ...]
    files: tuple[SourceFile, ...]
    notices: tuple[str, ...]


class NamedCorpora(Protocol):
    """The corpora that have a name: what charrnn.text asks of a catalog.

    default: the name of the corpus to read if none is given. names: all names.
    """

    @property
    def default(self) -> str: ...

    @property
    def names(self) -> Sequence[str]: ...

    def find(self, name: str, workspace: Path, glob: str | None) -> SourceFile:
        """Return the file of a corpus, one of `names`; it may be written into the workspace.

        glob: which members to read if it is an archive; None for those the catalog names.
        Raises CorpusError if it is not on this machine.
        """


class _Finder:
    """Collects the files that sources stand for."""

    def __init__(
        self, config: CorpusConfig, catalog: NamedCorpora, workspace: Path, again: bool
    ) -> None:
        self.config = config
        self.catalog = catalog
        self.workspace = workspace
        self.again = again
        self.files: list[SourceFile] = []
        self.sources: list[str] = []
        self.left_out = LeftOut()

    def add(self, source: str) -> None:
        """Add what a path, a pattern or a name stands for."""
        if not source:
            raise SettingsError("an empty name stands for no corpus; leave it out for the default")
        named = source in self.catalog.names
        if source == STDIN:
            self._spool(source, sys.stdin.buffer)
        elif named and (self.again or not os.path.lexists(source)):
            self.sources.append(source)
            self.files.append(self.catalog.find(source, self.workspace, self.config.glob))
        elif not os.path.lexists(source) and glob.has_magic(source):
            self._pattern(source)
        else:
            self._path(Path(source), source)

    def _path(self, path: Path, source: str) -> None:
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a NUL
            names = self.catalog.names
            message = f"{source} is gone" if self.again else _unknown(source, names)
            raise CorpusError(message) from error
        except OSError as error:
            raise _unreadable(source, error) from error
        if stat.S_ISDIR(mode):
            self._folder(path, source)
        elif stat.S_ISREG(mode):
            self.sources.append(str(path.absolute()))
            self.files.append(SourceFile(str(path), path, self.config.glob))
        else:
            self._spool(source, None)

    def _pattern(self, pattern: str) -> None:
        found = [Path(match) for match in glob.glob(pattern, recursive=True)]  # noqa: PTH207
        if "**" in pattern:  # it matches folders and what is in them
            found = [path for path in found if path.is_file()]
        if not found:
            raise CorpusError(f"no file matches {pattern!r}")
        for path in sorted(set(found)):
            self._path(path, str(path))

    def _folder(self, folder: Path, source: str) -> None:
        left_out, chosen = LeftOut(), self.config.glob
        wanted = [
            path
            for path in _walk(folder, left_out)
            if chosen is None or matches(path.as_posix(), chosen)
        ]
        texts = [found for path in wanted for found in self._text(path, left_out)]
        if not texts:
            why = left_out.why(None if wanted else chosen)
            raise CorpusError(
                f"{source}: no text in this folder ({why}); if there should be, name its "
                "`encoding` or another `glob`"
            )
        self.files += texts
        self.sources.append(str(folder.absolute()))
        self.left_out.reasons |= left_out.reasons

    def _text(self, path: Path, left_out: LeftOut) -> list[SourceFile]:
        """Return a file of a folder where it is text; in an archive, all is."""
        try:
            why = why_left_out(path, self.config)
        except CorpusError:
            why = "not readable"
        if why is None:
            return [SourceFile(str(path), path)]
        left_out.add(why, str(path))
        return []

    def _spool(self, source: str, stream: IO[bytes] | None) -> None:
        """Keep what can be read only once, for the time of encoding."""
        name = "stdin" if source == STDIN else source
        if self.again:
            raise CorpusError(f"{name}: what came by a pipe cannot be read again")
        budget = Budget(self.config.max_corpus_bytes)
        descriptor, path = tempfile.mkstemp(dir=self.workspace)
        with os.fdopen(descriptor, "wb") as file:
            for block in _blocks(stream, source):
                budget.spend(len(block))
                file.write(block)
        self.sources.append(STDIN if source == STDIN else str(Path(source).absolute()))
        self.files.append(SourceFile(name, Path(path), self.config.glob))


def find_files(
    sources: tuple[str, ...],
    config: CorpusConfig,
    catalog: NamedCorpora,
    *,
    workspace: Path,
    again: bool = False,
) -> Found:
    """Find the files that paths, patterns and names stand for; none means the catalog's default.

    What exists wins over a corpus of its name. workspace: a folder for what can be read only once
    and for what is not a file. again: the sources are those that a run recorded, so that names are
    names, and what came by a pipe is gone.
    Raises CorpusError for what is none of these, and for a folder without text.
    """
    finder = _Finder(config, catalog, workspace, again or not sources)
    for source in sources or (catalog.default,):
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
    if source.startswith(("/dev/", "/proc/")):
        return "pipe"
    path = Path(source)
    while path.suffix in _PACKED_SUFFIXES:
        path = path.with_suffix("")
    return path.stem or path.name or "corpus"


def _blocks(stream: IO[bytes] | None, source: str) -> Iterator[bytes]:
    try:
        with Path(source).open("rb") if stream is None else nullcontext(stream) as opened:
            while block := opened.read(BLOCK_BYTES):
                yield block
    except OSError as error:
        raise _unreadable(source, error) from error


def _unreadable(source: str, error: OSError) -> CorpusError:
    return CorpusError(f"{source[:80]}: cannot be opened ({error.strerror or error})")


def _walk(folder: Path, left_out: LeftOut) -> Iterator[Path]:
    """Yield the files under a folder in the order of their paths; hidden ones are left out."""

    def unreadable(error: OSError) -> None:
        left_out.add("a folder that cannot be read", str(error.filename))

    found = []
    for root, folders, names in os.walk(folder, onerror=unreadable):
        if _RUN_LOG in names and any(name.startswith(_RUN_CHECKPOINT) for name in folders):
            left_out.add("a run of charrnn", root)  # or a corpus would change as it is learned
            folders.clear()
            continue
        for name in [n for n in (*folders, *names) if n.startswith(".")]:
            left_out.add("hidden", str(Path(root, name)))
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in [Path(root, name) for name in folders]:
            if path.is_symlink():
                left_out.add("a link to a folder", str(path))
        found += [Path(root, name) for name in names if not name.startswith(".")]
    for path in sorted(found, key=lambda path: path.relative_to(folder).parts):
        if path.is_file():
            yield path
        else:
            left_out.add("a device, a pipe or a link to nothing", str(path))


def _unknown(source: str, names: Sequence[str]) -> str:
    path = Path(source)
    with suppress(OSError, ValueError):  # a name that no file can have
        beside = sorted(entry.name for entry in path.parent.iterdir())
        if close := difflib.get_close_matches(path.name, beside, n=1, cutoff=0.8):
            return f"no file is called {source!r}; did you mean {path.with_name(close[0])}?"
        if same := [name for name in beside if Path(name).stem == path.name]:
            return f"no file is called {source!r}; did you mean {path.with_name(same[0])}?"
    if path.name != source:
        return f"no file is called {source!r}"
    close = difflib.get_close_matches(source, names, n=1)
    hint = f"did you mean {close[0]}?" if close else "charrnn corpora lists those that have a name"
    return f"no file and no corpus is called {source!r}; {hint}"
