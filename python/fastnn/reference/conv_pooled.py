"""2-D convolution and max pooling of its output by windows side by side, as one: the two one after the other."""

from __future__ import annotations

from .common import Array, Padding, Pair
from .conv import conv2d_backward_filter, conv2d_backward_input, conv2d_forward
from .pool import NO_PADDING, max_pool2d_backward, max_pool2d_forward


def max_pooled_conv2d_forward(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    pool_size: Pair,
    strides: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    dilation: Pair = (1, 1),
    groups: int = 1,
    activation: str = "linear",
    alpha: float = 0.0,
) -> tuple[Array, Array]:
    """y, index = the largest value of each window of f(conv(x, kernel) + bias), and its place in the window."""
    y = conv2d_forward(
        x,
        kernel,
        bias,
        strides=strides,
        padding=padding,
        dilation=dilation,
        groups=groups,
        activation=activation,
        alpha=alpha,
    )
    return max_pool2d_forward(y, pool_size=pool_size, strides=pool_size)


def max_pooled_conv2d_backward_input(
    dy: Array,
    index: Array,
    relu_y: Array | None,
    kernel: Array,
    x_shape: tuple[int, ...],
    *,
    pool_size: Pair,
    strides: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    dilation: Pair = (1, 1),
    groups: int = 1,
    relu_output: Array | None = None,
) -> Array:
    """dx of the convolution, of a gradient that is dy where index says and 0 elsewhere."""
    shape = _output_shape(x_shape, kernel.shape, strides, padding, dilation)
    dz = max_pool2d_backward(dy, index, shape, relu_y, pool_size=pool_size, strides=pool_size)
    return conv2d_backward_input(
        dz,
        kernel,
        x_shape,
        strides=strides,
        padding=padding,
        dilation=dilation,
        groups=groups,
        relu_output=relu_output,
    )


def max_pooled_conv2d_backward_filter(
    x: Array,
    dy: Array,
    index: Array,
    relu_y: Array | None,
    dkernel: Array,
    dbias: Array | None = None,
    *,
    pool_size: Pair,
    strides: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> None:
    """dkernel and dbias of the convolution, both written, of a gradient that is dy where index says and 0 elsewhere."""
    shape = _output_shape(x.shape, dkernel.shape, strides, padding, dilation)
    dz = max_pool2d_backward(dy, index, shape, relu_y, pool_size=pool_size, strides=pool_size)
    conv2d_backward_filter(x, dz, dkernel, dbias, strides=strides, padding=padding, dilation=dilation, groups=groups)


def _output_shape(
    x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], strides: Pair, padding: Padding, dilation: Pair
) -> tuple[int, ...]:
    """Return (N, P, Q, K)."""
    p, q = (
        (x_shape[1 + i] + sum(padding[i]) - dilation[i] * (kernel_shape[i] - 1) - 1) // strides[i] + 1 for i in (0, 1)
    )
    return x_shape[0], p, q, kernel_shape[3]
