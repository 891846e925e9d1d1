"""Optimizers, schedules, clipping and decay."""

import math
from typing import Any, cast

import pytest
import torch
from torch import nn

from charrnn.errors import SettingsError
from charrnn.training.config import DEFAULT_STEPS, TrainingConfig
from charrnn.training.optimization import Optimizer, learning_rate
from charrnn.training.progress import ValidationRecord


def small(**settings: Any) -> tuple[nn.Linear, Optimizer]:
    model = nn.Linear(3, 2)
    nn.init.constant_(model.weight, 0.5)
    nn.init.constant_(model.bias, 0.5)
    return model, Optimizer(model, TrainingConfig(**settings))


def step(optimizer: Optimizer, loss: torch.Tensor, learning_rate: float) -> float:
    """Take a step; returns the gradient's norm before clipping."""
    optimizer.backward(loss)
    norm = optimizer.clip()
    optimizer.update(learning_rate)
    return norm


def loss_of(model: nn.Linear, scale: float = 1.0) -> torch.Tensor:
    return cast(torch.Tensor, model(torch.ones(1, 3))).sum() * scale


@pytest.mark.parametrize("name", ["adamw", "adam", "rmsprop", "sgd"])
def test_every_optimizer_goes_downhill_and_restores_its_state(name: str) -> None:
    model, optimizer = small(optimizer=name, grad_clip=0)
    before = loss_of(model).item()
    for _ in range(3):
        step(optimizer, loss_of(model) ** 2, 0.01)
    assert abs(loss_of(model).item()) < before

    twin, other = small(optimizer=name, grad_clip=0)
    twin.load_state_dict(model.state_dict())
    other.load_state_arrays(optimizer.state_arrays())
    for m, o in ((model, optimizer), (twin, other)):
        step(o, loss_of(m) ** 2, 0.01)
    assert torch.equal(model.weight, twin.weight)


def test_adamw_matches_torch_with_decay_on_matrices_only() -> None:
    model, optimizer = small(optimizer="adamw", grad_clip=0)
    twin, _ = small()
    groups = [
        {"params": [twin.weight], "weight_decay": 0.1},
        {"params": [twin.bias], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, lr=0.02, betas=(0.9, 0.99))
    for _ in range(5):
        step(optimizer, loss_of(model) ** 2, 0.02)
        reference.zero_grad()
        (loss_of(twin) ** 2).backward()
        reference.step()
    torch.testing.assert_close(model.weight, twin.weight)
    torch.testing.assert_close(model.bias, twin.bias)


def test_weight_decay_is_decoupled_and_spares_biases() -> None:
    """With a gradient of zero only the decay acts: w <- w (1 - rate * decay)."""
    model, optimizer = small(optimizer="sgd", weight_decay=0.5)
    step(optimizer, loss_of(model, 0.0), 0.1)
    assert model.weight.tolist() == [[pytest.approx(0.5 * (1 - 0.1 * 0.5))] * 3] * 2
    assert model.bias.tolist() == [0.5, 0.5]


def test_l1_pulls_matrices_to_zero() -> None:
    model, optimizer = small(optimizer="sgd", momentum=0.0, l1=2.0, grad_clip=0)
    step(optimizer, loss_of(model, 0.0), 0.1)
    assert model.weight.tolist() == [[pytest.approx(0.5 - 0.1 * 2.0)] * 3] * 2
    assert model.bias.tolist() == [0.5, 0.5]


def test_the_gradient_is_clipped_and_its_norm_returned() -> None:
    """The norm before clipping, which is what is logged."""
    model, optimizer = small(optimizer="sgd", momentum=0.0, grad_clip=1.0)
    before = model.weight.detach().clone()
    norm = step(optimizer, loss_of(model, 100.0), 1.0)
    assert norm == pytest.approx(100 * math.sqrt(8))  # 6 weights and 2 biases of gradient 100
    moved = torch.cat([(before - model.weight).flatten(), 0.5 - model.bias])
    assert moved.norm().item() == pytest.approx(1.0, rel=1e-4)


def test_a_clip_of_zero_turns_clipping_off() -> None:
    model, optimizer = small(optimizer="sgd", momentum=0.0, grad_clip=0.0)
    step(optimizer, loss_of(model, 100.0), 0.001)
    assert model.bias.tolist() == [pytest.approx(0.4)] * 2


def test_single_elements_can_be_clipped() -> None:
    model, optimizer = small(optimizer="sgd", momentum=0.0, grad_clip=0.0, grad_clip_value=0.25)
    norm = step(optimizer, loss_of(model, 100.0), 1.0)
    assert norm == pytest.approx(100 * math.sqrt(8)), "the norm before any clipping"
    assert model.bias.tolist() == [pytest.approx(0.25)] * 2


def test_the_learning_rate_warms_up_and_follows_its_schedule() -> None:
    def rate(schedule: Any, step: int, progress: float, plateau: float = 1.0) -> float:
        config = TrainingConfig(learning_rate=1.0, warmup=10, schedule=schedule)
        return learning_rate(config, step, progress, plateau)

    assert rate("constant", 0, 0.0) == pytest.approx(0.1)
    assert rate("constant", 9, 0.5) == rate("constant", 99, 1.0) == 1
    assert rate("cosine", 99, 0.0) == 1
    assert rate("cosine", 99, 0.5) == pytest.approx(0.5)
    assert rate("cosine", 99, 1.0) == pytest.approx(0)
    assert rate("linear", 99, 0.25) == pytest.approx(0.75)
    assert rate("plateau", 99, 0.9, 0.125) == 0.125


def test_a_plateau_halves_the_rate_after_two_evaluations() -> None:
    record = ValidationRecord()
    bests = [record.update(loss, step) for step, loss in enumerate([3.0, 2.0, 2.5, 2.0, 1.0])]
    assert bests == [True, True, False, False, True]
    assert record.factor == 0.5
    assert (record.best_loss, record.best_step, record.stale) == (1.0, 4, 0)


def test_the_default_limit_applies_only_without_another() -> None:
    assert TrainingConfig().step_limit == DEFAULT_STEPS
    assert TrainingConfig(steps=7).step_limit == 7
    assert TrainingConfig(epochs=2).step_limit is None
    assert TrainingConfig(minutes=2, steps=9).step_limit == 9


def test_weight_decay_is_the_default_of_adamw_alone() -> None:
    assert TrainingConfig().decay == 0.1
    assert TrainingConfig(optimizer="adam").decay == 0
    assert TrainingConfig(optimizer="adam", weight_decay=0.1).decay == 0.1


def test_the_default_learning_rate_depends_on_the_optimizer() -> None:
    assert TrainingConfig().peak_rate == TrainingConfig(optimizer="adam").peak_rate == 0.007
    assert TrainingConfig(optimizer="sgd").peak_rate == 0.003
    assert TrainingConfig(learning_rate=0.1).peak_rate == 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0}, "`learning_rate=0`: must be above 0"),
        ({"steps": 0}, "`steps=0`: must be at least 1"),
        ({"epochs": math.inf}, "`epochs=inf`: must be a finite number"),
        ({"schedule": "plateau", "eval_every": 0}, "`schedule=plateau` needs `eval_every`"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TrainingConfig(**settings)
