"""Tables and JSON Lines, recognized by their beginning."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.text.tables import Table, table_of
from tests.conftest import TEXT

LINES = TEXT.splitlines()


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_the_column_with_most_text_is_named(mark: str) -> None:
    """Whether quoted or not, and if the beginning ends within a row."""
    rows = [f'{i}{mark}"a{mark} ""b""\nc, {line}"{mark}x' for i, line in enumerate(LINES)]
    text = "\n".join([mark.join(("id", "the text", "label")), *rows, ""])
    assert table_of(text) == table_of(text[:-30]) == Table("csv", "the text")


def test_the_field_with_most_text_is_named() -> None:
    rows = [{"id": i, "text": line, "tags": ["a long tag"] * 9} for i, line in enumerate(LINES)]
    text = "\n".join(map(json.dumps, rows))
    assert table_of(text) == table_of(text[:-30]) == Table("jsonl", "text")


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "one, two\n" * 9,  # too few rows
        "1,2\n" * 99,  # no names
        "x,y\n" + "1,2.5\n" * 99,  # no text
        "a,b\n" + "c,d\n" * 50 + "e\n" * 50,  # rows of several lengths
        "name, first\n" + "Doe, Jane\n" * 99,  # a list of names
        "a,a\n" + "b,c\n" * 99,
        '{"a": 1}\n' * 99,
        '{"a": "x"}\n{"b": "y"}\n' * 99,
        "{\n" * 99,
        '{"a": ' + "[" * 99_999 + "\n" + "{}\n" * 99,
        '"\n' * 99,
        "",
    ],
)
def test_what_is_no_table_of_texts_is_none(text: str) -> None:
    assert table_of(text) is None


@given(st.text(st.sampled_from('{}[]":,;\t\n ab1\0'), max_size=200))
def test_any_beginning_can_be_looked_at(text: str) -> None:
    table_of("\n".join([text] * 30))
