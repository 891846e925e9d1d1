"""The speed of several processes against one process with as many threads.

    python benchmarks/processes.py [tinyshakespeare.txt]

Each way trains a new run for some steps, one way after the other, round after round. The speed of a
way in a round is that of its median step, without the first ones. The figures are medians, over the
rounds, of the ratio to one process with two threads in the same round.
"""

import json
import statistics
import tempfile
from pathlib import Path

from common import charrnn, machine, shakespeare

ROUNDS, STEPS, WARM_UP = 3, 50, 15
MODELS = {"1 x 512": (1, 512), "2 x 512": (2, 512)}
WAYS: dict[str, tuple[object, ...]] = {
    "1 process, 2 threads": ("--threads", 2),
    "1 process, 2 threads, 2 shards": ("--threads", 2, "--shards", 2),
    "1 process, 2 threads, 8 shards": ("--threads", 2, "--shards", 8),
    "2 processes, 1 thread each, 2 shards": ("--threads", 1, "--processes", 2, "--shards", 2),
    "2 processes, 1 thread each, 8 shards": ("--threads", 1, "--processes", 2, "--shards", 8),
}


def main() -> None:
    """Measure and print every way."""
    text = shakespeare()
    print(machine())
    for name, (layers, units) in MODELS.items():
        model = ("--num-layers", layers, "--hidden-size", units, "--dropout", 0.2)
        rounds = [
            {way: speed(text, (*model, *flags)) for way, flags in WAYS.items()}
            for _ in range(ROUNDS)
        ]
        first = next(iter(WAYS))
        for way in WAYS:
            ratios = [each[way] / each[first] for each in rounds]
            characters = statistics.median(each[way] for each in rounds)
            ratio = statistics.median(ratios)
            print(f"{name}, {way}: {ratio:.2f} x as fast ({characters:,.0f} characters/s)")


def speed(text: Path, flags: tuple[object, ...]) -> float:
    """Train for some steps; returns characters per second."""
    with tempfile.TemporaryDirectory() as folder:
        charrnn(
            *("train", text, "--run", "r", "--checkpoint-dir", folder, "--quiet"),
            *("--steps", STEPS, "--eval-every", 0, "--sample-every", 0, "--val-fraction", 0),
            *flags,
        )
        lines = Path(folder, "r", "log.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    speeds = [event["symbols_per_second"] for event in events if event["event"] == "step"]
    return float(statistics.median(speeds[WARM_UP:]))


if __name__ == "__main__":
    main()
