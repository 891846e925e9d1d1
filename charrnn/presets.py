"""Settings chosen for the user, from the size of the corpus and the work that there is time for.

Work is counted in products: characters read in training times the weights each is multiplied with.
For a given work, a larger model that reads less and a smaller one that reads more are both worse
than one in between. docs/experiments.md has the trials that the numbers below rest on.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from charrnn.errors import SettingsError
from charrnn.model.config import ModelConfig, multiplied_weights
from charrnn.settings import make
from charrnn.training.config import TrainingConfig
from charrnn.training.lanes import fit

# Work of each preset, in products.
PRESETS = {"fast": 3e12, "balanced": 1.5e13, "best": 1.5e14}
DEFAULT_PRESET = "balanced"

HIDDEN_SIZES = (32, 48, 64, 96, 128, 192, 256, 384, 512, 640, 768, 896, 1024, 1280, 1536, 2048)
CHARACTERS_PER_WEIGHT = 6  # that training reads, passes over the same ones counted anew
WEIGHTS_PER_CHARACTER = 6  # of the corpus, at most
MAX_DROPOUT, MAX_INPUT_DROPOUT = 0.5, 0.2
LEARNING_RATE = 0.007  # of Adam
# Where no limit is given, a corpus is read so often, but a short one for so many steps.
MAX_EPOCHS = 40
MIN_STEPS = 1_000
# What is chosen where it is not given; steps where no limit is.
MODEL_CHOICES = {"hidden_size", "dropout", "input_dropout"}
TRAINING_CHOICES = {"learning_rate", "steps"}

T = TypeVar("T", ModelConfig, TrainingConfig)

# Measures the products a second of a model of such a configuration.
Rate = Callable[[ModelConfig, TrainingConfig], float]


@dataclass(frozen=True)
class Choice:
    """The settings of a run. chosen: those that were not given, name to value."""

    model: ModelConfig
    training: TrainingConfig
    chosen: dict[str, Any]


def choose(
    model: ModelConfig | Mapping[str, Any],
    training: TrainingConfig | Mapping[str, Any],
    *,
    symbols: int,
    vocabulary_size: int,
    preset: str | None,
    rate: Rate,
) -> Choice:
    """Choose size, dropout, learning rate and length of a run where they are not given.

    model, training: settings, with which nothing is to choose, or names and values of those given.
    symbols: of the training part. preset: one of PRESETS; where left out, minutes that are given
    decide how much work there is time for, or else the default preset.
    rate: asked in the former case.
    """
    base, plan = as_settings(ModelConfig, model), as_settings(TrainingConfig, training)
    free_model = MODEL_CHOICES - set(model) if isinstance(model, Mapping) else set()
    free_training = TRAINING_CHOICES - set(training) if isinstance(training, Mapping) else set()
    if base.tie_embeddings:
        free_model -= {"hidden_size"}  # it must equal the embedding's
    if (plan.steps, plan.epochs, plan.minutes) != (None, None, None):
        free_training -= {"steps"}
    if plan.optimizer not in ("adamw", "adam"):
        free_training -= {"learning_rate"}
    if not free_model | free_training:
        return Choice(base, plan, {})

    if preset is None and plan.minutes is not None:
        work = 60 * plan.minutes * rate(base, plan)
    else:
        work = PRESETS[preset or DEFAULT_PRESET]
    if "hidden_size" in free_model:
        base = replace(base, hidden_size=_hidden_size(base, vocabulary_size, symbols, work))
    if "steps" in free_training:
        plan = replace(plan, steps=_steps(base, plan, vocabulary_size, symbols, work))
    epochs = _epochs(base, plan, vocabulary_size, symbols, work)
    dropout = _dropout(epochs, multiplied_weights(base, vocabulary_size) / symbols)
    values = {
        "hidden_size": base.hidden_size,
        "dropout": dropout,
        "input_dropout": min(dropout, MAX_INPUT_DROPOUT),
        "learning_rate": LEARNING_RATE,
        "steps": plan.steps,
    }
    chosen_model = {k: v for k, v in values.items() if k in free_model}
    chosen_training = {k: v for k, v in values.items() if k in free_training}
    return Choice(
        make(ModelConfig, asdict(base) | chosen_model),
        make(TrainingConfig, asdict(plan) | chosen_training),
        chosen_model | chosen_training,
    )


def check_choice(
    model: ModelConfig | Mapping[str, Any],
    training: TrainingConfig | Mapping[str, Any],
    preset: str | None,
) -> None:
    """Raise SettingsError for what `choose` would refuse."""
    as_settings(ModelConfig, model)
    as_settings(TrainingConfig, training)
    if preset not in (None, *PRESETS):
        raise SettingsError(f"--preset {preset}: choose one of {', '.join(PRESETS)}")


def as_settings(kind: type[T], given: T | Mapping[str, Any]) -> T:
    """Make settings of names and values, where they are none yet. Raises SettingsError."""
    return make(kind, given) if isinstance(given, Mapping) else given


def _hidden_size(config: ModelConfig, vocabulary_size: int, symbols: int, work: float) -> int:
    """Return the size whose weights come nearest to what suits the work and the corpus."""
    wanted = min(math.sqrt(work / CHARACTERS_PER_WEIGHT), WEIGHTS_PER_CHARACTER * symbols)

    def distance(hidden_size: int) -> float:
        sized = replace(config, hidden_size=hidden_size)
        return abs(math.log(multiplied_weights(sized, vocabulary_size) / wanted))

    return min(HIDDEN_SIZES, key=distance)


def _dropout(epochs: float, weights_per_character: float) -> float:
    """Return the dropout for a corpus that is read so often by a model that is so large for it."""
    strain = max(epochs * math.sqrt(weights_per_character), 1e-9)
    return round(min(MAX_DROPOUT, max(0.0, 0.12 * math.log2(strain / 3.5))), 2)


def _steps(
    config: ModelConfig, plan: TrainingConfig, vocabulary_size: int, symbols: int, work: float
) -> int:
    """Return how many steps the work is, short of reading the corpus too often."""
    batch_size, seq_length = fit(symbols, plan.batch_size, plan.seq_length)
    chunk = batch_size * seq_length
    often = max(MAX_EPOCHS * symbols / chunk, MIN_STEPS)
    return round(min(work / multiplied_weights(config, vocabulary_size) / chunk, often))


def _epochs(
    config: ModelConfig, plan: TrainingConfig, vocabulary_size: int, symbols: int, work: float
) -> float:
    """Return how often the run will read its corpus, by its limits."""
    batch_size, seq_length = fit(symbols, plan.batch_size, plan.seq_length)
    limits = []
    if plan.epochs is not None:
        limits.append(plan.epochs)
    if plan.steps is not None:
        limits.append(plan.steps * batch_size * seq_length / symbols)
    if plan.minutes is not None:
        limits.append(work / multiplied_weights(config, vocabulary_size) / symbols)
    return min(limits)
