"""Integers on disk."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import CorpusError
from charrnn.text import integers
from charrnn.text.integers import IntegerFile, OwnFile, SortedFile, sorted_integers
from charrnn.text.private import NotPrivateError, create_private_file

LARGE = np.dtype(np.int64)


def stored(path: Path, values: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> OwnFile:
    path.unlink(missing_ok=True)
    with create_private_file(path) as file:
        file.write(values.tobytes())
    return OwnFile(path)


@given(
    values=st.lists(st.integers(0, 60), max_size=40).map(sorted),
    wanted=st.lists(st.integers(-2, 62), min_size=1, max_size=5),
    part=st.builds(slice, *[st.none() | st.integers(-50, 50)] * 2),
)
def test_a_sorted_file_is_searched_like_an_array(
    tmp_path_factory: pytest.TempPathFactory, values: list[int], wanted: list[int], part: slice
) -> None:
    array = np.array(values, LARGE)
    file = stored(tmp_path_factory.mktemp("sorted") / "ends.bin", array)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(integers, "_STEP", 4)
        patch.setattr(integers, "_RECENT", 3)
        patch.setattr(integers, "_BLOCK_BYTES", 64)
        found = SortedFile(file, LARGE)
        if values:
            assert found.searchsorted(wanted).tolist() == array.searchsorted(wanted).tolist()
            assert int(found.searchsorted(wanted[0])) == array.searchsorted(wanted[0])
        assert found[part].tolist() == array[part].tolist()
        patch.setattr(integers, "MOST_IN_MEMORY", len(values))
        assert isinstance(sorted_integers(file, LARGE), np.ndarray)
        patch.setattr(integers, "MOST_IN_MEMORY", len(values) - 1)
        assert isinstance(sorted_integers(file, LARGE), SortedFile)


def test_rows_are_read_from_each_start(tmp_path: Path) -> None:
    file = IntegerFile(stored(tmp_path / "ids.bin", np.arange(10)), LARGE)
    assert len(file) == 10
    assert file.rows([0, 7, 3], 3).tolist() == [[0, 1, 2], [7, 8, 9], [3, 4, 5]]
    assert file.rows([], 3).shape == (0, 3)
    assert file[4:4].tolist() == []


def test_a_file_cut_short_in_use_is_an_error(tmp_path: Path) -> None:
    """Were it mapped into memory, the process would end with a bus error."""
    path = tmp_path / "ids.bin"
    file = IntegerFile(stored(path, np.arange(100_000)), LARGE)
    os.truncate(path, 4096)
    assert file[:512].tolist() == list(range(512))
    for start in (510, 90_000):
        with pytest.raises(CorpusError, match=r"ids\.bin: .* was cut short while it was in use"):
            file[start : start + 10]


@pytest.mark.skipif(sys.platform == "win32", reason="no such files are kept open on Windows")
def test_a_file_that_is_removed_stays_readable(tmp_path: Path) -> None:
    file = IntegerFile(stored(tmp_path / "ids.bin", np.arange(100)), LARGE)
    (tmp_path / "ids.bin").unlink()
    assert file[98:].tolist() == [98, 99]


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="the other ways are all that there is")
def test_every_way_to_read_at_a_place_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = stored(tmp_path / "ids.bin", np.arange(100))
    expected = file.read(80, 80)
    for name in ("preadv", "pread"):
        monkeypatch.delattr(os, name)
        assert file.read(80, 80) == expected
        with pytest.raises(CorpusError, match="cut short"):
            file.read(799, 2)


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes")
def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    stored(tmp_path / "real", np.arange(3))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match="symbolic link"):
        OwnFile(tmp_path / "link")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(NotPrivateError, match="pipe is not a file"):
        OwnFile(tmp_path / "pipe")  # without waiting for a writer
