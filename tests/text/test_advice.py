"""What a text's shape suggests, and what its split misleads about."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from charrnn.text.advice import advice
from charrnn.text.config import CorpusConfig
from tests.conftest import ROOT, TEXT
from tests.text.reading import encode, write
from tests.text.texts import names, poems

ENGLISH, CHINESE = (
    (ROOT / "corpora" / f"{name}.txt").read_text(encoding="utf-8")
    for name in ("ferry-book", "shan-zhen-shou-ji")
)


def said(tmp_path: Path, text: str, **settings: Any) -> list[str]:
    return of((write(tmp_path / "t.txt", text)), tmp_path, **settings)


def of(sources: tuple[str, ...], tmp_path: Path, **settings: Any) -> list[str]:
    config = CorpusConfig(**settings)
    return advice(encode(sources, config, cache_dir=tmp_path / "cache"), config)


def test_a_list_is_told_of_lines(tmp_path: Path) -> None:
    """Unless the settings already say what a document is."""
    text = "\n".join(names()) + "\n"
    (message,) = said(tmp_path, text)
    mean = round(len(text) / 300)
    assert message == (
        f"300 lines of {mean} characters on average: `lines` treats each as a text of its own"
    )
    assert said(tmp_path, text, unit="byte") == [message]
    assert said(tmp_path, text, val_fraction=0.0) == [message]
    assert said(tmp_path, text, lines=True) == []
    assert said(tmp_path, text, separator="|") == []


def test_poems_are_told_of_paragraphs(tmp_path: Path) -> None:
    text = "\n\n".join("\n".join(lines) for lines in poems())
    (message,) = said(tmp_path, text)
    assert re.fullmatch(
        r"150 paragraphs of 1\d\d characters on average, each under a title of its own: "
        "`paragraphs` treats each as a text of its own",
        message,
    )
    assert said(tmp_path, text, paragraphs=True) == []


def test_files_that_hold_one_line_each_are_documents(tmp_path: Path) -> None:
    """So --lines and --paragraphs would change nothing; the order of the files still counts."""
    lines, paragraphs = tmp_path / "lines", tmp_path / "paragraphs"
    lines.mkdir()
    paragraphs.mkdir()
    for i, (name, poem) in enumerate(zip(sorted(names()), poems(300), strict=True)):
        write(lines / f"{i:03}.txt", f"{name}\n")
        write(paragraphs / f"{i:03}.txt", "\n".join([*poem, "", ""]))
    (message,) = of((str(lines),), tmp_path)
    assert message.startswith("the documents are sorted alphabetically: hold out random ones with ")
    assert "`lines`" not in message
    assert of((str(paragraphs),), tmp_path) == []


def test_a_text_without_paragraphs_is_told(tmp_path: Path) -> None:
    """Somebody who asks for paragraphs expects more than one document."""
    (message,) = said(tmp_path, "\n".join(names()), paragraphs=True)
    assert message == "no blank line in the text, so with `paragraphs` all of it is one document"
    assert said(tmp_path, "\n\n".join(names()), paragraphs=True) == []
    assert said(tmp_path, "\n\n", paragraphs=True) == []


def test_tables_are_told_of_their_column(tmp_path: Path) -> None:
    """By a name that can be copied; the setting then reads it."""
    lines = TEXT.splitlines()
    table = "id,the text\n" + "".join(f'{i},"{line}"\n' for i, line in enumerate(lines))
    (message,) = said(tmp_path, table)
    assert message.startswith("rows of a table: `column='the text'` reads the texts in one column")
    (column,) = shlex.split(re.findall("`column=(.*)`", message)[0])
    assert not any("column" in message for message in said(tmp_path, table, column=column))
    rows = "".join(json.dumps({"n": i, "poem": line}) + "\n" for i, line in enumerate(lines))
    (message,) = said(tmp_path, rows)
    assert message.startswith("JSON objects, one on each line: `field=poem` reads the texts")


def test_sorted_lines_are_told_of_the_split(tmp_path: Path) -> None:
    """As long as their end is held out."""
    text = "\n".join(sorted(names()))
    plain, lines = said(tmp_path, text)[1], said(tmp_path, text, lines=True)[0]
    rest = "`split_documents`; otherwise the validation part, the last 10%, is unlike the rest"
    assert (
        plain
        == f"the lines are sorted alphabetically: hold out random ones with `lines` and {rest}"
    )
    assert lines == f"the documents are sorted alphabetically: hold out random ones with {rest}"
    by_length = said(tmp_path, "\n".join(sorted(names(), key=len)), lines=True, val_fraction=0.125)
    assert by_length[0].startswith("the documents are sorted by length")
    assert "the last 12.5%, " in by_length[0]
    other = write(tmp_path / "other.txt", "Renlo\n")[0]
    for settings in ({"split_documents": True}, {"val_fraction": 0.0}, {"val_text": other}):
        assert said(tmp_path, text, lines=True, **settings) == []


def test_an_end_of_another_kind_is_told(tmp_path: Path) -> None:
    """And where it is from; not if something else is held out."""
    (message,) = said(tmp_path, ENGLISH * 3 + CHINESE)
    assert message.startswith("the validation part, the last 10% of the text, is unlike the rest: ")
    assert message.endswith(
        " times as much as those of a random part; choose another with `val_text`"
    )
    folder = tmp_path / "folder"
    folder.mkdir()
    for i in range(12):
        part = slice(i * 3_000, (i + 1) * 3_000)
        write(folder / f"{i:02}.txt", CHINESE[:2_000] if i > 9 else ENGLISH[part])
    (message,) = of((str(folder),), tmp_path)
    assert " (from the last 2 of 12 documents), is unlike" in message
    assert message.endswith("choose another with `split_documents`, or `val_text`")
    assert of((str(folder),), tmp_path, split_documents=True) == []
    other = write(tmp_path / "val.txt", CHINESE)[0]
    assert said(tmp_path, ENGLISH * 3, val_text=other) == []


@pytest.mark.parametrize(
    "settings", [{}, {"lines": True}, {"lines": True, "split_documents": True}]
)
def test_duplicates_in_both_parts_are_told(tmp_path: Path, settings: dict[str, Any]) -> None:
    message = said(tmp_path, "\n".join(names() * 3), **settings)[-1]
    what = "documents" if settings else "lines"
    assert re.fullmatch(
        rf"(9\d|100)% of the {what} in the validation part are also in the training part, so the "
        "validation loss flatters: remove duplicates first",
        message,
    )


def test_a_sample_of_duplicates_is_a_lower_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be more in the rest of the text, unless all are duplicates already."""
    monkeypatch.setattr("charrnn.text.shape.SAMPLED", 1 << 13)
    monkeypatch.setattr("charrnn.text.shape.PIECE", 1 << 9)
    assert said(tmp_path, "\n".join(names() * 20))[-1].startswith("100% of the lines ")
    some = [line for name in names(1_500) for line in ("Renlo", "Tuva", name)]
    assert said(tmp_path, "\n".join(some))[-1].startswith("at least 6")


def test_duplicate_paragraphs_of_prose_are_told(tmp_path: Path) -> None:
    """Such as those of a text that was saved twice; a few that recur are not."""
    (message,) = said(tmp_path, ENGLISH + "\n\n" + ENGLISH)
    assert "% of the paragraphs in the validation part are also" in message
    assert said(tmp_path, ENGLISH + "\n\n" + ENGLISH[:1_000]) == []
