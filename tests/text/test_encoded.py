"""The encoded corpus and its split."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import CorpusError, UndecodableError
from charrnn.text.cache import Cache
from charrnn.text.config import CorpusConfig
from charrnn.text.encoded import check_length, encode_text, find_encoded, split
from charrnn.text.entries import stored_settings
from charrnn.text.vocabulary import BYTES, Vocabulary
from tests.text.reading import both, encode, write


@pytest.mark.parametrize("unit", ["char", "byte"])
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\ufeff"), min_size=1))
def test_any_text_survives_encoding_and_decoding(
    tmp_path_factory: pytest.TempPathFactory, unit: Any, text: str
) -> None:
    """Including emoji with joiners, combining marks, right-to-left text and NUL."""
    folder = tmp_path_factory.mktemp("any")
    config = CorpusConfig(unit=unit, keep_newlines=True)
    corpus = encode(write(folder / "t.txt", text), config, cache_dir=folder)
    assert "".join(both(corpus)) == text
    assert corpus.characters == len(text)
    again = encode(write(folder / "t.txt", text), config, cache_dir=folder)
    assert both(again) == both(corpus)
    assert again.sha256 == corpus.sha256


def test_the_last_tenth_is_held_out_by_default(tmp_path: Path, cache_dir: Path) -> None:
    text = "abcdefghij" * 10
    source = write(tmp_path / "t.txt", text)
    assert both(encode(source, cache_dir=cache_dir)) == (
        text[:90],
        text[90:],
    )


@given(text=st.text(st.characters(codec="utf-8"), min_size=4), share=st.floats(0, 0.99))
def test_splitting_bytes_never_cuts_a_character(text: str, share: float) -> None:
    ids = BYTES.encode(text)
    cut = split(ids, "byte", share)
    assert bytes(ids[:cut].tolist()).decode() + bytes(ids[cut:].tolist()).decode() == text
    assert share > 0 or cut == len(ids)


def test_validation_can_use_a_separate_text(tmp_path: Path, cache_dir: Path) -> None:
    other = write(tmp_path / "val.txt", "zebra")
    config = CorpusConfig(val_text=other[0])
    corpus = encode(write(tmp_path / "t.txt", "ab" * 20), config, cache_dir=cache_dir)
    assert both(corpus) == ("ab" * 20, "zebra")


def test_random_documents_can_be_held_out(tmp_path: Path, cache_dir: Path) -> None:
    names = [f"name {i}" for i in range(100)]
    config = CorpusConfig(lines=True, split_documents=True, val_fraction=0.2)
    source = write(tmp_path / "t.txt", "\n".join(names))
    train, val = both(encode(source, config, cache_dir=cache_dir))
    assert sorted(train.splitlines() + val.splitlines()) == sorted(names)
    assert 15 <= len(val.splitlines()) <= 20
    assert val.splitlines() != names[-len(val.splitlines()) :], "not the last ones"
    other = CorpusConfig(lines=True, split_documents=True, val_fraction=0.4)
    more = both(encode(source, other, cache_dir=cache_dir))[1]
    assert len(more) > len(val), "another fraction is another cache entry"


def test_documents_and_their_borders_are_kept(tmp_path: Path, cache_dir: Path) -> None:
    for name in "abc":
        write(tmp_path / f"{name}.txt", name * 9 + "\n")
    sources = tuple(str(tmp_path / f"{name}.txt") for name in "abc")
    corpus = encode(sources, CorpusConfig(val_fraction=0), cache_dir=cache_dir)
    assert corpus.documents == 3
    resets = corpus.train.resets([0], 30)
    assert resets is not None
    assert np.flatnonzero(resets).tolist() == [9, 19, 29]
    merged = encode(write(tmp_path / "abc.txt", "".join(both(corpus))))
    assert merged.sha256 != corpus.sha256, "the borders are part of the hash"


@pytest.mark.parametrize("unit", ["char", "byte"])
@given(lines=st.lists(st.sampled_from(["", " ", "a", "水b", "\u00e9"]), min_size=1))
def test_a_scored_text_has_the_documents_of_a_corpus(
    tmp_path_factory: pytest.TempPathFactory, unit: Any, lines: list[str]
) -> None:
    """If a document ends with several characters, and if these are several bytes."""
    folder = tmp_path_factory.mktemp("scored")
    source = write(folder / "t.txt", "x\n" + "\n".join(lines))
    for config in (
        CorpusConfig(unit=unit, val_fraction=0, paragraphs=True),
        CorpusConfig(unit=unit, val_fraction=0, separator="水\n"),
    ):
        corpus = encode(source, config, cache_dir=folder)
        text = both(corpus)[0]
        scored = encode_text(text, corpus.vocabulary, config.document_end)
        assert scored[:].tolist() == corpus.train[:].tolist()
        if "水\n" not in text.removesuffix("水\n"):
            found = scored.reset_positions().tolist()
            assert found == corpus.train.reset_positions().tolist()
            assert len(found) == corpus.documents


def test_an_entry_from_before_paragraphs_is_found(tmp_path: Path, cache_dir: Path) -> None:
    """Runs on piped text rely on it."""
    assert "paragraphs" not in stored_settings(CorpusConfig())
    config = CorpusConfig(paragraphs=True)
    corpus = encode(write(tmp_path / "t.txt", "one\n\ntwo\n" * 9), config, cache_dir=cache_dir)
    found = [
        find_encoded(corpus.sha256, asked, corpus.vocabulary, cache_dir)
        for asked in (config, CorpusConfig())
    ]
    assert found[0] is not None
    assert found[1] is None, "other settings make other documents of the same text"


def test_rare_characters_become_the_unknown_symbol(tmp_path: Path, cache_dir: Path) -> None:
    source = write(tmp_path / "t.txt", "ab" * 20 + "q" + "ab" * 20)
    corpus = encode(source, CorpusConfig(min_count=2), cache_dir=cache_dir)
    assert corpus.vocabulary.symbols == ("", "a", "b")
    assert np.count_nonzero(corpus.train[:] == 0) == 1
    whole = encode(source, cache_dir=cache_dir)
    assert whole.vocabulary.symbols == ("a", "b", "q")
    assert len(Cache(cache_dir).entries()) == 1, "one entry serves every vocabulary"
    assert corpus.notices == (
        "folded 1 character with fewer than 2 occurrences into one unknown symbol (1.235% of the "
        "text)",
    )
    assert whole.notices == ()


def test_too_many_distinct_characters_are_refused(tmp_path: Path, cache_dir: Path) -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 40))) * 2 + "\u4e00\n\u3000"
    source = write(tmp_path / "t.txt", text)
    with pytest.raises(CorpusError) as raised:
        encode(source, CorpusConfig(max_vocab=30), cache_dir=cache_dir)
    message = str(raised.value)
    assert "42 distinct characters are more than `max_vocab=30`" in message
    assert "the rarest: U+000A U+3000 丁 丂 七" in message
    assert all(way in message for way in ("`min_count=5`", "`encoding`", "`unit=byte`"))
    folded = CorpusConfig(max_vocab=41, min_count=2)
    assert len(encode(source, folded, cache_dir=cache_dir).vocabulary) == 41


def test_the_hash_depends_only_on_the_text(tmp_path: Path, cache_dir: Path) -> None:
    def sha256(name: str, text: str) -> str:
        source = write(tmp_path / name, text)
        return encode(source, cache_dir=cache_dir).sha256

    first = sha256("a.txt", "hello world " * 3)
    assert first == sha256("b.txt", "hello world " * 3)
    assert first != sha256("b.txt", "hello_world " * 3)


def test_a_base_vocabulary_keeps_its_ids(tmp_path: Path, cache_dir: Path) -> None:
    base = Vocabulary("char", ("z", "b"))
    source = write(tmp_path / "t.txt", "abc" * 20)
    corpus = encode(source, base=base, cache_dir=cache_dir)
    assert corpus.vocabulary.symbols == ("z", "b", "a", "c")
    assert corpus.train[:3].tolist() == [2, 1, 3]


@pytest.mark.parametrize("text", ["", "a", "tiny", "a text of 19 chars."[:11]])
def test_a_text_too_short_to_train_is_refused(tmp_path: Path, cache_dir: Path, text: str) -> None:
    corpus = encode(write(tmp_path / "t.txt", text), cache_dir=cache_dir)
    with pytest.raises(CorpusError, match="at least 10 are needed" if text else "contains no text"):
        check_length(corpus, CorpusConfig())


def test_a_bad_validation_text_is_refused(tmp_path: Path, cache_dir: Path) -> None:
    config = CorpusConfig(val_text=write(tmp_path / "val.txt", "z")[0])
    source = write(tmp_path / "t.txt", "ab" * 20)
    corpus = encode(source, config, cache_dir=cache_dir)
    with pytest.raises(CorpusError, match=r"only 1 character to validate on; at least 2"):
        check_length(corpus, config)
    (tmp_path / "old.txt").write_bytes("Il était une fois. ".encode("cp1252") * 3)
    with pytest.raises(UndecodableError, match="if the other files need that too") as raised:
        encode(source, replace(config, val_text=str(tmp_path / "old.txt")))
    assert raised.value.remedy == {}
    with pytest.raises(CorpusError, match=r"`val_text`: no file or corpus is called 'nowhere'"):
        encode(source, CorpusConfig(val_text="nowhere"), cache_dir=cache_dir)
