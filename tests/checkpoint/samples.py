"""The parts of a small checkpoint: a model, a trainer's arrays and a manifest."""

import numpy as np

from charrnn.checkpoint.manifest import CorpusRecord, Manifest
from charrnn.checkpoint.model_file import SavedModel
from charrnn.model.config import ModelConfig, parameter_shapes
from charrnn.text.config import CorpusConfig
from charrnn.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary("char", ("", "\n", "a", "\x1b", "字", "😀"))
CONFIG = ModelConfig(hidden_size=3, embedding_size=2)
TRAINER = {
    "state/h": np.arange(6.0).reshape(1, 2, 3),
    "state/c": np.arange(6.0).reshape(1, 2, 3),
    "optimizer/output.bias/exp_avg": np.arange(6.0),
    "optimizer/output.bias/step": np.array(7.0),
    "dropout_rng": np.arange(5, dtype=np.uint8),
}
MANIFEST = Manifest(
    step=7,
    saved_at="2026-01-01T00:00:00+00:00",
    train_loss=0.1 + 0.2,
    val_loss=None,
    corpus=CorpusRecord("c", ("/somewhere/c.txt",), "0" * 64, 99),
    corpus_config=CorpusConfig(),
    model=CONFIG,
    training={"steps": 9},
    trainer={"step": 7},
    environment={"threads": 1},
)


def model() -> SavedModel:
    rng = np.random.default_rng(0)
    shapes = parameter_shapes(CONFIG, len(VOCABULARY))
    weights = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    return SavedModel(weights, CONFIG, VOCABULARY, CorpusConfig(), 7)
