"""Find the files of a corpus: paths, folders, patterns, pipes and names."""

import difflib
import glob
import itertools
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
from charrnn.text.config import RUN_LOG_FILE, RUN_STEP_PREFIX, CorpusConfig
from charrnn.text.decoding import BLOCK_BYTES
from charrnn.text.streams import Budget, Skipped, SourceFile, matches, reason_to_skip

STDIN = "-"
_PACKED_SUFFIXES = {".gz", ".bz2", ".xz", ".zst", ".tar", ".tgz", ".zip"}
_COMPARED = 10_000  # names in a folder that a misspelt one is compared with, at most
_SIMILAR = 0.7  # difflib's ratio from which a name is suggested


class NamedCorpora(Protocol):
    """The corpora that have a name: what charrnn.text needs from a catalog.

    default: the name of the corpus to read if no source is given. names: all names.
    """

    @property
    def default(self) -> str: ...

    @property
    def names(self) -> Sequence[str]: ...

    def find(self, name: str, workspace: Path, glob: str | None) -> SourceFile:
        """Return the file of a corpus, one of `names`; it may be written into the workspace.

        glob: which members to read if it is an archive; None for those the catalog names.
        Raises CorpusError if the corpus is not on this machine.
        """


@dataclass(frozen=True)
class Found:
    """The files of a corpus.

    name: the corpus is called after its first source.
    sources: what a run records to find the same files again: absolute paths, names, - for stdin.
    notices: messages for the user.
    """

    name: str
    sources: tuple[str, ...]
    files: tuple[SourceFile, ...]
    notices: tuple[str, ...]


def find_files(
    sources: tuple[str, ...],
    config: CorpusConfig,
    catalog: NamedCorpora,
    *,
    workspace: Path,
    recorded: bool = False,
) -> Found:
    """Find the files of a corpus, given paths, patterns and names; no source means the default.

    A file or folder takes precedence over a corpus with the same name.
    workspace: a folder for text that is not a file, or that can be read only once.
    recorded: whether a run recorded the sources. Then names always mean corpora, and text that
    came through a pipe cannot be read again.
    Raises CorpusError if a source does not exist, and for folders without text.
    """
    finder = _Finder(config, catalog, workspace, recorded or not sources)
    for source in sources or (catalog.default,):
        finder.add(source)
    return Found(
        name=corpus_name(finder.sources[0], finder.files[0].name),
        sources=tuple(finder.sources),
        files=tuple(finder.files),
        notices=tuple(finder.skipped.notices()),
    )


def corpus_name(source: str, shown: str) -> str:
    """Name a corpus after its first source: poems for poems.txt.gz.

    shown: how messages call that source; it names what was read from stdin.
    """
    if source == STDIN:
        return shown
    if source.startswith(("/dev/", "/proc/")):
        return "pipe"
    path = Path(source)
    while path.suffix in _PACKED_SUFFIXES:
        path = path.with_suffix("")
    return path.stem or path.name or "corpus"


class _Finder:
    """Collects the files of several sources."""

    def __init__(
        self, config: CorpusConfig, catalog: NamedCorpora, workspace: Path, recorded: bool
    ) -> None:
        self.config = config
        self.catalog = catalog
        self.workspace = workspace
        self.recorded = recorded
        self.files: list[SourceFile] = []
        self.sources: list[str] = []
        self.skipped = Skipped()

    def add(self, source: str) -> None:
        """Add the files of a path, a pattern or a name."""
        if not source:
            raise SettingsError("the name of a corpus is empty; omit it for the default corpus")
        if source == STDIN:
            self._spool(source, sys.stdin.buffer)
        elif source in self.catalog.names and (self.recorded or not os.path.lexists(source)):
            self.sources.append(source)
            self.files.append(self.catalog.find(source, self.workspace, self.config.glob))
        elif not self.recorded and not os.path.lexists(source) and glob.has_magic(source):
            self._pattern(source)
        else:
            self._path(Path(source), source)

    def _path(self, path: Path, source: str) -> None:
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a NUL
            if self.recorded:
                raise CorpusError(f"{source} is gone") from error
            raise CorpusError(_not_found(source, self.catalog.names)) from error
        except OSError as error:
            raise _cannot_open(source, error) from error
        if stat.S_ISDIR(mode):
            self._folder(path, source)
        elif stat.S_ISREG(mode):
            self.sources.append(str(path.absolute()))
            self.files.append(SourceFile(str(path), path, self.config.glob))
        else:
            self._spool(source, None)

    def _pattern(self, pattern: str) -> None:
        found = [Path(match) for match in glob.glob(pattern, recursive=True)]  # noqa: PTH207
        if "**" in pattern:  # it matches folders and also the files in them
            found = [path for path in found if path.is_file()]
        if not found:
            raise CorpusError(f"no file matches {pattern!r}")
        for path in sorted(set(found)):
            self._path(path, str(path))

    def _folder(self, folder: Path, source: str) -> None:
        skipped, pattern = Skipped(), self.config.glob
        wanted = [
            path
            for path in _walk(folder, skipped)
            if pattern is None or matches(path.as_posix(), pattern)
        ]
        texts = [path for path in wanted if self._is_text(path, skipped)]
        if not texts:
            explanation = skipped.explanation(None if wanted else pattern)
            raise CorpusError(
                f"{source}: this folder contains no text ({explanation}); if it should, set "
                "`encoding` or `glob`"
            )
        # The glob chose the files of the folder; if one is an archive, read all of it.
        self.files += [SourceFile(str(path), path) for path in texts]
        self.sources.append(str(folder.absolute()))
        self.skipped.reasons |= skipped.reasons

    def _is_text(self, path: Path, skipped: Skipped) -> bool:
        try:
            reason = reason_to_skip(path, self.config)
        except CorpusError:
            reason = "unreadable"
        if reason is not None:
            skipped.add(reason, str(path))
        return reason is None

    def _spool(self, source: str, stream: IO[bytes] | None) -> None:
        """Copy what can be read only once into the workspace."""
        name = "stdin" if source == STDIN else source
        if self.recorded:
            raise CorpusError(f"{name}: text that came through a pipe cannot be read again")
        budget = Budget(self.config.max_corpus_bytes)
        descriptor, path = tempfile.mkstemp(dir=self.workspace)
        with os.fdopen(descriptor, "wb") as file:
            for block in _blocks(stream, source):
                budget.spend(len(block))
                file.write(block)
        self.sources.append(STDIN if source == STDIN else str(Path(source).absolute()))
        self.files.append(SourceFile(name, Path(path), self.config.glob))


