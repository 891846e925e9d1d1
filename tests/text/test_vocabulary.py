"""Convert characters and bytes to ids and back."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import CheckpointError, UnknownCharacterError
from charrnn.text.vocabulary import (
    BYTES,
    Vocabulary,
    build_vocabulary,
    code_points,
    smallest_dtype,
)

any_text = st.text(st.characters(codec="utf-8"))  # all except surrogates


def vocabulary_of(text: str, min_count: int = 1) -> Vocabulary:
    return build_vocabulary(np.bincount(code_points(text), minlength=0x110000), min_count)


@given(any_text)
def test_any_text_survives_a_round_trip(text: str) -> None:
    for vocabulary in (vocabulary_of(text), BYTES):
        ids = vocabulary.encode(text)
        assert vocabulary.decode(ids.tolist()) == text
        assert vocabulary.count_characters(ids) == len(text)
        assert vocabulary.count_bytes(ids) == len(text.encode())


@given(st.text("aaabbcdé中"))
def test_frequent_characters_come_first(text: str) -> None:
    """Equally frequent ones are in the order of their code points."""
    expected = sorted(set(text), key=lambda c: (-text.count(c), c))
    assert vocabulary_of(text).symbols == tuple(expected)


@given(any_text)
def test_a_vocabulary_survives_json(text: str) -> None:
    vocabulary = vocabulary_of(text + "x")
    assert Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json()))) == vocabulary


@given(any_text)
def test_bytes_are_decoded_to_whole_characters(text: str) -> None:
    """An incomplete character is not returned before its last byte."""
    decode = BYTES.decoder()
    pieces = [decode(byte) for byte in text.encode()]
    assert "".join(pieces) == text
    assert "\N{REPLACEMENT CHARACTER}" in text or not any("\ufffd" in piece for piece in pieces)


@given(st.binary())
def test_any_bytes_can_be_decoded(data: bytes) -> None:
    decode = BYTES.decoder()
    streamed = "".join(decode(byte) for byte in data)
    assert data.decode(errors="replace").startswith(streamed)


def test_only_rare_characters_create_an_unknown_symbol() -> None:
    assert vocabulary_of("aabbc", min_count=2).symbols == ("", "a", "b")
    assert vocabulary_of("aabbc", min_count=2).unknown == 0
    assert vocabulary_of("aabb", min_count=2).unknown is None


def test_an_unknown_character_is_named_with_its_position() -> None:
    with pytest.raises(UnknownCharacterError, match=r"'é' \(U\+00E9\), character 3 of the text"):
        vocabulary_of("ab").encode("abéb")
    with pytest.raises(UnknownCharacterError, match=r"'\\x1b' \(U\+001B\)"):
        vocabulary_of("ab").encode("\x1b")
    with pytest.raises(UnknownCharacterError, match="U\\+DC80"):
        vocabulary_of("ab").encode("ab\udc80")
    with pytest.raises(UnknownCharacterError, match="U\\+DC80"):
        BYTES.encode("ab\udc80")


def test_unknown_characters_can_be_skipped_or_replaced() -> None:
    assert vocabulary_of("ab").encode("aéb", "skip").tolist() == [0, 1]
    assert vocabulary_of("aabbc", min_count=2).encode("aéb", "replace").tolist() == [1, 0, 2]
    assert vocabulary_of("?ab").encode("aéb", "replace").tolist() == [1, 0, 2]
    with pytest.raises(UnknownCharacterError, match=r"or pass `unknown=skip`$"):
        vocabulary_of("ab").encode("aéb", "replace")  # there is no replacement
    assert BYTES.encode("a\udc80b", "skip").tolist() == [97, 98]
    assert BYTES.encode("a\udc80b", "replace").tolist() == [97, 63, 98]


def test_added_symbols_follow_the_old_ones() -> None:
    extended = vocabulary_of("bd").extended(["a", "b", "c", ""])
    assert extended.symbols == ("b", "d", "a", "c", "")
    assert extended.unknown == 4
    assert extended.encode("abcd").tolist() == [2, 0, 3, 1]


def test_ids_have_the_smallest_type() -> None:
    assert [smallest_dtype(n) for n in (1, 256, 257, 65_536, 65_537)] == [
        np.uint8, np.uint8, np.uint16, np.uint16, np.uint32,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"unit": "word", "symbols": "a", "unknown": None},
        {"unit": "char", "symbols": "", "unknown": None},
        {"unit": "char", "symbols": "ab"},
        {"unit": "char", "symbols": ["a", "b"], "unknown": None},
        {"unit": "char", "symbols": "aa", "unknown": None},
        {"unit": "char", "symbols": "ab", "unknown": 3},
        {"unit": "char", "symbols": "ab", "unknown": -1},
        {"unit": "char", "symbols": "a\ud800", "unknown": None},
        {"unit": "char", "symbols": 1, "unknown": None},
        {"unit": "byte", "symbols": "ab", "unknown": None},
    ],
)
def test_invalid_vocabularies_are_refused(data: Any) -> None:
    with pytest.raises(CheckpointError):
        Vocabulary.from_json(data)
