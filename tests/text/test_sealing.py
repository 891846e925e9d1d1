"""Sealed JSON."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.text.sealing import BrokenSealError, sealed, unsealed

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(content=st.dictionaries(st.text().filter(lambda key: key != "sha256"), values))
def test_what_is_sealed_is_read_again(content: dict[str, object]) -> None:
    assert unsealed(sealed(content)) == content


def test_every_flipped_bit_and_every_cut_is_found() -> None:
    data = sealed({"symbols": [101, 32], "name": "a\nb", "none": None})
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((ValueError, TypeError, KeyError)):
            unsealed(bytes(flipped))
    for length in range(len(data)):
        with pytest.raises((ValueError, TypeError, KeyError)):
            unsealed(data[:length])
    for other in (data + b" ", data.replace(b"[\n", b"[ "), b"null", b"[]", b'{"sha256": 1}'):
        with pytest.raises((ValueError, TypeError, KeyError)):
            unsealed(other)


def test_a_broken_seal_is_told_from_what_has_none() -> None:
    with pytest.raises(BrokenSealError, match="its hash is wrong"):
        unsealed(sealed({"a": 1}).replace(b"1", b"2", 1))
    with pytest.raises(KeyError, match="sha256"):
        unsealed(b'{"a": 1}')
