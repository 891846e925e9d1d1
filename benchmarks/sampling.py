"""How fast text is generated: against the bare matrix products, a torch loop, and `import torch`.

Everything is timed in turn, round after round, with one thread and with all. Ratios are ratios of
medians, each with the number of threads that suits it best. Generation is timed end to end, with
drawing, log-probabilities and decoding to text, at temperature 0.8. Weights are random; those of
the large vocabulary give its clusters the shares of characters that they have in Tang poems.

    python benchmarks/sampling.py [MODEL [--checkpoint-dir FOLDER]]

With a trained MODEL, also counts the texts that differ, by rounding, between a batch and alone.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import machine
from threadpoolctl import threadpool_limits

import charrnn
from charrnn.generation.beam import search
from charrnn.generation.encoding import encode_request
from charrnn.generation.frontier import Constraints
from charrnn.generation.int8 import Int8
from charrnn.generation.layers import Dense, MatrixKind
from charrnn.generation.request import BeamConfig, GenerationRequest, SamplingConfig
from charrnn.generation.stepper import Stepper
from charrnn.generation.texts import generations
from charrnn.model.config import ModelConfig, clusters, parameter_shapes
from charrnn.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary("char", tuple(map(chr, range(0x3C, 0x3C + 65))))
# As many characters as Tang poems have, and the choices of `charrnn train` for them.
LARGE = Vocabulary("char", tuple(map(chr, range(0x4E00, 0x4E00 + 8_658))))
LARGE_CONFIG = ModelConfig(hidden_size=384, embedding_size=256, adaptive_softmax=500)
# How many of the poems' characters are among the 500 most frequent, and in each cluster.
SHARES = (0.7330, 0.1232, 0.0916, 0.0436, 0.0084, 0.0002)
ROUNDS = 15
LANES, BEAMS = 64, 8
START_ROUNDS = 7
ALONE = 384
THREADS = sorted({1, os.cpu_count() or 1})

Timed = dict[str, Callable[[], float]]  # each returns the seconds that a character took


def main() -> None:
    print(machine())
    for hidden, characters in ((512, 300), (128, 2_000)):
        seconds = measure(contestants(hidden, characters))
        best = {name: min(times.values()) for name, times in seconds.items()}
        print(f"\nLSTM 2 x {hidden}: microseconds a character" + f" with {THREADS} threads")
        for name, times in seconds.items():
            shown = "  ".join(f"{1e6 * times[threads]:8.1f}" for threads in THREADS)
            print(f"  {name:28} {shown}")
        bare = min(best["bare products, numpy"], best["bare products, torch.mv"])
        one = best["one stream"]
        print(f"  one stream / bare products   {one / bare:.2f}")
        print(f"  torch loop / one stream      {best['a loop over nn.LSTM'] / one:.1f}")
        print(f"  one stream / of {LANES}           {one / best[f'{LANES} streams']:.2f}")
        print(f"  beam of {BEAMS} / one stream       {best[f'beam of {BEAMS}'] / one:.2f}")
        print(f"  one stream / prompt          {one / best['prompt']:.2f}")
        print(f"  one stream / int8            {one / best['one stream, int8']:.2f}")
        print(f"  top-p 0.9 / one stream       {best['one stream, top-p 0.9'] / one:.2f}")
    large_vocabulary()
    start_up()
    if len(sys.argv) > 1:
        folder = sys.argv[3] if sys.argv[2:3] == ["--checkpoint-dir"] else charrnn.CHECKPOINT_DIR
        with charrnn.blas_threads(1):
            differing(charrnn.load(sys.argv[1], checkpoint_dir=folder))


def large_vocabulary() -> None:
    """Compare a model of 8,658 characters with the same model of 65, in each way of drawing."""
    small, large = make_stepper(384, layers=1), make_large_stepper()
    ways: dict[str, dict[str, Any]] = {
        "temperature 0": {"temperature": 0.0},
        "temperature 0.8": {},
        "temperature 1": {"temperature": 1.0},
        "temperature 1.2": {"temperature": 1.2},
        "top-k 20": {"top_k": 20},
        "top-p 0.9": {"top_p": 0.9},
        "min-p 0.1": {"min_p": 0.1},
    }
    timed: Timed = {}
    for way, values in ways.items():
        timed[f"65, {way}"] = partial(stream, small, 500, **values)
        timed[f"8,658, {way}"] = partial(stream, large, 500, vocabulary=LARGE, **values)
    timed[f"65, {LANES} streams"] = partial(stream, small, 20, LANES)
    timed[f"8,658, {LANES} streams"] = partial(stream, large, 20, LANES, vocabulary=LARGE)
    seconds = measure(timed)
    print("\nLSTM 1 x 384: microseconds a character, with 65 characters, with 8,658, and the ratio")
    for way in [*ways, f"{LANES} streams"]:
        few, many = (min(seconds[f"{size}, {way}"].values()) for size in ("65", "8,658"))
        print(f"  {way:28} {1e6 * few:8.1f} {1e6 * many:8.1f} {many / few:8.2f}")


def measure(timed: Timed) -> dict[str, dict[int, float]]:
    """Time everything in turn; returns the median seconds per character for each thread count."""
    rounds: dict[str, dict[int, list[float]]] = {
        name: {threads: [] for threads in THREADS} for name in timed
    }
    for _ in range(ROUNDS):
        for name, run in timed.items():
            for threads in THREADS:
                torch.set_num_threads(threads)
                with threadpool_limits(threads, user_api="blas"):
                    rounds[name][threads].append(run())
    return {
        name: {threads: statistics.median(times) for threads, times in by_threads.items()}
        for name, by_threads in rounds.items()
    }


def contestants(hidden: int, characters: int) -> Timed:
    stepper, compact = make_stepper(hidden), make_stepper(hidden, Int8)
    few = max(characters // LANES, 10)
    return {
        "bare products, numpy": lambda: bare_numpy(hidden, characters),
        "bare products, torch.mv": lambda: bare_torch(hidden, characters),
        f"bare products of {LANES} lanes": lambda: bare_lanes(hidden, few),
        "a loop over nn.LSTM": lambda: torch_loop(hidden, max(characters // 8, 20)),
        "one stream": lambda: stream(stepper, characters),
        "one stream, int8": lambda: stream(compact, characters),
        "one stream, top-p 0.9": lambda: stream(stepper, characters, top_p=0.9),
        f"{LANES} streams": lambda: stream(stepper, few, LANES),
        f"beam of {BEAMS}": lambda: beam(stepper, characters // 4),
        "prompt": lambda: prompt(stepper, characters),
    }


def make_stepper(hidden: int, kind: MatrixKind = Dense, layers: int = 2) -> Stepper:
    config = ModelConfig(num_layers=layers, hidden_size=hidden, embedding_size=64)
    return Stepper(random_weights(config, VOCABULARY), config, kind)


def make_large_stepper() -> Stepper:
    """Make a model that prefers the lower ids, in its head and in each cluster, as 1 / rank."""
    weights = random_weights(LARGE_CONFIG, LARGE)
    frequent, *shares = SHARES
    ranks = np.arange(1, LARGE_CONFIG.adaptive_softmax + 1)
    of_head = frequent / ranks / (1 / ranks).sum()
    weights["output.bias"][:] = np.log([*of_head, *shares])
    for k, cluster in enumerate(clusters(LARGE_CONFIG, len(LARGE))):
        ranks = np.arange(cluster.start, cluster.stop)
        weights[f"output.clusters.{k}.bias"][:] = -np.log(ranks)
    return Stepper(weights, LARGE_CONFIG)


def random_weights(config: ModelConfig, vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = parameter_shapes(config, len(vocabulary))
    return {k: random(rng, shape) for k, shape in shapes.items()}


def random(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    drawn: np.ndarray = (rng.standard_normal(shape) / shape[-1] ** 0.5).astype(np.float32)
    return drawn


def products(hidden: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the matrices that a character is multiplied by, with vectors for them."""
    rng = np.random.default_rng(0)
    shapes = [(4 * hidden, hidden), (4 * hidden, 2 * hidden), (len(VOCABULARY), hidden)]
    return [(random(rng, shape), random(rng, shape[1:])) for shape in shapes]


