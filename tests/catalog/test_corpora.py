"""Corpora found by name: built-in ones, and public ones that were downloaded."""

from pathlib import Path

import pytest

from charrnn.catalog import names
from charrnn.catalog.corpora import Catalog, read_text
from charrnn.errors import CorpusError
from charrnn.text.config import CorpusConfig
from charrnn.text.encoded import encode_corpus


def test_read_text_keeps_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(b"a\r\nb")
    assert read_text(path) == "a\r\nb"


def test_read_text_finds_corpora_by_name(tmp_path: Path) -> None:
    (tmp_path / "alice.txt").write_text("Alice was beginning to get very tired.")
    assert read_text("alice", corpora_dir=tmp_path).startswith("Alice was")
    assert "GREEK SMALL LETTER ALPHA\n" in read_text("unicode-names")


def test_misspelt_names_are_corrected() -> None:
    with pytest.raises(CorpusError, match=r"'tiny-shakespere'; did you mean tiny-shakespeare\?"):
        read_text("tiny-shakespere")
    with pytest.raises(CorpusError, match=r"'pyton'; did you mean python\?"):
        read_text("pyton")


def test_the_default_corpus_is_built_in() -> None:
    assert Catalog().default in names.CORPORA


def test_python_source_is_reproducible_and_capped() -> None:
    text = "".join(names.python_source())
    assert text == "".join(names.python_source())
    assert 1_000_000 < len(text.encode()) <= names.PYTHON_CAP_BYTES
    assert "import pytest" not in text
    assert "class " in text


def test_unicode_names_are_shuffled_one_per_line() -> None:
    lines = "".join(names.unicode_names()).splitlines()
    assert "GREEK SMALL LETTER ALPHA" in lines
    assert len(lines) == len(set(lines)) > 20_000
    assert lines != sorted(lines), "the validation part must be of the same kind as the rest"


def test_a_fetched_corpus_with_another_hash_is_reported(tmp_path: Path) -> None:
    """Also if it comes from the cache."""
    known = names.PUBLIC_CORPORA["tiny-shakespeare"]
    assert known.sha256 is not None
    (tmp_path / known.file).write_text("to be or not to be " * 9)
    for _ in range(2):
        corpus = encode_corpus(
            (known.name,), CorpusConfig(), Catalog(tmp_path), cache_dir=tmp_path / "cache"
        )
        assert "is not the version of tiny-shakespeare that charrnn knows" in corpus.notices[0]
