"""The recurrence of the GRU as one function of autograd, since torch has no fast one for CPUs.

The gradient of U is one product for all steps, and so are the products with the input, which the
caller computes. What is left for each step is a product with U, forward and backward, and a few
operations on (B, 3H), all into buffers that are allocated once. The derivatives that do not depend
on later steps are computed for all steps at once.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, add, addcmul, mul

Fresh = Sequence[Tensor | None]


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
            driven.to(weight.dtype), h, weight, bias_n, fresh, precision
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
        states = driven.new_empty(steps + 1, lanes, hidden)
        states[0] = h
        r_and_z = driven.new_empty(steps, lanes, 2 * hidden)
        n, q = torch.empty_like(states[1:]), torch.empty_like(states[1:])
        recurrent = weight.to(precision).t().contiguous()
        product = driven.new_empty(lanes, gates)
        multiply = _product(states[0], recurrent, product)
        product_gates, product_n = product.split([2 * hidden, hidden], dim=1)
        driven_gates, driven_n = (
            part.unbind(0) for part in driven.split([2 * hidden, hidden], dim=2)
        )
        gate, r, z = (part.unbind(0) for part in (r_and_z, *r_and_z.chunk(2, dim=2)))
        n_, q_, before = n.unbind(0), q.unbind(0), list(states.unbind(0))
        for t in range(steps):
            h, after = before[t], before[t + 1]
            if (lost := fresh[t]) is not None:
                h = before[t] = h.masked_fill(lost, 0)
            multiply(h)
            add(driven_gates[t], product_gates, out=gate[t]).sigmoid_()
            add(product_n, bias_n, out=q_[t])
            addcmul(driven_n[t], r[t], q_[t], out=n_[t]).mul_(2).sigmoid_().mul_(2).sub_(1)
            torch.lerp(n_[t], h, z[t], out=after)
        carried = all(lost is None for lost in fresh)
        ctx.save_for_backward(
            states[:-1] if carried else torch.stack(before[:-1]), r_and_z, n, q, weight
        )
        ctx.fresh, ctx.precision = fresh, precision
        return states[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        before, r_and_z, n, q, weight = ctx.saved_tensors
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
        d_gates = before.new_empty(steps, lanes, 3 * hidden, dtype=ctx.precision)
        d_gate, product = before.new_empty(lanes, 3 * hidden), torch.empty_like(later)
        multiply = _product(d_gate, weight.to(ctx.precision), product)
        d_gate_parts = d_gate.view(lanes, 3, hidden)
        d_outputs, d_h_, by_, z_, d_gates_ = (
            part.unbind(0) for part in (gradients[0], d_h, by_gates, z, d_gates)
        )
        for t in reversed(range(steps)):
            add(d_outputs[t], later, out=d_h_[t])
            mul(by_[t], d_h_[t].unsqueeze(1), out=d_gate_parts)
            d_gates_[t].copy_(multiply(d_gate))
            addcmul(product, d_h_[t], z_[t], out=later)
            if (lost := ctx.fresh[t]) is not None:
                later.masked_fill_(lost, 0)
        stacked = d_gates.view(steps * lanes, 3 * hidden)
        d_weight = stacked.t() @ before.reshape(-1, hidden).to(ctx.precision)
        d_bias_n = stacked[:, 2 * hidden :].sum(dim=0, dtype=weight.dtype)
        d_driven = d_gates.to(weight.dtype, copy=True)
        mul(d_h, by_n, out=d_driven[:, :, 2 * hidden :])
        return d_driven, later, d_weight.to(weight.dtype), d_bias_n, None, None


def _product(like: Tensor, matrix: Tensor, out: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function that multiplies x by a matrix of the number format of the products.

    x is like `like`. The result is in out, whatever its format; what is returned is x in the
    format of the product.
    """
    if matrix.dtype == like.dtype:

        def multiply(x: Tensor) -> Tensor:
            torch.mm(x, matrix, out=out)
            return x

        return multiply
    x_low, out_low = torch.empty_like(like, dtype=matrix.dtype), out.to(matrix.dtype)

    def multiply_low(x: Tensor) -> Tensor:
        torch.mm(x_low.copy_(x), matrix, out=out_low)
        out.copy_(out_low)
        return x_low

    return multiply_low
