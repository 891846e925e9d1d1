"""The loss of a chunk, the step down its gradient, and the learning rate's schedule."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from charrnn.model.cells import State
from charrnn.model.language_model import LanguageModel
from charrnn.training.config import TrainingConfig

PLATEAU_FACTOR = 0.5
PLATEAU_PATIENCE = 2


class Optimizer:
    """One step down the gradient: L1, clipping, decoupled weight decay, and torch's optimizer."""

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        self.config = config
        self.named = dict(model.named_parameters())
        self.parameters: list[Tensor] = list(self.named.values())
        self.matrices = [p for p in self.parameters if p.ndim >= 2]
        self.torch = _torch_optimizer(self.parameters, config)

    def step(self, loss: Tensor, learning_rate: float) -> float:
        """Backpropagate and update the weights; returns the gradient's L2 norm before clipping.

        Where the loss or that norm is not a finite number, the weights stay as they are.
        """
        config = self.config
        self.torch.zero_grad(set_to_none=True)
        loss.backward()
        if config.l1:
            for matrix in self.matrices:
                assert matrix.grad is not None
                matrix.grad.add_(matrix.detach().sign(), alpha=config.l1)
        norm = self._clip()
        if not math.isfinite(norm) or not math.isfinite(loss.item()):
            return norm
        if config.decay:
            with torch.no_grad():
                torch._foreach_mul_(self.matrices, 1 - learning_rate * config.decay)
        for group in self.torch.param_groups:
            group["lr"] = learning_rate
        self.torch.step()
        return norm

    def state_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the optimizer's state as arrays called PARAMETER/KEY."""
        return {
            f"{name}/{key}": value.detach().cpu().numpy()
            for name, parameter in self.named.items()
            for key, value in self.torch.state[parameter].items()
            if isinstance(value, Tensor)
        }

    def load_state_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore what `state_arrays` returned, on the device the weights are on."""
        indices = {name: index for index, name in enumerate(self.named)}
        state: dict[int, dict[str, Tensor]] = {}
        for path, array in arrays.items():
            name, _, key = path.rpartition("/")
            state.setdefault(indices[name], {})[key] = torch.tensor(array)
        groups = self.torch.state_dict()["param_groups"]
        self.torch.load_state_dict({"state": state, "param_groups": groups})

    def _clip(self) -> float:
        config = self.config
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if config.grad_clip_value:
            nn.utils.clip_grad_value_(self.parameters, config.grad_clip_value)
        if config.grad_clip:
            clipped = nn.utils.get_total_norm(gradients) if config.grad_clip_value else norm
            nn.utils.clip_grads_with_norm_(self.parameters, config.grad_clip, clipped)
        return float(norm)


def chunk_loss(
    model: LanguageModel,
    inputs: Tensor,
    targets: Tensor,
    state: State,
    dropout_rng: torch.Generator,
    resets: Tensor | None,
    precision: torch.dtype,
) -> tuple[Tensor, State]:
    """Return the mean loss of a chunk, in nats per symbol, and the state after it, to be carried.

    inputs, targets: (T, B), on the model's device; for the rest see LanguageModel.forward.
    precision: of the products (Micikevicius et al. 2018); weights, loss and state are float32.
    """
    mixed = precision != torch.float32
    with torch.autocast(inputs.device.type, precision, enabled=mixed):
        logits, after = model(inputs, state, dropout_rng, resets)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    return loss, tuple(part.detach().to(state[0].dtype) for part in after)


def _torch_optimizer(parameters: Iterable[Tensor], config: TrainingConfig) -> torch.optim.Optimizer:
    """Make torch's optimizer, without its weight decay: that is applied once, in Optimizer.step."""
    rate, betas = config.peak_rate, (config.beta1, config.beta2)
    match config.optimizer:
        case "adamw" | "adam":
            return torch.optim.Adam(parameters, rate, betas, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, rate, alpha=config.beta2)
        case "sgd":
            nesterov = config.momentum > 0
            return torch.optim.SGD(parameters, rate, config.momentum, nesterov=nesterov, fused=True)


def learning_rate(config: TrainingConfig, step: int, progress: float, plateau: float) -> float:
    """Return the learning rate of a step.

    step: steps before this one. progress: the share of the run that is over, 0 to 1.
    plateau: the factor that the ValidationRecord has come to; only the plateau schedule uses it.
    """
    rate = config.peak_rate
    if config.warmup:
        rate *= min(1.0, (step + 1) / config.warmup)
    match config.schedule:
        case "cosine":  # Loshchilov & Hutter 2017, eq. 5, to 0 and without restarts
            return rate * 0.5 * (1 + math.cos(math.pi * progress))
        case "linear":
            return rate * (1 - progress)
        case "constant":
            return rate
        case "plateau":
            return rate * plateau


@dataclass
class ValidationRecord:
    """The best validation loss, the evaluations since, and the plateau schedule's factor."""

    best_loss: float | None = None
    best_step: int | None = None
    stale: int = 0
    factor: float = 1.0

    def update(self, loss: float, step: int) -> bool:
        """Take in an evaluation; returns whether it is the best so far."""
        if math.isfinite(loss) and (self.best_loss is None or loss < self.best_loss):
            self.best_loss, self.best_step, self.stale = loss, step, 0
            return True
        self.stale += 1
        if self.stale % PLATEAU_PATIENCE == 0:
            self.factor *= PLATEAU_FACTOR
        return False
