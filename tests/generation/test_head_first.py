"""Draws from an adaptive softmax that compute its head, and of its clusters what they need."""

import itertools
import math
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from charrnn.errors import GenerationError
from charrnn.generation.encoding import encode_request
from charrnn.generation.filters import log_softmax
from charrnn.generation.head_first import Drawn, HeadFirst, head_first
from charrnn.generation.layers import Dense, MatrixKind
from charrnn.generation.request import GenerationRequest, SamplingConfig
from charrnn.generation.sampling import derived_seed
from charrnn.generation.softmax import AdaptiveSoftmax
from charrnn.generation.stepper import Stepper
from charrnn.generation.texts import Generation, generations
from charrnn.model.config import ModelConfig, parameter_shapes
from charrnn.text.vocabulary import Vocabulary

FREQUENT = 3
VOCABULARY = Vocabulary("char", ("", *"abcdefghijklmnopqrstuv"))  # clusters: c to e, f to k, l to v
CONFIG = ModelConfig(hidden_size=9, embedding_size=4, adaptive_softmax=FREQUENT, attention=5)
LAST = 1 - 2**-53  # the largest random number


def random_stepper(
    seed: int = 0,
    kind: MatrixKind = Dense,
    dtype: str = "float64",
    size: float = 1.0,
    changed: dict[str, Any] | None = None,
) -> Stepper:
    """A random model; in float64, rounding never decides a draw. changed: weights by name."""
    rng = np.random.default_rng(seed)
    shapes = parameter_shapes(CONFIG, len(VOCABULARY))
    weights = {k: rng.normal(scale=size, size=shape).astype(dtype) for k, shape in shapes.items()}
    for name, value in (changed or {}).items():
        weights[name][...] = value
    return Stepper(weights, CONFIG, kind)


class Draws:
    """All that a model could write next after three symbols."""

    def __init__(self, stepper: Stepper) -> None:
        assert isinstance(stepper.softmax, AdaptiveSoftmax)
        self.draws = HeadFirst(stepper, stepper.softmax)
        self.stepper, self.ids = stepper, np.array([[1], [9], [20]])
        self.states = self.draws.stepper.start(1)
        self.head = self.draws.stepper.read(self.ids, self.states)[0]

    @cached_property
    def log_p(self) -> NDArray[Any]:
        """The log-probabilities of all symbols, computed without HeadFirst."""
        logits = self.stepper.read(self.ids, self.stepper.start(1))[0]
        return log_softmax(logits.astype(np.float64))

    def draw(self, temperature: float, uniform: float = 0.5) -> Drawn:
        return self.draws.draw(self.head, self.states.output[:, 0], temperature, uniform)

    def shares(self, temperature: float, number: int) -> NDArray[Any]:
        """The share of evenly spaced random numbers that draw each symbol, (V,)."""
        uniforms = (np.arange(number) + 0.5) / number
        ids = [self.draw(temperature, uniform).id for uniform in uniforms.tolist()]
        return np.bincount(ids, minlength=len(self.log_p)) / number


@pytest.mark.parametrize("temperature", [0.05, 0.5, 1.0, 1.5, 20.0])
@pytest.mark.parametrize("seed", range(3))
def test_draws_have_the_exact_distribution(seed: int, temperature: float) -> None:
    """A symbol has a few intervals of random numbers; together they are its probability long."""
    draws, number = Draws(random_stepper(seed)), 4_000
    expected = np.exp(log_softmax(draws.log_p / temperature))
    most = 8  # intervals: a symbol is drawn at once, or after any of the clusters was refused
    np.testing.assert_allclose(draws.shares(temperature, number), expected, atol=most / number)


def test_int8_weights_are_drawn_from_in_the_same_way() -> None:
    """The distribution is that of the rounded weights."""
    int8 = pytest.importorskip("charrnn.generation.int8")
    draws = Draws(random_stepper(1, int8.Int8, "float32"))
    expected = np.exp(log_softmax(draws.log_p / 0.7))
    np.testing.assert_allclose(draws.shares(0.7, 4_000), expected, atol=8 / 4_000)


def test_greedy_draws_are_the_most_probable_symbols() -> None:
    """In the head and in each cluster, at temperature 0 and close to it."""
    found = set()
    for seed in range(60):
        draws = Draws(random_stepper(seed))
        best = int(draws.log_p.argmax())
        assert draws.draw(0).id == best
        assert draws.draw(1e-9, 0.99).id == draws.draw(1e-300, 0.0).id == best
        found.add(draws.draw(0).row)
    assert found > {FREQUENT, FREQUENT + 1}


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0, 2.0])
def test_a_draw_knows_its_log_probability(temperature: float) -> None:
    """ln p = ln P + ln q, at temperature 1 whatever the temperature of the draw."""
    draws = Draws(random_stepper())
    for uniform in (0.0, *np.random.default_rng(0).random(200).tolist(), LAST):
        id_, row, log_q = draws.draw(temperature, uniform)
        assert log_softmax(draws.head)[row] + log_q == pytest.approx(draws.log_p[id_])


