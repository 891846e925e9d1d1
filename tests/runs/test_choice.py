"""How settings are chosen, within which bounds, and that given settings stay as they are."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import charrnn
from charrnn.errors import SettingsError
from charrnn.model.config import REGULARISERS, ModelConfig, multiplied_weights
from charrnn.model.specs import CELL_SPECS
from charrnn.runs.choice import (
    FEW_CHARACTERS,
    HIDDEN_SIZES,
    LONG_RUN,
    LSTM_RATE,
    LSTMS,
    PRESETS,
    PROBE_SIZE,
    Choice,
    Circumstances,
    choose,
    requested,
)
from charrnn.training.config import TrainingConfig
from charrnn.training.cost import TrialSteps, TrialText, symbols_per_second

VOCABULARY = 65
FAST = 1e11  # products a second


def choice(
    model: Any = None, training: Any = None, symbols: int = 1_000_000, **circumstances: Any
) -> Choice:
    values: dict[str, Any] = {"preset": None, "rate": lambda _m, _t: FAST} | circumstances
    request = requested(model or {}, training or {}, values["preset"])
    return choose(request, Circumstances(symbols, VOCABULARY, values["rate"]))


def test_settings_given_as_objects_are_left_alone() -> None:
    """An object contains no open choice; with both given, the machine is not timed."""
    model, training = ModelConfig(hidden_size=7), TrainingConfig(minutes=3)
    made = choice(model, training, rate=lambda _m, _t: pytest.fail("timed"))
    assert made == Choice(model, training, {})
    assert choice(model, {}).model == model
    assert choice({}, TrainingConfig(seed=3)).training == TrainingConfig(seed=3)


def test_the_speed_probe_times_what_would_be_trained() -> None:
    """The given size or a medium one, with as many lanes and steps as fit the corpus."""
    timed: list[tuple[ModelConfig, TrainingConfig]] = []

    def rate(model: ModelConfig, training: TrainingConfig) -> float:
        timed.append((model, training))
        return FAST

    limit = {"minutes": 1.0, "batch_size": 10_000}
    choice({"num_layers": 2}, limit, 1_000, rate=rate)
    choice({"hidden_size": 7}, limit, 1_000, rate=rate)
    assert [m.hidden_size for m, _ in timed] == [PROBE_SIZE, 7]
    assert timed[0][0].num_layers == 2
    assert all(t.batch_size * t.seq_length < 1_000 for _, t in timed)


@given(
    symbols=st.integers(10, 10**10),
    preset=st.sampled_from([None, *PRESETS]),
    model=st.fixed_dictionaries(
        {},
        optional={
            "cell": st.sampled_from(["lstm", "gru", "rnn"]),
            "num_layers": st.integers(1, 10),
            "hidden_size": st.integers(1, 3_000),
            "dropout": st.floats(0, 0.9),
            "embedding_size": st.sampled_from([0, 64, 512]),
            "tie_embeddings": st.booleans(),
        },
    ),
    training=st.fixed_dictionaries(
        {},
        optional={
            "optimizer": st.sampled_from(["adamw", "sgd"]),
            "learning_rate": st.floats(1e-5, 1),
            "steps": st.integers(1, 10**9),
            "epochs": st.floats(1e-6, 1e6),
            "minutes": st.floats(1e-6, 1e6),
            "batch_size": st.integers(1, 5_000),
            "seq_length": st.integers(1, 5_000),
        },
    ),
)
def test_given_settings_stay_and_the_others_are_sound(
    symbols: int, preset: str | None, model: dict[str, Any], training: dict[str, Any]
) -> None:
    try:
        requested(model, training, preset)
    except SettingsError:  # a tied embedding of another size, or two limits
        return
    made = choice(model, training, symbols, preset=preset)
    assert made.model == ModelConfig(**model | _part(made, ModelConfig))
    assert made.training == TrainingConfig(**training | _part(made, TrainingConfig))
    assert not made.chosen.keys() & (model.keys() | training.keys())
    assert made.training.step_limit == made.training.steps, "there is a limit"


def _part(made: Choice, kind: type) -> dict[str, Any]:
    return {k: v for k, v in made.chosen.items() if k in asdict(kind())}


@pytest.mark.parametrize("limit", [{}, {"minutes": 1.0}, {"steps": 300}, {"epochs": 2.0}])
def test_the_chosen_flags_reproduce_the_settings(limit: dict[str, Any]) -> None:
    first = choice({}, limit)
    model = _part(first, ModelConfig)
    again = choice(model, limit | _part(first, TrainingConfig))
    assert (again.model, again.training) == (first.model, first.training)
    assert again.chosen == {}


def test_more_time_or_speed_makes_a_larger_model() -> None:
    """Up to the size that the corpus can feed, and the largest size there is."""

    def size(minutes: float, rate: float = FAST, symbols: int = 1_000_000) -> int:
        made = choice({}, {"minutes": minutes}, symbols, rate=lambda _m, _t: rate)
        return made.model.hidden_size

    sizes = [size(minutes) for minutes in (0.01, 0.1, 1, 10, 100)]
    assert sizes == sorted(set(sizes))
    assert size(1, 10 * FAST) == size(10)
    assert size(100, symbols=10_000) < size(100)
    assert size(1e9, symbols=10**12) == HIDDEN_SIZES[-1]


def test_presets_are_amounts_of_work() -> None:
    works = []
    for preset in PRESETS:
        made = choice(preset=preset, symbols=100_000_000)
        assert made.training.steps is not None
        read = made.training.steps * made.training.batch_size * made.training.seq_length
        works.append(read * multiplied_weights(made.model, VOCABULARY))
    assert works == pytest.approx(list(PRESETS.values()), rel=0.01)
    assert choice() == choice(preset="balanced")


def test_a_corpus_that_is_read_more_often_gets_more_dropout() -> None:
    often, seldom = (choice({}, {"epochs": epochs}) for epochs in (50.0, 1.0))
    assert all(often.chosen[name] > seldom.chosen[name] for name in ("dropout", "input_dropout"))
    assert seldom.model.dropout == 0
    assert choice({}, {"epochs": 1e6}).model.dropout <= 0.6


def test_a_run_ends_before_its_text_is_learned_by_heart() -> None:
    """However much time there is; the fewer weights, the more passes help."""
    short = choice({}, {"minutes": 100.0}, 50_000)
    steps = short.training.steps
    assert steps is not None
    assert short.chosen["steps"] == steps
    assert steps == choice({}, {"minutes": 1000.0}, 50_000).training.steps
    small = choice({"hidden_size": 32}, {"minutes": 100.0}, 50_000)
    assert small.training.steps is not None
    assert small.training.steps > steps
    assert choice({}, {"minutes": 1.0}).training.steps is None, "a long text is never done"
    asked = {"minutes": 100.0, "epochs": 1e6}
    assert choice({}, asked, 50_000).training.steps is None


def test_a_short_text_is_read_in_fewer_lanes() -> None:
    """Its characters are embedded in more numbers."""
    short, long = choice({}, {}, 50_000), choice({}, {}, 50_000_000)
    assert short.training.batch_size < long.training.batch_size
    assert short.model.embedding_size > long.model.embedding_size
    assert choice({}, {"batch_size": 7}, 50_000).training.batch_size == 7


def test_a_short_corpus_is_validated_on_sooner() -> None:
    every = [choice({}, {}, symbols).training.eval_every for symbols in (100, 90_000, 1_000_000)]
    assert every[0] < every[1] < every[2] == TrainingConfig().eval_every
    assert choice({}, {"eval_every": 0}, 100).training.eval_every == 0
    assert "eval_every" not in choice().chosen


def test_a_tied_embedding_keeps_its_size() -> None:
    made = choice({"tie_embeddings": True, "embedding_size": 512}, {"minutes": 100.0})
    assert made.model.hidden_size == 512
    assert "hidden_size" not in made.chosen


@pytest.mark.parametrize(
    ("model", "training", "preset", "message"),
    [
        ({}, {}, "huge", "`preset=huge`: choose one of fast, balanced, best"),
        ({"hidden_size": 0}, {}, None, "`hidden_size=0`: must be at least 1"),
        ({"size": 3}, {}, None, "`size` is not a setting"),
        ({}, {"seed": -1}, None, "`seed=-1`: must be at least 0"),
        ({}, {"minutes": 1.0}, "fast", "`preset` and `minutes` both say how much work"),
    ],
)
def test_contradictory_requests_are_refused(
    model: Any, training: Any, preset: str | None, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        requested(model, training, preset)


def test_a_run_is_trained_with_what_was_chosen(corpus: Path, tmp_path: Path) -> None:
    result = charrnn.train(
        corpus,
        model={"embedding_size": 4},
        training={"minutes": 0.005},
        checkpoint_dir=tmp_path,
    )
    model = charrnn.load(result.folder)
    assert model.config.embedding_size == 4
    assert model.config.hidden_size in HIDDEN_SIZES
    assert result.end.reason == "minutes"


def test_init_from_keeps_the_size_of_the_model(
    trained: charrnn.TrainingResult, corpus: Path, tmp_path: Path
) -> None:
    parent = charrnn.load(trained.folder).config
    result = charrnn.train(
        corpus,
        init_from=trained.folder,
        model={"weight_dropout": 0.3},
        training={"steps": 1},
        checkpoint_dir=tmp_path,
    )
    made = charrnn.load(result.folder).config
    dropped = dict.fromkeys(REGULARISERS, 0)
    assert asdict(made) | dropped == asdict(parent) | dropped
    assert made.weight_dropout == 0.3


def test_the_speed_is_measured_by_the_fastest_step() -> None:
    """Measured by a clock that moves a tenth of a second whenever it is read."""
    ticks = iter(range(1000))
    steps = TrialSteps(
        ModelConfig(hidden_size=4, embedding_size=3),
        TrainingConfig(batch_size=2, seq_length=5),
        TrialText(np.arange(VOCABULARY), VOCABULARY),
        torch.device("cpu"),
        clock=lambda: next(ticks) / 10,
    )
    speed = symbols_per_second(steps)
    assert speed == pytest.approx(2 * 5 / 0.1)


def test_the_speed_is_measured_on_the_text() -> None:
    """How frequent its characters are decides what an adaptive softmax costs."""
    chunk = TrialText(np.array([7, 0, 0], np.uint16), 9).chunk(4, 2)
    assert chunk.tolist() == [[7, 0], [0, 0], [0, 7], [7, 0]]


def test_only_an_lstm_with_adamw_gets_a_higher_rate() -> None:
    """The trials were made with these; a very short text gets less."""
    assert choice().training.peak_rate == LSTM_RATE
    assert choice(training={"steps": 2 * LONG_RUN}).training.peak_rate == LSTM_RATE / 2
    assert (
        choice(training={"steps": 50 * LONG_RUN}).training.peak_rate == TrainingConfig().peak_rate
    )
    assert choice(symbols=FEW_CHARACTERS - 1).training.peak_rate < LSTM_RATE
    default = TrainingConfig().peak_rate
    for cell in set(CELL_SPECS) - {*LSTMS}:
        assert choice({"cell": cell}).training.peak_rate == default
    for other in ({"optimizer": "adam"}, {"schedule": "linear"}, {"weight_decay": 0.1}):
        assert choice(training=other).training.peak_rate == default
    assert choice(training={"learning_rate": 0.3}).training.peak_rate == 0.3
