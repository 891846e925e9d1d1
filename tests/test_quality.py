"""Training reaches the quality that it should. Takes minutes: `make slow`."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import charrnn
from tests.conftest import ROOT

STEPS = 600


@pytest.mark.slow
def test_training_is_as_good_as_a_bare_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same text, model, optimizer, schedule and steps; scored on the same held-out text."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    bare_loop: Any = importlib.import_module("bare_loop")
    text = tmp_path / "source.txt"
    text.write_text(charrnn.read_text("python")[:1_000_000], encoding="utf-8")
    bare = bare_loop.Bare(text.read_text(encoding="utf-8"), STEPS)
    bare.stretch(STEPS)
    result = charrnn.train(
        text,
        model=bare_loop.MODEL,
        training=replace(bare_loop.TRAINING, steps=STEPS),
        checkpoint_dir=tmp_path,
    )
    reached = charrnn.load(result.folder).evaluate().nats_per_char
    assert reached <= 1.01 * bare.nats_per_char()
