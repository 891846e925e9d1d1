"""What `charrnn train --minutes` reaches on tiny Shakespeare within multiples of a machine's R.

R is the time of 2,000 steps of a bare torch loop (bare_loop.py), measured in this process in
stretches before, between and after the runs that it is the yardstick of. A run has `--minutes` and
a seed; all else is chosen by charrnn. Its best checkpoint is then scored by `charrnn eval`, with
carried state, with a fresh one every 256 characters, and with --dynamic where that is asked for.
Every run appends a record to docs/quality.jsonl; --table makes docs/results.md's table of them.

    python benchmarks/quality.py --budgets 1 5 13 --seeds 0 1 2
    python benchmarks/quality.py --budgets 60 --dynamic
    python benchmarks/quality.py --corpora
    python benchmarks/quality.py --table
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from bare_loop import Bare
from common import SHAKESPEARE, machine

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "docs" / "quality.jsonl"
RESULTS = ROOT / "docs" / "results.md"
MARKS = ("<!-- quality: made by benchmarks/quality.py --table -->\n", "<!-- end of quality -->\n")
STRETCH = 100
R_STEPS = 2_000
# Small corpora besides, each within the time that is given it.
CORPORA = {"python": 5.0, "unicode-names": 5.0, "own": 1.0}


class Yardstick:
    """Times stretches of the bare loop."""

    def __init__(self, text: str) -> None:
        self.bare = Bare(text, 1_000_000)
        self.bare.stretch(10)
        self.times: list[float] = []

    def measure(self, stretches: int) -> float:
        """Time some more stretches; returns R by the median of all so far, in seconds."""
        for _ in range(stretches):
            began = time.perf_counter()
            self.bare.stretch(STRETCH)
            self.times.append((time.perf_counter() - began) / STRETCH)
        return R_STEPS * statistics.median(self.times)


def charrnn(*arguments: object) -> str:
    """Run a command; returns its stdout."""
    command = [sys.executable, "-m", "charrnn", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def trained(
    corpus: Sequence[object], minutes: float, seed: int, *, dynamic: bool
) -> dict[str, Any]:
    """Train a run, and score it from its checkpoint alone."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ("--checkpoint-dir", folder)
        charrnn(
            "train", *corpus, "--run", "q", "--minutes", f"{minutes:.4g}", "--seed", seed, *flags
        )
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
    chosen = " ".join(f"--{n.replace('_', '-')} {v:g}" for n, v in start["chosen"].items())
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


def append(record: dict[str, Any]) -> None:
    """Write a record behind the others."""
    print(json.dumps(record), flush=True)
    with RECORDS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def table(records: list[dict[str, Any]]) -> str:
    """Make the table: a row for each run, and one for the mean and spread of several seeds."""
    lines = [
        "| corpus | within | command | chosen | parameters | seed | carried | fresh | dynamic |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        groups[record["corpus"], record["within"]].append(record)
    for (corpus, within), runs in groups.items():
        for run in sorted(runs, key=lambda r: r["seed"]):
            scores = " | ".join(shown(run.get(k)) for k in ("carried", "fresh", "dynamic"))
            lines.append(
                f"| {corpus} | {within} | `--minutes {run['minutes']:g}` | `{run['chosen']}`, "
                f"{run['steps']:,} steps | {run['parameters']:,} | {run['seed']} | {scores} |"
            )
        if len(runs) > 1:
            scores = " | ".join(
                mean([r[k] for r in runs if k in r]) for k in ("carried", "fresh", "dynamic")
            )
            lines.append(f"| | {within} | mean of {len(runs)} (range) | | | | {scores} |")
    return "\n".join(lines) + "\n"


def shown(nats: float | None) -> str:
    """Show a figure, or that there is none."""
    return "" if nats is None else f"{nats:.4f}"


def mean(values: list[float]) -> str:
    """Show a mean and a range."""
    if not values:
        return ""
    return f"{statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"


def rewrite() -> None:
    """Put the table where docs/results.md has its place for it."""
    lines = RECORDS.read_text(encoding="utf-8").splitlines()
    page = RESULTS.read_text(encoding="utf-8")
    before, _, rest = page.partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    made = table([json.loads(line) for line in lines])
    RESULTS.write_text(before + MARKS[0] + made + MARKS[1] + after, encoding="utf-8")


def main() -> None:
    """Train, score and record what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--text", type=Path, default=SHAKESPEARE)
    parser.add_argument("--budgets", type=float, nargs="*", default=[1, 5, 13], help="in R")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--dynamic", action="store_true")
    parser.add_argument("--corpora", action="store_true", help="the built-in corpora instead")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    if asked.table:
        rewrite()
        return
    if asked.corpora:
        for corpus, minutes in CORPORA.items():
            source = ROOT / "corpora" if corpus == "own" else corpus
            for seed in asked.seeds:
                record = trained([source], minutes, seed, dynamic=False)
                append({"corpus": corpus, "within": f"{minutes:g} min"} | record)
        return
    if not asked.text.is_file():
        print(f"skipped: {asked.text} is not there; give it with --text")
        return
    yardstick = Yardstick(asked.text.read_text(encoding="utf-8"))
    unit = yardstick.measure(10)
    for budget in asked.budgets:
        for seed in asked.seeds:
            record = trained([asked.text], budget * unit / 60, seed, dynamic=asked.dynamic)
            unit = yardstick.measure(5)
            append(
                {"corpus": "tiny Shakespeare", "within": f"{budget:g} R", "R": round(unit, 1)}
                | record
            )


if __name__ == "__main__":
    main()
