"""Small files that would take gigabytes or minutes: each ends with an error of one line."""

import gzip
import io
import lzma
import random
import struct
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from charrnn.errors import CorpusError
from charrnn.text import corpus, decoding, unpacking, xz
from charrnn.text.config import CorpusConfig
from charrnn.text.decoding import transformed
from charrnn.text.sources import Found
from charrnn.text.streams import matches
from tests.text.damaging import damaged, packed_texts
from tests.text.reading import find, text_of

SMALL = b"The quick brown fox.\n" * 50


@contextmanager
def bounded(megabytes: int, seconds: float) -> Iterator[None]:
    """Fail if the block takes more memory (as far as Python knows) or processor time."""
    tracemalloc.start()
    began = time.process_time()
    try:
        yield
        assert time.process_time() - began < seconds
        assert tracemalloc.get_traced_memory()[1] < megabytes * 2**20
    finally:
        tracemalloc.stop()


def test_a_long_name_in_a_packed_tar_is_not_unpacked(tmp_path: Path) -> None:
    """2 MB for a name of 2 GiB, which once took 4.2 GB."""
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 2**31
    path = tmp_path / "t.tar.gz"
    path.write_bytes(gzip.compress(name.tobuf(tarfile.GNU_FORMAT) + bytes(2**24)))
    with (
        bounded(megabytes=16, seconds=5),
        pytest.raises(CorpusError, match=r"damaged or truncated \(a header has 2,147,483,648 b"),
    ):
        text_of(find(path, folder=tmp_path))


# Zip archives


def packed_member(data: bytes, method: int, name: bytes = b"a.txt") -> tuple[bytes, bytes]:
    """Return the member, and what the list of an archive says of it but for where it is."""
    shared = struct.pack(
        "<5H3I2H", 20, 0, method, 0, 33, zlib.crc32(data), len(data), len(data), len(name), 0
    )
    return b"PK\3\4" + shared + name + data, b"PK\1\2" + struct.pack("<H", 20) + shared


def listed(entry: bytes, start: int, name: bytes = b"a.txt") -> bytes:
    return entry + struct.pack("<3H2I", 0, 0, 0, 0, start) + name


def archive(members: bytes, entries: list[bytes]) -> bytes:
    listing = b"".join(entries)
    count = min(len(entries), 0xFFFF)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(listing), len(members), 0)
    return members + listing + end


def test_an_archive_made_here_is_sound(tmp_path: Path) -> None:
    """So that the next ones are refused for what they are."""
    member, entry = packed_member(SMALL, 0)
    (tmp_path / "t.zip").write_bytes(archive(member, [listed(entry, 0)]))
    assert text_of(find(tmp_path / "t.zip", folder=tmp_path)) == SMALL.decode()


@pytest.mark.parametrize("shift", [0, 1])
def test_members_of_a_zip_that_overlap_are_refused(tmp_path: Path, shift: int) -> None:
    """112 kB that unpacked to 20 GB, since each member was listed a thousand times."""
    member, entry = packed_member(SMALL, 0)
    step = shift * (len(SMALL) - 1)  # the data of each reach into the next
    entries = [listed(entry, step * i) for i in range(1000)]
    path = tmp_path / "t.zip"
    path.write_bytes(archive((member[:step] * 1000)[: 999 * step] + member, entries))
    with (
        bounded(megabytes=16, seconds=5),
        pytest.raises(CorpusError, match=r"t\.zip: damaged or truncated \(its members overlap\)"),
    ):
        text_of(find(path, folder=tmp_path))


def test_a_zip_with_too_many_members_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "MAX_ZIP_LIST", 50_000)
    member, entry = packed_member(b"", 0)
    path = tmp_path / "t.zip"
    for count, is_refused in ((900, False), (1000, True)):
        entries = [listed(entry, len(member) * i) for i in range(count)]
        path.write_bytes(archive(member * count, entries))
        if is_refused:
            with pytest.raises(CorpusError, match=r"its list of members has 51,000 bytes"):
                text_of(find(path, folder=tmp_path))
        else:
            assert text_of(find(path, folder=tmp_path)) == ""


