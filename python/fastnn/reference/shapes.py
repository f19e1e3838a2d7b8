"""Cropping and padding, resizing, unpooling, embeddings."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .common import Array, Padding, Pair

NO_PADDING: Padding = ((0, 0), (0, 0))


class Taps(NamedTuple):
    """A sparse matrix by rows: row i has the entries start[i], ..., start[i + 1] - 1, each a column and a weight."""

    start: Array  # int32
    column: Array  # int32
    weight: Array  # float32


def crop_pad(x: Array, offset: tuple[int, int, int], size: tuple[int, int, int], value: float = 0.0) -> Array:
    """y[n, i, j, k, c] = x[n, i + offset[0], j + offset[1], k + offset[2], c] inside of x, value elsewhere; y (N, *size, C)."""
    y = np.full((x.shape[0], *size, x.shape[4]), value, x.dtype)
    source, target = [], []
    for shift, old, new in zip(offset, x.shape[1:4], size):
        first, last = min(max(-shift, 0), new), min(old - shift, new)
        last = max(first, last)
        target.append(slice(first, last))
        source.append(slice(first + shift, last + shift))
    if all(part.stop > part.start for part in target):
        y[:, *target] = x[:, *source]
    return y


def _mix(x: Array, taps: Taps, axis: int) -> Array:
    """Multiply the matrix with x along an axis; an entry that is not there is not a zero: it looks at nothing."""
    shape = list(x.shape)
    shape[axis] = len(taps.start) - 1
    y = np.zeros(shape, x.dtype)
    out, back = np.moveaxis(y, axis, 0), np.moveaxis(x, axis, 0)
    for i, (begin, end) in enumerate(zip(taps.start[:-1], taps.start[1:])):
        for j in range(begin, end):
            out[i] += back[taps.column[j]] * x.dtype.type(taps.weight[j])
    return y


def resample2d(x: Array, rows: Taps, columns: Taps) -> Array:
    """y[n, p, q, c] = sum over h, w of rows[p, h] columns[q, w] x[n, h, w, c]; x (N, H, W, C), y (N, P, Q, C)."""
    return _mix(_mix(x, rows, 1), columns, 2)


def max_unpool2d_backward(
    dy: Array, index: Array, *, pool_size: Pair, strides: Pair, padding: Padding = NO_PADDING
) -> Array:
    """dx[n, p, q, c] = dy[n, h, w, c] at the pixel (h, w) that index[n, p, q, c] of max_pool2d_forward means."""
    n, p, q, c = np.ix_(*map(np.arange, index.shape))
    place = index.astype(np.int64)
    row = p * strides[0] - padding[0][0] + place // pool_size[1]
    column = q * strides[1] - padding[1][0] + place % pool_size[1]
    dx: Array = dy[n, row, column, c]
    return dx


def _rows(ids: Array, count: int) -> tuple[Array, Array]:
    """Return the row that each id names, and whether it names one."""
    named = (ids >= 0) & (ids < count) & (ids == np.floor(ids))
    return np.where(named, ids, 0).astype(np.int64), named


def embedding_forward(ids: Array, table: Array) -> Array:
    """y[..., :] = table[ids[...]], NaN where an id is not the number of a row; table (V, D)."""
    rows, named = _rows(ids, len(table))
    y = np.full((*ids.shape, table.shape[1]), np.nan, table.dtype)
    y[named] = table[rows[named]]
    return y


def embedding_backward(ids: Array, dy: Array, dtable: Array) -> None:
    """dtable[v] = sum of dy[i] over all places i with ids[i] == v."""
    rows, named = _rows(ids, len(dtable))
    dtable[...] = 0
    np.add.at(dtable, rows[named], dy[named])
