"""A small Transformer against what `charrnn train` chooses: same text, same time, same care.

A decoder-only Transformer of plain torch modules: pre-norm blocks, learned positions, GELU, tied
embedding, dropout, AdamW with warm-up and cosine, products in bfloat16 where that is fast. Its
size, context and learning rate are searched on the last tenth of the training part of tiny
Shakespeare (`search`), once for each time; `final` then trains both on the whole training part for
the same minutes, one after the other, and evaluates them on the validation part.

    python benchmarks/transformer.py search [tinyshakespeare.txt] --minutes 1 4
    python benchmarks/transformer.py final [tinyshakespeare.txt] --minutes 1 4 15
    python benchmarks/transformer.py writing [tinyshakespeare.txt]

A Transformer has no state to carry: each character is predicted from at least half of its context,
with windows that overlap. `writing` measures the time and memory of a character as the text grows,
with the keys and values of earlier characters kept. Results are appended to
docs/research/transformer.jsonl.
"""

import argparse
import math
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import FETCHED, ROOT, add_record, machine, read_records, shakespeare
from torch import Tensor, nn
from torch.nn import functional as F

import charrnn
from charrnn.model.device import resolve_precision
from charrnn.training.allocation import freed_memory_kept

RECORDS = ROOT / "docs" / "research" / "transformer.jsonl"
WARM_UP = 100
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Settings:
    """Of a Transformer and its training. lanes: sequences of `context` characters a step."""

    layers: int
    width: int
    heads: int
    context: int
    lanes: int
    rate: float
    dropout: float
    decay: float = 0.1


# What is searched: a size and a rate at a time, around what suits each number of minutes.
GRID = {
    1: [
        Settings(4, 128, 4, 64, 32, 2e-3, 0.0),
        Settings(4, 192, 4, 64, 32, 2e-3, 0.0),
        Settings(4, 128, 4, 64, 32, 4e-3, 0.0),
        Settings(3, 256, 4, 64, 32, 2e-3, 0.0),
        Settings(6, 128, 4, 64, 32, 2e-3, 0.0),
        Settings(4, 128, 4, 128, 16, 2e-3, 0.0),
    ],
    4: [
        Settings(4, 256, 4, 128, 16, 1e-3, 0.1),
        Settings(4, 256, 4, 128, 16, 2e-3, 0.1),
        Settings(6, 192, 6, 128, 16, 2e-3, 0.1),
        Settings(6, 256, 4, 128, 16, 1e-3, 0.1),
        Settings(4, 256, 4, 256, 8, 1e-3, 0.1),
        Settings(4, 192, 4, 128, 16, 2e-3, 0.0),
    ],
    15: [
        Settings(6, 320, 5, 256, 12, 1e-3, 0.2),
        Settings(6, 256, 4, 256, 12, 1e-3, 0.2),
        Settings(6, 384, 6, 256, 12, 1e-3, 0.2),
    ],
}


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); x is (B, T, D)."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.heads, self.dropout = s.heads, s.dropout
        self.norm_a, self.norm_m = nn.LayerNorm(s.width), nn.LayerNorm(s.width)
        self.qkv = nn.Linear(s.width, 3 * s.width, bias=False)
        self.out = nn.Linear(s.width, s.width, bias=False)
        self.up = nn.Linear(s.width, 4 * s.width, bias=False)
        self.down = nn.Linear(4 * s.width, s.width, bias=False)
        self.drop = nn.Dropout(s.dropout)

    def forward(self, x: Tensor, past: list[Tensor] | None = None) -> Tensor:
        """Return (B, T, D). past: keys and values of earlier steps; this one's are appended."""
        b, t, d = x.shape
        shape = (b, t, self.heads, d // self.heads)
        parts = self.qkv(self.norm_a(x)).chunk(3, dim=2)
        q, k, v = (part.reshape(shape).transpose(1, 2) for part in parts)
        if past is not None:
            if past:
                k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
            past[:] = [k, v]
        causal = t > 1
        drop = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal, dropout_p=drop)
        x = x + self.drop(self.out(y.transpose(1, 2).reshape(b, t, d)))
        y = self.down(F.gelu(self.up(self.norm_m(x))))
        result: Tensor = x + self.drop(y)
        return result


