"""Models with few symbols, whose texts can be enumerated, and a function that searches them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.beam import Hypothesis, search
from charrnn.generation.frontier import Constraints
from charrnn.generation.lane_model import LaneModel
from charrnn.generation.request import BeamConfig, SamplingConfig

Text = tuple[int, ...]


class Texts:
    """The states of a TableModel: what each lane has read."""

    def __init__(self, texts: list[Text]) -> None:
        self.texts = texts

    def take(self, lanes: NDArray[np.integer[Any]]) -> "Texts":
        """Take these lanes, and leave nothing in the original that could still be used."""
        texts, self.texts = self.texts, []
        return Texts([texts[lane] for lane in lanes])


@dataclass
class TableModel:
    """Random logits for each text so far, or the same logits everywhere.

    decimals: of the logits; with 0 there are ties.
    """

    vocabulary_size: int
    seed: int = 0
    decimals: int = 8
    everywhere: list[float] = field(default_factory=list)
    table: dict[Text, list[float]] = field(default_factory=dict)
    most_lanes: int = 0
    last: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))

    def logits(self, text: Text) -> list[float]:
        if self.everywhere:
            return self.everywhere
        if text not in self.table:
            drawn = np.random.default_rng([self.seed, *text]).normal(0, 2, self.vocabulary_size)
            self.table[text] = drawn.round(self.decimals).tolist()
        return self.table[text]

    def start(self, lanes: int) -> Texts:
        return Texts([()] * lanes)

    def step(self, ids: NDArray[np.integer[Any]], state: Texts) -> NDArray[np.float64]:
        state.texts = [(*text, int(id_)) for text, id_ in zip(state.texts, ids, strict=True)]
        self.most_lanes = max(self.most_lanes, len(state.texts))
        self.last[:] = np.nan  # a step may overwrite the logits of the step before
        self.last = np.array([self.logits(text) for text in state.texts])
        return self.last

    def read(self, ids: NDArray[np.integer[Any]], state: Texts) -> NDArray[np.float64]:
        for row in ids:
            logits = self.step(row, state)
        return logits

    def read_all(self, ids: NDArray[np.integer[Any]], state: Texts) -> NDArray[Any]:
        return np.array([self.step(row, state).copy() for row in ids])


def same_everywhere(*probabilities: float) -> TableModel:
    """A model that gives its symbols the same probabilities, whatever came before."""
    return TableModel(len(probabilities), everywhere=[math.log(p) for p in probabilities])


def log_p(model: TableModel, text: Text, never: Sequence[int] = ()) -> list[float]:
    """The log-probability of each symbol after a text, in plain Python."""
    logits = [-math.inf if i in never else x for i, x in enumerate(model.logits(text))]
    total = math.fsum(math.exp(x) for x in logits)
    return [x - math.log(total) for x in logits]


def scored(model: TableModel, prompt: Text, ids: Text, never: Sequence[int] = ()) -> float:
    """The log-probability of ids after a prompt."""
    return math.fsum(
        log_p(model, prompt + ids[:place], never)[id_] for place, id_ in enumerate(ids)
    )


def ends_with(text: Text, stops: Sequence[Sequence[int]]) -> bool:
    return any(text[max(len(text) - len(stop), 0) :] == tuple(stop) for stop in stops)


def find(
    model: LaneModel[Any],
    prompt: Text = (0,),
    *,
    stops: Sequence[Text] = (),
    ends: Sequence[Text] = (),
    never: Sequence[int] = (),
    banned: Sequence[int] = (),
    seed: int = 0,
    clock: Iterator[float] | None = None,
    progress: list[tuple[int, int]] | None = None,
    num_beams: int = 1,
    beams: dict[str, Any] | None = None,
    **settings_: Any,
) -> list[Hypothesis]:
    """Search, and return all num_beams texts."""
    temperature = {} if "temperature_schedule" in settings_ else {"temperature": 1.0}
    return search(
        model,
        prompt,
        SamplingConfig(**(temperature | settings_)),
        BeamConfig(num_beams, **({"num_return_sequences": num_beams} | (beams or {}))),
        Constraints(stops=stops, ends=ends, never=never, banned=banned),
        rng=np.random.default_rng(seed),
        clock=(lambda: 0.0) if clock is None else clock.__next__,
        on_progress=lambda *step: None if progress is None else progress.append(step),
    )
