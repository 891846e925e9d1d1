"""Entries of the cache: found by the content of a corpus, or built."""

import gzip
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from charrnn.errors import CorpusError
from charrnn.text import entries
from charrnn.text.cache import Cache
from charrnn.text.config import CorpusConfig
from charrnn.text.encoded import find_encoded
from charrnn.text.store import StoredCorpus
from tests.text.reading import both, encode, write


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
        {"lines": True}, {"paragraphs": True}, {"column": "a"}, {"field": "a"},
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


def test_a_cached_file_cut_short_is_named(tmp_path: Path, cache_dir: Path) -> None:
    """By its name in the cache, whether the corpus was found there or put there."""
    for _ in range(2):
        corpus = encode(write(tmp_path / "t.txt", "hello world " * 9), cache_dir=cache_dir)
        (entry,) = Cache(cache_dir).entries()
        ids = entry.path / "ids.bin"
        data = ids.read_bytes()
        os.truncate(ids, 10)
        with pytest.raises(CorpusError, match=f"^{ids}: the encoded corpus was cut short"):
            corpus.train[:]
        ids.write_bytes(data)


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
