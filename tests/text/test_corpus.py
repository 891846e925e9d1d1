"""Reading files and built-in corpora."""

import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charrnn.errors import CorpusError
from charrnn.text import catalog, corpus
from charrnn.text.corpus import normalise_newlines, open_corpus, read_file, read_text

# Text in which line ends of all kinds and characters of all widths meet.
texts = st.lists(st.sampled_from(["a", "é", "字", "😀", "\r", "\n", "\r\n", "\x00", "\u2028"])).map(
    "".join
)


@given(text=texts, block=st.integers(1, 7), bom=st.booleans())
def test_text_is_the_same_however_the_file_is_cut_into_blocks(
    tmp_path_factory: pytest.TempPathFactory, text: str, block: int, bom: bool
) -> None:
    """A character, a CRLF or a byte order mark across the border of two blocks is no different."""
    path = tmp_path_factory.mktemp("corpus") / "t.txt"
    path.write_bytes(text.encode("utf-8-sig" if bom else "utf-8"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "BLOCK_BYTES", block)
        assert "".join(read_file(path, keep_newlines=True)) == text
        assert "".join(read_file(path)) == normalise_newlines(text)


@given(data=st.binary(max_size=40), block=st.integers(1, 7))
@example(data=b"\xef\xbb\xbfabc\xff", block=100)
@example(data=b"\xef\xbb\xbfabc\xff", block=2)
def test_bytes_decode_or_the_error_names_the_byte(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, block: int
) -> None:
    """What Python's strict decoder says of the whole is what a streamed file says."""
    path = tmp_path_factory.mktemp("corpus") / "t.txt"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "BLOCK_BYTES", block)
        try:
            expected = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            start = _first_bad_byte(data)
            with pytest.raises(CorpusError, match=rf"not UTF-8 at byte {start:,} "):
                read_text(path, keep_newlines=True)
        else:
            assert read_text(path, keep_newlines=True) == expected


def _first_bad_byte(data: bytes) -> int:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    raise AssertionError("all bytes decode")


def test_utf16_is_recognised_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("hello", encoding="utf-16")
    with pytest.raises(CorpusError, match=r"byte 0 .*looks like UTF-16.*save it as UTF-8"):
        read_text(path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.txt", "no file and no corpus is called 'nowhere.txt'; built-in corpora: python"),
        (".", r"\. is a folder; name the text files in it"),
        ("x" * 5000, "cannot be opened"),
        ("nul\0byte", "no file and no corpus is called"),
    ],
)
def test_what_is_no_text_file_is_named(source: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        open_corpus((source,))


@pytest.mark.skipif(sys.platform == "win32", reason="no such permissions on Windows")
def test_an_unreadable_file_says_why(tmp_path: Path) -> None:
    path = tmp_path / "loop"
    path.symlink_to(path)
    with pytest.raises(CorpusError, match=r"loop: cannot be opened \(.*symbolic link"):
        open_corpus((str(path),))


def test_several_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("bee")
    (tmp_path / "a.txt").write_text("ay")
    found = open_corpus((str(tmp_path / "b.txt"), str(tmp_path / "a.txt")))
    assert "".join(found.blocks()) == "beeay"
    assert found.name == "b"
    assert "".join(found.blocks()) == "beeay", "a corpus can be read twice"


def test_a_file_wins_over_a_corpus_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("python").write_text("a snake")
    assert "".join(open_corpus(("python",)).blocks()) == "a snake"


def test_no_source_is_the_python_source() -> None:
    assert open_corpus(()).sources == ("python",)


def test_python_source_is_the_same_each_time_and_within_its_cap() -> None:
    text = "".join(catalog.python_source())
    assert text == "".join(catalog.python_source())
    assert 1_000_000 < len(text.encode()) <= catalog.PYTHON_CAP_BYTES
    assert "import pytest" not in text
    assert "class " in text


def test_unicode_names_are_one_a_line() -> None:
    lines = "".join(catalog.unicode_names()).splitlines()
    assert "GREEK SMALL LETTER ALPHA" in lines
    assert len(lines) == len(set(lines)) > 20_000
    assert lines != sorted(lines), "the validation split must be of the same kind as the rest"
