"""Named corpora: the built-in ones, and those that were fetched."""

from pathlib import Path

from charrnn.catalog import names
from charrnn.catalog.corpora import Catalog, read_text
from charrnn.text.config import CorpusConfig
from charrnn.text.encoded import encode_corpus


def test_reading_a_text_leaves_its_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(b"a\r\nb")
    assert read_text(path) == "a\r\nb"


def test_python_source_is_the_same_each_time_and_within_its_cap() -> None:
    text = "".join(names.python_source())
    assert text == "".join(names.python_source())
    assert 1_000_000 < len(text.encode()) <= names.PYTHON_CAP_BYTES
    assert "import pytest" not in text
    assert "class " in text


def test_unicode_names_are_one_a_line() -> None:
    lines = "".join(names.unicode_names()).splitlines()
    assert "GREEK SMALL LETTER ALPHA" in lines
    assert len(lines) == len(set(lines)) > 20_000
    assert lines != sorted(lines), "the validation split must be of the same kind as the rest"


def test_a_fetched_corpus_with_another_hash_is_reported(tmp_path: Path) -> None:
    known = names.PUBLIC_CORPORA["tiny-shakespeare"]
    assert known.sha256 is not None
    (tmp_path / known.file).write_text("to be or not to be " * 9)
    for _ in range(2):
        corpus = encode_corpus(
            (known.name,), CorpusConfig(), Catalog(tmp_path), cache_dir=tmp_path / "cache"
        )
        assert "is not the tiny-shakespeare that charrnn knows" in corpus.notices[0]
