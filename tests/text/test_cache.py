"""The cache of encoded corpora: whose it is, what is believed, and who may use it at once."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charrnn.errors import CorpusError
from charrnn.text import cache as cache_module
from charrnn.text import private
from charrnn.text.cache import Cache
from charrnn.text.config import CorpusConfig
from charrnn.text.encoded import find_encoded
from charrnn.text.entries import open_entry
from charrnn.text.private import NotPrivateError
from charrnn.text.sealing import sealed, unsealed
from tests.text.reading import encode

posix = pytest.mark.skipif(sys.platform == "win32", reason="owners and modes of POSIX")
HELLO = "hello world " * 9


@pytest.fixture
def source(tmp_path: Path) -> tuple[str]:
    path = tmp_path / "t.txt"
    path.write_text(HELLO, encoding="utf-8")
    return (str(path),)


@pytest.fixture
def umask() -> Iterator[Any]:
    """Set the umask for a while."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def beginning(corpus: Any) -> str:
    return str(corpus.vocabulary.decode(corpus.train[:5].tolist()))


def modes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.lstat().st_mode & 0o777
        for path in (folder, *folder.rglob("*"))
    }


# Whose the cache is


@posix
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o177, 0o777])
def test_a_cache_is_private_whatever_the_umask(
    source: tuple[str], tmp_path: Path, umask: Any, mask: int
) -> None:
    """Its texts may be: a corpus that only its owner reads was readable by all in the cache."""
    umask(mask)
    config = CorpusConfig(lines=False, split_documents=False)
    encode(source, config, cache_dir=tmp_path / "above" / "cache")
    lines = CorpusConfig(separator=" ", val_fraction=0.5)
    encode(source, lines, cache_dir=tmp_path / "above" / "cache")
    found = modes(tmp_path / "above")
    assert len(found) == 4 + 2 * 4
    for name, mode in found.items():
        assert mode == (0o600 if name.endswith((".bin", ".json", "lock")) else 0o700), name


@posix
def test_work_in_progress_is_private(source: tuple[str], cache_dir: Path, umask: Any) -> None:
    umask(0)
    Path(source[0]).write_text("one\ntwo\nthree\n" * 9)
    seen: dict[str, int] = {}

    def look(what: str, _done: int, _total: int) -> None:
        if what == "encoding":
            seen.update(modes(cache_dir / "encoded"))

    config = CorpusConfig(lines=True, split_documents=True)
    encode(source, config, cache_dir=cache_dir, on_progress=look)
    assert any(name.endswith("entry/ids.bin") for name in seen)
    assert set(seen.values()) == {0o600, 0o700}
    assert set(modes(cache_dir).values()) == {0o600, 0o700}


@posix
def test_an_existing_cache_is_tightened(source: tuple[str], cache_dir: Path) -> None:
    """As an earlier version made it; what it has is still used."""
    encode(source, cache_dir=cache_dir)
    other = cache_dir / "encoded" / ("0" * 40)
    (entry,) = Cache(cache_dir).entries()
    shutil.copytree(entry.path, other)
    for path in cache_dir.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    cache_dir.chmod(0o755)
    before = (entry.path / "ids.bin").stat().st_ino
    assert encode(source, cache_dir=cache_dir).notices == ()
    assert (entry.path / "ids.bin").stat().st_ino == before
    found = modes(cache_dir)
    assert found.pop(".") == 0o755, "a folder that the user chose is the user's affair"
    assert found.pop("lock") in (0o600, 0o644), "and empty; it depends on the version of filelock"
    assert set(found.values()) == {0o600, 0o700}


