"""Images changed at random: uniform numbers, affine maps, rectangles, contrast and brightness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastnn import _core, checks
from fastnn.checks import Float32
from fastnn.ops.base import INT32, Pair, as_float32, check_rank, check_same_shape, empty, twin

Range = tuple[float, float]

FLOAT64 = np.dtype(np.float64)
NUMBERS = 8  # uniform ones that a random choice takes for each image


@twin
def random_uniform(shape: Sequence[int], seed: int, stream: int, counter: NDArray[np.uint64]) -> Float32:
    """Return uniform numbers in [0, 1), a function of (seed, stream, counter[0], place); counter[0] increases by one."""
    u = empty(shape)
    _core.random_uniform(u, seed, stream, counter)
    return u


@twin
def random_affine(
    u: Float32,
    in_size: Pair,
    out_size: Pair,
    *,
    flips: tuple[bool, bool] = (False, False),
    angle: Range = (0.0, 0.0),
    zoom_rows: Range = (1.0, 1.0),
    zoom_columns: Range | None = None,
    shift_rows: Range = (0.0, 0.0),
    shift_columns: Range = (0.0, 0.0),
    crop: bool = False,
) -> NDArray[np.float64]:
    """Return one matrix an image, (N, 6), for `affine2d_forward`, from uniform numbers u (N, 8).

    flips: up-down, left-right; angle in turns; zooms > 1 shrink; without zoom_columns rows and columns are zoomed alike; shifts in
    shares of the size, downwards and to the right. crop: a part of the input as large as the output, in place of all that.
    """
    check_rank("random_affine", "u", u, 2)
    m = empty((len(u), 6), FLOAT64)
    columns = zoom_rows if zoom_columns is None else zoom_columns
    _core.random_affine(
        u, m, in_size, out_size, flips, angle, zoom_rows, columns, zoom_columns is None, shift_rows, shift_columns, crop
    )
    return m


@twin
def affine2d_forward(
    x: Float32,
    matrices: NDArray[np.float64],
    size: Pair,
    *,
    border: str = "constant",
    bilinear: bool = True,
    value: float = 0.0,
) -> Float32:
    """Return y (N, *size, C): pixel (p, q) is x at the place that the image's matrix says.

    border: "constant" (then `value`), "nearest", "reflect", "mirror" or "wrap"; bilinear: else the nearest pixel.
    """
    x = as_float32("affine2d_forward", "x", x)
    check_rank("affine2d_forward", "x", x, 4)
    y = empty((x.shape[0], *size, x.shape[3]))
    _core.affine2d_forward(x, matrices, y, border, bilinear, value)
    return y


@twin
def affine2d_backward(
    dy: Float32, matrices: NDArray[np.float64], size: Pair, *, border: str = "constant", bilinear: bool = True
) -> Float32:
    """Return dx (N, *size, C): the transpose of the map that `affine2d_forward` is."""
    dy = as_float32("affine2d_backward", "dy", dy)
    check_rank("affine2d_backward", "dy", dy, 4)
    dx = empty((dy.shape[0], *size, dy.shape[3]))
    _core.affine2d_backward(dy, matrices, dx, border, bilinear)
    return dx


@twin
def random_rectangles(
    u: Float32, image: Pair, *, area: Range | None = None, size: Pair | None = None, chance: Range = (1.0, 1.0)
) -> NDArray[np.int32]:
    """Return (top, bottom, left, right) of one rectangle an image, (N, 4), from uniform numbers u (N, 8).

    area: the range of its share of the image; or size: its pixels, around a random one; chance: the range of the probability that
    it is not empty.
    """
    check_rank("random_rectangles", "u", u, 2)
    if (area is None) == (size is None):
        checks.fail("random_rectangles", "area or size", f"area={area}, size={size}")
    rectangles = empty((len(u), 4), INT32)
    _core.random_rectangles(u, rectangles, image, area, size, chance)
    return rectangles


@twin
def erase(
    x: Float32,
    rectangles: NDArray[np.int32],
    value: Float32,
    noise: Float32 | None = None,
    *,
    limits: Range = (0.0, 1.0),
) -> Float32:
    """Return x with each image's rectangle overwritten by value (C), or by noise in [0, 1) stretched to limits."""
    x = as_float32("erase", "x", x)
    check_rank("erase", "x", x, 4)
    y = empty(x.shape)
    _core.erase(x, rectangles, value, noise, y, *limits)
    return y


@twin
def adjust_forward(x: Float32, mean: Float32 | None, u: Float32, limits: Range, clip: Range) -> Float32:
    """Return x (N, pixels, C) with each image's distance from its mean (N, C) scaled, or, without mean, moved; then clipped.

    The factor, or what is added, is limits[0] + u[n] (limits[1] - limits[0]).
    """
    x = as_float32("adjust_forward", "x", x)
    check_rank("adjust_forward", "x", x, 3)
    y = empty(x.shape)
    _core.adjust_forward(x, mean, u, y, limits, clip)
    return y


@twin
def adjust_backward(dy: Float32, x: Float32, mean: Float32 | None, u: Float32, limits: Range, clip: Range) -> Float32:
    """Return dy where `adjust_forward` did not clip, 0 elsewhere."""
    dy = as_float32("adjust_backward", "dy", dy)
    check_same_shape("adjust_backward", "dy", dy, x.shape)
    dz = empty(x.shape)
    _core.adjust_backward(dy, x, mean, u, dz, limits, clip)
    return dz
