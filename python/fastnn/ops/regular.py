"""Regularizers, constraints, masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastnn import _core, checks
from fastnn.checks import Float32
from fastnn.ops.base import as_float32, as_rows, check_same_shape, empty, twin
from fastnn.ops.data import permute
from fastnn.ops.merge import add

State = NDArray[np.float64]


@twin
def penalty(
    x: Float32,
    l1: float,
    l2: float,
    state: State | None = None,
    *,
    scale: float = 1.0,
    rows: float = 1.0,
    count: float = 0.0,
    dy: Float32 | None = None,
    out: Float32 | None = None,
    need_gradient: bool = False,
) -> Float32 | None:
    """Add rows scale (l1 sum |x| + l2 sum x^2) to state[0] and count to state[1]; return dy + scale (l1 sign(x) + 2 l2 x).

    Without `dy` that is 0; without `need_gradient` None is returned. out: where the gradient goes, may be dy.
    """
    x = as_float32("penalty", "x", x)
    dx = None
    if need_gradient:
        dx = empty(x.shape) if out is None else out
        check_same_shape("penalty", "out", dx, x.shape)
        if dy is not None:
            check_same_shape("penalty", "dy", dy, x.shape)
            dy = as_float32("penalty", "dy", dy)
    _core.penalty(x, dy if need_gradient else None, dx, l1, l2, scale, state, rows, count)
    return dx


def _leading(who: str, w: Float32, axes: Sequence[int]) -> list[int]:
    """Return the order of w's axes that puts these first."""
    first = [a + w.ndim if a < 0 else a for a in axes]
    if not first or len(set(first)) < len(first) or not all(0 <= a < w.ndim for a in first):
        checks.fail(who, f"axes that name some of the {w.ndim} once", tuple(axes))
    return [*sorted(first), *(a for a in range(w.ndim) if a not in first)]


@twin
def clip_norms(w: Float32, axes: Sequence[int], low: float, high: float, rate: float = 1.0) -> None:
    """Scale w in place so that its norms over `axes` come within [low, high], or `rate` of the way there.

    w = w (rate min(max(norm, low), high) + (1 - rate) norm) / (norm + 1e-7)
    """
    order = _leading("clip_norms", w, axes)
    if w.size == 0:
        return
    if order == list(range(w.ndim)):
        _core.clip_norms(w, int(np.prod(w.shape[: len(axes)])), low, high, rate)
        return
    turned = permute(w, order)
    _core.clip_norms(turned, int(np.prod(turned.shape[: len(axes)])), low, high, rate)
    add(permute(turned, [order.index(a) for a in range(w.ndim)]), out=w)


@twin
def clip_negative(w: Float32) -> None:
    """Do w = max(w, 0)."""
    _core.activation_forward(w, w, "relu", 0.0)


@twin
def mask_rows(x: Float32, value: float) -> tuple[Float32, Float32]:
    """Return (y, mask): mask is 1 for rows (along the last axis) with an element that is not `value`, else 0; y is x, 0 there."""
    x = as_float32("mask_rows", "x", x)
    y, mask = empty(x.shape), empty(x.shape[:-1])
    _core.mask_rows(as_rows(x), as_rows(y), mask, value)
    return y, mask


@twin
def mask_weights(mask: Float32, weights: Float32 | None = None, *, rescale: bool = True) -> Float32:
    """Return weights (None: 1) where mask is not 0, else 0; with rescale times mask.size / (how many are not 0)."""
    mask = as_float32("mask_weights", "mask", mask)
    if weights is not None:
        check_same_shape("mask_weights", "weights", weights, mask.shape)
        weights = as_float32("mask_weights", "weights", weights)
    out = empty(mask.shape)
    _core.mask_weights(mask, weights, out, rescale)
    return out
