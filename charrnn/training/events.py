"""What a run reports while it trains: event types, the observer protocol, the log.

The log, log.jsonl, has one JSON object per event: its key "event" is the type's `kind`, the others
are the fields below. Every curve of a run can be redrawn from it. Losses are nats per symbol.
"""

import errno
import json
import math
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, Literal


@dataclass(frozen=True)
class ReadingEvent:
    """The corpus is being read. That is before the run begins, so the log lacks this event.

    what: "checking" whether it is in the cache, or "encoding" it. done, total: bytes.
    """

    kind: ClassVar[Literal["reading"]] = "reading"
    what: str
    done: int
    total: int


@dataclass(frozen=True)
class StartEvent:
    """A run begins, or resumes after `step` steps.

    precision: of the products in training. chosen: the settings that were not given but chosen, see
    charrnn.runs.choice; empty if the run resumes. expected_seconds: how long the run will take from
    here, evaluations included, None if that is not known.
    """

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
    precision: str
    batch_size: int
    seq_length: int
    steps_per_epoch: int
    model: dict[str, Any]
    training: dict[str, Any]
    chosen: dict[str, Any]
    expected_seconds: float | None = None


@dataclass(frozen=True)
class StepEvent:
    """An optimizer step was taken.

    loss: of the step's chunk, before the step. grad_norm: before clipping. seconds: that the run
    has taken, evaluation and saving included. progress: the fraction of the run done.
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
    """The validation part was evaluated with carried state.

    val_loss: of so many symbols, which are the same in all evaluations. train_loss: the mean since
    the last one.
    """

    kind: ClassVar[Literal["evaluation"]] = "evaluation"
    step: int
    epoch: float
    seconds: float
    val_loss: float
    train_loss: float
    best: bool
    symbols: int


@dataclass(frozen=True)
class SampleEvent:
    """The model wrote a text, as it is at this step."""

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
    """Something the user should know; training continues."""

    kind: ClassVar[Literal["warning"]] = "warning"
    step: int
    message: str


@dataclass(frozen=True)
class Verdict:
    """What the curve of a finished run says, and settings to try.

    kind: "overfitting" since a step; "falling": a run with these limits would gain so many nats;
    "rate": the learning rate was too high.
    """

    kind: Literal["overfitting", "falling", "rate"]
    since: int | None
    gain: float | None
    settings: dict[str, float | int]


@dataclass(frozen=True)
class EndEvent:
    """The run is finished, or stops for now.

    reason: steps, epochs, minutes (a limit was reached), patience, or interrupted.
    best_step, best_loss: of the best evaluation, None if there was none. full_loss: of the same
    checkpoint on full_symbols symbols, if the evaluations were on fewer. verdict: None if there is
    nothing to say.
    """

    kind: ClassVar[Literal["end"]] = "end"
    step: int
    reason: str
    seconds: float
    train_loss: float | None
    best_step: int | None
    best_loss: float | None
    full_loss: float | None
    full_symbols: int | None
    verdict: Verdict | None = None


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
_LONGEST_LINE = 1 << 24  # bytes
MAX_LOG = 1 << 32  # bytes: some ten million steps


class Log:
    """An observer that writes log.jsonl, each line at once.

    If a write fails, the line is kept and written before the next one, and the other observers are
    warned once. A run does not end because its log cannot be written.
    """

    def __init__(self, path: Path, step: int = 0, others: Sequence[Observer] = ()) -> None:
        """Continue a run's log after the events of its first `step` steps; later ones are dropped.

        They were written after the checkpoint that the run resumes from, and will come again.
        """
        self._path = path
        self._step = step
        self._others = others
        self._pending = b""
        self._failed = False
        self._file: IO[bytes] | None = None
        self._size: int | None = None  # of what is kept of the file; read when first needed

    def __call__(self, event: Event) -> None:
        """Write one event."""
        fields = {key: _finite(value) for key, value in asdict(event).items()}
        line = json.dumps({"event": event.kind, **fields})
        self._pending += line.encode() + b"\n"
        try:
            self._write(sync=isinstance(event, CheckpointEvent))
            self._failed = False
        except OSError as error:
            self._warn(getattr(event, "step", 0), error)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def _write(self, *, sync: bool) -> None:
        if self._file is None:
            self._file = _opened(self._path)
            if self._size is None:
                with os.fdopen(os.dup(self._file.fileno()), "rb") as file:
                    self._size = _size_of(file, self._step)
            # If the file is another one by now, there is nothing to catch up on.
            self._size = min(self._size, os.fstat(self._file.fileno()).st_size)
            self._file.truncate(self._size)
        assert self._size is not None
        # This overwrites what an earlier attempt left half written.
        self._file.seek(self._size)
        left = memoryview(self._pending)
        while left:
            left = left[self._file.write(left) :]
        self._size += len(self._pending)
        self._pending = b""
        if sync:
            os.fsync(self._file.fileno())
            if not os.path.samestat(os.fstat(self._file.fileno()), self._path.stat()):
                raise OSError(errno.ESTALE, "another file has taken its place")

    def _warn(self, step: int, error: OSError) -> None:
        self.close()  # reopened next time: its folder may be gone
        if not self._failed:
            self._failed = True
            reason = error.strerror or str(error)
            message = f"{self._path}: cannot be written ({reason}); each step tries again"
            for observer in self._others:
                observer(WarningEvent(step, message))


def _opened(path: Path) -> IO[bytes]:
    """Open or create a log; links and anything but regular files are refused."""
    flags = os.O_RDWR | os.O_CREAT
    for name in ("O_BINARY", "O_NOFOLLOW", "O_NONBLOCK"):
        flags |= getattr(os, name, 0)
    file = os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a file")
    return file


def _size_of(file: IO[bytes], step: int) -> int:
    """Return the size of a log up to the last event of its first `step` steps.

    The last one, because a run that went back has some steps more than once. Damaged lines are kept
    between sound ones, and cut off after them.
    """
    if step == 0:
        return 0
    kept = 0
    within = True  # the steps to keep
    for line in log_lines(file):
        try:
            event = json.loads(line) if line.endswith(b"\n") else {}
            if event["event"] == StepEvent.kind:
                within = int(event["step"]) <= step
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue
        if within:
            kept = file.tell()
    return kept


def log_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a log that may be JSON objects, which are all that it should have.

    Raises OSError for a file that is larger than any log: a log may be damaged or hostile.
    """
    if os.fstat(file.fileno()).st_size > MAX_LOG:
        raise OSError(errno.EFBIG, "too large for a log")
    while line := file.readline(_LONGEST_LINE):
        if line.startswith(b"{"):
            yield line


def _finite(value: Any) -> Any:
    """Replace infinity and NaN, which JSON lacks, with null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
