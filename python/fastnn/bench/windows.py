"""The timed kernels of depthwise, transposed and 3-D convolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastnn.bench.cases import KernelCase, Made, normal

KINDS = ("forward", "backward_input", "backward_filter")
# x shape, taps, filters of a channel, stride
DEPTHWISE = (
    ((16, 56, 56, 64), 3, 1, 1),
    ((16, 56, 56, 64), 3, 1, 2),
    ((16, 14, 14, 256), 3, 2, 1),
    ((64, 28, 28, 6), 5, 1, 1),
)


def _same(size: int, taps: int, stride: int) -> tuple[int, int]:
    """Return the padding for ceil(size / stride) places."""
    total = max((-(-size // stride) - 1) * stride + taps - size, 0)
    return total // 2, total - total // 2


def _case(
    name: str, op: str, shapes: list[tuple[int, ...]], options: dict[str, Any], macs: float, quick: bool
) -> KernelCase:
    """Return the case of one of the three products of a convolution, from the shapes of x, w, b and dy."""

    def make(dtype: Any) -> Made:
        x, w, b, dy = normal(dtype, *shapes)
        dw, db = np.empty_like(w), np.empty_like(b)
        calls: dict[str, Callable[[Any], Any]] = {
            "forward": lambda f: f(x, w, b, activation="relu", **options),
            "backward_input": lambda f: f(dy, w, x.shape, **options),
            "backward_filter": lambda f: (f(x, dy, dw, db, **options), dw, db),
            "transpose_forward": lambda f: f(dy, w, x.shape[1:-1], **options),
        }
        return lambda kernels: calls[op.split("_", 1)[1]](getattr(kernels, op)), None

    nbytes = 4.0 * sum(float(np.prod(shapes[i])) for i in (0, 1, 3))
    return KernelCase(name, 2.0 * macs, nbytes, make, quick)


def _depthwise() -> Iterator[KernelCase]:
    for x, taps, times, stride in DEPTHWISE:
        n, h, w, c = x
        dy, kernel = (n, -(-h // stride), -(-w // stride), c * times), (taps, taps, 1, c * times)
        padding = (_same(h, taps, stride), _same(w, taps, stride))
        options = {"strides": (stride, stride), "padding": padding, "dilation": (1, 1), "groups": c}
        text = f"depthwise {n}x{h}x{w}x{c} {taps}x{taps} to {c * times} by {stride}"
        macs = float(np.prod(dy)) * taps * taps
        for kind in KINDS:
            op = f"conv2d_{kind}"
            yield _case(f"{op} {text}", op, [x, kernel, (c * times,), dy], options, macs, quick=c == 256)


def _volumes() -> Iterator[KernelCase]:
    x, kernel = (8, 16, 28, 28, 16), (3, 3, 3, 16, 32)
    dy, options = (*x[:-1], 32), {"padding": ((1, 1), (1, 1), (1, 1))}
    for kind in KINDS:
        op, macs = f"conv3d_{kind}", float(np.prod(dy)) * 27 * 16
        yield _case(f"{op} 8x16x28x28x16 3x3x3 to 32", op, [x, kernel, (32,), dy], options, macs, quick=False)


def _transposed() -> Iterator[KernelCase]:
    """Twice as large images, as decoders make them."""
    for n, h, c, k, taps in ((32, 7, 128, 64, 4), (32, 14, 64, 32, 3)):
        x, dy = (n, 2 * h, 2 * h, k), (n, h, h, c)
        padding = (_same(2 * h, taps, 2),) * 2
        options = {"strides": (2, 2), "padding": padding}
        name = f"conv2d_transpose_forward {n}x{h}x{h}x{c} {taps}x{taps} to {k} by 2"
        macs = float(np.prod(dy)) * taps * taps * k
        shapes = [x, (taps, taps, k, c), (c,), dy]
        yield _case(name, "conv2d_transpose_forward", shapes, options, macs, quick=False)


def windows() -> Iterator[KernelCase]:
    """Yield all of them."""
    for family in (_depthwise, _volumes, _transposed):
        yield from family()
