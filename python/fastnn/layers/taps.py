"""Sparse matrices that resize a row of pixels: what every pixel of the new row is made of."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fastnn.ops import Taps

Float64 = NDArray[np.float64]

SMALLEST = 1e-8  # shares of a pixel below it are rounding: sin(pi x) is not quite 0 at integers


def _linear(x: Float64) -> Float64:
    return np.maximum(1 - x, 0)


def _cubic(x: Float64) -> Float64:
    """Keys's kernel, a = -1/2."""
    near, far = ((1.5 * x - 2.5) * x) * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _lanczos(radius: int) -> Callable[[Float64], Float64]:
    return lambda x: np.where(x < radius, np.sinc(x) * np.sinc(x / radius), 0)


KERNELS: dict[str, Callable[[Float64], Float64]] = {
    "bilinear": _linear,
    "bicubic": _cubic,
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
}
INTERPOLATIONS = ("nearest", *KERNELS)
AREA = "area"


@functools.lru_cache(maxsize=256)
def resizing(
    method: str, old: int, new: int, antialias: bool = False, align_corners: bool = False
) -> tuple[Taps, Taps]:
    """Return the matrix (new x old) that resizes a row, and its transpose.

    Pixel i of the new row has its center at (i + 1/2) old / new - 1/2 of the old one. nearest: it is the old pixel there. Else it
    is a mean of those around it, weighted by a kernel of their distance; antialias widens the kernel where a row gets shorter.
    area: weighted by how much of each lies within the new pixel, which is as wide as old / new of them.
    align_corners: the first and the last centers are those of the old row, the others evenly between.
    """
    if method == "nearest":
        weights = np.zeros((new, old))
        weights[np.arange(new), (2 * np.arange(new) + 1) * old // (2 * new)] = 1
    elif method == AREA:
        ends, pixels = np.arange(new + 1)[:, None] * (old / new), np.arange(old)
        inside = np.minimum(ends[1:], pixels + 1) - np.maximum(ends[:-1], pixels)
        weights = np.maximum(inside, 0) * (new / old)
    else:
        scale = old / new
        center = (np.arange(new) + 0.5) * scale - 0.5
        if align_corners:
            center = np.arange(new) * ((old - 1) / max(new - 1, 1))
        distance = np.abs(center[:, None] - np.arange(old)) / (max(scale, 1.0) if antialias else 1.0)
        weights = KERNELS[method](distance)
        weights /= weights.sum(1, keepdims=True)
    return _sparse(weights), _sparse(weights.T)


def identity() -> Taps:
    """Return the matrix of a row of one pixel that stays."""
    return resizing("nearest", 1, 1)[0]


def _sparse(weights: Float64) -> Taps:
    rows, columns = np.nonzero(np.abs(weights) > SMALLEST)
    start = np.zeros(len(weights) + 1, np.int32)
    np.cumsum(np.bincount(rows, minlength=len(weights)), out=start[1:])
    taps = Taps(start, columns.astype(np.int32), weights[rows, columns].astype(np.float32))
    for part in taps:
        part.flags.writeable = False  # it is shared
    return taps


def cropped_to_ratio(old: tuple[int, int], new: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the offset and the size of the largest part in the middle of an image that has the ratio of sides of `new`."""
    size = [max(min(old[i], math.trunc(old[1 - i] * new[i] / new[1 - i])), 1) for i in (0, 1)]
    return ((old[0] - size[0]) // 2, (old[1] - size[1]) // 2), (size[0], size[1])


def padded_to_ratio(old: tuple[int, int], new: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the offset and the size of the smallest area around an image that has the ratio of sides of `new`."""
    border = [(max(old[i], math.trunc(old[1 - i] * new[i] / new[1 - i])) - old[i]) // 2 for i in (0, 1)]
    return (-border[0], -border[1]), (old[0] + 2 * border[0], old[1] + 2 * border[1])
