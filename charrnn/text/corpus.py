"""A corpus as a stream of documents: whole files, lines, paragraphs, or rows of tables."""

import csv
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.errors import CorpusError, UndecodableError
from charrnn.text.config import CorpusConfig
from charrnn.text.decoding import (
    BLOCK_BYTES,
    Notice,
    decode,
    transform,
    transformed,
    with_line_feeds,
)
from charrnn.text.paragraphs import separated_paragraphs
from charrnn.text.streams import Budget, Skipped, SourceFile, open_members
from charrnn.text.vocabulary import code_points

_EMPTY_LINES = re.compile(r"\n{2,}")
_DELIMITERS = ",\t;|"
# Characters. An unclosed quote, or a file that is no table, would otherwise fill the memory.
LONGEST_ROW = 2**25
Offsets = npt.NDArray[np.int64]
_NONE: Offsets = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Block:
    """A piece of a text, of any length.

    ends: the offsets at which documents end, in characters, (D,), ascending, at most len(text).
    """

    text: str
    ends: Offsets


def read_documents(
    files: Sequence[SourceFile],
    config: CorpusConfig,
    *,
    budget: Budget | None = None,
    whole_corpus: bool = True,
    on_bytes: Callable[[int], None] = lambda _: None,
    notice: Notice = lambda _: None,
) -> Iterator[Block]:
    """Read the documents of several files, each followed by config.document_end.

    budget: counts the bytes after decompression; by default a new one.
    whole_corpus: whether these are all files of the corpus. If not, an error suggests no remedy,
    because it could be wrong for the other files.
    on_bytes: called with the number of bytes read from disk.
    notice: called with each message for the user.
    Raises CorpusError if a file cannot be read or decoded, or if the text is larger than
    config.max_corpus_bytes.
    """
    budget, skipped = budget or Budget(config.max_corpus_bytes), Skipped()
    rows = _Rows(config, skipped)
    for file in files:
        for name, stream in open_members(
            file, config, spend=budget.spend, on_bytes=on_bytes, skipped=skipped
        ):
            text = decode(stream, name, config, notice=notice)
            if config.lines:
                blocks = _lines(transform(text, config, name))
            elif config.paragraphs:
                blocks = _paragraphs(transform(text, config, name), name)
            elif config.column is not None or config.field is not None:
                blocks = rows.blocks(text, name)
            else:
                blocks = _whole(transform(text, config, name), config.document_end)
            try:
                yield from blocks
            except UndecodableError as error:
                if whole_corpus and len(files) == 1 and name == file.name:
                    raise
                raise UndecodableError(
                    f"{error} if the other files need that too; otherwise fix this one"
                ) from error
    for message in (*skipped.notices(), *rows.notices()):
        notice(message)


def line_ends(text: str) -> Offsets:
    """Return the offsets just after the line ends of a text."""
    return np.flatnonzero(code_points(text) == ord("\n")) + 1


def _whole(blocks: Iterable[str], end: str) -> Iterator[Block]:
    empty = True
    for text in blocks:
        empty = False
        yield Block(text, _NONE)
    if not empty:
        yield Block(end, np.array([len(end)]))


def _lines(blocks: Iterable[str]) -> Iterator[Block]:
    at_start = True
    for block in blocks:
        text = _EMPTY_LINES.sub("\n", block)
        if at_start:
            text = text.removeprefix("\n")
        if text:
            at_start = text.endswith("\n")
            yield Block(text, line_ends(text))
    if not at_start:
        yield Block("\n", np.array([1]))


def _paragraphs(blocks: Iterable[str], name: str) -> Iterator[Block]:
    for text in separated_paragraphs(blocks, name):
        feeds = line_ends(text)
        yield Block(text, feeds[1:][np.diff(feeds) == 1])


