"""The recurrence of the GRU as one function of autograd, since torch has no fast one for CPUs.

The gradient of U is one product for all steps, and so are the products with the input, which the
caller computes. What is left for each step is a product with U, forward and backward, and a few
operations on (B, 3H), all into buffers that are allocated once. The derivatives that do not depend
on later steps are computed for all steps at once.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, add, addcmul, mul

Fresh = Sequence[Tensor | None]
Product = Callable[[Tensor], Tensor]


def gru_recurrence(
    driven: Tensor, h: Tensor, weight: Tensor, bias_n: Tensor, fresh: Fresh
) -> tuple[Tensor, Tensor]:
    """Return h_1..h_T, (T, B, H), and h_T, (B, H); see model.cells.GRU for the equations.

    driven: W x_t + b for all gates r, z, n, stacked, (T, B, 3H). h: h_0, (B, H). weight: U, stacked
    like that, (3H, H). bias_n: d_n, (H,). fresh: for each step, which lanes are reset to 0 before
    it, (B, 1); None if no lane is.
    Under autocast the products are computed in its number format, all else in float32 (or float64).
    """
    kind = driven.device.type
    mixed = torch.is_autocast_enabled(kind)
    precision = torch.get_autocast_dtype(kind) if mixed else weight.dtype
    with torch.autocast(kind, enabled=False):
        outputs: Tensor = _Recurrence.apply(  # type: ignore[no-untyped-call]
            driven, h, weight, bias_n, fresh, precision
        )
    return outputs, outputs[-1]


class _Recurrence(torch.autograd.Function):
    """See gru_recurrence; q_t = U_n h_{t-1} + d_n is what r_t is multiplied with."""

    @staticmethod
    def forward(
        ctx: Any,
        driven: Tensor,
        h: Tensor,
        weight: Tensor,
        bias_n: Tensor,
        fresh: Fresh,
        precision: torch.dtype,
    ) -> Tensor:
        steps, lanes, gates = driven.shape
        hidden = gates // 3
        ctx.fresh, ctx.kind = fresh, driven.dtype
        driven = driven.to(weight.dtype)
        states = driven.new_empty(steps + 1, lanes, hidden)
        states[0] = h
        low = torch.empty_like(states[1:], dtype=precision)
        r_and_z = driven.new_empty(steps, lanes, 2 * hidden)
        n, q = torch.empty_like(states[1:]), torch.empty_like(states[1:])
        # tanh(x) is 2 sigmoid(2x) - 1, and torch's sigmoid is the faster one. All that is inside of
        # tanh is doubled beforehand, which is exact.
        doubled = weight.clone()
        doubled[2 * hidden :] *= 2
        multiply = _repeated_product(doubled.to(precision), lanes)
        driven_gates = driven[:, :, : 2 * hidden].unbind(0)
        driven_n, bias_n = (2 * driven[:, :, 2 * hidden :]).unbind(0), 2 * bias_n
        minus_one = torch.full_like(states[0], -1)
        product = driven.new_empty(lanes, gates)
        product_gates, product_n = product.split([2 * hidden, hidden], dim=1)
        gate, r, z = (part.unbind(0) for part in (r_and_z, *r_and_z.chunk(2, dim=2)))
        low_, n_, q_, before = low.unbind(0), n.unbind(0), q.unbind(0), list(states.unbind(0))
        for t in range(steps):
            h, after = before[t], before[t + 1]
            if (lost := fresh[t]) is not None:
                h = before[t] = h.masked_fill(lost, 0)
            product.copy_(multiply(low_[t].copy_(h)))
            add(driven_gates[t], product_gates, out=gate[t]).sigmoid_()
            add(product_n, bias_n, out=q_[t])
            addcmul(driven_n[t], r[t], q_[t], out=n_[t]).sigmoid_()
            add(minus_one, n_[t], alpha=2, out=n_[t])
            torch.lerp(n_[t], h, z[t], out=after)
        q.mul_(0.5)
        carried = all(lost is None for lost in fresh)
        previous = states[:-1] if carried else torch.stack(before[:-1])
        ctx.save_for_backward(previous, low, r_and_z, n, q, weight)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        before, low, r_and_z, n, q, weight = ctx.saved_tensors
        steps, lanes, hidden = before.shape
        r, z = r_and_z.chunk(2, dim=2)
        # The derivatives of h_t with respect to what is inside of tanh and of the two sigmoids, and
        # to q_t.
        not_z = 1 - z
        by_n = addcmul(not_z, not_z, n * n, value=-1)
        by_gates = before.new_empty(steps, lanes, 3, hidden)
        by_r, by_z, by_q = by_gates.unbind(2)
        mul(by_n, r, out=by_q)
        mul(by_q, addcmul(q, q, r, value=-1), out=by_r)
        mul((before - n).mul_(z), not_z, out=by_z)

        d_h, later = torch.empty_like(before), torch.zeros_like(before[0])
        d_gates = before.new_empty(steps, lanes, 3 * hidden, dtype=low.dtype)
        multiply = _repeated_product(weight.to(low.dtype).t().contiguous(), lanes)
        product = torch.empty_like(later)
        in_parts = d_gates.view(steps, lanes, 3, hidden)
        d_outputs, d_h_, by_, z_, d_gates_, parts = (
            part.unbind(0) for part in (gradients[0], d_h, by_gates, z, d_gates, in_parts)
        )
        for t in reversed(range(steps)):
            add(d_outputs[t], later, out=d_h_[t])
            mul(by_[t], d_h_[t].unsqueeze(1), out=parts[t])
            product.copy_(multiply(d_gates_[t]))
            addcmul(product, d_h_[t], z_[t], out=later)
            if (lost := ctx.fresh[t]) is not None:
                later.masked_fill_(lost, 0)
        stacked = d_gates.view(steps * lanes, 3 * hidden)
        d_weight = (stacked.t() @ low.view(steps * lanes, hidden)).to(weight.dtype)
        d_bias_n = stacked[:, 2 * hidden :].sum(dim=0, dtype=weight.dtype)
        d_driven = d_gates.to(ctx.kind)
        mul(d_h, by_n, out=d_driven[:, :, 2 * hidden :])
        return d_driven, later, d_weight, d_bias_n, None, None


def _repeated_product(matrix: Tensor, lanes: int) -> Product:
    """Return what computes x matrix^T, for many x, (B, I), one after the other; matrix: (O, I).

    For bfloat16, oneDNN lays the matrix out for its kernel once. torch.mm does so in each call,
    which takes a third of its time. torch has no public function for that; where it lacks this
    one, torch.mm does the same.
    """
    if matrix.device.type == "cpu" and matrix.dtype == torch.bfloat16 and _can_lay_out():
        laid_out = torch.ops.mkldnn._reorder_linear_weight(matrix, lanes)
        linear = torch.ops.mkldnn._linear_pointwise
        return lambda x: linear(x, laid_out, None, "none", [], "")
    transposed, out = matrix.t().contiguous(), matrix.new_empty(lanes, len(matrix))
    return lambda x: torch.mm(x, transposed, out=out)


@functools.cache
def _can_lay_out() -> bool:
    """Try it once, since the functions are private and may change or go."""
    try:
        matrix = torch.ones(2, 3, dtype=torch.bfloat16)
        laid_out = torch.ops.mkldnn._reorder_linear_weight(matrix, 1)
        found = torch.ops.mkldnn._linear_pointwise(matrix[:1], laid_out, None, "none", [], "")
        return bool(torch.equal(found, matrix[:1] @ matrix.t()))
    except (AttributeError, RuntimeError, TypeError):
        return False
