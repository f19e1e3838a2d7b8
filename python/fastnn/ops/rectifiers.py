"""Log-softmax, and rectifiers with more than one number: clipped, with learned slopes, with random slopes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn.checks import Float32
from fastnn.ops.base import UINT64, as_float32, as_rows, check_rank, check_same_shape, empty, twin


@twin
def log_softmax_forward(x: Float32) -> Float32:
    """Return x - max - log(sum of exp(x - max)) over the last axis."""
    x = as_float32("log_softmax_forward", "x", x)
    y = empty(x.shape)
    _core.log_softmax_forward(as_rows(x), as_rows(y))
    return y


@twin
def log_softmax_backward(dy: Float32, y: Float32) -> Float32:
    """Return dy - exp(y) sum(dy) over the last axis."""
    dy = as_float32("log_softmax_backward", "dy", dy)
    check_same_shape("log_softmax_backward", "dy", dy, y.shape)
    dx = empty(y.shape)
    _core.log_softmax_backward(as_rows(dy), as_rows(y), as_rows(dx))
    return dx


@twin
def clipped_relu_forward(x: Float32, slope: float, max_value: float, threshold: float) -> Float32:
    """Return min(x, max_value) for x > threshold, else slope (x - threshold)."""
    x = as_float32("clipped_relu_forward", "x", x)
    y = empty(x.shape)
    _core.clipped_relu_forward(x, y, slope, max_value, threshold)
    return y


@twin
def clipped_relu_backward(dy: Float32, x: Float32, slope: float, max_value: float, threshold: float) -> Float32:
    """Return dx: dy times 1 for threshold < x < max_value, slope for x <= threshold, else 0."""
    dy = as_float32("clipped_relu_backward", "dy", dy)
    check_same_shape("clipped_relu_backward", "dy", dy, x.shape)
    dx = empty(x.shape)
    _core.clipped_relu_backward(dy, x, dx, slope, max_value, threshold)
    return dx


@twin
def prelu_forward(x: Float32, alpha: Float32) -> Float32:
    """Return x where it is > 0, else alpha x; x (rows, cols), alpha (cols,)."""
    x, alpha = as_float32("prelu_forward", "x", x), as_float32("prelu_forward", "alpha", alpha)
    check_rank("prelu_forward", "x", x, 2)
    check_same_shape("prelu_forward", "alpha", alpha, x.shape[1:])
    y = empty(x.shape)
    _core.prelu_forward(x, alpha, y)
    return y


@twin
def prelu_backward(dy: Float32, x: Float32, alpha: Float32, dalpha: Float32 | None = None) -> Float32:
    """Return dx; write the sums over the rows of dy x where x <= 0 into dalpha, if given."""
    dy, alpha = as_float32("prelu_backward", "dy", dy), as_float32("prelu_backward", "alpha", alpha)
    check_rank("prelu_backward", "x", x, 2)
    check_same_shape("prelu_backward", "dy", dy, x.shape)
    check_same_shape("prelu_backward", "alpha", alpha, x.shape[1:])
    dx = empty(x.shape)
    _core.prelu_backward(dy, x, alpha, dx, dalpha)
    return dx


@twin
def random_relu_forward(
    x: Float32, lower: float, upper: float, seed: int, stream: int, counter: NDArray[np.uint64]
) -> tuple[Float32, NDArray[np.uint64]]:
    """Return (y, used): x where it is > 0, else a x with a drawn from [lower, upper]; counter[0] increases by one."""
    x = as_float32("random_relu_forward", "x", x)
    y, used = empty(x.shape), empty((1,), UINT64)
    _core.random_relu_forward(x, y, lower, upper, seed, stream, counter, used)
    return y, used


@twin
def random_relu_backward(
    dy: Float32, x: Float32, lower: float, upper: float, seed: int, stream: int, used: NDArray[np.uint64]
) -> Float32:
    """Return dx: dy where x > 0, elsewhere times the slope of the forward pass with that `used`."""
    dy = as_float32("random_relu_backward", "dy", dy)
    check_same_shape("random_relu_backward", "dy", dy, x.shape)
    dx = empty(x.shape)
    _core.random_relu_backward(dy, x, dx, lower, upper, seed, stream, used)
    return dx
