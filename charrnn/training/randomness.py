"""The state of torch's random generators, as a checkpoint stores it."""

import struct

import numpy as np
import torch
from numpy.typing import NDArray

# The beginning of a CPU generator's state: seed, numbers left of the 624 of the Mersenne Twister,
# whether it was seeded, and the index of the next one.
_MERSENNE_TWISTER = struct.Struct("<QiiQ")
_NUMBERS = 624


def restore_generator(generator: torch.Generator, saved: NDArray[np.uint8]) -> None:
    """Set a generator to a saved state. That of another kind of device does not fit: ignored.

    Raises ValueError for a state of the CPU that no generator can have: torch would believe it,
    and read beyond its numbers.
    """
    if saved.shape != tuple(generator.get_state().shape):
        return
    if generator.device.type == "cpu":
        _, left, seeded, following = _MERSENNE_TWISTER.unpack_from(saved.tobytes())
        fresh = (left, following) == (1, 0)
        if seeded != 1 or not (fresh or (left >= 1 and left + following == _NUMBERS + 1)):
            raise ValueError("its random generator is in a state that does not exist")
    generator.set_state(torch.from_numpy(saved.copy()))
