"""Runs every op on small arrays that lie flush against pages which must not be touched: python fenced_run.py <isa>.

A kernel that reads or writes one element too far, in front or behind, ends the process. The call it died in is the last line of
the output.
"""

from __future__ import annotations

import ctypes
import faulthandler
import math
import mmap
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from ops_calls import (
    Array,
    Call,
    Convolution,
    Generator,
    adaptive_calls,
    around_optimizer_calls,
    convolution_calls,
    data_calls,
    element_loss_calls,
    geometry,
    lanes,
    loss_calls,
    merge_calls,
    norm_calls,
    normal,
    optimizer_calls,
    pool,
    pool_calls,
    rectifier_calls,
    row_calls,
)
from pooled_calls import Pooled, output_of, pooled_calls
from regular_calls import regular_calls
from shape_calls import augment_calls, shape_calls
from tolerances import assert_bits
from window_calls import Volume, transposed_calls, volume_calls, volume_geometry

from fastnn import _core, config, ops

PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def fenced_empty(shape: Sequence[int], dtype: np.dtype[Any], at_end: bool) -> Array:
    """Return a new array; the page behind its last byte, or the one before its first, may not be touched."""
    size = math.prod(shape) * dtype.itemsize
    inside = max(-(-size // PAGE), 1) * PAGE
    memory = mmap.mmap(-1, inside + 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for fence in (start, start + PAGE + inside):
        if libc.mprotect(fence, PAGE, 0) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
    return np.ndarray(shape, dtype, memory, PAGE + inside - size if at_end else PAGE)


def fenced(x: Any, at_end: bool) -> Any:
    """Return a copy of an array between fences, anything else as it is."""
    if not isinstance(x, np.ndarray):
        return x
    copy = fenced_empty(x.shape, x.dtype, at_end)
    copy[...] = x
    return copy


def product_calls(rng: Generator, n: int) -> dict[str, Call]:
    """Return products with n in each place, all ways around."""
    calls: dict[str, Call] = {}
    shapes = [(1, n, 3), (n, 3, 2), (3, n, n), (2, 5, n), (n, n, 1), (131, n, 5)]
    shapes += [(2, 8 * lanes() + n, 3), (15, n, 9), (30, 8 * lanes() + n, 256), (256, 8 * lanes() + n, 3)]
    if n < 3:
        shapes += [(n, 2055, 1030), (9 * n, 2055, 1030)]
    for m, cols, k in shapes:
        for ta, tb in ((False, False), (True, False), (False, True), (True, True)):
            a, b = normal(rng, *((k, m) if ta else (m, k))), normal(rng, *((cols, k) if tb else (k, cols)))
            options = {
                "transpose_a": ta,
                "transpose_b": tb,
                "bias": normal(rng, cols),
                "activation": ("relu", "tanh")[ta],
            }
            calls[f"gemm {m} {cols} {k} {ta} {tb}"] = Call("gemm", (a, b), options)
        calls[f"column_sums {m} {cols}"] = Call("column_sums", (normal(rng, m, cols),))
    if n < 3:
        for rows in (n, 32 + n, 15 + n):
            large = normal(rng, rows, 1022 + n), normal(rng, 1022 + n, 1040 + n), normal(rng, 1040 + n)
            calls[f"large weights {rows}"] = Call("dense_forward", large)
    gradients = np.zeros((n, 3), np.float32), np.zeros(3, np.float32)
    backward = (normal(rng, 2, n), normal(rng, n, 3), normal(rng, 2, 3), *gradients)
    calls["dense_backward"] = Call("dense_backward", backward, written=(3, 4))
    rate = np.float32([0.1])
    for rows, units in ((1, 4 * n), (2, 4 * lanes() + n), (3, 8 * lanes() + n)):
        x, kernel, dy = normal(rng, rows, 30 + n), normal(rng, 30 + n, units), normal(rng, rows, units)
        x[:, 1::2] = 0.0
        zero_calls = {
            "forward": Call("dense_forward", (x, kernel), {"skip_zeros": True}),
            "backward": Call("dense_backward", (x, kernel, dy, None), {"relu_input": True}),
            "update": Call("sgd_step", (kernel.ravel(), kernel.ravel(), rate), {"product": (x, dy)}, written=(0,)),
        }
        calls |= {f"zeros {name} {rows} {units}": call for name, call in zero_calls.items()}
    return calls


def image_calls(rng: Generator, n: int) -> dict[str, Call]:
    """Return convolutions with n channels in, n out, n groups and n pixels in a row, and all kinds of pooling."""
    convolutions: list[Convolution] = [
        ((1, 3, 4, n), (2, 3, n, 3), geometry(padding=((1, 0), (0, 1)))),
        ((1, 3, 4, 2), (2, 2, 2, n), geometry((2, 1))),
        ((1, 3, 2, n), (1, 1, n, n), geometry()),
        ((1, 4, 3, n), (2, 2, 1, n), geometry((1, 2), groups=n)),
        ((1, 2, n, 1), (1, 2, 1, 2), geometry(padding=((0, 0), (1, 1)), dilation=(1, 2))),
        ((2, 3, 5, n), (2, 3, 1, 2 * n), geometry(padding=((0, 1), (1, 1)), groups=n)),
        ((1, 3, n + 3, 3), (2, 4, 1, 3), geometry(groups=3)),
    ]
    volumes: list[Volume] = [
        ((1, 3, 2, 3, n), (2, 1, 2, n, 3), volume_geometry((2, 1, 1), ((1, 0), (0, 0), (0, 1)))),
        ((1, 2, 3, n, 2), (2, 2, 1, 1, 2), volume_geometry(groups=2)),
    ]
    windows = [
        pool((2, 2), (2, 2)),
        pool((3, 2), (1, 1), ((1, 0), (0, 1))),
        pool((2, 1), (3, 2)),
        pool((3, 3), (2, 2), ((1, 0), (0, 1))),
    ]
    shapes = [(2, 5, 4, n), (1, 4, 5, n), (1, 3, n + 2, 1), (1, 3, n + 2, 3)]
    poolings = {f"{shape} {options}": (shape, options) for shape in shapes for options in windows}
    fits = {
        f"{case} {window}": Pooled(case, window)
        for case in convolutions
        for window in ((1, 1), (2, 2), (2, 3))
        if all(size >= side for size, side in zip(output_of(case), window, strict=True))
    }
    size = n % 5 + 2
    image, dy = normal(rng, 2, 3, 2, n), normal(rng, 2, n)
    return {
        **convolution_calls(rng, {str(case): case for case in convolutions}),
        **transposed_calls(rng, {str(case): case for case in convolutions}),
        **volume_calls(rng, {str(case): case for case in volumes}),
        **pool_calls(rng, poolings),
        **pooled_calls(rng, fits),
        **shape_calls(rng, 2, size, n, poolings),
        **augment_calls(rng, 2, size, n),
        "global_average_pool2d_forward": Call("global_average_pool2d_forward", (image,)),
        "global_average_pool2d_backward": Call("global_average_pool2d_backward", (dy, image.shape)),
    }


def small_calls(n: int) -> Iterator[tuple[str, Call]]:
    """Yield calls of every op with arrays of about n numbers in each direction."""
    rng = np.random.default_rng(n)
    for make in (product_calls, image_calls, optimizer_calls, adaptive_calls, around_optimizer_calls):
        yield from make(rng, n).items()
    for rows, cols in ((1, n), (3, n), (n, 1)):
        for make in (
            row_calls,
            rectifier_calls,
            loss_calls,
            element_loss_calls,
            data_calls,
            merge_calls,
            regular_calls,
        ):
            for label, call in make(rng, rows, cols).items():
                yield f"{label} {rows} x {cols}", call
        for label, call in norm_calls(rng, (rows, cols)).items():
            yield f"{label} {rows} x {cols}", call


def run_between_fences(call: Call, at_end: bool) -> list[Array]:
    """Run a call with all its arguments and all arrays that the op makes next to a fence."""
    plain_empty = _core.empty
    _core.empty = lambda shape, dtype: fenced_empty(shape, dtype, at_end)
    try:
        return call.run(ops, lambda x: fenced(x, at_end))
    finally:
        _core.empty = plain_empty


def main() -> None:
    faulthandler.enable()
    config.set_isa(sys.argv[1])
    config.set_num_threads(1)
    for n in range(1, 2 * lanes() + 4):
        for label, call in small_calls(n):
            expected = call.run()
            for at_end in (True, False):
                print(f"n = {n}: {label}, at the {'end' if at_end else 'start'}", flush=True)
                for got, want in zip(run_between_fences(call, at_end), expected, strict=True):
                    assert_bits(got, want, label)


if __name__ == "__main__":
    main()
