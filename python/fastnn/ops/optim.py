"""Optimizer steps: w in place.

What all of them take: weight_decay w is taken off first, w -= w weight_decay lr. product = (x, dy): the gradient is x^T dy, (N, D)
(N, K) for w of D K values; g is not read, and the gradient is never stored. factor: one value that the gradient is multiplied by;
limit: then it is cut to [-limit, limit].
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core, checks
from fastnn.checks import Float32
from fastnn.ops.base import as_float32, twin

Product = tuple[Float32, Float32]


def checked_product(w: Float32, product: Product | None) -> Product | None:
    """Return x and dy as float32, after checking that their product has the size of w."""
    if product is None:
        return None
    x, dy = (as_float32("optimizer step", name, part) for name, part in zip(("x", "dy"), product))
    if x.ndim != 2 or dy.ndim != 2 or len(x) != len(dy) or x.shape[1] * dy.shape[1] != w.size or w.size == 0:
        checks.fail("optimizer step", f"a product of {w.size} values", f"shapes {x.shape} and {dy.shape}")
    return x, dy


def source_of(w: Float32, product: Product | None, factor: Float32 | None, limit: float) -> Any:
    """Return what the gradient of w is made of."""
    return _core.Gradient(checked_product(w, product), factor, limit)


def update_of(
    w: Float32,
    g: Float32,
    lr: Float32,
    weight_decay: float,
    product: Product | None,
    factor: Float32 | None,
    limit: float,
) -> Any:
    """Return what all steps take, for the extension module."""
    return _core.Common(w, g, lr, weight_decay, source_of(w, product, factor, limit))


@twin
def sgd_step(
    w: Float32,
    g: Float32,
    lr: Float32,
    *,
    weight_decay: float = 0.0,
    product: Product | None = None,
    factor: Float32 | None = None,
    limit: float = math.inf,
) -> None:
    """Do w -= lr g."""
    common = update_of(w, g, lr, weight_decay, product, factor, limit)
    _core.sgd_step(common)


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
    product: Product | None = None,
    factor: Float32 | None = None,
    limit: float = math.inf,
) -> None:
    """Do v = momentum v - lr g; w += v, or momentum v - lr g with nesterov."""
    common = update_of(w, g, lr, weight_decay, product, factor, limit)
    _core.momentum_step(common, v, momentum, nesterov)


@twin
def adagrad_step(
    w: Float32,
    g: Float32,
    a: Float32,
    lr: Float32,
    *,
    epsilon: float,
    outside: bool = False,
    weight_decay: float = 0.0,
    product: Product | None = None,
    factor: Float32 | None = None,
    limit: float = math.inf,
) -> None:
    """Do a += g^2; w -= lr g / sqrt(a + epsilon), or sqrt(a) + epsilon with outside."""
    common = update_of(w, g, lr, weight_decay, product, factor, limit)
    _core.adagrad_step(common, a, epsilon, outside)


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
    outside: bool = False,
    weight_decay: float = 0.0,
    product: Product | None = None,
    factor: Float32 | None = None,
    limit: float = math.inf,
) -> None:
    """Do v = rho v + (1 - rho) g^2; w -= lr g / sqrt(v + epsilon); mean: centered, velocity: with momentum.

    outside: the divisor is sqrt(v) + epsilon.
    """
    common = update_of(w, g, lr, weight_decay, product, factor, limit)
    _core.rmsprop_step(common, v, mean, velocity, rho, momentum, epsilon, outside)


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
    product: Product | None = None,
    factor: Float32 | None = None,
    limit: float = math.inf,
) -> None:
    """Do one Adam step (AMSGrad if vhat is given) as step number iterations[0] + 1; iterations is not changed."""
    common = update_of(w, g, lr, weight_decay, product, factor, limit)
    _core.adam_step(common, m, v, vhat, iterations, beta_1, beta_2, epsilon)
