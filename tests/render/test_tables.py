"""Tables that adapt to the width of the terminal."""

import io
import re
import sys

import pytest

from charrnn.render.tables import print_rows

COLUMNS = (
    "run", "model", "params", "chars", "time", "best step",
    "nats carried", "bits carried", "nats fresh 256", "bits fresh 256",
)  # fmt: skip
ROW = ("novel", "lstm 1x640", "1.85M", "8.13M", "3:52", "3,972", *["1.3961"] * 4)


class Terminal(io.StringIO):
    """A stdout that is a terminal."""

    def isatty(self) -> bool:
        return True


def printed(columns: int, patch: pytest.MonkeyPatch) -> list[str]:
    """The lines that a terminal of so many columns shows."""
    terminal = Terminal()
    patch.setattr(sys, "stdout", terminal)
    patch.setenv("COLUMNS", str(columns))
    patch.setenv("TERM", "xterm")
    patch.setenv("NO_COLOR", "1")
    print_rows(COLUMNS, [ROW, ROW], right=COLUMNS[2:])
    plain = re.sub(r"\x1b\[\d+m", "", terminal.getvalue())
    return [line.rstrip() for line in plain.splitlines()]


@pytest.mark.parametrize(("columns", "lines"), [(140, 1), (100, 2), (80, 2)])
def test_headings_take_at_most_two_lines(
    columns: int, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = printed(columns, monkeypatch)
    assert len(shown) == lines + 2
    assert shown[-1].startswith("novel")
    assert max(map(len, shown)) <= columns


def test_a_narrow_terminal_gets_a_list_of_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = printed(50, monkeypatch)
    assert shown[0] == "run             novel"
    assert shown[len(COLUMNS)] == ""
    assert len(shown) == 2 * len(COLUMNS) + 1


def test_a_pipe_gets_one_line_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(COLUMNS, [("x" * 300, *ROW[1:])], right=COLUMNS[2:])
    heads, row = capsys.readouterr().out.splitlines()
    assert heads.split()[0] == "run"
    assert row.startswith("x" * 300)
