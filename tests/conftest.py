"""What the tests share: a small text, a small trained run, and the way to run a command."""

import atexit
import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Models this small gain nothing from a second thread, and on a busy machine two threads that wait
# for each other can be a hundred times slower than one. Set before torch and numpy are imported.
os.environ["OMP_NUM_THREADS"] = "1"

# A cache of their own for the tests, here and in the commands they run.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="charrnn-tests-")
# And a key of their own to sign runs with.
os.environ["XDG_DATA_HOME"] = os.environ["XDG_CACHE_HOME"]

import charrnn
from charrnn.checkpoint.format import write_checkpoint
from charrnn.checkpoint.manifest import Manifest
from charrnn.checkpoint.model_file import SavedModel
from charrnn.checkpoint.store import Run
from tests import processes
from tests.in_process import run_here
from tests.processes import ROOT as ROOT

# No deadline: on a busy machine an example may take any time.
settings.register_profile("quick", deadline=None, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=1_000)
settings.load_profile("quick")

atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

# Written for these tests.
TEXT = (
    "The river does not know its name.\nIt asks the stones, who say the same\n"
    "small word they said the day before:\na hush, a hush, and nothing more.\n"
) * 12

Command = Callable[..., subprocess.CompletedProcess[str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rebuild-docs", action="store_true", help="rewrite docs/reference/cli.md")


def pytest_configure(config: pytest.Config) -> None:
    """Take care of signals where the tests run: here, or in the workers that xdist starts."""
    if hasattr(config, "workerinput") or not getattr(config.option, "numprocesses", None):
        processes.let_children_be_signalled()


def sealed(content: dict[str, Any]) -> bytes:
    """A manifest with the hash that it should have."""
    body = json.dumps({**content, "sha256": ""}, indent=1).removesuffix('"\n}')
    return f'{body}{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n'.encode()


def saved_at(run: Run, step: int, model: SavedModel, arrays: Any, manifest: Manifest) -> Path:
    """Save a checkpoint of a step; returns its folder."""
    folder = run.checkpoint_folder(step)
    values = manifest.trainer | {"step": step}
    write_checkpoint(
        folder, replace(model, step=step), arrays, replace(manifest, step=step, trainer=values)
    )
    return folder


@pytest.fixture(autouse=True)
def no_process_outlives_its_test() -> Iterator[None]:
    """End what a test has started, even if the test fails."""
    yield
    processes.end_all()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A file with a small text."""
    path = tmp_path / "river.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> charrnn.TrainingResult:
    """A run of 60 steps on the small text, in a checkpoint folder of its own."""
    folder = tmp_path_factory.mktemp("trained")
    text = folder / "river.txt"
    text.write_text(TEXT, encoding="utf-8")
    return charrnn.train(
        text,
        model=charrnn.ModelConfig(hidden_size=24, embedding_size=8, dropout=0.0, input_dropout=0.0),
        training=charrnn.TrainingConfig(
            steps=60, eval_every=20, batch_size=4, seq_length=16, learning_rate=0.01
        ),
        checkpoint_dir=folder / "checkpoints",
    )


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Run `charrnn ...` in this process, in an empty folder, without a terminal."""

    def run(
        *arguments: object, stdin: str | bytes = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        variables = {"COLUMNS": "80"} | environment
        return run_here(*arguments, cwd=tmp_path, stdin=stdin, environment=variables)

    return run


@pytest.fixture
def spawn(tmp_path: Path) -> Command:
    """Run `charrnn ...` like `command`, but as a process of its own.

    For what concerns the start of Python: variables that Python or a library reads then, modules
    that are hidden or imported first.
    """
    return functools.partial(processes.run, cwd=tmp_path)
