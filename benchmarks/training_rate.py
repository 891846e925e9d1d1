"""How much of the machine's matrix-product rate `charrnn train` uses.

A step of truncated BPTT uses each weight in three multiply-adds per character, once forward and
twice backward, which are two operations each, for 32 x 64 characters. The rate of a step is these
operations divided by all of its time, optimizer and loss included. The machine's rate is that of a
product of two float32 matrices of 2,048 x 2,048, by torch.mm or oneDNN, whichever is faster. All
are timed in turn, in one process; figures are medians.

    python benchmarks/training_rate.py
"""

import statistics
import time
from collections.abc import Callable

import torch
from common import machine

import charrnn
from charrnn.model.config import multiplied_weights
from charrnn.model.language_model import LanguageModel
from charrnn.training.optimization import Optimizer, chunk_loss

ROUNDS = 15
LANES, TIME, SYMBOLS = 32, 64, 65
SIZE = 2_048
MODELS = {"1 x 256": (1, 256), "1 x 512": (1, 512), "2 x 512": (2, 512), "1 x 1024": (1, 1024)}


def products() -> dict[str, Callable[[], object]]:
    """Return ways to multiply two large matrices of float32."""
    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    ways: dict[str, Callable[[], object]] = {"torch.mm": lambda: a @ b}
    if torch.backends.mkldnn.is_available():
        linear = torch.ops.mkldnn._linear_pointwise
        ways["oneDNN"] = lambda: linear(a, b, None, "none", [], "")
    return ways


def step_of(num_layers: int, hidden_size: int, precision: torch.dtype) -> Callable[[], object]:
    """Return a function that does a step of training as the trainer does."""
    config = charrnn.ModelConfig(
        num_layers=num_layers, hidden_size=hidden_size, dropout=0.2, input_dropout=0.1
    )
    model = LanguageModel(config, SYMBOLS)
    optimizer = Optimizer(model, charrnn.TrainingConfig())
    ids = torch.randint(SYMBOLS, (TIME + 1, LANES))
    state, generator = model.start(LANES), torch.Generator()

    def step() -> None:
        loss, _ = chunk_loss(model, ids[:-1], ids[1:], state, generator, None, precision)
        optimizer.backward(loss)
        optimizer.clip()
        optimizer.update(0.001)

    return step


def main() -> None:
    """Time everything in turn, and print the shares."""
    works = dict.fromkeys(products(), 2.0 * SIZE**3)
    ways = products()
    for name, (layers, hidden) in MODELS.items():
        for precision in (torch.float32, torch.bfloat16):
            key = f"{name} {str(precision).removeprefix('torch.')}"
            ways[key] = step_of(layers, hidden, precision)
            config = charrnn.ModelConfig(num_layers=layers, hidden_size=hidden)
            works[key] = 6.0 * multiplied_weights(config, SYMBOLS) * LANES * TIME
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - began)
    rates = {name: works[name] / statistics.median(times[name][1:]) for name in ways}
    peak = max(rates[name] for name in products())
    print(f"{machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name, rate in rates.items():
        print(f"{name:20} {rate / 1e9:6.0f} GFLOP/s  {rate / peak:5.0%}")


if __name__ == "__main__":
    main()