def test_names_that_no_system_has_are_skipped(tmp_path: Path) -> None:
    """Each part of a name takes memory and time."""
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/" * 30_000 + "b.txt", SMALL)
        file.writestr("a.txt", "ay\n")
    notices: list[str] = []
    with bounded(megabytes=16, seconds=5):
        assert text_of(find(path, folder=tmp_path, glob="*.txt"), notices) == "ay\n"
    assert notices[0].startswith("skipped 1 (name too long): ")
    assert len(notices[0]) < 5000


# Dictionaries


def xz_with_dictionary(code: int) -> bytes:
    """Return an xz file that asks for a dictionary of (2 or 3) * 2 ** (code // 2 + 11) bytes."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**16}]
    data = bytearray(lzma.compress(SMALL, check=lzma.CHECK_NONE, filters=filters))
    size = 4 * (data[12] + 1)
    assert data[14:16] == b"\x21\1"
    data[16] = code
    data[8 + size : 12 + size] = struct.pack("<I", zlib.crc32(data[12 : 8 + size]))
    return bytes(data)


@pytest.mark.parametrize(("code", "fits"), [(32, True), (33, False), (40, False)])
def test_a_dictionary_of_gigabytes_is_refused(tmp_path: Path, code: int, fits: bool) -> None:
    """244 kB with a dictionary of 1.5 GiB took 1.5 GB."""
    path = tmp_path / "t.txt.xz"
    path.write_bytes(xz_with_dictionary(code))
    if fits:
        assert text_of(find(path, folder=tmp_path)) == SMALL.decode()
        return
    with pytest.raises(CorpusError, match=r"t\.txt\.xz: needs more than 256 MiB of memory"):
        text_of(find(path, folder=tmp_path))


@pytest.mark.parametrize(("size", "fits"), [(2**28, True), (2**28 + 1, False)])
def test_dictionaries_in_a_zip_are_bounded_too(tmp_path: Path, size: int, fits: bool) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("a.txt", SMALL)
    data = bytearray(path.read_bytes())
    at = 30 + len("a.txt") + 5
    data[at : at + 4] = struct.pack("<I", size)
    path.write_bytes(data)
    if fits:
        assert text_of(find(path, folder=tmp_path)) == SMALL.decode()
        return
    with pytest.raises(CorpusError, match=r"t\.zip/a\.txt: needs more than 256 MiB of memory"):
        text_of(find(path, folder=tmp_path))


@pytest.mark.parametrize("after", [b"", bytes(8), bytes(2**21), b"garbage", bytes(4) + b"garbage"])
def test_xz_files_of_several_streams_are_read_whole(after: bytes) -> None:
    """Python's LZMAFile takes the NUL bytes that may be between them for the end."""
    data = lzma.compress(SMALL) + bytes(4) + lzma.compress(b"more") + lzma.compress(b"")
    raw: Any = io.BufferedReader(io.BytesIO(data + after))
    assert io.BufferedReader(xz.XzFile(raw, "t"), 7).read() == SMALL + b"more"
    cut: Any = io.BufferedReader(io.BytesIO(data[:-40]))
    with pytest.raises(EOFError, match="unexpected end"):
        xz.XzFile(cut, "t").readall()


# Rows


