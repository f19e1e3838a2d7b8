"""Axes that a function works along: their numbers, and arrays with these axes as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn import checks, ops
from fastnn.checks import Float32


def axis_argument(who: str, axis: Any) -> int | tuple[int, ...]:
    """Return an axis, or several, as they were given, after checking that they are integers and differ."""
    if not isinstance(axis, (tuple, list)):
        return checks.integer(who, "axis", axis)
    axes = tuple(checks.integer(who, "axis", a) for a in axis)
    if not axes or len(set(axes)) < len(axes):
        checks.fail(who, "axis to be an integer or several different ones", axis)
    return axes[0] if len(axes) == 1 else axes


def axes_of(who: str, axis: int | tuple[int, ...], rank: int) -> list[int]:
    """Return the numbers of the axes from 0 on, in order."""
    axes = [axis] if isinstance(axis, int) else list(axis)
    if any(not -rank <= a < rank for a in axes) or len({a % rank for a in axes}) < len(axes):
        checks.fail(who, f"axis of arrays of rank {rank}", axis, f"it may be from {-rank} to {rank - 1}")
    return sorted(a % rank for a in axes)


def _order(rank: int, axes: Sequence[int]) -> list[int]:
    return [*(i for i in range(rank) if i not in axes), *axes]


def to_rows(x: Float32, axes: Sequence[int]) -> Float32:
    """Return x with these axes last and laid in one."""
    order = _order(x.ndim, axes)
    moved = x if order == sorted(order) else ops.permute(x, order)
    size = int(np.prod([x.shape[a] for a in axes]))
    return moved.reshape(*moved.shape[: x.ndim - len(axes)], size)


def from_rows(rows: Float32, shape: Sequence[int], axes: Sequence[int]) -> Float32:
    """Return what `to_rows` made of an array of this shape as that array."""
    order = _order(len(shape), axes)
    moved = rows.reshape([shape[a] for a in order])
    return moved if order == sorted(order) else ops.permute(moved, [order.index(i) for i in range(len(shape))])
