"""Hostile values in files of settings and on the command line end in a usage error of one line."""

from pathlib import Path

import pytest

from charrnn.errors import LONGEST
from charrnn.settings import MAX_THREADS
from tests.conftest import Command


def test_a_run_trains_with_whole_numbers_in_toml(command: Command, corpus: Path) -> None:
    small = "hidden-size = 8\nembedding-size = 4\nbatch-size = 4\nsteps = 2\n"
    (corpus.parent / "c.toml").write_text(f"{small}beta1 = 0\ngrad-clip = 1\ndropout = 0\n")
    done = command("train", corpus, "--config", "c.toml")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("seed = 0x" + "f" * 5000, "--seed about 10^6,020: must be below 9,223,372,036,854,775"),
        ("steps = " + "9" * 400, "--steps about 10^400: must be at most 4,611,686,018,427,387"),
        ("steps = " + "9" * 5000, "--config c.toml: a number has too many digits"),
        ("x = " + "[" * 20_000 + "]" * 20_000, "--config c.toml: a value is nested too deeply"),
        ("steps", "--config c.toml: not valid TOML: "),
        ("x" * 5000 + " = 1", "--config c.toml: " + "x" * LONGEST + "… is not a setting"),
        ("#" * 2**21, "--config c.toml: more than 1,048,576 characters are too many"),
    ],
)
def test_hostile_toml_is_refused_in_one_line(
    command: Command, tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "c.toml").write_text(content)
    done = command("train", "--config", "c.toml")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--steps", "9" * 400),
        ("resume", "--steps", "9" * 400),
        ("sample", "--length", "9" * 400),
        ("sample", "--temperature-range", "0:1:" + "9" * 5000),
        ("sample", "--temperature-schedule", "1:" + "9" * 5000),
        ("eval", "--context", "9" * 5000),
        ("compare", "--context", "9" * 400),
    ],
)
def test_long_numbers_are_refused_on_the_command_line(
    command: Command, arguments: tuple[str, ...]
) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert "rror: " in done.stderr


@pytest.mark.parametrize("name", ["train", "resume", "sample", "eval", "compare"])
def test_too_many_threads_are_a_usage_error(command: Command, name: str) -> None:
    for number in (MAX_THREADS + 1, 10**6, 10**30):
        done = command(name, "--threads", number)
        assert done.returncode == 2
        assert "Invalid value for '--threads': " in done.stderr
