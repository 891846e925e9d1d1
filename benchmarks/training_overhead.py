"""What `charrnn train` costs a step beyond a bare torch loop of the same work.

Both train nn.LSTM 1 x 256 (embedding 256, 32 lanes x 64 steps, AdamW, cosine, clipping at 1) on the
same text in this process, a stretch of steps each in turn, so that the machine's moods meet both.
charrnn runs with its log and its view. The ratio of each pair of stretches is printed; the median
should be at most 1.05.

    python benchmarks/training_overhead.py [tinyshakespeare.txt]
"""

import math
import statistics
import tempfile
import threading
import time
from pathlib import Path

import torch
from common import machine, shakespeare
from torch import nn
from torch.nn import functional as F

import charrnn
from charrnn.cli.console import TrainingView
from charrnn.training.events import Event, StepEvent

STRETCH = 20
PAIRS = 30
WARM_UP = 2
STEPS = STRETCH * (PAIRS + WARM_UP)
HIDDEN, LANES, TIME, RATE = 256, 32, 64, 0.004


class Bare:
    """The bare loop: what one writes by hand."""

    def __init__(self, text: str) -> None:
        characters = sorted(set(text))
        index = {c: i for i, c in enumerate(characters)}
        ids = torch.tensor([index[c] for c in text[: int(len(text) * 0.9)]])
        length = (len(ids) - 1) // LANES
        self.inputs = ids[: LANES * length].view(LANES, length).t().contiguous()
        self.targets = ids[1 : LANES * length + 1].view(LANES, length).t().contiguous()
        self.embedding = nn.Embedding(len(characters), HIDDEN)
        self.lstm = nn.LSTM(HIDDEN, HIDDEN)
        self.output = nn.Linear(HIDDEN, len(characters))
        self.parameters = [
            p for m in (self.embedding, self.lstm, self.output) for p in m.parameters()
        ]
        groups = [
            {"params": [p for p in self.parameters if p.ndim > 1], "weight_decay": 0.01},
            {"params": [p for p in self.parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.99), fused=True)
        self.state: tuple[torch.Tensor, torch.Tensor] | None = None
        self.step = self.at = 0

    def stretch(self) -> None:
        """Take STRETCH steps."""
        for _ in range(STRETCH):
            if self.at + TIME > len(self.inputs):
                self.at, self.state = 0, None
            chunk = slice(self.at, self.at + TIME)
            y, state = self.lstm(self.embedding(self.inputs[chunk]), self.state)
            self.state = (state[0].detach(), state[1].detach())
            logits = self.output(y)
            loss = F.cross_entropy(logits.flatten(0, 1), self.targets[chunk].flatten())
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.parameters, 1.0)
            rate = RATE * 0.5 * (1 + math.cos(math.pi * self.step / STEPS))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
            loss.item()
            self.at += TIME
            self.step += 1


class Turns:
    """An observer that lets charrnn train for a stretch of steps whenever it is asked to."""

    def __init__(self) -> None:
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, event: Event) -> None:
        """Hand over after each stretch, and before the first."""
        if event.kind == "start":
            self.go.acquire()
        elif isinstance(event, StepEvent) and event.step % STRETCH == 0:
            self.done.release()
            if event.step < STEPS:
                self.go.acquire()

    def stretch(self) -> None:
        """Let STRETCH steps happen."""
        self.go.release()
        self.done.acquire()


def main() -> None:
    """Time both in turns and print the ratios."""
    path = shakespeare()
    bare, turns = Bare(path.read_text(encoding="utf-8")), Turns()
    with tempfile.TemporaryDirectory() as folder:
        view = TrainingView(quiet=False, verbose=False, checkpoint_dir=Path(folder))
        training = charrnn.TrainingConfig(
            steps=STEPS, learning_rate=RATE, eval_every=0, save_every=0, sample_every=0, warmup=0
        )
        model = charrnn.ModelConfig(hidden_size=HIDDEN, embedding_size=HIDDEN, dropout=0.0)
        thread = threading.Thread(
            target=charrnn.train,
            args=(path,),
            kwargs={
                "model": model,
                "training": training,
                "checkpoint_dir": folder,
                "observers": (view, turns),
            },
        )
        thread.start()
        ratios, charrnn_ms, bare_ms = [], [], []
        for pair in range(PAIRS + WARM_UP):
            began = time.perf_counter()
            turns.stretch()
            between = time.perf_counter()
            bare.stretch()
            ended = time.perf_counter()
            if pair >= WARM_UP:
                ratios.append((between - began) / (ended - between))
                charrnn_ms.append(1000 * (between - began) / STRETCH)
                bare_ms.append(1000 * (ended - between) / STRETCH)
        thread.join()
    print(f"{machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"charrnn  {statistics.median(charrnn_ms):.1f} ms a step (median of {PAIRS} stretches)")
    print(f"bare     {statistics.median(bare_ms):.1f} ms a step")
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"ratio    {middle:.3f} (quartiles {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
