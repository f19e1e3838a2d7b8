"""Samples with one, two or three axes of space, sequences (T, C), images (H, W, C), volumes (D, H, W, C): windows over them,
borders around them, their layouts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.ops import Pair

Sizes = tuple[int, ...]  # one number for each axis
Pads = tuple[Pair, ...]  # (before, after) for each axis

MOST = 2**31 - 1  # of a window, a stride, a border: sums of them stay within 64 bits
NOUNS = {1: "sequences", 2: "images", 3: "volumes"}
COUNTS = {1: "one integer", 2: "one integer or two", 3: "one integer or three"}


def sizes_of(who: str, argument: str, value: Any, rank: int, minimum: int = 1) -> Sizes:
    """Return one integer for each axis from one for all of them, or from as many."""
    try:
        values = list(value)
    except TypeError:
        values = [value] * rank
    if len(values) != rank or isinstance(value, str):
        checks.fail(who, f"{argument} to be {COUNTS[rank]}", checks.describe(value))
    sizes = tuple(checks.integer(who, argument, v, minimum) for v in values)
    if max(sizes) > MOST:
        checks.fail(who, f"{argument} of at most {MOST}", max(sizes))
    return sizes


def borders(who: str, argument: str, value: Any, rank: int) -> Pads:
    """Return (before, after) for each axis from one number, from a number or a pair for each; for one axis also from a pair."""
    if isinstance(value, (tuple, list)) and any(isinstance(v, (tuple, list)) for v in value):
        if len(value) != rank:
            checks.fail(who, f"{argument} to be (before, after) for each of {rank} axes", checks.describe(value))
        return tuple(checks.pair(who, argument, v, 0) for v in value)
    if rank == 1:
        only = value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value
        return (checks.pair(who, argument, only, 0),)
    return tuple((v, v) for v in sizes_of(who, argument, value, rank, 0))


def padding_of(who: str, padding: Any, rank: int, names: Sequence[str] = ("valid", "same")) -> str | Pads:
    """Return one of the names, or (before, after) for each axis as `borders` does."""
    return (
        checks.one_of(who, "padding", padding, names)
        if isinstance(padding, str)
        else borders(who, "padding", padding, rank)
    )


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


def channel_advice(shape: Sequence[int | None], rank: int) -> str:
    """Return how to mend samples that lack an axis."""
    return f"give the {NOUNS[rank]} a channel axis: x[..., None]" if len(shape) == rank + 1 else ""


def batch_shape(sizes: Sequence[int | None], count: int | None, data_format: str) -> tuple[int | None, ...]:
    """Return a batch's shape from the sizes and C."""
    return (None, *sizes, count) if data_format == "channels_last" else (None, count, *sizes)


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
    n, c = x.shape[0], x.shape[-1]
    if data_format == "channels_first":
        n, c = n * x.shape[1], 1
    sizes = x.shape[1:-1] if data_format == "channels_last" else x.shape[2:]
    return x.reshape(n, *(1 for _ in range(3 - len(sizes))), *sizes, c)
