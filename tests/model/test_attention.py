"""The attention over past outputs: its equations, its window, and what it is good for."""

import math
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from charrnn.model import attention
from charrnn.model.attention import Attention
from charrnn.model.cells import CELLS, State
from charrnn.model.config import ModelConfig
from charrnn.model.language_model import LanguageModel
from charrnn.training.cost import memory_estimate

T, B, H, A, W, V = 7, 2, 5, 3, 4, 8


def make(monkeypatch: pytest.MonkeyPatch, **values: Any) -> LanguageModel:
    """A model in float64 whose weights are random and not small, with queries of A numbers."""
    monkeypatch.setattr("charrnn.model.config.ATTENTION_SIZE", A)
    sizes = {"hidden_size": H, "embedding_size": 6, "attention": W}
    model = LanguageModel(ModelConfig(**sizes | values), V).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.6, generator=generator)
    return model


def by_the_equations(
    p: dict[str, Any], outputs: list[list[float]], starts: list[bool]
) -> list[list[float]]:
    """y of one lane, in loops over numbers; a start forgets all that came before."""

    def times(matrix: list[list[float]], x: list[float]) -> list[float]:
        return [sum(a * b for a, b in zip(row, x, strict=True)) for row in matrix]

    projected = [times(p["weight_in"], h) for h in outputs]
    found, first = [], 0
    for t, h in enumerate(outputs):
        first = t if starts[t] else first
        shares, values = [1.0], [[0.0] * A]
        for j in range(max(first, t - W), t):
            product = sum(projected[t][n] * projected[j][A + n] for n in range(A))
            shares.append(math.exp(product / math.sqrt(A) + p["bias"][t - j - 1]))
            values.append(projected[j][2 * A :])
        context = [
            sum(s * v[n] for s, v in zip(shares, values, strict=True)) / sum(shares)
            for n in range(A)
        ]
        added = times(p["weight_out"], context)
        found.append([a + b for a, b in zip(h, added, strict=True)])
    return found


RESETS = st.lists(st.booleans(), min_size=3 * T * B, max_size=3 * T * B)


@settings(max_examples=30, deadline=None)
@example(resets=[False] * 3 * T * B, block=2)
@example(resets=[True] * B + [False] * (3 * T - 1) * B, block=64)
@given(resets=RESETS, block=st.sampled_from([1, 3, 64]))
def test_it_computes_its_equations_from_chunk_to_chunk(resets: list[bool], block: int) -> None:
    """With resets anywhere, in the first chunk and with a memory that is half full or full."""
    with pytest.MonkeyPatch.context() as patch:
        head: Any = make(patch).attention
        patch.setattr(attention, "BLOCK", block)
        h = torch.randn(3 * T, B, H, generator=torch.Generator().manual_seed(2)).double()
        where = torch.tensor(resets).view(3 * T, B)
        state = make(patch).start(B)[2:]
        parts = []
        for chunk, fresh in zip(h.split(T), where.split(T), strict=True):
            y, state = head(chunk, state, fresh if fresh.any() else None)
            parts.append(y)
    weights = {name: value.tolist() for name, value in head.named_parameters()}
    for lane in range(B):
        expected = by_the_equations(weights, h[:, lane].tolist(), where[:, lane].tolist())
        torch.testing.assert_close(torch.cat(parts)[:, lane], torch.tensor(expected).double())


def test_it_has_the_numeric_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the outputs, the memory and every weight, with a reset and a memory that is half full."""
    monkeypatch.setattr(attention, "BLOCK", 3)
    head: Any = make(monkeypatch).attention
    assert isinstance(head, Attention)
    names = [name for name, _ in head.named_parameters()]
    generator = torch.Generator().manual_seed(3)
    h = torch.randn(T, B, H, generator=generator).double()
    memory = torch.randn(W, B, 2 * A, generator=generator).double()
    filled = torch.tensor([[0, 0], [0, 1], [1, 1], [1, 1]]).double()
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[3, 1] = True

    def output(h: Tensor, memory: Tensor, *values: Tensor) -> Tensor:
        weights = dict(zip(names, values, strict=True))
        y, _ = torch.func.functional_call(head, weights, (h, (memory, filled), resets))
        assert isinstance(y, Tensor)
        return y

    inputs = (h, memory, *(p.detach() for p in head.parameters()))
    assert torch.autograd.gradcheck(output, [i.clone().requires_grad_() for i in inputs])


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_chunks_of_seven_equal_one_pass(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every cell, with and without resets; the state afterwards is the same too."""
    model = make(monkeypatch, cell=cell, num_layers=2, attention=10)
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(V, (40, B), generator=generator)
    for rate in (0.0, 0.1):
        resets = torch.rand(40, B, generator=generator) < rate
        whole = model(ids, model.start(B), None, resets)
        state, parts = model.start(B), []
        for chunk, fresh in zip(ids.split(7), resets.split(7), strict=True):
            logits, state = model(chunk, state, None, fresh)
            parts.append(logits)
        torch.testing.assert_close((torch.cat(parts), *state[:-2]), (whole[0], *whole[1][:-2]))
        exists = whole[1][-1].bool()
        assert torch.equal(state[-1].bool(), exists)
        torch.testing.assert_close(state[-2][exists], whole[1][-2][exists])