@pytest.mark.parametrize(
    ("name", "text", "settings", "message"),
    [
        ("t.csv", "text,b\n" + "," * 2000, {"column": "text"}, "line 2: longer than 1,000 ch"),
        ("t.csv", "," * 2000, {"column": "text"}, "line 1: longer than 1,000 characters"),
        ("t.csv", 'text,b\na,b\n"\n' + "x\n" * 1000, {"column": "text"},
         r"line 3: the row that begins here is not valid CSV \(longer than 1,000 characters\)"),
        ("t.csv", "text,b\na,b\n" + '"\nx",' * 300, {"column": "text"},
         r"line 3: the row that begins here is not valid CSV \(longer than 1,000 characters\)"),
        ("t.jsonl", '{"text": "a"}\n{"text": "' + "x" * 2000, {"field": "text"}, "line 2: longer"),
        ("t.jsonl", "[" * 2000, {"field": "text"}, "line 1: longer than 1,000 characters"),
    ],
)  # fmt: skip
def test_a_row_is_not_longer_than_its_bound(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    text: str,
    settings: dict[str, Any],
    message: str,
) -> None:
    """Once, a file without a line feed filled the memory."""
    monkeypatch.setattr(corpus, "LONGEST_ROW", 1000)
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(CorpusError, match=message):
        text_of(find(path, folder=tmp_path, **settings), **settings)


def test_rows_up_to_the_bound_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "LONGEST_ROW", 1000)
    path = tmp_path / "t.csv"
    line, lines = "x" * 990, "y\n" * 490
    path.write_text("text,b\n" + f"{line},b\n" * 20 + f'"{lines}",b\n' * 3)
    found = text_of(find(path, folder=tmp_path, column="text"), column="text")
    assert found == f"{line}\n" * 20 + f"{lines}\n" * 3


# Normalization


@pytest.mark.parametrize("text", ["а", "אָ", "\N{GREEK CAPITAL LETTER SIGMA}."])
def test_letters_without_a_space_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(decoding, "_LONGEST_UNCUT", 2**21)
    path = tmp_path / "t.txt"
    path.write_text(text * 3 * 2**20, encoding="utf-8")
    message = r"t\.txt: more than 2,097,152 letters without a space cannot be normalized; "
    with pytest.raises(CorpusError, match=message):
        text_of(find(path, folder=tmp_path), lowercase=True)


def test_combining_marks_in_a_row_are_bounded() -> None:
    """Python sorts them in quadratic time, and cannot be interrupted meanwhile."""
    config = CorpusConfig(normalize="nfc")
    most = "a" + "\u0301\u0316" * 500
    assert len(transformed(most * 3, config)) == 3 * (len(most) - 1)
    message = "the text: more than 1,000 combining marks in a row cannot be normalized; set"
    for text in ("a" + "\u0301\u0316" * 200_000, most + "\u0301", "\u0301" * 1001):
        with bounded(megabytes=64, seconds=5), pytest.raises(CorpusError, match=message):
            transformed(text, config)
    assert transformed(most * 3 + "\u0301" * 9, CorpusConfig(lowercase=True)) == (
        most * 3 + "\u0301" * 9
    )


# Patterns


@pytest.mark.parametrize(
    ("path", "glob"),
    [
        ("a/" * 60 + "x", "b/" + "**/a/" * 40 + "x"),
        ("a/" * 2000 + "b", "**/a/" * 50 + "c/b"),
        ("a" * 255, "*a" * 100 + "b"),
        ("a" * 255, "[!b]*" * 50 + "b"),
    ],
)
def test_a_pattern_is_compared_in_a_moment(path: str, glob: str) -> None:
    """However many ways there are in which it might match."""
    assert len(glob) <= 256
    with bounded(megabytes=16, seconds=2):
        assert not matches(path, glob)


# Damage


def test_damaged_archives_are_read_or_refused(tmp_path: Path) -> None:
    """A traceback, such as for the version of a zip, is not among the answers."""
    rng = random.Random(0)
    packed = packed_texts()
    refused = 0
    for name, data in packed.items():
        assert text_of(find_bytes(tmp_path / name, data))
    for _ in range(30):
        for name, data in packed.items():
            with suppress(CorpusError):
                refused += 1
                text_of(find_bytes(tmp_path / name, damaged(data, rng)))
                refused -= 1
    assert refused > 300


def find_bytes(path: Path, data: bytes) -> Found:
    path.write_bytes(data)
    return find(path, folder=path.parent)
