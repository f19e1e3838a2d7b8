"""Names of types, and the windows that convolution and pooling slide over an image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[Any]
Pair = tuple[int, int]  # (along the height, along the width)
Padding = tuple[Pair, Pair]  # ((top, bottom), (left, right))


def pad_image(x: Array, padding: Padding, value: float = 0.0) -> Array:
    """Return a copy of x (N, H, W, C) with a border of value."""
    return np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=value)


def crop_image(x: Array, padding: Padding) -> Array:
    """Remove the border that pad_image put around x."""
    (top, bottom), (left, right) = padding
    return np.ascontiguousarray(x[:, top : x.shape[1] - bottom, left : x.shape[2] - right])


def windows(x: Array, size: Pair, strides: Pair, dilation: Pair = (1, 1)) -> Array:
    """Return v (N, P, Q, C, R, S), v[n,p,q,c,r,s] = x[n, p stride_h + r dilation_h, q stride_w + s dilation_w, c].

    It is a view: nothing is copied, and adding to v[..., r, s] adds to x (within one r, s every pixel occurs once).
    """
    span = [(length - 1) * step + 1 for length, step in zip(size, dilation, strict=True)]
    every_window = sliding_window_view(x, span, axis=(1, 2), writeable=True)
    return every_window[:, :: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]]
