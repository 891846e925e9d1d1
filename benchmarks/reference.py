"""Quality of a plain LSTM on tiny Shakespeare, against what a bare torch loop reaches.

One 256-unit LSTM layer, embedding 256, 32 lanes x 64 steps, AdamW 4e-3 with betas 0.9 and 0.99,
warm-up 50, cosine, clipping at 1, 1,934 steps, no dropout. A plain loop over nn.LSTM with these
settings reached 1.564 nats per character with carried state and 1.589 with a fresh state every
256; charrnn should be no worse than 1.57 and 1.60.

    python benchmarks/reference.py [tinyshakespeare.txt] [SEED]
"""

import sys
import tempfile
from dataclasses import replace

import torch
from bare_loop import MODEL, TRAINING
from common import machine, shakespeare

import charrnn


def main() -> None:
    """Train, evaluate both ways, print."""
    path = shakespeare()
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    training = replace(TRAINING, steps=1_934, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        result = charrnn.train(path, model=MODEL, training=training, checkpoint_dir=folder)
        model = charrnn.load(result.folder)
        carried = model.evaluate()
        fresh = model.evaluate(context=256)
    print(f"{machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads, seed {seed}")
    print(f"parameters            {model.parameters:,}")
    print(f"training time         {result.end.seconds:.0f} s")
    print(f"carried, while training (32 lanes)  {result.end.best_loss:.6f} nats per character")
    print(f"carried               {carried.nats_per_char:.6f} nats per character")
    print(f"fresh every 256       {fresh.nats_per_char:.6f} nats per character")


if __name__ == "__main__":
    main()
