"""Random noise besides plain dropout: decisions that several elements share, normal numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastnn import _core, checks
from fastnn.checks import Float32
from fastnn.ops.base import UINT64, as_float32, check_same_shape, empty, twin
from fastnn.ops.merge import broadcast

Counter = NDArray[np.uint64]


@twin
def random_keep(shape: Sequence[int], rate: float, seed: int, stream: int, counter: Counter) -> Float32:
    """Return an array of ones, a share `rate` of them set to 0, as dropout would do it; counter[0] increases by one."""
    keep = empty(tuple(shape))
    _core.random_keep(keep, rate, seed, stream, counter)
    return keep


def _blocks(shape: Sequence[int], keep_shape: Sequence[int]) -> tuple[int, int, int] | None:
    """Return (outer, repeat, inner) if `keep_shape` has its axes of size 1 in a row, where `shape` has other sizes; else None."""
    repeated = [i for i, (size, own) in enumerate(zip(shape, keep_shape)) if size != own]
    if not repeated:
        outer = shape[0] if shape else 1
        return outer, 1, int(np.prod(shape[1:]))
    first, last = repeated[0], repeated[-1] + 1
    if any(keep_shape[i] != 1 for i in range(first, last)):
        return None
    return int(np.prod(shape[:first])), int(np.prod(shape[first:last])), int(np.prod(shape[last:]))


@twin
def apply_keep(x: Float32, keep: Float32, scale: float, shift: float = 0.0, fill: float = 0.0) -> Float32:
    """Return scale x + shift where keep, broadcast to x's shape, is not 0, and fill elsewhere."""
    x, keep = as_float32("apply_keep", "x", x), as_float32("apply_keep", "keep", keep)
    if keep.ndim != x.ndim or any(own not in (1, size) for own, size in zip(keep.shape, x.shape)):
        checks.fail("apply_keep", f"keep of shape {x.shape}, or 1 in its place", keep.shape)
    blocks = _blocks(x.shape, keep.shape)
    if blocks is None:
        keep = broadcast(keep, x.shape)
        blocks = _blocks(x.shape, x.shape)
    y = empty(x.shape)
    _core.apply_keep(x, keep, y, *(blocks or (0, 0, 0)), scale, shift, fill)
    return y


@twin
def gaussian_forward(
    x: Float32, stddev: float, seed: int, stream: int, counter: Counter, *, multiply: bool = False
) -> tuple[Float32, Counter]:
    """Return (y, used): x + stddev z, or x (1 + stddev z), z normal; counter[0] increases by one."""
    x = as_float32("gaussian_forward", "x", x)
    y, used = empty(x.shape), empty((1,), UINT64)
    _core.gaussian_forward(x, y, stddev, multiply, seed, stream, counter, used)
    return y, used


@twin
def gaussian_backward(dy: Float32, stddev: float, seed: int, stream: int, used: Counter) -> Float32:
    """Return dx: dy (1 + stddev z) with the z of the multiplying forward pass that returned `used`."""
    dy = as_float32("gaussian_backward", "dy", dy)
    dx = empty(dy.shape)
    check_same_shape("gaussian_backward", "dy", dy, dx.shape)
    _core.gaussian_backward(dy, dx, stddev, seed, stream, used)
    return dx
