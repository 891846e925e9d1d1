"""The notice about steps that have become slow, on steps that take invented times."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

import charrnn
from charrnn.runs.threads import Computing
from charrnn.training.context import ExecutionContext
from charrnn.training.events import Event
from charrnn.training.pace import Pace, slow_steps

SHAPE = (64, 32)
SYMBOLS = 64 * 32
TRAINING = {"steps": 90, "batch_size": 2, "seq_length": 8}
TRAINING |= {"save_every": 0, "eval_every": 5, "sample_every": 0}


def factors(pace: Pace, seconds: list[float]) -> list[float]:
    """What the pace tells of steps that take so long each."""
    told = [pace.slower(SHAPE, SYMBOLS, took) for took in seconds]
    return [factor for factor in told if factor is not None]


def test_slow_steps_are_told_of_once() -> None:
    """However long they stay slow, and however many were fast."""
    assert factors(Pace(), [1.0] * 50 + [4.0] * 500) == [pytest.approx(4)]
    assert factors(Pace(), [0.01] * 5_000 + [0.1] * 5_000) == [pytest.approx(10)]


def test_steps_that_become_slow_again_are_told_of_twice() -> None:
    """Only after they were fast in between, and not a third time."""
    phases = [1.0] * 30 + [5.0] * 30
    assert len(factors(Pace(), phases * 2)) == 2
    assert len(factors(Pace(), phases * 9)) == 2


@pytest.mark.parametrize(
    "seconds",
    [
        [1.0] * 30 + [60.0] * 4 + [1.0] * 30,
        [1.0] * 30 + [5.0] * 13 + [1.0] * 30,
        [0.01] * 5_000 + [0.1] * 80 + [0.01] * 5_000,
        [1.0, 1.0, 1.0, 9.0] * 50,
        [1.0] * 30 + [2.5] * 100,
        [50.0, 20.0] + [1.0] * 100,
    ],
)
def test_short_blips_are_not_told_of(seconds: list[float]) -> None:
    """Nor are a slow start, single slow steps, or steps that are only somewhat slower."""
    assert factors(Pace(), seconds) == []


def test_chunks_of_other_shapes_are_not_slow_steps() -> None:
    """A few long lanes take longer per symbol than many short ones."""
    pace = Pace()
    told = [pace.slower((5, 400), 2_000, 0.2) for _ in range(200)]
    told += [pace.slower((64, 32), 2_000, 1.0) for _ in range(200)]
    told += [pace.slower((64, 8), 500, 0.9) for _ in range(200)]
    assert not any(told)


def test_longer_chunks_of_a_kind_are_not_slow_steps() -> None:
    pace = Pace()
    assert not any(pace.slower((32, 32), 1_024, 1.0) for _ in range(100))
    assert not any(pace.slower((63, 63), 3_969, 3.9) for _ in range(100))


@dataclass
class Clock:
    """A clock that moves on by `ahead` seconds whenever it is read."""

    ahead: float = 1.0
    now: float = 0.0
    messages: list[str] = field(default_factory=list)
    slow_from: int = 10**9
    evaluation: float = 1.0

    def __call__(self) -> float:
        self.now += self.ahead
        return self.now

    def observe(self, event: Event) -> None:
        """Set how long what follows an event takes; keep the notices."""
        if event.kind == "warning":
            self.messages.append(event.message)
        elif event.kind == "step":
            self.ahead = 4.0 if event.step >= self.slow_from else 1.0
            if event.step % 5 == 0:
                self.ahead *= self.evaluation
        elif event.kind in ("evaluation", "sample"):
            self.ahead = 4.0 if event.step >= self.slow_from else 1.0


@pytest.fixture
def trained_by(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Clock], list[str]]:
    """Train a run of 90 steps by a clock; returns its notices."""

    def run(clock: Clock) -> list[str]:
        def context(self: Computing, threads: int) -> ExecutionContext:
            return ExecutionContext(self.device, threads, clock=clock)

        monkeypatch.setattr(Computing, "with_threads", context)
        # Two real threads may be held up here, too.
        monkeypatch.setattr("charrnn.runs.execute.torch_threads", lambda _: nullcontext())
        charrnn.train(
            corpus,
            model={"hidden_size": 4, "embedding_size": 3},
            training=TRAINING,
            checkpoint_dir=tmp_path,
            threads=2,
            observers=[clock.observe],
        )
        return clock.messages

    return run


def test_a_run_says_once_that_its_steps_are_slow(
    trained_by: Callable[[Clock], list[str]],
) -> None:
    (message,) = trained_by(Clock(slow_from=40))
    assert message == (
        "steps take 4 times as long as before: another program may be using the processor. One "
        "thread would suffer less: stop with Ctrl-C and resume the run with `threads=1`; the "
        "result is then not bit-identical"
    )


def test_slow_evaluations_are_no_slow_steps(trained_by: Callable[[Clock], list[str]]) -> None:
    assert trained_by(Clock(evaluation=500.0)) == []


def test_one_thread_is_not_advised_if_it_would_not_help() -> None:
    for device, threads, busy in (("cpu", 1, "processor"), ("cuda", 2, "GPU")):
        message = slow_steps(3.6, ExecutionContext(torch.device(device), threads))
        assert message == (
            f"steps take 4 times as long as before: another program may be using the {busy}"
        )
