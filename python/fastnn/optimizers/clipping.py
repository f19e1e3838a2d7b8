"""What gradients are multiplied by before an update: a scale, and what brings down their norms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastnn import ops
from fastnn.checks import Float32


def gradient_factors(
    gradients: Sequence[Float32], scale: float, clipnorm: float | None, global_clipnorm: float | None
) -> Sequence[Float32 | None]:
    """Return what every gradient is multiplied by, None for 1: scale, and what brings down the norms of the scaled ones."""
    count, limit = len(gradients), clipnorm or global_clipnorm
    if limit is None or not gradients:
        return [None if scale == 1 else np.array([scale], np.float32)] * count
    squares, factors = ops.empty((count,), np.dtype(np.float64)), ops.empty((count if clipnorm else 1,))
    for i, g in enumerate(gradients):
        ops.dot(g, g, squares[i : i + 1])
    ops.clip_factors(squares, factors, limit=limit, scale=scale, joint=not clipnorm)
    return [factors[i : i + 1] if clipnorm else factors for i in range(count)]
