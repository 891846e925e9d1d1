"""What the tests of charrnn.text share."""

from pathlib import Path

import pytest


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    """A folder for a cache, which is not there yet."""
    return tmp_path / "cache"
