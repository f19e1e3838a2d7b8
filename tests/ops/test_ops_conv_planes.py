"""Filter gradients of one channel and few filters, whose sums go over pixels lane by lane."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops_calls import Generator, double, geometry, normal
from tolerances import assert_bits, assert_close, bound

from fastnn import config, ops, reference

SHAPES = [
    ((9, 27, 21), (5, 5), geometry()),
    ((14, 17, 20), (3, 3), geometry(padding=((1, 1), (1, 1)))),
    ((5, 31, 33), (7, 6), geometry(padding=((3, 2), (1, 4)))),
    ((3, 61, 69), (2, 7), geometry((2, 1), ((0, 5), (6, 0)), (3, 1))),
    ((2, 50, 64), (6, 11), geometry(padding=((9, 8), (3, 2)))),
    ((1, 30, 300), (5, 5), geometry(padding=((2, 2), (2, 2)))),
    ((20, 18, 18), (4, 2), geometry(padding=((2, 1), (0, 1)))),
]


@pytest.mark.parametrize("filters", range(1, 8))
@pytest.mark.parametrize(("images", "size", "options"), SHAPES)
def test_few_filters(
    isa: str, rng: Generator, filters: int, images: tuple[int, ...], size: tuple[int, int], options: dict[str, Any]
) -> None:
    x, kernel = normal(rng, *images, 1), np.empty((*size, 1, filters), np.float32)
    dy = normal(rng, *ops.conv2d_forward(x, np.ones_like(kernel), **options).shape)
    found, exact, sizes = ([np.full(s, np.nan, t) for s in (kernel.shape, filters)] for t in (np.float32, float, float))
    ops.conv2d_backward_filter(x, dy, *found, **options)
    reference.conv2d_backward_filter(double(x), double(dy), *exact, **options)
    reference.conv2d_backward_filter(abs(double(x)), abs(double(dy)), *sizes, **options)
    for got, want, scale in zip(found, exact, sizes, strict=True):
        assert_close(got, want, bound("product", scale, dy.size // filters))
    for threads in (2, 3):
        config.set_num_threads(threads)
        again = np.full_like(kernel, np.nan)
        ops.conv2d_backward_filter(x, dy, again, **options)
        assert_bits(again, found[0])
    config.set_num_threads(1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("column", [0, 1, 15, 16, 17, 20, 22])
@pytest.mark.parametrize("filters", [1, 3, 6])
def test_what_is_no_number_reaches_the_taps_it_meets(
    isa: str, rng: Generator, filters: int, column: int, value: float
) -> None:
    x, shape = normal(rng, 12, 23, 23, 1), (5, 5, 1, filters)
    dy = normal(rng, 12, 19, 19, filters)
    clean, found = np.empty(shape, np.float32), np.empty(shape, np.float32)
    ops.conv2d_backward_filter(x, dy, clean)
    x[3, 22, column] = value
    ops.conv2d_backward_filter(x, dy, found)
    hit = np.zeros(shape, bool)
    for tap in range(5):  # output column q reads column q + tap; only the last filter row reads the last row
        hit[4, tap] = 0 <= column - tap < 19
    np.testing.assert_array_equal(np.isfinite(found), ~hit)
    np.testing.assert_array_equal(found[~hit], clean[~hit])
