"""Train character-level recurrent language models on any text, and write new text with them.

    import charrnn

    result = charrnn.train(
        "novel.txt",
        model=charrnn.ModelConfig(cell="gru", hidden_size=128),
        training=charrnn.TrainingConfig(minutes=5),
    )
    print(f"{result.end.best_loss:.3f} nats per character")

    model = charrnn.load(result.folder)
    for piece in model.sample("Once", charrnn.SamplingConfig(length=200, temperature=0.7)):
        print(piece, end="")
    print(model.evaluate("Once upon a time").bits_per_char)

Everything here is imported when it is first used: `import charrnn` does not import torch, and
neither does loading a model and sampling from it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from charrnn.api import TrainingResult, resume, train
    from charrnn.checkpoint.format import Manifest
    from charrnn.checkpoint.layout import CHECKPOINT_DIR, run_names
    from charrnn.checkpoint.store import Checkpoint, Run
    from charrnn.comparison import Comparison, compare
    from charrnn.corpora import cached_corpora, clear_cache, survey
    from charrnn.curves import Curve
    from charrnn.dynamic.config import DynamicConfig
    from charrnn.errors import (
        CharrnnError,
        CorpusError,
        SettingsError,
        UndecodableError,
        UnknownCharacterError,
        counted,
        shown_character,
    )
    from charrnn.evaluation import Evaluation
    from charrnn.generation.config import BeamConfig, SamplingConfig
    from charrnn.generation.search import Beam
    from charrnn.generation.stepper import blas_threads
    from charrnn.generation.text import Generation
    from charrnn.model.config import ModelConfig
    from charrnn.presets import PRESETS, check_choice
    from charrnn.report import Report
    from charrnn.text.catalog import BUILT_IN as CORPORA
    from charrnn.text.catalog import PUBLIC as PUBLIC_CORPORA
    from charrnn.text.catalog import NamedCorpus, PublicCorpus
    from charrnn.text.config import CORPORA_DIR, CorpusConfig
    from charrnn.text.corpus import read_text
    from charrnn.text.download import fetch
    from charrnn.text.statistics import CorpusStatistics
    from charrnn.trained import Model, evaluate, load, runs, sample, verify
    from charrnn.training import events
    from charrnn.training.config import TrainingConfig

__all__ = [
    "CHECKPOINT_DIR",
    "CORPORA",
    "CORPORA_DIR",
    "PRESETS",
    "PUBLIC_CORPORA",
    "Beam",
    "BeamConfig",
    "CharrnnError",
    "Checkpoint",
    "Comparison",
    "CorpusConfig",
    "CorpusError",
    "CorpusStatistics",
    "Curve",
    "DynamicConfig",
    "Evaluation",
    "Generation",
    "Manifest",
    "Model",
    "ModelConfig",
    "NamedCorpus",
    "PublicCorpus",
    "Report",
    "Run",
    "SamplingConfig",
    "SettingsError",
    "TrainingConfig",
    "TrainingResult",
    "UndecodableError",
    "UnknownCharacterError",
    "__version__",
    "blas_threads",
    "cached_corpora",
    "check_choice",
    "clear_cache",
    "compare",
    "counted",
    "evaluate",
    "events",
    "fetch",
    "load",
    "read_text",
    "resume",
    "run_names",
    "runs",
    "sample",
    "shown_character",
    "survey",
    "train",
    "verify",
]

# Where each name is found: (module, name there).
_HOMES = {
    **{name: ("charrnn.api", name) for name in ("TrainingResult", "resume", "train")},
    **{
        name: ("charrnn.trained", name)
        for name in ("Model", "evaluate", "load", "runs", "sample", "verify")
    },
    "CHECKPOINT_DIR": ("charrnn.checkpoint.layout", "CHECKPOINT_DIR"),
    "Manifest": ("charrnn.checkpoint.format", "Manifest"),
    "Checkpoint": ("charrnn.checkpoint.store", "Checkpoint"),
    "Run": ("charrnn.checkpoint.store", "Run"),
    "run_names": ("charrnn.checkpoint.layout", "run_names"),
    **{name: ("charrnn.comparison", name) for name in ("Comparison", "compare")},
    "Curve": ("charrnn.curves", "Curve"),
    "CorpusError": ("charrnn.errors", "CorpusError"),
    "CharrnnError": ("charrnn.errors", "CharrnnError"),
    "SettingsError": ("charrnn.errors", "SettingsError"),
    "UndecodableError": ("charrnn.errors", "UndecodableError"),
    "UnknownCharacterError": ("charrnn.errors", "UnknownCharacterError"),
    "counted": ("charrnn.errors", "counted"),
    "shown_character": ("charrnn.errors", "shown_character"),
    "DynamicConfig": ("charrnn.dynamic.config", "DynamicConfig"),
    "Evaluation": ("charrnn.evaluation", "Evaluation"),
    "Beam": ("charrnn.generation.search", "Beam"),
    "BeamConfig": ("charrnn.generation.config", "BeamConfig"),
    "Report": ("charrnn.report", "Report"),
    "SamplingConfig": ("charrnn.generation.config", "SamplingConfig"),
    "Generation": ("charrnn.generation.text", "Generation"),
    **{name: ("charrnn.presets", name) for name in ("PRESETS", "check_choice")},
    "blas_threads": ("charrnn.generation.stepper", "blas_threads"),
    "ModelConfig": ("charrnn.model.config", "ModelConfig"),
    **{name: ("charrnn.corpora", name) for name in ("cached_corpora", "clear_cache", "survey")},
    "CORPORA": ("charrnn.text.catalog", "BUILT_IN"),
    "CORPORA_DIR": ("charrnn.text.config", "CORPORA_DIR"),
    "PUBLIC_CORPORA": ("charrnn.text.catalog", "PUBLIC"),
    "PublicCorpus": ("charrnn.text.catalog", "PublicCorpus"),
    "fetch": ("charrnn.text.download", "fetch"),
    "CorpusStatistics": ("charrnn.text.statistics", "CorpusStatistics"),
    "NamedCorpus": ("charrnn.text.catalog", "NamedCorpus"),
    "CorpusConfig": ("charrnn.text.config", "CorpusConfig"),
    "read_text": ("charrnn.text.corpus", "read_text"),
    "TrainingConfig": ("charrnn.training.config", "TrainingConfig"),
}


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    if name == "events":
        return import_module("charrnn.training.events")
    if name not in _HOMES:
        raise AttributeError(f"module 'charrnn' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value
