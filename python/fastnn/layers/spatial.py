"""Layouts and sizes of samples with any number of spatial axes: sequences (T, C), images (H, W, C), volumes (D, H, W, C)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.names import Shape

Pads = tuple[int, int]  # before and behind

NOUNS = {1: "sequences", 2: "images", 3: "volumes"}


def channel_advice(shape: Sequence[int | None], rank: int) -> str:
    """Return how to mend samples that lack an axis."""
    return f"give the {NOUNS[rank]} a channel axis: x[..., None]" if len(shape) == rank + 1 else ""


def integers(who: str, argument: str, value: Any, rank: int, minimum: int = 1) -> tuple[int, ...]:
    """Return `rank` integers from one or from that many."""
    if isinstance(value, (tuple, list)):
        if len(value) != rank:
            checks.fail(who, f"{argument} to be one integer or {rank}", checks.describe(value))
        return tuple(checks.integer(who, argument, v, minimum) for v in value)
    return (checks.integer(who, argument, value, minimum),) * rank


def borders(who: str, argument: str, value: Any, rank: int) -> tuple[Pads, ...]:
    """Return (before, behind) of each axis from one integer, from one an axis, or from a pair an axis."""
    if isinstance(value, (tuple, list)) and len(value) == rank and any(isinstance(v, (tuple, list)) for v in value):
        return tuple(checks.pair(who, argument, v, 0) for v in value)
    if rank == 1:
        return (checks.pair(who, argument, value, 0),)
    return tuple((v, v) for v in integers(who, argument, value, rank, 0))


def sizes(shape: Sequence[int | None], data_format: str) -> tuple[int | None, ...]:
    """Return the spatial sizes of a batch's shape."""
    return tuple(shape[1:-1] if data_format == "channels_last" else shape[2:])


def channels(shape: Sequence[int | None], data_format: str) -> int | None:
    """Return C of a batch's shape."""
    return shape[-1] if data_format == "channels_last" else shape[1]


def batch_shape(spatial: Sequence[int | None], count: int | None, data_format: str) -> Shape:
    """Return a batch's shape from its spatial sizes and C."""
    return (None, *spatial, count) if data_format == "channels_last" else (None, count, *spatial)


def to_last(x: Float32, data_format: str) -> Float32:
    """Return x with its channels last."""
    return x if data_format == "channels_last" else ops.permute(x, (0, *range(2, x.ndim), 1))


def from_last(x: Float32, data_format: str) -> Float32:
    """Return x, whose channels are last, in the layer's layout."""
    return x if data_format == "channels_last" else ops.permute(x, (0, x.ndim - 1, *range(1, x.ndim - 1)))


def as_volumes(x: Float32, data_format: str) -> Float32:
    """View x as (N, D, H, W, C), missing axes of size 1; channels that come first are images of their own, with C = 1.

    For ops that treat all channels alike: no layout has to be changed.
    """
    n, c = x.shape[0], x.shape[-1] if data_format == "channels_last" else 1
    spatial = [s or 0 for s in sizes(x.shape, data_format)]
    if data_format == "channels_first":
        n *= x.shape[1]
    return x.reshape(n, *(1 for _ in range(3 - len(spatial))), *spatial, c)


def pooled_size(padding: str, size: int, window: int, stride: int) -> int:
    """Return how many places a window has along an axis."""
    return ops.conv_output_size(size, window, stride, pads(padding, size, window, stride))


def pads(padding: str, size: int, window: int, stride: int) -> Pads:
    """Return the padding of an axis: "same" gives ceil(size / stride) places, the odd element of padding behind."""
    if padding == "valid":
        return 0, 0
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2
