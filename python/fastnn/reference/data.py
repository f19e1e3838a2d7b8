"""Moving data: the rows of a batch, axes, constants, counters."""

from __future__ import annotations

import numpy as np

from .common import Array


def gather_rows(source: Array, order: Array | None, position: Array, rows: int, *, scale: float = 1.0) -> Array:
    """out[i] = scale source[order[position + i]] for i < rows; order None is the identity.

    uint8 becomes float32; int32 stays int32 and is not scaled. position is an int64 array of one value.
    """
    start = int(position.item())
    out = source[start : start + rows].copy() if order is None else source[order[start : start + rows]]
    if source.dtype == np.int32:
        return out
    if source.dtype == np.uint8:
        out = out.astype(np.float32)
    return out if scale == 1.0 else out * scale


def store_rows(rows: Array, target: Array, position: Array) -> None:
    """target[position + i] = rows[i]."""
    start = int(position.item())
    target[start : start + len(rows)] = rows


def advance(counter: Array, by: int) -> None:
    """counter += by."""
    counter += by


def permute(x: Array, axes: tuple[int, ...]) -> Array:
    """y = x with its axes in the given order, a contiguous copy."""
    return x.transpose(axes).copy()


def fill(y: Array, value: float) -> None:
    """y = value everywhere."""
    y[...] = value
