"""What a run tells while it goes on: the event types, the observer protocol, the log.

The log, log.jsonl, has one JSON object an event: its key "event" is the type's `kind`, the others
are the fields below. It alone suffices to redraw every curve of a run. Losses are nats per symbol.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TextIO


@dataclass(frozen=True)
class ReadingEvent:
    """The corpus is read before the run begins, so the log does not have this.

    what: "checking" whether it is in the cache, or "encoding" it. done, total: bytes.
    """

    kind: ClassVar[Literal["reading"]] = "reading"
    what: str
    done: int
    total: int


@dataclass(frozen=True)
class StartEvent:
    """A run begins, or goes on after `step` steps."""

    kind: ClassVar[Literal["start"]] = "start"
    step: int
    run: str
    folder: str
    corpus: str
    unit: str
    characters: int
    documents: int
    train_symbols: int
    val_symbols: int
    vocabulary_size: int
    parameters: int
    memory_bytes: int
    device: str
    threads: int
    batch_size: int
    seq_length: int
    steps_per_epoch: int
    model: dict[str, Any]
    training: dict[str, Any]


@dataclass(frozen=True)
class StepEvent:
    """An optimizer step was taken.

    loss: of the step's chunk, before the step. grad_norm: before clipping. seconds: training time
    since the run began, evaluations and saving left out. progress: share of the run that is over.
    """

    kind: ClassVar[Literal["step"]] = "step"
    step: int
    epoch: float
    loss: float
    grad_norm: float
    learning_rate: float
    symbols_per_second: float
    seconds: float
    progress: float


@dataclass(frozen=True)
class EvaluationEvent:
    """The validation part was evaluated with carried state. train_loss: mean since the last."""

    kind: ClassVar[Literal["evaluation"]] = "evaluation"
    step: int
    epoch: float
    seconds: float
    val_loss: float
    train_loss: float
    best: bool


@dataclass(frozen=True)
class SampleEvent:
    """The model as it is wrote a text."""

    kind: ClassVar[Literal["sample"]] = "sample"
    step: int
    text: str


@dataclass(frozen=True)
class CheckpointEvent:
    """A checkpoint was committed."""

    kind: ClassVar[Literal["checkpoint"]] = "checkpoint"
    step: int
    path: str


@dataclass(frozen=True)
class WarningEvent:
    """Something the user should know; the run goes on."""

    kind: ClassVar[Literal["warning"]] = "warning"
    step: int
    message: str


@dataclass(frozen=True)
class EndEvent:
    """The run is over, or stops for now.

    reason: steps, epochs, minutes (a limit was reached), patience, or interrupted.
    best_step, best_loss: of the best evaluation, None where there was none.
    """

    kind: ClassVar[Literal["end"]] = "end"
    step: int
    reason: str
    seconds: float
    train_loss: float | None
    best_step: int | None
    best_loss: float | None


Event = (
    ReadingEvent
    | StartEvent
    | StepEvent
    | EvaluationEvent
    | SampleEvent
    | CheckpointEvent
    | WarningEvent
    | EndEvent
)
LOGGED: tuple[type[Event], ...] = (
    StartEvent,
    StepEvent,
    EvaluationEvent,
    SampleEvent,
    CheckpointEvent,
    WarningEvent,
    EndEvent,
)
Observer = Callable[[Event], None]


class Log:
    """An observer that writes log.jsonl; each line is flushed as it is written."""

    def __init__(self, path: Path, step: int = 0) -> None:
        """Open a run's log behind the events of its first `step` steps; later ones are dropped.

        They were written after the checkpoint that the run goes on from, and will come again.
        """
        self._file = _open_behind(path, step)

    def __call__(self, event: Event) -> None:
        """Write one event."""
        fields = {key: _finite(value) for key, value in asdict(event).items()}
        line = json.dumps({"event": event.kind, **fields})
        self._file.write(line + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _open_behind(path: Path, step: int) -> TextIO:
    kept = 0
    with path.open("a+b") as file:
        file.seek(0)
        for line in file if step > 0 else ():
            if not line.endswith(b"\n") or _step_of(line) > step:
                break
            kept += len(line)
        file.truncate(kept)
    return path.open("a", encoding="utf-8", newline="\n")


def _step_of(line: bytes) -> float:
    """Return the step of a line of the log; infinity for what was not written whole."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _finite(value: Any) -> Any:
    """Replace what JSON has no word for, infinity and NaN, by null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
