"""Images changed at random: uniform numbers, affine maps, rectangles, contrast and brightness."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from .common import Array, Pair
from .random import philox4x32

Range = tuple[float, float]

_LOW = 0xFFFFFFFF
_FRACTION = 2.0**24  # coordinates are multiples of 1 / _FRACTION, so that the rounding of a matrix decides nothing


def random_uniform(shape: tuple[int, ...], seed: int, stream: int, counter: Array) -> Array:
    """u[i] = upper 24 bits of Philox word i, as a float32 number in [0, 1).

    Word i is word i % 4 of the block i // 4, whose counter is (low word, high word of its number, stream, step), the step
    being the counter's low word; counter (uint64, one value) is then increased by one.
    """
    n = math.prod(shape)
    block = np.arange((n + 3) // 4, dtype=np.uint64)
    words = np.empty((block.size, 4), np.uint64)
    words[:, 0], words[:, 1], words[:, 2], words[:, 3] = block & _LOW, block >> 32, stream, int(counter[0]) & _LOW
    counter += 1
    numbers = philox4x32(words, (seed & _LOW, seed >> 32)).reshape(-1)[:n] >> 8
    return (numbers / _FRACTION).astype(np.float32).reshape(shape)


def _between(limits: Range, u: Array) -> Array:
    return np.asarray(limits[0] + u.astype(np.float64) * (limits[1] - limits[0]))


def _sine_cosine(turns: Array) -> tuple[Array, Array]:
    """Return sine and cosine of angles in turns, exact at quarters."""
    quarters = turns * 4
    rounded = np.trunc(quarters + np.where(quarters < 0, -0.5, 0.5))
    angle = (quarters - rounded) * (math.pi / 2)
    sine, cosine, quarter = np.sin(angle), np.cos(angle), rounded.astype(np.int64) % 4
    return (
        np.choose(quarter, [sine, cosine, -sine, -cosine]),
        np.choose(quarter, [cosine, -sine, -cosine, sine]),
    )


def random_affine(
    u: Array,
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
) -> Array:
    """Return m (N, 6), float64, from u (N, 8): the output pixel (p, q) of image n comes from m[n, 0:2] (p, q) + m[n, 2] of the
    input's rows and m[n, 3:5] (p, q) + m[n, 5] of its columns.

    About the centers: flipped up-down where flips[0] and u[0] < 1/2, left-right where flips[1] and u[1] < 1/2, turned by an
    angle in turns (u[2]), zoomed (u[3], u[4]; without zoom_columns u[3] for both), moved by shares of the size (u[5], u[6]).
    crop: instead the part of the input from pixel floor(u[5] (H - P + 1)), floor(u[6] (W - Q + 1)) on.
    """
    (height, width), (p, q) = in_size, ((size - 1) / 2 for size in out_size)
    m = np.zeros((len(u), 6))
    if crop:
        m[:, 0] = m[:, 4] = 1
        m[:, 2] = np.floor(u[:, 5].astype(np.float64) * (height - out_size[0] + 1))
        m[:, 5] = np.floor(u[:, 6].astype(np.float64) * (width - out_size[1] + 1))
        return m
    up, side = (np.where(flips[i] & (u[:, i] < 0.5), -1.0, 1.0) for i in (0, 1))
    sine, cosine = _sine_cosine(_between(angle, u[:, 2]))
    rows = _between(zoom_rows, u[:, 3])
    columns = rows if zoom_columns is None else _between(zoom_columns, u[:, 4])
    m[:, 0], m[:, 1] = rows * cosine * up, rows * sine * side
    m[:, 3], m[:, 4] = -columns * sine * up, columns * cosine * side
    m[:, 2] = (height - 1) / 2 - _between(shift_rows, u[:, 5]) * height - m[:, 0] * p - m[:, 1] * q
    m[:, 5] = (width - 1) / 2 - _between(shift_columns, u[:, 6]) * width - m[:, 3] * p - m[:, 4] * q
    return m


def _inside(i: Array, n: int, border: str) -> tuple[Array, Array]:
    """Return the pixel that stands for pixel i of a row of n, and whether there is one."""
    if border == "constant":
        return np.clip(i, 0, n - 1), (i >= 0) & (i < n)
    if border == "nearest":
        at = np.clip(i, 0, n - 1)
    elif border == "wrap":
        at = i % n
    elif border == "reflect":
        at = np.minimum(i % (2 * n), 2 * n - 1 - i % (2 * n))
    else:
        period = max(2 * n - 2, 1)
        at = np.minimum(i % period, 2 * n - 2 - i % period)
    return at, np.ones(i.shape, bool)


def _axis(place: Array, n: int, border: str, bilinear: bool) -> list[tuple[Array, Array, Array]]:
    """Return (pixel, whether there is one, weight) of what makes up a value, along one axis."""
    fixed = np.floor(np.clip(place, -(2.0**38), 2.0**38) * _FRACTION + 0.5) / _FRACTION
    if not bilinear:
        nearest = (np.sign(fixed) * np.floor(np.abs(fixed) + 0.5)).astype(np.int64)
        return [(*_inside(nearest, n, border), np.ones(place.shape))]
    below = np.floor(fixed)
    share, first = fixed - below, below.astype(np.int64)
    return [(*_inside(first, n, border), 1 - share), (*_inside(first + 1, n, border), share)]


def _taps(
    matrices: Array, in_size: Pair, out_size: Pair, border: str, bilinear: bool
) -> Iterator[tuple[Array, Array, Array, Array]]:
    """Yield (row, column, whether there is such a pixel, weight), each (N, P, Q), of what makes up every output pixel."""
    p, q = np.arange(out_size[0])[:, None], np.arange(out_size[1])
    m = matrices[:, :, None, None]
    rows = _axis(m[:, 0] * p + m[:, 1] * q + m[:, 2], in_size[0], border, bilinear)
    columns = _axis(m[:, 3] * p + m[:, 4] * q + m[:, 5], in_size[1], border, bilinear)
    for row, has_row, row_weight in rows:
        for column, has_column, column_weight in columns:
            yield row, column, has_row & has_column, row_weight * column_weight


def affine2d_forward(
    x: Array, matrices: Array, size: Pair, *, border: str = "constant", bilinear: bool = True, value: float = 0.0
) -> Array:
    """y[n, p, q] = x[n] at the place that matrices[n] says; x (N, H, W, C), y (N, *size, C).

    bilinear: between the four pixels around it, else the nearest one; `value` where there is none and border is "constant".
    """
    n = np.arange(len(x))[:, None, None]
    y = np.zeros((len(x), *size, x.shape[3]), x.dtype)
    for row, column, there, weight in _taps(matrices, (x.shape[1], x.shape[2]), size, border, bilinear):
        pixel = np.where(there[..., None], x[n, row, column], x.dtype.type(value))
        y += np.where(weight[..., None] == 0, 0, pixel * weight[..., None].astype(x.dtype))
    return y


def affine2d_backward(
    dy: Array, matrices: Array, size: Pair, *, border: str = "constant", bilinear: bool = True
) -> Array:
    """dx (N, *size, C): dy[n, p, q] is added to the pixels that made up y[n, p, q], by their weights."""
    dx = np.zeros((len(dy), *size, dy.shape[3]), dy.dtype)
    n = np.broadcast_to(np.arange(len(dy))[:, None, None], dy.shape[:3])
    for row, column, there, weight in _taps(matrices, size, (dy.shape[1], dy.shape[2]), border, bilinear):
        used = there & (weight != 0)
        np.add.at(dx, (n[used], row[used], column[used]), (dy * weight[..., None].astype(dy.dtype))[used])
    return dx


def random_rectangles(
    u: Array, image: Pair, *, area: Range | None = None, size: Pair | None = None, chance: Range = (1.0, 1.0)
) -> Array:
    """Return (top, bottom, left, right), int32 (N, 4), from u (N, 8).

    area: height and width are sqrt(area[0] + u (area[1] - area[0])) of the image's (u[0], u[1]), it begins at u[2], u[3] times
    what is left, and the pixels with numbers inside belong to it. size: so many pixels around the pixel floor(u[2] H),
    floor(u[3] W), as far as there are any. Empty unless u[5] < chance[0] + u[4] (chance[1] - chance[0]).
    """
    result = np.zeros((len(u), 4), np.int32)
    for axis in (0, 1):
        n, start = image[axis], u[:, 2 + axis].astype(np.float64)
        if area is not None:
            length = np.sqrt(_between(area, u[:, axis])) * n
            start = start * (n - length)
            first, last = np.ceil(start), np.minimum(np.ceil(start + length), n)
        else:
            assert size is not None
            first = np.floor(start * n) - size[axis] // 2
            first, last = np.maximum(first, 0), np.minimum(first + size[axis], n)
        result[:, 2 * axis], result[:, 2 * axis + 1] = first, last
    result[u[:, 5] >= _between(chance, u[:, 4])] = 0
    return result


def erase(
    x: Array, rectangles: Array, value: Array, noise: Array | None = None, *, limits: Range = (0.0, 1.0)
) -> Array:
    """y = x, but in the rectangle of each image value[c] or, with noise (like x), limits[0] + noise (limits[1] - limits[0])."""
    y = x.copy()
    for n, (top, bottom, left, right) in enumerate(rectangles):
        part = y[n, top:bottom, left:right]
        if noise is None:
            part[...] = value
        else:
            part[...] = limits[0] + noise[n, top:bottom, left:right] * (limits[1] - limits[0])
    return y


def _adjusted(x: Array, mean: Array | None, u: Array, limits: Range) -> Array:
    low, high = (np.float32(v) for v in limits)
    factor = (low + u * (high - low)).reshape(-1, 1, 1)
    return np.asarray(x + factor if mean is None else factor * (x - mean[:, None]) + mean[:, None])


def adjust_forward(x: Array, mean: Array | None, u: Array, limits: Range, clip: Range) -> Array:
    """y = a (x - mean) + mean with mean (N, C), x + a without; clipped; a = limits[0] + u[n] (limits[1] - limits[0]).

    x (N, pixels, C).
    """
    z = _adjusted(x, mean, u, limits)
    return np.clip(z, np.float32(clip[0]), np.float32(clip[1])).astype(x.dtype)


def adjust_backward(dy: Array, x: Array, mean: Array | None, u: Array, limits: Range, clip: Range) -> Array:
    """dz = dy where z, what adjust_forward clips, lies within clip, 0 elsewhere."""
    z = _adjusted(x, mean, u, limits)
    return np.where((z < np.float32(clip[0])) | (z > np.float32(clip[1])), 0, dy).astype(dy.dtype)
