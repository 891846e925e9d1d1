"""How much longer a step of `charrnn train` takes than a bare torch loop of the same work.

Both train nn.LSTM 1 x 256 (embedding 256, 32 lanes x 64 steps, AdamW, cosine, clipping at 1) on the
same text in this process. They take turns, a stretch of steps each, so that both meet the machine
equally busy. charrnn writes its log and shows its bar, on a pseudo-terminal. Prints the median of
the ratios of the pairs of stretches, which should be at most 1.05.

    python benchmarks/training_overhead.py [tinyshakespeare.txt]
"""

import fcntl
import os
import pty
import statistics
import struct
import sys
import tempfile
import termios
import threading
import time
from dataclasses import replace

import torch
from bare_loop import MODEL, TRAINING, Bare
from common import machine, shakespeare

import charrnn
from charrnn.render.training import TrainingView
from charrnn.training.events import Event

STRETCH = 20
PAIRS = 30
WARM_UP = 2
STEPS = STRETCH * (PAIRS + WARM_UP)


class Turns:
    """An observer that times charrnn's stretches of steps, and a bare stretch after each.

    Both run in the same thread, and so share torch's pool of threads.
    """

    def __init__(self, bare: Bare) -> None:
        self.bare = bare
        self.charrnn_seconds: list[float] = []
        self.bare_seconds: list[float] = []
        self.began = 0.0

    def __call__(self, event: Event) -> None:
        """Note the time at the end of each stretch."""
        if event.kind == "step" and event.step % STRETCH == 0:
            ended = time.perf_counter()
            self.charrnn_seconds.append(ended - self.began)
            self.bare.stretch(STRETCH)
            self.began = time.perf_counter()
            self.bare_seconds.append(self.began - ended)
        elif event.kind == "start":
            self.began = time.perf_counter()


def terminal_on_stderr() -> None:
    """Replace stderr by a terminal, and discard what it shows."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    os.dup2(slave, sys.stderr.fileno())

    def read() -> None:
        while os.read(master, 65536):
            pass

    threading.Thread(target=read, daemon=True).start()


def main() -> None:
    """Time both in turn, and print the ratio."""
    path = shakespeare()
    terminal_on_stderr()
    turns = Turns(Bare(path.read_text(encoding="utf-8"), STEPS))
    with tempfile.TemporaryDirectory() as folder:
        view = TrainingView(quiet=False, verbose=False)
        charrnn.train(
            path,
            model=MODEL,
            training=replace(TRAINING, steps=STEPS, warmup=0),
            checkpoint_dir=folder,
            observers=(view, turns),
        )
    ours, bare = turns.charrnn_seconds[WARM_UP:], turns.bare_seconds[WARM_UP:]
    ratios = [a / b for a, b in zip(ours, bare, strict=True)]
    print(f"{machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"medians of {PAIRS} stretches of {STRETCH} steps each")
    print(f"charrnn  {1000 * statistics.median(ours) / STRETCH:.1f} ms a step")
    print(f"bare     {1000 * statistics.median(bare) / STRETCH:.1f} ms a step")
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"ratio    {middle:.3f} (quartiles {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
