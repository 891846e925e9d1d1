"""The language model: shapes, dropout, tied and one-hot embeddings, loading."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from charrnn.errors import DeviceError, SettingsError
from charrnn.model.cells import CELLS
from charrnn.model.config import ModelConfig, parameter_shapes
from charrnn.model.device import resolve_device
from charrnn.model.language_model import LanguageModel, export_weights, load_weights

V, E, H, L, T, B = 7, 5, 6, 2, 3, 4
LONG = 8  # steps where states begin anew on the way

CONFIGS: list[dict[str, Any]] = [
    {"cell": cell, "embedding_size": size} for cell in sorted(CELLS) for size in (0, E)
] + [
    {"cell": "rnn", "nonlinearity": "relu"},
    {"cell": "rnn", "nonlinearity": "leaky-relu"},
    {"embedding_size": H, "tie_embeddings": True},
]


def make(**settings: Any) -> LanguageModel:
    values = {"num_layers": L, "hidden_size": H, "embedding_size": E, "dropout": 0.5} | settings
    return LanguageModel(ModelConfig(**values), V, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("settings", CONFIGS)
def test_shapes_are_those_of_the_house(settings: dict[str, Any]) -> None:
    model = make(**settings)
    ids = torch.randint(V, (T, B))
    logits, state = model(ids, model.start(B))
    assert logits.shape == (T, B, V)
    assert [part.shape for part in state] == [(L, B, H)] * len(model.config.state_names)


@pytest.mark.parametrize("settings", CONFIGS)
def test_the_weights_are_those_that_a_checkpoint_is_held_against(settings: dict[str, Any]) -> None:
    model = make(**settings)
    found = {name: array.shape for name, array in export_weights(model).items()}
    assert found == parameter_shapes(model.config, V)


@pytest.mark.parametrize("settings", CONFIGS)
def test_weights_that_are_saved_and_loaded_make_the_same_model(settings: dict[str, Any]) -> None:
    model, other = make(**settings), LanguageModel(make(**settings).config, V)
    ids = torch.randint(V, (T, B))
    load_weights(other, export_weights(model))
    torch.testing.assert_close(
        other(ids, other.start(B))[0], model(ids, model.start(B))[0], rtol=0, atol=0
    )


def test_a_larger_vocabulary_keeps_the_old_rows() -> None:
    """Old symbols get the logits they had; new ones get fresh weights."""
    for settings in ({}, {"embedding_size": 0}, {"embedding_size": H, "tie_embeddings": True}):
        model = make(**settings)
        grown = LanguageModel(model.config, V + 2, torch.Generator().manual_seed(4))
        load_weights(grown, export_weights(model))
        ids = torch.randint(V, (T, B))
        logits = grown(ids, grown.start(B))[0]
        torch.testing.assert_close(logits[:, :, :V], model(ids, model.start(B))[0])
        assert logits[:, :, V:].abs().max() > 0


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("settings", CONFIGS)
@hypothesis_settings(max_examples=10, deadline=None)
@given(resets=st.lists(st.booleans(), min_size=LONG * B, max_size=LONG * B))
def test_a_reset_is_a_state_of_zeros_in_every_layer(
    settings: dict[str, Any], layers: int, resets: list[bool]
) -> None:
    """Logits, the last state and the gradients are those of single steps with states zeroed."""
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


def test_dropout_keeps_the_mean() -> None:
    """Inverted dropout: what is kept is scaled up, so that evaluation needs no scaling."""
    model = make(num_layers=1, hidden_size=1000, dropout=0.3)
    y = model._dropout(torch.ones(50, 1, 1000), torch.Generator().manual_seed(0))
    assert float(y.mean()) == pytest.approx(1, abs=0.02)
    assert float((y == 0).float().mean()) == pytest.approx(0.3, abs=0.02)


def test_weights_come_from_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = export_weights(make())
    torch.manual_seed(2)
    second = export_weights(make())
    assert all((first[name] == second[name]).all() for name in first)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_size": 0}, "--hidden-size 0: must be at least 1"),
        ({"hidden_size": 10**9}, "--hidden-size 1000000000: must be at most 65,536"),
        ({"dropout": 1.0}, "--dropout 1.0: must be below 1"),
        ({"dropout": float("nan")}, "--dropout nan: must be a finite number"),
        ({"hidden_size": 1.5}, "--hidden-size 1.5: must be a whole number"),
        ({"hidden_size": True}, "--hidden-size True: must be a whole number"),
        ({"cell": "transformer"}, "--cell transformer: must be one of lstm, gru"),
        ({"tie_embeddings": True, "hidden_size": 8, "embedding_size": 4}, "--tie-embeddings needs"),
        ({"nonlinearity": "relu"}, "--nonlinearity is for --cell rnn, not lstm"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        ModelConfig(**settings)


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(DeviceError, match=r"--device cuda:7: not available .* --device cpu"):
        resolve_device("cuda:7")
    for name in ("abacus", "meta", ""):
        with pytest.raises(DeviceError, match=f"--device {name}: not available"):
            resolve_device(name)
    assert str(resolve_device("cpu")) == "cpu"