class _Rows:
    """Reads documents from the rows of CSV, TSV and JSON Lines files, and counts oddities."""

    def __init__(self, config: CorpusConfig, skipped: Skipped) -> None:
        self.config = config
        self.skipped = skipped
        self.documents = self.ambiguous = 0

    def blocks(self, text: Iterable[str], name: str) -> Iterator[Block]:
        """Read the rows of one file."""
        end = self.config.document_end
        documents: list[str] = []
        size = 0
        for place, row in self._rows(text, name):
            document = transformed(row or "", self.config, place)
            if not document:
                self.skipped.add("row without text", place)
                continue
            _check_surrogates(document, place)
            self.documents += 1
            self.ambiguous += end in document
            documents.append(document + end)
            size += len(documents[-1])
            if size > BLOCK_BYTES:
                yield _joined(documents)
                documents, size = [], 0
        yield _joined(documents)

    def notices(self) -> list[str]:
        """Report how many documents contain the text that ends a document."""
        if not self.ambiguous:
            return []
        return [
            f"{self.ambiguous:,} of {self.documents:,} rows contain {self.config.document_end!r}, "
            r"where sampling stops; to sample whole rows, pass `separator='\n===\n'`"
        ]

    def _rows(self, text: Iterable[str], name: str) -> Iterator[tuple[str, str | None]]:
        lines = _split_lines(text if self.config.keep_newlines else with_line_feeds(text), name)
        if self.config.column is not None:
            return _csv_rows(lines, self.config.column, name)
        assert self.config.field is not None
        return _json_rows(lines, self.config.field, name)


def _joined(documents: list[str]) -> Block:
    ends = np.cumsum([len(document) for document in documents], dtype=np.int64)
    return Block("".join(documents), ends)


def _split_lines(blocks: Iterable[str], name: str) -> Iterator[str]:
    """Yield the lines of a text, each with the line feed that ends it.

    Raises CorpusError for one that is longer than LONGEST_ROW.
    """
    rest: list[str] = []
    number = 1
    for text in blocks:
        first, *others = text.split("\n")
        rest.append(first)
        for part in others:
            yield "".join(rest) + "\n"
            rest = [part]
        number += len(others)
        if sum(map(len, rest)) > LONGEST_ROW:
            raise CorpusError(
                f"{name}, line {number:,}: longer than {LONGEST_ROW:,} characters; is this a file "
                "of rows?"
            )
    if last := "".join(rest):
        yield last


def _csv_rows(lines: Iterator[str], column: str, name: str) -> Iterator[tuple[str, str | None]]:
    csv.field_size_limit(LONGEST_ROW)
    first = next(lines, "")
    place = f"{name}, line 1"
    size = 0

    def lines_of_rows() -> Iterator[str]:
        nonlocal size
        for line in itertools.chain([first], lines):
            size += len(line)
            if size > LONGEST_ROW:
                raise csv.Error(f"longer than {LONGEST_ROW:,} characters")
            yield line

    try:
        delimiter = max(
            _DELIMITERS, key=lambda mark: (column in _cells(first, mark), first.count(mark))
        )
        reader = csv.reader(lines_of_rows(), delimiter=delimiter, strict=True)
        header = next(reader, [])
        if column not in header:
            raise CorpusError(
                f"{name}: no column is called {column!r}; the columns in its first line are: "
                f"{', '.join(map(repr, header))[:200]}"
            )
        index = header.index(column)
        place = f"{name}, line {reader.line_num + 1:,}"
        for row in reader:
            size = 0
            if row:
                yield place, row[index] if index < len(row) else None
            place = f"{name}, line {reader.line_num + 1:,}"
    except csv.Error as error:
        raise CorpusError(
            f"{place}: the row that begins here is not valid CSV ({error}); look for a quote that "
            "is not closed or not doubled"
        ) from error


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _json_rows(lines: Iterator[str], key: str, name: str) -> Iterator[tuple[str, str | None]]:
    found = False
    for number, line in enumerate(lines, 1):
        place = f"{name}, line {number:,}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise CorpusError(
                f"{place}: not a complete JSON object ({error.msg.lower()}); `field` reads one "
                "object per line, and `column` reads CSV"
            ) from error
        except (ValueError, RecursionError) as error:
            raise CorpusError(
                f"{place}: contains a number that is too long, or is nested too deeply"
            ) from error
        if not isinstance(row, dict):
            raise CorpusError(f"{place}: not a JSON object; each line must be one")
        if not found and key not in row:
            raise CorpusError(
                f"{place}: no field is called {key!r}; the fields are: "
                f"{', '.join(map(repr, row))[:200]}"
            )
        found = True
        value = row.get(key)
        if value is not None and not isinstance(value, str):
            raise CorpusError(f"{place}: field {key!r} is not a string")
        yield place, value


def _check_surrogates(text: str, place: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(surrogate_message(place, error)) from error


def surrogate_message(place: str, error: UnicodeEncodeError) -> str:
    """Return the error message for half of a surrogate pair, which is not a character."""
    code = ord(error.object[error.start])
    return (
        f"{place}: contains U+{code:04X}, half of a surrogate pair, which is not a character; fix "
        "the program that wrote it"
    )
