"""What `charrnn train --minutes` reaches on tiny Shakespeare within multiples of a machine's R.

R is the time of 2,000 steps of a bare torch loop (bare_loop.py), measured in this process in
stretches before, between and after the runs. A run is given `--minutes` and a seed; charrnn
chooses all else. `charrnn eval` then scores the best checkpoint with carried state, with a fresh
state every 256 characters, and, if asked, with --dynamic. --record writes a record of each run to
docs/research/quality.jsonl; --table makes the table in docs/research/results.md from the records.

    python benchmarks/quality.py --record --budgets 1 5 13 --seeds 0 1 2
    python benchmarks/quality.py --record --budgets 60 --dynamic
    python benchmarks/quality.py --record --corpora
    python benchmarks/quality.py --table

The text is that of `charrnn corpora fetch tiny-shakespeare`, unless --text names another. If the
machine has other work to do during a long run, pass --threads 1, and an R measured before as --r.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from bare_loop import Bare
from common import FETCHED, ROOT, charrnn, machine, put_table, read_records, shakespeare

from charrnn.errors import counted

RECORDS = ROOT / "docs" / "research" / "quality.jsonl"
MARKS = ("<!-- quality: made by benchmarks/quality.py --table -->\n", "<!-- end of quality -->\n")
STRETCH = 100
R_STEPS = 2_000
# Built-in corpora, and the books in corpora/: English, Russian, Chinese; minutes for each.
CORPORA = {"python": 1.0, "unicode-names": 1.0}
CORPORA |= dict.fromkeys(("ferry-book.txt", "pisma-s-mayaka.txt", "shan-zhen-shou-ji.txt"), 0.5)
# Fields that are equal in two records if the later one repeats the measurement of the earlier.
KIND = ("corpus", "within", "seed", "machine", "threads")


class Yardstick:
    """Measures R by timing stretches of the bare loop."""

    def __init__(self, text: str) -> None:
        self.bare = Bare(text, 1_000_000)
        self.bare.stretch(10)
        self.times: list[float] = []

    def measure(self, stretches: int) -> float:
        """Time more stretches; returns R in seconds, from the median of all stretches so far."""
        for _ in range(stretches):
            began = time.perf_counter()
            self.bare.stretch(STRETCH)
            self.times.append((time.perf_counter() - began) / STRETCH)
        return R_STEPS * statistics.median(self.times)


def trained(
    corpus: object, minutes: float, seed: int, threads: int, *, dynamic: bool
) -> dict[str, Any]:
    """Train a run, score its best checkpoint, and return the record."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ("--checkpoint-dir", folder, "--threads", threads)
        limit = ("--minutes", f"{minutes:.4g}", "--seed", seed)
        charrnn("train", corpus, "--run", "q", *limit, *flags)
        log = Path(folder, "q", "log.jsonl").read_text(encoding="utf-8").splitlines()
        start, end = json.loads(log[0]), json.loads(log[-1])
        scores = {
            name: json.loads(charrnn("eval", "q", *how, "--json", *flags))["nats_per_char"]
            for name, how in {
                "carried": (),
                "fresh": ("--context", 256),
                **({"dynamic": ("--dynamic",)} if dynamic else {}),
            }.items()
        }
    chosen = " ".join(f"--{n.replace('_', '-')} {v}" for n, v in start["chosen"].items())
    return {
        "minutes": round(minutes, 4),
        "seed": seed,
        "parameters": start["parameters"],
        "chosen": chosen,
        "precision": start["precision"],
        "threads": start["threads"],
        "steps": end["step"],
        "characters": end["step"] * start["batch_size"] * start["seq_length"],
        **{name: round(nats, 4) for name, nats in scores.items()},
        "machine": machine(),
        "torch": torch.__version__,
    }


def keep(record: dict[str, Any], *, write: bool) -> None:
    """Print a record; with `write`, let it replace the earlier record of the same measurement."""
    print(json.dumps(record), flush=True)
    if not write:
        return
    kept = [r for r in read_records(RECORDS) if any(r.get(k) != record.get(k) for k in KIND)]
    RECORDS.write_text("".join(json.dumps(r) + "\n" for r in [*kept, record]), encoding="utf-8")


def table(records: list[dict[str, Any]]) -> str:
    """Make the table: a row for each run, and one for the mean and range of several seeds."""
    lines = [
        "| corpus | within | command and what was chosen | parameters | seed | carried | fresh "
        "| dynamic | on |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        groups[record["corpus"], record["within"]].append(record)
    for (corpus, within), runs in groups.items():
        for run in sorted(runs, key=lambda r: r["seed"]):
            scores = " | ".join(shown(run.get(k)) for k in ("carried", "fresh", "dynamic"))
            on = f"{run['machine']}; {counted(run['threads'], 'thread')}, {run['precision']}"
            if "R" in run:
                on += f", R {run['R']:g} s"
            made = f"`--minutes {run['minutes']:g}`: `{run['chosen']}`, {run['steps']:,} steps"
            size = f"{run['parameters']:,} | {run['seed']}"
            lines.append(f"| {corpus} | {within} | {made} | {size} | {scores} | {on} |")
        if len(runs) > 1:
            scores = " | ".join(
                mean([r[k] for r in runs if k in r]) for k in ("carried", "fresh", "dynamic")
            )
            lines.append(f"| | {within} | mean of {len(runs)} (range) | | | {scores} | |")
    return "\n".join(lines) + "\n"


def shown(nats: float | None) -> str:
    """Format a loss; empty if it was not measured."""
    return "" if nats is None else f"{nats:.4f}"


def mean(values: list[float]) -> str:
    """Format a mean and a range."""
    if not values:
        return ""
    return f"{statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"


def main() -> None:
    """Train, score and record the runs that the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--text", type=Path, default=FETCHED)
    parser.add_argument("--budgets", type=float, nargs="*", default=[1, 5, 13], help="in R")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--dynamic", action="store_true")
    parser.add_argument(
        "--corpora", action="store_true", help="train on the built-in corpora and books instead"
    )
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="that charrnn uses"
    )
    parser.add_argument("--r", type=float, help="seconds; measured if left out")
    parser.add_argument("--record", action="store_true", help="write docs/research/quality.jsonl")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    if asked.table:
        put_table(MARKS, table(read_records(RECORDS)))
        return
    if asked.corpora:
        for corpus, minutes in CORPORA.items():
            source = ROOT / "corpora" / corpus if corpus.endswith(".txt") else corpus
            for seed in asked.seeds:
                record = trained(source, minutes, seed, asked.threads, dynamic=asked.dynamic)
                kind = {"corpus": corpus, "within": f"{minutes:g} min"}
                keep(kind | record, write=asked.record)
        return
    text = shakespeare(asked.text).read_text(encoding="utf-8")
    yardstick = None if asked.r else Yardstick(text)
    unit = yardstick.measure(10) if yardstick else asked.r
    for budget in asked.budgets:
        for seed in asked.seeds:
            minutes = budget * unit / 60
            record = trained(asked.text, minutes, seed, asked.threads, dynamic=asked.dynamic)
            unit = yardstick.measure(5) if yardstick else asked.r
            kind = {"corpus": asked.text.stem, "within": f"{budget:g} R"}
            keep({**kind, "R": round(unit, 1), **record}, write=asked.record)


if __name__ == "__main__":
    main()
