"""Regularizers, constraints, masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .common import Array


def penalty(
    x: Array,
    l1: float,
    l2: float,
    state: Array | None = None,
    *,
    scale: float = 1.0,
    rows: float = 1.0,
    count: float = 0.0,
    dy: Array | None = None,
    out: Array | None = None,
    need_gradient: bool = False,
) -> Array | None:
    """state[0] += rows scale (l1 sum |x| + l2 sum x^2), state[1] += count; returns dy + scale (l1 sign(x) + 2 l2 x) in out."""
    if state is not None:
        wide = x.astype(np.float64)
        state[0] += rows * scale * (l1 * np.abs(wide).sum() + l2 * (wide * wide).sum())
        state[1] += count
    if not need_gradient:
        return None
    slope = (scale * (l1 * np.sign(x) + 2 * l2 * x)).astype(x.dtype)
    dx: Array = slope if dy is None else dy + slope
    if out is None:
        return dx
    out[...] = dx
    return out


def clip_norms(w: Array, axes: Sequence[int], low: float, high: float, rate: float = 1.0) -> None:
    """w *= (rate min(max(norm, low), high) + (1 - rate) norm) / (norm + 1e-7), norm over the axes, in place."""
    norm = np.sqrt((w.astype(np.float64) ** 2).sum(tuple(axes), keepdims=True)).astype(w.dtype)
    clipped = np.minimum(np.maximum(norm, low), high)
    w *= (rate * clipped + (1 - rate) * norm) / (norm + 1e-7)


def clip_negative(w: Array) -> None:
    """w = max(w, 0), in place."""
    np.maximum(w, 0, out=w)


def mask_rows(x: Array, value: float) -> tuple[Array, Array]:
    """Returns y and mask: mask = 1 where any element of the last axis is not value, else 0; y = x, 0 where mask is."""
    mask = (x != np.float32(value)).any(-1)
    return np.where(mask[..., None], x, 0).astype(x.dtype), mask.astype(x.dtype)


def mask_weights(mask: Array, weights: Array | None = None, *, rescale: bool = True) -> Array:
    """weights (or 1) where mask is not 0, else 0; with rescale times the size of mask / (how many are not 0)."""
    valid = np.count_nonzero(mask)
    share = mask.dtype.type(mask.size / valid if rescale and valid else 1.0)
    return np.where(mask != 0, share if weights is None else weights * share, 0).astype(mask.dtype)