def test_a_document_is_read_as_if_it_were_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reset nothing is seen of the text before, neither in this chunk nor in the next."""
    model = make(monkeypatch, attention=10)
    ids = torch.randint(V, (24, B), generator=torch.Generator().manual_seed(6))
    resets = torch.zeros(24, B, dtype=torch.bool)
    resets[5, 0] = resets[9, 1] = True
    state, parts = model.start(B), []
    for chunk, fresh in zip(ids.split(8), resets.split(8), strict=True):
        logits, state = model(chunk, state, None, fresh)
        parts.append(logits)
    found = torch.cat(parts)
    for lane, start in enumerate((5, 9)):
        alone, _ = model(ids[start:, lane, None], model.start(1))
        torch.testing.assert_close(found[start:, lane], alone[:, 0])


def test_it_sees_as_far_as_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a layer that remembers nothing, a step depends on the W steps before and no others."""
    model: Any = make(monkeypatch, cell="rnn")
    with torch.no_grad():
        model.cells[0].rnn.weight_hh_l0.zero_()
    ids = torch.zeros(12, 1, dtype=torch.long)
    plain, _ = model(ids, model.start(1))
    for place in range(12):
        changed = ids.clone()
        changed[place] = 1
        logits, _ = model(changed, model.start(1))
        differ = (logits != plain).any(dim=2).squeeze(1).nonzero().squeeze(1).tolist()
        assert differ == [t for t in range(12) if place <= t <= place + W]


def test_a_new_model_starts_as_one_without_attention() -> None:
    """With the same seed, its first logits are those of the recurrent layers alone."""
    ids = torch.randint(V, (T, B), generator=torch.Generator().manual_seed(5))
    sizes: dict[str, Any] = {"hidden_size": H, "embedding_size": 6}
    without, with_it = (LanguageModel(ModelConfig(**sizes, attention=w), V) for w in (0, W))
    expected = without(ids, without.start(B))[0]
    assert torch.equal(with_it(ids, with_it.start(B))[0], expected)


def loss_of_copies(window: int, lag: int = 12, steps: int = 250) -> float:
    """Learn a stream in which `lag` random symbols come twice; return the loss of the copies.

    A state of 8 numbers cannot hold 12 symbols of 3 bits each for long enough to learn it.
    """
    config = ModelConfig(
        hidden_size=8, embedding_size=8, attention=window, dropout=0.0, input_dropout=0.0
    )
    model = LanguageModel(config, V)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    generator = torch.Generator().manual_seed(0)
    state: State = model.start(16)
    last, losses = torch.zeros(1, 16, dtype=torch.long), []
    for _ in range(steps):
        drawn = torch.randint(V, (lag, 16), generator=generator)
        text = torch.cat([last, drawn, drawn])
        last = text[-1:]
        total, each, state = model.nats(text[:-1], text[1:], state)
        state = tuple(part.detach() for part in state)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(each.view(2 * lag, 16)[lag:].mean().item())
    return sum(losses[-20:]) / 20


def test_it_learns_to_copy_what_the_state_forgets() -> None:
    """From 12 symbols before, if the window reaches that far; else it guesses among 8."""
    guessing = math.log(V)
    assert loss_of_copies(0) > 0.95 * guessing
    assert loss_of_copies(6) > 0.8 * guessing
    assert loss_of_copies(12) < 0.5 * guessing


def test_the_estimate_of_memory_counts_the_window() -> None:
    """A window of 1,024 steps takes more than 16 MB for its keys and values in 32 lanes alone."""
    sizes: dict[str, Any] = {"hidden_size": 128, "embedding_size": 8}
    without, with_it = (
        memory_estimate(LanguageModel(ModelConfig(**sizes, attention=w), V), 32, 64)
        for w in (0, 1024)
    )
    assert with_it - without > 32 * 1024 * 2 * 64 * 4
