"""Tar archives, read in little memory."""

import io
import tarfile
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.text import tar
from charrnn.text.tar import DamagedTarError, tar_files

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
KINDS = [
    tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE,
    tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE,
]  # fmt: skip
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=90)


def header(kind: bytes, size: int, name: str = "a.txt") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


def member(data: bytes, kind: bytes = tarfile.REGTYPE, name: str = "a.txt") -> bytes:
    return header(kind, len(data), name) + data.ljust(len(data) + -len(data) % 512, b"\0")


END = bytes(1024)
A_TEXT = member(b"ay\n") + END


def read(data: bytes, skipped: list[tuple[str, str]] | None = None) -> list[tuple[str, bytes]]:
    note = (skipped if skipped is not None else []).append
    files = tar_files(io.BytesIO(data), lambda *reason: note(reason))
    return [(name, content.read()) for name, content in files]


class Endless:
    """A stream of pieces that never fit into memory together."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces, self.rest = iter(pieces), b""

    def read(self, size: int, /) -> bytes:
        while len(self.rest) < size and (piece := next(self.pieces, b"")):
            self.rest += piece
        found, self.rest = self.rest[:size], self.rest[size:]
        return found


@given(
    members=st.lists(
        st.tuples(NAMES, st.sampled_from(KINDS), st.binary(max_size=1500), st.integers(0, 8))
    ),
    kind=st.sampled_from(FORMATS),
    partly=st.integers(0, 2000),
)
def test_files_are_those_that_tarfile_finds(
    members: list[tuple[str, bytes, bytes, int]], kind: int, partly: int
) -> None:
    """Of every kind and format, with names that need another header, read as far as wanted."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=kind) as archive:
        for name, of, data, depth in members:
            path = "/".join([name] * (depth + 1))
            if kind == tarfile.USTAR_FORMAT:
                path = path.encode()[:90].decode(errors="ignore").rstrip("/")
            info = tarfile.TarInfo(path)
            info.type = of
            if of in (tarfile.LNKTYPE, tarfile.SYMTYPE) and kind != tarfile.USTAR_FORMAT:
                info.linkname = path * 3
            info.size = len(data) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(data))
    with tarfile.open(fileobj=io.BytesIO(packed.getvalue())) as archive:
        expected: list[tuple[str, bytes]] = [
            (info.name, archive.extractfile(info).read())  # type: ignore[union-attr]
            for info in archive
            if info.isreg()
        ]
    assert read(packed.getvalue()) == expected
    files = tar_files(io.BytesIO(packed.getvalue()), lambda *_: None)
    assert [(name, file.read(partly)) for name, file in files] == [
        (name, data[:partly]) for name, data in expected
    ]


def test_the_ustar_prefix_is_part_of_the_name() -> None:
    name = "folder/" * 20 + "a.txt"
    info = tarfile.TarInfo(name)
    assert read(info.tobuf(tarfile.USTAR_FORMAT) + END) == [(name, b"")]


def test_large_sizes_are_stored_in_two_ways() -> None:
    size = 9 * 2**30
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        info = tarfile.TarInfo("a.txt")
        info.size = size
        data = info.tobuf(form)
        files = tar_files(io.BytesIO(data + b"ay\n"), lambda *_: None)
        name, content = next(files)
        assert name == "a.txt"
        assert content.read(3) == b"ay\n"
        with pytest.raises(DamagedTarError, match="unexpected end of data"):
            content.read(1)


