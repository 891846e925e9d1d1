"""What a step of training takes: the GRU, large vocabularies and lines, against the plain case.

Both sides of a pair take steps in turn, in one process, and the figure is the ratio of the medians
per character. Ids are random; vocabularies have the sizes of Shakespeare's and of Tang poems. The
documents of the pairs with lines are lines of the given files.

    python benchmarks/step_ratios.py [NAMES SMILES]
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import machine

import charrnn
from charrnn.model.device import resolve_precision
from charrnn.model.language_model import LanguageModel
from charrnn.text.store import Symbols
from charrnn.training.allocation import freed_memory_kept
from charrnn.training.documents import DocumentLanes
from charrnn.training.lanes import ChunkReader, Lanes
from charrnn.training.optimization import Optimizer, chunk_loss

ROUNDS, WARM_UP = 40, 5
LANES, TIME, FEW, MANY, HEAD = 32, 64, 65, 8_658, 500
Side = Callable[[], float]


def config(**values: Any) -> charrnn.ModelConfig:
    """Return settings without dropout."""
    return charrnn.ModelConfig(**({"dropout": 0.0, "input_dropout": 0.0} | values))


def side(reader: ChunkReader, config: charrnn.ModelConfig, symbols: int) -> Side:
    """Return a function that takes a step and returns its seconds per character."""
    model = LanguageModel(config, symbols)
    optimizer = Optimizer(model, charrnn.TrainingConfig())
    precision = resolve_precision("auto", torch.device("cpu"), config.hidden_size)
    rng, state = torch.Generator(), model.start(reader.carried)

    def step() -> float:
        nonlocal state
        began = time.perf_counter()
        chunk = reader.next()
        if chunk.fresh:
            state = model.start(chunk.inputs.shape[1])
        loss, state = chunk_loss(
            model, chunk.inputs, chunk.targets, state, rng, chunk.resets, precision
        )
        optimizer.backward(loss)
        optimizer.clip()
        optimizer.update(0.001)
        return (time.perf_counter() - began) / chunk.symbols

    return step


def random_text(symbols: int) -> ChunkReader:
    """Return lanes over random ids: equally frequent, or with many symbols as 1 / (n + 10)."""
    rng = np.random.default_rng(0)
    shares = np.ones(symbols) if symbols == FEW else 1 / np.arange(10, symbols + 10)
    ids = rng.choice(symbols, 300_000, p=shares / shares.sum())
    return Lanes(Symbols(ids), LANES, TIME, rng)


def lines(path: Path, *, as_documents: bool) -> ChunkReader:
    """Return a reader of the lines of a file."""
    ids = np.frombuffer(path.read_bytes(), np.uint8) % FEW
    rng = np.random.default_rng(0)
    if not as_documents:
        return Lanes(Symbols(ids), LANES, TIME, rng)
    ends = np.flatnonzero(np.frombuffer(path.read_bytes(), np.uint8) == ord("\n")) + 1
    return DocumentLanes(Symbols(ids, ends=ends), LANES, TIME, rng)


def ratio(one: Side, other: Side) -> str:
    """Take steps of both in turn; describe how their medians compare."""
    taken = np.array([(one(), other()) for _ in range(ROUNDS)])[WARM_UP:]
    first, second = (statistics.median(column) * LANES * TIME * 1e3 for column in taken.T)
    return f"{first / second:.2f} x ({first:.1f} and {second:.1f} ms for 2,048 characters)"


def main() -> None:
    """Measure and print every pair."""
    print(f"{machine()}; {torch.get_num_threads()} threads")
    with freed_memory_kept():
        for hidden in (256, 512):
            gru, lstm = (
                side(random_text(FEW), config(cell=cell, hidden_size=hidden), FEW)
                for cell in ("gru", "lstm")
            )
            print(f"gru against lstm, 1 x {hidden}: {ratio(gru, lstm)}")
        sizes = {"hidden_size": 384, "embedding_size": 128}
        many = side(random_text(MANY), config(**sizes, adaptive_softmax=HEAD), MANY)
        few = side(random_text(FEW), config(**sizes), FEW)
        print(f"{MANY:,} symbols against {FEW}, 1 x 384: {ratio(many, few)}")
        for name, hidden in zip(sys.argv[1:], (256, 512), strict=False):
            documents, plain = (
                side(lines(Path(name), as_documents=d), config(hidden_size=hidden), FEW)
                for d in (True, False)
            )
            compared = ratio(documents, plain)
            print(f"lines against one text, {Path(name).name}, 1 x {hidden}: {compared}")


if __name__ == "__main__":
    main()
