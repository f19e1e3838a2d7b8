"""Activations and softmax."""

from __future__ import annotations

from fastnn import _core
from fastnn.checks import Float32
from fastnn.ops.base import (
    as_float32,
    as_rows,
    check_same_shape,
    empty,
    twin,
)


@twin
def activation_forward(x: Float32, kind: str, alpha: float = 0.0) -> Float32:
    """Return f(x) for the activation named `kind`; alpha is its slope (leaky_relu) or scale (elu)."""
    x = as_float32("activation_forward", "x", x)
    y = empty(x.shape)
    _core.activation_forward(x, y, kind, alpha)
    return y


@twin
def activation_backward(
    dy: Float32,
    x: Float32 | None,
    y: Float32 | None,
    kind: str,
    alpha: float = 0.0,
    sums: Float32 | None = None,
) -> Float32:
    """Return dx = dy f'(x); of x and y only the one that the kind needs (`reference.FROM_OUTPUT`) must be given.

    sums: where the sum of dx over all axes but the last is written, which is the gradient of a bias before the activation.
    """
    dy = as_float32("activation_backward", "dy", dy)
    dx = empty(dy.shape)
    if sums is not None:
        check_same_shape("activation_backward", "sums", sums, dy.shape[-1:])
    _core.activation_backward(dy, x, y, dx, kind, alpha, sums)
    return dx


@twin
def softmax_forward(x: Float32) -> Float32:
    """Return exp(x - max) / sum over the last axis."""
    x = as_float32("softmax_forward", "x", x)
    y = empty(x.shape)
    _core.softmax_forward(as_rows(x), as_rows(y))
    return y


@twin
def softmax_backward(dy: Float32, y: Float32) -> Float32:
    """Return y (dy - sum(dy y)) over the last axis."""
    check_same_shape("softmax_backward", "dy", dy, y.shape)
    dx = empty(y.shape)
    _core.softmax_backward(as_rows(as_float32("softmax_backward", "dy", dy)), as_rows(y), as_rows(dx))
    return dx
