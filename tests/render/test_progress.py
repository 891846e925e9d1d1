"""The progress bar of charrnn.train(progress=True), and the words that describe a run."""

import io
import subprocess
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import charrnn
from charrnn.render.progress import ProgressBar
from charrnn.render.wording import run_facts
from charrnn.training import events
from tests.conftest import ROOT

START = events.StartEvent(
    step=0, run="river", folder="checkpoints/river", corpus="river", unit="char", characters=1704,
    documents=1, train_symbols=1533, val_symbols=171, vocabulary_size=23, parameters=5190,
    memory_bytes=10**6, device="cpu", threads=1, precision="float32", batch_size=4, seq_length=16,
    steps_per_epoch=24, chosen={}, model=vars(charrnn.ModelConfig()),
    training=vars(charrnn.TrainingConfig(eval_every=20)),
)  # fmt: skip
WARNING = events.WarningEvent(20, "`val_fraction=0.1`: short\x1b[31m")


def step(number: int) -> events.StepEvent:
    return events.StepEvent(number, 1.0, 2.5, 0.5, 0.01, 34_000.0, number * 1.0, number / 40)


def evaluation(number: int, loss: float, *, best: bool) -> events.EvaluationEvent:
    return events.EvaluationEvent(number, 1.0, number * 1.0, loss, 2.5, best, 100)


def end(reason: str) -> events.EndEvent:
    return events.EndEvent(40, reason, 40.0, 2.4, 20, 2.6, None, None)


def show(reason: str = "steps") -> None:
    """A whole run: a corpus that takes a while to read, 40 steps and two evaluations."""
    bar = ProgressBar()
    for done in (0, 10**8, 2 * 10**8):
        bar(events.ReadingEvent("encoding", done, 2 * 10**8))
    bar(START)
    for number in range(1, 41):
        bar(step(number))
        if number == 20:
            bar(evaluation(20, 2.6, best=True))
            bar(WARNING)
    bar(evaluation(40, 2.7, best=False))
    bar(end(reason))
    bar.close()


@pytest.mark.parametrize(("unit", "symbols"), [("char", "characters"), ("byte", "bytes")])
def test_a_chunk_is_counted_in_symbols_an_epoch_in_steps(unit: str, symbols: str) -> None:
    event = replace(START, unit=unit, batch_size=1)
    assert run_facts(event)["chunks"] == f"1 lane x 16 {symbols}, 24 steps per epoch"


class Terminal(io.StringIO):
    """A stderr that is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_lines_and_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    show()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "river: 1 x 512 lstm, embedding 64, dropout 0.2: 5,190 parameters",
        "step     20  epoch  1.00    0:20  train 2.5000  val 2.6000 (3.751 bits)  best",
        "notice: `val_fraction=0.1`: short␛[31m",
        "step     40  epoch  1.00    0:40  train 2.5000  val 2.7000 (3.895 bits)",
        "finished: step 40 after 0:40 of training",
        "best: validation 2.6000 (3.751 bits/char) at step 20",
    ]


def test_the_bar_shows_loss_speed_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    show("patience")
    bars = [line for line in terminal.getvalue().replace("\n", "\r").split("\r") if "%|" in line]
    assert "encoding the corpus: " in "".join(bars)
    assert "loss 2.500  best validation 2.600  34k char/s  0:10 left" in "".join(bars)
    assert "34k char/s  evaluating" in "".join(bars)
    assert bars[-1].startswith("100%"), "the run is over"
    assert max(map(len, bars)) <= 100


def test_the_bar_of_a_stopped_run_is_not_full(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar: Any = ProgressBar()
    bar(START)
    bar(step(10))
    bar(end("interrupted"))
    assert "100%" not in terminal.getvalue()
    assert " 25%|" in terminal.getvalue()
    assert "stopped: step 40" in terminal.getvalue()


def test_a_notebook_gets_nothing_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It colours stderr red."""
    kernel: Any = ModuleType("ipykernel.kernelapp")
    kernel.IPKernelApp = SimpleNamespace(initialized=lambda: True)
    monkeypatch.setitem(sys.modules, kernel.__name__, kernel)
    show()
    out, err = capsys.readouterr()
    assert err == ""
    assert "best validation 2.600" in out


def test_tqdm_is_imported_when_a_bar_is_shown() -> None:
    code = (
        "import sys; from charrnn.render.progress import ProgressBar; ProgressBar();"
        "print({'tqdm', 'rich', 'torch', 'numpy'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "set()\n"


def test_python_users_are_told_a_call(capsys: pytest.CaptureFixture[str]) -> None:
    """In place of a command. The gain is rounded down."""
    bar: Any = ProgressBar()
    bar(START)
    verdict = events.Verdict("falling", None, 0.0397, {"steps": 2_000_000})
    bar(replace(end("steps"), verdict=verdict))
    *_, line = capsys.readouterr().err.splitlines()
    assert line == (
        "verdict: still falling: about 0.03 nats less with "
        "charrnn.resume('checkpoints/river', steps=2000000)"
    )
