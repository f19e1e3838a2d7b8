"""Batch normalization. The last axis is the channels, all other axes together are the rows."""

from __future__ import annotations

import numpy as np

from .common import Array
from .dense import column_sums


def _rows(x: Array) -> Array:
    """View x (..., channels) as (rows, channels)."""
    return x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])


def _scale_and_shift(xhat: Array, gamma: Array | None, beta: Array | None) -> Array:
    """Return gamma xhat + beta; None is 1 and 0."""
    y = xhat if gamma is None else gamma * xhat
    return y if beta is None else y + beta


def _epilogue(y: Array, residual: Array | None, relu: bool) -> Array:
    """Return y plus the residual, cut off below 0 with relu."""
    if residual is not None:
        y = y + residual
    return np.maximum(y, 0) if relu else y


def batch_norm_forward(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    moving_mean: Array,
    moving_variance: Array,
    *,
    momentum: float,
    epsilon: float,
    residual: Array | None = None,
    relu: bool = False,
) -> tuple[Array, Array, Array]:
    """y = f(gamma (x - mean) rstd + beta + residual), f = max(., 0) with relu, rstd = 1 / sqrt(variance + epsilon).

    Returns y, mean, rstd.

    mean and variance (biased) are those of each channel in this batch, and moving = momentum moving + (1 - momentum)
    batch value, in place. An empty batch has mean 0 and variance 0, and leaves the moving values as they are.
    """
    rows = _rows(x)
    count = max(len(rows), 1)
    mean = column_sums(rows) / count
    centered = x - mean
    variance = column_sums(_rows(centered * centered)) / count
    rstd = 1.0 / np.sqrt(variance + epsilon)
    if len(rows):
        moving_mean[...] = momentum * moving_mean + (1.0 - momentum) * mean
        moving_variance[...] = momentum * moving_variance + (1.0 - momentum) * variance
    return _epilogue(_scale_and_shift(centered * rstd, gamma, beta), residual, relu), mean, rstd


def batch_norm_inference(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    moving_mean: Array,
    moving_variance: Array,
    *,
    epsilon: float,
    residual: Array | None = None,
    relu: bool = False,
) -> tuple[Array, Array, Array]:
    """y = f(gamma (x - moving_mean) / sqrt(moving_variance + epsilon) + beta + residual), f as above.

    Returns y, and mean and rstd as used.
    """
    mean = moving_mean.copy()
    rstd = 1.0 / np.sqrt(moving_variance + epsilon)
    return _epilogue(_scale_and_shift((x - mean) * rstd, gamma, beta), residual, relu), mean, rstd


def batch_norm_backward(
    x: Array,
    dy: Array,
    gamma: Array | None,
    mean: Array,
    rstd: Array,
    dgamma: Array | None = None,
    dbeta: Array | None = None,
    dresidual: Array | None = None,
    *,
    fixed_statistics: bool = False,
    relu: bool = False,
    relu_y: Array | None = None,
    beta: Array | None = None,
    more: Array | None = None,
) -> Array:
    """xhat = (x - mean) rstd; dgamma = sum(dy xhat) and dbeta = sum(dy), written where given; returns

    dx = gamma rstd (dy - dbeta / rows - xhat dgamma / rows), or gamma rstd dy where mean and rstd did not come from x.

    more is added to dy before all else.
    With relu, dy is first set to 0 where the relu's output was 0: that is relu_y or, without a residual, follows from beta.
    dresidual, if given, becomes this dy.
    """
    xhat = (x - mean) * rstd
    if more is not None:
        dy = dy + more
    if relu:
        dy = np.where((_scale_and_shift(xhat, gamma, beta) if relu_y is None else relu_y) > 0, dy, 0)
    if dresidual is not None:
        dresidual[...] = dy
    sum_dy_xhat = column_sums(_rows(dy * xhat))
    sum_dy = column_sums(_rows(dy))
    if dgamma is not None:
        dgamma[...] = sum_dy_xhat
    if dbeta is not None:
        dbeta[...] = sum_dy
    slope = rstd if gamma is None else gamma * rstd
    if fixed_statistics:
        return slope * dy
    count = max(len(_rows(x)), 1)
    return slope * (dy - sum_dy / count - xhat * (sum_dy_xhat / count))
