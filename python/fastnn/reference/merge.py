"""Several arrays into one and back: sums, products, extrema, concatenation, broadcasting; rows of length 1; products of batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .common import Array

SMALLEST_SQUARE = 1e-12


def add(*x: Array, weights: Sequence[float] | None = None, out: Array | None = None) -> Array:
    """y = sum of weights[j] x[j]; written to `out` where it is given."""
    y = sum(part * w for part, w in zip(x, weights or [1.0] * len(x)))
    if out is None:
        return np.asarray(y)
    out[...] = y
    return out


def multiply(*x: Array) -> Array:
    """y = x[0] x[1] ..."""
    y = x[0].copy()
    for part in x[1:]:
        y *= part
    return y


def maximum(*x: Array) -> Array:
    """y = the largest of x[0], x[1], ..., the first of equal ones; a NaN wins."""
    y = x[0].copy()
    for part in x[1:]:
        y = np.where((part > y) | np.isnan(part), part, y)
    return y


def minimum(*x: Array) -> Array:
    """y = the smallest of x[0], x[1], ..., the first of equal ones; a NaN wins."""
    y = x[0].copy()
    for part in x[1:]:
        y = np.where((part < y) | np.isnan(part), part, y)
    return y


def extremum_backward(dy: Array, y: Array, *x: Array) -> tuple[Array, ...]:
    """dx[j] = dy where x[j] is the first to equal y, else 0."""
    left, dx = dy, []
    for part in x:
        takes = part == y
        dx.append(np.where(takes, left, 0).astype(dy.dtype))
        left = np.where(takes, 0, left)
    return tuple(dx)


def concatenate(*x: Array, axis: int = -1) -> Array:
    """y = the arrays one behind the other along an axis."""
    return np.concatenate(x, axis)


def split(x: Array, sizes: Sequence[int], axis: int = -1) -> tuple[Array, ...]:
    """y[0], y[1], ... = x cut into parts of these sizes along an axis."""
    return tuple(part.copy() for part in np.split(x, np.cumsum(sizes)[:-1], axis))


def broadcast(x: Array, shape: Sequence[int]) -> Array:
    """y = x repeated along the axes where its size is 1."""
    return np.broadcast_to(x, tuple(shape)).copy()


def broadcast_backward(dy: Array, shape: Sequence[int]) -> Array:
    """dx = sum of dy over the axes where the size of x is 1 and that of dy is not."""
    repeated = tuple(i for i, (a, b) in enumerate(zip(shape, dy.shape)) if a != b)
    return np.asarray(dy.sum(repeated, np.float64, keepdims=True).astype(dy.dtype))


def batch_gemm(a: Array, b: Array, *, transpose_a: bool = False, transpose_b: bool = False) -> Array:
    """c[i] = a[i] b[i]."""
    return (a.transpose(0, 2, 1) if transpose_a else a) @ (b.transpose(0, 2, 1) if transpose_b else b)


def unit_norm_forward(x: Array) -> tuple[Array, Array]:
    """y = x r, r = 1 / sqrt(max(sum of x^2, 1e-12)) over the last axis."""
    square = np.square(x, dtype=np.float64).sum(-1)
    r = 1 / np.sqrt(np.maximum(square, SMALLEST_SQUARE))
    return np.asarray(x * r[..., None], x.dtype), r.astype(x.dtype)


def unit_norm_backward(dy: Array, y: Array, r: Array) -> Array:
    """dx = r (dy - y sum(dy y)); r dy where the length was too small to divide by."""
    along = (dy * y).sum(-1, np.float64).astype(dy.dtype)
    along = np.where(r.astype(np.float32) == np.float32(SMALLEST_SQUARE**-0.5), 0, along)
    return np.asarray((dy - y * along[..., None]) * r[..., None], dy.dtype)
