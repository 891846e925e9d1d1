"""Find the files of a corpus."""

import gzip
import io
import os
import re
import sys
import threading
from pathlib import Path

import pytest

from charrnn.errors import CorpusError, SettingsError, UndecodableError
from charrnn.text.sources import corpus_name
from tests.text.reading import TALE, find, text_of

SMALL = "The quick brown fox, 狐, лиса.\n" * 50


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


def test_a_folder_is_read_in_path_order(tmp_path: Path) -> None:
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
    assert any("skipped 1 (unreadable)" in notice for notice in again.notices)
    assert any("skipped 1 (not text): " in notice for notice in found.notices)
    assert any("skipped 1 (not UTF-8, looks like cp1252)" in notice for notice in found.notices)
    assert any("skipped 2 (hidden)" in notice for notice in found.notices)


def test_a_glob_selects_files_of_a_folder(tmp_path: Path) -> None:
    folder = tree(tmp_path)
    assert text_of(find(folder, folder=tmp_path, glob="*.md")) == "bee\n"
    assert text_of(find(folder, folder=tmp_path, glob="sub/*.txt")) == "cee\n"
    assert "é" in text_of(
        find(folder, folder=tmp_path, glob="old.*", encoding="cp1252"), encoding="cp1252"
    )


def test_runs_in_a_folder_are_skipped(tmp_path: Path) -> None:
    folder = tree(tmp_path)
    (folder / "checkpoints" / "tree" / "step-00000000").mkdir(parents=True)
    (folder / "checkpoints" / "tree" / "log.jsonl").write_text("{}\n")
    (folder / "checkpoints" / "tree" / "step-00000000" / "manifest.json").write_text("{}\n")
    found = find(folder, folder=tmp_path)
    assert text_of(found) == "ay\nbee\ndee\ncee\n"
    assert any("skipped 1 (charrnn run)" in notice for notice in found.notices)


def test_a_folder_without_text_reports_what_it_skipped(tmp_path: Path) -> None:
    folder = tree(tmp_path)
    (folder / "damaged.txt").write_bytes("Il était très âgé. ".encode() * 9 + b"\xff")
    with pytest.raises(UndecodableError, match=r"damaged\.txt: not UTF-8 at .* damaged or"):
        text_of(find(folder, folder=tmp_path))  # it is text, so it must not be skipped
    with pytest.raises(CorpusError, match=r"this folder contains no text .*`glob`"):
        find(folder, folder=tmp_path, glob="*.rst")
    with pytest.raises(CorpusError, match=r"not UTF-8, looks like cp1252\): .*old.*`encoding"):
        find(folder, folder=tmp_path, glob="old.*")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="it is empty"):
        find(tmp_path / "empty", folder=tmp_path)
    (folder / "sub" / ".hidden").touch()
    with pytest.raises(CorpusError, match=r"nothing in it matches `glob='\*\.rst'`"):
        find(folder / "sub", folder=tmp_path, glob="*.rst")
    with pytest.raises(SettingsError, match="name of a corpus is empty"):
        find("", folder=tmp_path)


def test_one_undecodable_file_of_several_has_no_remedy(tmp_path: Path) -> None:
    """Its encoding may be wrong for the other files."""
    (tmp_path / "a.txt").write_text("ay\n")
    (tmp_path / "b.txt").write_bytes("Il était une fois. ".encode("cp1252") * 3)
    with pytest.raises(UndecodableError, match="if the other files need that too; ") as raised:
        text_of(find(tmp_path / "a.txt", tmp_path / "b.txt", folder=tmp_path))
    assert raised.value.remedy == {}


