"""Compressed files and archives, read as streams."""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from charrnn.errors import CorpusError
from charrnn.text import streams, unpacking
from tests.text.reading import find, text_of

SMALL = "The quick brown fox, 狐, лиса.\n" * 50


def packed(data: bytes, suffix: str) -> bytes:
    match suffix:
        case ".gz":
            return gzip.compress(data)
        case ".bz2":
            return bz2.compress(data)
        case ".xz":
            return lzma.compress(data)
        case ".zst":
            zstd: Any = unpacking.zstd  # type: ignore[attr-defined]
            checked = {zstd.CompressionParameter.checksum_flag: 1}  # as the zstd program does
            return zstd.compress(data, options=checked)  # type: ignore[no-any-return]
    raise AssertionError(suffix)


def archive(path: Path, members: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in members.items():
                file.writestr(name, data)
        return path
    mode: Any = "w:gz" if path.suffix == ".tgz" else "w"
    with tarfile.open(path, mode) as file:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("text", ["", SMALL])
def test_compressed_files_are_read_whatever_their_name(
    tmp_path: Path, suffix: str, text: str
) -> None:
    for name in (f"t.txt{suffix}", "t"):
        path = tmp_path / name
        path.write_bytes(packed(text.encode(), suffix))
        found = find(path, folder=tmp_path)
        assert (found.name, text_of(found)) == ("t", text)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_damaged_compressed_files_are_reported(tmp_path: Path, suffix: str) -> None:
    whole = packed(os.urandom(50_000).hex().encode(), suffix)
    path = tmp_path / f"t.txt{suffix}"
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for data in (whole[: len(whole) // 2], bytes(flipped)):
        path.write_bytes(data)
        with pytest.raises(CorpusError, match=rf"t\.txt\{suffix}: (damaged or|not UTF-8)"):
            text_of(find(path, folder=tmp_path))


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_decompression_bombs_are_stopped(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bomb{suffix}"
    path.write_bytes(packed(b"0" * 20_000_000, suffix))
    assert path.stat().st_size < 100_000
    with pytest.raises(CorpusError, match=r"larger than 1,000,000 bytes; .* `max_corpus_bytes`"):
        text_of(find(path, folder=tmp_path), max_corpus_bytes=1_000_000)


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tgz"])
def test_archives_are_streamed_and_never_extracted(tmp_path: Path, suffix: str) -> None:
    members = {
        "x/a.txt": b"ay\n", "x/.hidden": b"no", "../../evil.txt": b"evil\n", "/abs.txt": b"abs\n",
        "photo.png": b"\x89PNG\0", "b.md": b"bee\n",
    }  # fmt: skip
    path = archive(tmp_path / f"books{suffix}", members)
    notices: list[str] = []
    before = sorted(tmp_path.rglob("*"))
    found = find(path, folder=tmp_path)
    assert text_of(found, notices) == "ay\nevil\nabs\nbee\n"
    assert text_of(find(path, folder=tmp_path, glob="*.md")) == "bee\n"
    assert found.name == "books"
    assert sorted(notice.split(":")[0] for notice in notices) == [
        "skipped 1 (hidden)", "skipped 1 (not text)",
    ]  # fmt: skip
    assert set(tmp_path.rglob("*")) == {*before, tmp_path / "workspace"}, "nothing is extracted"


def test_damaged_and_textless_archives_are_reported(tmp_path: Path) -> None:
    path = archive(tmp_path / "b.zip", {"a.txt": SMALL.encode()})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CorpusError, match=r"b\.zip: damaged or truncated"):
        text_of(find(path, folder=tmp_path))
    tar = archive(tmp_path / "b.tar", {"a.txt": SMALL.encode() * 20})
    tar.write_bytes(tar.read_bytes()[:9_000])
    with pytest.raises(CorpusError, match=r"b\.tar.* damaged"):
        text_of(find(tar, folder=tmp_path))
    members = {"photo.png": b"\x89PNG\0", ".hidden": b"x"}
    for suffix in (".zip", ".tar"):
        path = archive(tmp_path / f"photos{suffix}", members)
        with pytest.raises(CorpusError, match=r"this archive contains no text .*\(hidden"):
            text_of(find(path, folder=tmp_path))
    with pytest.raises(CorpusError, match=r"this archive contains no text \(it is empty"):
        text_of(find(archive(tmp_path / "empty.zip", {}), folder=tmp_path))


def test_links_in_a_zip_are_ignored(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("secret.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(link, "/etc/passwd")
        file.writestr("a.txt", "ay\n")
    assert text_of(find(path, folder=tmp_path)) == "ay\n"


def test_sparse_files_in_an_archive_are_skipped(tmp_path: Path) -> None:
    holes = tarfile.TarInfo("holes.txt")
    holes.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    holes.pax_headers |= {"GNU.sparse.name": "holes.txt", "GNU.sparse.realsize": str(10**12)}
    data = b"1\n1000000000000\n0\n".ljust(512, b"\0")
    holes.size = len(data)
    with tarfile.open(tmp_path / "t.tar", "w", format=tarfile.PAX_FORMAT) as file:
        file.addfile(holes, io.BytesIO(data))
        text = tarfile.TarInfo("a.txt")
        text.size = 3
        file.addfile(text, io.BytesIO(b"ay\n"))
    notices: list[str] = []
    assert text_of(find(tmp_path / "t.tar", folder=tmp_path), notices) == "ay\n"
    assert notices == [f"skipped 1 (sparse file): {tmp_path / 't.tar'}/holes.txt"]


def test_decompression_bombs_in_archives_are_stopped(tmp_path: Path) -> None:
    for suffix in (".zip", ".tgz"):
        path = archive(tmp_path / f"bomb{suffix}", {"a.txt": b"0" * 20_000_000})
        with pytest.raises(CorpusError, match="`max_corpus_bytes`"):
            text_of(find(path, folder=tmp_path), max_corpus_bytes=1_000_000)


def test_common_files_that_are_not_text_are_identified(tmp_path: Path) -> None:
    twice = gzip.compress(gzip.compress(b"a text"))
    office = archive(tmp_path / "office.zip", {"[Content_Types].xml": b"<x/>", "d.xml": b"<y/>"})
    for name, data, message in [
        ("twice.gz", twice, "compressed twice; unpack it once"),
        ("zip.gz", gzip.compress(office.read_bytes()), "a zip archive inside a compressed file"),
        ("old.Z", b"\x1f\x9d\x90abc", "compressed in a format that charrnn cannot read"),
        ("book.pdf", b"%PDF-1.7\n%\xe2\xe3", "a PDF; save it as plain text"),
        ("letter.docx", office.read_bytes(), "an office document; save it as plain text"),
        ("empty.tar", bytes(10_240), r"this archive contains no text \(it is empty"),
    ]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CorpusError, match=message):
            text_of(find(tmp_path / name, folder=tmp_path))
    (tmp_path / "in").mkdir()
    office.rename(tmp_path / "in" / "letter.docx")
    (tmp_path / "in" / "a.txt").write_text("ay\n")
    (tmp_path / "in" / "plain.pdf").write_text("%PDF-1.4 plain")
    archive(tmp_path / "in" / "packed.zip", {"plain.pdf": b"%PDF-1.4 plain", "b.txt": b"bee\n"})
    found = find(tmp_path / "in", folder=tmp_path)
    assert text_of(found) == "ay\nbee\n"
    assert "skipped 1 (office document)" in found.notices[0]
    assert "skipped 1 (not text)" in found.notices[1]


@pytest.mark.parametrize(
    ("path", "glob", "expected"),
    [
        ("a/b/c.txt", "*.txt", True), ("a/b/c.txt", "b/*.txt", True), ("a/b/c.txt", "c", False),
        ("a/b/c.txt", "a/*.txt", False), ("a/b/c.txt", "a/**/*.txt", True),
        ("a/c.txt", "a/**/*.txt", True), ("a/b/c.txt", "**/*.txt", True),
        ("a/b/c.txt", "a/**", True), ("x/b/c.txt", "a/**", False), ("a/b/c.txt", "?.t[xy]t", True),
        ("/r/a/b.md", "r/*/b.md", True), ("a/B.TXT", "*.txt", False),
    ],
)  # fmt: skip
def test_globs_match_the_end_of_a_path(path: str, glob: str, expected: bool) -> None:
    assert streams.matches(path, glob) is expected
