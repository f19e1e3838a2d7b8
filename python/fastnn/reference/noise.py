"""Noise besides plain dropout: decisions that several elements share, normal numbers from the same generator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .common import Array
from .random import _LOW, _threshold, philox4x32, uniform16

# Wichura (1988), Algorithm AS 241, in its form for 7 digits: numerator and denominator, the highest power first.
_MIDDLE = (59.109374720, 159.29113202, 50.434271938, 3.3871327179), (67.187563600, 78.757757664, 17.895169469, 1.0)
_TAIL = (0.17023821103, 1.3067284816, 2.7568153900, 1.4234372777), (0.12021132975, 0.73700164250, 1.0)


def random_keep(shape: Sequence[int], rate: float, seed: int, stream: int, counter: Array) -> Array:
    """1 where dropout keeps an element of that shape, 0 elsewhere; counter is increased by one."""
    numbers = uniform16(int(np.prod(shape)), seed, stream, counter)
    counter += 1
    keep: Array = (numbers >= _threshold(rate)).astype(np.float32).reshape(shape)
    return keep


def apply_keep(x: Array, keep: Array, scale: float, shift: float = 0.0, fill: float = 0.0) -> Array:
    """scale x + shift where keep is not 0, fill elsewhere."""
    kept = np.broadcast_to(keep != 0, x.shape)
    y: Array = np.full_like(x, fill, order="C")
    y[kept] = (x[kept] * np.float32(scale) + np.float32(shift)).astype(x.dtype)
    return y


def normals(n: int, seed: int, stream: int, step: int) -> Array:
    """Return n normal numbers in float64: number i from word i mod 4 of the block i // 4 of the generator.

    Its low 31 bits b give the absolute value, which a normal variable exceeds with probability (b + 1/2) 2^-32.
    """
    block = np.arange((n + 3) // 4, dtype=np.uint64)
    counter = np.empty((block.size, 4), np.uint64)
    counter[:, 0], counter[:, 1], counter[:, 2], counter[:, 3] = block & _LOW, block >> 32, stream, step
    words = philox4x32(counter, (seed & _LOW, seed >> 32)).reshape(-1)[:n].astype(np.int64)
    p = ((words & 0x7FFFFFFF) + 0.5) * 2.0**-32
    q = 0.5 - p
    r = 0.180625 - q * q
    t = np.sqrt(-np.log(p)) - 1.6
    middle, tail = (np.polyval(f[0], v) / np.polyval(f[1], v) for f, v in ((_MIDDLE, r), (_TAIL, t)))
    z: Array = np.where(q <= 0.425, q * middle, tail)
    return np.where(words >> 31 == 1, -z, z)


def _normals_like(x: Array, seed: int, stream: int, used: Array) -> Array:
    return normals(x.size, seed, stream, int(used[0]) & _LOW).reshape(x.shape).astype(x.dtype)


def gaussian_forward(
    x: Array, stddev: float, seed: int, stream: int, counter: Array, *, multiply: bool = False
) -> tuple[Array, Array]:
    """y = x + stddev z, or x (1 + stddev z); counter is increased by one. Returns y and a copy of the counter as it was."""
    used = counter.copy()
    counter += 1
    z = np.float32(stddev) * _normals_like(x, seed, stream, used)
    y: Array = (x * (1 + z) if multiply else x + z).astype(x.dtype)
    return y, used


def gaussian_backward(dy: Array, stddev: float, seed: int, stream: int, used: Array) -> Array:
    """dx = dy (1 + stddev z), z from the forward pass that returned used."""
    dx: Array = (dy * (1 + np.float32(stddev) * _normals_like(dy, seed, stream, used))).astype(dy.dtype)
    return dx
