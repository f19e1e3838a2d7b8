"""Optimizer steps in which every weight has a step size of its own; what they share stands in optim.py."""

from __future__ import annotations

import math

import numpy as np

from .common import Array
from .optim import Product, decay, prepare_gradient


def adadelta_step(
    w: Array,
    g: Array,
    a: Array,
    d: Array,
    lr: Array,
    *,
    rho: float,
    epsilon: float,
    weight_decay: float = 0.0,
    product: Product | None = None,
    factor: Array | None = None,
    limit: float = math.inf,
) -> None:
    """a = rho a + (1 - rho) g^2; u = g sqrt(d + epsilon) / sqrt(a + epsilon); d = rho d + (1 - rho) u^2; w -= lr u."""
    g, rate = prepare_gradient(g, product=product, factor=factor, limit=limit), decay(w, lr, weight_decay)
    a[...] = rho * a + (1.0 - rho) * g * g
    u = np.sqrt(d + epsilon) * g / np.sqrt(a + epsilon)
    d[...] = rho * d + (1.0 - rho) * u * u
    w -= rate * u


def adamax_step(
    w: Array,
    g: Array,
    m: Array,
    u: Array,
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
    """m += (g - m) (1 - beta_1); u = max(beta_2 u, |g|); w -= lr / (1 - beta_1^t) m / (u + epsilon), t = iterations + 1."""
    g, rate = prepare_gradient(g, product=product, factor=factor, limit=limit), decay(w, lr, weight_decay)
    m += (g - m) * (1.0 - beta_1)
    u[...] = np.maximum(beta_2 * u, np.abs(g))
    w -= rate / (1.0 - beta_1 ** (int(iterations.item()) + 1)) * m / (u + epsilon)


def nadam_step(
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
    """Adam with Nesterov momentum, whose momentum b(t) = beta_1 (1 - 0.96^t / 2) grows; B(t) = b(1) ... b(t).

    m += (g - m) (1 - beta_1); v += (g^2 - v) (1 - beta_2)
    w -= lr (b(t+1) / (1 - B(t+1)) m + (1 - b(t)) / (1 - B(t)) g) / (sqrt(v / (1 - beta_2^t)) + epsilon)
    """
    g, rate = prepare_gradient(g, product=product, factor=factor, limit=limit), decay(w, lr, weight_decay)
    t = int(iterations.item()) + 1
    momenta = [beta_1 * (1.0 - 0.5 * 0.96**s) for s in range(1, t + 2)]
    product_t, product_next = math.prod(momenta[:-1]), math.prod(momenta)
    m += (g - m) * (1.0 - beta_1)
    v += (g * g - v) * (1.0 - beta_2)
    mean = momenta[-1] / (1.0 - product_next) * m + (1.0 - momenta[-2]) / (1.0 - product_t) * g
    w -= rate * mean / (np.sqrt(v / (1.0 - beta_2**t)) + epsilon)


def lion_step(
    w: Array,
    g: Array,
    m: Array,
    lr: Array,
    *,
    beta_1: float,
    beta_2: float,
    weight_decay: float = 0.0,
    product: Product | None = None,
    factor: Array | None = None,
    limit: float = math.inf,
) -> None:
    """w -= lr sign(beta_1 m + (1 - beta_1) g); m = beta_2 m + (1 - beta_2) g."""
    g, rate = prepare_gradient(g, product=product, factor=factor, limit=limit), decay(w, lr, weight_decay)
    w -= rate * np.sign(beta_1 * m + (1.0 - beta_1) * g)
    m[...] = beta_2 * m + (1.0 - beta_2) * g


def ftrl_step(
    w: Array,
    g: Array,
    a: Array,
    z: Array,
    lr: Array,
    *,
    power: float,
    l1: float,
    l2: float,
    shrinkage: float,
    beta: float,
    weight_decay: float = 0.0,
    product: Product | None = None,
    factor: Array | None = None,
    limit: float = math.inf,
) -> None:
    """p = -power; b = a + g^2; z += g + 2 shrinkage w - (b^p - a^p) / lr w; a = b.

    w = (min(max(z, -l1), l1) - z) / (b^p / lr + 2 l2 + beta / lr), or as it was where that divisor is 0. Nothing if lr is 0.
    """
    if lr.item() == 0:
        return
    g, rate = prepare_gradient(g, product=product, factor=factor, limit=limit), decay(w, lr, weight_decay)
    total = a + g * g
    z += g + 2 * shrinkage * w - (total**-power - a**-power) / rate * w
    a[...] = total
    divisor = total**-power / rate + 2 * l2 + beta / rate
    known = divisor != 0
    w[known] = (np.clip(z, -l1, l1) - z)[known] / divisor[known]
