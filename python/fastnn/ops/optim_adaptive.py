"""Optimizer steps in which every weight has a step size of its own; what they share stands in `fastnn.ops.optim`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn.checks import Float32
from fastnn.ops.base import twin
from fastnn.ops.optim import Product, update_of


@twin
def adadelta_step(
    w: Float32,
    g: Float32,
    a: Float32,
    d: Float32,
    lr: Float32,
    *,
    rho: float,
    epsilon: float,
    weight_decay: float = 0.0,
    product: Product | None = None,
    factor: Float32 | None = None,
    limit: float = math.inf,
) -> None:
    """Do a = rho a + (1 - rho) g^2; u = g sqrt(d + epsilon) / sqrt(a + epsilon); d = rho d + (1 - rho) u^2; w -= lr u."""
    common = update_of(w, g, lr, weight_decay, product, factor, limit)
    _core.adadelta_step(common, a, d, rho, epsilon)


@twin
def adamax_step(
    w: Float32,
    g: Float32,
    m: Float32,
    u: Float32,
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
    """Do m += (g - m) (1 - beta_1); u = max(beta_2 u, |g|); w -= lr / (1 - beta_1^t) m / (u + epsilon), t = iterations[0] + 1."""
    common = update_of(w, g, lr, weight_decay, product, factor, limit)
    _core.adamax_step(common, m, u, iterations, beta_1, beta_2, epsilon)


@twin
def nadam_step(
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
    """Do one Nadam step as step number iterations[0] + 1."""
    common = update_of(w, g, lr, weight_decay, product, factor, limit)
    _core.nadam_step(common, m, v, iterations, beta_1, beta_2, epsilon)


@twin
def lion_step(
    w: Float32,
    g: Float32,
    m: Float32,
    lr: Float32,
    *,
    beta_1: float,
    beta_2: float,
    weight_decay: float = 0.0,
    product: Product | None = None,
    factor: Float32 | None = None,
    limit: float = math.inf,
) -> None:
    """Do w -= lr sign(beta_1 m + (1 - beta_1) g); m = beta_2 m + (1 - beta_2) g."""
    common = update_of(w, g, lr, weight_decay, product, factor, limit)
    _core.lion_step(common, m, beta_1, beta_2)


@twin
def ftrl_step(
    w: Float32,
    g: Float32,
    a: Float32,
    z: Float32,
    lr: Float32,
    *,
    power: float,
    l1: float,
    l2: float,
    shrinkage: float,
    beta: float,
    weight_decay: float = 0.0,
    product: Product | None = None,
    factor: Float32 | None = None,
    limit: float = math.inf,
) -> None:
    """Do one step of "follow the regularized leader"; nothing if lr is 0."""
    common = update_of(w, g, lr, weight_decay, product, factor, limit)
    _core.ftrl_step(common, a, z, power, l1, l2, shrinkage, beta)
