"""What --weights int8 costs in bits per character: one model, one text, both kinds of weights.

The text is the beginning of the last tenth of tiny Shakespeare. It is read the way sampling reads.

    python benchmarks/int8_cost.py TEXT MODEL [--checkpoint-dir FOLDER]
"""

import math
import sys

import numpy as np
from common import machine, shakespeare

import charrnn
from charrnn.generation.filters import log_softmax
from charrnn.generation.stepper import Stepper

CHARACTERS = 50_000
CHECK = 500  # logits scored together


def main() -> None:
    text = shakespeare().read_text(encoding="utf-8")
    folder = sys.argv[4] if sys.argv[3:4] == ["--checkpoint-dir"] else charrnn.CHECKPOINT_DIR
    model = charrnn.load(sys.argv[2], checkpoint_dir=folder)
    begin = len(text) * 9 // 10
    ids = model.vocabulary.encode(text[begin : begin + CHARACTERS])
    print(machine())
    exact = model.evaluate(text[begin : begin + CHARACTERS]).bits_per_char
    print(f"{model.path}: {exact:.5f} bits a character by charrnn eval")
    for weights in ("float32", "int8"):
        model.prepare(weights=weights)
        assert isinstance(model.stepper, Stepper)
        bits = cost(model.stepper, ids)
        print(f"--weights {weights:8} {bits:.5f} bits a character ({bits - exact:+.5f})")


def cost(stepper: Stepper, ids: np.ndarray) -> float:
    """Return the bits that each id but the first costs, on average."""
    state = stepper.start(1)
    total = 0.0
    for start in range(0, len(ids) - 1, CHECK):
        part = ids[start : start + CHECK + 1]
        logits = np.concatenate(
            [stepper.step(part[k : k + 1], state).copy() for k in range(len(part) - 1)]
        )
        total -= np.take_along_axis(log_softmax(logits.astype(float)), part[1:, None], 1).sum()
    return float(total / math.log(2) / (len(ids) - 1))


if __name__ == "__main__":
    main()
