"""What a checkpoint stores of a trainer, and how a trainer continues from it."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
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
    """Return everything that a checkpoint stores of a trainer, the weights excepted.

    To be called by all processes of a run: each has the states and generators of some lanes.
    """
    arrays = {
        f"{OPTIMIZER}{name}": array for name, array in trainer.optimizer.state_arrays().items()
    }
    own = [[part.cpu().numpy() for part in state] for state in trainer.states]
    generators = [generator.get_state().numpy() for generator in trainer.generators]
    collected = trainer.context.group.collect((own, generators))
    states = [state for found, _ in collected for state in found]
    for k, part in enumerate(trainer.model.config.state.parts):
        array = np.concatenate([state[k] for state in states], axis=part.batch_axis)
        arrays[f"{STATE}{part.name}"] = array
    saved = [generator for _, found in collected for generator in found]
    arrays["dropout_rng"] = saved[0] if trainer.share.of == 1 else np.stack(saved)
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
        trainer.states = _carried(trainer, arrays)
    else:
        trainer.progress.record = TrainerProgress().record
    trainer.optimizer.load_state_arrays(
        {
            name.removeprefix(OPTIMIZER): array
            for name, array in arrays.items()
            if name.startswith(OPTIMIZER)
        }
    )
    saved_generators = np.atleast_2d(arrays["dropout_rng"])
    own = saved_generators[trainer.share.first : trainer.share.last]
    for generator, array in zip(trainer.generators, own, strict=True):
        restore_generator(generator, array)


def _carried(trainer: "Trainer", arrays: dict[str, NDArray[Any]]) -> list[State]:
    """Return the state of each shard of this process."""
    parts = trainer.model.config.state.parts
    whole = [torch.tensor(arrays[f"{STATE}{part.name}"]) for part in parts]
    lanes = trainer.lanes.carried
    expected = trainer.model.start(lanes)
    if any(array.shape != own.shape for array, own in zip(whole, expected, strict=True)):
        raise ValueError("its carried state has another number of lanes")
    return [
        tuple(
            array.movedim(part.batch_axis, 0)[shard.lanes(lanes)]
            .movedim(0, part.batch_axis)
            .contiguous()
            .to(trainer.context.device)
            for part, array in zip(parts, whole, strict=True)
        )
        for shard in trainer.share.each()
    ]


def _of_another_reader(trainer: "Trainer", saved: TrainerState) -> bool:
    """Return whether a run of short documents was begun when they were read one after the other.

    Then it carried the state of all lanes, and its chunks were others.
    """
    first = saved.arrays.get(f"{STATE}{trainer.model.config.state.parts[0].name}")
    if not isinstance(trainer.lanes, DocumentLanes) or first is None or first.ndim != 3:
        return False
    lanes: int = first.shape[1]
    return lanes == trainer.lanes.batch_size
