"""The encoded corpus and its split."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import CorpusError
from charrnn.text.config import CorpusConfig
from charrnn.text.encoded import encode_corpus, split
from charrnn.text.vocabulary import BYTES, Vocabulary


def write(path: Path, text: str) -> tuple[str]:
    path.write_text(text, encoding="utf-8", newline="")
    return (str(path),)


def test_the_last_tenth_is_held_out(tmp_path: Path) -> None:
    text = "abcdefghij" * 10
    corpus = encode_corpus(write(tmp_path / "t.txt", text), CorpusConfig())
    assert corpus.vocabulary.decode(corpus.train.tolist()) == text[:90]
    assert corpus.vocabulary.decode(corpus.val.tolist()) == text[90:]
    assert corpus.train.dtype == np.uint8


@given(text=st.text(st.characters(codec="utf-8"), min_size=4), share=st.floats(0, 0.99))
def test_a_split_of_bytes_never_cuts_a_character(text: str, share: float) -> None:
    ids = BYTES.encode(text)
    train, val = split(ids, BYTES, share)
    assert bytes(train.tolist()).decode() + bytes(val.tolist()).decode() == text
    assert share > 0 or len(val) == 0


def test_a_text_of_its_own_can_validate(tmp_path: Path) -> None:
    other = write(tmp_path / "val.txt", "zebra")
    config = CorpusConfig(val_text=other[0])
    corpus = encode_corpus(write(tmp_path / "t.txt", "ab" * 20), config)
    assert corpus.vocabulary.decode(corpus.train.tolist()) == "ab" * 20
    assert corpus.vocabulary.decode(corpus.val.tolist()) == "zebra"


def test_rare_characters_become_the_unknown_symbol(tmp_path: Path) -> None:
    source = write(tmp_path / "t.txt", "ab" * 20 + "q" + "ab" * 20)
    corpus = encode_corpus(source, CorpusConfig(min_count=2))
    assert corpus.vocabulary.symbols == ("", "a", "b")
    assert np.count_nonzero(corpus.train == 0) == 1


def test_newlines_are_normalised_unless_kept(tmp_path: Path) -> None:
    source = write(tmp_path / "t.txt", "one\r\ntwo\rthree\n" * 5)
    assert "\r" not in encode_corpus(source, CorpusConfig()).vocabulary.symbols
    assert "\r" in encode_corpus(source, CorpusConfig(keep_newlines=True)).vocabulary.symbols


def test_the_hash_is_that_of_the_text(tmp_path: Path) -> None:
    first = encode_corpus(write(tmp_path / "a.txt", "hello world " * 3), CorpusConfig())
    same = encode_corpus(write(tmp_path / "b.txt", "hello world " * 3), CorpusConfig())
    other = encode_corpus(write(tmp_path / "b.txt", "hello_world " * 3), CorpusConfig())
    assert first.sha256 == same.sha256 != other.sha256


def test_a_base_vocabulary_keeps_its_ids(tmp_path: Path) -> None:
    base = Vocabulary("char", ("z", "b"))
    corpus = encode_corpus(write(tmp_path / "t.txt", "abc" * 20), CorpusConfig(), base)
    assert corpus.vocabulary.symbols == ("z", "b", "a", "c")


@pytest.mark.parametrize("text", ["", "a", "tiny", "a text of 19 chars."[:11]])
def test_a_text_too_short_to_learn_from_says_so(tmp_path: Path, text: str) -> None:
    with pytest.raises(CorpusError, match="at least 10 are needed"):
        encode_corpus(write(tmp_path / "t.txt", text), CorpusConfig())


def test_a_validation_text_too_short_says_so(tmp_path: Path) -> None:
    other = write(tmp_path / "val.txt", "z")
    with pytest.raises(CorpusError, match=r"validation text has 1 .* at least 2"):
        encode_corpus(write(tmp_path / "t.txt", "ab" * 20), CorpusConfig(val_text=other[0]))
    with pytest.raises(CorpusError, match=r"--val-text nowhere: there is no such file"):
        encode_corpus(write(tmp_path / "t.txt", "ab" * 20), CorpusConfig(val_text="nowhere"))
