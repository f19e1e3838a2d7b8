"""Max, average and global average pooling; every channel by itself."""

from __future__ import annotations

import numpy as np

from .common import Array, Padding, Pair, crop_image, pad_image, windows

NO_PADDING: Padding = ((0, 0), (0, 0))


def max_pool2d_forward(
    x: Array, *, pool_size: Pair, strides: Pair, padding: Padding = NO_PADDING
) -> tuple[Array, Array]:
    """y = largest value of each window, index = r S + s of the first one; x (N, H, W, C), both (N, P, Q, C).

    Padding never wins; a NaN does. The index is uint8 where the window has at most 256 pixels, else int32.
    """
    view = windows(pad_image(x, padding, -np.inf), pool_size, strides)
    _, p, q, _, r, s = view.shape

    # Start at the first real pixel of each window. The padding is -inf, which is never larger, so it is never moved to.
    y = np.full(view.shape[:4], -np.inf, x.dtype)
    first_row = np.maximum(padding[0][0] - np.arange(p) * strides[0], 0)
    first_column = np.maximum(padding[1][0] - np.arange(q) * strides[1], 0)
    first = first_row[:, None, None] * s + first_column[:, None]
    index = np.broadcast_to(first, y.shape).astype(np.uint8 if r * s <= 256 else np.int32, order="C")
    for tap in np.ndindex(r, s):
        value = view[..., *tap]
        better = ~(value <= y) & ~np.isnan(y)  # larger or NaN, and no NaN yet
        y = np.where(better, value, y)
        index[better] = tap[0] * s + tap[1]
    return y, index


def max_pool2d_backward(
    dy: Array,
    index: Array,
    x_shape: tuple[int, ...],
    relu_y: Array | None = None,
    *,
    pool_size: Pair,
    strides: Pair,
    padding: Padding = NO_PADDING,
) -> Array:
    """dx[n, h, w, c] += dy[n, p, q, c] at the pixel (h, w) that index[n, p, q, c] means, 0 elsewhere.

    With relu_y, the y of the pooling of outputs of a relu, only where it is > 0: dx is the gradient of what entered the relu.
    """
    if relu_y is not None:
        dy = np.where(relu_y > 0, dy, 0)
    n, height, width, channels = x_shape
    _, p, q, _ = dy.shape
    index = index.astype(np.int64)
    row = (np.arange(p) * strides[0] - padding[0][0])[:, None, None] + index // pool_size[1]
    column = (np.arange(q) * strides[1] - padding[1][0])[:, None] + index % pool_size[1]
    pixel = (np.arange(n).reshape(n, 1, 1, 1) * height + row) * width + column
    dx = np.zeros(n * height * width * channels, dy.dtype)
    np.add.at(dx, (pixel * channels + np.arange(channels)).ravel(), dy.ravel())
    return dx.reshape(x_shape)


def _window_counts(x: Array, pool_size: Pair, strides: Pair, padding: Padding) -> Array:
    """Return how many pixels of each window are not padding, (1, P, Q, 1), in the dtype of x (N, H, W, C)."""
    _, height, width, _ = x.shape
    ones = pad_image(np.ones((1, height, width, 1), x.dtype), padding)
    counts: Array = windows(ones, pool_size, strides).sum(axis=(4, 5))
    return counts


def avg_pool2d_forward(x: Array, *, pool_size: Pair, strides: Pair, padding: Padding = NO_PADDING) -> Array:
    """y = mean of each window, padding not counted; x (N, H, W, C), y (N, P, Q, C)."""
    view = windows(pad_image(x, padding), pool_size, strides)
    y = np.zeros(view.shape[:4], x.dtype)
    for tap in np.ndindex(*pool_size):
        y += view[..., *tap]
    y /= _window_counts(x, pool_size, strides, padding)
    return y


def avg_pool2d_backward(
    dy: Array, x_shape: tuple[int, ...], *, pool_size: Pair, strides: Pair, padding: Padding = NO_PADDING
) -> Array:
    """Every pixel of a window gets dy / (number of pixels in the window)."""
    dx = np.zeros(x_shape, dy.dtype)
    share = dy / _window_counts(dx, pool_size, strides, padding)
    padded = pad_image(dx, padding)
    view = windows(padded, pool_size, strides)
    for tap in np.ndindex(*pool_size):
        view[..., *tap] += share
    return crop_image(padded, padding)


def global_average_pool2d_forward(x: Array) -> Array:
    """y[n, c] = mean over all pixels of x[n, :, :, c]; x (N, H, W, C), y (N, C)."""
    y: Array = x.mean(axis=(1, 2), dtype=np.float64)
    return y.astype(x.dtype)


def global_average_pool2d_backward(dy: Array, x_shape: tuple[int, ...]) -> Array:
    """dx[n, h, w, c] = dy[n, c] / (H W)."""
    _, height, width, _ = x_shape
    share = dy / (height * width)
    return np.broadcast_to(share[:, None, None, :], x_shape).copy()
