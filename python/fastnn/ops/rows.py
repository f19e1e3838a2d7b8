"""Layer, group and root-mean-square normalization."""

from __future__ import annotations

from fastnn import _core, checks
from fastnn.checks import Float32
from fastnn.ops.base import as_float32, as_rows, check_same_shape, empty, twin

Gradients = tuple[Float32 | None, Float32 | None]


def _check_columns(who: str, x: Float32, *arrays: tuple[str, Float32 | None]) -> None:
    if x.shape[-1] == 0:
        checks.fail(who, "at least one number in a row", f"x of shape {x.shape}")
    for name, array in arrays:
        if array is not None:
            check_same_shape(who, name, array, x.shape[-1:])


@twin
def layer_norm_forward(
    x: Float32, gamma: Float32 | None, beta: Float32 | None, *, epsilon: float, centered: bool = True
) -> tuple[Float32, Float32, Float32]:
    """Normalize over the last axis by mean and variance, or with centered=False by the mean square; return (y, mean, rstd)."""
    x = as_float32("layer_norm_forward", "x", x)
    _check_columns("layer_norm_forward", x, ("gamma", gamma), ("beta", beta))
    y, mean, rstd = empty(x.shape), empty(x.shape[:-1]), empty(x.shape[:-1])
    _core.layer_norm_forward(as_rows(x), gamma, beta, as_rows(y), mean, rstd, epsilon, centered)
    return y, mean, rstd


@twin
def layer_norm_backward(
    x: Float32,
    dy: Float32,
    gamma: Float32 | None,
    mean: Float32,
    rstd: Float32,
    dgamma: Float32 | None = None,
    dbeta: Float32 | None = None,
    *,
    centered: bool = True,
) -> Float32:
    """Return dx; write dgamma and dbeta where they are given."""
    x, dy = as_float32("layer_norm_backward", "x", x), as_float32("layer_norm_backward", "dy", dy)
    check_same_shape("layer_norm_backward", "dy", dy, x.shape)
    _check_columns("layer_norm_backward", x, ("gamma", gamma))
    dx = empty(x.shape)
    _core.layer_norm_backward(as_rows(x), as_rows(dy), gamma, mean, rstd, as_rows(dx), dgamma, dbeta, centered)
    return dx


def _as_samples(who: str, x: Float32, groups: int) -> Float32:
    """View x (N, ..., C) as (N, positions, C)."""
    if x.ndim < 2 or groups < 1 or x.shape[-1] % groups or 0 in x.shape[1:]:
        checks.fail(who, f"x of shape (N, ..., C), C a multiple of groups = {groups}", x.shape)
    positions = 1
    for size in x.shape[1:-1]:
        positions *= size
    return x.reshape(x.shape[0], positions, x.shape[-1])


@twin
def group_norm_forward(
    x: Float32, gamma: Float32 | None, beta: Float32 | None, groups: int, *, epsilon: float
) -> tuple[Float32, Float32, Float32]:
    """Normalize each of `groups` groups of channels (last axis) of every sample; return (y, mean, rstd), these (N, groups)."""
    x = as_float32("group_norm_forward", "x", x)
    samples = _as_samples("group_norm_forward", x, groups)
    _check_columns("group_norm_forward", x, ("gamma", gamma), ("beta", beta))
    y, mean, rstd = empty(x.shape), empty((len(x), groups)), empty((len(x), groups))
    _core.group_norm_forward(samples, gamma, beta, y.reshape(samples.shape), mean, rstd, groups, epsilon)
    return y, mean, rstd


@twin
def group_norm_backward(
    x: Float32,
    dy: Float32,
    gamma: Float32 | None,
    mean: Float32,
    rstd: Float32,
    dgamma: Float32 | None = None,
    dbeta: Float32 | None = None,
) -> Float32:
    """Return dx; write dgamma and dbeta where they are given. The number of groups is that of mean's columns."""
    x, dy = as_float32("group_norm_backward", "x", x), as_float32("group_norm_backward", "dy", dy)
    check_same_shape("group_norm_backward", "dy", dy, x.shape)
    groups = mean.shape[-1]
    samples = _as_samples("group_norm_backward", x, groups)
    dx = empty(x.shape)
    out = dx.reshape(samples.shape)
    _core.group_norm_backward(samples, dy.reshape(samples.shape), gamma, mean, rstd, out, dgamma, dbeta, groups)
    return dx
