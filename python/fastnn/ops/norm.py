"""Batch normalization and dropout."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastnn import _core, checks
from fastnn.checks import Float32
from fastnn.ops.base import UINT8, as_float32, as_rows, check_same_shape, empty, twin


def _like(who: str, name: str, more: Float32 | None, x: Float32) -> Float32 | None:
    """Return an optional array of the shape of x."""
    if more is None:
        return None
    check_same_shape(who, name, more, x.shape)
    return as_float32(who, name, more)


@twin
def batch_norm_forward(
    x: Float32,
    gamma: Float32 | None,
    beta: Float32 | None,
    moving_mean: Float32,
    moving_variance: Float32,
    *,
    momentum: float,
    epsilon: float,
    residual: Float32 | None = None,
    relu: bool = False,
) -> tuple[Float32, Float32, Float32]:
    """Normalize each channel (last axis) by its batch statistics; return (y, mean, rstd), update the moving statistics.

    Then add the residual and cut off below 0, if wanted.
    """
    x = as_float32("batch_norm_forward", "x", x)
    residual = _like("batch_norm_forward", "residual", residual, x)
    y, mean, rstd = empty(x.shape), empty(x.shape[-1:]), empty(x.shape[-1:])
    if x.size == 0:
        checks.fail("batch_norm_forward", "at least one sample in training", f"x of shape {x.shape}")
    _core.batch_norm_forward(
        as_rows(x),
        gamma,
        beta,
        as_rows(y),
        mean,
        rstd,
        moving_mean,
        moving_variance,
        momentum,
        epsilon,
        residual,
        relu,
    )
    return y, mean, rstd


@twin
def batch_norm_inference(
    x: Float32,
    gamma: Float32 | None,
    beta: Float32 | None,
    moving_mean: Float32,
    moving_variance: Float32,
    *,
    epsilon: float,
    residual: Float32 | None = None,
    relu: bool = False,
) -> tuple[Float32, Float32, Float32]:
    """Normalize each channel (last axis) by the moving statistics; return (y, mean, rstd) with what was used.

    Then add the residual and cut off below 0, if wanted.
    """
    x = as_float32("batch_norm_inference", "x", x)
    residual = _like("batch_norm_inference", "residual", residual, x)
    y, mean, rstd = empty(x.shape), empty(x.shape[-1:]), empty(x.shape[-1:])
    _core.batch_norm_inference(
        as_rows(x), gamma, beta, moving_mean, moving_variance, as_rows(y), mean, rstd, epsilon, residual, relu
    )
    return y, mean, rstd


@twin
def batch_norm_backward(
    x: Float32,
    dy: Float32,
    gamma: Float32 | None,
    mean: Float32,
    rstd: Float32,
    dgamma: Float32 | None = None,
    dbeta: Float32 | None = None,
    dresidual: Float32 | None = None,
    *,
    fixed_statistics: bool = False,
    relu: bool = False,
    relu_y: Float32 | None = None,
    beta: Float32 | None = None,
    more: Float32 | None = None,
) -> Float32:
    """Return dx; write dgamma, dbeta and dresidual where they are given. fixed_statistics: mean and rstd did not depend on x.

    more: added to dy before all else.

    relu: there was one. What it let through is seen from its output relu_y or, if there was no residual, found from beta.
    """
    dx, channels = empty(x.shape), x.shape[-1:]
    if x.size == 0 and fixed_statistics:
        for sums in (dgamma, dbeta):
            if sums is not None:
                sums[...] = 0
        return dx
    dgamma = empty(channels) if dgamma is None else dgamma
    dbeta = empty(channels) if dbeta is None else dbeta
    dy = as_float32("batch_norm_backward", "dy", dy)
    relu_y = _like("batch_norm_backward", "relu_y", relu_y, x) if relu else None
    _core.batch_norm_backward(
        as_rows(x),
        as_rows(dy),
        _like("batch_norm_backward", "more", more, x),
        gamma,
        beta,
        mean,
        rstd,
        relu_y,
        as_rows(dx),
        dgamma,
        dbeta,
        dresidual,
        fixed_statistics,
        relu,
    )
    return dx


@twin
def dropout_forward(
    x: Float32, rate: float, seed: int, stream: int, counter: NDArray[np.uint64]
) -> tuple[Float32, NDArray[np.uint8]]:
    """Return (y, kept): x with a share `rate` set to 0 and the rest scaled up; counter[0] increases by one.

    kept has a bit for each value, the lowest of a byte first: is it kept?
    """
    x = as_float32("dropout_forward", "x", x)
    y, kept = empty(x.shape), empty(((x.size + 7) // 8,), UINT8)
    _core.dropout_forward(x, y, rate, seed, stream, counter, kept)
    return y, kept


@twin
def dropout_backward(dy: Float32, kept: NDArray[np.uint8], rate: float) -> Float32:
    """Return dx: dy where the forward pass that returned `kept` kept x, scaled alike, 0 elsewhere."""
    dy = as_float32("dropout_backward", "dy", dy)
    dx = empty(dy.shape)
    _core.dropout_backward(dy, kept, dx, rate)
    return dx
