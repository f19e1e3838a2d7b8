"""What optimizers do around their steps: norms and factors of gradients, rates, averages of weights."""

from __future__ import annotations

import numpy as np

from .common import Array


def dot(x: Array, y: Array, out: Array) -> None:
    """out[0] = sum of x y, in float64."""
    out[0] = np.dot(x.ravel().astype(np.float64), y.ravel().astype(np.float64))


def clip_factors(squares: Array, factors: Array, *, limit: float, scale: float = 1.0, joint: bool = False) -> None:
    """factors[i] = scale limit / max(scale sqrt(squares[i]), limit).

    joint: factors[0] alone, of the root of the sum of the squares, and NaN if that is infinite.
    """
    norms = scale * np.sqrt(squares.sum(keepdims=True) if joint else squares)
    factors[: norms.size] = scale * limit / np.maximum(norms, limit)
    if joint and not np.isfinite(norms[0]):
        factors[0] = np.nan


def inverse_norm(square: Array, factor: Array, *, epsilon: float) -> None:
    """factor[0] = 1 / (sqrt(square[0]) + epsilon)."""
    factor[0] = 1.0 / (np.sqrt(square[0]) + epsilon)


def take_rate(rates: Array, first: Array, counter: Array, rate: Array) -> None:
    """rate[0] = rates[counter[0] - first[0]], the nearest one there is if that lies outside."""
    rate[0] = rates[min(max(int(counter.item()) - int(first.item()), 0), rates.size - 1)]


def moving_average(w: Array, average: Array, iterations: Array, *, momentum: float) -> None:
    """average = w where iterations[0] is 0, else average += (w - average) (1 - momentum)."""
    if iterations.item() == 0:
        average[...] = w
    else:
        average += (w - average) * (1.0 - momentum)