def bare_numpy(hidden: int, characters: int) -> float:
    triples = [(m, v, np.empty(len(m), np.float32)) for m, v in products(hidden)]
    began = time.perf_counter()
    for _ in range(characters):
        for matrix, vector, out in triples:
            matrix.dot(vector, out)
    return (time.perf_counter() - began) / characters


def bare_lanes(hidden: int, characters: int) -> float:
    triples = [
        (m, np.repeat(v[:, None], LANES, axis=1), np.empty((len(m), LANES), np.float32))
        for m, v in products(hidden)
    ]
    began = time.perf_counter()
    for _ in range(characters):
        for matrix, vectors, out in triples:
            np.dot(matrix, vectors, out=out)
    return (time.perf_counter() - began) / characters / LANES


def bare_torch(hidden: int, characters: int) -> float:
    triples = [
        (torch.from_numpy(m), torch.from_numpy(v), torch.empty(len(m))) for m, v in products(hidden)
    ]
    with torch.inference_mode():
        began = time.perf_counter()
        for _ in range(characters):
            for matrix, vector, out in triples:
                torch.mv(matrix, vector, out=out)
        return (time.perf_counter() - began) / characters


def torch_loop(hidden: int, characters: int) -> float:
    """Sample as a plain torch program: embedding, nn.LSTM, linear, softmax, multinomial."""
    embedding = torch.nn.Embedding(len(VOCABULARY), 64)
    lstm = torch.nn.LSTM(64, hidden, 2)
    linear = torch.nn.Linear(hidden, len(VOCABULARY))
    with torch.inference_mode():
        id_, state, text = torch.zeros(1, 1, dtype=torch.long), None, []
        began = time.perf_counter()
        for _ in range(characters):
            y, state = lstm(embedding(id_), state)
            probabilities = torch.softmax(linear(y[0]) / 0.8, dim=1)
            id_ = torch.multinomial(probabilities, 1)
            text.append(VOCABULARY.symbols[int(id_)])
        return (time.perf_counter() - began) / characters


