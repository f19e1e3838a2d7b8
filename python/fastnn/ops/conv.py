"""2-D convolution and its transpose."""

from __future__ import annotations

from collections.abc import Sequence

from fastnn import _core, checks
from fastnn.checks import Float32
from fastnn.ops.base import (
    NO_PADDING,
    Padding,
    Pair,
    as_float32,
    check_rank,
    check_same_shape,
    empty,
    twin,
)


def conv_output_size(size: int, window: int, stride: int, padding: Pair, dilation: int = 1) -> int:
    """Return (size + padding - dilation (window - 1) - 1) // stride + 1, the number of places a window has."""
    return (size + padding[0] + padding[1] - dilation * (window - 1) - 1) // stride + 1


def conv_output(
    who: str,
    shape: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[Pair],
    dilation: Sequence[int],
) -> tuple[int, ...]:
    """Return (P, Q), or as many sizes as the window has, for images of this shape; raise if the window is larger."""
    if min(*strides, *dilation) < 1:
        checks.fail(who, "strides and dilation >= 1", f"{tuple(strides)} and {tuple(dilation)}")
    image = shape[1 : 1 + len(window)]
    sizes = tuple(map(conv_output_size, image, window, strides, padding, dilation))
    if min(sizes) < 1:
        checks.fail(
            who,
            f"an image at least as large as the window {tuple(window)} (dilation {tuple(dilation)})",
            f"{' x '.join(map(str, image))} with padding {padding}",
            "use padding='same', a smaller window or fewer strided layers",
        )
    return sizes


def leading_pads(padding: Padding) -> list[int]:
    """Return (top, left), which is all that a kernel needs besides the output size."""
    return [padding[0][0], padding[1][0]]


@twin
def conv2d_forward(
    x: Float32,
    kernel: Float32,
    bias: Float32 | None = None,
    *,
    strides: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    dilation: Pair = (1, 1),
    groups: int = 1,
    activation: str = "linear",
    alpha: float = 0.0,
) -> Float32:
    """Return f(convolution of x with kernel + bias): (N, H, W, C) (R, S, C / groups, K) -> (N, P, Q, K)."""
    x = as_float32("conv2d_forward", "x", x)
    check_rank("conv2d_forward", "x", x, 4)
    p, q = conv_output("conv2d_forward", x.shape, kernel.shape[:2], strides, padding, dilation)
    y = empty((x.shape[0], p, q, kernel.shape[3]))
    _core.conv2d_forward(x, kernel, bias, y, strides, leading_pads(padding), dilation, groups, activation, alpha)
    return y


@twin
def conv2d_backward_input(
    dy: Float32,
    kernel: Float32,
    x_shape: Sequence[int],
    *,
    strides: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    dilation: Pair = (1, 1),
    groups: int = 1,
    relu_output: Float32 | None = None,
    onto: Float32 | None = None,
) -> Float32:
    """Return dx, the transposed convolution of dy; where x is a relu's output, times the relu's derivative.

    onto: an array that dx is added to, before that derivative; it is changed, and returned. For one group.
    """
    dy = as_float32("conv2d_backward_input", "dy", dy)
    p, q = conv_output("conv2d_backward_input", x_shape, kernel.shape[:2], strides, padding, dilation)
    check_same_shape("conv2d_backward_input", "dy", dy, (x_shape[0], p, q, kernel.shape[3]))
    if relu_output is not None:
        relu_output = as_float32("conv2d_backward_input", "relu_output", relu_output)
        check_same_shape("conv2d_backward_input", "relu_output", relu_output, x_shape)
    if onto is not None:
        check_same_shape("conv2d_backward_input", "onto", onto, x_shape)
    dx = empty(x_shape) if onto is None else onto
    pads, adds = leading_pads(padding), onto is not None
    _core.conv2d_backward_input(dy, kernel, dx, strides, pads, dilation, groups, relu_output, adds)
    return dx


@twin
def conv2d_backward_filter(
    x: Float32,
    dy: Float32,
    dkernel: Float32,
    dbias: Float32 | None = None,
    *,
    strides: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> None:
    """Write dkernel[r, s, c, k] = sum over n, p, q of x[n, p.., q.., c] dy[n, p, q, k], and dbias = sum(dy) if given."""
    x, dy = as_float32("conv2d_backward_filter", "x", x), as_float32("conv2d_backward_filter", "dy", dy)
    p, q = conv_output("conv2d_backward_filter", x.shape, dkernel.shape[:2], strides, padding, dilation)
    check_same_shape("conv2d_backward_filter", "dy", dy, (x.shape[0], p, q, dkernel.shape[3]))
    _core.conv2d_backward_filter(x, dy, dkernel, dbias, strides, leading_pads(padding), dilation, groups)


@twin
def conv2d_transpose_forward(
    x: Float32,
    kernel: Float32,
    size: Pair,
    bias: Float32 | None = None,
    *,
    strides: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    dilation: Pair = (1, 1),
    groups: int = 1,
    activation: str = "linear",
    alpha: float = 0.0,
) -> Float32:
    """Return f(z + bias), z the transpose of the convolution with these options that takes images of `size` to x's.

    (N, P, Q, K) (R, S, C / groups, K) -> (N, *size, C): z is the input gradient of that convolution where x is its output's.
    """
    x = as_float32("conv2d_transpose_forward", "x", x)
    check_rank("conv2d_transpose_forward", "x", x, 4)
    y_shape = (x.shape[0], *size, kernel.shape[2] * groups)
    p, q = conv_output("conv2d_transpose_forward", y_shape, kernel.shape[:2], strides, padding, dilation)
    check_same_shape("conv2d_transpose_forward", "x", x, (x.shape[0], p, q, kernel.shape[3]))
    y = empty(y_shape)
    pads = leading_pads(padding)
    _core.conv2d_transpose_forward(x, kernel, bias, y, strides, pads, dilation, groups, activation, alpha)
    return y
