"""Optimizer steps: w in place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn.checks import Float32
from fastnn.ops.base import (
    twin,
)


@twin
def sgd_step(w: Float32, g: Float32, lr: Float32, *, weight_decay: float = 0.0) -> None:
    """Do w -= lr g."""
    _core.sgd_step(w, g, lr, weight_decay)


@twin
def momentum_step(
    w: Float32,
    g: Float32,
    v: Float32,
    lr: Float32,
    *,
    momentum: float,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> None:
    """Do v = momentum v - lr g; w += v, or momentum v - lr g with nesterov."""
    _core.momentum_step(w, g, v, lr, momentum, nesterov, weight_decay)


@twin
def adagrad_step(w: Float32, g: Float32, a: Float32, lr: Float32, *, epsilon: float, weight_decay: float = 0.0) -> None:
    """Do a += g^2; w -= lr g / sqrt(a + epsilon)."""
    _core.adagrad_step(w, g, a, lr, epsilon, weight_decay)


@twin
def rmsprop_step(
    w: Float32,
    g: Float32,
    v: Float32,
    mean: Float32 | None,
    velocity: Float32 | None,
    lr: Float32,
    *,
    rho: float,
    momentum: float,
    epsilon: float,
    weight_decay: float = 0.0,
) -> None:
    """Do v = rho v + (1 - rho) g^2; w -= lr g / sqrt(v + epsilon); mean: centered, velocity: with momentum."""
    _core.rmsprop_step(w, g, v, mean, velocity, lr, rho, momentum, epsilon, weight_decay)


@twin
def adam_step(
    w: Float32,
    g: Float32,
    m: Float32,
    v: Float32,
    vhat: Float32 | None,
    lr: Float32,
    iterations: NDArray[np.int64],
    *,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    weight_decay: float = 0.0,
) -> None:
    """Do one Adam step (AMSGrad if vhat is given) as step number iterations[0] + 1; iterations is not changed."""
    _core.adam_step(w, g, m, v, vhat, lr, iterations, beta_1, beta_2, epsilon, weight_decay)
