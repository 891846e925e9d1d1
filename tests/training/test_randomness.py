"""The state of a random generator in a checkpoint."""

import struct
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charrnn.training.randomness import restore_generator


def state_of(generator: torch.Generator) -> Any:
    return generator.get_state().numpy()


@given(drawn=st.integers(0, 1500), seed=st.integers(0, 2**63 - 1))
def test_a_generator_continues_where_it_was(drawn: int, seed: int) -> None:
    before = torch.Generator().manual_seed(seed)
    torch.rand(drawn, generator=before)
    other = torch.Generator()
    restore_generator(other, state_of(before))
    assert torch.equal(torch.rand(9, generator=before), torch.rand(9, generator=other))


@pytest.mark.parametrize(
    ("left", "seeded", "following"),
    [(600, 1, 620), (624, 1, 624), (1, 1, 2**40), (-5, 1, 630), (0, 1, 625), (1, 0, 0)],
)
def test_a_state_that_reads_out_of_bounds_is_refused(
    left: int, seeded: int, following: int
) -> None:
    state = state_of(torch.Generator().manual_seed(1)).copy()
    state[: struct.calcsize("<QiiQ")] = np.frombuffer(
        struct.pack("<QiiQ", 1, left, seeded, following), np.uint8
    )
    with pytest.raises(ValueError, match="does not exist"):
        restore_generator(torch.Generator(), state)


def test_the_state_of_another_device_is_ignored() -> None:
    generator = torch.Generator().manual_seed(3)
    restore_generator(generator, np.zeros(16, np.uint8))
    found = torch.rand(3, generator=generator)
    assert torch.equal(found, torch.rand(3, generator=torch.Generator().manual_seed(3)))
