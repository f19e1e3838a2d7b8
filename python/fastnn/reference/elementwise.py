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


def _mish_gate(x: Array) -> Array:
    """tanh(log(1 + exp(x))) = n / (n + 2) with n = e^2 + 2 e, e = exp(x); 1 from x = 40 on."""
    e = np.exp(np.minimum(x, 40))
    n = e * (e + 2)
    gate: Array = n / (n + 2)
    return gate


def _mish_backward(dy: Array, x: Array) -> Array:
    """dx for y = x gate, gate = tanh(v) with v = log(1 + exp(x)): gate' = (1 - gate^2) sigmoid(x)."""
    z = np.clip(x, -80.0, 40.0)
    gate = _mish_gate(z)
    return dy * (gate + z * (1.0 - gate) * (1.0 + gate) * sigmoid(z))


def _ramp(x: Array, bottom: float = 0.0) -> Array:
    """min(max(x, bottom), 1)."""
    return np.minimum(np.maximum(x, bottom), 1)


def _softsign(x: Array) -> Array:
    """x / (1 + |x|), whose limits are -1 and 1."""
    z = np.clip(x, -(2.0**100), 2.0**100)
    y: Array = z / (1 + np.abs(z))
    return y


def _root(x: Array, alpha: float) -> Array:
    """sqrt(x^2 + alpha), where x^2 cannot overflow."""
    return np.hypot(x, math.sqrt(alpha)).astype(x.dtype)


def _squareplus(x: Array, alpha: float) -> Array:
    """(root + x) / 2, which is alpha / (root - x) / 2 for x < 0."""
    half = 0.5 * _root(x, alpha) + 0.5 * np.abs(x)
    return np.where(x < 0, 0.25 * alpha / half, half).astype(x.dtype)


def _sparse_plus(x: Array) -> Array:
    """0, (x + 1)^2 / 4 or x."""
    return np.where(x >= 1, x, np.square(_ramp(0.5 * (x + 1)))).astype(x.dtype)


_SELU_SCALE = 1.0507009873554805
_SELU_ALPHA = 1.6732632423543772

# f(x, alpha) by name.
_FORWARD: dict[str, Callable[[Array, float], Array]] = {
    "linear": lambda x, alpha: x.copy(),
    "relu": lambda x, alpha: np.maximum(x, 0),
    "relu6": lambda x, alpha: np.minimum(np.maximum(x, 0), 6),
    "leaky_relu": lambda x, alpha: np.maximum(x, 0) + alpha * np.minimum(x, 0),
    "elu": lambda x, alpha: np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0)),
    "selu": lambda x, alpha: _SELU_SCALE * (np.maximum(x, 0) + _SELU_ALPHA * np.expm1(np.minimum(x, 0))),
    "celu": lambda x, alpha: np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0) / alpha),
    "exponential": lambda x, alpha: np.exp(x),
    "step": lambda x, alpha: np.where(np.isnan(x), x, x > 0).astype(x.dtype),
    "sign": lambda x, alpha: np.sign(x),
    "hard_tanh": lambda x, alpha: _ramp(x, -1.0),
    "hard_sigmoid": lambda x, alpha: _ramp((x + 3) / 6),
    "sparse_sigmoid": lambda x, alpha: _ramp((x + 1) / 2),
    "sigmoid": lambda x, alpha: sigmoid(x),
    "tanh": lambda x, alpha: np.tanh(x),
    "softplus": lambda x, alpha: softplus(x),
    "gelu": lambda x, alpha: x * _normal_cdf(x),
    "gelu_tanh": lambda x, alpha: x * _tanh_gate(_saturated(x)),
    "silu": lambda x, alpha: x * sigmoid(x),
    "mish": lambda x, alpha: x * _mish_gate(x),
    "hard_silu": lambda x, alpha: np.maximum(x, -3) * _ramp((np.maximum(x, -3) + 3) / 6),
    "softsign": lambda x, alpha: _softsign(x),
    "log_sigmoid": lambda x, alpha: -softplus(-x),
    "tanh_shrink": lambda x, alpha: x - np.tanh(x),
    "soft_shrink": lambda x, alpha: np.where(np.abs(x) <= alpha, 0, x - np.copysign(alpha, x)).astype(x.dtype),
    "hard_shrink": lambda x, alpha: np.where(np.abs(x) <= alpha, 0, x).astype(x.dtype),
    "squareplus": _squareplus,
    "sparse_plus": lambda x, alpha: _sparse_plus(x),
}