def _blocks(stream: IO[bytes] | None, source: str) -> Iterator[bytes]:
    try:
        with Path(source).open("rb") if stream is None else nullcontext(stream) as opened:
            while block := opened.read(BLOCK_BYTES):
                yield block
    except OSError as error:
        raise _cannot_open(source, error) from error


def _cannot_open(source: str, error: OSError) -> CorpusError:
    return CorpusError(f"{source[:80]}: cannot be opened ({error.strerror or error})")


def _walk(folder: Path, skipped: Skipped) -> Iterator[Path]:
    """Yield the files under a folder in the order of their paths, without hidden files and runs."""

    def unreadable(error: OSError) -> None:
        skipped.add("unreadable folder", str(error.filename))

    found = []
    for root, folders, names in os.walk(folder, onerror=unreadable):
        if RUN_LOG_FILE in names and any(name.startswith(RUN_STEP_PREFIX) for name in folders):
            skipped.add("charrnn run", root)
            folders.clear()
            continue
        for name in [n for n in (*folders, *names) if n.startswith(".")]:
            skipped.add("hidden", str(Path(root, name)))
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in [Path(root, name) for name in folders]:
            if path.is_symlink():
                skipped.add("link to a folder", str(path))
        found += [Path(root, name) for name in names if not name.startswith(".")]
    inside = folder.resolve()
    for path in sorted(found, key=lambda path: path.relative_to(folder).parts):
        if (reason := _reason_to_leave_out(path, inside)) is None:
            yield path
        else:
            skipped.add(reason, str(path))


def _reason_to_leave_out(path: Path, folder: Path) -> str | None:
    """Return why an entry of a folder is not to be read, or None. folder: without links."""
    try:
        if not path.is_file():
            return "device, pipe or broken link"
        # In a folder that somebody else has packed, it may lead to what is private.
        if path.is_symlink() and not path.resolve().is_relative_to(folder):
            return "link that leads out of the folder"
    except OSError:
        return "unreadable"
    return None


def _not_found(source: str, names: Sequence[str]) -> str:
    has_folder = Path(source).name != source
    if has_folder:
        problem, names = f"no file is called {source!r}", ()
    else:
        problem = f"no file or corpus is called {source!r}"
    with suppress(OSError, ValueError):  # a name that no file can have
        if (suggestion := _similar(Path(source), names)) is not None:
            return f"{problem}; did you mean {suggestion}?"
    return problem if has_folder else f"{problem}; list the named corpora with: charrnn corpora"


def _similar(path: Path, names: Sequence[str] = ()) -> Path | None:
    """Return the most similar path that exists, or the most similar of other names; else None.

    If its folder is misspelt as well, look in the one with the most similar name. Suffixes only
    decide between files that are equally similar without them.
    """
    folder = path.parent if path.parent.is_dir() else _similar(path.parent)
    if folder is None:
        return None
    exact = folder / path.name
    if folder != path.parent and exact.exists():
        return exact
    candidates: dict[str, list[Path]] = {}
    for entry in sorted(itertools.islice(folder.iterdir(), _COMPARED)):
        if not entry.name.startswith("."):
            candidates.setdefault(entry.stem.lower(), []).append(folder / entry.name)
    for name in names:
        candidates.setdefault(name.lower(), []).append(Path(name))
    close = difflib.get_close_matches(path.stem.lower(), candidates, n=1, cutoff=_SIMILAR)
    if not close:
        return None
    equal = candidates[close[0]]
    return next((candidate for candidate in equal if candidate.suffix == path.suffix), equal[0])
