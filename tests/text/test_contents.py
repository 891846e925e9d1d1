"""The content of a file, which must not change between hashing and encoding."""

import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import CorpusError
from charrnn.text import contents
from charrnn.text.contents import CheckedFile, content_of

BLOCK = 8


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "BLOCK_BYTES", BLOCK)


class Trickle(io.RawIOBase):
    """A file that returns three bytes at a time, as an unbuffered one may."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data, self.position = data, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        assert whence == 0
        self.position = offset
        return offset

    def read(self, size: int = -1) -> bytes:
        piece = self.data[self.position : self.position + min(size, 3)]
        self.position += len(piece)
        return piece


@given(
    data=st.binary(max_size=40),
    reads=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=8),
)
def test_an_unchanged_file_reads_as_it_is(data: bytes, reads: list[tuple[int, int]]) -> None:
    """In any order, as an archive is read."""
    counted: list[int] = []
    whole = hashlib.sha256()
    content = content_of(Trickle(data), counted.append, whole)
    assert (content.length, sum(counted)) == (len(data), len(data))
    assert whole.digest() == hashlib.sha256(data).digest()
    file = io.BufferedReader(CheckedFile(Trickle(data), "t", content), 5)
    assert file.read() == data
    for start, size in reads:
        assert file.seek(start) == start
        assert file.read(size) == data[start : start + size]
    assert file.seek(-len(data), 2) == 0
    assert file.read(3) == data[:3]
    assert file.seek(2, 1) == len(data[:3]) + 2


@given(data=st.binary(min_size=1, max_size=40), other=st.binary(max_size=40), at=st.integers(0, 39))
def test_no_other_byte_than_what_was_hashed_is_read(data: bytes, other: bytes, at: int) -> None:
    content = content_of(io.BytesIO(data), lambda _: None)
    changed = data[:at] + other + data[at:]
    file = CheckedFile(io.BytesIO(changed), "t.txt", content)
    if changed[: len(data)] == data:  # it has only grown
        assert io.BufferedReader(file).read() == data
        return
    with pytest.raises(CorpusError, match=r"^t\.txt: changed while it was being read; try again"):
        io.BufferedReader(file).read()


@given(one=st.binary(max_size=40), two=st.binary(max_size=40))
def test_contents_differ_if_and_only_if_the_bytes_do(one: bytes, two: bytes) -> None:
    digests = [content_of(io.BytesIO(data), lambda _: None).digest for data in (one, two)]
    assert (digests[0] == digests[1]) == (one == two)


def test_a_file_cut_short_is_a_change(tmp_path: Path) -> None:
    content = content_of(io.BytesIO(b"x" * 20), lambda _: None)
    for length in (0, 7, 8, 19):
        file = CheckedFile(io.BytesIO(b"x" * length), "t.txt", content)
        with pytest.raises(CorpusError, match="changed while it was being read"):
            io.BufferedReader(file).read()
