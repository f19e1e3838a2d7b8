"""2-D convolution as a matrix product: every window of the image becomes one row of a matrix ("im2col").

With groups, channels are split into blocks that do not see each other: G products side by side. groups == channels is
the depthwise convolution.
"""

from __future__ import annotations

import numpy as np

from .common import Array, Padding, Pair, crop_image, pad_image, windows
from .dense import add_bias_and_activate, column_sums
from .elementwise import activation_backward


def _columns(view: Array, groups: int) -> Array:
    """Copy the windows (N, P, Q, C, R, S) into matrices (G, N P Q, R S C/G)."""
    n, p, q, channels, r, s = view.shape
    depth = channels // groups
    split = view.reshape(n, p, q, groups, depth, r, s).transpose(3, 0, 1, 2, 5, 6, 4)
    return split.reshape(groups, n * p * q, r * s * depth)


def _split_last(x: Array, groups: int) -> Array:
    """View (..., K) as matrices (G, product of the rest, K/G)."""
    rows = int(np.prod(x.shape[:-1]))
    return x.reshape(rows, groups, x.shape[-1] // groups).transpose(1, 0, 2)


def conv2d_forward(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    strides: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
    activation: str = "linear",
    alpha: float = 0.0,
) -> Array:
    """y = f(conv(x, kernel) + bias): x (N, H, W, C), kernel (R, S, C/groups, K), y (N, P, Q, K).

    conv(x, kernel)[n, p, q, k] = sum over r, s, c of
    x[n, p stride_h + r dilation_h - top, q stride_w + s dilation_w - left, c] kernel[r, s, c, k].
    """
    view = windows(pad_image(x, padding), kernel.shape[:2], strides, dilation)
    y = _columns(view, groups) @ _split_last(kernel, groups)  # (G, N P Q, K/G)
    y = y.transpose(1, 0, 2).reshape(*view.shape[:3], kernel.shape[3])
    return add_bias_and_activate(y, bias, activation, alpha)


def conv2d_backward_input(
    dy: Array,
    kernel: Array,
    x_shape: tuple[int, ...],
    *,
    strides: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
    relu_output: Array | None = None,
    onto: Array | None = None,
) -> Array:
    """dx = the gradient of every window, dy kernel^T, added up where the windows lay ("col2im").

    relu_output: x, where it is the output of a relu; dx is then multiplied by the relu's derivative. onto: an array that dx is
    added to before that; it is changed, and returned.
    """
    n, p, q, _ = dy.shape
    r, s, depth, _ = kernel.shape
    dcolumns = _split_last(dy, groups) @ _split_last(kernel, groups).swapaxes(1, 2)  # (G, N P Q, R S C/G)
    dcolumns = dcolumns.reshape(groups, n, p, q, r, s, depth).transpose(1, 2, 3, 0, 6, 4, 5)

    padded = pad_image(np.zeros(x_shape, dy.dtype), padding)
    view = windows(padded, (r, s), strides, dilation)
    for tap in np.ndindex(r, s):
        view[..., *tap] += dcolumns[..., *tap].reshape(n, p, q, groups * depth)
    dx = crop_image(padded, padding)
    if onto is not None:
        dx = onto + dx
    if relu_output is not None:
        dx = activation_backward(dx, None, relu_output, "relu")
    if onto is None:
        return dx
    onto[...] = dx
    return onto


def conv2d_backward_filter(
    x: Array,
    dy: Array,
    dkernel: Array,
    dbias: Array | None = None,
    *,
    strides: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> None:
    """dkernel[r,s,c,k] = sum over n, p, q of x[pixel under r, s, c] dy[n,p,q,k], dbias = sum of dy, both written."""
    view = windows(pad_image(x, padding), dkernel.shape[:2], strides, dilation)
    product = _columns(view, groups).swapaxes(1, 2) @ _split_last(dy, groups)  # (G, R S C/G, K/G)
    dkernel[...] = product.transpose(1, 0, 2).reshape(dkernel.shape)
    if dbias is not None:
        dbias[...] = column_sums(dy.reshape(-1, dy.shape[-1]))


def conv2d_transpose_forward(
    x: Array,
    kernel: Array,
    size: Pair,
    bias: Array | None = None,
    *,
    strides: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
    activation: str = "linear",
    alpha: float = 0.0,
) -> Array:
    """y = f(z + bias): x (N, P, Q, K), kernel (R, S, C/groups, K), z (N, *size, C).

    z[n, h, w, c] = sum over r, s, k and the p, q with p stride_h + r dilation_h - top = h, q stride_w + s dilation_w - left = w
    of x[n, p, q, k] kernel[r, s, c, k]: the input gradient of a convolution.
    """
    shape = (len(x), *size, kernel.shape[2] * groups)
    z = conv2d_backward_input(x, kernel, shape, strides=strides, padding=padding, dilation=dilation, groups=groups)
    return add_bias_and_activate(z, bias, activation, alpha)
