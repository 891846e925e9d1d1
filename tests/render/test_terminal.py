"""No text steers a terminal, as it is shown or in JSON, and ordinary text stays readable."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.render.terminal import harmless, json_text

# Unicode's classes of characters that begin or end a change of direction.
DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
MARKS = "\u061c\u200e\u200f"
ORDINARY = ["山中手記", "👩‍👩‍👧", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "می‌خواهم", "שלום", "naïve — “quoted”", "क्‍ष", "re\u00adview"]


def steers(character: str) -> bool:
    return (
        unicodedata.category(character) in ("Cc", "Zl", "Zp")
        or unicodedata.bidirectional(character) in DIRECTIONS
    )


@given(st.text())
def test_json_is_the_text_without_what_steers(text: str) -> None:
    shown = json_text({text: [text]})
    assert json.loads(shown) == {text: [text]}
    assert not any(steers(character) or character in MARKS for character in shown[:-1])


def test_each_character_that_steers_is_escaped_and_replaced() -> None:
    for code in range(0x11000):
        if not 0xD800 <= code < 0xE000 and steers(character := chr(code)):
            assert json_text(character)[:-1].isprintable()
            assert harmless(character).isprintable() or character in "\n\t"
    assert json_text("a\u202eb") == '"a\\u202eb"\n'


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert json_text(text) == f'"{text}"\n'
    assert harmless(text) == text


@given(st.text())
def test_what_is_shown_has_as_many_characters(text: str) -> None:
    """So that each can have the colour of its surprise."""
    assert len(harmless(text)) == len(text)
