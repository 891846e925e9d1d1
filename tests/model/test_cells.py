"""Each cell against its equations, written as loops over single numbers, and its gradient."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from charrnn.model.cells import CELLS
from charrnn.model.config import ModelConfig

T, B, I, H = 3, 4, 5, 6  # noqa: E741 - the letters of the equations
LONG = 7  # steps with resets among them
Matrix = list[list[float]]
Parameters = dict[str, Any]
Step = Callable[[Parameters, list[float], list[list[float]]], list[list[float]]]


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def dot(row: list[float], vector: list[float]) -> float:
    return math.fsum(a * b for a, b in zip(row, vector, strict=True))


def affine(p: Parameters, x: list[float], h: list[float], k: int) -> float:
    """Row k of W x + U h + b, for torch's fused layers with their two biases."""
    driven = dot(p["rnn.weight_ih_l0"][k], x) + float(p["rnn.bias_ih_l0"][k])
    return driven + dot(p["rnn.weight_hh_l0"][k], h) + float(p["rnn.bias_hh_l0"][k])


def lstm_step(p: Parameters, x: list[float], state: list[list[float]]) -> list[list[float]]:
    h, c = state
    new_h, new_c = [], []
    for j in range(H):
        i, f = sigmoid(affine(p, x, h, j)), sigmoid(affine(p, x, h, H + j))
        g, o = math.tanh(affine(p, x, h, 2 * H + j)), sigmoid(affine(p, x, h, 3 * H + j))
        new_c.append(f * c[j] + i * g)
        new_h.append(o * math.tanh(new_c[j]))
    return [new_h, new_c]


def gru_step(p: Parameters, x: list[float], state: list[list[float]]) -> list[list[float]]:
    (h,) = state
    new_h = []
    for j in range(H):
        r, z = sigmoid(affine(p, x, h, j)), sigmoid(affine(p, x, h, H + j))
        k = 2 * H + j
        driven = dot(p["rnn.weight_ih_l0"][k], x) + p["rnn.bias_ih_l0"][k]
        recurrent = dot(p["rnn.weight_hh_l0"][k], h) + p["rnn.bias_hh_l0"][k]
        n = math.tanh(driven + r * recurrent)
        new_h.append((1 - z) * n + z * h[j])
    return [new_h]


def rnn_step(f: Callable[[float], float]) -> Step:
    def step(p: Parameters, x: list[float], state: list[list[float]]) -> list[list[float]]:
        return [[f(affine(p, x, state[0], j)) for j in range(H)]]

    return step


def peephole_step(p: Parameters, x: list[float], state: list[list[float]]) -> list[list[float]]:
    h, c = state

    def gate(k: int) -> float:
        return dot(p["weight_ih"][k], x) + dot(p["weight_hh"][k], h) + float(p["bias"][k])

    new_h, new_c = [], []
    for j in range(H):
        i = sigmoid(gate(j) + p["peephole"][j] * c[j])
        f = sigmoid(gate(H + j) + p["peephole"][H + j] * c[j])
        new_c.append(f * c[j] + i * math.tanh(gate(2 * H + j)))
        o = sigmoid(gate(3 * H + j) + p["peephole"][2 * H + j] * new_c[j])
        new_h.append(o * math.tanh(new_c[j]))
    return [new_h, new_c]


def normalised(v: list[float], gain: list[float]) -> list[float]:
    mean = sum(v) / len(v)
    variance = sum((a - mean) ** 2 for a in v) / len(v)
    return [g * (a - mean) / math.sqrt(variance + 1e-5) for a, g in zip(v, gain, strict=True)]


def layernorm_step(p: Parameters, x: list[float], state: list[list[float]]) -> list[list[float]]:
    h, c = state
    driven = normalised([dot(row, x) for row in p["weight_ih"]], p["gain_ih"])
    recurrent = normalised([dot(row, h) for row in p["weight_hh"]], p["gain_hh"])
    gates = [a + b + d for a, b, d in zip(driven, recurrent, p["bias"], strict=True)]
    new_c = [
        sigmoid(gates[H + j]) * c[j] + sigmoid(gates[j]) * math.tanh(gates[2 * H + j])
        for j in range(H)
    ]
    shown = normalised(new_c, p["gain_c"])
    new_h = [sigmoid(gates[3 * H + j]) * math.tanh(shown[j] + p["bias_c"][j]) for j in range(H)]
    return [new_h, new_c]


CASES: dict[str, tuple[dict[str, Any], Step]] = {
    "lstm": ({"cell": "lstm"}, lstm_step),
    "gru": ({"cell": "gru"}, gru_step),
    "rnn-tanh": ({"cell": "rnn"}, rnn_step(math.tanh)),
    "rnn-relu": ({"cell": "rnn", "nonlinearity": "relu"}, rnn_step(lambda z: max(z, 0.0))),
    "rnn-leaky-relu": (
        {"cell": "rnn", "nonlinearity": "leaky-relu"},
        rnn_step(lambda z: z if z > 0 else 0.01 * z),
    ),
    "peephole-lstm": ({"cell": "peephole-lstm"}, peephole_step),
    "layernorm-lstm": ({"cell": "layernorm-lstm"}, layernorm_step),
}


