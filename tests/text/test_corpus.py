"""Documents: whole files, lines, and rows of tables."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import CorpusError, SettingsError
from charrnn.text import corpus, decoding
from charrnn.text.config import CorpusConfig
from charrnn.text.corpus import read_documents
from charrnn.text.streams import SourceFile

line = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=6)


def documents(*paths: Path, notices: list[str] | None = None, **settings: Any) -> list[str]:
    files = [SourceFile(path.name, path) for path in paths]
    notice = (notices if notices is not None else []).append
    found, rest = [], ""
    for block in read_documents(files, CorpusConfig(**settings), notice=notice):
        start = 0
        for end in block.ends:
            found.append(rest + block.text[start:end])
            rest, start = "", int(end)
        rest += block.text[start:]
    assert rest == "", "the last document ends as well"
    return found


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_each_file_is_a_document_followed_by_a_separator(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.txt", "ay\n"), write(tmp_path / "b.txt", "bee")
    assert documents(a, b) == ["ay\n", "bee"]
    assert documents(a, b, separator="<|>") == ["ay\n<|>", "bee<|>"]


def test_an_empty_file_is_not_a_document(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.txt", ""), write(tmp_path / "b.txt", "bee")
    assert documents(a, b, separator="|") == ["bee|"]


@given(lines=st.lists(line), block=st.integers(1, 9), final=st.booleans())
def test_each_line_with_text_is_a_document(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], block: int, final: bool
) -> None:
    text = "\n".join(lines) + ("\n" if final else "")
    path = write(tmp_path_factory.mktemp("lines") / "t.txt", text.removeprefix("\ufeff"))
    lines = text.removeprefix("\ufeff").split("\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "BLOCK_BYTES", block)
        assert documents(path, lines=True) == [f"{part}\n" for part in lines if part]


poem = st.lists(line.filter(lambda text: text.strip(" \t")), min_size=1, max_size=3)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@given(
    poems=st.lists(poem, max_size=6),
    gap=st.sampled_from(["", " ", "\t\t"]),
    block=st.integers(1, 9),
    kept=st.booleans(),
)
def test_each_paragraph_is_a_document(
    tmp_path_factory: pytest.TempPathFactory,
    end: str,
    poems: list[list[str]],
    gap: str,
    block: int,
    kept: bool,
) -> None:
    """With any line ends, kept or converted, in blocks of any size, over several files."""
    blank = end + gap + end
    text = blank + blank.join(end.join(lines) for lines in poems) + end
    path = write(tmp_path_factory.mktemp("poems") / "t.txt", text)
    inner = end if kept else "\n"
    expected = [inner.join(lines) + "\n\n" for lines in poems]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "BLOCK_BYTES", block)
        assert documents(path, path, paragraphs=True, keep_newlines=kept) == expected * 2


def test_paragraphs_are_found_after_normalization(tmp_path: Path) -> None:
    """NFKC makes a line of ideographic spaces a blank one."""
    path = write(tmp_path / "t.txt", "A\n\u3000\nB\n")
    assert documents(path, paragraphs=True) == ["A\n\u3000\nB\n\n"]
    assert documents(path, paragraphs=True, normalize="nfkc", lowercase=True) == [
        "a\n\n",
        "b\n\n",
    ]


cell = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@given(cells=st.lists(cell), block=st.integers(1, 50))
def test_each_cell_of_a_csv_column_is_a_document(
    tmp_path_factory: pytest.TempPathFactory, delimiter: str, cells: list[str], block: int
) -> None:
    import csv
    import io

    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter)
    writer.writerow(["id", "title", "note"])
    writer.writerows([[i, text, "x"] for i, text in enumerate(cells)])
    path = write(tmp_path_factory.mktemp("rows") / "t.csv", buffer.getvalue())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "BLOCK_BYTES", block)
        patch.setattr(corpus, "BLOCK_BYTES", block)
        found = documents(path, column="title", separator="<end>", keep_newlines=True)
    assert found == [f"{text}<end>" for text in cells if text]


@given(values=st.lists(st.text(st.characters(codec="utf-8"), max_size=8)))
def test_each_value_of_a_json_field_is_a_document(
    tmp_path_factory: pytest.TempPathFactory, values: list[str]
) -> None:
    rows = [json.dumps({"n": 1, "text": value}) for value in values]
    path = write(tmp_path_factory.mktemp("rows") / "t.jsonl", "\n\n".join(rows))
    found = documents(path, field="text", separator="<end>", keep_newlines=True)
    assert found == [f"{value}<end>" for value in values if value]


def test_empty_and_ambiguous_rows_are_reported(tmp_path: Path) -> None:
    """A row is ambiguous if it contains the text that ends a document."""
    path = write(tmp_path / "t.csv", 'title,n\none,1\n,2\n"two\nlines",3\nshort\n\n')
    notices: list[str] = []
    assert documents(path, column="n", notices=notices) == ["1\n", "2\n", "3\n"]
    assert notices == ["skipped 1 (row without text): t.csv, line 6"]
    notices.clear()
    found = documents(path, column="title", notices=notices)
    assert found == ["one\n", "two\nlines\n", "short\n"]
    assert "1 of 3 rows contain '\\n'" in notices[1]
    assert notices[1].endswith(r"pass `separator='\n===\n'`")


@pytest.mark.parametrize(
    ("name", "text", "settings", "message"),
    [
        (
            "t.csv",
            "a,b\n1,2\n",
            {"column": "c"},
            r"no column is called 'c'; .* first line are: 'a', 'b'",
        ),
        ("t.csv", "", {"column": "c"}, "no column is called 'c'"),
        ("t.csv", 'c\none\n"two" or three\n', {"column": "c"}, "line 3: the row that begins.*"),
        ("t.csv", 'c\none\n"two\n', {"column": "c"}, "line 3: .*a quote that is not closed"),
        (
            "t.jsonl",
            '{"a": 1}',
            {"field": "b"},
            "line 1: no field is called 'b'; the fields are: 'a'",
        ),
        ("t.jsonl", '{"a": 1}', {"field": "a"}, "line 1: field 'a' is not a string"),
        ("t.jsonl", '{"a": "x"}\n{"a"', {"field": "a"}, "line 2: not a complete JSON object"),
        ("t.jsonl", "[1]", {"field": "a"}, "line 1: not a JSON object"),
        ("t.jsonl", "[" * 200_000, {"field": "a"}, "line 1: .* nested too deeply"),
        (
            "t.jsonl",
            '{"a": ' + "1" * 5_000 + "}",
            {"field": "a"},
            "line 1: .* is too long",
        ),
        ("t.jsonl", '{"a": "\\ud800"}', {"field": "a"}, r"line 1: contains U\+D800, half of a"),
    ],
)
def test_invalid_rows_are_reported_with_their_line(
    tmp_path: Path, name: str, text: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(CorpusError, match=rf"{name}.*{message}"):
        documents(write(tmp_path / name, text), **settings)


def test_contradictory_settings_are_refused() -> None:
    with pytest.raises(SettingsError, match="`lines` and `column`"):
        CorpusConfig(lines=True, column="a")
    for other in ({"lines": True}, {"column": "a"}, {"field": "a"}, {"separator": "x"}):
        with pytest.raises(SettingsError, match=r"`paragraphs`.*choose one"):
            CorpusConfig(paragraphs=True, **other)
    with pytest.raises(SettingsError, match="`lines` and `separator`"):
        CorpusConfig(lines=True, separator="x")
    with pytest.raises(SettingsError, match="`split_documents` and `val_text`"):
        CorpusConfig(split_documents=True, val_text="x")
    with pytest.raises(SettingsError, match="`split_documents` needs a `val_fraction`"):
        CorpusConfig(split_documents=True, val_fraction=0)


def test_rows_are_normalized_like_other_text(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'title\n"E\u0301\r\nF"\n')
    assert documents(path, column="title", normalize="nfc", lowercase=True) == ["é\nf\n"]


def test_a_cell_may_be_longer_than_csv_allows_by_default(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", f"title\n{'x' * 300_000}\n")
    assert documents(path, column="title") == ["x" * 300_000 + "\n"]


def test_the_settings_decide_how_documents_end() -> None:
    assert CorpusConfig().document_end == ""
    assert CorpusConfig(lines=True).document_end == "\n"
    assert CorpusConfig(paragraphs=True).document_end == "\n\n"
    assert CorpusConfig(column="a").document_end == "\n"
    assert CorpusConfig(field="a", separator="|").document_end == "|"
    assert CorpusConfig(separator="|").document_end == "|"
