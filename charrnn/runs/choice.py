"""Settings chosen for the user, from the size of the corpus and the work that there is time for.

Work is counted in products: characters read in training times the weights each is multiplied with.
For a given work, a larger model that reads less and a smaller one that reads more are both worse
than one in between. docs/experiments.md has the trials, and says what the numbers below rest on.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from charrnn.errors import SettingsError
from charrnn.model.config import ModelConfig, multiplied_weights
from charrnn.settings import make
from charrnn.training.config import TrainingConfig, fit

# Work of each preset, in products.
PRESETS = {"fast": 3e12, "balanced": 1.5e13, "best": 1.5e14}
DEFAULT_PRESET = "balanced"

HIDDEN_SIZES = (32, 48, 64, 96, 128, 192, 256, 384, 512, 640, 768, 896, 1024, 1280, 1536, 2048)
CHARACTERS_PER_WEIGHT = 6  # that training reads, passes over the same ones counted anew
WEIGHTS_PER_CHARACTER = 6  # of the corpus, at most
MAX_DROPOUT, MAX_INPUT_DROPOUT = 0.5, 0.2
# Where no limit is given, a corpus is read so often, but a short one for so many steps.
MAX_EPOCHS = 40
MIN_STEPS = 1_000
PROBE_SIZE = 512  # hidden units of the model that is timed, where their number is to be chosen
# A short corpus is validated on after so many passes, since it may be learned by heart soon.
EVAL_EPOCHS, MIN_EVAL_EVERY = 10, 50
# What is chosen where it is not given; steps where no limit is, too.
MODEL_CHOICES = {"hidden_size", "dropout", "input_dropout"}
TRAINING_CHOICES = {"steps", "eval_every"}

T = TypeVar("T", ModelConfig, TrainingConfig)

# Measures the products a second of training a model.
Rate = Callable[[ModelConfig, TrainingConfig], float]


@dataclass(frozen=True)
class Choice:
    """The settings of a run. chosen: those that were not given, name to value."""

    model: ModelConfig
    training: TrainingConfig
    chosen: dict[str, Any]


@dataclass(frozen=True)
class Circumstances:
    """What a choice depends on besides the settings that are given.

    symbols: of the training part. preset: one of PRESETS; where left out, minutes that are given
    decide how much work there is time for, or else the default preset does.
    rate: asked in the former case, for a model with lanes and steps that the corpus has room for.
    """

    symbols: int
    vocabulary_size: int
    preset: str | None
    rate: Rate


def choose(
    model: ModelConfig | Mapping[str, Any],
    training: TrainingConfig | Mapping[str, Any],
    circumstances: Circumstances,
) -> Choice:
    """Choose size, dropout and length of a run where they are not given.

    model, training: settings, with which nothing is to choose, or names and values of those given.
    Raises SettingsError, see `check_choice`.
    """
    check_choice(model, training, circumstances.preset)
    base, plan = as_settings(ModelConfig, model), as_settings(TrainingConfig, training)
    free = MODEL_CHOICES - set(model) if isinstance(model, Mapping) else set()
    if base.tie_embeddings:
        free -= {"hidden_size"}  # it must equal the embedding's
    if isinstance(training, Mapping):
        free |= TRAINING_CHOICES - set(training)
    if (plan.steps, plan.epochs, plan.minutes) != (None,) * 3:
        free -= {"steps"}
    if not free:
        return Choice(base, plan, {})

    batch_size, seq_length = fit(circumstances.symbols, plan.batch_size, plan.seq_length)
    fitted = replace(plan, batch_size=batch_size, seq_length=seq_length)
    chunk = batch_size * seq_length
    work = _work(base, fitted, circumstances, sized="hidden_size" not in free)
    values: dict[str, Any] = {}
    if "hidden_size" in free:
        values["hidden_size"] = _hidden_size(base, work, circumstances)
        base = replace(base, **values)
    weights = multiplied_weights(base, circumstances.vocabulary_size)
    if "steps" in free:
        values["steps"] = _steps(work / weights, chunk, circumstances.symbols)
        plan = replace(plan, steps=values["steps"])
    every = max(MIN_EVAL_EVERY, round(EVAL_EPOCHS * circumstances.symbols / chunk))
    if every < plan.eval_every:
        values["eval_every"] = every
    epochs = _epochs(plan, work / weights, chunk, circumstances.symbols)
    dropout = _dropout(epochs, weights / circumstances.symbols)
    values |= {"dropout": dropout, "input_dropout": min(dropout, MAX_INPUT_DROPOUT)}
    chosen = {name: value for name, value in values.items() if name in free}
    for_model = {name: value for name, value in chosen.items() if name in MODEL_CHOICES}
    for_training = {name: value for name, value in chosen.items() if name not in MODEL_CHOICES}
    return Choice(
        make(ModelConfig, asdict(base) | for_model),
        make(TrainingConfig, asdict(plan) | for_training),
        chosen,
    )


def check_choice(
    model: ModelConfig | Mapping[str, Any],
    training: TrainingConfig | Mapping[str, Any],
    preset: str | None,
) -> None:
    """Raise SettingsError for what is given and cannot be."""
    as_settings(ModelConfig, model)
    plan = as_settings(TrainingConfig, training)
    if preset not in (None, *PRESETS):
        raise SettingsError(f"`preset={preset}`: choose one of {', '.join(PRESETS)}")
    if preset is not None and plan.minutes is not None:
        raise SettingsError("`preset` and `minutes` both say how much work to choose for; give one")


def as_settings(kind: type[T], given: T | Mapping[str, Any]) -> T:
    """Make settings of names and values, where they are none yet. Raises SettingsError."""
    return make(kind, given) if isinstance(given, Mapping) else given


def _work(
    config: ModelConfig, fitted: TrainingConfig, circumstances: Circumstances, *, sized: bool
) -> float:
    """Return the products that there is time for.

    fitted: with lanes and steps that the corpus has room for. sized: whether the size is given.
    """
    if fitted.minutes is None:
        return PRESETS[circumstances.preset or DEFAULT_PRESET]
    timed = config if sized else replace(config, hidden_size=PROBE_SIZE)
    return 60 * fitted.minutes * circumstances.rate(timed, fitted)


def _hidden_size(config: ModelConfig, work: float, circumstances: Circumstances) -> int:
    """Return the size whose weights come nearest to what suits the work and the corpus."""
    most = WEIGHTS_PER_CHARACTER * circumstances.symbols
    wanted = min(math.sqrt(work / CHARACTERS_PER_WEIGHT), most)

    def distance(hidden_size: int) -> float:
        sized = replace(config, hidden_size=hidden_size)
        return abs(math.log(multiplied_weights(sized, circumstances.vocabulary_size) / wanted))

    return min(HIDDEN_SIZES, key=distance)


def _steps(affordable: float, chunk: int, symbols: int) -> int:
    """Return how many steps a run takes, short of reading the corpus too often.

    affordable: the characters that there is work for. chunk: those that a step reads.
    """
    often = max(MAX_EPOCHS * symbols / chunk, MIN_STEPS)
    return max(1, round(min(affordable / chunk, often)))


def _epochs(plan: TrainingConfig, read: float, chunk: int, symbols: int) -> float:
    """Return how often a run will read its corpus, by its limits.

    read: the characters that it will read, should minutes be what limits it.
    """
    limits = []
    if plan.epochs is not None:
        limits.append(plan.epochs)
    if plan.step_limit is not None:
        limits.append(plan.step_limit * chunk / symbols)
    if plan.minutes is not None:
        limits.append(read / symbols)
    return min(limits)


def _dropout(epochs: float, weights_per_character: float) -> float:
    """Return the dropout for a corpus that is read so often by a model that is so large for it."""
    strain = max(epochs * math.sqrt(weights_per_character), 1e-9)
    return round(min(MAX_DROPOUT, max(0.0, 0.12 * math.log2(strain / 3.5))), 2)
