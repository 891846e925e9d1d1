"""Dynamic evaluation: symbols are scored first, then learned, and all is forgotten at the end."""

import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

import charrnn
from charrnn.errors import TrainingError
from charrnn.evaluation import dynamic as learner
from charrnn.evaluation.dynamic import dynamic_nats, gradient_rms
from charrnn.model.cells import State
from charrnn.model.config import ModelConfig
from charrnn.model.language_model import LanguageModel
from charrnn.model.specs import CELL_SPECS
from charrnn.text.store import Symbols
from charrnn.training.validation import total_nats

V = 7
ARCHITECTURES: list[dict[str, Any]] = [
    *({"cell": cell} for cell in CELL_SPECS),
    {"num_layers": 2},
    {"cell": "rnn", "nonlinearity": "leaky-relu"},
    {"embedding_size": 0},
    {"embedding_size": 6, "tie_embeddings": True},
]


def model_of(vocabulary_size: int = V, **architecture: Any) -> LanguageModel:
    config = ModelConfig(**{"hidden_size": 6, "embedding_size": 5} | architecture)
    return LanguageModel(config, vocabulary_size, torch.Generator().manual_seed(1)).double()


def symbols(ids: list[int], ends: Iterable[int] = ()) -> Symbols:
    return Symbols(np.array(ids, dtype=np.uint8), ends=np.array(sorted(ends), dtype=np.int64))


def random_ids(seed: int, number: int, vocabulary_size: int = V) -> list[int]:
    return np.random.default_rng(seed).integers(vocabulary_size, size=number).tolist()  # type: ignore[no-any-return]


def some_rms(model: LanguageModel, seed: int = 0) -> list[Tensor]:
    """Random values above 0, but for one weight of each parameter, as of a rare symbol."""
    generator = torch.Generator().manual_seed(seed)
    rms = [torch.rand(p.shape, generator=generator, dtype=p.dtype) for p in model.parameters()]
    for part in rms:
        part.view(-1)[0] = 0
    return rms


def chunk_nats(
    model: LanguageModel, ids: list[int], ends: set[int], start: int, stop: int, state: State
) -> tuple[Tensor, State]:
    """Symbol by symbol: the nats of ids[start + 1 : stop + 1], and the state after them."""
    nats = torch.zeros((), dtype=torch.float64)
    for at in range(start, stop):
        if at + 1 in ends:
            state = model.start(1)
        logits, state = model(torch.tensor([[ids[at]]]), state)
        nats = nats + F.cross_entropy(logits[0], torch.tensor([ids[at + 1]]))
    return nats, state


def written_out(
    model: LanguageModel,
    ids: list[int],
    ends: set[int],
    rms: list[Tensor],
    config: charrnn.DynamicConfig,
) -> float:
    """The rule of the paper, weight by weight."""
    state, total = model.start(1), 0.0
    trained = [p.detach().numpy().copy() for p in model.parameters()]
    mean = sum(r.sum().item() for r in rms) / sum(r.numel() for r in rms)
    for start in range(0, len(ids) - 1, config.dynamic_length):
        stop = min(start + config.dynamic_length, len(ids) - 1)
        nats, state = chunk_nats(model, ids, ends, start, stop, state)
        state = tuple(part.detach() for part in state)
        total += nats.item()
        model.zero_grad()
        nats.backward()
        for parameter, before, r in zip(model.parameters(), trained, rms, strict=True):
            assert parameter.grad is not None
            theta, theta_0, g = parameter.detach().numpy(), before, parameter.grad.numpy()
            for i in np.ndindex(theta.shape):
                pull = min(config.dynamic_decay * r[i].item() / mean, 1.0)
                step = config.dynamic_lr * g[i] / (r[i].item() + learner.EPSILON * mean)
                theta[i] = theta[i] - step + pull * (theta_0[i] - theta[i])
    return total


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
@pytest.mark.parametrize("length", [4, 50])
def test_weights_are_updated_by_the_rule_of_the_paper(
    architecture: dict[str, Any], length: int
) -> None:
    """Each document starts from a fresh state, but the weights continue."""
    ids, ends = random_ids(0, 31), {9, 10, 22}
    config = charrnn.DynamicConfig(dynamic_lr=0.05, dynamic_decay=0.7, dynamic_length=length)
    rms = some_rms(model_of(**architecture))
    scored = dynamic_nats(model_of(**architecture), symbols(ids, ends), rms, config)
    expected = written_out(model_of(**architecture), ids, ends, rms, config)
    assert scored == pytest.approx(expected, rel=1e-9)


@given(
    text=st.lists(st.integers(0, V - 1), min_size=2, max_size=40),
    ends=st.sets(st.integers(1, 40), max_size=4),
    length=st.integers(1, 50),
)
def test_without_learning_it_is_plain_evaluation(
    text: list[int], ends: set[int], length: int
) -> None:
    model, document = model_of(num_layers=2), symbols(text, ends)
    config = charrnn.DynamicConfig(dynamic_lr=0, dynamic_decay=0, dynamic_length=length)
    scored = dynamic_nats(model, document, some_rms(model), config)
    assert scored == pytest.approx(total_nats(model, document), rel=1e-9)


