"""What writing costs besides the products, for several sizes: one stream, many, and beams.

Everything is timed in turn, round after round, in seconds of the processor and with one thread, so
other programs hardly disturb it. Ratios are ratios of medians. Weights are random; generation is
timed end to end, at temperature 0.8. `sampling.py` measures more, in seconds of the clock.

    OMP_NUM_THREADS=1 python benchmarks/sampling_sizes.py
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
from common import machine
from sampling import BEAMS, LANES, VOCABULARY, beam, make_stepper, random, stream
from threadpoolctl import threadpool_limits

ROUNDS = 15
SMALL = 300  # units below which a character takes so little time that more are written
ALONE = [(1, 128), (2, 128), (1, 384), (1, 640)]  # layers, units
TOGETHER = [(2, 128), (1, 512)]


def main() -> None:
    print(machine())
    with threadpool_limits(1, user_api="blas"):
        for layers, hidden in ALONE:
            show(layers, hidden, together=False)
        for layers, hidden in TOGETHER:
            show(layers, hidden, together=True)


def show(layers: int, hidden: int, *, together: bool) -> None:
    """Print microseconds per character, and their ratios."""
    stepper = make_stepper(hidden, layers=layers)
    characters = 600 if hidden < SMALL else 150
    runs: dict[str, Callable[[], float]] = {
        "bare": lambda: bare(layers, hidden, characters),
        "one": lambda: processor_time(lambda: stream(stepper, characters), characters),
    }
    if together:
        few = max(characters // 16, 20)
        runs["many"] = lambda: processor_time(lambda: stream(stepper, few, LANES), few * LANES)
        runs["beam"] = lambda: processor_time(
            lambda: beam(stepper, characters // 3), characters // 3
        )
    rounds = [{name: run() for name, run in runs.items()} for _ in range(ROUNDS)]
    took = {name: 1e6 * statistics.median(times[name] for times in rounds) for name in runs}
    print(f"\nLSTM {layers} x {hidden}: " + ", ".join(f"{k} {v:.2f}" for k, v in took.items()))
    print(f"  one stream / bare products   {took['one'] / took['bare']:.2f}")
    if together:
        print(f"  one stream / of {LANES}           {took['one'] / took['many']:.2f}")
        print(f"  beam of {BEAMS} / one stream       {took['beam'] / took['one']:.2f}")


def processor_time(run: Callable[[], object], characters: int) -> float:
    began = time.process_time()
    run()
    return (time.process_time() - began) / characters


def bare(layers: int, hidden: int, characters: int) -> float:
    rng = np.random.default_rng(0)
    inputs = [hidden] + [2 * hidden] * (layers - 1)
    shapes = [(4 * hidden, size) for size in inputs] + [(len(VOCABULARY), hidden)]
    products = [
        (random(rng, shape), random(rng, shape[1:]), np.empty(shape[0], np.float32))
        for shape in shapes
    ]

    def run() -> None:
        for _ in range(characters):
            for matrix, vector, out in products:
                matrix.dot(vector, out)

    return processor_time(run, characters)


if __name__ == "__main__":
    main()
