"""From the outputs of the recurrent layers to the probabilities of symbols: the softmax.

y is (N, H) or (..., H), the outputs; targets are ids, (N,). All modules have `weight`, (R, H), and
`bias`, (R,), whose device and number format are those of the model.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charrnn.model.config import Cluster, ModelConfig, clusters

# Logits that the loss holds at a time, in elements: a few megabytes, which stay in the cache.
BLOCK_ELEMENTS = 2**20


class Softmax(nn.Linear):
    """A row for each symbol: p = softmax(D y + b)."""

    def logits(self, y: Tensor) -> Tensor:
        """Return the logits, (..., V)."""
        logits: Tensor = self(y)
        return logits

    def nats(self, y: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of -ln p of the targets, and each of them, (N,), without a gradient."""
        return linear_nats(y, self.weight, self.bias, targets)


class AdaptiveSoftmax(nn.Linear):
    """Adaptive softmax (Grave et al. 2017): frequent symbols first, the others in clusters.

    The ids are in the order of frequency. The head has a row for each frequent symbol and one for
    each cluster; a cluster's symbols read a projection of y, which is the narrower the rarer they
    are. With c the cluster of symbol i:

    p(i) = softmax(D y + b)_i                               for a frequent symbol
    p(i) = softmax(D y + b)_c * softmax(U_c P_c y + b_c)_i  for the others
    """

    def __init__(self, config: ModelConfig, vocabulary_size: int) -> None:
        found = clusters(config, vocabulary_size)
        super().__init__(config.hidden_size, config.adaptive_softmax + len(found))
        self.head_size = config.adaptive_softmax
        self.clusters = _Clusters(_Cluster(config.hidden_size, cluster) for cluster in found)

    def logits(self, y: Tensor) -> Tensor:
        """Return ln p of all symbols, (..., V)."""
        head = F.log_softmax(self(y).to(self.bias.dtype), dim=-1)
        parts = [head[..., : self.head_size]]
        for i, cluster in enumerate(self.clusters):
            within = F.log_softmax(cluster(y).to(self.bias.dtype), dim=-1)
            parts.append(head[..., self.head_size + i, None] + within)
        return torch.cat(parts, dim=-1)

    def nats(self, y: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """See Softmax. Of a cluster, only the targets in it cost anything."""
        in_head = targets.clone()
        members = []
        for i, cluster in enumerate(self.clusters):
            inside = (targets >= cluster.start) & (targets < cluster.stop)
            in_head[inside] = self.head_size + i
            members.append(inside.nonzero().squeeze(1))
        total, each = linear_nats(y, self.weight, self.bias, in_head)
        for cluster, places in zip(self.clusters, members, strict=True):
            narrow = F.linear(y.index_select(0, places), cluster.down)
            part, parts = linear_nats(
                narrow, cluster.weight, cluster.bias, targets[places] - cluster.start
            )
            total = total + part
            each = each.index_add(0, places, parts)
        return total, each


class _Clusters(nn.ModuleList):
    """A list of clusters, with their type."""

    def __iter__(self) -> Iterator["_Cluster"]:
        return super().__iter__()  # type: ignore[return-value]


class _Cluster(nn.Module):
    """The symbols from `start` up to `stop`; down: P, (R, H); weight: U, (N, R); bias: (N,)."""

    def __init__(self, hidden_size: int, cluster: Cluster) -> None:
        super().__init__()
        self.start, self.stop = cluster.start, cluster.stop
        self.down = nn.Parameter(torch.empty(cluster.width, hidden_size))
        self.weight = nn.Parameter(torch.empty(cluster.size, cluster.width))
        self.bias = nn.Parameter(torch.empty(cluster.size))

    def forward(self, y: Tensor) -> Tensor:
        return F.linear(F.linear(y, self.down), self.weight, self.bias)


def make_softmax(config: ModelConfig, vocabulary_size: int) -> Softmax | AdaptiveSoftmax:
    """Make the softmax of a model, without initial values."""
    if clusters(config, vocabulary_size):
        return AdaptiveSoftmax(config, vocabulary_size)
    return Softmax(config.hidden_size, vocabulary_size)


def linear_nats(y: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of -ln softmax(y weight^T + bias)[target], and each of them, (N,).

    Only the sum has a gradient. The logits are computed a block of rows at a time, and so are their
    gradients, in the forward pass: there never is more than a block of them.
    Under autocast the products are computed in its number format, the rest in that of the weights.
    """
    kind = y.device.type
    mixed = torch.is_autocast_enabled(kind)
    precision = torch.get_autocast_dtype(kind) if mixed else weight.dtype
    with torch.autocast(kind, enabled=False):
        learns = torch.is_grad_enabled()
        result: tuple[Tensor, Tensor] = _LinearNats.apply(  # type: ignore[no-untyped-call]
            y, weight, bias, targets, precision, learns
        )
    return result


class _LinearNats(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        precision: torch.dtype,
        learns: bool,
    ) -> tuple[Tensor, Tensor]:
        low_y, low_weight = y.to(precision), weight.to(precision)
        nats = bias.new_empty(len(y))
        if learns:
            d_y = torch.empty_like(low_y)
            d_weight, d_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        rows = max(1, BLOCK_ELEMENTS // len(weight))
        for start in range(0, len(y), rows):
            part = slice(start, start + rows)
            wanted = targets[part, None]
            logits = F.linear(low_y[part], low_weight).to(bias.dtype).add_(bias)
            logits.sub_(logits.amax(dim=1, keepdim=True))  # before any rounding of large numbers
            chosen = logits.gather(1, wanted)
            total = logits.exp_().sum(dim=1, keepdim=True)
            torch.sub(total.log(), chosen, out=nats[part, None])
            if learns:
                gradient = logits.div_(total)
                gradient.scatter_add_(1, wanted, -torch.ones_like(total))
                d_bias += gradient.sum(dim=0)
                gradient = gradient.to(precision)
                torch.mm(gradient, low_weight, out=d_y[part])
                d_weight += gradient.t() @ low_y[part]
        if learns:
            ctx.save_for_backward(d_y, d_weight, d_bias)
        ctx.mark_non_differentiable(nats)
        ctx.kind = y.dtype
        return nats.sum(), nats

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        d_y, d_weight, d_bias = ctx.saved_tensors
        scale = gradients[0]
        return (d_y * scale).to(ctx.kind), d_weight * scale, d_bias * scale, None, None, None
