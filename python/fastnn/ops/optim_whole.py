"""Optimizer steps that look at a whole parameter before they change it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn.checks import Float32
from fastnn.ops.base import twin
from fastnn.ops.optim import Product, source_of, update_of


@twin
def lamb_step(
    w: Float32,
    g: Float32,
    m: Float32,
    v: Float32,
    lr: Float32,
    iterations: NDArray[np.int64],
    *,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    weight_decay: float = 0.0,
    product: Product | None = None,
    factor: Float32 | None = None,
    limit: float = math.inf,
) -> None:
    """Do one step of Adam's direction, as long as lr |w|, as step number iterations[0] + 1; w is one whole parameter."""
    common = update_of(w, g, lr, weight_decay, product, factor, limit)
    _core.lamb_step(common, m, v, iterations, beta_1, beta_2, epsilon)


@twin
def adafactor_step(
    w: Float32,
    g: Float32,
    row: Float32 | None,
    column: Float32,
    lr: Float32,
    iterations: NDArray[np.int64],
    *,
    shape: Sequence[int],
    beta_2_decay: float,
    epsilon_1: float,
    epsilon_2: float,
    clip_threshold: float,
    weight_decay: float = 0.0,
) -> None:
    """Do one Adafactor step of a whole parameter of this shape, as step number iterations[0] + 1.

    row (shape[:-1]) and column (shape[:-2] + shape[-1:]): running means of g^2. Of a vector row is None, column as long as w.
    """
    common = update_of(w, g, lr, weight_decay, None, None, math.inf)
    rows, cols = shape[-2:] if row is not None else (1, w.size)
    blocks = w.size // max(rows * cols, 1)
    decay, threshold = beta_2_decay, clip_threshold
    _core.adafactor_step(common, row, column, blocks, rows, cols, iterations, decay, epsilon_1, epsilon_2, threshold)


@twin
def muon_momentum(
    g: Float32,
    m: Float32,
    u: Float32,
    *,
    momentum: float,
    nesterov: bool = True,
    product: Product | None = None,
    factor: Float32 | None = None,
    limit: float = math.inf,
) -> None:
    """Do m = momentum m + g; u = m, or g + momentum m with nesterov."""
    _core.muon_momentum(g, m, u, source_of(m, product, factor, limit), momentum, nesterov)
