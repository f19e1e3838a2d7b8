"""2-D pooling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastnn import _core, checks
from fastnn.checks import Float32
from fastnn.ops.base import (
    INT32,
    NO_PADDING,
    UINT8,
    Padding,
    Pair,
    as_float32,
    check_rank,
    check_same_shape,
    empty,
    twin,
)
from fastnn.ops.conv import conv_output, leading_pads

Index = NDArray[np.uint8] | NDArray[np.int32]


def pool_output(who: str, shape: Sequence[int], size: Pair, strides: Pair, padding: Padding) -> list[int]:
    """Return (N, P, Q, C) for images of this shape."""
    if len(shape) != 4:
        checks.fail(who, "x of shape (N, H, W, C)", tuple(shape))
    p, q = conv_output(who, shape, size, strides, padding, (1, 1))
    return [shape[0], p, q, shape[3]]


@twin
def max_pool2d_forward(
    x: Float32, *, pool_size: Pair, strides: Pair, padding: Padding = NO_PADDING
) -> tuple[Float32, Index]:
    """Return (y, index): the largest value of every window, and where in the window (r S + s) it was found first.

    The index is uint8 where the window has at most 256 pixels, else int32.
    """
    x = as_float32("max_pool2d_forward", "x", x)
    shape = pool_output("max_pool2d_forward", x.shape, pool_size, strides, padding)
    y, index = empty(shape), empty(shape, UINT8 if pool_size[0] * pool_size[1] <= 256 else INT32)
    _core.max_pool2d_forward(x, y, index, pool_size, strides, leading_pads(padding))
    return y, index


@twin
def max_pool2d_backward(
    dy: Float32,
    index: Index,
    x_shape: Sequence[int],
    relu_y: Float32 | None = None,
    *,
    pool_size: Pair,
    strides: Pair,
    padding: Padding = NO_PADDING,
) -> Float32:
    """Return dx: every dy is added where its index says, the rest is 0.

    relu_y: what the pooling of a relu's outputs gave; dx is then the gradient of what entered the relu, because the largest
    output is > 0 exactly where its input was. A dy counts only where relu_y is > 0.
    """
    dy = as_float32("max_pool2d_backward", "dy", dy)
    check_same_shape("max_pool2d_backward", "dy", dy, index.shape)
    if relu_y is not None:
        check_same_shape("max_pool2d_backward", "relu_y", relu_y, index.shape)
    dx = empty(x_shape)
    _core.max_pool2d_backward(dy, index, relu_y, dx, pool_size, strides, leading_pads(padding))
    return dx


@twin
def avg_pool2d_forward(x: Float32, *, pool_size: Pair, strides: Pair, padding: Padding = NO_PADDING) -> Float32:
    """Return the mean of every window; padding is not counted."""
    x = as_float32("avg_pool2d_forward", "x", x)
    y = empty(pool_output("avg_pool2d_forward", x.shape, pool_size, strides, padding))
    _core.avg_pool2d_forward(x, y, pool_size, strides, leading_pads(padding))
    return y


@twin
def avg_pool2d_backward(
    dy: Float32, x_shape: Sequence[int], *, pool_size: Pair, strides: Pair, padding: Padding = NO_PADDING
) -> Float32:
    """Return dx: every dy spread evenly over its window."""
    dy = as_float32("avg_pool2d_backward", "dy", dy)
    check_same_shape(
        "avg_pool2d_backward", "dy", dy, pool_output("avg_pool2d_backward", x_shape, pool_size, strides, padding)
    )
    dx = empty(x_shape)
    _core.avg_pool2d_backward(dy, dx, pool_size, strides, leading_pads(padding))
    return dx


@twin
def global_average_pool2d_forward(x: Float32) -> Float32:
    """Return the mean over H and W: (N, H, W, C) -> (N, C)."""
    x = as_float32("global_average_pool2d_forward", "x", x)
    check_rank("global_average_pool2d_forward", "x", x, 4)
    n, h, w, c = x.shape
    y = empty((n, c))
    _core.spatial_mean_forward(x.reshape(n, h * w, c), y)
    return y


@twin
def global_average_pool2d_backward(dy: Float32, x_shape: Sequence[int]) -> Float32:
    """Return dx = dy / (H W) at every pixel."""
    n, h, w, c = x_shape
    dx = empty((n, h * w, c))
    _core.spatial_mean_backward(as_float32("global_average_pool2d_backward", "dy", dy), dx)
    return dx.reshape(n, h, w, c)
