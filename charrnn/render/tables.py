"""Tables and lists of facts, drawn with rich."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from charrnn.render.terminal import harmless

_UNFOLDED = 100_000  # columns of a pipe, which folds nothing
_SHORTEST_NAME = 8  # columns that the first column of a table keeps


class Output(Console):
    """A console that raises BrokenPipeError; rich's own ends the program with code 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError

    def print_whole(self, table: Table) -> None:
        """Print a table: folded to the width of a terminal, or else with each row on one line."""
        if self.is_terminal:
            self.print(table)
            return
        self.width = _UNFOLDED
        with self.capture() as captured:
            self.print(table)
        lines = captured.get().splitlines()
        self.file.write("".join(f"{line.rstrip()}\n" for line in lines))


def standard_output() -> Output:
    """Return a console that writes to stdout."""
    return Output(file=sys.stdout, highlight=False)


def standard_error() -> Output:
    """Return a console that writes to stderr and leaves long lines as they are."""
    return Output(stderr=True, highlight=False, soft_wrap=True)


def print_facts(facts: Mapping[str, str], output: Output | None = None) -> None:
    """Write one name and value per line, by default to stdout."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, Text(harmless(value)))
    (output or standard_output()).print_whole(table)


def print_unbroken(facts: Mapping[str, str], output: Output, longest: int = 0) -> None:
    """Write facts that hold commands, which nobody could copy if they were folded.

    longest: the least width of the column of names.
    """
    width = max(longest, *map(len, facts)) + 2
    for name, value in facts.items():
        output.print(Text.assemble((name.ljust(width), "bold"), harmless(value)))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()
) -> None:
    """Write a table of texts to stdout, folding cells that are too long for the terminal.

    right: the columns that hold numbers.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    _add_rows(table, rows)
    standard_output().print_whole(table)


def print_rows(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()
) -> None:
    """Write a table of figures to stdout, folding no figure however narrow the terminal is.

    If it does not fit, headings take two lines; then the columns move together and the names in
    the first are folded; at last each row becomes a list of facts.
    """
    output = standard_output()
    if not output.is_terminal:
        print_table(columns, rows, right)
        return
    for heads, gap, folded in (
        (list(columns), 2, False),
        (list(map(_on_two_lines, columns)), 2, False),
        (list(map(_on_two_lines, columns)), 1, True),
    ):
        names, *figures = _widths(heads, rows)
        least = min(names, _SHORTEST_NAME) if folded else names
        if least + sum(figures) + gap * len(figures) <= output.width:
            table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
            for number, (column, head) in enumerate(zip(columns, heads, strict=True)):
                justify: Any = "right" if column in right else "left"
                table.add_column(head, justify=justify, no_wrap=number > 0, overflow="fold")
            _add_rows(table, rows)
            output.print(table)
            return
    for number, row in enumerate(rows):
        if number:
            output.print()
        print_facts(dict(zip(columns, row, strict=True)), output)


def _add_rows(table: Table, rows: Iterable[Sequence[str]]) -> None:
    for row in rows:
        table.add_row(*(Text(harmless(cell)) for cell in row))


def _widths(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [
        max(map(cell_len, (*head.split("\n"), *cells)))
        for head, *cells in zip(heads, *rows, strict=True)
    ]


def _on_two_lines(heading: str) -> str:
    """Break a heading at the space that makes the longer of its two lines shortest."""
    spaces = [at for at, character in enumerate(heading) if character == " "]
    if not spaces:
        return heading
    at = min(spaces, key=lambda at: max(at, len(heading) - at - 1))
    return f"{heading[:at]}\n{heading[at + 1 :]}"
