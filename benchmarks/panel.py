"""How good the settings are that charrnn chooses, on eight texts and in several budgets of time.

Each text is trained on with what `charrnn train --minutes` chooses, and with variants: one size
down and up, another embedding, dropout and number of lanes, and without ending early. Regret is
the loss of the choice minus that of the best in the same time, in nats a character of the
validation part, carried.

    python benchmarks/panel.py rates DATA     # measure speeds: needs a quiet machine, two minutes
    python benchmarks/panel.py run DATA --budgets 0.5 2 --workers 2
    python benchmarks/panel.py table          # renews the table in docs/research/results.md

The budget of a run is turned into steps by the measured speed of its settings, so the runs need no
quiet machine, may go side by side, and have the same result everywhere. Runs that are recorded in
docs/research/panel.jsonl are not repeated. DATA is a folder with tinyshakespeare.txt, tang.txt,
smiles.txt, names-train.txt and names-test.txt; of Shakespeare, only the first nine tenths are read.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import ROOT, add_record, machine, put_table, read_records
from step_ratios import TIME, side

import charrnn
from charrnn.catalog.places import CorpusPlaces
from charrnn.model.config import ModelConfig, multiplied_weights
from charrnn.runs.begin import Basis, read_basis
from charrnn.runs.choice import HIDDEN_SIZES, PROBE_SIZE, Choice, Circumstances, choose, requested
from charrnn.text.config import CorpusConfig
from charrnn.training.allocation import freed_memory_kept
from charrnn.training.config import fit
from charrnn.training.documents import reader_of
from charrnn.training.lanes import ChunkReader

RECORDS = ROOT / "docs" / "research" / "panel.jsonl"
MARKS = ("<!-- panel: made by benchmarks/panel.py table -->\n", "<!-- end of panel -->\n")
SIZES = (64, 128, 192, 256, 384, 512, 640, 768)  # whose speed is measured
ROUNDS, WARM_UP = 10, 2
PLACES = CorpusPlaces.of(None, ROOT / "corpora")
TRAINING_SHARE = 0.9  # of the time; the rest is for evaluations, samples and saving


TEXTS: dict[str, tuple[str, CorpusConfig]] = {
    "shakespeare": ("tinyshakespeare.txt", CorpusConfig()),
    "tang": ("tang.txt", CorpusConfig()),
    "names": ("names-train.txt", CorpusConfig(lines=True, val_text="names-test.txt")),
    "smiles": ("smiles.txt", CorpusConfig(lines=True)),
    "python": ("python", CorpusConfig()),
    "unicode-names": ("unicode-names", CorpusConfig()),
    "ferry-book": ("ferry-book.txt", CorpusConfig()),
    "pisma-s-mayaka": ("pisma-s-mayaka.txt", CorpusConfig()),
    "shan-zhen-shou-ji": ("shan-zhen-shou-ji.txt", CorpusConfig()),
}


def located(name: str, data: Path) -> tuple[str, CorpusConfig]:
    """Return the path or name of a text of the panel, and how it is read."""
    corpus, config = TEXTS[name]
    if config.val_text is not None:
        config = replace(config, val_text=str(data / config.val_text))
    if name == "shakespeare":  # no choice may depend on its last tenth
        whole = (data / corpus).read_text(encoding="utf-8")
        path = Path(tempfile.gettempdir(), "charrnn-panel-shakespeare.txt")
        path.write_text(whole[: len(whole) * 9 // 10], encoding="utf-8")
        return str(path), config
    found = [folder / corpus for folder in (data, ROOT / "corpora") if (folder / corpus).is_file()]
    return str(found[0] if found else corpus), config


def basis_of(name: str, data: Path) -> Basis:
    """Encode a text of the panel."""
    corpus, config = located(name, data)
    return read_basis((corpus,), config, None, Path(), PLACES, ())


def reader(basis: Basis, lanes: int) -> ChunkReader:
    """Return what reads the text of training in chunks of so many lanes."""
    text = basis.corpus.train
    lanes, steps = fit(len(text), lanes, TIME)
    return reader_of(text, lanes, steps, np.random.default_rng(0))


def measure(data: Path, names: Iterable[str]) -> None:
    """Measure how many characters a second each text is read with, in models of several sizes."""
    for name in names:
        basis = basis_of(name, data)
        vocabulary = len(basis.corpus.vocabulary)
        chosen = choice_of(basis, 1.0, 1e9)  # for the embedding and the softmax
        sides = {}
        for size in SIZES:
            for lanes in (16, 32):
                model = replace(chosen.model, hidden_size=size)
                sides[f"{size}/{lanes}"] = side(reader(basis, lanes), model, vocabulary)
        with freed_memory_kept():
            times = [{name: step() for name, step in sides.items()} for _ in range(ROUNDS)]
        rates = {
            name: round(1 / min(took[name] for took in times[WARM_UP:]))  # as charrnn measures
            for name in sides
        }
        add_record(
            RECORDS,
            {
                "kind": "rates",
                "text": name,
                "vocabulary": vocabulary,
                "rates": rates,
                "threads": torch.get_num_threads(),
                "machine": machine(),
            },
        )


def choice_of(basis: Basis, minutes: float, products: float) -> Choice:
    """Return what charrnn chooses at so many products a second."""
    corpus = basis.corpus
    circumstances = Circumstances(len(corpus.train), len(corpus.vocabulary), lambda *_: products)
    return choose(requested({}, {"minutes": minutes}, None), circumstances)


def variants(choice: Choice) -> dict[str, tuple[ModelConfig, int]]:
    """Return the models to compare, with their lanes; the first is the choice itself."""
    model, lanes = choice.model, choice.training.batch_size
    size = model.hidden_size
    smaller = max((s for s in HIDDEN_SIZES if s < size), default=size)
    larger = min((s for s in HIDDEN_SIZES if s > size), default=size)
    embedding = 256 if model.embedding_size < 256 else 128
    lower = max(0.0, round(model.dropout - 0.2, 2))
    higher = min(0.7, round(model.dropout + 0.2, 2))
    return {
        "chosen": (model, lanes),
        "smaller": (replace(model, hidden_size=smaller), lanes),
        "larger": (replace(model, hidden_size=larger), lanes),
        "embedding": (replace(model, embedding_size=embedding), lanes),
        "less dropout": (replace(model, dropout=lower, input_dropout=min(lower, 0.2)), lanes),
        "more dropout": (replace(model, dropout=higher, input_dropout=min(higher, 0.2)), lanes),
        "lanes": (model, 48 - lanes),  # 32 in place of 16, 16 in place of 32
        "all the time": (model, lanes),  # another run only if the choice ends early
    }


def rate_of(rates: dict[str, int], size: int, lanes: int) -> float:
    """Return characters a second, between the measured sizes on a line of logarithms."""
    sizes = np.log(SIZES)
    measured = np.log([rates[f"{s}/{lanes}"] for s in SIZES])
    slope = (measured[-1] - measured[-2]) / (sizes[-1] - sizes[-2])
    beyond = slope * max(0.0, np.log(size) - sizes[-1])
    return float(np.exp(np.interp(np.log(size), sizes, measured) + beyond))


def settings_of(model: ModelConfig, lanes: int) -> dict[str, Any]:
    """Return what tells one run from another on the same text in the same time."""
    names = ("hidden_size", "embedding_size", "dropout", "input_dropout", "adaptive_softmax")
    return {name: getattr(model, name) for name in names} | {"batch_size": lanes}


def jobs(
    data: Path, names: Iterable[str], budgets: Iterable[float], kinds: Sequence[str]
) -> list[dict[str, Any]]:
    """List the runs that are not recorded yet."""
    records = read_records(RECORDS)
    rates = {r["text"]: r["rates"] for r in records if r["kind"] == "rates"}
    runs = [r for r in records if r["kind"] == "run"]
    done = {key(r): r for r in runs}
    cells = {(key(r), r["minutes"]) for r in runs}
    chosen = {(key(r), r["minutes"]) for r in runs if r["variant"] == "chosen"}
    wanted: dict[str, dict[str, Any]] = {}
    for minutes in budgets:
        for name in names:
            basis = basis_of(name, data)
            symbols = len(basis.corpus.vocabulary)
            probe = choice_of(basis, 1.0, 1e9)
            probed = replace(probe.model, hidden_size=PROBE_SIZE)
            speed = rate_of(rates[name], PROBE_SIZE, probe.training.batch_size)
            products = speed * multiplied_weights(probed, symbols)
            choice = choice_of(basis, minutes, products)
            for variant, (model, lanes) in variants(choice).items():
                if kinds and variant not in kinds:
                    continue
                seconds = 60 * minutes * TRAINING_SHARE
                characters = seconds * rate_of(rates[name], model.hidden_size, lanes)
                fitted = fit(len(basis.corpus.train), lanes, TIME)
                steps = max(1, round(characters / (fitted[0] * fitted[1])))
                if choice.training.steps is not None and variant != "all the time":
                    steps = min(steps, choice.training.steps * choice.training.batch_size // lanes)
                job = {
                    "kind": "run",
                    "text": name,
                    "minutes": minutes,
                    "variant": variant,
                    "steps": steps,
                    "learning_rate": choice.training.peak_rate,
                    **settings_of(model, lanes),
                }
                if key(job) not in done:
                    wanted.setdefault(key(job), job)
                elif (key(job), minutes) not in (chosen if variant == "chosen" else cells):
                    # Of a short text, the same run as in less time; or what is chosen now.
                    add_record(RECORDS, done[key(job)] | {"minutes": minutes, "variant": variant})
    return list(wanted.values())


def key(record: dict[str, Any]) -> str:
    """Return what makes a run another one."""
    names = ("text", "steps", *settings_of(ModelConfig(), 32))
    return json.dumps([record[name] for name in names] + [rate_in(record)])


def rate_in(record: dict[str, Any]) -> float:
    """Return the learning rate of a run; the first ones had no other than this."""
    return float(record.get("learning_rate", 0.007))


def trained(job: dict[str, Any], data: Path) -> dict[str, Any]:
    """Train a run on one thread, and return its record."""
    corpus, config = located(job["text"], data)
    values = {name: job[name] for name in settings_of(ModelConfig(), 32)}
    training = {"steps": job["steps"], "batch_size": values.pop("batch_size"), "sample_every": 0}
    training["learning_rate"] = job["learning_rate"]
    with tempfile.TemporaryDirectory() as folder:
        end = charrnn.train(
            corpus, corpus_config=config, model=values, training=training, threads=1, device="cpu",
            checkpoint_dir=folder, corpora_dir=PLACES.corpora_dir,
        ).end  # fmt: skip
    loss = end.best_loss if end.full_loss is None else end.full_loss
    assert loss is not None
    return job | {"loss": round(loss, 4), "best_step": end.best_step, "torch": torch.__version__}


def table() -> str:
    """Make the table of regrets: a row for each text and budget."""
    cells: dict[tuple[float, str], list[dict[str, Any]]] = {}
    for record in read_records(RECORDS):
        if record["kind"] == "run":
            cells.setdefault((record["minutes"], record["text"]), []).append(record)
    lines = [
        "| text | minutes | chosen | loss | best of the grid | loss | regret |",
        "|---|---|---|---|---|---|---|",
    ]
    regrets = []
    for (minutes, text), runs in sorted(cells.items()):
        chosen = [run for run in runs if run["variant"] == "chosen"][-1:]
        if not chosen or len(runs) < 2:
            continue
        (own,) = chosen
        best = min(runs, key=lambda run: float(run["loss"]))
        regrets.append(own["loss"] - best["loss"])
        found = f"{best['variant']} of {len(runs)}: {shown(best)}"
        lines.append(
            f"| {text} | {minutes:g} | {shown(own)} | {own['loss']:.4f} "
            f"| {found} | {best['loss']:.4f} | {regrets[-1]:.4f} |"
        )
    if regrets:
        mean = sum(regrets) / len(regrets)
        lines.append(f"| mean of {len(regrets)} | | | | | | {mean:.4f} |")
    return "\n".join(lines) + "\n"


def shown(run: dict[str, Any]) -> str:
    """Name the settings of a run, briefly."""
    return (
        f"1 x {run['hidden_size']}, embedding {run['embedding_size']}, rate {rate_in(run):g}, "
        f"dropout {run['dropout']:g}, {run['batch_size']} lanes, {run['steps']:,} steps"
    )


def main() -> None:
    """Measure, train, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("task", choices=["rates", "run", "table"])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--texts", nargs="*", default=list(TEXTS), choices=list(TEXTS))
    parser.add_argument("--budgets", type=float, nargs="*", default=[0.5, 2, 5], help="minutes")
    parser.add_argument("--variants", nargs="*", default=[], help="only these; all by default")
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    if asked.task == "table":
        put_table(MARKS, table())
        return
    if asked.task == "rates":
        measure(asked.data, asked.texts)
        return
    wanted = jobs(asked.data, asked.texts, asked.budgets, asked.variants)
    print(f"{len(wanted)} runs", flush=True)
    with ProcessPoolExecutor(asked.workers, get_context("spawn")) as pool:
        for done in as_completed([pool.submit(trained, job, asked.data) for job in wanted]):
            add_record(RECORDS, done.result())


if __name__ == "__main__":
    main()
