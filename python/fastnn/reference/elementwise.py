"""Activation functions and softmax, forward and backward.

exp is only ever taken of numbers <= 0, so that nothing overflows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .common import Array

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), which for x < 0 is exp(x) / (1 + exp(x))."""
    return np.exp(np.minimum(x, 0)) / (1.0 + np.exp(-np.abs(x)))


def softplus(x: Array) -> Array:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _normal_cdf(x: Array) -> Array:
    """(1 + erf(x / sqrt 2)) / 2 = erfc(-x / sqrt 2) / 2."""
    probability: Array = 0.5 * _erfc(x.astype(np.float64) / -math.sqrt(2.0))
    return probability.astype(x.dtype)


def _saturated(x: Array) -> Array:
    """Return x within [-40, 40]: the gates of gelu are exactly 0 or 1 from there on, and x^3 cannot overflow."""
    return np.clip(x, -40.0, 40.0)


def _normal_density(x: Array) -> Array:
    """exp(-x^2 / 2) / sqrt(2 pi)."""
    return np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def _tanh_gate(x: Array) -> Array:
    """(1 + tanh(u)) / 2 = sigmoid(2 u), u = sqrt(2/pi) (x + 0.044715 x^3)."""
    return sigmoid(2.0 * math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x))


def _gated_backward(dy: Array, x: Array, gate: Array, slope: Array | float) -> Array:
    """dx for y = x gate, gate = sigmoid(v(x)), slope = v'(x): the slope of gate is gate (1 - gate) v'."""
    return dy * gate * (1.0 + x * (1.0 - gate) * slope)


def _gelu_backward(dy: Array, x: Array) -> Array:
    """dx for y = x cdf(x), where cdf' = density."""
    z = _saturated(x)
    slope: Array = _normal_cdf(z) + z * _normal_density(z)
    return dy * slope


def _gelu_tanh_backward(dy: Array, x: Array) -> Array:
    """dx for y = x sigmoid(2 u(x))."""
    z = _saturated(x)
    slope = 2.0 * math.sqrt(2.0 / math.pi) * (1.0 + 3.0 * 0.044715 * z * z)
    return _gated_backward(dy, z, _tanh_gate(z), slope)


# f(x, alpha) by name.
_FORWARD: dict[str, Callable[[Array, float], Array]] = {
    "linear": lambda x, alpha: x.copy(),
    "relu": lambda x, alpha: np.maximum(x, 0),
    "leaky_relu": lambda x, alpha: np.maximum(x, 0) + alpha * np.minimum(x, 0),
    "elu": lambda x, alpha: np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0)),
    "sigmoid": lambda x, alpha: sigmoid(x),
    "tanh": lambda x, alpha: np.tanh(x),
    "softplus": lambda x, alpha: softplus(x),
    "gelu": lambda x, alpha: x * _normal_cdf(x),
    "gelu_tanh": lambda x, alpha: x * _tanh_gate(_saturated(x)),
    "silu": lambda x, alpha: x * sigmoid(x),
}

# dx from (dy, y, alpha) up to tanh, whose derivatives follow from the output, and from (dy, x, alpha) below.
_BACKWARD: dict[str, Callable[[Array, Any, float], Array]] = {
    "linear": lambda dy, y, alpha: dy.copy(),
    "relu": lambda dy, y, alpha: dy * (y > 0),
    "leaky_relu": lambda dy, y, alpha: np.where(y > 0, dy, dy * alpha),
    "elu": lambda dy, y, alpha: np.where(y > 0, dy, dy * (y + alpha)),
    "sigmoid": lambda dy, y, alpha: dy * (y * (1.0 - y)),
    "tanh": lambda dy, y, alpha: dy * (1.0 - y * y),
    "softplus": lambda dy, x, alpha: dy * sigmoid(x),
    "gelu": lambda dy, x, alpha: _gelu_backward(dy, x),
    "gelu_tanh": lambda dy, x, alpha: _gelu_tanh_backward(dy, x),
    "silu": lambda dy, x, alpha: _gated_backward(dy, x, sigmoid(x), 1.0),
}

ACTIVATIONS = tuple(_FORWARD)
FROM_OUTPUT = ("linear", "relu", "leaky_relu", "elu", "sigmoid", "tanh")


def activation_forward(x: Array, kind: str, alpha: float = 0.0) -> Array:
    """y = f(x), a new array; alpha is the slope of leaky_relu and the scale of elu."""
    return _FORWARD[kind](x, alpha)


def activation_backward(
    dy: Array,
    x: Array | None,
    y: Array | None,
    kind: str,
    alpha: float = 0.0,
    sums: Array | None = None,
) -> Array:
    """dx = dy f'(x), computed from y for the kinds in FROM_OUTPUT (x may be None), else from x (y may be None).

    sums, if given, becomes the sum of dx over all axes but the last.
    """
    dx = _BACKWARD[kind](dy, y if kind in FROM_OUTPUT else x, alpha)
    if sums is not None:
        sums[...] = dx.sum(axis=tuple(range(dx.ndim - 1)), dtype=np.float64)
    return dx


def softmax_forward(x: Array) -> Array:
    """y = exp(x - max) / sum of exp(x - max), over the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    y: Array = e / e.sum(axis=-1, keepdims=True)
    return y


def softmax_backward(dy: Array, y: Array) -> Array:
    """dx = y (dy - sum(dy y)), over the last axis."""
    dx: Array = y * (dy - (dy * y).sum(axis=-1, keepdims=True))
    return dx
