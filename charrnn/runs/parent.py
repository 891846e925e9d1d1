"""The model that a run starts from, to fine-tune it: `init_from`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from charrnn.checkpoint.model_file import SavedModel, read_model
from charrnn.checkpoint.store import find_checkpoint
from charrnn.errors import SettingsError
from charrnn.model.config import REGULARISERS, ModelConfig
from charrnn.settings import make
from charrnn.text.config import CorpusConfig
from charrnn.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Parent:
    """A model that was trained before. name: what the user calls it."""

    name: str
    model: SavedModel

    def model_settings(self, given: ModelConfig | Mapping[str, Any] | None) -> ModelConfig:
        """Return the settings of the new model: those of this one, but for the given ones."""
        if isinstance(given, ModelConfig):
            return given
        return make(ModelConfig, asdict(self.model.config) | dict(given or {}))

    def corpus_settings(self) -> dict[str, Any]:
        """Return the corpus settings that the new run inherits."""
        return asdict(self.model.corpus_config.inherited())

    def check(self, model: ModelConfig, config: CorpusConfig) -> None:
        """Raise SettingsError if a new model with these settings cannot take the weights."""
        if config.unit != self.model.vocabulary.unit:
            raise SettingsError(
                f"`unit={config.unit}`: the model to start from reads {self.model.vocabulary.unit}s"
            )
        wanted, has = (asdict(c) | dict.fromkeys(REGULARISERS) for c in (model, self.model.config))
        if wanted != has:
            key = next(k for k in has if wanted[k] != has[k])
            raise SettingsError(
                f"`{key}={wanted[key]}`: the model to start from has {has[key]}, and its "
                f"architecture cannot change; leave `{key}` out"
            )

    def notice(self, vocabulary: Vocabulary) -> str:
        """Return what the user should know: which characters are new to the model."""
        added = [s or "unknown" for s in vocabulary.symbols[len(self.model.vocabulary) :]]
        if not added:
            return f"starting from {self.name}, whose vocabulary covers the corpus"
        shown = " ".join(s if s.isprintable() else ascii(s)[1:-1] for s in added[:20])
        more = f" and {len(added) - 20:,} more" if len(added) > 20 else ""
        return (
            f"starting from {self.name}; {len(added):,} characters are new to it and start "
            f"untrained: {shown}{more}"
        )


def read_parent(name: str | Path, checkpoint_dir: Path) -> Parent:
    """Read the model that a run starts from. Raises RunError or CheckpointError."""
    path = find_checkpoint(name, checkpoint_dir, None, "best")
    return Parent(str(name), read_model(path))