def test_clusters_that_are_not_drawn_are_not_computed() -> None:
    """One is broken here, which is only reported when it is drawn."""
    draws = Draws(random_stepper(changed={"output.clusters.0.bias": np.nan}))
    rows, refused = set(), 0
    for uniform in np.linspace(0, LAST, 100).tolist():
        try:
            rows.add(draws.draw(1.0, uniform).row)
        except GenerationError:
            refused += 1
    share = np.exp(log_softmax(draws.head))[FREQUENT]
    assert refused == pytest.approx(100 * share, abs=1)
    assert rows == {0, 1, 2, FREQUENT + 1, FREQUENT + 2}


def test_an_overflow_of_the_head_is_an_error() -> None:
    for bias in (np.nan, np.inf):
        with pytest.raises(GenerationError, match="overflowed"):
            Draws(random_stepper(changed={"output.bias": bias})).draw(0.8)


def texts(stepper: Stepper, number: int = 1, **values: Any) -> list[Generation]:
    request = GenerationRequest(
        prompt="ab",
        num_samples=number,
        temperatures=values.pop("temperatures", ()),
        sampling=SamplingConfig(**({"length": 40, "seed": 1} | values)),
    )
    return list(generations(stepper, encode_request(request, VOCABULARY)))


def test_the_same_seed_gives_the_same_text() -> None:
    stepper = random_stepper(size=0.4)
    (one,), (again,), (other,) = (texts(stepper, seed=seed) for seed in (1, 1, 2))
    written = "".join(one)
    assert written == "".join(again) != "".join(other)
    assert len(set(written) & set("cdefghijk")) > 2, "few characters of the clusters"


def test_a_text_does_not_depend_on_other_lanes() -> None:
    """Even if these end, or are drawn at other temperatures."""
    stepper = random_stepper(size=0.4)
    reasons = set()
    for k, text in enumerate(texts(stepper, 9, stop=("c", "d"))):
        (alone,) = texts(stepper, seed=derived_seed(1, k), stop=("c", "d"))
        assert "".join(alone) == "".join(text)
        reasons.add(text.stop_reason)
        assert alone.log_probability == pytest.approx(text.log_probability)
    assert reasons == {"stop", "length"}
    for hot in texts(stepper, temperatures=(0.0, 0.5, 1.0, 2.0)):
        (alone,) = texts(stepper, temperature=hot.temperature)
        assert "".join(alone) == "".join(hot)


@pytest.mark.parametrize("number", [1, 3])
def test_the_log_probability_of_a_text_is_the_models_own(number: int) -> None:
    """At temperature 1, and without the unknown symbol, which is never written."""
    stepper = random_stepper()
    for text in texts(stepper, number, temperature=0.7):
        ids = VOCABULARY.encode("ab" + "".join(text))
        logits = stepper.read_all(ids[:, None], stepper.start(1))[:, 0]
        logits[:, 0] = -np.inf
        log_p = log_softmax(logits)
        expected = [log_p[k, id_] for k, id_ in enumerate(ids[2:], start=1)]
        assert text.log_probability == pytest.approx(math.fsum(expected))
        assert text.surprises() == pytest.approx(-np.array(expected) / math.log(2))


NEED_ALL: tuple[dict[str, Any], ...] = (
    {"top_k": 5},
    {"top_p": 0.9},
    {"min_p": 0.1},
    {"typical_p": 0.9},
    {"epsilon_cutoff": 0.01},
    {"ban": "e"},
    {"only": "[a-k]"},
    {"no_repeat_ngram_size": 3},
    {"min_length": 5},
)


def test_what_needs_all_probabilities_gets_them() -> None:
    """Filters, and bans in a cluster; a ban in the head does not need the clusters."""
    stepper = random_stepper()

    def draws(**values: Any) -> HeadFirst | None:
        request = GenerationRequest(sampling=SamplingConfig(**values))
        return head_first(stepper, encode_request(request, VOCABULARY))

    assert draws()
    assert draws(temperature=0.0)
    assert draws(ban="b")
    assert not any(draws(**values) for values in NEED_ALL)
    assert "".join(*texts(stepper, top_k=1)) == "".join(*texts(stepper, temperature=0.0))


def test_banned_characters_of_the_head_are_never_written() -> None:
    for temperature, banned in itertools.product((0.0, 1.0, 3.0), ("b", "ab")):
        (text,) = texts(random_stepper(), ban=banned, length=200, temperature=temperature)
        written = "".join(text)
        assert len(written) == 200
        assert not set(written) & set(banned)
