"""Normalization of the rows of an array, and of groups of channels."""

from __future__ import annotations

import numpy as np

from .common import Array


def _statistics(x: Array, axes: tuple[int, ...], epsilon: float, centered: bool = True) -> tuple[Array, Array]:
    """Return mean (0 if not centered) and 1 / sqrt(variance + epsilon) over the axes, which stay with size 1."""
    wide = x.astype(np.float64)
    mean = wide.mean(axes, keepdims=True) if centered else np.zeros_like(wide.mean(axes, keepdims=True))
    variance = ((wide - mean) ** 2).mean(axes, keepdims=True)
    return mean.astype(x.dtype), (1 / np.sqrt(variance + epsilon)).astype(x.dtype)


def _slope(g: Array, xhat: Array, rstd: Array, axes: tuple[int, ...], centered: bool = True) -> Array:
    """Return rstd (g - mean of g - xhat mean of (g xhat))."""
    along = g.mean(axes, keepdims=True) if centered else 0
    dx: Array = rstd * (g - along - xhat * (g * xhat).mean(axes, keepdims=True))
    return dx


def _write_sums(dy: Array, xhat: Array, dgamma: Array | None, dbeta: Array | None) -> None:
    axes = tuple(range(dy.ndim - 1))
    for sums, terms in ((dgamma, dy * xhat), (dbeta, dy)):
        if sums is not None:
            sums[...] = terms.sum(axes, dtype=np.float64)


def layer_norm_forward(
    x: Array, gamma: Array | None, beta: Array | None, *, epsilon: float, centered: bool = True
) -> tuple[Array, Array, Array]:
    """y = gamma (x - mean) rstd + beta over the last axis, rstd = 1 / sqrt(variance + epsilon). Returns y, mean, rstd.

    Not centered: mean = 0, and the mean square takes the place of the variance.
    """
    mean, rstd = _statistics(x, (-1,), epsilon, centered)
    y = (x - mean) * rstd
    y = y if gamma is None else y * gamma
    return y if beta is None else y + beta, mean[..., 0].copy(), rstd[..., 0].copy()


def layer_norm_backward(
    x: Array,
    dy: Array,
    gamma: Array | None,
    mean: Array,
    rstd: Array,
    dgamma: Array | None = None,
    dbeta: Array | None = None,
    *,
    centered: bool = True,
) -> Array:
    """xhat = (x - mean) rstd, g = gamma dy; dgamma = sum(dy xhat), dbeta = sum(dy), written where given; returns

    dx = rstd (g - mean(g) - xhat mean(g xhat)), means over the last axis, without mean(g) where not centered.
    """
    mean, rstd = mean[..., None], rstd[..., None]
    xhat = (x - mean) * rstd
    _write_sums(dy, xhat, dgamma, dbeta)
    return _slope(dy if gamma is None else dy * gamma, xhat, rstd, (-1,), centered)


def _grouped(x: Array, groups: int) -> Array:
    """View x (N, ..., C) as (N, positions, groups, C / groups)."""
    return x.reshape(x.shape[0], int(np.prod(x.shape[1:-1])), groups, x.shape[-1] // groups)


def group_norm_forward(
    x: Array, gamma: Array | None, beta: Array | None, groups: int, *, epsilon: float
) -> tuple[Array, Array, Array]:
    """y = gamma (x - mean) rstd + beta, mean and variance of each group of a sample. Returns y, mean, rstd (N, groups)."""
    parts = _grouped(x, groups)
    mean, rstd = _statistics(parts, (1, 3), epsilon)
    y = ((parts - mean) * rstd).reshape(x.shape)
    y = y if gamma is None else y * gamma
    return y if beta is None else y + beta, mean[:, 0, :, 0].copy(), rstd[:, 0, :, 0].copy()


def group_norm_backward(
    x: Array,
    dy: Array,
    gamma: Array | None,
    mean: Array,
    rstd: Array,
    dgamma: Array | None = None,
    dbeta: Array | None = None,
) -> Array:
    """The same as `layer_norm_backward`, with means over the elements of a group."""
    groups = mean.shape[-1]
    mean, rstd = mean[:, None, :, None], rstd[:, None, :, None]
    xhat = (_grouped(x, groups) - mean) * rstd
    _write_sums(dy, xhat.reshape(x.shape), dgamma, dbeta)
    g = _grouped(dy if gamma is None else dy * gamma, groups)
    return _slope(g, xhat, rstd, (1, 3)).reshape(x.shape)
