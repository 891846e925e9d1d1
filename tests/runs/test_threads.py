"""With how many threads a run begins, and that it keeps them when it is resumed."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import charrnn
from charrnn.model.config import ModelConfig
from charrnn.runs import threads as chosen
from charrnn.runs.threads import Computing
from charrnn.training.config import TrainingConfig
from charrnn.training.cost import TrialSteps, TrialText
from charrnn.training.events import Event
from tests.conftest import Command
from tests.training.runs import stopping

MODEL = {"hidden_size": 6, "embedding_size": 3}
TRAINING = {"steps": 4, "batch_size": 2, "seq_length": 8, "eval_every": 0}
SLOW_WITH_TWO = {1: 0.01, 2: 1.0}


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """Let torch use two threads by default, on any machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[int, float]], None]:
    """Measure models of any size, with steps that take so long with so many threads."""

    def patch(seconds: dict[int, float]) -> None:
        monkeypatch.setattr(chosen, "WORTH_THREADS", 0)
        monkeypatch.setattr(TrialSteps, "seconds", lambda _: seconds[torch.get_num_threads()])

    return patch


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if a model is measured."""
    monkeypatch.setattr(TrialSteps, "seconds", lambda _: pytest.fail("measured"))


@dataclass
class Watch:
    """What a run says of its threads, and torch's number of them during its steps."""

    started: list[int] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    notices: list[str] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        if event.kind == "start":
            self.started.append(event.threads)
        elif event.kind == "step":
            self.used.add(torch.get_num_threads())
        elif event.kind == "warning":
            self.notices.append(event.message)


def recorded(folder: Path) -> int:
    manifest = json.loads(max(folder.glob("step-*/manifest.json")).read_text())
    return int(manifest["environment"]["threads"])


def trained(corpus: Path, folder: Path, watch: Watch, **options: Any) -> Path:
    settings: dict[str, Any] = {"model": MODEL, "training": TRAINING} | options
    settings["observers"] = [watch, *options.get("observers", ())]
    return charrnn.train(corpus, checkpoint_dir=folder, **settings).folder


@pytest.mark.parametrize(("two", "number"), [(1.0, 1), (0.005, 2)])
def test_a_run_has_the_fastest_number_of_threads(
    corpus: Path, tmp_path: Path, measured: Any, two: float, number: int
) -> None:
    """It says so at its start, records it, and leaves torch's own number as it was."""
    measured({1: 0.01, 2: two})
    watch = Watch()
    folder = trained(corpus, tmp_path, watch)
    assert watch.started == [number] == [recorded(folder)]
    assert watch.used == {number}
    assert torch.get_num_threads() == 2
    because = "1 thread of 2: faster while other programs use this machine; `threads=2` overrides"
    assert (because in watch.notices) == (number == 1)


@pytest.mark.usefixtures("unmeasured")
def test_given_threads_are_not_measured(corpus: Path, tmp_path: Path) -> None:
    watch = Watch()
    folder = trained(corpus, tmp_path, watch, threads=2)
    assert watch.used == {2} == {recorded(folder)}


@pytest.mark.usefixtures("unmeasured")
def test_small_models_have_one_thread_unmeasured(corpus: Path, tmp_path: Path) -> None:
    watch = Watch()
    trained(corpus, tmp_path, watch)
    assert watch.used == {1}
    assert not any("thread" in notice for notice in watch.notices)


@pytest.mark.usefixtures("unmeasured")
def test_a_gpu_leaves_the_threads_to_torch() -> None:
    computing = Computing(torch.device("cuda"), None, lambda: False)
    choice = computing.choose_threads(ModelConfig(), TrainingConfig(), TrialText(np.arange(65), 65))
    assert (choice.number, choice.held_up) == (2, False)


def test_resume_keeps_the_number_that_was_measured(
    corpus: Path, tmp_path: Path, measured: Any, unmeasured: None
) -> None:
    """Without measuring again, though another number may be faster now."""
    del unmeasured
    measured(SLOW_WITH_TWO)
    stop = stopping(2)
    folder = trained(corpus, tmp_path, Watch(), **stop)
    measured({})  # any measurement is an error
    watch = Watch()
    charrnn.resume(folder, observers=[watch])
    assert watch.used == {1} == {recorded(folder)}
    assert watch.notices == []


def test_resume_with_another_number_says_so(corpus: Path, tmp_path: Path) -> None:
    folder = trained(corpus, tmp_path, Watch(), threads=1, **stopping(2))
    watch = Watch()
    charrnn.resume(folder, observers=[watch], threads=2)
    assert watch.used == {2} == {recorded(folder)}
    (notice,) = watch.notices
    assert notice.startswith("threads 2 instead of 1: the result will not be bit-identical")


def test_resume_measures_if_processors_are_missing(
    corpus: Path, tmp_path: Path, measured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of three threads continues on a machine of two processors."""
    monkeypatch.setattr(chosen, "processors", lambda: 2)
    folder = trained(corpus, tmp_path, Watch(), threads=3, **stopping(2))
    measured({1: 0.01, 2: 0.005})
    watch = Watch()
    charrnn.resume(folder, observers=[watch])
    assert watch.used == {2}
    assert any(notice.startswith("threads 2 instead of 3") for notice in watch.notices)


def test_a_size_is_chosen_for_the_fastest_threads(
    corpus: Path, tmp_path: Path, measured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that a run has is measured in steps with the threads that it will have."""
    measured(SLOW_WITH_TWO)
    used: list[int] = []

    def speed(*_: Any) -> float:
        used.append(torch.get_num_threads())
        return 10.0

    monkeypatch.setattr("charrnn.runs.memory.symbols_per_second", speed)
    watch = Watch()
    trained(corpus, tmp_path, watch, model={}, training={"minutes": 1e-6})
    assert used == [1] == watch.started


def test_the_flag_that_overrides_is_named(command: Command, tmp_path: Path, measured: Any) -> None:
    (tmp_path / "s.txt").write_text("to and fro, and to and fro again\n" * 40)
    measured(SLOW_WITH_TWO)
    options = ["--hidden-size", 6, "--embedding-size", 3, "--steps", 2, "--batch-size", 2]
    done = command("train", "s.txt", *options, COLUMNS="200")
    assert done.returncode == 0
    assert "device      cpu, 1 CPU thread, " in done.stderr
    assert (
        "notice: 1 thread of 2: faster while other programs use this machine; --threads 2 overrides"
        in done.stderr
    )
    assert "1 thread" not in command("train", "s.txt", *options, "--quiet").stderr
