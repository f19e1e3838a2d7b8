"""Filter gradients of 3 x 3 taps by minimal filtering, in tiles of 2 x 2 output pixels: right, and as accurate as promised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops_calls import Array, Generator, double, geometry, normal
from tolerances import GRADIENT, assert_bits, assert_close, bound

from fastnn import config, ops, reference

SAME = ((1, 1), (1, 1))
Case = tuple[tuple[int, int, int, int], int, Any]  # x shape, filters, padding

# With so many pixels and channels that tiles pay.
CASES: dict[str, Case] = {
    "even": ((16, 12, 12, 32), 32, SAME),
    "odd rows and columns, chunks that begin within a tile": ((9, 17, 15, 40), 33, SAME),
    "no padding": ((5, 23, 21, 48), 17, ((0, 0), (0, 0))),
    "padding before": ((4, 19, 26, 20), 70, ((2, 0), (2, 0))),
    "padding behind": ((4, 19, 26, 20), 70, ((0, 2), (0, 2))),
    "more rows of padding than taps": ((4, 18, 24, 32), 32, ((3, 4), (1, 1))),
    "more columns of padding than taps": ((4, 18, 24, 32), 32, ((1, 1), (2, 5))),
    "columns in parts": ((6, 13, 14, 130), 70, SAME),
    "one chunk, many parts": ((2, 9, 11, 400), 300, SAME),
    "whole images": ((70, 6, 5, 48), 48, SAME),
    "two columns": ((80, 9, 2, 64), 64, SAME),
    "taps that meet no row": ((60, 1, 41, 16), 64, SAME),
    "taps that meet no column": ((300, 5, 1, 64), 64, SAME),
    "the first taps meet nothing": ((90, 12, 2, 32), 31, ((0, 3), (2, 0))),
    "the last taps meet nothing": ((90, 2, 12, 32), 31, ((0, 2), (1, 1))),
    "every tap meets a column": ((90, 12, 3, 32), 31, ((2, 0), (2, 0))),
    "rows longer than all tiles that are taken together": ((1, 11, 157, 24), 44, SAME),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def output_shape(case: Case) -> tuple[int, int, int, int]:
    (images, *size, _), filters, padding = case
    rows, columns = (n + sum(pads) - 2 for n, pads in zip(size, padding, strict=True))
    return images, rows, columns, filters


def gradients(case: Case, x: Array, dy: Array) -> tuple[Array, Array]:
    """Return the gradients of the filter and of the bias."""
    (*_, channels), filters, padding = case
    dw, dbias = np.full((3, 3, channels, filters), np.nan, np.float32), np.full(filters, np.nan, np.float32)
    ops.conv2d_backward_filter(x, dy, dw, dbias, **geometry(padding=padding))
    return dw, dbias


def exact_gradients(case: Case, x: Array, dy: Array) -> tuple[Array, Array]:
    (*_, channels), filters, padding = case
    dw, dbias = np.empty((3, 3, channels, filters)), np.empty(filters)
    reference.conv2d_backward_filter(double(x), double(dy), dw, dbias, **geometry(padding=padding))
    return dw, dbias


@every_case
def test_sums_of_products(isa: str, rng: Generator, case: Case) -> None:
    # Values of one size: within the bound of plain sums.
    x, dy = normal(rng, *case[0]), normal(rng, *output_shape(case))
    sizes = exact_gradients(case, abs(x), abs(dy))
    for got, want, scale in zip(gradients(case, x, dy), exact_gradients(case, x, dy), sizes, strict=True):
        assert_close(got, want, bound("product", scale, dy.size // case[1]))


@every_case
def test_whole_numbers_are_exact(isa: str, rng: Generator, case: Case) -> None:
    # Nothing is rounded, as the sums that are halved are even.
    x, dy = (rng.integers(-4, 5, shape).astype(np.float32) for shape in (case[0], output_shape(case)))
    for got, want in zip(gradients(case, x, dy), exact_gradients(case, x, dy), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("spread", [3, 10])
@pytest.mark.parametrize("label", ["even", "no padding", "columns in parts"])
def test_values_of_all_sizes(isa: str, rng: Generator, label: str, spread: float) -> None:
    # A large pixel or gradient is rounded in all taps of its pair of channels, though it may not meet them.
    case = CASES[label]
    x, dy = (normal(rng, *shape) * np.exp(spread * normal(rng, *shape)) for shape in (case[0], output_shape(case)))
    got, want = gradients(case, x, dy)[0], exact_gradients(case, x, dy)[0]
    assert np.linalg.norm(got - want) <= GRADIENT * np.linalg.norm(want)
    error, size = np.linalg.norm(got - want, axis=(0, 1)), np.linalg.norm(want, axis=(0, 1))
    assert (error <= GRADIENT * size).all()


@pytest.mark.parametrize("label", ["odd rows and columns, chunks that begin within a tile", "columns in parts"])
def test_threads_change_no_bits(isa: str, rng: Generator, label: str) -> None:
    case = CASES[label]
    x, dy = normal(rng, *case[0]), normal(rng, *output_shape(case))
    config.set_num_threads(1)
    expected = gradients(case, x, dy)
    for threads in (2, 3, 7):
        config.set_num_threads(threads)
        for got, want in zip(gradients(case, x, dy), expected, strict=True):
            assert_bits(got, want)


@pytest.mark.parametrize(
    ("label", "idle"),
    [
        ("taps that meet no row", np.s_[[0, 2]]),
        ("taps that meet no column", np.s_[:, [0, 2]]),
        ("the first taps meet nothing", np.s_[:, 0]),
        ("the last taps meet nothing", np.s_[2]),
    ],
)
def test_taps_that_meet_nothing_but_padding_have_no_gradient(isa: str, rng: Generator, label: str, idle: Any) -> None:
    case = CASES[label]
    dw, _ = gradients(case, normal(rng, *case[0]), normal(rng, *output_shape(case)))
    assert not dw[idle].any()
    assert dw.any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_nan_is_seen(isa: str, rng: Generator, value: float) -> None:
    """In all taps that it meets, and in no other pair of channels."""
    case = CASES["odd rows and columns, chunks that begin within a tile"]
    x, dy = normal(rng, *case[0]), normal(rng, *output_shape(case))
    clean, clean_bias = gradients(case, x, dy)
    x[5, 7, 6, 11] = value
    found, bias = gradients(case, x, dy)
    assert not np.isfinite(found[:, :, 11]).any()
    others = np.arange(40) != 11
    assert_bits(found[:, :, others], clean[:, :, others])
    assert_bits(bias, clean_bias)
    x[5, 7, 6, 11], dy[8, 16, 14, 20] = 0, value
    found, bias = gradients(case, x, dy)
    assert not np.isfinite(found[:2, :2, :, 20]).any()
    others = np.arange(33) != 20
    assert np.isfinite(found[..., others]).all()
    assert not np.isfinite(bias[20])
    assert np.isfinite(bias[others]).all()