def make(name: str, steps: int = T) -> tuple[Any, Tensor, tuple[Tensor, ...]]:
    """A cell in float64 with random parameters, an input and a state."""
    config = ModelConfig(hidden_size=H, **CASES[name][0])
    generator = torch.Generator().manual_seed(1)
    cell = CELLS[config.cell](I, config).double()
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    x = torch.randn(steps, B, I, dtype=torch.float64, generator=generator)
    state = tuple(
        torch.randn(B, H, dtype=torch.float64, generator=generator) for _ in config.state.parts
    )
    return cell, x, state


def test_every_cell_has_a_case() -> None:
    assert {config["cell"] for config, _ in CASES.values()} == CELLS.keys()


@pytest.mark.parametrize("name", CASES)
def test_a_cell_computes_its_equations(name: str) -> None:
    cell, x, state = make(name)
    y, after = cell(x, state)
    parameters = {key: p.tolist() for key, p in cell.named_parameters()}
    for lane in range(B):
        expected = [part[lane].tolist() for part in state]
        for t in range(T):
            expected = CASES[name][1](parameters, x[t, lane].tolist(), expected)
            assert y[t, lane].tolist() == pytest.approx(expected[0], rel=1e-10, abs=1e-10)
        for part, values in zip(after, expected, strict=True):
            assert part[lane].tolist() == pytest.approx(values, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_a_cell_has_the_numeric_gradient(name: str) -> None:
    """By x, by the state and by every parameter."""
    cell, x, state = make(name)
    names = [key for key, _ in cell.named_parameters()]

    def output(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        parts, values = rest[: len(state)], rest[len(state) :]
        parameters = dict(zip(names, values, strict=True))
        y, after = torch.func.functional_call(cell, parameters, (x, tuple(parts)))
        return (y, *after)

    inputs = (x, *state, *(p.detach() for p in cell.parameters()))
    assert torch.autograd.gradcheck(output, [i.clone().requires_grad_() for i in inputs])


@pytest.mark.parametrize("name", CASES)
def test_carrying_the_state_across_a_cut_changes_nothing(name: str) -> None:
    cell, x, state = make(name)
    whole, _ = cell(x, state)
    first, between = cell(x[:1], state)
    second, _ = cell(x[1:], between)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=1e-12, atol=1e-12)


def by_hand(
    cell: Any, x: Tensor, state: tuple[Tensor, ...], resets: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Step by step, with zeros in place of the states that are reset."""
    outputs = []
    for x_t, reset in zip(x, resets, strict=True):
        state = tuple(part.masked_fill(reset[:, None], 0) for part in state)
        y, state = cell(x_t[None], state)
        outputs.append(y)
    return torch.cat(outputs), state


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=40)
@example(resets=[False] * LONG * B)
@example(resets=[True] * LONG * B)
@example(resets=[True] * B + [False] * (LONG - 1) * B)  # at the first step alone
@example(resets=[False] * (LONG - 1) * B + [True] * B)  # at the last step alone
@given(resets=st.lists(st.booleans(), min_size=LONG * B, max_size=LONG * B))
def test_a_reset_zeroes_the_state_before_the_step(name: str, resets: list[bool]) -> None:
    """In outputs, last state, and gradients by x, by the first state and by each parameter."""
    cell, x, state = make(name, LONG)
    leaves = [leaf.requires_grad_() for leaf in (x, *state, *cell.parameters())]
    where = torch.tensor(resets).view(LONG, B)
    y, after = cell(x, state, where)
    y_by_hand, after_by_hand = by_hand(cell, x, state, where)
    found, expected = (y, *after), (y_by_hand, *after_by_hand)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    slopes = [torch.linspace(-1, 1, part.numel()).double().view_as(part) for part in found]
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves, slopes),
        torch.autograd.grad(expected, leaves, slopes),
        rtol=1e-9,
        atol=1e-9,
    )


@pytest.mark.parametrize("name", CASES)
def test_recurrent_matrices_start_orthogonal(name: str) -> None:
    """And forget gates start open, with a bias of 1."""
    config = ModelConfig(hidden_size=H, **CASES[name][0])
    cell: Any = CELLS[config.cell](I, config)
    cell.initialise(torch.Generator().manual_seed(0), I)
    parameters = dict(cell.named_parameters())
    (recurrent,) = (p for key, p in parameters.items() if "weight_hh" in key)
    for gate in recurrent.split(H):
        torch.testing.assert_close(gate @ gate.T, torch.eye(H))
    if config.cell.endswith("lstm"):
        biases: list[Tensor] = [
            p for key, p in parameters.items() if "bias" in key and len(p) == 4 * H
        ]
        total = torch.stack(biases).sum(dim=0)
        assert total.tolist() == [0] * H + [1] * H + [0] * 2 * H
