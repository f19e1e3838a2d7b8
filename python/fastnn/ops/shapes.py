"""Cropping and padding, resizing, unpooling, embeddings."""

from __future__ import annotations

import numpy as np

from fastnn import _core, checks
from fastnn.checks import Float32
from fastnn.ops.base import (
    NO_PADDING,
    Padding,
    Pair,
    as_float32,
    check_rank,
    check_same_shape,
    empty,
    twin,
)
from fastnn.ops.conv import leading_pads
from fastnn.ops.pool import Index, pool_output
from fastnn.reference.shapes import Taps

Triple = tuple[int, int, int]


@twin
def crop_pad(x: Float32, offset: Triple, size: Triple, value: float = 0.0) -> Float32:
    """Return y (N, *size, C), y[n, i, ...] = x[n, i + offset[0], ...] where that lies inside of x (N, D, H, W, C), else value.

    Offsets below 0 pad, those above crop; the gradient is `crop_pad(dy, negative offset, size of x)`.
    """
    x = as_float32("crop_pad", "x", x)
    check_rank("crop_pad", "x", x, 5)
    if min(size) < 0:
        checks.fail("crop_pad", "sizes >= 0", tuple(size))
    y = empty((x.shape[0], *size, x.shape[4]))
    _core.crop_pad(x, y, list(offset), value)
    return y


@twin
def resample2d(x: Float32, rows: Taps, columns: Taps) -> Float32:
    """Return y = rows x columns^T for every channel of x (N, H, W, C): resizing of any kind.

    The gradient is `resample2d(dy, rows^T, columns^T)`.
    """
    x = as_float32("resample2d", "x", x)
    check_rank("resample2d", "x", x, 4)
    y = empty((x.shape[0], len(rows.start) - 1, len(columns.start) - 1, x.shape[3]))
    _core.resample2d(x, y, tuple(rows), tuple(columns))
    return y


@twin
def max_unpool2d_backward(
    dy: Float32, index: Index, *, pool_size: Pair, strides: Pair, padding: Padding = NO_PADDING
) -> Float32:
    """Return dx: for every window dy at the place that its index says. The forward pass is `max_pool2d_backward`."""
    dy = as_float32("max_unpool2d_backward", "dy", dy)
    check_same_shape(
        "max_unpool2d_backward",
        "index",
        index,
        pool_output("max_unpool2d_backward", dy.shape, pool_size, strides, padding),
    )
    dx = empty(index.shape)
    _core.max_unpool2d_backward(dy, index, dx, pool_size, strides, leading_pads(padding))
    return dx


@twin
def embedding_forward(ids: Float32, table: Float32) -> Float32:
    """Return the rows of table (V, D) that ids name: (...) -> (..., D); NaN for what is not a row's number."""
    ids = as_float32("embedding_forward", "ids", ids)
    check_rank("embedding_forward", "table", table, 2)
    y = empty((*ids.shape, table.shape[1]))
    _core.embedding_forward(ids, table, y)
    return y


@twin
def embedding_backward(ids: Float32, dy: Float32, dtable: Float32) -> None:
    """Write the gradient of the table: dtable[v] = sum of dy over the places where ids is v, in order."""
    ids, dy = as_float32("embedding_backward", "ids", ids), as_float32("embedding_backward", "dy", dy)
    check_same_shape("embedding_backward", "dy", dy, (*ids.shape, np.shape(dtable)[1]))
    _core.embedding_backward(ids, dy, dtable)
