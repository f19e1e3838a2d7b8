"""Optimizer steps: w with gradient g, and the slots of the optimizer, all in place. lr is an array of one value.

All first decay the weights: w -= w weight_decay lr. With product = (x, dy) the gradient is x^T dy, and g is not read. factor (one
value): what the gradient is multiplied by; then it is cut to [-limit, limit].
"""

from __future__ import annotations

import math

import numpy as np

from .common import Array

Product = tuple[Array, Array]


def prepare_gradient(
    g: Array, *, product: Product | None = None, factor: Array | None = None, limit: float = math.inf
) -> Array:
    """Return the gradient, in the shape of g."""
    result: Array = g
    if product is not None:
        x, dy = product
        result = (x.T @ dy).reshape(g.shape)
    if factor is not None:
        result = result * factor.item()
    return np.clip(result, -limit, limit) if limit < math.inf else result.copy()


def decay(w: Array, lr: Array, weight_decay: float) -> float:
    """Decay the weights and return the learning rate as a number."""
    rate = float(lr.item())
    if weight_decay != 0:
        w -= w * (weight_decay * rate)
    return rate


def sgd_step(
    w: Array,
    g: Array,
    lr: Array,
    *,
    weight_decay: float = 0.0,
    product: Product | None = None,
    factor: Array | None = None,
    limit: float = math.inf,
) -> None:
    """w -= lr g."""
    g, rate = prepare_gradient(g, product=product, factor=factor, limit=limit), decay(w, lr, weight_decay)
    w -= rate * g


def momentum_step(
    w: Array,
    g: Array,
    v: Array,
    lr: Array,
    *,
    momentum: float,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    product: Product | None = None,
    factor: Array | None = None,
    limit: float = math.inf,
) -> None:
    """v = momentum v - lr g; w += v, or with nesterov w += momentum v - lr g."""
    g, rate = prepare_gradient(g, product=product, factor=factor, limit=limit), decay(w, lr, weight_decay)
    v[...] = momentum * v - rate * g
    w += momentum * v - rate * g if nesterov else v


def root(square: Array, epsilon: float, outside: bool) -> Array:
    """Return sqrt(square + epsilon), or sqrt(square) + epsilon."""
    result: Array = np.sqrt(square) + epsilon if outside else np.sqrt(square + epsilon)
    return result


def adagrad_step(
    w: Array,
    g: Array,
    a: Array,
    lr: Array,
    *,
    epsilon: float,
    outside: bool = False,
    weight_decay: float = 0.0,
    product: Product | None = None,
    factor: Array | None = None,
    limit: float = math.inf,
) -> None:
    """a += g^2; w -= lr g / sqrt(a + epsilon), or sqrt(a) + epsilon with outside."""
    g, rate = prepare_gradient(g, product=product, factor=factor, limit=limit), decay(w, lr, weight_decay)
    a += g * g
    w -= rate * g / root(a, epsilon, outside)


def rmsprop_step(
    w: Array,
    g: Array,
    v: Array,
    mean: Array | None,
    velocity: Array | None,
    lr: Array,
    *,
    rho: float,
    momentum: float,
    epsilon: float,
    outside: bool = False,
    weight_decay: float = 0.0,
    product: Product | None = None,
    factor: Array | None = None,
    limit: float = math.inf,
) -> None:
    """v = rho v + (1 - rho) g^2; u = lr g / sqrt(v + epsilon); w -= u.

    Centered (with mean): mean = rho mean + (1 - rho) g, and v - mean^2 in place of v under the root.
    With velocity: velocity = momentum velocity + u; w -= velocity. With outside: sqrt(v) + epsilon for sqrt(v + epsilon).
    """
    g, rate = prepare_gradient(g, product=product, factor=factor, limit=limit), decay(w, lr, weight_decay)
    v[...] = rho * v + (1.0 - rho) * g * g
    variance = v
    if mean is not None:
        mean[...] = rho * mean + (1.0 - rho) * g
        variance = np.maximum(v - mean * mean, 0)  # rounding may take it below 0
    step = rate * g / root(variance, epsilon, outside)
    if velocity is not None:
        velocity[...] = momentum * velocity + step
        step = velocity
    w -= step


def adam_step(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    vhat: Array | None,
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
    """m += (g - m) (1 - beta_1); v += (g^2 - v) (1 - beta_2); then the step, where t = iterations + 1.

    w -= lr sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon).
    AMSGrad (with vhat): vhat = max(vhat, v) takes the place of v under the root.
    iterations (int64, one value) is not changed.
    """
    g, rate = prepare_gradient(g, product=product, factor=factor, limit=limit), decay(w, lr, weight_decay)
    t = int(iterations.item()) + 1
    rate *= (1.0 - beta_2**t) ** 0.5 / (1.0 - beta_1**t)
    m += (g - m) * (1.0 - beta_1)
    v += (g * g - v) * (1.0 - beta_2)
    largest = v
    if vhat is not None:
        vhat[...] = np.maximum(vhat, v)
        largest = vhat
    w -= rate * m / (np.sqrt(largest) + epsilon)
