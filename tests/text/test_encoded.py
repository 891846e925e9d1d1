"""The encoded corpus, its cache and its split."""

import gzip
import os
import re
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import CorpusError, UndecodableError
from charrnn.text import entries
from charrnn.text.cache import Cache
from charrnn.text.config import CorpusConfig
from charrnn.text.encoded import EncodedCorpus, check_length, find_encoded, split
from charrnn.text.store import StoredCorpus, Symbols
from charrnn.text.vocabulary import BYTES, Vocabulary
from tests.text.reading import encode


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def write(path: Path, text: str) -> tuple[str]:
    path.write_text(text, encoding="utf-8", newline="")
    return (str(path),)


def text_of(part: Symbols, vocabulary: Vocabulary) -> str:
    return vocabulary.decode(part[:].tolist())


def both(corpus: EncodedCorpus) -> tuple[str, str]:
    return text_of(corpus.train, corpus.vocabulary), text_of(corpus.val, corpus.vocabulary)


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


def test_a_second_run_uses_the_cache(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "t.txt", "hello world " * 9)
    reported: list[tuple[str, int, int]] = []
    first = encode(source, cache_dir=cache_dir, on_progress=lambda *p: reported.append(p))
    assert reported[0] == ("checking", 108, 108)
    assert reported[-1] == ("encoding", 108, 108)
    monkeypatch.setattr(entries, "_build", None)
    (tmp_path / "t.txt").rename(tmp_path / "moved.txt")
    again = encode((str(tmp_path / "moved.txt"),), cache_dir=cache_dir)
    assert both(again) == both(first)
    assert again.name == "moved"


def test_cached_notices_use_the_current_file_names(tmp_path: Path, cache_dir: Path) -> None:
    path, moved = tmp_path / "a.txt", tmp_path / "b.txt"
    path.write_bytes("hello world ".encode("utf-16") * 9)
    first = encode((str(path),), cache_dir=cache_dir)
    path.rename(moved)
    again = encode((str(moved),), cache_dir=cache_dir)
    assert len(Cache(cache_dir).entries()) == 1
    assert first.notices == (f"{path}: read as UTF-16-LE because of its byte order mark",)
    assert again.notices == (f"{moved}: read as UTF-16-LE because of its byte order mark",)


