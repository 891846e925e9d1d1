"""What a trainer saves of its progress besides arrays. Holds no torch."""

import math
from collections.abc import Mapping, Set
from typing import Any

# Attributes of the trainer, by name, each with its type; where None is one of the values, that too.
VALUES: dict[str, tuple[type, ...]] = {
    "step": (int,),
    "seconds": (float,),
    "train_loss": (float, type(None)),
    "loss_sum": (float,),
    "loss_count": (int,),
    "bad_steps": (int,),
    "last_good": (int,),
    "returns": (int,),
    "rate_scale": (float,),
    "evaluated_at": (int,),
    "sampled_at": (int,),
    "planned": (bool,),
}
RECORD: dict[str, tuple[type, ...]] = {
    "best_loss": (float, type(None)),
    "best_step": (int, type(None)),
    "stale": (int,),
    "factor": (float,),
}
LANES: dict[str, tuple[type, ...]] = {
    "epoch": (int,), "chunk": (int,), "offset": (int,), "generator": (dict,),
}  # fmt: skip
_LARGEST = 2**62


def check_values(values: Mapping[str, Any]) -> None:
    """Raise ValueError, TypeError or KeyError where values are not those of a trainer."""
    _check(values, VALUES, {"record", "lanes"})
    _check(values["record"], RECORD)
    _check(values["lanes"], LANES)


def _check(
    values: Mapping[str, Any],
    kinds: Mapping[str, tuple[type, ...]],
    others: Set[str] = frozenset(),
) -> None:
    if not isinstance(values, dict) or values.keys() != kinds.keys() | others:
        raise ValueError("its trainer has other values")
    for name, accepted in kinds.items():
        value = values[name]
        if type(value) not in accepted and not (float in accepted and type(value) is int):
            raise TypeError(f"its trainer's {name} is of another type")
        if isinstance(value, int | float) and not (
            -_LARGEST <= value <= _LARGEST and math.isfinite(value)
        ):
            raise ValueError(f"its trainer's {name} is out of bounds")