@pytest.mark.skipif(sys.platform == "win32", reason="links and FIFOs")
def test_link_cycles_and_fifos_in_a_folder_are_skipped(tmp_path: Path) -> None:
    folder = tree(tmp_path)
    (folder / "loop").symlink_to(folder)
    (folder / "dangling").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "fifo")
    found = find(folder, folder=tmp_path)
    assert text_of(found) == "ay\nbee\ndee\ncee\n"
    assert any("skipped 2 (device, pipe or broken link)" in n for n in found.notices)
    assert any("skipped 1 (link to a folder)" in n for n in found.notices)


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_links_that_lead_out_of_a_folder_are_left_out(tmp_path: Path) -> None:
    """A folder that somebody else has packed must not lead to what is private."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "diary.txt").write_text("private\n")
    folder = tree(tmp_path)
    (folder / "inside.txt").symlink_to("a.txt")
    (folder / "absolute.txt").symlink_to(tmp_path / "secret" / "diary.txt")
    (folder / "sub" / "relative.txt").symlink_to("../../secret/diary.txt")
    (folder / "by-way-of.txt").symlink_to("sub/relative.txt")
    (folder / "around.txt").symlink_to("../tree/b.md")
    found = find(folder, folder=tmp_path)
    assert text_of(found) == "ay\nbee\nbee\nay\ndee\ncee\n"
    (notice,) = [n for n in found.notices if "(link" in n]
    assert notice.startswith("skipped 3 (link that leads out of the folder): ")
    (tmp_path / "link").symlink_to(folder)
    assert text_of(find(tmp_path / "link", folder=tmp_path)) == text_of(found), "by a link itself"
    named = find(folder / "absolute.txt", folder=tmp_path)
    assert text_of(named) == "private\n", "the user has named it"


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_unreadable_folders_and_files_are_skipped(tmp_path: Path) -> None:
    """A folder may be opened and not listed, or listed and not opened."""
    folder = tree(tmp_path)
    modes = {"sealed": 0, "blind": 0o300, "shut": 0o600}
    for name in modes:
        (folder / name).mkdir()
        (folder / name / "x.txt").write_text("x\n")
    (folder / "closed.txt").write_text("x\n")
    (folder / "closed.txt").chmod(0)
    for name, mode in modes.items():
        (folder / name).chmod(mode)
    try:
        if os.access(folder / "sealed", os.R_OK):
            pytest.skip("this user may read everything")
        found = find(folder, folder=tmp_path)
        assert text_of(found) == "ay\nbee\ndee\ncee\n"
        told = "; ".join(found.notices)
        assert "skipped 2 (unreadable folder)" in told
        assert "skipped 2 (unreadable)" in told
        for source in ("sealed", "closed.txt", "shut/x.txt"):
            with pytest.raises(CorpusError, match=r"contains no text|cannot be"):
                text_of(find(folder / source, folder=tmp_path))
        with pytest.raises(CorpusError, match=r"no file is called|cannot be opened"):
            find(folder / "sealed" / "y.txt", folder=tmp_path)
    finally:
        for name in modes:
            (folder / name).chmod(0o700)


def test_a_recorded_source_is_never_a_pattern(tmp_path: Path) -> None:
    """A run records what a pattern has found; a stranger's could search the whole disk."""
    folder = tree(tmp_path)
    assert len(find(f"{folder}/*.md", folder=tmp_path).files) == 1
    with pytest.raises(CorpusError, match=r"\*\.md is gone"):
        find(f"{folder}/*.md", folder=tmp_path, recorded=True)


def test_patterns_that_no_shell_expanded_are_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree(tmp_path))
    assert text_of(find("*.txt", folder=tmp_path, errors="ignore"), errors="ignore") == (
        "ay\n" + "Il tait une fois. " * 3
    )
    assert text_of(find("**/c.txt", folder=tmp_path)) == "cee\n"
    assert text_of(find("**/*.md", "sub/**", folder=tmp_path)) == "bee\ncee\n", "each file once"
    with pytest.raises(CorpusError, match=r"no file matches '\*\.rst'"):
        find("*.rst", folder=tmp_path)
    Path("a[1].txt").write_text("bracket")
    assert text_of(find("a[1].txt", folder=tmp_path)) == "bracket"


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs")
def test_a_pipe_is_read_once_and_never_on_resume(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(SMALL,))
    writer.start()
    (tmp_path / "stdin").write_text("typed in a terminal")
    with pytest.MonkeyPatch.context() as patch, (tmp_path / "stdin").open() as stdin:
        patch.setattr(sys, "stdin", stdin)
        found = find(path, "-", folder=tmp_path)
    writer.join()
    assert text_of(found) == SMALL + "typed in a terminal", "each has its own file"
    assert found.sources == (str(path), "-")
    for source in found.sources:
        with pytest.raises(CorpusError, match="text that came through a pipe cannot be read again"):
            find(source, folder=tmp_path, recorded=True)


