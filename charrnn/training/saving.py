"""What a checkpoint stores of a trainer, and how a trainer continues from it."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray

from charrnn.errors import CheckpointError
from charrnn.model.cells import State
from charrnn.training.documents import DocumentLanes
from charrnn.training.hooks import TrainerState
from charrnn.training.progress import TrainerProgress
from charrnn.training.randomness import restore_generator

if TYPE_CHECKING:
    from charrnn.training.trainer import Trainer

OPTIMIZER, STATE = "optimizer/", "state/"  # prefixes of the names of arrays
# What a state that does not fit may raise.
_UNFIT = (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError)


def state_of(trainer: "Trainer") -> TrainerState:
    """Return everything that a checkpoint stores of a trainer, the weights excepted."""
    arrays = {
        f"{OPTIMIZER}{name}": array for name, array in trainer.optimizer.state_arrays().items()
    }
    for part, array in zip(trainer.model.config.state.parts, trainer.state, strict=True):
        arrays[f"{STATE}{part.name}"] = array.cpu().numpy()
    arrays["dropout_rng"] = trainer.dropout_rng.get_state().numpy()
    return TrainerState(arrays, replace(trainer.progress, lanes=trainer.lanes.position()))


def restore(trainer: "Trainer", saved: TrainerState) -> None:
    """Let a trainer continue from what `state_of` returned, with the weights of the same moment.

    On another text the lanes stay at their beginning, and earlier validations do not count. The
    random state of another kind of device does not fit and is ignored.
    Raises CheckpointError for a state that does not fit.
    """
    try:
        _restore(trainer, saved)
    except _UNFIT as error:
        if _of_another_reader(trainer, saved):
            raise CheckpointError(
                "an earlier version of charrnn began this run and read its short documents in "
                "another way, so it cannot be continued; start a new run from its weights: "
                "charrnn train CORPUS `init_from=RUN`"
            ) from error
        raise CheckpointError(
            f"its trainer state cannot be used ({str(error)[:200]}); resume from another "
            "checkpoint: `checkpoint=STEP`"
        ) from error


def _restore(trainer: "Trainer", saved: TrainerState) -> None:
    arrays = saved.arrays
    trainer.progress = replace(saved.progress, scheduled=True)
    trainer.saved_at = trainer.step
    if saved.same_corpus:
        assert saved.progress.lanes is not None
        trainer.lanes.move_to(saved.progress.lanes)
        trainer.state = _carried(trainer, arrays)
    else:
        trainer.progress.record = TrainerProgress().record
    trainer.optimizer.load_state_arrays(
        {
            name.removeprefix(OPTIMIZER): array
            for name, array in arrays.items()
            if name.startswith(OPTIMIZER)
        }
    )
    restore_generator(trainer.dropout_rng, arrays["dropout_rng"])


def _carried(trainer: "Trainer", arrays: dict[str, NDArray[Any]]) -> State:
    names = [part.name for part in trainer.model.config.state.parts]
    parts = [torch.tensor(arrays[f"{STATE}{name}"]) for name in names]
    expected = trainer.model.start(trainer.lanes.carried)
    if any(part.shape != own.shape for part, own in zip(parts, expected, strict=True)):
        raise ValueError("its carried state has another number of lanes")
    return tuple(part.to(trainer.context.device) for part in parts)


def _of_another_reader(trainer: "Trainer", saved: TrainerState) -> bool:
    """Return whether a run of short documents was begun when they were read one after the other.

    Then it carried the state of all lanes, and its chunks were others.
    """
    first = saved.arrays.get(f"{STATE}{trainer.model.config.state.parts[0].name}")
    if not isinstance(trainer.lanes, DocumentLanes) or first is None or first.ndim != 3:
        return False
    lanes: int = first.shape[1]
    return lanes == trainer.lanes.batch_size
