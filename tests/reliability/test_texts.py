"""Corpora and their cache in long tests: every bit, damaged files, real bombs, many commands."""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from charrnn.errors import CorpusError
from charrnn.text.cache import Cache
from charrnn.text.config import CorpusConfig
from charrnn.text.entries import open_entry
from tests.conftest import ROOT
from tests.text.damaging import damaged, packed_texts
from tests.text.reading import encode, find, text_of

pytestmark = [
    pytest.mark.reliability,
    pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX"),
]
SECONDS = 60  # for each test that goes on as long as it may
MEGABYTES = 1200  # of a process that reads a bomb, Python and numpy included


def test_every_flipped_bit_of_an_entry_is_found(tmp_path: Path) -> None:
    """And every shorter file, and what else may happen to one."""
    (tmp_path / "t.txt").write_text("hello world, a tale of a river\n" * 20)
    config = CorpusConfig(lines=True)
    encode((str(tmp_path / "t.txt"),), config, cache_dir=tmp_path / "cache")
    (entry,) = Cache(tmp_path / "cache").entries()
    open_entry(entry.path)
    rng = random.Random(0)
    for path in sorted(entry.path.iterdir()):
        data = path.read_bytes()
        for changed in changes(data, rng):
            path.write_bytes(changed)
            with pytest.raises((ValueError, OSError)):
                open_entry(entry.path)
        path.write_bytes(data)
    open_entry(entry.path)


def changes(data: bytes, rng: random.Random) -> Iterator[bytes]:
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)
    for length in range(len(data)):
        yield data[:length]
    for _ in range(2000):
        if (other := damaged(data, rng)) != data:
            yield other


def test_damaged_archives_take_neither_time_nor_memory(tmp_path: Path) -> None:
    import resource  # not on Windows

    rng, packed = random.Random(0), packed_texts()
    limit = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, limit[1]))
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            name = rng.choice(list(packed))
            data = damaged(packed[name], rng)
            (tmp_path / name).write_bytes(data)
            began = time.process_time()
            with suppress(CorpusError):
                text_of(find(tmp_path / name, folder=tmp_path))
            assert time.process_time() - began < 5
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)


# Each is written by the process that reads it, piece by piece.
BOMBS = {
    "a name of 2 GiB": (
        "t.tar.gz", "{}",
        "[header(tarfile.GNUTYPE_LONGNAME, 2**31), *[PIECE] * 2048]",
    ),
    "a pax header of 2 GiB": (
        "t.tar.gz", "{}", "[header(tarfile.XHDTYPE, 2**31), *[PIECE] * 2048]",
    ),
    "a header of 2 GiB for all members": (
        "t.tar.gz", "{}", "[header(tarfile.XGLTYPE, 2**31), *[PIECE] * 2048]",
    ),
    "a million members": (
        "t.tar.gz", "{}", "[header(tarfile.REGTYPE, 0) * 2048] * 500",
    ),
    "a row of 2 GB": ("t.csv.gz", "{'column': 'text'}", "[b'text,b\\n', *[b',' * 2**20] * 2048]"),
    "a row over millions of lines": (
        "t.csv.gz", "{'column': 'text'}", "[b'text,b\\n', *[b'\"\\nx\",' * 2**18] * 800]",
    ),
    "a row just below the limit": (
        "t.csv.gz", "{'column': 'text'}", "[b'text,b\\n', *[b',' * 2**20] * 31, b'\\n'] * 9",
    ),
    "a JSON array of 2 GB": (
        "t.jsonl.gz", "{'field': 'text'}", "[b'{\"text\":[', *[b'[],' * 2**20] * 700]",
    ),
    "a JSON array just below the limit": (
        "t.jsonl.gz", "{'field': 'text'}",
        "[b'{\"text\":[', *[b'[],' * 2**20] * 10, b'[]],\"a\":1}']",
    ),
    "a gigabyte without a space": (
        "t.txt.gz", "{'lowercase': True}", "['а'.encode() * 2**20] * 512",
    ),
    "a million combining marks": (
        "t.txt.gz", "{'normalize': 'nfc'}", "[b'a', *['\\u0301\\u0316'.encode() * 2**19]]",
    ),
}  # fmt: skip
READ = """
import gzip, sys, tarfile
from pathlib import Path
from charrnn.errors import CorpusError
from charrnn.text.config import CorpusConfig
from tests.text.reading import encode

PIECE = b"a" * 2**20
def header(kind, size):
    member = tarfile.TarInfo("a.txt")
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)

path = Path(sys.argv[1])
with gzip.open(path, "wb", 1) as file:
    for piece in eval(sys.argv[3]):
        file.write(piece)
try:
    encode((str(path),), CorpusConfig(**eval(sys.argv[2])), cache_dir=path.parent / "cache")
except CorpusError as error:
    print(error)
"""


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_defused(tmp_path: Path, bomb: str) -> None:
    name, settings, pieces = BOMBS[bomb]
    process = subprocess.Popen(
        [sys.executable, "-c", READ, tmp_path / name, settings, pieces],
        stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    told = process.stdout.read().decode()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    megabytes = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    assert process.returncode == 0
    assert told.count("\n") <= 1
    assert megabytes < MEGABYTES, told
    assert usage.ru_utime + usage.ru_stime < 2 * SECONDS, told


def test_many_commands_and_a_clear_do_not_disturb_each_other(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from tests.text.reading import encode\n"
        "end = time.monotonic() + float(sys.argv[3])\n"
        "while time.monotonic() < end:\n"
        "    corpus = encode((sys.argv[1],), cache_dir=Path(sys.argv[2]))\n"
        "    assert len(corpus.train) == 4500 and corpus.notices == (), corpus.notices"
    )
    running: list[subprocess.Popen[bytes]] = []
    for name in "aabb":
        path = tmp_path / f"{name}.txt"
        path.write_text(f"{name} hello wo" * 500)
        cache = str(tmp_path / "cache")
        command = [sys.executable, "-c", code, str(path), cache, str(SECONDS)]
        running.append(subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT))
    while any(process.poll() is None for process in running):
        Cache(tmp_path / "cache").clear()
        Cache(tmp_path / "cache").entries()
    assert [process.communicate()[1] for process in running] == [b""] * 4
    assert [process.returncode for process in running] == [0] * 4


def test_a_text_swapped_all_the_time_is_never_taken_for_another(tmp_path: Path) -> None:
    """Its entry in the cache is of the text that was hashed, however its times are set."""
    texts = [letter * 3_000_000 for letter in ("a", "b")]
    path, done = tmp_path / "t.txt", threading.Event()
    path.write_text(texts[0])
    stamp = path.stat()

    def swap() -> None:
        rng, number = random.Random(0), 0
        with path.open("r+") as file:
            while not done.is_set():
                number = 1 - number
                file.seek(0)
                file.write(texts[number])
                file.flush()
                os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
                time.sleep(rng.random() / 50)

    thread = threading.Thread(target=swap)
    thread.start()
    refused = 0
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            with suppress(CorpusError):
                refused += 1
                encode((str(path),), cache_dir=tmp_path / "cache")
                refused -= 1
    finally:
        done.set()
        thread.join()
    assert refused > 0
    for text in texts:
        path.write_text(text)
        corpus = encode((str(path),), cache_dir=tmp_path / "cache")
        assert corpus.vocabulary.symbols == (text[0],)
