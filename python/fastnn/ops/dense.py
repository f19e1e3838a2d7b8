"""Matrix products."""

from __future__ import annotations

from fastnn import _core, checks
from fastnn.checks import Float32
from fastnn.ops.base import (
    as_float32,
    check_rank,
    check_same_shape,
    empty,
    twin,
)


@twin
def gemm(
    a: Float32,
    b: Float32,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    bias: Float32 | None = None,
    activation: str = "linear",
    alpha: float = 0.0,
) -> Float32:
    """Return f(a b + bias), a and b taken transposed where said: (m, k) (k, n) -> (m, n)."""
    a, b = as_float32("gemm", "a", a), as_float32("gemm", "b", b)
    check_rank("gemm", "a", a, 2)
    check_rank("gemm", "b", b, 2)
    (m, k), (k_b, n) = (a.shape[::-1] if transpose_a else a.shape), (b.shape[::-1] if transpose_b else b.shape)
    if k != k_b:
        checks.fail("gemm", "matrices that fit", f"({m}, {k}) times ({k_b}, {n})", "the inner sizes must be equal")
    c = empty((m, n))
    _core.gemm(a, b, c, transpose_a, transpose_b, bias, activation, alpha, None, False, False)
    return c


@twin
def column_sums(x: Float32, out: Float32 | None = None) -> Float32:
    """Return the sum over rows, written to `out` if it is given: (rows, cols) -> (cols,)."""
    x = as_float32("column_sums", "x", x)
    check_rank("column_sums", "x", x, 2)
    y = empty((x.shape[1],)) if out is None else out
    _core.column_sums(x, y)
    return y


@twin
def dense_forward(
    x: Float32,
    kernel: Float32,
    bias: Float32 | None = None,
    activation: str = "linear",
    alpha: float = 0.0,
    *,
    skip_zeros: bool = False,
) -> Float32:
    """Return f(x kernel + bias): (N, D) (D, K) -> (N, K).

    skip_zeros: inputs that are zero in all of the few rows need not meet the kernel, so that 0 times what is not finite may be 0.
    """
    x = as_float32("dense_forward", "x", x)
    check_rank("dense_forward", "x", x, 2)
    if x.shape[1] != kernel.shape[0]:
        checks.fail("dense_forward", f"x of shape (N, {kernel.shape[0]})", x.shape)
    y = empty((x.shape[0], kernel.shape[1]))
    _core.gemm(x, kernel, y, False, False, bias, activation, alpha, None, skip_zeros, True)
    return y


@twin
def dense_backward(
    x: Float32,
    kernel: Float32,
    dy: Float32,
    dkernel: Float32 | None,
    dbias: Float32 | None = None,
    *,
    need_dx: bool = True,
    relu_input: bool = False,
) -> Float32 | None:
    """Write dkernel = x^T dy and dbias = sum(dy) where they are given; return dx = dy kernel^T, or None.

    relu_input: x is the output of a relu, and dx is multiplied by the relu's derivative.
    """
    x, dy = as_float32("dense_backward", "x", x), as_float32("dense_backward", "dy", dy)
    check_same_shape("dense_backward", "dy", dy, (x.shape[0], kernel.shape[1]))
    if dkernel is not None:
        check_same_shape("dense_backward", "dkernel", dkernel, kernel.shape)
        _core.gemm(x, dy, dkernel, True, False, None, "linear", 0.0, None, False, False)
    if dbias is not None:
        _core.column_sums(dy, dbias)
    if not need_dx:
        return None
    dx = empty(x.shape)
    _core.gemm(dy, kernel, dx, False, True, None, "linear", 0.0, x if relu_input else None, False, False)
    return dx
