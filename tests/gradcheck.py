"""Random arrays, and the check of a gradient against the slope of the function it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

STEP = 1e-5
# Errors of a central difference in float64: STEP^2 f''' and 1e-16 / STEP, both about 1e-10 of the size of the numbers.
TOLERANCE = 1e-8


def normal(*shape: int, seed: int = 0) -> Array:
    """Return float64 normal numbers, the same ones for the same shape and seed."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def assert_gradient(f: Callable[[Array], float], x: Array, dx: Array) -> None:
    """Check that <dx, v> is the slope of the number f(x) along v, for three random directions v."""
    assert dx.shape == x.shape, f"gradient of shape {dx.shape} for an array of shape {x.shape}"
    for seed in range(3):
        v = normal(*x.shape, seed=100 + seed)
        slope = (f(x + STEP * v) - f(x - STEP * v)) / (2 * STEP)
        bound = TOLERANCE * (1 + float(np.linalg.norm(dx) * np.linalg.norm(v)))
        claimed = float(np.vdot(dx, v))
        assert abs(claimed - slope) < bound, f"gradient says {claimed}, the function rises by {slope}"