@pytest.mark.parametrize("length", [1, 2, 3, 6, 7])
def test_a_symbol_is_scored_before_it_is_learned(length: int) -> None:
    """Only then do the probabilities of all texts of a length sum to 1."""
    model = model_of(2)
    config = charrnn.DynamicConfig(dynamic_lr=0.5, dynamic_decay=0.1, dynamic_length=length)
    rms = some_rms(model)
    probabilities = [
        math.exp(-dynamic_nats(model, symbols([0, *rest]), rms, config))
        for rest in itertools.product(range(2), repeat=6)
    ]
    assert sum(probabilities) == pytest.approx(1, rel=1e-9)


@settings(max_examples=30)
@given(before=st.lists(st.integers(0, V - 1), min_size=1, max_size=30), length=st.integers(1, 12))
def test_probabilities_of_the_next_symbol_sum_to_one(before: list[int], length: int) -> None:
    """Whatever was learned before."""
    model = model_of()
    config = charrnn.DynamicConfig(dynamic_lr=0.5, dynamic_length=length)
    rms = some_rms(model)
    past = dynamic_nats(model, symbols(before), rms, config) if len(before) > 1 else 0.0
    nats = [dynamic_nats(model, symbols([*before, last]), rms, config) for last in range(V)]
    assert sum(math.exp(past - n) for n in nats) == pytest.approx(1, rel=1e-9)


def test_the_weights_are_restored_bit_for_bit() -> None:
    """And the next evaluation of the same text gives the same figures."""
    model = model_of()
    before = [p.detach().clone() for p in model.parameters()]
    config = charrnn.DynamicConfig(dynamic_lr=0.1, dynamic_length=3)
    text, rms = symbols(random_ids(1, 40)), some_rms(model)
    first = dynamic_nats(model, text, rms, config)
    dynamic_nats(model, symbols(random_ids(2, 40)), rms, config)
    assert all(map(torch.equal, model.parameters(), before))
    assert dynamic_nats(model, text, rms, config) == first


def test_diverging_weights_are_an_error_and_are_restored() -> None:
    model = model_of(cell="rnn", nonlinearity="relu").float()
    before = [p.detach().clone() for p in model.parameters()]
    rms = [part.float() for part in some_rms(model)]
    config = charrnn.DynamicConfig(dynamic_lr=1e6, dynamic_length=10)
    with pytest.raises(TrainingError, match=r"after \d+ symbols .* no longer a number; lower "):
        dynamic_nats(model, symbols(random_ids(3, 60)), rms, config)
    assert all(map(torch.equal, model.parameters(), before))


def test_progress_counts_each_symbol_once() -> None:
    model, counted = model_of(), list[int]()
    config = charrnn.DynamicConfig(dynamic_length=8)
    dynamic_nats(model, symbols(random_ids(4, 30)), some_rms(model), config, counted.append)
    assert counted == [8, 8, 8, 5]


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_rms_is_taken_over_gradients_from_a_warm_state(
    architecture: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each chunk comes from its own stretch of the text, read after a warm-up."""
    model, ids, ends = model_of(**architecture), random_ids(5, 200), {40, 77, 78, 150}
    monkeypatch.setattr(learner, "CHUNKS", 5)
    monkeypatch.setattr(learner, "WARM_UP", 12)
    monkeypatch.setattr(learner, "WARM_UP_LANES", 2)
    starts, read = list[int](), learner._read

    def recorded(*arguments: Any) -> tuple[Tensor, Tensor, State]:
        starts.append(arguments[2])
        return read(*arguments)

    monkeypatch.setattr(learner, "_read", recorded)
    shown = list[tuple[int, int]]()
    rms = gradient_rms(model, symbols(ids, ends), 9, lambda *numbers: shown.append(numbers))
    assert shown == [(i, 5) for i in range(1, 6)]
    stretch = (len(ids) - 9 - 12) / 5
    assert all(int(k * stretch) <= start - 12 < (k + 1) * stretch for k, start in enumerate(starts))
    squares = [torch.zeros_like(p) for p in model.parameters()]
    for start in starts:
        _, state = chunk_nats(model, ids, ends, start - 12, start, model.start(1))
        state = tuple(part.detach() for part in state)
        nats, _ = chunk_nats(model, ids, ends, start, start + 9, state)
        model.zero_grad()
        nats.backward()
        for square, parameter in zip(squares, model.parameters(), strict=True):
            assert parameter.grad is not None
            square += parameter.grad**2
    for found, square in zip(rms, squares, strict=True):
        torch.testing.assert_close(found, (square / 5).sqrt())


@pytest.mark.parametrize("number", [2, 3, 11, 12, 130])
def test_any_text_can_be_learned_from(number: int) -> None:
    """Shorter than a chunk, than two chunks, than the warm-up."""
    model = model_of()
    rms = gradient_rms(model, symbols(random_ids(6, number)), 10)
    assert all(part.isfinite().all() for part in rms)
    assert any(part.any() for part in rms)


def test_a_vocabulary_of_one_symbol_costs_nothing() -> None:
    """It has no gradient, and nothing to learn."""
    model, text = model_of(1), symbols([0] * 40)
    rms = gradient_rms(model, text, 10)
    assert dynamic_nats(model, text, rms, charrnn.DynamicConfig()) == 0
