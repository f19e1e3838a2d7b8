"""Optimizer steps that look at a whole parameter before they change it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .common import Array
from .optim import Product, decay, prepare_gradient


def lamb_step(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    lr: Array,
    iterations: Array,
    *,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    weight_decay: float = 0.0,
    product: Product | None = None,
    factor: Array | None = None,
    limit: float = math.inf,
) -> None:
    """Adam's direction u (with both corrections), scaled to |w|: w -= lr |w| / |u| u; the ratio is 1 where a norm is 0."""
    g, rate = prepare_gradient(g, product=product, factor=factor, limit=limit), decay(w, lr, weight_decay)
    t = int(iterations.item()) + 1
    m += (g - m) * (1.0 - beta_1)
    v += (g * g - v) * (1.0 - beta_2)
    u = m / (1.0 - beta_1**t) / (np.sqrt(v / (1.0 - beta_2**t)) + epsilon)
    w_norm, u_norm = (float(np.sqrt(np.sum(np.square(x, dtype=np.float64)))) for x in (w, u))
    ratio = w_norm / u_norm if w_norm > 0 and u_norm > 0 else 1.0
    w -= rate * ratio * u


def _root_mean_square(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def adafactor_step(
    w: Array,
    g: Array,
    row: Array | None,
    column: Array,
    lr: Array,
    iterations: Array,
    *,
    shape: Sequence[int],
    beta_2_decay: float,
    epsilon_1: float,
    epsilon_2: float,
    clip_threshold: float,
    weight_decay: float = 0.0,
) -> None:
    """v, the running mean of s = g^2 + epsilon_1, weighted by h = t^beta_2_decay, kept as means over rows and columns.

    row = (1 - h) row + h mean of s over the last axis; column: over the last but one; v = row column / mean of row
    Of a vector (row is None) v itself is kept in column.
    u = g / sqrt(v); w -= max(epsilon_2, rms(w)) min(lr, 1 / sqrt(t)) u / max(1, rms(u) / clip_threshold), t = iterations + 1
    """
    if w.size == 0:
        return
    rate, t = decay(w, lr, weight_decay), int(iterations.item()) + 1
    h, square = float(t) ** beta_2_decay, np.square(g, dtype=np.float64) + epsilon_1
    v = column
    if row is None:
        column[...] = (1 - h) * column + h * square
    else:
        square = square.reshape(shape)
        rows, columns = row.reshape(square.shape[:-1]), column.reshape(square[..., 0, :].shape)
        rows[...] = (1 - h) * rows + h * square.mean(-1)
        columns[...] = (1 - h) * columns + h * square.mean(-2)
        v = (rows / rows.mean(-1, keepdims=True))[..., None] * columns[..., None, :]
    u = g / np.sqrt(v.reshape(g.shape))
    step = max(epsilon_2, _root_mean_square(w)) * min(rate, t**-0.5)
    w -= step / max(1.0, _root_mean_square(u) / clip_threshold) * u


def muon_momentum(
    g: Array,
    m: Array,
    u: Array,
    *,
    momentum: float,
    nesterov: bool = True,
    product: Product | None = None,
    factor: Array | None = None,
    limit: float = math.inf,
) -> None:
    """m = momentum m + g; u = m, or g + momentum m with nesterov."""
    g = prepare_gradient(g, product=product, factor=factor, limit=limit).reshape(m.shape)
    m[...] = momentum * m + g
    u[...] = g + momentum * m if nesterov else m
