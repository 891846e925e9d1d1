"""Reference losses, computed the plain way, and texts with documents to compute them for."""

import itertools
from collections.abc import Iterable

import numpy as np
import torch
from hypothesis import strategies as st
from torch.nn import functional as F

from charrnn.model.language_model import LanguageModel
from charrnn.text.store import Symbols


def unbroken(model: LanguageModel, ids: list[int]) -> float:
    """The loss of the whole text in one forward pass."""
    if len(ids) < 2:
        return 0.0
    symbols = torch.tensor(ids)[:, None]
    with torch.no_grad():
        logits, _ = model(symbols[:-1], model.start(1))
    return F.cross_entropy(logits.flatten(0, 1), symbols[1:].flatten(), reduction="sum").item()


def in_parts(model: LanguageModel, ids: list[int], resets: set[int]) -> float:
    """The sum of the losses of the parts between the places where the state is reset."""
    borders = sorted({0, len(ids) - 1} | resets)
    return sum(unbroken(model, ids[a : b + 1]) for a, b in itertools.pairwise(borders))


def symbols(ids: list[int], ends: Iterable[int] = ()) -> Symbols:
    return Symbols(np.array(ids, dtype=np.uint8), ends=np.array(sorted(ends), dtype=np.int64))


texts = st.lists(st.integers(0, 6), min_size=2, max_size=60)


@st.composite
def documents(draw: st.DrawFn, min_size: int = 2, max_size: int = 60) -> tuple[list[int], set[int]]:
    """A text and the ends of its documents."""
    ids = draw(st.lists(st.integers(0, 6), min_size=min_size, max_size=max_size))
    return ids, draw(st.sets(st.integers(1, len(ids)), max_size=8))
