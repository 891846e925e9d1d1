"""The loss of a chunk, the optimizer, and the learning-rate schedule."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from charrnn.model.cells import State
from charrnn.model.language_model import LanguageModel
from charrnn.training.config import TrainingConfig


class Optimizer:
    """The phases of a step after the forward pass: backward, clip, update."""

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        self.config = config
        self.named = dict(model.named_parameters())
        self.parameters: list[Tensor] = list(self.named.values())
        self.matrices = [p for p in self.parameters if p.ndim >= 2]
        self.torch = _torch_optimizer(self.parameters, config)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradient of a chunk's loss."""
        self.torch.zero_grad(set_to_none=True)
        loss.backward()

    def shard_gradient(self, loss: Tensor) -> Tensor:
        """Return the gradient of a loss as a vector, and the loss itself behind it."""
        self.backward(loss)
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        return torch.cat([*(part.flatten() for part in parts), loss.detach().reshape(1)])

    def no_gradient(self) -> Tensor:
        """Return what `shard_gradient` would return for a loss of 0."""
        size = 1 + sum(p.numel() for p in self.parameters)
        return self.parameters[0].new_zeros(size)

    def use_gradient(self, vector: Tensor) -> float:
        """Take the gradient from a sum of what `shard_gradient` returned; returns the loss."""
        *parts, loss = vector.split([*(p.numel() for p in self.parameters), 1])
        for parameter, part in zip(self.parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)
        return float(loss)

    def clip(self) -> float:
        """Add the L1 penalty and clip the gradient; returns its L2 norm before clipping."""
        config = self.config
        if config.l1:
            for matrix in self.matrices:
                assert matrix.grad is not None
                matrix.grad.add_(matrix.detach().sign(), alpha=config.l1)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if config.grad_clip_value:
            nn.utils.clip_grad_value_(self.parameters, config.grad_clip_value)
        if config.grad_clip:
            clipped = nn.utils.get_total_norm(gradients) if config.grad_clip_value else norm
            nn.utils.clip_grads_with_norm_(self.parameters, config.grad_clip, clipped)
        return float(norm)

    def update(self, learning_rate: float) -> None:
        """Move the weights: decoupled weight decay, then torch's optimizer."""
        if self.config.decay:
            with torch.no_grad():
                torch._foreach_mul_(self.matrices, 1 - learning_rate * self.config.decay)
        for group in self.torch.param_groups:
            group["lr"] = learning_rate
        self.torch.step()

    def state_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the optimizer's state as arrays named PARAMETER/KEY."""
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


def chunk_loss(
    model: LanguageModel,
    inputs: Tensor,
    targets: Tensor,
    state: State,
    dropout_rng: torch.Generator,
    resets: Tensor | None,
    precision: torch.dtype,
    symbols: int | None = None,
) -> tuple[Tensor, State]:
    """Return the mean loss of a chunk, in nats per symbol, and the state to carry on.

    inputs, targets: (T, B), on the model's device; for the rest see LanguageModel.nats.
    symbols: what to divide by, if these are only some lanes of the chunk.
    precision: of the products (Micikevicius et al. 2018); weights, loss and state are float32.
    """
    mixed = precision != torch.float32
    with torch.autocast(inputs.device.type, precision, enabled=mixed):
        total, each, after = model.nats(inputs, targets, state, dropout_rng, resets)
    counted = len(each) if symbols is None else symbols
    return total / counted, tuple(part.detach().to(state[0].dtype) for part in after)


def _torch_optimizer(parameters: Iterable[Tensor], config: TrainingConfig) -> torch.optim.Optimizer:
    """Make torch's optimizer without its own weight decay, which Optimizer.update applies."""
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

    step: steps before this one. progress: the fraction of the run that is done, 0 to 1.
    plateau: the factor of the ValidationRecord, which only the plateau schedule uses.
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
