"""A training loop over nn.LSTM without charrnn, which charrnn is measured against."""

import math

import torch
from torch import nn
from torch.nn import functional as F

import charrnn

HIDDEN, LANES, TIME, RATE = 256, 32, 64, 0.004
# The settings with which charrnn does the same work.
MODEL = charrnn.ModelConfig(
    hidden_size=HIDDEN, embedding_size=HIDDEN, dropout=0.0, input_dropout=0.0
)
TRAINING = charrnn.TrainingConfig(
    learning_rate=RATE,
    weight_decay=0.01,
    state_reset=0.0,
    precision="float32",
    eval_every=0,
    save_every=0,
    sample_every=0,
)


class Bare:
    """A loop as one writes it by hand.

    nn.LSTM 1 x 256, embedding 256, 32 lanes x 64 steps of truncated BPTT on the first 90% of a
    text, AdamW, cosine to 0 over `steps` steps, gradient clipping at 1.
    """

    def __init__(self, text: str, steps: int) -> None:
        self.steps = steps
        characters = sorted(set(text))
        index = {c: i for i, c in enumerate(characters)}
        ids = torch.tensor([index[c] for c in text])
        ids, self.held_out = ids[: int(len(ids) * 0.9)], ids[int(len(ids) * 0.9) :]
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

    def stretch(self, steps: int) -> None:
        """Train for a number of steps."""
        for _ in range(steps):
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
            rate = RATE * 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
            loss.item()
            self.at += TIME
            self.step += 1

    @torch.inference_mode()
    def nats_per_char(self) -> float:
        """Return the loss on the last 10% of the text, read once with carried state."""
        state, total = None, 0.0
        for start in range(0, len(self.held_out) - 1, TIME):
            chunk = self.held_out[start : start + TIME + 1, None]
            y, state = self.lstm(self.embedding(chunk[:-1]), state)
            loss = F.cross_entropy(self.output(y)[:, 0], chunk[1:, 0], reduction="sum")
            total += loss.item()
        return total / (len(self.held_out) - 1)
