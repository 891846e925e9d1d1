"""How far a run has come, as the manifest of a checkpoint stores it. Holds no torch."""

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from charrnn.checkpoint.records import read_record

PLATEAU_FACTOR = 0.5
PLATEAU_PATIENCE = 2


@dataclass
class ValidationRecord:
    """The best validation loss, the evaluations since then, and the plateau schedule's factor."""

    best_loss: float | None = None
    best_step: int | None = None
    stale: int = 0
    factor: float = 1.0

    def update(self, loss: float, step: int) -> bool:
        """Record an evaluation; returns whether it is the best so far."""
        if math.isfinite(loss) and (self.best_loss is None or loss < self.best_loss):
            self.best_loss, self.best_step, self.stale = loss, step, 0
            return True
        self.stale += 1
        if self.stale % PLATEAU_PATIENCE == 0:
            self.factor *= PLATEAU_FACTOR
        return False


@dataclass(frozen=True)
class LanePosition:
    """Where the lanes are in their text: epochs done, chunks of this one, its offset.

    generator: the state of the generator that draws the offsets, as numpy gives it.
    """

    epoch: int
    chunk: int
    offset: int
    generator: dict[str, Any]


@dataclass
class TrainerProgress:
    """What a trainer counts, besides arrays. A resumed run continues with these values.

    seconds: that the run has taken, evaluations and saving included. train_loss: of the last step.
    loss_sum, loss_count: of the steps since the last evaluation. bad_steps: without a finite
    gradient, in a row. last_good: the last step whose loss was that of a sound model. returns,
    rate_scale: how often the run went back to an earlier checkpoint, and what that left of the
    learning rate.
    evaluated_at, sampled_at: the steps of the last evaluation and sample, -1 before the first.
    scheduled: whether the run would have saved here even without an interruption.
    lanes: None until the first save.
    """

    step: int = 0
    seconds: float = 0.0
    train_loss: float | None = None
    loss_sum: float = 0.0
    loss_count: int = 0
    bad_steps: int = 0
    last_good: int = 0
    returns: int = 0
    rate_scale: float = 1.0
    evaluated_at: int = -1
    sampled_at: int = -1
    scheduled: bool = True
    record: ValidationRecord = field(default_factory=ValidationRecord)
    lanes: LanePosition | None = None

    @staticmethod
    def from_json(values: dict[str, Any]) -> "TrainerProgress":
        """Read what a manifest stores. Raises TypeError or ValueError if it is malformed."""
        progress = read_record(TrainerProgress, values)
        if progress.lanes is None:
            raise ValueError("the position in the corpus is missing")
        return progress

    def to_json(self) -> dict[str, Any]:
        """Return what a manifest stores."""
        return asdict(self)

    def count(self, loss: float) -> None:
        """Count the loss of a step that was applied."""
        self.bad_steps = 0
        self.train_loss = loss
        self.loss_sum += loss
        self.loss_count += 1

    def take_mean_loss(self) -> float:
        """Return the mean loss since the last call, NaN if there was no step."""
        mean = self.loss_sum / self.loss_count if self.loss_count else math.nan
        self.loss_sum, self.loss_count = 0.0, 0
        return mean

    def after_return_to(self, earlier: "TrainerProgress", rate_factor: float) -> "TrainerProgress":
        """Return the progress of a run that goes back to an earlier checkpoint.

        Its time is not lost, and the return counts, with a factor of the learning rate.
        """
        return replace(
            earlier,
            seconds=self.seconds,
            returns=self.returns + 1,
            rate_scale=self.rate_scale * rate_factor,
            scheduled=True,
        )
