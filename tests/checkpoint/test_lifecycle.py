"""A run's folder while it is trained."""

import sys
from pathlib import Path

import pytest

from charrnn.checkpoint.lifecycle import claimed
from charrnn.checkpoint.store import Run
from charrnn.errors import CheckpointError


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_a_lock_that_is_a_link_does_not_empty_its_target(tmp_path: Path) -> None:
    """A run from a stranger may have one; filelock before 3.20.1 follows it."""
    (tmp_path / "letter.txt").write_text("dear reader")
    run = Run(tmp_path / "river")
    run.path.mkdir()
    (run.path / ".lock").symlink_to(tmp_path / "letter.txt")
    with pytest.raises(CheckpointError, match="cannot be used as the run's folder"), claimed(run):
        pass
    assert (tmp_path / "letter.txt").read_text() == "dear reader"
