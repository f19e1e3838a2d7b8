"""2-D convolution and max pooling of its output as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastnn import _core, checks
from fastnn.checks import Float32
from fastnn.ops.base import (
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

Places = NDArray[np.uint8]


def _windows(who: str, output: Sequence[int], pool_size: Pair) -> list[int]:
    """Return how many windows lie side by side in an output of P x Q pixels, along each axis."""
    if min(pool_size) < 1 or pool_size[0] * pool_size[1] > 256:
        checks.fail(who, "pool_size of 1 to 256 pixels", tuple(pool_size))
    windows = [size // window for size, window in zip(output, pool_size)]
    if min(windows) < 1:
        checks.fail(
            who, f"an output of the convolution at least as large as the window {tuple(pool_size)}", tuple(output)
        )
    return windows


@twin
def max_pooled_conv2d_forward(
    x: Float32,
    kernel: Float32,
    bias: Float32 | None = None,
    *,
    pool_size: Pair,
    strides: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    dilation: Pair = (1, 1),
    groups: int = 1,
    activation: str = "linear",
    alpha: float = 0.0,
) -> tuple[Float32, Places]:
    """Return (y, index) of the max pooling of `conv2d_forward`'s output by windows side by side; the output itself is not made.

    (N, H, W, C) (R, S, C / groups, K) -> (N, P // rows, Q // columns, K). A window has at most 256 pixels.
    """
    who = "max_pooled_conv2d_forward"
    x = as_float32(who, "x", x)
    check_rank(who, "x", x, 4)
    windows = _windows(who, conv_output(who, x.shape, kernel.shape[:2], strides, padding, dilation), pool_size)
    shape = (x.shape[0], *windows, kernel.shape[3])
    y, index = empty(shape), empty(shape, UINT8)
    pads = leading_pads(padding)
    _core.max_pooled_conv2d_forward(
        x, kernel, bias, y, index, pool_size, strides, pads, dilation, groups, activation, alpha
    )
    return y, index


@twin
def max_pooled_conv2d_backward_input(
    dy: Float32,
    index: Places,
    relu_y: Float32 | None,
    kernel: Float32,
    x_shape: Sequence[int],
    *,
    pool_size: Pair,
    strides: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    dilation: Pair = (1, 1),
    groups: int = 1,
    relu_output: Float32 | None = None,
) -> Float32:
    """Return dx, given dy at the windows: `conv2d_backward_input` of `max_pool2d_backward`'s dx."""
    who = "max_pooled_conv2d_backward_input"
    dy = as_float32(who, "dy", dy)
    windows = _windows(who, conv_output(who, x_shape, kernel.shape[:2], strides, padding, dilation), pool_size)
    _check_gradient(who, dy, index, relu_y, (x_shape[0], *windows, kernel.shape[3]))
    if relu_output is not None:
        relu_output = as_float32(who, "relu_output", relu_output)
        check_same_shape(who, "relu_output", relu_output, x_shape)
    dx = empty(x_shape)
    pads = leading_pads(padding)
    _core.max_pooled_conv2d_backward_input(
        dy, index, relu_y, kernel, dx, pool_size, strides, pads, dilation, groups, relu_output
    )
    return dx


@twin
def max_pooled_conv2d_backward_filter(
    x: Float32,
    dy: Float32,
    index: Places,
    relu_y: Float32 | None,
    dkernel: Float32,
    dbias: Float32 | None = None,
    *,
    pool_size: Pair,
    strides: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> None:
    """Write dkernel and dbias, given dy at the windows: `conv2d_backward_filter` of `max_pool2d_backward`'s dx."""
    who = "max_pooled_conv2d_backward_filter"
    x, dy = as_float32(who, "x", x), as_float32(who, "dy", dy)
    windows = _windows(who, conv_output(who, x.shape, dkernel.shape[:2], strides, padding, dilation), pool_size)
    _check_gradient(who, dy, index, relu_y, (x.shape[0], *windows, dkernel.shape[3]))
    pads = leading_pads(padding)
    _core.max_pooled_conv2d_backward_filter(
        x, dy, index, relu_y, dkernel, dbias, pool_size, strides, pads, dilation, groups
    )


def _check_gradient(who: str, dy: Float32, index: Places, relu_y: Float32 | None, shape: Sequence[int]) -> None:
    """Raise unless what belongs to the windows has their shape."""
    check_same_shape(who, "dy", dy, shape)
    check_same_shape(who, "index", index, shape)
    if relu_y is not None:
        check_same_shape(who, "relu_y", relu_y, shape)
