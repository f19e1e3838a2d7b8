"""Matrix products and the fully connected layer."""

from __future__ import annotations

import numpy as np

from .common import Array
from .elementwise import activation_backward, activation_forward


def add_bias_and_activate(y: Array, bias: Array | None, activation: str, alpha: float) -> Array:
    """Return f(y + bias), the end of every product; y may be overwritten."""
    if bias is not None:
        y += bias
    return y if activation == "linear" else activation_forward(y, activation, alpha)


def gemm(
    a: Array,
    b: Array,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    bias: Array | None = None,
    activation: str = "linear",
    alpha: float = 0.0,
) -> Array:
    """c = f(a b + bias): (m, k) times (k, n) is (m, n); a transposed operand is given as (k, m) or (n, k)."""
    left = a.T if transpose_a else a
    right = b.T if transpose_b else b
    return add_bias_and_activate(left @ right, bias, activation, alpha)


def column_sums(x: Array, out: Array | None = None) -> Array:
    """y[j] = sum over i of x[i, j], x (rows, cols); float64 inside, for float32 stops growing after many terms."""
    y: Array = np.empty(x.shape[1], x.dtype) if out is None else out
    y[...] = x.sum(axis=0, dtype=np.float64)
    return y


def dense_forward(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    activation: str = "linear",
    alpha: float = 0.0,
    *,
    skip_zeros: bool = False,
) -> Array:
    """y = f(x kernel + bias): x (N, D), kernel (D, units), bias (units,), y (N, units).

    skip_zeros: allows to leave out terms that are zero in all rows; here it changes nothing.
    """
    y = x @ kernel
    return add_bias_and_activate(y, bias, activation, alpha)


def dense_backward(
    x: Array,
    kernel: Array,
    dy: Array,
    dkernel: Array | None,
    dbias: Array | None = None,
    *,
    need_dx: bool = True,
    relu_input: bool = False,
) -> Array | None:
    """dkernel = x^T dy and dbias = sum of dy over the batch, both written; returns dx = dy kernel^T.

    dkernel or dbias None: not wanted. relu_input: x is a relu's output, and dx is multiplied by the relu's derivative.
    """
    if dkernel is not None:
        dkernel[...] = x.T @ dy
    if dbias is not None:
        dbias[...] = column_sums(dy)
    if not need_dx:
        return None
    dx: Array = dy @ kernel.T
    return activation_backward(dx, None, x, "relu") if relu_input else dx