def stream(
    stepper: Stepper,
    characters: int,
    lanes: int = 1,
    *,
    vocabulary: Vocabulary = VOCABULARY,
    **values: Any,
) -> float:
    config = SamplingConfig(length=characters, seed=0, **values)
    prompt = vocabulary.symbols[0]
    request = GenerationRequest(prompt=prompt, num_samples=lanes, sampling=config)
    encoded = encode_request(request, vocabulary)
    began = time.perf_counter()
    written = sum(len("".join(text)) for text in generations(stepper, encoded))
    return (time.perf_counter() - began) / written


def beam(stepper: Stepper, characters: int) -> float:
    config = SamplingConfig(length=characters)
    rng = np.random.default_rng(0)
    began = time.perf_counter()
    search(stepper, [0], config, BeamConfig(num_beams=BEAMS), Constraints(), rng=rng)
    return (time.perf_counter() - began) / characters


def prompt(stepper: Stepper, characters: int) -> float:
    ids = np.random.default_rng(0).integers(len(VOCABULARY), size=(characters, 1))
    state = stepper.start(1)
    began = time.perf_counter()
    stepper.read(ids, state)
    return (time.perf_counter() - began) / characters


def differing(model: charrnn.Model) -> None:
    """Count the texts that differ by rounding when they are generated in a batch, not alone."""
    config = SamplingConfig(length=1_000, temperature=1, seed=7)
    differ = 0
    for one in model.samples(ALONE, "", config):
        alone = SamplingConfig(length=1_000, temperature=1, seed=one.seed)
        differ += "".join(one) != "".join(model.sample("", alone))
    print(f"\n{differ} of {ALONE} texts of 1,000 characters in a batch differ from those alone")


def start_up() -> None:
    """Time whole processes in turn, and measure the peak memory of sampling."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = folder / "river.txt"
        text.write_text("The river does not know its name; it asks the stones.\n" * 60)
        run = charrnn.train(
            text,
            model=charrnn.ModelConfig(num_layers=2, hidden_size=128),
            training=charrnn.TrainingConfig(steps=1, sample_every=0),
            checkpoint_dir=folder,
            cache_dir=folder / "cache",
        ).folder
        sample = [sys.executable, "-m", "charrnn", "sample", str(run), "--no-echo"]
        seconds: dict[str, list[float]] = {"first character": [], "import torch": []}
        for _ in range(START_ROUNDS):
            began = time.perf_counter()
            with subprocess.Popen(sample, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                process.stdout.read(1)
                seconds["first character"].append(time.perf_counter() - began)
                process.communicate()
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", "import torch"], check=True)
            seconds["import torch"].append(time.perf_counter() - began)
        ratio = statistics.median(seconds["first character"]) / statistics.median(
            seconds["import torch"]
        )
        print(f"\nprocess start to first character / import torch   {ratio:.2f}")
        print(f"peak memory of charrnn sample at 2 x 128           {peak_memory(sample):.0f} MB")


def peak_memory(command: list[str]) -> float:
    """Return the peak resident set of a command's process, in MB."""
    measure = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, "
        "stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", measure, *command], check=True, capture_output=True, text=True
    )
    return int(done.stdout) / 1024


if __name__ == "__main__":
    main()
