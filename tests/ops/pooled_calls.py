"""Calls of convolutions and the max pooling of their outputs as one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ops_calls import CONVOLUTIONS, Call, Convolution, Generator, Pair, geometry, normal, random_convolution
from window_calls import DEPTHWISE

from fastnn import ops


class Pooled(NamedTuple):
    """A convolution, and rows and columns of the windows over its output."""

    convolution: Convolution
    window: Pair


def output_of(convolution: Convolution) -> tuple[int, int]:
    """Return rows and columns of a convolution's output."""
    (_, *image, _), kernel, options = convolution
    steps = zip(image, kernel[:2], options["strides"], options["padding"], options["dilation"], strict=True)
    rows, columns = (ops.conv_output_size(*step) for step in steps)
    return rows, columns


POOLED: dict[str, Pooled] = {
    **{label: Pooled(case, (2, 2)) for label, case in CONVOLUTIONS.items() if label != "strided"},
    "strided": Pooled(((7, 41, 37, 6), (3, 2, 6, 35), geometry((2, 3), ((0, 2), (1, 0)), (2, 1))), (2, 2)),
    "few filters": Pooled(((9, 28, 29, 1), (5, 5, 1, 6), geometry(padding=((2, 2), (2, 2)))), (2, 2)),
    "many filters": Pooled(((5, 23, 24, 4), (3, 3, 4, 67), geometry()), (2, 2)),
    "threes": Pooled(((4, 23, 31, 3), (3, 3, 3, 19), geometry(padding=((1, 1), (1, 1)))), (3, 3)),
    "rows": Pooled(((9, 1, 237, 5), (1, 4, 5, 39), geometry()), (1, 3)),
    "windows higher than a block": Pooled(((2, 61, 33, 40), (3, 3, 40, 5), geometry()), (29, 2)),
    "short rows": Pooled(((19, 19, 6, 15), (3, 3, 15, 17), geometry()), (2, 2)),
    "a vector of channels": Pooled(((4, 17, 15, 16), (3, 3, 16, 40), geometry(padding=((1, 1), (1, 0)))), (2, 2)),
    "two vectors and some": Pooled(((3, 13, 12, 35), (2, 4, 35, 33), geometry((1, 2), ((0, 1), (2, 1)))), (2, 2)),
    "high filters": Pooled(
        ((4, 21, 14, 7), (7, 6, 7, 19), geometry(padding=((3, 3), (2, 3)), dilation=(2, 1))), (3, 2)
    ),
    "windows of sixteen": Pooled(((6, 26, 30, 3), (6, 1, 3, 21), geometry((2, 1), ((5, 0), (0, 0)))), (4, 4)),
    "windows of more": Pooled(((9, 47, 43, 5), (3, 3, 5, 38), geometry()), (5, 4)),
    "gradient by tiles, long rows": Pooled(
        ((3, 21, 140, 60), (3, 3, 60, 20), geometry(padding=((1, 1), (1, 1)))), (3, 2)
    ),
    "depthwise, few channels": Pooled(DEPTHWISE["few channels"], (2, 3)),
}


def random_pooled(rng: Generator, largest: int) -> Pooled:
    """Return any convolution with any windows that fit into its output."""
    convolution = random_convolution(rng, largest)
    rows, columns = output_of(convolution)
    return Pooled(convolution, (int(rng.integers(1, min(rows, 4) + 1)), int(rng.integers(1, min(columns, 4) + 1))))


def pooled_calls(rng: Generator, cases: dict[str, Pooled] = POOLED) -> dict[str, Call]:
    """Return the three products of every convolution."""
    calls: dict[str, Call] = {}
    for label, ((x_shape, kernel_shape, geometry_of), window) in cases.items():
        x, kernel, bias = normal(rng, *x_shape), normal(rng, *kernel_shape), normal(rng, kernel_shape[3])
        options = {"pool_size": window, **geometry_of}
        y, index = ops.max_pooled_conv2d_forward(x, kernel, bias, activation="relu", **options)
        gradient = normal(rng, *y.shape), index, y
        results = np.zeros(kernel_shape, np.float32), np.zeros(bias.shape, np.float32)
        name = "max_pooled_conv2d"
        calls |= {
            f"{name}_forward {label}": Call(f"{name}_forward", (x, kernel, bias), {"activation": "relu", **options}),
            f"{name}_backward_input {label}": Call(f"{name}_backward_input", (*gradient, kernel, x_shape), options),
            f"{name}_backward_filter {label}": Call(
                f"{name}_backward_filter", (x, *gradient, *results), options, (4, 5)
            ),
        }
    return calls