def test_sparse_files_are_skipped() -> None:
    """Their maps, too: one in the format of GNU tar may have any number of blocks."""
    first = bytearray(header(tarfile.GNUTYPE_SPARSE, 600, "holes"))
    first[482] = 1
    first[148:156] = b" " * 8
    first[148:156] = b"%06o\0 " % sum(first)
    blocks = b"".join(bytes(504) + bytes([more]) + bytes(7) for more in (1, 1, 0))
    skipped: list[tuple[str, str]] = []
    assert read(bytes(first) + blocks + bytes(1024) + A_TEXT, skipped) == [("a.txt", b"ay\n")]
    record = b"24 GNU.sparse.name=long\n"
    pax = member(record, tarfile.XHDTYPE) + member(bytes(600), name="x")
    assert read(pax + A_TEXT, skipped) == [("a.txt", b"ay\n")]
    assert skipped == [("sparse file", "holes"), ("sparse file", "long")]


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, b"X"])
def test_a_header_of_gigabytes_is_refused(kind: bytes) -> None:
    """Once, 2 MB of them, packed, took 4 GB."""
    data = Endless([header(kind, 2**31), *[bytes(2**20)] * 100])
    tracemalloc.start()
    try:
        with pytest.raises(DamagedTarError, match="a header has 2,147,483,648 bytes"):
            list(tar_files(data, lambda *_: None))
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE, b"V", b"D"])
def test_what_is_not_a_file_is_passed_over_unread(kind: bytes) -> None:
    size = 2**26
    data = Endless([header(kind, size), *[bytes(2**20)] * (size // 2**20), A_TEXT])
    tracemalloc.start()
    try:
        assert [name for name, _ in tar_files(data, lambda *_: None)] == ["a.txt"]
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_any_chain_of_headers_is_followed() -> None:
    """tarfile follows it by recursion, which once ended in a traceback."""
    chain = member(b"old.txt\0", tarfile.GNUTYPE_LONGNAME) * 5000
    last = member(b"new.txt\0", tarfile.GNUTYPE_LONGNAME)
    assert read(chain + last + A_TEXT) == [("new.txt", b"ay\n")]
    chain = member(b"16 path=old.txt\n", tarfile.XHDTYPE) * 5000
    last = member(b"16 path=new.txt\n", tarfile.XHDTYPE)
    assert read(chain + last + A_TEXT) == [("new.txt", b"ay\n")]


def test_the_number_of_headers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar, "MAX_HEADERS", 1000)
    one = member(b"")
    assert len(read(one * 1000 + END)) == 1000
    with pytest.raises(DamagedTarError, match="more than 1,000 headers"):
        read(one * 1001 + END)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (A_TEXT[:100], "unexpected end of data"),
        (A_TEXT[:514], "unexpected end of data"),
        (A_TEXT[:600] + b"x" * 1024, "unexpected end|checksum|wrong number"),
        (b"b" + A_TEXT[1:], "the checksum of a header is wrong"),
        (member(b"ay\n") + b"x" * 512, "wrong number"),
        (member(b"5 path=a\n", tarfile.XHDTYPE) + A_TEXT, "wrong record"),
        (member(b"0 path=a\n", tarfile.XHDTYPE) + A_TEXT, "wrong record"),
        (member(b"99 path=a\n", tarfile.XHDTYPE) + A_TEXT, "wrong record"),
        (member(b"-9 path=a\n", tarfile.XHDTYPE) + A_TEXT, "wrong number"),
        (member(b"9" * 5000 + b" path=a\n", tarfile.XHDTYPE) + A_TEXT, "wrong record"),
        (member(b"11 size=1x\n", tarfile.XHDTYPE) + A_TEXT, "wrong number"),
        (member(b"8 pathx\n", tarfile.XHDTYPE) + A_TEXT, "wrong record"),
    ],
)
def test_damage_is_an_error(data: bytes, problem: str) -> None:
    with pytest.raises(DamagedTarError, match=problem):
        read(data)


def test_an_archive_may_end_without_an_end() -> None:
    assert read(b"") == []
    assert read(member(b"ay\n")) == [("a.txt", b"ay\n")]
    assert read(A_TEXT[: 512 + 3]) == [("a.txt", b"ay\n")], "nor its last block be full"
    assert read(A_TEXT + member(b"more")) == [("a.txt", b"ay\n")], "nothing follows the end"


@given(data=st.data())
def test_any_bytes_are_read_or_refused(data: Any) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=data.draw(st.sampled_from(FORMATS))) as file:
        for name in ("a.txt", "b/" * 60 + "c.txt"):
            info = tarfile.TarInfo(name)
            info.size = 20
            info.pax_headers = {"comment": "x"}
            file.addfile(info, io.BytesIO(b"y" * 20))
    mutable = bytearray(packed.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 5000))
        mutable[at : at + 1] = data.draw(st.binary(max_size=3))
    for size in (len(mutable), data.draw(st.integers(0, len(mutable)))):
        try:
            found = read(bytes(mutable[:size]))
        except DamagedTarError:
            continue
        assert sum(len(content) for _, content in found) <= size