# dx from (dy, y, alpha) up to tanh, whose derivatives follow from the output, and from (dy, x, alpha) below.
_BACKWARD: dict[str, Callable[[Array, Any, float], Array]] = {
    "linear": lambda dy, y, alpha: dy.copy(),
    "relu": lambda dy, y, alpha: np.where(y > 0, dy, dy.dtype.type(0)),
    "relu6": lambda dy, y, alpha: dy * ((y > 0) & (y < 6)),
    "leaky_relu": lambda dy, y, alpha: np.where(y > 0, dy, dy * alpha),
    "elu": lambda dy, y, alpha: np.where(y > 0, dy, dy * (y + alpha)),
    "selu": lambda dy, y, alpha: dy * np.where(y > 0, _SELU_SCALE, y + _SELU_SCALE * _SELU_ALPHA).astype(dy.dtype),
    "celu": lambda dy, y, alpha: np.where(y > 0, dy, dy * (y / alpha + 1)),
    "exponential": lambda dy, y, alpha: dy * y,
    "step": lambda dy, y, alpha: dy * 0.0,
    "sign": lambda dy, y, alpha: dy * 0.0,
    "hard_tanh": lambda dy, y, alpha: dy * ((y > -1) & (y < 1)),
    "hard_sigmoid": lambda dy, y, alpha: dy * ((y > 0) & (y < 1)) / 6,
    "sparse_sigmoid": lambda dy, y, alpha: dy * ((y > 0) & (y < 1)) / 2,
    "sigmoid": lambda dy, y, alpha: dy * (y * (1.0 - y)),
    "tanh": lambda dy, y, alpha: dy * (1.0 - y * y),
    "softplus": lambda dy, x, alpha: dy * sigmoid(x),
    "gelu": lambda dy, x, alpha: _gelu_backward(dy, x),
    "gelu_tanh": lambda dy, x, alpha: _gelu_tanh_backward(dy, x),
    "silu": lambda dy, x, alpha: _gated_backward(dy, x, sigmoid(x), 1.0),
    "mish": lambda dy, x, alpha: _mish_backward(dy, x),
    "hard_silu": lambda dy, x, alpha: dy * np.where(np.abs(x) < 3, x / 3 + 0.5, x > 0).astype(dy.dtype),
    "softsign": lambda dy, x, alpha: dy * np.square(1 / (1 + np.abs(x))),
    "log_sigmoid": lambda dy, x, alpha: dy * sigmoid(-x),
    "tanh_shrink": lambda dy, x, alpha: dy * np.square(np.tanh(x)),
    "soft_shrink": lambda dy, x, alpha: dy * (np.abs(x) > alpha),
    "hard_shrink": lambda dy, x, alpha: dy * (np.abs(x) > alpha),
    "squareplus": lambda dy, x, alpha: dy * (_squareplus(x, alpha) / _root(x, alpha)),
    "sparse_plus": lambda dy, x, alpha: dy * _ramp(0.5 * (x + 1)),
}

ACTIVATIONS = tuple(_FORWARD)
FROM_OUTPUT = ACTIVATIONS[: ACTIVATIONS.index("tanh") + 1]


def activation_forward(x: Array, kind: str, alpha: float = 0.0) -> Array:
    """y = f(x), a new array; alpha is the number in the formula of leaky_relu, elu, celu, the shrinks and squareplus."""
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
