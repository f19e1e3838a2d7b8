"""3-D convolution as a sum of 2-D ones: tap t of the depth sees every image's slices from t dilation on, `stride` apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .common import Array, Pair
from .conv import conv2d_backward_filter, conv2d_backward_input, conv2d_forward
from .dense import add_bias_and_activate, column_sums
from .elementwise import activation_backward

Triple = tuple[int, int, int]
Padding3 = tuple[Pair, Pair, Pair]

ONE: Triple = (1, 1, 1)
NO_PADDING_3: Padding3 = ((0, 0), (0, 0), (0, 0))


def _pad_depth(x: Array, pads: Pair) -> Array:
    """Return a copy of x (N, D, H, W, C) with slices of zeros in front and behind."""
    return np.pad(x, ((0, 0), pads, (0, 0), (0, 0), (0, 0)))


def _slices(padded: Array, taps: int, stride: int, dilation: int) -> Iterator[Array]:
    """Yield for every tap the slices (N, O, H, W, C) that it sees, as a view."""
    places = (padded.shape[1] - dilation * (taps - 1) - 1) // stride + 1
    for t in range(taps):
        yield padded[:, t * dilation :][:, : (places - 1) * stride + 1 : stride]


def _across(strides: Triple, padding: Padding3, dilation: Triple, groups: int) -> dict[str, Any]:
    """Return the options of the 2-D convolutions."""
    return {"strides": strides[1:], "padding": padding[1:], "dilation": dilation[1:], "groups": groups}


def _flat(x: Array) -> Array:
    """Make the slices of all samples images of one batch."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def conv3d_forward(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    strides: Triple = ONE,
    padding: Padding3 = NO_PADDING_3,
    dilation: Triple = ONE,
    groups: int = 1,
    activation: str = "linear",
    alpha: float = 0.0,
) -> Array:
    """y = f(conv(x, kernel) + bias): x (N, D, H, W, C), kernel (T, R, S, C/groups, K), y (N, O, P, Q, K)."""
    across = _across(strides, padding, dilation, groups)
    seen = list(_slices(_pad_depth(x, padding[0]), len(kernel), strides[0], dilation[0]))
    parts = [conv2d_forward(_flat(part), w, **across) for part, w in zip(seen, kernel, strict=True)]
    y = np.sum(parts, axis=0, dtype=x.dtype)
    return add_bias_and_activate(y.reshape(*seen[0].shape[:2], *y.shape[1:]), bias, activation, alpha)


def conv3d_backward_input(
    dy: Array,
    kernel: Array,
    x_shape: tuple[int, ...],
    *,
    strides: Triple = ONE,
    padding: Padding3 = NO_PADDING_3,
    dilation: Triple = ONE,
    groups: int = 1,
    relu_output: Array | None = None,
) -> Array:
    """dx = what every tap's 2-D convolution gives back to the slices that it saw, added up."""
    across = _across(strides, padding, dilation, groups)
    padded = _pad_depth(np.zeros(x_shape, dy.dtype), padding[0])
    for seen, w in zip(_slices(padded, len(kernel), strides[0], dilation[0]), kernel, strict=True):
        seen += conv2d_backward_input(_flat(dy), w, _flat(seen).shape, **across).reshape(seen.shape)
    dx = np.ascontiguousarray(padded[:, padding[0][0] : padded.shape[1] - padding[0][1]])
    return dx if relu_output is None else activation_backward(dx, None, relu_output, "relu")


def conv3d_backward_filter(
    x: Array,
    dy: Array,
    dkernel: Array,
    dbias: Array | None = None,
    *,
    strides: Triple = ONE,
    padding: Padding3 = NO_PADDING_3,
    dilation: Triple = ONE,
    groups: int = 1,
) -> None:
    """dkernel[t] = that of the 2-D convolution of tap t, dbias = sum of dy, both written."""
    across = _across(strides, padding, dilation, groups)
    seen = _slices(_pad_depth(x, padding[0]), len(dkernel), strides[0], dilation[0])
    for part, dw in zip(seen, dkernel, strict=True):
        conv2d_backward_filter(_flat(part), _flat(dy), dw, **across)
    if dbias is not None:
        dbias[...] = column_sums(dy.reshape(-1, dy.shape[-1]))


def conv3d_transpose_forward(
    x: Array,
    kernel: Array,
    size: Triple,
    bias: Array | None = None,
    *,
    strides: Triple = ONE,
    padding: Padding3 = NO_PADDING_3,
    dilation: Triple = ONE,
    groups: int = 1,
    activation: str = "linear",
    alpha: float = 0.0,
) -> Array:
    """y = f(z + bias): x (N, O, P, Q, K), kernel (T, R, S, C/groups, K), z (N, *size, C) the input gradient of a convolution."""
    shape = (len(x), *size, kernel.shape[3] * groups)
    z = conv3d_backward_input(x, kernel, shape, strides=strides, padding=padding, dilation=dilation, groups=groups)
    return add_bias_and_activate(z, bias, activation, alpha)
