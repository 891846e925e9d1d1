"""The language model: shapes, dropout, tied and one-hot embeddings, loading."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from charrnn.errors import DeviceError, SettingsError
from charrnn.model.cells import CELLS
from charrnn.model.config import REGULARISERS, ModelConfig, parameter_shapes
from charrnn.model.device import resolve_device, resolve_precision
from charrnn.model.language_model import LanguageModel, _dropout, export_weights, load_weights
from charrnn.model.specs import CELL_SPECS

V, E, H, L, T, B = 7, 5, 6, 2, 3, 4
LONG = 8  # steps with resets among them

CONFIGS: list[dict[str, Any]] = [
    {"cell": cell, "embedding_size": size} for cell in sorted(CELLS) for size in (0, E)
] + [
    {"cell": "rnn", "nonlinearity": "relu"},
    {"cell": "rnn", "nonlinearity": "leaky-relu"},
    {"embedding_size": H, "tie_embeddings": True},
    {"adaptive_softmax": 1},
    {"attention": 3},
    {"attention": 3, "embedding_size": H, "tie_embeddings": True},
    {"attention": 3, "adaptive_softmax": 1, "cell": "gru"},
]


def make(**settings: Any) -> LanguageModel:
    values = {"num_layers": L, "hidden_size": H, "embedding_size": E, "dropout": 0.5} | settings
    return LanguageModel(ModelConfig(**values), V, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("settings", CONFIGS)
def test_logits_and_states_have_the_documented_shapes(settings: dict[str, Any]) -> None:
    model = make(**settings)
    ids = torch.randint(V, (T, B))
    logits, state = model(ids, model.start(B))
    assert logits.shape == (T, B, V)
    memory = [(3, B, 2 * H), (3, B)] if "attention" in settings else []
    cells = [(L, B, H)] * len(CELL_SPECS[model.config.cell].state)
    assert [part.shape for part in state] == cells + memory


@pytest.mark.parametrize("settings", CONFIGS)
def test_exported_weights_match_parameter_shapes(settings: dict[str, Any]) -> None:
    model = make(**settings)
    found = {name: array.shape for name, array in export_weights(model).items()}
    assert found == parameter_shapes(model.config, V)


@pytest.mark.parametrize("settings", CONFIGS)
def test_exported_weights_load_into_the_same_model(settings: dict[str, Any]) -> None:
    model, other = make(**settings), LanguageModel(make(**settings).config, V)
    ids = torch.randint(V, (T, B))
    load_weights(other, export_weights(model))
    torch.testing.assert_close(
        other(ids, other.start(B))[0], model(ids, model.start(B))[0], rtol=0, atol=0
    )


def test_a_larger_vocabulary_keeps_the_old_rows() -> None:
    """Old symbols keep their logits; new ones get fresh weights."""
    for settings in ({}, {"embedding_size": 0}, {"embedding_size": H, "tie_embeddings": True}):
        model = make(**settings)
        grown = LanguageModel(model.config, V + 2, torch.Generator().manual_seed(4))
        load_weights(grown, export_weights(model))
        ids = torch.randint(V, (T, B))
        logits = grown(ids, grown.start(B))[0]
        torch.testing.assert_close(logits[:, :, :V], model(ids, model.start(B))[0])
        assert logits[:, :, V:].abs().max() > 0


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("settings", [c for c in CONFIGS if "attention" not in c])
@hypothesis_settings(max_examples=10)
@given(resets=st.lists(st.booleans(), min_size=LONG * B, max_size=LONG * B))
def test_a_reset_zeroes_the_state_in_every_layer(
    settings: dict[str, Any], layers: int, resets: list[bool]
) -> None:
    """Logits, last state and gradients are those of single steps with zeroed states."""
    model = make(num_layers=layers, **settings).double()
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(V, (LONG, B), generator=generator)
    start = tuple(
        torch.randn(part.shape, dtype=part.dtype, generator=generator, requires_grad=True)
        for part in model.start(B)
    )
    where = torch.tensor(resets).view(LONG, B)
    logits, after = model(ids, start, None, where)
    steps, state = [], start
    for ids_t, reset in zip(ids, where, strict=True):
        state = tuple(part.masked_fill(reset[:, None], 0) for part in state)
        logits_t, state = model(ids_t[None], state)
        steps.append(logits_t)
    found, expected = (logits, *after), (torch.cat(steps), *state)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    slopes = [torch.randn(p.shape, dtype=p.dtype, generator=generator) for p in found]
    leaves = [*start, *model.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves, slopes),
        torch.autograd.grad(expected, leaves, slopes),
        rtol=1e-9,
        atol=1e-9,
    )


def test_dropout_acts_only_with_its_generator_and_is_repeatable() -> None:
    model, ids = make(), torch.randint(V, (T, B))
    plain = model(ids, model.start(B))[0]
    assert torch.equal(plain, model(ids, model.start(B))[0])
    first = model(ids, model.start(B), torch.Generator().manual_seed(1))[0]
    again = model(ids, model.start(B), torch.Generator().manual_seed(1))[0]
    other = model(ids, model.start(B), torch.Generator().manual_seed(2))[0]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, plain)


def test_dropout_is_locked_and_keeps_the_mean() -> None:
    """One mask per lane for all steps; the rest is scaled up, so evaluation needs no scaling."""
    y = _dropout(torch.ones(5, 50, 200), 0.3, torch.Generator().manual_seed(0))
    assert torch.equal(y, y[:1].expand_as(y))
    assert not torch.equal(y[:, 0], y[:, 1])
    assert float(y.mean()) == pytest.approx(1, abs=0.02)
    assert float((y == 0).float().mean()) == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("settings", CONFIGS)
def test_each_dropout_acts_by_itself(settings: dict[str, Any]) -> None:
    for name in REGULARISERS:
        model = make(**settings | dict.fromkeys(REGULARISERS, 0.0) | {name: 0.5})
        ids = torch.randint(V, (T, B))
        plain = model(ids, model.start(B))[0]
        dropped = model(ids, model.start(B), torch.Generator().manual_seed(1))[0]
        assert not torch.equal(plain, dropped), name


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_weight_dropout_passes_gradients_to_the_raw_weights(cell: str) -> None:
    """Each chunk has its own mask; dropped weights get no gradient."""
    rates = dict.fromkeys(REGULARISERS, 0.0) | {"weight_dropout": 0.5}
    model = make(cell=cell, num_layers=1, **rates)
    ids = torch.randint(V, (T, B))
    rng = torch.Generator().manual_seed(1)
    first, second = (model(ids, model.start(B), rng)[0] for _ in range(2))
    assert not torch.equal(first, second)

    (raw,) = (p for n, p in model.named_parameters() if "weight_hh" in n)
    first.sum().backward()
    assert raw.grad is not None
    left_out = raw.grad == 0
    assert 0.2 < float(left_out.float().mean()) < 0.8
    with torch.no_grad():
        raw.copy_(torch.where(left_out, 0, raw / 0.5))
    torch.testing.assert_close(model(ids, model.start(B))[0], first)


@pytest.mark.parametrize("settings", CONFIGS)
def test_bfloat16_gives_nearly_the_same_loss_and_gradient(
    settings: dict[str, Any],
) -> None:
    """Rounding weighs more at the kinks of relu and in layer normalisation."""
    sizes = {"hidden_size": 64} | ({"embedding_size": 64} if "tie_embeddings" in settings else {})
    model = make(**settings | sizes)
    ids = torch.randint(V, (LONG, B), generator=torch.Generator().manual_seed(0))

    def gradient(precision: torch.dtype) -> tuple[Tensor, Tensor]:
        model.zero_grad()
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            logits, _ = model(ids, model.start(B))
            loss = F.cross_entropy(logits.flatten(0, 1), ids.flatten())
        loss.backward()
        flat = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        return loss.detach(), torch.cat(flat)

    (loss, exact), (rounded_loss, rounded) = map(gradient, (torch.float32, torch.bfloat16))
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded_loss, loss, rtol=0.02, atol=0)
    delicate = settings.get("nonlinearity") or settings.get("cell") == "layernorm-lstm"
    assert float((rounded - exact).norm() / exact.norm()) < (0.15 if delicate else 0.02)


def test_weights_come_from_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = export_weights(make())
    torch.manual_seed(2)
    second = export_weights(make())
    assert all((first[name] == second[name]).all() for name in first)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_size": 0}, "`hidden_size=0`: must be at least 1"),
        ({"hidden_size": 10**9}, "`hidden_size=1000000000`: must be at most 65,536"),
        ({"dropout": 1.0}, "`dropout=1.0`: must be below 1"),
        ({"dropout": float("nan")}, "`dropout=nan`: must be a finite number"),
        ({"hidden_size": 1.5}, "`hidden_size=1.5`: must be a whole number"),
        ({"hidden_size": True}, "`hidden_size=True`: must be a whole number"),
        ({"cell": "transformer"}, "`cell=transformer`: must be one of lstm, gru"),
        ({"tie_embeddings": True, "hidden_size": 8, "embedding_size": 4}, "`tie_embeddings` needs"),
        ({"attention": 5000}, "`attention=5000`: must be at most 4,096"),
        ({"nonlinearity": "relu"}, "`nonlinearity` is for `cell=rnn`, not lstm"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ModelConfig(**settings)


def test_an_unavailable_device_is_named() -> None:
    with pytest.raises(DeviceError, match=r"`device=cuda:7`: not available .* `device=cpu`"):
        resolve_device("cuda:7")
    for name in ("abacus", "meta", ""):
        with pytest.raises(DeviceError, match=f"`device={name}`: not available"):
            resolve_device(name)
    assert str(resolve_device("cpu")) == "cpu"


@pytest.mark.parametrize(
    ("name", "device", "has", "units", "expected"),
    [
        ("float32", "cpu", {"avx512_bf16": True}, 512, torch.float32),
        ("bfloat16", "cpu", {}, 8, torch.bfloat16),
        ("auto", "cpu", {}, 512, torch.float32),
        ("auto", "cpu", {"avx512_bf16": True}, 512, torch.bfloat16),
        ("auto", "cpu", {"avx512_bf16": True}, 8, torch.float32),
        ("auto", "cpu", {"amx_bf16": True}, 64, torch.bfloat16),
        ("auto", "mps", {"avx512_bf16": True}, 512, torch.float32),
    ],
)
def test_precision_is_the_one_that_is_fast_on_the_processor(
    name: str,
    device: str,
    has: dict[str, bool],
    units: int,
    expected: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert resolve_precision(name, torch.device(device), units) == expected
