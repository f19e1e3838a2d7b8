"""Log-softmax, and rectifiers with more than one number: clipped, with learned slopes, with random slopes."""

from __future__ import annotations

import numpy as np

from .common import Array
from .random import uniform16


def log_softmax_forward(x: Array) -> Array:
    """y = x - max - log(sum of exp(x - max)), over the last axis."""
    shifted = x - x.max(axis=-1, keepdims=True)
    y: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return y


def log_softmax_backward(dy: Array, y: Array) -> Array:
    """dx = dy - exp(y) sum(dy), over the last axis."""
    dx: Array = dy - np.exp(y) * dy.sum(axis=-1, keepdims=True)
    return dx


def clipped_relu_forward(x: Array, slope: float, max_value: float, threshold: float) -> Array:
    """y = min(x, max_value) for x > threshold, else slope (x - threshold)."""
    below = slope * (np.minimum(x, threshold) - threshold) if slope else np.where(np.isnan(x), x, 0)
    return np.where(x > threshold, np.minimum(x, max_value), below)


def clipped_relu_backward(dy: Array, x: Array, slope: float, max_value: float, threshold: float) -> Array:
    """dx = dy times 1 for threshold < x < max_value, slope for x <= threshold, else 0."""
    dx: Array = dy * np.where(x > threshold, x < max_value, slope).astype(dy.dtype)
    return dx


def prelu_forward(x: Array, alpha: Array) -> Array:
    """y = x > 0 ? x : alpha x; x (rows, cols), alpha (cols,)."""
    return np.where(x > 0, x, alpha * x)


def prelu_backward(dy: Array, x: Array, alpha: Array, dalpha: Array | None = None) -> Array:
    """dx = dy times 1 where x > 0, alpha elsewhere; dalpha, if given, becomes the sum of dy x over the rows where x <= 0."""
    if dalpha is not None:
        dalpha[...] = np.where(x > 0, 0, dy * x).sum(axis=0, dtype=np.float64)
    return np.where(x > 0, dy, dy * alpha)


def _slopes(x: Array, lower: float, upper: float, seed: int, stream: int, used: Array) -> Array:
    """lower + (upper - lower) (r + 1/2) / 65536, r being the 16-bit number of the element."""
    numbers = uniform16(x.size, seed, stream, used).reshape(x.shape)
    return (lower + (upper - lower) * (numbers + 0.5) / 65536).astype(x.dtype)


def random_relu_forward(
    x: Array, lower: float, upper: float, seed: int, stream: int, counter: Array
) -> tuple[Array, Array]:
    """y = x > 0 ? x : a x with a slope a in [lower, upper] drawn for every element.

    counter (uint64, one value) is increased by one in place, so that the next call draws others. Returns y and a copy
    of the counter as it was, for the backward pass.
    """
    used = counter.copy()
    counter += 1
    return np.where(x > 0, x, _slopes(x, lower, upper, seed, stream, used) * x), used


def random_relu_backward(dy: Array, x: Array, lower: float, upper: float, seed: int, stream: int, used: Array) -> Array:
    """dx = dy times 1 where x > 0, elsewhere the slopes of the forward pass that returned used."""
    return np.where(x > 0, dy, dy * _slopes(x, lower, upper, seed, stream, used))
