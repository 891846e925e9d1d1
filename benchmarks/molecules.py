"""How many molecules that a model writes are valid: `charrnn train --minutes` on SMILES.

Trains on a file of SMILES, one a line, with what charrnn chooses, writes 10,000 molecules at
temperature 1, and counts those that RDKit can read (`pip install rdkit`, in an environment of its
own if you like). The file of the published comparison is moses/dataset/data/train.csv.gz in the
package molsets 0.3.1, its first column without the heading:

    python benchmarks/molecules.py train.smi --minutes 6
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from common import charrnn, machine

try:
    from rdkit import Chem, RDLogger  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    sys.exit("this benchmark needs RDKit: pip install rdkit")


def main() -> None:
    """Train, sample, count, and print a record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--number", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        where = ("--checkpoint-dir", folder)
        began = time.perf_counter()
        limit = ("--minutes", asked.minutes, "--seed", asked.seed)
        charrnn("train", asked.text, "--lines", "--run", "m", *limit, *where)
        wall = time.perf_counter() - began
        log = Path(folder, "m", "log.jsonl").read_text(encoding="utf-8").splitlines()
        start, end = json.loads(log[0]), json.loads(log[-1])
        count = ("--num-samples", asked.number, "--length", 200, "--seed", asked.seed)
        written = json.loads(charrnn("sample", "m", *count, "--json", *where))
    texts = [one["text"] for one in written]
    RDLogger.DisableLog("rdApp.*")
    molecules = [Chem.MolFromSmiles(text) if text else None for text in texts]
    valid = [Chem.MolToSmiles(molecule) for molecule in molecules if molecule is not None]
    record = {
        "minutes": asked.minutes,
        "wall": round(wall, 1),
        "chosen": start["chosen"],
        "steps": end["step"],
        "nats": end["full_loss"] or end["best_loss"],
        "written": len(texts),
        "valid": round(len(valid) / len(texts), 4),
        "unique": round(len(set(valid)) / max(len(valid), 1), 4),
        "machine": machine(),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
