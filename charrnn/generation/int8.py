"""Products with int8 weights, compiled by numba for the machine they run on.

A weight is scale * q, with q from -127 to 127 and one scale for each row of its matrix. Vectors are
rounded to int16 with one scale for each product, so nearly all of the error comes from the weights.
The sum of q * x is an exact int32, whatever instructions the compiler chooses.
"""

from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from charrnn.generation.layers import Floats, Product

# Columns to multiply at once: two AVX-512 registers of int16, four of AVX2, eight of SSE2 or NEON.
BLOCK = 64


class Int8:
    """A matrix of int8 weights, (N, K); see layers.Matrix."""

    def __init__(self, matrix: Floats) -> None:
        """Round a matrix of finite floats."""
        self.weights, self.scales = quantize(matrix)

    def into(self, x: Floats, out: Floats) -> Product:
        """See layers.Matrix."""
        if x.shape[1] == 1:
            return partial(product, self.weights, self.scales, x.T, out.T)
        rows = np.empty(out.shape[::-1], np.float32)

        def run() -> None:
            product(self.weights, self.scales, np.ascontiguousarray(x.T), rows)
            out[...] = rows.T

        return run


def quantize(matrix: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return a float32 matrix, (N, K), as int8 (N, K) and scales (N,); all must be finite."""
    scales = (np.abs(matrix).max(axis=1, initial=0) / 127).astype(np.float32)
    divisors = np.where(scales > 0, scales, 1)  # a row of zeros has scale 0
    quantized = np.rint(matrix / divisors[:, None]).clip(-127, 127)
    return quantized.astype(np.int8), scales


@njit(cache=True, nogil=True)
def product(
    weights: NDArray[np.int8],
    scales: NDArray[np.float32],
    x: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Write x @ (scales * weights).T to out, (B, N), for weights (N, K), scales (N,), x (B, K).

    All arrays are in C order. A row of out is not finite if the same row of x is not.
    """
    rows, columns = weights.shape
    rounded = np.empty(x.shape, np.int16)
    x_scales = np.empty(len(x), np.float32)
    for b in range(len(x)):
        x_scales[b] = _round(x, b, rounded)
    for n in range(rows):
        for b in range(len(x)):
            total = _dot_blocks(weights, n, rounded, b)
            for k in range(columns - columns % BLOCK, columns):
                total += np.int32(weights[n, k]) * np.int32(rounded[b, k])
            out[b, n] = np.float32(total) * (scales[n] * x_scales[b])


@njit(cache=True, nogil=True)
def _round(x: NDArray[np.float32], b: int, rounded: NDArray[np.int16]) -> np.float32:
    """Write x[b] / scale to rounded[b], int16, and return the scale.

    The scale is chosen so that no sum of products with int8 weights overflows int32.
    """
    columns = x.shape[1]
    # Integer comparison of the bits orders absolute values, with NaN above all, and is fast.
    bits = x[b].view(np.int32)
    top = np.int32(0)
    for k in range(columns):
        top = max(top, bits[k] & np.int32(0x7FFFFFFF))
    largest = np.float64(np.int32(top).view(np.float32))
    limit = min(32767, (2**31 - 1) // (127 * max(columns, 1)))
    factor = limit / largest if 0 < largest < np.inf else 0.0
    for k in range(columns):
        rounded[b, k] = np.int16(np.rint(x[b, k] * factor))
    return np.float32(largest / limit)


@intrinsic
def _dot_blocks(_, weights, n, x, b):
    """Return the sum over k of weights[n, k] * x[b, k], int32, over all whole blocks of columns.

    int8 weights (N, K), int16 x (B, K). Written in LLVM's own language, because its vectoriser
    makes a plain loop two to three times slower. The backend has to see a product of 16-bit numbers
    extended to 32 bits, with neighbours added: on x86 a single instruction, vpmaddwd or vpdpwssd.
    """

    def generate(context, builder, signature, arguments):
        i16, i32 = ir.IntType(16), ir.IntType(32)
        wide, half = ir.VectorType(i32, BLOCK), ir.VectorType(i32, BLOCK // 2)

        def row(position):
            kind = signature.args[position]
            array = context.make_array(kind)(context, builder, arguments[position])
            indices = [arguments[position + 1], context.get_constant(types.intp, 0)]
            return array, cgutils.get_item_pointer(context, builder, kind, array, indices)

        def load(pointer, k, element):
            vector = ir.VectorType(element, BLOCK).as_pointer()
            block = builder.bitcast(builder.gep(pointer, [k]), vector)
            return builder.sext(builder.load(block, align=element.width // 8), wide)

        def every_other(vector, first):
            lanes = ir.Constant(half, list(range(first, BLOCK, 2)))
            return builder.shuffle_vector(vector, ir.Constant(wide, ir.Undefined), lanes)

        array, w_row = row(0)
        _, x_row = row(2)
        zero, block = (context.get_constant(types.intp, value) for value in (0, BLOCK))
        columns = builder.extract_value(array.shape, 1)
        stop = builder.sub(columns, builder.srem(columns, block))
        sums = cgutils.alloca_once_value(builder, ir.Constant(half, None))
        with cgutils.for_range_slice(builder, zero, stop, block, inc=True) as (k, _):
            products = builder.mul(load(w_row, k, ir.IntType(8)), load(x_row, k, i16))
            pairs = builder.add(every_other(products, 0), every_other(products, 1))
            builder.store(builder.add(builder.load(sums), pairs), sums)
        name = f"llvm.vector.reduce.add.v{BLOCK // 2}i32"
        add = cgutils.get_or_insert_function(builder.module, ir.FunctionType(i32, [half]), name)
        return builder.call(add, [builder.load(sums)])

    return types.int32(weights, types.intp, x, types.intp), generate