def test_very_many_notices_are_counted(tmp_path: Path, cache_dir: Path) -> None:
    """For each file one; each was once looked for in the names of all files."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for i in range(30):
        (folder / f"{i:02}.txt").write_bytes("hello world ".encode("utf-16"))
    for _ in range(2):
        found = encode((str(folder),), cache_dir=cache_dir).notices
        assert len(found) == entries.MOST_NOTICES + 1
        assert found[0].startswith(f"{folder / '00.txt'}: read as UTF-16-LE")
        assert found[-1] == "and 10 more notices about the files of the corpus"
        folder = folder.rename(tmp_path / "moved")


@pytest.mark.parametrize(
    "changed",
    [
        {"unit": "byte"}, {"encoding": "cp1252"}, {"errors": "replace"}, {"normalize": "nfc"},
        {"lowercase": True}, {"keep_newlines": True}, {"glob": "*"}, {"separator": "x"},
        {"lines": True}, {"column": "a"}, {"field": "a"},
        {"lines": True, "split_documents": True},
    ],
)  # fmt: skip
def test_settings_that_change_the_ids_change_the_key(changed: dict[str, Any]) -> None:
    base, other = CorpusConfig(), CorpusConfig(**changed)
    keys = [entries.entry_key(((), ()), config, lambda *_: None) for config in (base, other)]
    assert keys[0] != keys[1]


def test_a_changed_text_is_encoded_again(tmp_path: Path, cache_dir: Path) -> None:
    """Even if its size and times are those of the old one."""
    path = tmp_path / "t.txt"
    first = encode(write(path, "hello world " * 9), cache_dir=cache_dir)
    stamp = path.stat()
    write(path, "jello world " * 9)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    second = encode((str(path),), cache_dir=cache_dir)
    assert both(second)[0].startswith("jello")
    assert both(first)[0].startswith("hello"), "the old one is still mapped"


def test_a_text_that_changes_while_it_is_read_is_refused(tmp_path: Path, cache_dir: Path) -> None:
    path = tmp_path / "t.txt"
    source = write(path, "hello world " * 9)

    def append(what: str, _done: int, _total: int) -> None:
        if what == "encoding":
            write(path, "other " * 30)

    with pytest.raises(CorpusError, match="changed while it was being read"):
        encode(source, cache_dir=cache_dir, on_progress=append)
    assert Cache(cache_dir).entries() == []


@pytest.mark.parametrize("suffix", [".txt", ".gz", ".zip"])
def test_a_text_swapped_with_its_time_set_back_is_noticed(
    tmp_path: Path, cache_dir: Path, suffix: str
) -> None:
    """Once, the other text was cached under the key of the first, for every later run."""
    path = tmp_path / f"t{suffix}"

    def write_text(text: str) -> None:
        match suffix:
            case ".gz":
                path.write_bytes(gzip.compress(text.encode(), mtime=0))
            case ".zip":
                with zipfile.ZipFile(path, "w") as file:
                    file.writestr(zipfile.ZipInfo("t.txt"), text)
            case _:
                path.write_text(text)

    def swap(what: str, done: int, total: int) -> None:
        if what == "checking" and done == total:
            stamp = path.stat()
            write_text("jello world " * 9)
            assert path.stat().st_size == stamp.st_size
            os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))

    write_text("hello world " * 9)
    with pytest.raises(CorpusError, match=rf"t\{suffix}: changed while it was being read"):
        encode((str(path),), cache_dir=cache_dir, on_progress=swap)
    assert Cache(cache_dir).entries() == []


def test_a_text_that_is_gone_while_it_is_read_is_named(tmp_path: Path, cache_dir: Path) -> None:
    path = tmp_path / "t.txt"
    source = write(path, "hello world " * 9)
    for when in ("checking", "encoding"):
        write(path, "hello world " * 9)

        def remove(what: str, _done: int, _total: int, when: str = when) -> None:
            if what == when:
                path.unlink()

        with pytest.raises(CorpusError, match=r"t\.txt: cannot be read \(No such file"):
            encode(source, cache_dir=cache_dir, on_progress=remove)


def test_a_file_beyond_the_limit_is_not_even_hashed(tmp_path: Path, cache_dir: Path) -> None:
    """A sparse file of a terabyte takes a moment to make, and ten minutes to hash."""
    path = tmp_path / "t.txt"
    with path.open("wb") as file:
        file.truncate(2**40)
    called: list[Any] = []
    with pytest.raises(CorpusError, match="larger than 17,179,869,184 bytes"):
        encode((str(path),), cache_dir=cache_dir, on_progress=lambda *p: called.append(p))
    assert called == []


def test_a_damaged_entry_is_built_again(tmp_path: Path, cache_dir: Path) -> None:
    source = write(tmp_path / "t.txt", "hello world " * 9)
    first = both(encode(source, cache_dir=cache_dir))
    for name, data in {"ids.bin": b"", "ends.bin": b"12", "meta.json": b"{"}.items():
        (entry,) = Cache(cache_dir).entries()
        (entry.path / name).write_bytes(data)
        assert both(encode(source, cache_dir=cache_dir)) == first
    (entry.path / "meta.json").unlink()  # as if `charrnn corpora cache --clear` had been killed
    assert both(encode(source, cache_dir=cache_dir)) == first
    small = CorpusConfig(max_corpus_bytes=100)
    with pytest.raises(CorpusError, match="larger than 100 bytes"):  # also for entries
        encode(source, small, cache_dir=cache_dir)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_encoding_leaves_nothing(
    tmp_path: Path, cache_dir: Path, error: Any
) -> None:
    source = write(tmp_path / "t.txt", "hello world " * 9)

    def stop(what: str, _done: int, _total: int) -> None:
        if what == "encoding":
            raise error

    with pytest.raises((KeyboardInterrupt, CorpusError)) as raised:
        encode(source, cache_dir=cache_dir, on_progress=stop)
    if isinstance(error, OSError):
        assert "No space left on device); free space, or choose another folder" in str(raised.value)
    assert list((cache_dir / "encoded").iterdir()) == []


def test_leftovers_of_killed_encodings_are_removed(tmp_path: Path, cache_dir: Path) -> None:
    """But not the work in progress of another process."""
    cache = Cache(cache_dir)
    with cache.workspace() as in_progress:
        dead = cache.encoded / "tmp-dead"
        dead.mkdir()
        (dead / "lock").touch()
        (dead / "ids.bin").write_bytes(b"123")
        encode(write(tmp_path / "t.txt", "hello " * 9), cache_dir=cache_dir)
        assert in_progress.is_dir()
        assert not dead.exists()


def test_processes_can_encode_the_same_corpus_at_once(tmp_path: Path, cache_dir: Path) -> None:
    source = write(tmp_path / "t.txt", "hello world, hello again\n" * 20_000)
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.text.reading import encode\n"
        "corpus = encode((sys.argv[1],), cache_dir=Path(sys.argv[2]))\n"
        "print(len(corpus.train), corpus.train[:].sum())"
    )
    command = [sys.executable, "-c", code, source[0], str(cache_dir)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    outputs = {process.communicate()[0] for process in running}
    assert all(process.returncode == 0 for process in running)
    assert len(outputs) == 1
    assert len(Cache(cache_dir).entries()) == 1
    assert len(list((cache_dir / "encoded").iterdir())) == 1


def test_an_unwritable_cache_is_replaced_by_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    source = write(tmp_path / "t.txt", "hello world " * 9)
    corpus = encode(source)
    assert both(corpus)[0].startswith("hello")
    found = re.fullmatch(
        r"the cache folder is not writable; using (.+) for this run", corpus.notices[0]
    )
    assert found is not None
    assert Path(found[1]).is_dir()
    del corpus
    assert not Path(found[1]).exists(), "the temporary folder is removed with the corpus"
    with pytest.raises(CorpusError, match=r"`cache_dir=.*file/x`: cannot be written \("):
        encode(source, cache_dir=tmp_path / "file" / "x")


def test_a_corpus_is_found_by_its_hash(tmp_path: Path, cache_dir: Path) -> None:
    source = write(tmp_path / "t.txt", "hello world " * 9)
    config = CorpusConfig()
    corpus = encode(source, config, cache_dir=cache_dir)
    found = find_encoded(corpus.sha256, config, corpus.vocabulary, cache_dir)
    assert found is not None
    assert both(found) == both(corpus)
    assert find_encoded("0" * 64, config, corpus.vocabulary, cache_dir) is None
    other = CorpusConfig(lowercase=True)
    assert find_encoded(corpus.sha256, other, corpus.vocabulary, cache_dir) is None


def test_the_cache_is_listed_and_cleared(tmp_path: Path, cache_dir: Path) -> None:
    for name in "ab":
        source = write(tmp_path / f"{name}.txt", name * 99)
        encode(source, cache_dir=cache_dir)
        time.sleep(0.01)
    encode((str(tmp_path / "a.txt"),), cache_dir=cache_dir)
    found = Cache(cache_dir).entries()
    assert [StoredCorpus.load(entry.path).name for entry in found] == ["a", "b"], (
        "the most recently used first"
    )
    foreign = cache_dir / "encoded" / "mine"
    foreign.mkdir()
    (foreign / "precious").touch()
    living = cache_dir / "encoded" / "tmp-living"
    living.mkdir()
    size = sum(entry.bytes for entry in found)
    with FileLock(living / "lock"):
        assert Cache(cache_dir).clear() == size
        assert Cache(cache_dir).entries() == []
        assert living.is_dir()
        assert (foreign / "precious").is_file()
    assert Cache(tmp_path / "nowhere").entries() == []
    assert Cache(tmp_path / "nowhere").clear() == 0
