"""How long saving a checkpoint holds up training, against a plain write of the same bytes.

Trains an LSTM 2 x 512 with AdamW and saves it after every step; a save takes from the end of the
step to the checkpoint's event. After each save, this process writes the checkpoint's bytes to one
file beside it, with fsync. The median of the ratios should be at most 1.5.

    python benchmarks/checkpoint_cost.py [FOLDER on the disk to measure]
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from common import machine

import charrnn

PAIRS = 40
TEXT = "The river does not know its name; it asks the stones.\n" * 200


class Stopwatch:
    """Times each save, and the plain write of the same bytes after it."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.saves: list[float] = []
        self.writes: list[float] = []
        self.bytes = 0
        self.began = 0.0

    def __call__(self, event: charrnn.events.Event) -> None:
        if isinstance(event, charrnn.events.StepEvent):
            self.began = time.perf_counter()
        if isinstance(event, charrnn.events.CheckpointEvent):
            self.saves.append(time.perf_counter() - self.began)
            data = b"".join(path.read_bytes() for path in Path(event.path).iterdir())
            began = time.perf_counter()
            descriptor = os.open(self.scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.write(descriptor, data)
            os.fsync(descriptor)
            os.close(descriptor)
            self.writes.append(time.perf_counter() - began)
            self.scratch.unlink()
            self.bytes = len(data)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        folder = Path(name)
        (folder / "river.txt").write_text(TEXT, encoding="utf-8")
        watch = Stopwatch(folder / "plain")
        charrnn.train(
            folder / "river.txt",
            model=charrnn.ModelConfig(num_layers=2, hidden_size=512),
            training=charrnn.TrainingConfig(
                steps=PAIRS, batch_size=4, seq_length=8, eval_every=0, save_every=1, sample_every=0
            ),
            checkpoint_dir=folder / "checkpoints",
            cache_dir=folder / "cache",
            observers=[watch],
        )
    ratios = sorted(s / w for s, w in zip(watch.saves, watch.writes, strict=True))
    low, median, high = (
        statistics.quantiles(ratios, n=4)[0],
        statistics.median(ratios),
        statistics.quantiles(ratios, n=4)[2],
    )
    print(machine())
    print(f"{watch.bytes / 1e6:.1f} MB a checkpoint, {len(ratios)} pairs")
    print(
        f"a save {1000 * statistics.median(watch.saves):.0f} ms, "
        f"a plain write and fsync {1000 * statistics.median(watch.writes):.0f} ms"
    )
    print(f"ratio {median:.2f} (quartiles {low:.2f} to {high:.2f}; at most 1.5)")


if __name__ == "__main__":
    main()
