"""Convolutions on matrix tiles: output rows from image rows and a filter that are cut into pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops_calls import Array, Convolution, Generator, geometry, normal
from piece_sums import STEP, add_products
from tolerances import assert_bits, bound

from fastnn import config, ops, reference

pytestmark = pytest.mark.skipif("amx" not in config.available_isas(), reason="needs matrix tiles")

# Rows of whole tiles, of several, of parts of one; tiles of two rows, or that go on in the next one; one and two pixels in
# a position, the last one half of it; one panel of outputs, several, parts of one; steps of terms that are full and that are not.
CASES: dict[str, Convolution] = {
    "two pixels": ((2, 9, 32, 16), (3, 3, 16, 16), geometry(padding=((1, 1), (1, 1)))),
    "two pixels, odd row": ((2, 9, 29, 32), (3, 3, 32, 16), geometry(padding=((1, 1), (1, 1)))),
    "two pixels, few outputs": ((1, 12, 31, 32), (3, 3, 32, 13), geometry(padding=((0, 2), (2, 0)))),
    "two pixels, strides": ((2, 21, 63, 32), (3, 9, 32, 15), geometry((1, 2), ((1, 1), (3, 4)))),
    "one panel": ((2, 7, 16, 32), (3, 3, 32, 32), geometry(padding=((1, 1), (1, 1)))),
    "two rows": ((3, 8, 8, 64), (3, 3, 64, 64), geometry(padding=((1, 1), (1, 1)))),
    "two rows, and one": ((2, 9, 8, 96), (3, 3, 96, 64), geometry(padding=((1, 1), (1, 0)))),
    "goes on": ((3, 9, 8, 60), (3, 3, 60, 64), geometry(padding=((1, 1), (1, 1)))),
    "goes on, no padding": ((2, 12, 10, 40), (3, 3, 40, 96), geometry()),
    "goes on, more padding": ((2, 9, 7, 65), (3, 3, 65, 64), geometry(padding=((2, 1), (3, 4)))),
    "goes on, strides": ((2, 21, 40, 32), (3, 3, 32, 64), geometry((2, 3), ((1, 1), (1, 0)))),
    "many outputs": ((1, 6, 48, 24), (3, 3, 24, 80), geometry(padding=((1, 1), (1, 1)))),
    "many channels": ((1, 14, 14, 130), (3, 3, 130, 96), geometry(padding=((1, 1), (1, 1)))),
    "five rows of seven": ((2, 15, 30, 18), (5, 7, 18, 32), geometry(padding=((2, 2), (1, 4)))),
    "one row": ((2, 10, 50, 32), (1, 5, 32, 32), geometry()),
    "dilated rows": ((2, 19, 32, 32), (3, 3, 32, 32), geometry((2, 1), ((1, 3), (1, 1)), (2, 1))),
    "strides": ((2, 33, 32, 32), (3, 3, 32, 32), geometry((2, 2), ((0, 1), (0, 1)))),
    "several blocks": ((2, 50, 60, 32), (3, 3, 32, 32), geometry(padding=((1, 1), (1, 1)))),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
BACKWARD = [
    "two pixels",
    "two pixels, few outputs",
    "one panel",
    "two rows",
    "goes on",
    "many channels",
    "several blocks",
]


def forward(x: Array, kernel: Array, isa: str = "amx", **options: Any) -> Array:
    config.set_isa(isa)
    result: Array = ops.conv2d_forward(x, kernel, **options)
    return result


def inputs(rng: Generator, case: Convolution) -> tuple[Array, Array, dict[str, Any]]:
    return normal(rng, *case[0]), normal(rng, *case[1]), case[2]


def twin(x: Array, kernel: Array, start: Array | float = 0.0, **options: Any) -> Array:
    """Return the convolution, rounded where the tiles round.

    The terms of an output are those of its filter rows in order, 32 at a time. Where a tile has the outputs of two pixels, the
    terms of both are what the two meet in an image row, of which each has zeros for what only the other one meets.
    """
    (stride_h, stride_w), (dilation_h, _) = options["strides"], options["dilation"]
    (top, bottom), (left, right) = options["padding"]
    R, S, C, K = kernel.shape
    pixels = 2 if K <= 16 else 1
    rows = np.pad(x, ((0, 0), (top, bottom), (left, right + stride_w), (0, 0)))
    P = (rows.shape[1] - (R - 1) * dilation_h - 1) // stride_h + 1
    Q = (x.shape[2] + left + right - S) // stride_w + 1
    result = np.empty((len(x), P, Q, K), np.float32)
    result[:] = start
    run = (S + (pixels - 1) * stride_w) * C
    flat = rows.reshape(len(x), rows.shape[1], -1)
    flat = np.pad(flat, ((0, 0), (0, 0), (0, run)))
    for q in range(Q):
        place = q % pixels
        first = (q - place) * stride_w * C
        for r in range(R):
            terms = np.zeros((run, K), np.float32)
            terms[place * stride_w * C :][: S * C] = kernel[r].reshape(S * C, K)
            met = flat[:, r * dilation_h :: stride_h, first : first + run][:, :P].reshape(-1, run)
            sums = np.ascontiguousarray(result[:, :, q]).reshape(-1, K)
            for step in range(0, run, STEP):
                add_products(
                    sums, met.T[step : step + STEP], terms[step : step + STEP], (range(0, 32, 2), range(1, 32, 2))
                )
            result[:, :, q] = sums.reshape(len(x), P, K)
    return result


def turned(kernel: Array) -> Array:
    return np.ascontiguousarray(kernel[::-1, ::-1].transpose(0, 1, 3, 2))


@every_case
def test_the_order_of_a_sum(rng: Generator, case: Convolution) -> None:
    x, kernel, options = inputs(rng, case)
    assert_bits(forward(x, kernel, **options), twin(x, kernel, **options))


@pytest.mark.parametrize("name", BACKWARD)
def test_the_input_gradient_is_a_convolution(rng: Generator, name: str) -> None:
    """Of dy with the filter turned around, from what it is added to on, times the slope of a relu."""
    x, kernel, options = inputs(rng, CASES[name])
    (top, bottom), (left, right) = options["padding"]
    R, S = kernel.shape[:2]
    dy = normal(rng, *forward(x, kernel, **options).shape)
    padding = ((R - 1 - top, R - 1 - bottom), (S - 1 - left, S - 1 - right))
    around = geometry(padding=padding)
    dx = ops.conv2d_backward_input(dy, kernel, x.shape, **options)
    assert_bits(dx, twin(dy, turned(kernel), **around))
    sliced = ops.conv2d_backward_input(dy, kernel, x.shape, **options, relu_output=x)
    assert_bits(sliced, ops.activation_backward(dx, None, x, "relu"))
    onto = normal(rng, *x.shape)
    more = ops.conv2d_backward_input(dy, kernel, x.shape, **options, onto=onto.copy())
    assert_bits(more, twin(dy, turned(kernel), onto, **around))
    sliced = ops.conv2d_backward_input(dy, kernel, x.shape, **options, relu_output=x, onto=onto)
    assert_bits(sliced, ops.activation_backward(more, None, x, "relu"))


@every_case
@pytest.mark.parametrize("activation", ["linear", "relu", "tanh"])
def test_bias_and_activation(rng: Generator, case: Convolution, activation: str) -> None:
    x, kernel, options = inputs(rng, case)
    bias = normal(rng, kernel.shape[3])
    plain = forward(x, kernel, **options) + bias
    expected = plain if activation == "linear" else ops.activation_forward(plain, activation)
    assert_bits(forward(x, kernel, bias=bias, activation=activation, **options), expected)


@every_case
def test_images_and_threads_change_nothing(rng: Generator, case: Convolution) -> None:
    shape, kernel_shape, options = case
    x, kernel = normal(rng, 7, *shape[1:]), normal(rng, *kernel_shape)
    alone = np.concatenate([forward(x[i : i + 1], kernel, **options) for i in range(7)])
    for threads in (1, 2, 3, 5):
        config.set_num_threads(threads)
        assert_bits(forward(x, kernel, **options), alone)


@every_case
def test_pooled(rng: Generator, case: Convolution) -> None:
    x, kernel, options = inputs(rng, case)
    bias = normal(rng, kernel.shape[3])
    y = forward(x, kernel, bias=bias, activation="relu", **options)
    pooled, _ = ops.max_pooled_conv2d_forward(x, kernel, bias, activation="relu", pool_size=(2, 2), **options)
    rows, columns = (n // 2 * 2 for n in y.shape[1:3])
    windows = y[:, :rows, :columns].reshape(len(y), rows // 2, 2, columns // 2, 2, -1)
    assert_bits(pooled, windows.max((2, 4)))


@every_case
@pytest.mark.parametrize("spread", [0, 8, 20])
def test_it_is_as_exact_as_multiply_adds(rng: Generator, case: Convolution, spread: int) -> None:
    """Within the bound of sums of products, and closer to the right result than a chain of multiply-adds is on average."""
    x, kernel = (normal(rng, *s) * np.exp2(rng.integers(-spread, spread + 1, s)).astype(np.float32) for s in case[:2])
    wide = x.astype(np.float64), kernel.astype(np.float64)
    right = reference.conv2d_forward(*wide, **case[2])
    size = reference.conv2d_forward(*map(np.abs, wide), **case[2])
    errors = [np.abs(forward(x, kernel, isa, **case[2]) - right) for isa in ("amx", "avx512")]
    assert (errors[0] <= bound("product", size, int(np.prod(kernel.shape[:3])))).all()
    tiles, chains = ((error[size > 0] / size[size > 0]).mean() for error in errors)
    assert tiles < chains


@every_case
@pytest.mark.parametrize("bad", [np.nan, -np.inf, 1e25, 1e-25])
@pytest.mark.parametrize("onto", [False, True])
def test_rows_that_cannot_be_cut(rng: Generator, case: Convolution, bad: float, onto: bool) -> None:
    """Output rows that read one are made by multiply-adds, with their bits; all others are as they were."""
    x, kernel, options = inputs(rng, case)
    row = 5
    if abs(bad) < 1:
        x[0, row] = (normal(rng, *x.shape[2:]) * bad).astype(np.float32)  # so small that pieces of pieces vanish
    before = forward(x, kernel, **options)
    if not abs(bad) < 1:
        x[0, row, 3, 1] = bad
    result, chains = forward(x, kernel, **options), forward(x, kernel, "avx512", **options)
    (stride, _), (top, _), (dilation, _) = options["strides"], options["padding"][0], options["dilation"]
    read = [p for p in range(result.shape[1]) if (row - p * stride + top) in range(0, len(kernel) * dilation, dilation)]
    assert 0 < len(read) < result.shape[1]
    assert_bits(result[0, read], chains[0, read])
    rest = [p for p in range(result.shape[1]) if p not in read]
    assert_bits(result[0, rest], before[0, rest])
    assert_bits(result[1:], before[1:])


@every_case
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e25, 1e-25])
def test_a_filter_that_cannot_be_cut(rng: Generator, case: Convolution, bad: float) -> None:
    x, kernel, options = inputs(rng, case)
    if abs(bad) < 1:
        kernel *= np.float32(bad)
    else:
        kernel[0, -1, 3, 5] = bad
    assert_bits(forward(x, kernel, **options), forward(x, kernel, "avx512", **options))


@pytest.mark.parametrize(("C", "K", "size"), [(7, 32, 32), (32, 7, 32), (8, 8, 16), (64, 64, 5)])
def test_small_ones_are_made_by_multiply_adds(rng: Generator, C: int, K: int, size: int) -> None:
    x, kernel, options = normal(rng, 2, size, size, C), normal(rng, 3, 3, C, K), geometry(padding=((1, 1), (1, 1)))
    assert_bits(forward(x, kernel, **options), forward(x, kernel, "avx512", **options))
