"""Losses without all logits, and the adaptive softmax."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from charrnn.model import softmax
from charrnn.model.config import ModelConfig, clusters
from charrnn.model.language_model import PADDING, LanguageModel
from charrnn.model.softmax import linear_nats

V, H, N = 40, 6, 9


def model_of(**values: Any) -> LanguageModel:
    """A model in float64 whose weights are of the size of trained ones."""
    config = ModelConfig(hidden_size=H, embedding_size=5, dropout=0.0, input_dropout=0.0, **values)
    model = LanguageModel(config, V).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5, generator=generator)
    return model


def texts(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids, targets = torch.randint(V, (2, N, 3), generator=generator)
    return ids, targets


@pytest.mark.parametrize("rows", [1, 4, N])
def test_loss_and_gradient_are_those_of_cross_entropy(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many rows a block has."""
    monkeypatch.setattr(softmax, "BLOCK_ELEMENTS", rows * V)
    generator = torch.Generator().manual_seed(0)
    inputs = y, weight, bias = tuple(
        torch.randn(shape, generator=generator, dtype=torch.double).requires_grad_()
        for shape in ((N, H), (V, H), (V,))
    )
    targets = torch.randint(V, (N,), generator=generator)
    total, each = linear_nats(y, weight, bias, targets)
    expected = F.cross_entropy(F.linear(y, weight, bias), targets, reduction="none")
    torch.testing.assert_close(each, expected.detach())
    found = torch.autograd.grad(3 * total, inputs)
    torch.testing.assert_close(found, torch.autograd.grad(3 * expected.sum(), inputs))


@settings(deadline=None, max_examples=40)
@given(head=st.integers(0, V + 3), seed=st.integers(0, 99))
def test_nats_are_those_of_a_normalised_distribution(head: int, seed: int) -> None:
    """For every size of the head; padding counts for nothing, in the loss and the gradient."""
    model = model_of(adaptive_softmax=head)
    ids, targets = texts(seed)
    targets[2, 1] = PADDING
    logits, _ = model(ids, model.start(3))
    log_p = logits.log_softmax(dim=-1)
    if 0 < head < V:
        torch.testing.assert_close(log_p, logits)  # they are normalised already
    expected = F.nll_loss(log_p.flatten(0, 1), targets.flatten(), ignore_index=PADDING)
    count = 3 * N - 1
    total, each, _ = model.nats(ids, targets, model.start(3))
    assert len(each) == count
    torch.testing.assert_close(total / count, expected)
    weights = list(model.parameters())
    found = torch.autograd.grad(total / count, weights)
    torch.testing.assert_close(found, torch.autograd.grad(expected, weights))


def test_clusters_grow_and_their_rows_become_shorter() -> None:
    found = clusters(ModelConfig(hidden_size=384, adaptive_softmax=500), 8_658)
    assert [(c.start, c.stop, c.width) for c in found] == [
        (500, 1_000, 192),
        (1_000, 2_000, 96),
        (2_000, 4_000, 48),
        (4_000, 8_000, 24),
        (8_000, 8_658, 12),
    ]
