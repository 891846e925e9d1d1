"""Finding files, and reading them as streams."""

import bz2
import gzip
import io
import lzma
import os
import stat
import sys
import tarfile
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from charrnn.catalog.corpora import Catalog
from charrnn.errors import CorpusError, SettingsError, UndecodableError
from charrnn.text import streams
from charrnn.text.config import CorpusConfig
from charrnn.text.corpus import read_documents
from charrnn.text.sources import Found, corpus_name, find_files

SMALL = "The quick brown fox, 狐, лиса.\n" * 50


def find(*sources: str | Path, folder: Path, again: bool = False, **settings: Any) -> Found:
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    return find_files(
        tuple(map(str, sources)),
        CorpusConfig(**settings),
        Catalog(folder / "corpora"),
        workspace=workspace,
        again=again,
    )


def text_of(found: Found, told: list[str] | None = None, **settings: Any) -> str:
    notice = (told if told is not None else []).append
    blocks = read_documents(found.files, CorpusConfig(**settings), notice=notice)
    return "".join(block.text for block in blocks)


def packed(data: bytes, suffix: str) -> bytes:
    match suffix:
        case ".gz":
            return gzip.compress(data)
        case ".bz2":
            return bz2.compress(data)
        case ".xz":
            return lzma.compress(data)
        case ".zst":
            zstd: Any = streams.zstd  # type: ignore[attr-defined]
            checked = {zstd.CompressionParameter.checksum_flag: 1}  # as the zstd program does
            return zstd.compress(data, options=checked)  # type: ignore[no-any-return]
    raise AssertionError(suffix)


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
def test_a_damaged_compressed_file_is_told(tmp_path: Path, suffix: str) -> None:
    whole = packed(os.urandom(50_000).hex().encode(), suffix)
    path = tmp_path / f"t.txt{suffix}"
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for data in (whole[: len(whole) // 2], bytes(flipped)):
        path.write_bytes(data)
        with pytest.raises(CorpusError, match=rf"t\.txt\{suffix}: (damaged|not UTF-8)"):
            text_of(find(path, folder=tmp_path))


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_a_bomb_is_stopped(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bomb{suffix}"
    path.write_bytes(packed(b"0" * 20_000_000, suffix))
    assert path.stat().st_size < 100_000
    with pytest.raises(CorpusError, match=r"larger than 1,000,000 bytes; .* `max_corpus_bytes`"):
        text_of(find(path, folder=tmp_path), max_corpus_bytes=1_000_000)


def tree(folder: Path) -> Path:
    files = {
        "b.md": "bee\n", "a.txt": "ay\n", "sub/c.txt": "cee\n", ".hidden": "x", ".git/config": "x",
        "empty.txt": "",
    }  # fmt: skip
    for name, text in files.items():
        path = folder / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "tree" / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    (folder / "tree" / "old.txt").write_bytes("Il était une fois. ".encode("cp1252") * 3)
    (folder / "tree" / "packed.txt.gz").write_bytes(gzip.compress(b"dee\n"))
    return folder / "tree"


def test_a_folder_is_all_its_texts_in_the_order_of_their_paths(tmp_path: Path) -> None:
    found = find(tree(tmp_path), folder=tmp_path)
    assert [Path(file.path).name for file in found.files] == [
        "a.txt", "b.md", "empty.txt", "packed.txt.gz", "c.txt",
    ]  # fmt: skip
    assert text_of(found) == "ay\nbee\ndee\ncee\n"
    assert found.name == "tree"
    assert found.sources == (str(tmp_path / "tree"),)
    (tmp_path / "tree" / "cut.gz").write_bytes(gzip.compress(SMALL.encode())[:15])
    again = find(tmp_path / "tree", folder=tmp_path)
    assert text_of(again) == text_of(found)
    assert any("1 left out as not readable" in notice for notice in again.notices)
    assert any("1 left out as not text: " in notice for notice in found.notices)
    assert any("1 left out as not UTF-8, but cp1252 by its" in notice for notice in found.notices)
    assert any("2 left out as hidden" in notice for notice in found.notices)


def test_a_glob_chooses_the_files_of_a_folder(tmp_path: Path) -> None:
    folder = tree(tmp_path)
    assert text_of(find(folder, folder=tmp_path, glob="*.md")) == "bee\n"
    assert text_of(find(folder, folder=tmp_path, glob="sub/*.txt")) == "cee\n"
    assert "é" in text_of(
        find(folder, folder=tmp_path, glob="old.*", encoding="cp1252"), encoding="cp1252"
    )


def test_runs_in_a_folder_are_not_part_of_the_corpus(tmp_path: Path) -> None:
    folder = tree(tmp_path)
    (folder / "checkpoints" / "tree" / "step-00000000").mkdir(parents=True)
    (folder / "checkpoints" / "tree" / "log.jsonl").write_text("{}\n")
    (folder / "checkpoints" / "tree" / "step-00000000" / "manifest.json").write_text("{}\n")
    found = find(folder, folder=tmp_path)
    assert text_of(found) == "ay\nbee\ndee\ncee\n"
    assert any("1 left out as a run of charrnn" in notice for notice in found.notices)


def test_a_folder_without_text_says_what_was_there(tmp_path: Path) -> None:
    folder = tree(tmp_path)
    (folder / "damaged.txt").write_bytes("Il était très âgé. ".encode() * 9 + b"\xff")
    with pytest.raises(UndecodableError, match=r"damaged\.txt: not UTF-8 at .* damaged or cut"):
        text_of(find(folder, folder=tmp_path))  # it is text, and not to be left out
    with pytest.raises(CorpusError, match=r"no text in this folder .*`glob`"):
        find(folder, folder=tmp_path, glob="*.rst")
    with pytest.raises(CorpusError, match=r"1 left out as not UTF-8, but cp1252 .*old.*`encoding"):
        find(folder, folder=tmp_path, glob="old.*")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="it is empty"):
        find(tmp_path / "empty", folder=tmp_path)
    (folder / "sub" / ".hidden").touch()
    with pytest.raises(CorpusError, match=r"nothing in it matches `glob='\*\.rst'`"):
        find(folder / "sub", folder=tmp_path, glob="*.rst")
    with pytest.raises(SettingsError, match="an empty name"):
        find("", folder=tmp_path)


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


def test_what_is_no_text_is_called_by_its_name(tmp_path: Path) -> None:
    twice = gzip.compress(gzip.compress(b"a text"))
    office = archive(tmp_path / "office.zip", {"[Content_Types].xml": b"<x/>", "d.xml": b"<y/>"})
    for name, data, message in [
        ("twice.gz", twice, "a compressed file within a compressed one"),
        ("zip.gz", gzip.compress(office.read_bytes()), "a zip archive within"),
        ("old.Z", b"\x1f\x9d\x90abc", "compressed in a way that is not read"),
        ("book.pdf", b"%PDF-1.7\n%\xe2\xe3", "a PDF; save its text"),
        ("letter.docx", office.read_bytes(), "an office document; save it as plain text"),
        ("empty.tar", bytes(10_240), r"no text in this archive \(it is empty"),
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
    assert "1 left out as an office document" in found.notices[0]
    assert "1 left out as not text" in found.notices[1]


def test_links_in_a_zip_are_not_read(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("secret.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(link, "/etc/passwd")
        file.writestr("a.txt", "ay\n")
    assert text_of(find(path, folder=tmp_path)) == "ay\n"


def test_of_several_files_one_that_cannot_be_decoded_does_not_decide_for_all(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.txt").write_text("ay\n")
    (tmp_path / "b.txt").write_bytes("Il était une fois. ".encode("cp1252") * 3)
    with pytest.raises(UndecodableError, match="if the other files need that too; else") as raised:
        text_of(find(tmp_path / "a.txt", tmp_path / "b.txt", folder=tmp_path))
    assert raised.value.remedy == {}


@pytest.mark.skipif(sys.platform == "win32", reason="links and FIFOs")
def test_links_without_end_and_fifos_in_a_folder_do_no_harm(tmp_path: Path) -> None:
    folder = tree(tmp_path)
    (folder / "loop").symlink_to(folder)
    (folder / "dangling").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "fifo")
    found = find(folder, folder=tmp_path)
    assert text_of(found) == "ay\nbee\ndee\ncee\n"
    assert any("2 left out as a device, a pipe or a link" in n for n in found.notices)
    assert any("1 left out as a link to a folder" in n for n in found.notices)


def test_a_pattern_that_no_shell_has_expanded_is_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree(tmp_path))
    assert text_of(find("*.txt", folder=tmp_path, errors="ignore"), errors="ignore") == (
        "ay\n" + "Il tait une fois. " * 3
    )
    assert text_of(find("**/c.txt", folder=tmp_path)) == "cee\n"
    assert text_of(find("**/*.md", "sub/**", folder=tmp_path)) == "bee\ncee\n", "each once"
    with pytest.raises(CorpusError, match=r"no file matches '\*\.rst'"):
        find("*.rst", folder=tmp_path)
    Path("a[1].txt").write_text("bracket")
    assert text_of(find("a[1].txt", folder=tmp_path)) == "bracket"


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs")
def test_a_pipe_is_read_once_and_not_again_when_a_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(SMALL,))
    writer.start()
    (tmp_path / "stdin").write_text("what a terminal says")
    with pytest.MonkeyPatch.context() as patch, (tmp_path / "stdin").open() as stdin:
        patch.setattr(sys, "stdin", stdin)
        found = find(path, "-", folder=tmp_path)
    writer.join()
    assert text_of(found) == SMALL + "what a terminal says", "each has a file of its own"
    assert found.sources == (str(path), "-")
    for source in found.sources:
        with pytest.raises(CorpusError, match="what came by a pipe cannot be read again"):
            find(source, folder=tmp_path, again=True)


def test_stdin_is_a_text_that_may_be_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stdin:
        buffer = io.BytesIO(gzip.compress(SMALL.encode()))

    monkeypatch.setattr(sys, "stdin", Stdin)
    found = find("-", folder=tmp_path)
    assert (found.name, found.sources, text_of(found)) == ("stdin", ("-",), SMALL)


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


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tgz"])
def test_an_archive_is_its_texts_read_as_streams(tmp_path: Path, suffix: str) -> None:
    members = {
        "x/a.txt": b"ay\n", "x/.hidden": b"no", "../../evil.txt": b"evil\n", "/abs.txt": b"abs\n",
        "photo.png": b"\x89PNG\0", "b.md": b"bee\n",
    }  # fmt: skip
    path = archive(tmp_path / f"books{suffix}", members)
    told: list[str] = []
    before = sorted(tmp_path.rglob("*"))
    found = find(path, folder=tmp_path)
    assert text_of(found, told) == "ay\nevil\nabs\nbee\n"
    assert text_of(find(path, folder=tmp_path, glob="*.md")) == "bee\n"
    assert found.name == "books"
    assert sorted(notice.split(":")[0] for notice in told) == [
        "1 left out as hidden", "1 left out as not text",
    ]  # fmt: skip
    assert set(tmp_path.rglob("*")) == {*before, tmp_path / "workspace"}, "nothing is extracted"


def test_an_archive_that_is_damaged_or_locked_is_told(tmp_path: Path) -> None:
    path = archive(tmp_path / "b.zip", {"a.txt": SMALL.encode()})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CorpusError, match=r"b\.zip: damaged or cut short"):
        text_of(find(path, folder=tmp_path))
    tar = archive(tmp_path / "b.tar", {"a.txt": SMALL.encode() * 20})
    tar.write_bytes(tar.read_bytes()[:9_000])
    with pytest.raises(CorpusError, match=r"b\.tar.* damaged"):
        text_of(find(tar, folder=tmp_path))
    members = {"photo.png": b"\x89PNG\0", ".hidden": b"x"}
    for suffix in (".zip", ".tar"):
        path = archive(tmp_path / f"photos{suffix}", members)
        with pytest.raises(CorpusError, match=r"no text in this archive .*1 left out as hidden"):
            text_of(find(path, folder=tmp_path))
    with pytest.raises(CorpusError, match=r"no text in this archive \(it is empty"):
        text_of(find(archive(tmp_path / "empty.zip", {}), folder=tmp_path))


def test_the_holes_of_a_sparse_file_in_an_archive_are_no_text(tmp_path: Path) -> None:
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
    told: list[str] = []
    assert text_of(find(tmp_path / "t.tar", folder=tmp_path), told) == "ay\n"
    assert told == [f"1 left out as sparse: {tmp_path / 't.tar'}/holes.txt"]


def test_a_bomb_in_an_archive_is_stopped(tmp_path: Path) -> None:
    for suffix in (".zip", ".tgz"):
        path = archive(tmp_path / f"bomb{suffix}", {"a.txt": b"0" * 20_000_000})
        with pytest.raises(CorpusError, match="`max_corpus_bytes`"):
            text_of(find(path, folder=tmp_path), max_corpus_bytes=1_000_000)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.txt", "no file and no corpus is called 'nowhere.txt'; charrnn corpora lists"),
        ("pyton", r"called 'pyton'; did you mean python\?"),
        ("tiny-shakespere", r"did you mean tiny-shakespeare\?"),
        ("tiny-shakespeare", "not in .* yet; get it with: charrnn corpora fetch tiny-shakespeare"),
        ("x" * 5000, "cannot be opened"),
        ("nul\0byte", "no file and no corpus is called"),
    ],
)
def test_what_is_no_corpus_is_named(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        find(source, folder=tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="no such links on Windows")
def test_an_unreadable_file_says_why(tmp_path: Path) -> None:
    path = tmp_path / "loop"
    path.symlink_to(path)
    with pytest.raises(CorpusError, match=r"loop: cannot be opened \(.*symbolic link"):
        find(path, folder=tmp_path)


def test_a_file_wins_over_a_corpus_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("python").write_text("a snake")
    assert text_of(find("python", folder=tmp_path)) == "a snake"
    assert find(folder=tmp_path).sources == ("python",), "no source is the built-in one"
    again = find("python", folder=tmp_path, again=True)
    assert "import" in text_of(again), "a run that recorded the name means the corpus"
    Path("unicode-names").mkdir()
    Path("unicode-names/a.txt").write_text("a list")
    assert text_of(find("unicode-names", folder=tmp_path)) == "a list", "and so does a folder"


def test_corpora_are_named_after_their_first_source() -> None:
    assert corpus_name("/a/poems.txt.gz", "") == "poems"
    assert corpus_name("/a/linux-6.6.tar.xz", "") == "linux-6"
    assert corpus_name("/a/novels", "") == "novels"
    assert corpus_name("/", "") == "corpus"
    assert corpus_name("-", "stdin") == "stdin"
