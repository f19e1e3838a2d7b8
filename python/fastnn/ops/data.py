"""Gathering and storing rows, permuting, filling, counting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core, checks
from fastnn.checks import Float32
from fastnn.ops.base import (
    FLOAT32,
    INT32,
    as_float32,
    check_same_shape,
    empty,
    twin,
)


def _source(who: str, source: Any) -> NDArray[Any]:
    """Return rows as the kernel reads them: contiguous uint8, int32 or float32; other real dtypes become float32."""
    array = checks.array(who, "source", source)
    native = array.dtype in (np.uint8, np.int32) and array.dtype.isnative
    return np.require(array, array.dtype, ["C", "A"]) if native else as_float32(who, "source", array)


def _order(who: str, order: Any) -> NDArray[np.int64]:
    array = checks.array(who, "order", order)
    if array.dtype.kind not in "iu":
        checks.fail_type(who, "order of an integer dtype", f"dtype {array.dtype}")
    return np.require(array, np.int64, ["C", "A"])


@twin
def gather_rows(
    source: NDArray[Any], order: NDArray[np.int64] | None, position: NDArray[np.int64], rows: int, *, scale: float = 1.0
) -> NDArray[Any]:
    """Return rows order[position[0]], order[position[0] + 1], ... of source; uint8 and float32 times scale, int32 as it is."""
    who = "gather_rows"
    source = _source(who, source)
    order = None if order is None else _order(who, order)
    count = len(source) if order is None else len(order)
    start = int(position[0])
    if start < 0 or start + rows > count:
        checks.fail(who, f"rows inside of the {count} there are", f"{start} to {start + rows}")
    if (
        order is not None
        and rows
        and not 0 <= order[start : start + rows].min() <= order[start : start + rows].max() < len(source)
    ):
        checks.fail(who, f"order within 0..{len(source) - 1}", "a number outside")
    _core.keep((source, order))
    source_cell = np.array([source.ctypes.data], np.uint64)
    order_cell = np.array([0 if order is None else order.ctypes.data], np.uint64)
    return gather_cells(source_cell, order_cell, position, rows, source.shape[1:], source.dtype, scale)


def gather_cells(
    source_cell: NDArray[np.uint64],
    order_cell: NDArray[np.uint64],
    position: NDArray[np.int64],
    rows: int,
    row_shape: Sequence[int],
    dtype: np.dtype[Any],
    scale: float = 1.0,
) -> NDArray[Any]:
    """Gather like `gather_rows` from the addresses that the cells hold when it runs, so that a tape finds new data there.

    Whoever fills the cells answers for the arrays: contiguous, of this dtype and row shape, alive, every order in range.
    """
    out = empty((rows, *row_shape), INT32 if dtype == INT32 else FLOAT32)
    _core.gather_rows(source_cell, order_cell, position, dtype.name, out, scale)
    return out


@twin
def store_rows(rows: Float32, target: Float32, position: NDArray[np.int64]) -> None:
    """Write rows into target, from row position[0] on."""
    if (
        type(target) is not np.ndarray
        or target.dtype != FLOAT32
        or not (target.flags.c_contiguous and target.flags.aligned)
    ):
        checks.fail_type("store_rows", "target as a C-contiguous float32 array", checks.describe(target))
    if not target.flags.writeable:
        checks.fail("store_rows", "target to be writeable", "a read-only array")
    rows, start = as_float32("store_rows", "rows", rows), int(position[0])
    check_same_shape("store_rows", "rows", rows, (len(rows), *target.shape[1:]))
    if start < 0 or start + len(rows) > len(target):
        checks.fail("store_rows", f"a place inside of the {len(target)} rows", f"{start} to {start + len(rows)}")
    _core.keep(target)
    store_cells(rows, np.array([target.ctypes.data], np.uint64), position)


def store_cells(rows: Float32, target_cell: NDArray[np.uint64], position: NDArray[np.int64]) -> None:
    """Store like `store_rows` at the address that the cell holds when it runs; see `gather_cells`."""
    _core.store_rows(rows, target_cell, position)


@twin
def advance(counter: NDArray[np.int64], by: int) -> None:
    """Do counter[0] += by."""
    _core.advance(counter, by)


@twin
def permute(x: Float32, axes: Sequence[int]) -> Float32:
    """Return x with its axes in another order, contiguous."""
    x = as_float32("permute", "x", x)
    if sorted(axes) != list(range(x.ndim)):
        checks.fail("permute", f"axes that name each of the {x.ndim} once", tuple(axes))
    y = empty([x.shape[a] for a in axes])
    _core.permute(x, y, list(axes))
    return y


@twin
def fill(y: Float32, value: float) -> None:
    """Do y[...] = value."""
    _core.fill(y, value)