def test_stdin_may_be_compressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(gzip.compress(SMALL.encode()))

    monkeypatch.setattr(sys, "stdin", Stdin)
    found = find("-", folder=tmp_path)
    assert (found.name, found.sources, text_of(found)) == ("stdin", ("-",), SMALL)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", "no file or corpus is called 'nowhere'; list the named corpora with: charrnn"),
        ("tael", r"no file or corpus is called 'tael'; did you mean tale\?"),
        ("Tale.txt", r"did you mean tale\?"),
        ("no/tale", "no file is called 'no/tale'$"),
        ("x" * 5000, "cannot be opened"),
        ("nul\0byte", "no file or corpus is called"),
    ],
)
def test_an_unknown_source_is_named(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        find(source, folder=tmp_path)


@pytest.mark.parametrize(
    ("source", "suggestion"),
    [
        ("novle.txt", "novel.txt"),
        ("Novel.TXT", "novel.txt"),
        ("novel", "novel.txt"),
        ("novel.text", "novel.txt"),
        ("poem.txt", "poems.txt"),
        ("poem.md", "poems.md"),
        ("books/moby-dik.txt", "books/moby-dick.txt"),
        ("boks/moby-dick.txt", "books/moby-dick.txt"),
        ("boks/moby-dik.txt", "books/moby-dick.txt"),
        ("boks", "books"),
    ],
)
def test_the_most_similar_file_is_suggested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, suggestion: str
) -> None:
    files = tmp_path / "files"
    (files / "books").mkdir(parents=True)
    for name in ("novel.txt", "poems.md", "poems.txt", ".hidden.txt", "books/moby-dick.txt"):
        (files / name).touch()
    monkeypatch.chdir(files)
    expected = rf"is called '{re.escape(source)}'; did you mean {re.escape(suggestion)}\?"
    with pytest.raises(CorpusError, match=expected):
        find(source, folder=tmp_path)


@pytest.mark.parametrize("source", ["a.txt", "hidden.txt", "elsewhere/novel.txt", "novel.txt/x"])
def test_dissimilar_files_are_not_suggested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for name in ("b.txt", "novel.txt", ".hidden.txt"):
        (files / name).touch()
    monkeypatch.chdir(files)
    with pytest.raises(CorpusError) as raised:
        find(source, folder=tmp_path)
    assert "did you mean" not in str(raised.value)


@pytest.mark.skipif(sys.platform == "win32", reason="no such links on Windows")
def test_an_unreadable_file_says_why(tmp_path: Path) -> None:
    path = tmp_path / "loop"
    path.symlink_to(path)
    with pytest.raises(CorpusError, match=r"loop: cannot be opened \(.*symbolic link"):
        find(path, folder=tmp_path)


def test_files_take_precedence_over_named_corpora(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert text_of(find("tale", folder=tmp_path)) == TALE
    Path("tale").write_text("a file")
    assert text_of(find("tale", folder=tmp_path)) == "a file"
    assert find(folder=tmp_path).sources == ("tale",), "no source means the default corpus"
    assert text_of(find(folder=tmp_path)) == TALE
    recorded = find("tale", folder=tmp_path, recorded=True)
    assert text_of(recorded) == TALE, "a run that recorded the name means the corpus"
    Path("tale").unlink()
    Path("tale").mkdir()
    Path("tale/a.txt").write_text("a folder")
    assert text_of(find("tale", folder=tmp_path)) == "a folder"


def test_corpora_are_named_after_their_first_source() -> None:
    assert corpus_name("/a/poems.txt.gz", "") == "poems"
    assert corpus_name("/a/linux-6.6.tar.xz", "") == "linux-6"
    assert corpus_name("/a/novels", "") == "novels"
    assert corpus_name("/", "") == "corpus"
    assert corpus_name("-", "stdin") == "stdin"
