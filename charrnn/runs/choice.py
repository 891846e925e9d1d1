"""Settings chosen for the user, from the size of the corpus and the time there is.

Work is counted in products: characters read in training times the weights each is multiplied by.
For a given amount of work, a larger model that reads less and a smaller one that reads more are
both worse than one in between. But a text that is read too often is learned by heart, so more work
than that needs goes into a larger model, and what a short text has no use for is not done. The
trials behind the numbers below are in docs/research.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from charrnn.errors import SettingsError, shortened
from charrnn.model.config import ModelConfig, multiplied_weights
from charrnn.settings import make
from charrnn.training.config import TrainingConfig, fit

# Work of each preset, in products.
PRESETS = {"fast": 3e12, "balanced": 1.5e13, "best": 1.5e14}
DEFAULT_PRESET = "balanced"

HIDDEN_SIZES = (32, 48, 64, 96, 128, 192, 256, 384, 512, 640, 768, 896, 1024, 1280, 1536, 2048)
CHARACTERS_PER_WEIGHT = 6  # that training reads, counted anew in each pass over the text
# Weights for each character of the corpus, at most; of a text of fewer than LONG_TEXT characters,
# more by the square root of how many times shorter it is.
WEIGHTS_PER_CHARACTER, LONG_TEXT = 6, 1_000_000
MAX_DROPOUT, MAX_INPUT_DROPOUT = 0.6, 0.2
# Strain is how close a model comes to learning its text by heart: passes over the text, times the
# square root of the weights for each of its characters. Dropout begins at NO_STRAIN, and grows by
# so much whenever it doubles; at MAX_STRAIN a run ends, but not before it has taken MIN_STEPS.
NO_STRAIN, MAX_STRAIN, DROPOUT_PER_DOUBLING = 6, 100, 0.14
MIN_STEPS = 500
# From so many different characters on, the softmax is adaptive, with a head of this size.
LARGE_VOCABULARY, HEAD = 2_000, 500
# The embedding then, and if not the work but the length of the text limits the size of the model.
LARGE_EMBEDDING = 256
# A text of fewer characters is read in fewer lanes.
SHORT_TEXT, FEW_LANES = 150_000, 16
# The learning rate of an LSTM with AdamW, and for a text of fewer than so many characters. Other
# cells do not gain from more than the default. It is that of runs of up to LONG_RUN steps. AdamW
# forgets old weights at a pace of rate x decay, so the rate of longer runs is lower, down to the
# default, to forget as much in all.
LSTMS = ("lstm", "peephole-lstm", "layernorm-lstm")
LSTM_RATE, LSTM_RATE_OF_FEW, FEW_CHARACTERS, LONG_RUN = 0.02, 0.01, 20_000, 5_000
PROBE_SIZE = 512  # hidden units of the model that is timed if their number is to be chosen
# A short corpus is validated after so many passes, since it may soon be learned by heart.
EVAL_EPOCHS, MIN_EVAL_EVERY = 2, 50
# What is chosen unless it is given; steps only if there is no other limit.
MODEL_CHOICES = {
    "hidden_size",
    "embedding_size",
    "adaptive_softmax",
    "dropout",
    "input_dropout",
}
TRAINING_CHOICES = {"steps", "eval_every", "batch_size", "learning_rate"}

T = TypeVar("T", ModelConfig, TrainingConfig)

# Measures how many products a second training a model takes.
Rate = Callable[[ModelConfig, TrainingConfig], float]


@dataclass(frozen=True)
class Requested:
    """The settings that were asked for, checked. free: the names of those to be chosen."""

    model: ModelConfig
    training: TrainingConfig
    preset: str | None
    free: frozenset[str]


@dataclass(frozen=True)
class Circumstances:
    """What a choice depends on besides the settings that are given.

    symbols: of the training part. rate: asked if minutes are given and no preset, to know how much
    work there is time for.
    """

    symbols: int
    vocabulary_size: int
    rate: Rate


@dataclass(frozen=True)
class Choice:
    """The settings of a run. chosen: those that were not given, name to value."""

    model: ModelConfig
    training: TrainingConfig
    chosen: dict[str, Any]


def requested(
    model: ModelConfig | Mapping[str, Any],
    training: TrainingConfig | Mapping[str, Any],
    preset: str | None,
) -> Requested:
    """Check settings before expensive work.

    model, training: all settings, which leaves nothing to choose, or names and values of some.
    Raises SettingsError.
    """
    base, limits = _as_settings(ModelConfig, model), _as_settings(TrainingConfig, training)
    if preset not in (None, *PRESETS):
        raise SettingsError(f"`preset={shortened(preset)}`: choose one of {', '.join(PRESETS)}")
    if preset is not None and limits.minutes is not None:
        raise SettingsError("`preset` and `minutes` both say how much work to choose for; give one")
    free = MODEL_CHOICES - set(model) if isinstance(model, Mapping) else set()
    if base.tie_embeddings:
        # Both sizes must be equal, and the softmax is the embedding.
        free -= {"hidden_size", "embedding_size", "adaptive_softmax"}
    if isinstance(training, Mapping):
        free |= TRAINING_CHOICES - set(training)
    if (limits.steps, limits.epochs) != (None, None):
        free -= {"steps"}
    return Requested(base, limits, preset, frozenset(free))


class _Draft:
    """A choice in the making. Settings that are not free stay as they are."""

    def __init__(self, request: Requested) -> None:
        self.model, self.training = request.model, request.training
        self._free = request.free
        self.chosen: dict[str, Any] = {}

    def choose(self, **values: Any) -> None:
        """Set those of some settings that are free."""
        free = {name: value for name, value in values.items() if name in self._free}
        self.chosen |= free
        for name, value in free.items():
            if name in MODEL_CHOICES:
                self.model = replace(self.model, **{name: value})
            else:
                self.training = replace(self.training, **{name: value})


def choose(request: Requested, circumstances: Circumstances) -> Choice:
    """Choose size, dropout and length of a run, as far as they are not given."""
    draft = _Draft(request)
    if not request.free:
        return Choice(draft.model, draft.training, {})
    symbols, vocabulary_size = circumstances.symbols, circumstances.vocabulary_size
    if symbols < SHORT_TEXT:
        draft.choose(batch_size=FEW_LANES)
    if vocabulary_size > LARGE_VOCABULARY:
        draft.choose(adaptive_softmax=HEAD, embedding_size=LARGE_EMBEDDING)
    lanes, length = fit(symbols, draft.training.batch_size, draft.training.seq_length)
    chunk = lanes * length
    fitted = replace(draft.training, batch_size=lanes, seq_length=length)
    work = _work(replace(request, model=draft.model, training=fitted), circumstances.rate)
    wanted, most = _wanted_weights(work, symbols), _most_weights(symbols)
    if wanted >= most:
        draft.choose(embedding_size=LARGE_EMBEDDING)
    if "hidden_size" in request.free:
        size = _nearest_size(draft.model, min(wanted, most), vocabulary_size)
        draft.choose(hidden_size=size)
    weights = multiplied_weights(draft.model, vocabulary_size)
    affordable = work / weights
    useful = max(MAX_STRAIN / strain(1, weights, symbols) * symbols / chunk, MIN_STEPS)
    if draft.training.minutes is None or affordable / chunk > useful:
        draft.choose(steps=max(1, round(min(affordable / chunk, useful))))
    every = max(MIN_EVAL_EVERY, round(EVAL_EPOCHS * symbols / chunk))
    if every < draft.training.eval_every:
        draft.choose(eval_every=every)
    epochs = _epochs(draft.training, affordable, chunk, symbols)
    usual = draft.training.schedule == "cosine" and draft.training.weight_decay is None
    if draft.model.cell in LSTMS and draft.training.optimizer == "adamw" and usual:
        draft.choose(learning_rate=_lstm_rate(symbols, epochs * symbols / chunk))
    dropout = _dropout(strain(epochs, weights, symbols))
    draft.choose(dropout=dropout, input_dropout=min(dropout, MAX_INPUT_DROPOUT))
    return Choice(draft.model, draft.training, draft.chosen)


def strain(epochs: float, weights: int, symbols: int) -> float:
    """Return how close a model comes to learning its text by heart; see MAX_STRAIN."""
    return epochs * math.sqrt(weights / symbols)


def _as_settings(kind: type[T], given: T | Mapping[str, Any]) -> T:
    return make(kind, given) if isinstance(given, Mapping) else given


def _work(request: Requested, rate: Rate) -> float:
    """Return the products that there is time for."""
    minutes = request.training.minutes
    if minutes is None:
        return PRESETS[request.preset or DEFAULT_PRESET]
    timed = request.model
    if "hidden_size" in request.free:
        timed = replace(timed, hidden_size=PROBE_SIZE)
    return 60 * minutes * rate(timed, request.training)


def _wanted_weights(work: float, symbols: int) -> float:
    """Return how many weights suit the work, and a text of so many symbols."""
    for_work = math.sqrt(work / CHARACTERS_PER_WEIGHT)
    # If that model were trained for longer than is useful, a larger one can be.
    for_text = (work / MAX_STRAIN) ** 2 / symbols**3
    return max(for_work, for_text)


def _most_weights(symbols: int) -> float:
    """Return how many weights a text of so many symbols bears."""
    return WEIGHTS_PER_CHARACTER * symbols * max(1.0, math.sqrt(LONG_TEXT / symbols))


def _nearest_size(config: ModelConfig, wanted: float, vocabulary_size: int) -> int:
    """Return the size whose number of weights is nearest to what is wanted."""

    def distance(hidden_size: int) -> float:
        sized = replace(config, hidden_size=hidden_size)
        return abs(math.log(multiplied_weights(sized, vocabulary_size) / wanted))

    return min(HIDDEN_SIZES, key=distance)


def _epochs(training: TrainingConfig, read: float, chunk: int, symbols: int) -> float:
    """Return how often a run will read its corpus, by its limits.

    read: the characters that it will read if minutes are the limit.
    """
    limits = []
    if training.epochs is not None:
        limits.append(training.epochs)
    if training.step_limit is not None:
        limits.append(training.step_limit * chunk / symbols)
    if training.minutes is not None:
        limits.append(read / symbols)
    return min(limits)


def _lstm_rate(symbols: int, steps: float) -> float:
    peak = LSTM_RATE if symbols >= FEW_CHARACTERS else LSTM_RATE_OF_FEW
    default = TrainingConfig().peak_rate
    return max(default, float(f"{peak * min(1, LONG_RUN / max(steps, 1)):.2g}"))


def _dropout(strain: float) -> float:
    grown = DROPOUT_PER_DOUBLING * math.log2(max(strain, 1e-9) / NO_STRAIN)
    return round(min(MAX_DROPOUT, max(0.0, grown)), 2)