class Transformer(nn.Module):
    """Logits (B, T, V) of ids (B, T)."""

    def __init__(self, s: Settings, symbols: int) -> None:
        super().__init__()
        self.settings = s
        self.symbols = nn.Embedding(symbols, s.width)
        self.positions = nn.Embedding(s.context, s.width)
        self.blocks = nn.ModuleList(Block(s) for _ in range(s.layers))
        self.norm = nn.LayerNorm(s.width)
        self.drop = nn.Dropout(s.dropout)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                deep = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(p, std=0.02 / (math.sqrt(2 * s.layers) if deep else 1))

    def forward(self, ids: Tensor, past: list[list[Tensor]] | None = None, at: int = 0) -> Tensor:
        """See above. past: a list for each block; at: how many characters are in it."""
        places = torch.arange(at, at + ids.shape[1])
        x = self.drop(self.symbols(ids) + self.positions(places))
        for i, block in enumerate(self.blocks):
            x = block(x, None if past is None else past[i])
        return F.linear(self.norm(x), self.symbols.weight)


def train(ids: Tensor, symbols: int, s: Settings, seconds: float, seed: int) -> tuple[Any, int]:
    """Train for a time; returns the model and its steps."""
    torch.manual_seed(seed)
    model = Transformer(s, symbols)
    matrices = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim != 2]
    groups = [{"params": matrices, "weight_decay": s.decay}, {"params": others, "weight_decay": 0}]
    optimizer = torch.optim.AdamW(groups, lr=s.rate, betas=(0.9, 0.99), fused=True)
    low = resolve_precision("auto", CPU, s.width)
    began, step, done = time.perf_counter(), 0, 0.0
    while done < 1:
        starts = torch.randint(len(ids) - s.context, (s.lanes,))
        chunk = torch.stack([ids[a : a + s.context + 1] for a in starts.tolist()])
        with torch.autocast("cpu", low, enabled=low is torch.bfloat16):
            logits = model(chunk[:, :-1])
        loss = F.cross_entropy(logits.float().flatten(0, 1), chunk[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rate = s.rate * min(1, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * done))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        step += 1
        done = (time.perf_counter() - began) / seconds
    return model.eval(), step


@torch.inference_mode()
def nats(model: Transformer, ids: Tensor, stride: int) -> float:
    """Return nats a character; windows of `context` begin `stride` apart, the last part counts."""
    context, total, count = model.settings.context, 0.0, 0
    for start in range(0, len(ids) - 1, stride):
        window = ids[start : start + context + 1]
        if start and len(window) <= context - stride + 1:
            continue
        logits = model(window[None, :-1])[0]
        each = F.cross_entropy(logits, window[1:], reduction="none")
        fresh = each if start == 0 else each[context - stride :]
        total, count = total + fresh.sum().item(), count + len(fresh)
    return total / count


def encoded(path: Path) -> tuple[Tensor, int]:
    """Return the ids of a text, and how many symbols it has."""
    text = path.read_text(encoding="utf-8")
    index = {c: i for i, c in enumerate(sorted(set(text)))}
    return torch.tensor([index[c] for c in text]), len(index)


def searched(minutes: float) -> Settings:
    """Return the best recorded settings for a time."""
    found = [r for r in read_records(RECORDS) if r["kind"] == "search" and r["minutes"] == minutes]
    return Settings(**min(found, key=lambda r: float(r["loss"]))["settings"])


def search(path: Path, minutes: float) -> None:
    """Train every candidate on the first 81% of the text, and evaluate it on the next 9%."""
    ids, symbols = encoded(path)
    ids = ids[: int(len(ids) * 0.9)]
    cut = int(len(ids) * 0.9)
    for s in GRID[round(minutes)]:
        model, steps = train(ids[:cut], symbols, s, 60 * minutes, 0)
        loss = nats(model, ids[cut:], s.context // 2)
        write({"kind": "search", "minutes": minutes, "loss": round(loss, 4), "steps": steps,
               "parameters": size(model), "settings": asdict(s)})  # fmt: skip


def final(path: Path, minutes: float, seed: int) -> None:
    """Train the best candidate and charrnn for the same minutes; evaluate on the last tenth."""
    ids, symbols = encoded(path)
    cut = int(len(ids) * 0.9)
    s = searched(minutes)
    model, steps = train(ids[:cut], symbols, s, 60 * minutes, seed)
    write({"kind": "final", "model": "Transformer", "minutes": minutes, "seed": seed,
           "loss": round(nats(model, ids[cut:], s.context // 2), 4), "steps": steps,
           "parameters": size(model), "settings": asdict(s)})  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for cell in ("lstm", "gru"):
            end = charrnn.train(
                path, model={"cell": cell}, training={"minutes": minutes, "seed": seed},
                checkpoint_dir=folder, run=cell,
            )  # fmt: skip
            own = charrnn.load(end.folder)
            write({"kind": "final", "model": cell, "minutes": minutes, "seed": seed,
                   "loss": round(own.evaluate().nats_per_char, 4), "steps": end.end.step,
                   "parameters": own.parameters,
                   "settings": {"hidden_size": own.config.hidden_size}})  # fmt: skip


@torch.inference_mode()
def writing(path: Path) -> None:
    """Measure the time and memory of a written character as the text grows."""
    s = Settings(6, 320, 5, 4096, 12, 1e-3, 0.0)
    symbols = encoded(path)[1]
    model = Transformer(s, symbols).eval()
    past: list[list[Tensor]] = [[] for _ in range(s.layers)]
    times, at = [], 0
    marks = [64, 256, 1024, 4000]
    while at < s.context - 1:
        began = time.perf_counter()
        model(torch.zeros(1, 1, dtype=torch.long), past, at)
        times.append(time.perf_counter() - began)
        at += 1
        if at in marks:
            kept = sum(part.numel() * part.element_size() for block in past for part in block)
            write({"kind": "writing", "model": "Transformer", "length": at, "bytes": kept,
                   "ms": round(statistics.median(times[-32:]) * 1e3, 3)})  # fmt: skip
    for name, hidden in (("lstm", 896), ("gru", 1024)):
        with tempfile.TemporaryDirectory() as folder:
            made = charrnn.train(
                path, model={"cell": name, "hidden_size": hidden, "embedding_size": 64},
                training={"steps": 1, "eval_every": 0}, checkpoint_dir=folder,
            )  # fmt: skip
            stepper = charrnn.load(made.folder).stepper
            states = stepper.start(1)
            kept = sum(a.nbytes for a in (states.h, *states.memories))
            times = []
            for at in range(1, max(marks) + 1):
                began = time.perf_counter()
                stepper.step(np.zeros(1, np.int64), states)
                times.append(time.perf_counter() - began)
                if at in marks:
                    write({"kind": "writing", "model": name, "length": at, "bytes": kept,
                           "ms": round(statistics.median(times[-32:]) * 1e3, 3)})  # fmt: skip


def size(model: nn.Module) -> int:
    """Return the number of weights."""
    return sum(p.numel() for p in model.parameters())


def write(record: dict[str, Any]) -> None:
    """Append a record, with the machine, and print it."""
    add_record(RECORDS, record | {"threads": torch.get_num_threads(), "machine": machine()})


def main() -> None:
    """Search, train or measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("task", choices=["search", "final", "writing"])
    parser.add_argument("text", type=Path, nargs="?", default=FETCHED)
    parser.add_argument("--minutes", type=float, nargs="*", default=[1, 4, 15])
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    path = shakespeare(asked.text)
    with freed_memory_kept():
        if asked.task == "writing":
            writing(path)
        for minutes in asked.minutes if asked.task != "writing" else ():
            if asked.task == "search":
                search(path, minutes)
            else:
                final(path, minutes, asked.seed)


if __name__ == "__main__":
    main()
