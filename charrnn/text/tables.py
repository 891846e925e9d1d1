"""Tell whether a text is a table or JSON Lines, from its beginning."""

import csv
import itertools
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

FEWEST_ROWS = 20
_MOST_ROWS = 200
_DELIMITERS = "\t,;"

Kind = Literal["csv", "jsonl"]


@dataclass(frozen=True)
class Table:
    """What the rows of a text are. longest: the name of the column, or field, with most text."""

    kind: Kind
    longest: str


def table_of(beginning: str) -> Table | None:
    """Return what the rows of a text are, or None if it has none that are all alike."""
    lines = beginning.split("\n")[:-1]  # the last one may be cut
    if len(lines) < FEWEST_ROWS:
        return None
    return _json_lines(lines[:_MOST_ROWS]) or _csv(lines)


def _json_lines(lines: list[str]) -> Table | None:
    if not all(line.startswith("{") for line in lines):
        return None
    try:
        rows = [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        return None
    fields = set.intersection(*(set(row) for row in rows))
    texts = {key: [row[key] for row in rows] for key in rows[0] if key in fields}
    return _longest("jsonl", texts)


def _csv(lines: list[str]) -> Table | None:
    for delimiter in _DELIMITERS:
        if delimiter not in lines[0]:
            continue
        reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True)
        rows: list[list[str]] = []
        with suppress(csv.Error):  # a row that is cut, or no table at all
            rows += itertools.islice(reader, _MOST_ROWS)
        header, *others = rows or [[]]
        named = all(name == name.strip() != "" and not _is_number(name) for name in header)
        alike = all(len(row) == len(header) for row in others)
        if named and alike and len(others) >= FEWEST_ROWS and len(set(header)) == len(header) > 1:
            return _longest("csv", dict(zip(header, zip(*others, strict=True), strict=True)))
    return None


def _longest(
    kind: Literal["csv", "jsonl"], columns: Mapping[str, Iterable[object]]
) -> Table | None:
    """Return the table, unless no column has text that is no number."""
    sizes = {}
    for name, values in columns.items():
        cells = list(values)
        if all(isinstance(cell, str) for cell in cells):
            sizes[name] = sum(len(str(cell)) for cell in cells if not _is_number(str(cell)))
    longest = max(sizes, key=lambda name: sizes[name], default=None)
    return Table(kind, longest) if longest is not None and sizes[longest] else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
