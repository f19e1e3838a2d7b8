"""Padding and layout of image layers, shared by convolution and pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.names import Shape
from fastnn.ops import Padding, Pair

TO_LAST = (0, 2, 3, 1)
TO_FIRST = (0, 3, 1, 2)


def padding_of(who: str, padding: Any) -> str | Padding:
    """Return "valid", "same" or ((top, bottom), (left, right)) from those, from one number, or from (rows, columns)."""
    if isinstance(padding, str):
        return checks.one_of(who, "padding", padding, ("valid", "same"))
    if isinstance(padding, (tuple, list)) and len(padding) == 2 and all(isinstance(p, (tuple, list)) for p in padding):
        return checks.pair(who, "padding", padding[0], 0), checks.pair(who, "padding", padding[1], 0)
    rows, columns = checks.pair(who, "padding", padding, 0)
    return (rows, rows), (columns, columns)


def explicit_padding(
    padding: str | Padding, sizes: Sequence[int], window: Pair, strides: Pair, dilation: Pair = (1, 1)
) -> Padding:
    """Return ((top, bottom), (left, right)); "same" gives ceil(size / stride) outputs, the odd pixel of padding behind."""
    if padding == "valid":
        return ops.NO_PADDING
    if padding != "same":
        return padding  # type: ignore[return-value]
    result = []
    for size, k, stride, d in zip(sizes, window, strides, dilation):
        total = max((-(-size // stride) - 1) * stride + (k - 1) * d + 1 - size, 0)
        result.append((total // 2, total - total // 2))
    return result[0], result[1]


def output_sizes(
    padding: str | Padding, sizes: Sequence[int | None], window: Pair, strides: Pair, dilation: Pair = (1, 1)
) -> list[int | None]:
    """Return how many places the window has in each direction; None where the size is free."""
    result: list[int | None] = []
    for i, size in enumerate(sizes):
        if size is None:
            result.append(None)
            continue
        pads = explicit_padding(padding, (size, size), window, strides, dilation)[i]
        result.append(ops.conv_output_size(size, window[i], strides[i], pads, dilation[i]))
    return result


def spatial(shape: Sequence[int | None], data_format: str) -> Sequence[int | None]:
    """Return (H, W) of a batch's shape."""
    return shape[1:3] if data_format == "channels_last" else shape[2:4]


def channels(shape: Sequence[int | None], data_format: str) -> int | None:
    """Return C of a batch's shape."""
    return shape[-1] if data_format == "channels_last" else shape[1]


def image_shape(sizes: Sequence[int | None], count: int | None, data_format: str) -> Shape:
    """Return a batch's shape from (H, W) and C."""
    return (None, *sizes, count) if data_format == "channels_last" else (None, count, *sizes)


def to_last(x: Float32, data_format: str) -> Float32:
    """Return x with its channels last."""
    return x if data_format == "channels_last" else ops.permute(x, TO_LAST)


def from_last(x: Float32, data_format: str) -> Float32:
    """Return x, whose channels are last, in the layer's layout."""
    return x if data_format == "channels_last" else ops.permute(x, TO_FIRST)
