"""The curves of a run, read from its log: each step once, whatever the log contains."""

import json
import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import charrnn
from charrnn.runs import curves
from charrnn.runs.curves import Curve, read_curve


def start(step: int = 0, lanes: int = 4, steps: int = 5, **more: Any) -> dict[str, Any]:
    sizes = {"batch_size": lanes, "seq_length": steps, "parameters": 99}
    return {"event": "start", "step": step} | sizes | more


def step(number: int, loss: Any = 2.0, seconds: Any = None) -> dict[str, Any]:
    seconds = number / 10 if seconds is None else seconds
    return {"event": "step", "step": number, "loss": loss, "seconds": seconds}


def evaluation(number: int, loss: Any = 3.0) -> dict[str, Any]:
    return {"event": "evaluation", "step": number, "val_loss": loss, "seconds": number / 10}


def read(folder: Path, *events: Any) -> Curve:
    """The curve of a log of these events; bytes are written as lines unchanged."""
    lines = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    (folder / "log.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    return read_curve(folder / "log.jsonl")


def test_the_log_of_a_run_gives_its_curves(trained: charrnn.TrainingResult) -> None:
    curve = read_curve(trained.folder / "log.jsonl")
    assert curve.parameters == charrnn.load(trained.folder).parameters
    assert [point.step for point in curve.validation] == [20, 40, 60]
    assert curve.validation[-1].loss == trained.end.best_loss
    assert [point.step for point in curve.train] == list(range(1, 61))
    assert curve.seen(60) == 60 * 4 * 16
    xs, losses = curve.line("validation", "characters")
    assert xs == [20 * 64, 40 * 64, 60 * 64]
    assert len(losses) == 3
    seconds, _ = curve.line("train", "time")
    assert seconds == sorted(seconds)


def test_repeated_steps_replace_earlier_ones(tmp_path: Path) -> None:
    first = [start(), *(step(n, 9.0) for n in range(1, 31)), evaluation(10), evaluation(20, 9.0)]
    again = [start(12), *(step(n, 1.0) for n in range(13, 26)), evaluation(20, 1.0)]
    curve = read(tmp_path, *first[:11], first[-2], *first[11:21], first[-1], *first[21:31], *again)
    assert [point.step for point in curve.train] == list(range(1, 26))
    assert [point.loss for point in curve.train] == [9.0] * 12 + [1.0] * 13
    assert [(point.step, point.loss) for point in curve.validation] == [(10, 3.0), (20, 1.0)]


def test_skipped_steps_are_counted_since_the_last_start(tmp_path: Path) -> None:
    """Also those that a run repeats after going back; they have no loss, or no gradient norm."""
    bad = [{**step(3), "loss": None}, {**step(4), "grad_norm": None}, {**step(3), "loss": None}]
    good = [start(), step(1), {**step(2), "grad_norm": 1.0}]
    assert read(tmp_path, *good, *bad, step(4)).skipped == 3
    assert read(tmp_path, *good, *bad, start(4), step(5)).skipped == 0


def test_repeated_steps_need_no_start_event(tmp_path: Path) -> None:
    """As when a run goes back after a loss that was not finite."""
    back = [start(), step(1), step(2, 8.0), evaluation(2, 8.0), step(3, None), step(2), step(3)]
    curve = read(tmp_path, *back)
    assert [(point.step, point.loss) for point in curve.train] == [(1, 2.0), (2, 2.0), (3, 2.0)]
    assert curve.validation == ()


def test_characters_are_counted_by_the_size_of_each_chunk(tmp_path: Path) -> None:
    curve = read(tmp_path, start(), step(10), start(10, lanes=2), evaluation(15))
    assert curve.seen(10) == 200
    assert curve.seen(15) == 250
    assert curve.validation[0].symbols == 250
    assert read(tmp_path, step(3)).seen(3) is None


def test_a_long_curve_is_thinned_to_means(tmp_path: Path) -> None:
    """Every step is part of exactly one mean."""
    losses = [float(n % 7) for n in range(1, 5_001)]
    events = [step(n, loss) for n, loss in enumerate(losses, start=1)]
    curve = read(tmp_path, start(), *events, *(evaluation(n) for n in range(1, 2_001)))
    assert curves.MAX_BINS / 2 <= len(curve.train) <= curves.MAX_BINS
    assert curve.train[-1].step == 5_000
    width = curve.train[0].step
    assert curve.train[0].loss == pytest.approx(sum(losses[:width]) / width)
    assert len(curve.validation) == curves.MAX_POINTS
    assert (curve.validation[0].step, curve.validation[-1].step) == (1, 2_000)


BROKEN = [
    b"", b"\xff\xfe\x00", b"null", b"[1]", b"{", b'{"event": "st', b"[" * 100_000, b"1" * 5_000,
    b'{"event": "step", "step": 1e400, "loss": 1}', b'{"event": "step", "step": 5, "loss": NaN}',
    {"event": "step"}, {"event": ["step"]}, {"event": "start", "step": 0},
    start(1, lanes=0.5), start(1, lanes=-1), start(1, lanes=10**30), start(1, parameters="many"),  # type: ignore[arg-type]
    step(4, None), step(4, True), step(4, "low"), step(4, 10**400), step(4, 1e300), step(10**30),
    {"event": "step", "step": True, "loss": 1.0}, {"event": "step", "step": -3, "loss": 1.0},
    evaluation(4, None), evaluation(4, {}), {"event": "evaluation", "step": None},
]  # fmt: skip


@pytest.mark.parametrize("line", BROKEN, ids=[str(line)[:40] for line in BROKEN])
def test_a_broken_line_is_skipped(tmp_path: Path, line: Any) -> None:
    curve = read(tmp_path, start(), step(1), step(2), evaluation(2), line, step(9), evaluation(9))
    assert [point.step for point in curve.train] == [1, 2, 9]
    assert [point.step for point in curve.validation] == [2, 9]
    assert curve.validation[1].loss == 3.0


def test_a_step_without_a_time_is_on_all_other_axes(tmp_path: Path) -> None:
    curve = read(tmp_path, start(), step(1, seconds="?"), step(2, seconds=1.0), step(3, seconds=0))
    assert curve.line("train", "steps")[0] == [1, 2, 3]
    assert curve.line("train", "time")[0] == [1.0]


events = st.one_of(
    st.builds(start, st.integers(0, 20), st.integers(1, 3)),
    st.builds(step, st.integers(0, 20), st.floats() | st.none(), st.floats() | st.none()),
    st.builds(evaluation, st.integers(0, 20), st.floats() | st.none()),
)


@given(lines=st.lists(events, max_size=40), bins=st.sampled_from([2, 4, 256]))
def test_curves_are_sorted_whatever_the_order_of_events(
    tmp_path_factory: pytest.TempPathFactory, lines: list[Any], bins: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "MAX_BINS", bins)
        curve = read(tmp_path_factory.mktemp("log"), *lines)
    assert len(curve.train) <= bins
    for points in (curve.train, curve.validation):
        steps = [point.step for point in points]
        assert steps == sorted(set(steps))
    for axis in ("steps", "characters", "time"):
        xs, losses = curve.line("train", axis)
        assert len(xs) == len(losses)
        assert all(before < after for before, after in pairwise(xs))


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes on Windows")
def test_a_pipe_instead_of_a_log_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.jsonl")
    with pytest.raises(OSError, match="not a file"):
        read_curve(tmp_path / "log.jsonl")
    with pytest.raises(FileNotFoundError):
        read_curve(tmp_path / "none")
