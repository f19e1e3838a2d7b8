"""Calls of the convolutions beside the 2-D one with few groups: depthwise, transposed, over three axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from ops_calls import Call, Convolution, Generator, geometry, lanes, normal, two

from fastnn import ops

Volume = tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]  # x shape, kernel shape, options


def volume_geometry(
    strides: tuple[int, ...] = (1, 1, 1),
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0), (0, 0)),
    dilation: tuple[int, ...] = (1, 1, 1),
    groups: int = 1,
) -> dict[str, Any]:
    """Return the options of a 3-D convolution."""
    return {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}


def _random_axes(rng: Generator, rank: int, largest: int) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """Return sizes, windows, strides and dilation, and padding, so that there is at least one place along every axis."""
    while True:
        highs = ((1, largest + 1), (1, 5), (1, 4), (1, 4), (0, 4), (0, 4))
        image, window, strides, dilation, before, after = ([int(v) for v in rng.integers(*h, rank)] for h in highs)
        padding = list(zip(before, after, strict=True))
        if min(map(ops.conv_output_size, image, window, strides, padding, dilation)) >= 1:
            return [image, window, strides, dilation], padding


def random_depthwise(rng: Generator, largest: int) -> Convolution:
    """Return any depthwise convolution, with channels around those of a vector or of several pixels in one."""
    (image, window, strides, dilation), pads = _random_axes(rng, 2, largest)
    channels, times = int(rng.integers(2, 2 * lanes() + 3)), int(rng.choice([1, 1, 1, 2, 3]))
    options = geometry(two(strides), (pads[0], pads[1]), two(dilation), channels)
    return (int(rng.integers(1, 4)), *image, channels), (*window, 1, channels * times), options


def random_volume(rng: Generator, largest: int) -> Volume:
    """Return any 3-D convolution of volumes up to `largest` along each axis."""
    (image, window, strides, dilation), pads = _random_axes(rng, 3, largest)
    groups = int(rng.choice([1, 1, 2, 3]))
    depth, outputs = int(rng.integers(1, 5)), groups * int(rng.integers(1, lanes() + 3))
    options = volume_geometry(tuple(strides), tuple(pads), tuple(dilation), groups)
    return (int(rng.integers(1, 4)), *image, groups * depth), (*window, depth, outputs), options


VOLUMES: dict[str, Volume] = {
    "stride 1": ((2, 6, 11, 13, 7), (3, 2, 3, 7, 18), volume_geometry(padding=((1, 1), (0, 1), (1, 1)))),
    "strided": ((2, 9, 13, 12, 6), (2, 3, 2, 6, 17), volume_geometry((3, 1, 2), ((2, 0), (1, 0), (0, 0)), (2, 1, 1))),
    "groups": ((2, 7, 12, 11, 12), (3, 2, 2, 4, 18), volume_geometry((2, 1, 1), groups=3)),
    "slices apart": ((3, 5, 14, 13, 8), (1, 3, 3, 8, 20), volume_geometry()),
}

DEPTHWISE: dict[str, Convolution] = {
    "few channels": ((6, 37, 29, 3), (3, 5, 1, 3), geometry(padding=((1, 1), (2, 2)), groups=3)),
    "many channels": ((6, 17, 15, 67), (3, 3, 1, 67), geometry(padding=((1, 1), (1, 1)), groups=67)),
    "strided": ((6, 61, 57, 20), (3, 3, 1, 20), geometry((2, 3), ((0, 1), (1, 1)), (1, 2), 20)),
    "several filters": ((5, 28, 23, 9), (3, 2, 1, 27), geometry((1, 1), ((1, 1), (0, 1)), (2, 1), 9)),
    "several filters, strided": ((6, 48, 53, 9), (3, 4, 1, 18), geometry((2, 2), ((1, 1), (0, 1)), groups=9)),
}


def volume_calls(rng: Generator, cases: dict[str, Volume] = VOLUMES) -> dict[str, Call]:
    """Return the three products of every 3-D convolution and its transpose."""
    calls: dict[str, Call] = {}
    for label, (x_shape, kernel_shape, options) in cases.items():
        x, kernel, bias = normal(rng, *x_shape), normal(rng, *kernel_shape), normal(rng, kernel_shape[-1])
        dy = normal(rng, *ops.conv3d_forward(x, kernel, **options).shape)
        gradients = np.zeros(kernel_shape, np.float32), np.zeros(bias.shape, np.float32)
        behind, f = {"relu_output": x, **options}, {"activation": "relu", **options}
        transposed = (dy, kernel, x_shape[1:-1], normal(rng, x_shape[-1]))
        calls |= {
            f"conv3d_forward {label}": Call("conv3d_forward", (x, kernel, bias), f),
            f"conv3d_backward_input {label}": Call("conv3d_backward_input", (dy, kernel, x_shape), options),
            f"conv3d_backward_input {label} behind a relu": Call(
                "conv3d_backward_input", (dy, kernel, x_shape), behind
            ),
            f"conv3d_backward_filter {label}": Call("conv3d_backward_filter", (x, dy, *gradients), options, (2, 3)),
            f"conv3d_transpose_forward {label}": Call("conv3d_transpose_forward", transposed, f),
        }
    return calls


def transposed_calls(rng: Generator, cases: dict[str, Convolution]) -> dict[str, Call]:
    """Return the transposes of 2-D convolutions."""
    calls: dict[str, Call] = {}
    for label, (x_shape, kernel_shape, options) in cases.items():
        small = ops.conv2d_forward(np.zeros(x_shape, np.float32), np.zeros(kernel_shape, np.float32), **options)
        x, kernel, bias = normal(rng, *small.shape), normal(rng, *kernel_shape), normal(rng, x_shape[-1])
        calls[f"conv2d_transpose_forward {label}"] = Call(
            "conv2d_transpose_forward", (x, kernel, x_shape[1:3], bias), {"activation": "tanh", **options}
        )
    return calls
