"""What a trainer calls for everything that is not training, and what a checkpoint stores of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from charrnn.training.events import Verdict
from charrnn.training.progress import TrainerProgress
from charrnn.training.validation import Validation

if TYPE_CHECKING:
    from charrnn.training.trainer import Trainer


@dataclass(frozen=True)
class TrainerState:
    """Everything besides its weights that a run needs to continue as if never interrupted.

    arrays: the carried state, the optimizer's state, the random generator. same_corpus: whether the
    lanes were of the same text as now.
    """

    arrays: dict[str, NDArray[Any]]
    progress: TrainerProgress
    same_corpus: bool = True


@dataclass(frozen=True)
class Hooks:
    """What a trainer calls for everything that is not training.

    validate: the loss on the validation part, or on some of it, None if a stop interrupted it;
    itself None if there is no such part.
    validate_best: the same for the best checkpoint, on up to so many symbols; None if `validate`
    uses all that there are to use.
    write_sample: a text by the model as it is at a step.
    save: commits a checkpoint and returns its path. Raises CheckpointError.
    go_back: restores the weights of a checkpoint from before a step and returns its trainer state;
    None if there is no such checkpoint. drop_after: deletes the checkpoints after a step.
    judge: what the run's curve says at its end, given the reason for it.
    """

    validate: Callable[[], Validation | None] | None
    validate_best: Callable[[int], Validation | None] | None
    write_sample: Callable[[int], str]
    save: Callable[["Trainer"], str]
    go_back: Callable[[int], TrainerState | None]
    drop_after: Callable[[int], object]
    judge: Callable[["Trainer", str], Verdict | None]
