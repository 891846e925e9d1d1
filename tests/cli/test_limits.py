"""Too little memory for libraries, and libraries that cannot be loaded."""

import sys
from pathlib import Path

import pytest

import charrnn
from tests.conftest import Command
from tests.processes import run

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv.pop(1)) * 2**20,) * 2)
from charrnn.__main__ import main
main()
"""
# As numpy does if its libraries cannot be loaded.
BROKEN = """
try:
    raise ImportError("libblas.so: failed to map segment from shared object")
except ImportError as error:
    raise ImportError("\\n\\nIMPORTANT: PLEASE READ THIS FOR ADVICE\\n\\n") from error
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit address space")
@pytest.mark.parametrize("megabytes", [20, 60, 150, 500, 650])
@pytest.mark.parametrize("name", ["train", "sample", "eval"])
def test_too_little_address_space_is_an_error_of_one_line(
    name: str, megabytes: int, trained: charrnn.TrainingResult, corpus: Path
) -> None:
    arguments = {
        "train": (corpus, "--steps", 1, "-q", "--hidden-size", 8),
        "sample": (trained.folder, "-n", 3),
        "eval": (trained.folder, "--dynamic", "-q"),
    }[name]
    done = run(megabytes, name, *arguments, code=LIMITED, cwd=corpus.parent)
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr.count("\n") == done.returncode, done.stderr
    if name != "sample":
        assert done.returncode == 1


def test_a_broken_library_is_an_error_of_one_line(spawn: Command, tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text(BROKEN)
    done = spawn("sample")
    assert done.returncode == 1
    assert done.stderr == (
        "error: a library cannot be loaded: libblas.so: failed to map segment from shared object\n"
    )
