"""Runs that stop early, and whether two runs are the same."""

import json
from pathlib import Path
from typing import Any

import numpy as np

import charrnn


class StopAfter:
    """Asks a run to stop after a step, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.now = 0

    def observe(self, event: charrnn.events.Event) -> None:
        if event.kind in ("start", "step"):
            self.now = event.step

    def __call__(self) -> bool:
        return self.now >= self.step


def stopping(step: int) -> dict[str, Any]:
    """Arguments for a run that stops after a step: before the evaluation, if one is due."""
    stop = StopAfter(step)
    return {"stop": stop, "observers": [stop.observe]}


def weights_of(folder: Path) -> dict[str, Any]:
    return dict(charrnn.load(folder, checkpoint="latest")._weights)


def losses_of(folder: Path) -> list[tuple[Any, ...]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [
        (o["event"], o["step"], o.get("loss"), o.get("grad_norm"), o.get("val_loss"), o.get("text"))
        for o in lines
        if o["event"] in ("step", "evaluation", "sample")
    ]


def assert_same_run(one: Path, other: Path) -> None:
    expected, found = weights_of(one), weights_of(other)
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    assert losses_of(one) == losses_of(other)
