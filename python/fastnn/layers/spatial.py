"""Windows over one, two or three axes: their sizes, padding, and how many places they have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.ops import Pair

Sizes = tuple[int, ...]  # one number for each axis
Pads = tuple[Pair, ...]  # (before, after) for each axis

COUNTS = {1: "one integer", 2: "one integer or two", 3: "one integer or three"}


def sizes_of(who: str, argument: str, value: Any, rank: int, minimum: int = 1) -> Sizes:
    """Return one integer for each axis from one for all of them, or from as many."""
    try:
        values = list(value)
    except TypeError:
        values = [value] * rank
    if len(values) != rank or isinstance(value, str):
        checks.fail(who, f"{argument} to be {COUNTS[rank]}", checks.describe(value))
    return tuple(checks.integer(who, argument, v, minimum) for v in values)


def padding_of(who: str, padding: Any, rank: int, names: Sequence[str] = ("valid", "same")) -> str | Pads:
    """Return one of the names, or (before, after) for each axis from one number or from a number or a pair for each axis."""
    if isinstance(padding, str):
        return checks.one_of(who, "padding", padding, names)
    if isinstance(padding, (tuple, list)) and any(isinstance(p, (tuple, list)) for p in padding):
        if len(padding) != rank:
            checks.fail(who, f"padding to be (before, after) for each of {rank} axes", checks.describe(padding))
        pairs = [sizes_of(who, "padding", p, 2, 0) for p in padding]
        return tuple((before, after) for before, after in pairs)
    return tuple((p, p) for p in sizes_of(who, "padding", padding, rank, 0))


def explicit(
    padding: str | Pads, sizes: Sequence[int], window: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> Pads:
    """Return (before, after) for each axis.

    "same" gives ceil(size / stride) places, the odd pixel of padding behind; "causal" lets a place see nothing behind it.
    """
    if not isinstance(padding, str):
        return padding
    spans = [(k - 1) * d for k, d in zip(window, dilation)]
    if padding == "valid":
        return tuple((0, 0) for _ in spans)
    if padding == "causal":
        return tuple((s, 0) for s in spans)
    totals = [max((-(-n // t) - 1) * t + s + 1 - n, 0) for n, t, s in zip(sizes, strides, spans)]
    return tuple((t // 2, t - t // 2) for t in totals)


def places(
    padding: str | Pads,
    sizes: Sequence[int | None],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> list[int | None]:
    """Return how many places the window has along each axis; None where the size is free."""
    known = [0 if n is None else n for n in sizes]
    pads = explicit(padding, known, window, strides, dilation)
    found = map(ops.conv_output_size, known, window, strides, pads, dilation)
    return [None if n is None else count for n, count in zip(sizes, found)]


def transposed_sizes(
    padding: str | Pads,
    output_padding: Sequence[int] | None,
    sizes: Sequence[int | None],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> list[int | None]:
    """Return the sizes of what a transposed convolution makes; None where the size is free.

    Without output_padding "same" gives size stride, other padding as much as the windows reach, at least size stride less what is
    cut off; with it "same" gives (size - 1) stride + (span mod 2) + output_padding, other padding (size - 1) stride + span +
    output_padding less what is cut off. span = dilation (window - 1) + 1.
    """
    result: list[int | None] = []
    for i, (n, stride) in enumerate(zip(sizes, strides)):
        span = (window[i] - 1) * dilation[i] + 1
        extra = None if output_padding is None else output_padding[i]
        cut = 0 if isinstance(padding, str) else sum(padding[i])
        if n is None:
            result.append(None)
        elif padding == "same":
            result.append(n * stride if extra is None else (n - 1) * stride + span % 2 + extra)
        else:
            result.append((n - 1) * stride + span - cut + (max(stride - span, 0) if extra is None else extra))
    return result


def transposed_pads(
    padding: str | Pads,
    sizes: Sequence[int],
    made: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> Pads:
    """Return (before, after) for each axis of the convolution from images of size `made` to `sizes` that is transposed.

    It is what the transposed one cuts off its windows' whole reach: with "same" half of it before, the odd pixel behind.
    """
    pads = []
    for i, (n, stride) in enumerate(zip(sizes, strides)):
        cut = (n - 1) * stride + (window[i] - 1) * dilation[i] + 1 - made[i]
        before = padding[i][0] if not isinstance(padding, str) else max(cut // 2, 0) if padding == "same" else 0
        pads.append((before, max(cut - before, 0)))
    return tuple(pads)


def spatial(shape: Sequence[int | None], data_format: str) -> Sequence[int | None]:
    """Return the sizes of a batch's shape without samples and channels."""
    return shape[1:-1] if data_format == "channels_last" else shape[2:]


def channels(shape: Sequence[int | None], data_format: str) -> int | None:
    """Return C of a batch's shape."""
    return shape[-1] if data_format == "channels_last" else shape[1]


def batch_shape(sizes: Sequence[int | None], count: int | None, data_format: str) -> tuple[int | None, ...]:
    """Return a batch's shape from the sizes and C."""
    return (None, *sizes, count) if data_format == "channels_last" else (None, count, *sizes)


def to_last(x: Float32, data_format: str) -> Float32:
    """Return x with its channels last."""
    return x if data_format == "channels_last" else ops.permute(x, (0, *range(2, x.ndim), 1))


def from_last(x: Float32, data_format: str) -> Float32:
    """Return x, whose channels are last, in the layer's layout."""
    return x if data_format == "channels_last" else ops.permute(x, (0, x.ndim - 1, *range(1, x.ndim - 1)))