@posix
def test_the_default_cache_folder_is_tightened(
    source: tuple[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    folder = Cache().folder
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    encode(source)
    assert folder.stat().st_mode & 0o777 == 0o700


# What is believed


@posix
@pytest.mark.parametrize("name", ["meta.json", "ids.bin", "ends.bin", "."])
@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_an_entry_that_others_can_write_is_not_used(
    source: tuple[str], cache_dir: Path, name: str, mode: int
) -> None:
    """Even if it verifies: whoever can write it can seal it."""
    encode(source, cache_dir=cache_dir)
    (entry,) = Cache(cache_dir).entries()
    path = entry.path / name
    forge(entry.path)
    path.chmod(path.stat().st_mode | mode)
    corpus = encode(source, cache_dir=cache_dir)
    assert beginning(corpus) == "hello"
    (notice,) = corpus.notices
    assert notice == f"other users can write to {path}, so the corpus was encoded anew"
    assert encode(source, cache_dir=cache_dir).notices == (), "the new one is used"
    assert set(modes(cache_dir / "encoded").values()) == {0o600, 0o700}


def forge(folder: Path) -> None:
    """Make an entry say jello for hello, with a seal that is right."""
    content = unsealed((folder / "meta.json").read_bytes())
    symbols = content["corpus"]["symbols"]
    symbols[symbols.index(ord("h"))] = ord("j")
    (folder / "meta.json").write_bytes(sealed(content))


@posix
def test_the_entry_of_another_user_is_not_used(
    source: tuple[str], cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = encode(source, cache_dir=cache_dir)
    (entry,) = Cache(cache_dir).entries()
    forge(entry.path)
    kept = [os.open(path, os.O_RDONLY) for path in (entry.path, *entry.path.iterdir())]
    theirs = {os.fstat(descriptor).st_ino for descriptor in kept}  # which nobody else gets now
    check = private._check_owner

    def check_owner(path: Path, status: os.stat_result) -> None:
        if status.st_ino in theirs:
            raise NotPrivateError(f"{path} belongs to another user")
        check(path, status)

    monkeypatch.setattr(private, "_check_owner", check_owner)
    assert find_encoded(corpus.sha256, CorpusConfig(), corpus.vocabulary, cache_dir) is None
    corpus = encode(source, cache_dir=cache_dir)
    assert beginning(corpus) == "hello"
    assert corpus.notices == (
        f"{entry.path} belongs to another user, so the corpus was encoded anew",
    )
    for descriptor in kept:
        os.close(descriptor)


@posix
def test_ownership_is_compared_with_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ids.bin"
    private.create_private_file(file).close()
    private.check_own(file, file.stat())
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    with pytest.raises(NotPrivateError, match=r"ids\.bin belongs to another user"):
        private.check_own(file, file.stat())
    with pytest.raises(NotPrivateError, match="belongs to another user"):
        private.take_folder(tmp_path)


@posix
@pytest.mark.parametrize("given", [True, False])
def test_the_cache_of_another_user_is_not_used(
    source: tuple[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    """A temporary cache is used instead, which is removed with the corpus."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    cache = Cache(tmp_path / "cache" if given else None)
    cache.encoded.mkdir(parents=True)
    take = private.take_folder

    def take_folder(path: Path) -> bool:
        if path == cache.encoded:
            raise NotPrivateError(f"{path} belongs to another user")
        return take(path)

    monkeypatch.setattr(cache_module, "take_folder", take_folder)
    corpus = encode(source, cache_dir=cache.folder if given else None)
    assert beginning(corpus) == "hello"
    (notice,) = corpus.notices
    reason = f"the cache folder cannot be used, since {cache.encoded} belongs to another user; "
    assert notice.startswith(f"{reason}using ")
    used = Path(notice.split("; using ")[1].removesuffix(" for this run"))
    assert used.is_dir()
    assert list(cache.encoded.iterdir()) == []
    del corpus
    assert not used.exists()


@posix
def test_links_in_place_of_an_entry_are_not_followed(
    source: tuple[str], cache_dir: Path, tmp_path: Path
) -> None:
    encode(source, cache_dir=cache_dir)
    (entry,) = Cache(cache_dir).entries()
    away = tmp_path / "away"
    entry.path.rename(away)
    forge(away)
    entry.path.symlink_to(away)
    assert beginning(encode(source, cache_dir=cache_dir)) == "hello"
    assert away.is_dir()
    assert not entry.path.is_symlink()
    (entry.path / "ids.bin").rename(tmp_path / "ids.bin")
    (entry.path / "ids.bin").symlink_to(tmp_path / "ids.bin")
    assert beginning(encode(source, cache_dir=cache_dir)) == "hello"
    assert (tmp_path / "ids.bin").is_file()
    leftover = cache_dir / "encoded" / "tmp-link"
    leftover.symlink_to(away)
    before = sorted(away.iterdir())
    encode(source, cache_dir=cache_dir)
    assert not leftover.is_symlink()
    assert sorted(away.iterdir()) == before


def test_an_entry_is_bound_to_its_key(source: tuple[str], cache_dir: Path, tmp_path: Path) -> None:
    """An entry of the user's own that was put in the place of another one."""
    encode(source, cache_dir=cache_dir)
    (entry,) = Cache(cache_dir).entries()
    (tmp_path / "other.txt").write_text("jello world " * 9)
    encode((str(tmp_path / "other.txt"),), cache_dir=cache_dir)
    (other,) = [e for e in Cache(cache_dir).entries() if e.path != entry.path]
    shutil.rmtree(entry.path)
    other.path.rename(entry.path)
    with pytest.raises(ValueError, match="of another corpus"):
        open_entry(entry.path)
    assert beginning(encode(source, cache_dir=cache_dir)) == "hello"


def test_a_flipped_bit_in_the_metadata_is_found(source: tuple[str], cache_dir: Path) -> None:
    """Once, 1,709 of 6,392 bits of such a file could change the text without a word."""
    encode(source, cache_dir=cache_dir)
    (entry,) = Cache(cache_dir).entries()
    meta = entry.path / "meta.json"
    data = meta.read_bytes()
    for bit in range(0, 8 * len(data), 7):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        meta.write_bytes(flipped)
        with pytest.raises((ValueError, OSError)):
            open_entry(entry.path)
    assert beginning(encode(source, cache_dir=cache_dir)) == "hello"
    assert meta.read_bytes() == data


def test_metadata_that_are_too_large_are_not_read(source: tuple[str], cache_dir: Path) -> None:
    encode(source, cache_dir=cache_dir)
    (entry,) = Cache(cache_dir).entries()
    with (entry.path / "meta.json").open("r+b") as file:
        file.truncate(20 * 2**30)  # sparse
    with pytest.raises(ValueError, match="too large"):
        open_entry(entry.path)
    assert beginning(encode(source, cache_dir=cache_dir)) == "hello"


# Several processes at once


@posix  # Windows removes no open files
def test_a_corpus_stays_readable_when_the_cache_is_cleared(
    source: tuple[str], cache_dir: Path
) -> None:
    corpus = encode(source, cache_dir=cache_dir)
    assert Cache(cache_dir).clear() > 0
    assert list((cache_dir / "encoded").iterdir()) == []
    assert beginning(corpus) == "hello"


@posix  # Windows removes no open files
def test_clearing_does_not_disturb_other_commands(source: tuple[str], cache_dir: Path) -> None:
    """Once, one command of sixty ended with No such file or directory."""
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.text.reading import encode\n"
        "for _ in range(25):\n"
        "    corpus = encode((sys.argv[1],), cache_dir=Path(sys.argv[2]))\n"
        "    assert corpus.vocabulary.decode(corpus.train[:5].tolist()) == 'hello'"
    )
    command = [sys.executable, "-c", code, source[0], str(cache_dir)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    cleared = 0
    while any(process.poll() is None for process in running):
        cleared += Cache(cache_dir).clear()
        Cache(cache_dir).entries()
    assert [process.communicate()[1] for process in running] == [b"", b""]
    assert [process.returncode for process in running] == [0, 0]
    assert cleared > 0


@posix  # Windows removes no open files
def test_two_may_clear_at_once(source: tuple[str], cache_dir: Path) -> None:
    errors: list[Exception] = []

    def clear() -> None:
        try:
            for _ in range(20):
                Cache(cache_dir).clear()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test fails
            errors.append(error)

    threads = [threading.Thread(target=clear) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        encode(source, cache_dir=cache_dir)
    for thread in threads:
        thread.join()
    assert errors == []


@posix
def test_a_cache_that_cannot_be_cleared_says_so(source: tuple[str], cache_dir: Path) -> None:
    encode(source, cache_dir=cache_dir)
    encoded = cache_dir / "encoded"
    encoded.chmod(0o500)
    if os.access(encoded, os.W_OK):
        pytest.skip("this user may write everywhere")
    try:
        with pytest.raises(CorpusError, match=r"encoded: cannot be cleared \(Permission denied\)"):
            Cache(cache_dir).clear()
        encoded.chmod(0)
        with pytest.raises(CorpusError, match=r"encoded: cannot be read \(Permission denied\)"):
            Cache(cache_dir).entries()
    finally:
        encoded.chmod(0o700)


@posix
@pytest.mark.parametrize("given", [True, False])
def test_a_lock_that_is_a_link_empties_no_file(
    source: tuple[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    cache = Cache(tmp_path / "cache" if given else None)
    cache.folder.mkdir(parents=True)
    (tmp_path / "letter.txt").write_text("dear reader")
    (cache.folder / "lock").symlink_to(tmp_path / "letter.txt")
    if given:
        with pytest.raises(CorpusError, match=r"cannot be written \(.*/lock is a link"):
            encode(source, cache_dir=cache.folder)
    else:
        (notice,) = encode(source).notices
        assert "cannot be used, since" in notice
        assert "/lock is a link, and cannot be a lock; remove it; using /" in notice
    assert (tmp_path / "letter.txt").read_text() == "dear reader"
