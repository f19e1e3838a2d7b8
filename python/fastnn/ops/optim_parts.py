"""What optimizers do around their steps: norms and factors of gradients, rates, averages of weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fastnn import _core, config
from fastnn.checks import Float32
from fastnn.ops.base import empty, twin
from fastnn.ops.optim import Product, source_of
from fastnn.ops.recording import recording


@twin
def prepare_gradient(
    g: Float32,
    *,
    product: Product | None = None,
    factor: Float32 | None = None,
    limit: float = math.inf,
) -> Float32:
    """Return the gradient g, or x^T dy of a product, times factor, cut to [-limit, limit]."""
    y = empty(g.shape)
    _core.prepare_gradient(g, y, source_of(g, product, factor, limit))
    return y


@twin
def dot(x: Float32, y: Float32, out: NDArray[np.float64]) -> None:
    """Write the sum of x y, added up in double, to out[0]."""
    _core.dot(x, y, out)


@twin
def clip_factors(
    squares: NDArray[np.float64], factors: Float32, *, limit: float, scale: float = 1.0, joint: bool = False
) -> None:
    """Write what brings gradients of these squared norms, scaled, to a norm of at most limit.

    factors[i] = scale limit / max(scale sqrt(squares[i]), limit); joint: factors[0] alone, of the root of the sum of the squares.
    """
    _core.clip_factors(squares, factors, scale, limit, joint)


@twin
def inverse_norm(square: NDArray[np.float64], factor: Float32, *, epsilon: float) -> None:
    """Do factor[0] = 1 / (sqrt(square[0]) + epsilon)."""
    _core.inverse_norm(square, factor, epsilon)


@twin
def take_rate(rates: Float32, first: NDArray[np.int64], counter: NDArray[np.int64], rate: Float32) -> None:
    """Do rate[0] = rates[counter[0] - first[0]], the nearest one there is if that lies outside."""
    _core.take_rate(rates, first, counter, rate)


@twin
def moving_average(w: Float32, average: Float32, iterations: NDArray[np.int64], *, momentum: float) -> None:
    """Do average = w where iterations[0] is 0, else average += (w - average) (1 - momentum)."""
    _core.moving_average(w, average, iterations, momentum)


def when_due(counter: NDArray[np.int64], every: int, action: Callable[[], None]) -> None:
    """Do something in the steps in which (counter[0] + 1) % every is 0; a tape records it, and does it in those steps.

    Args:
        counter: of the steps before this one; read now, and before every recorded call of the action.
        action: calls ops and decides nothing by what arrays hold.
    """
    if not recording() or config.backend() == "numpy":
        if (int(counter[0]) + 1) % every == 0:
            action()
        return
    _core.only_every(counter, every)
    try:
        action()
    finally:
        _core.only_every(None, 1)
