"""Images changed at random: against the twin, by hand, adjoints, distributions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops_calls import Array, Generator, double, normal, uniform
from shape_calls import AFFINE, BORDERS
from tolerances import assert_bits, assert_close, bound

from fastnn import ops, reference

COORDINATE = 2.0**-22  # places are rounded to 2^-24, after a few roundings in double that may go either way
EDGES = {  # pixels -5, ..., 7 of the row 0 1 2
    "constant": [9, 9, 9, 9, 9, 0, 1, 2, 9, 9, 9, 9, 9],
    "nearest": [0, 0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2],
    "reflect": [1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1],
    "mirror": [1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1],
    "wrap": [1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1],
}


def shift(rows: float, columns: float) -> Array:
    return np.array([[1, 0, rows, 0, 1, columns]], np.float64)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 127, 128, 129, 1000])
def test_uniform_numbers(isa: str, threads: int, count: int) -> None:
    counters = np.array([2**32 - 1], np.uint64), np.array([2**32 - 1], np.uint64)
    for _ in range(2):
        got = ops.random_uniform((count,), 2**60 + 7, 3, counters[0])
        assert_bits(got, reference.random_uniform((count,), 2**60 + 7, 3, counters[1]))
    assert counters[0][0] == counters[1][0] == 2**32 + 1


def test_uniform_numbers_are_uniform() -> None:
    counter = np.zeros(1, np.uint64)
    u = np.concatenate([ops.random_uniform((100_000,), 1, 0, counter) for _ in range(3)]).astype(np.float64)
    assert u.min() >= 0
    assert u.max() < 1
    counts = np.histogram(u, 50, (0, 1))[0]
    expected = len(u) / 50
    assert ((counts - expected) ** 2 / expected).sum() < 49 + 5 * np.sqrt(2 * 49)
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 4 / np.sqrt(len(u))


@pytest.mark.parametrize("label", AFFINE)
def test_matrices(isa: str, rng: Generator, label: str) -> None:
    u = uniform(rng, 0, 1, 500, 8)
    got = ops.random_affine(u, (7, 10), (9, 6), **AFFINE[label])
    want = reference.random_affine(u, (7, 10), (9, 6), **AFFINE[label])
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-13)


def test_quarter_turns_are_exact(isa: str, rng: Generator) -> None:
    u, x = uniform(rng, 0, 1, 2, 8), normal(rng, 2, 6, 6, 3)
    for quarters in (-4, -3, -2, -1, 0, 1, 2, 3, 4):
        m = ops.random_affine(u, (6, 6), (6, 6), angle=(quarters / 4, quarters / 4))
        for bilinear in (True, False):
            assert_bits(ops.affine2d_forward(x, m, (6, 6), bilinear=bilinear), np.rot90(x, quarters, (1, 2)).copy())


def test_flips_are_exact(isa: str, rng: Generator) -> None:
    u, x = uniform(rng, 0, 1, 40, 8), normal(rng, 40, 5, 4, 2)
    m = ops.random_affine(u, (5, 4), (5, 4), flips=(True, True))
    y = ops.affine2d_forward(x, m, (5, 4))
    for i in range(40):
        expected = x[i, :: -1 if u[i, 0] < 0.5 else 1, :: -1 if u[i, 1] < 0.5 else 1]
        assert_bits(y[i], np.ascontiguousarray(expected))


def test_crops_are_everywhere_and_inside(isa: str) -> None:
    u = np.zeros((3, 8), np.float32)
    u[1, 5:7], u[2, 5:7] = 1 - 2.0**-24, 0.5
    m = ops.random_affine(u, (7, 9), (3, 4), crop=True)
    np.testing.assert_array_equal(m[:, [2, 5]], [[0, 0], [4, 5], [2, 3]])
    x = np.arange(3 * 7 * 9.0, dtype=np.float32).reshape(3, 7, 9, 1)
    y = ops.affine2d_forward(x, m, (3, 4), bilinear=False)
    assert_bits(y[1], x[1, 4:7, 5:9])
    assert_bits(y[2], x[2, 2:5, 3:7])


@pytest.mark.parametrize("border", BORDERS)
def test_what_lies_beyond_the_border(isa: str, border: str) -> None:
    for column in (True, False):
        x = np.arange(3, dtype=np.float32).reshape((1, 3, 1, 1) if column else (1, 1, 3, 1))
        size, m = ((13, 1), shift(-5, 0)) if column else ((1, 13), shift(0, -5))
        for bilinear in (True, False):
            y = ops.affine2d_forward(x, m, size, border=border, bilinear=bilinear, value=9)
            assert y.ravel().tolist() == EDGES[border]
    single = ops.affine2d_forward(np.full((1, 1, 1, 1), 4, np.float32), shift(-3, 2), (7, 2), border=border, value=4)
    assert (single == 4).all()


def test_between_pixels(isa: str) -> None:
    x = np.array([[0.0, 4.0], [8.0, 16.0]], np.float32).reshape(1, 2, 2, 1)
    y = ops.affine2d_forward(x, shift(0.25, 0.5), (1, 1))
    assert y.item() == 0.75 * 2 + 0.25 * 12
    # A half is rounded away from 0.
    row = np.array([1.0, 2.0, 3.0], np.float32).reshape(1, 1, 3, 1)
    for place, value in ((0.5, 2), (0.49, 1), (1.5, 3), (-0.5, 9), (-0.49, 1), (2.5, 9)):
        assert ops.affine2d_forward(row, shift(0, place), (1, 1), bilinear=False, value=9).item() == value


def test_places_far_away_are_beyond_the_border(isa: str) -> None:
    x = np.ones((1, 2, 2, 1), np.float32)
    for far in (1e300, -1e300, 1e15, -1e12):
        assert ops.affine2d_forward(x, shift(far, 0), (2, 2), value=5).tolist() == np.full((1, 2, 2, 1), 5.0).tolist()
        assert (ops.affine2d_forward(x, shift(far, far), (2, 2), border="reflect") == 1).all()


def affine_bound(x: Array, want: Array) -> Array:
    """Return the allowed error: roundings of a sum of four, and what a place that is slightly off changes."""
    largest = float(np.abs(x).max(initial=0))
    return np.asarray(bound("product", largest, 8) + 8 * COORDINATE * largest + 0 * want)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("channels", [0, 1, 3, 16, 19])
def test_affine_maps(isa: str, rng: Generator, border: str, channels: int) -> None:
    for in_size, out_size in (((7, 9), (7, 9)), ((1, 5), (4, 3)), ((6, 1), (5, 7))):
        x, u = normal(rng, 6, *in_size, channels), uniform(rng, 0, 1, 6, 8)
        m = ops.random_affine(u, in_size, out_size, **AFFINE["everything"])
        dy = normal(rng, 6, *out_size, channels)
        for bilinear in (True, False):
            options: dict[str, Any] = {"border": border, "bilinear": bilinear}
            y = ops.affine2d_forward(x, m, out_size, value=0.5, **options)
            want = reference.affine2d_forward(double(x), m, out_size, value=0.5, **options)
            assert_close(y, want, affine_bound(np.append(x, 0.5), want), f"{in_size} {options}")
            dx = ops.affine2d_backward(dy, m, in_size, **options)
            exact = reference.affine2d_backward(double(dy), m, in_size, **options)
            size = reference.affine2d_backward(np.abs(double(dy)), m, in_size, **options)
            largest = float(np.abs(dy).max(initial=0))
            assert_close(
                dx, exact, bound("product", size, 4 * 49) + 400 * COORDINATE * largest, f"dx {in_size} {options}"
            )
            y0 = ops.affine2d_forward(x, m, out_size, **options)
            assert float(np.vdot(double(y0), double(dy))) == pytest.approx(
                float(np.vdot(double(x), double(dx))), rel=1e-4, abs=1e-3
            )


def test_an_image_does_not_see_the_others(isa: str, rng: Generator) -> None:
    x, u = normal(rng, 5, 6, 7, 3), uniform(rng, 0, 1, 5, 8)
    m = ops.random_affine(u, (6, 7), (6, 7), **AFFINE["everything"])
    x[2] = np.nan
    together, back = ops.affine2d_forward(x, m, (6, 7)), ops.affine2d_backward(x, m, (6, 7))
    for i in (0, 1, 3, 4):
        one = slice(i, i + 1)
        assert_bits(ops.affine2d_forward(x[one], m[one].copy(), (6, 7)), together[one])
        assert_bits(ops.affine2d_backward(x[one], m[one].copy(), (6, 7)), back[one])
        assert np.isfinite(together[i]).all()


def test_rectangles(isa: str, rng: Generator) -> None:
    u = uniform(rng, 0, 1, 2000, 8)
    for options in (
        {"area": (0.02, 0.33)},
        {"area": (0.0, 1.0), "chance": (0.2, 0.7)},
        {"area": (1.0, 1.0)},
        {"size": (3, 5)},
        {"size": (40, 1), "chance": (0.5, 0.5)},
    ):
        got = ops.random_rectangles(u, (13, 8), **options)
        assert_bits(got, reference.random_rectangles(u, (13, 8), **options))
        top, bottom, left, right = got.T
        assert ((top >= 0) & (top <= bottom) & (bottom <= 13) & (left >= 0) & (left <= right) & (right <= 8)).all()
    some = ops.random_rectangles(u, (13, 8), size=(2, 2), chance=(0.25, 0.25))
    assert (some[:, 1] > 0).mean() == pytest.approx(0.25, abs=0.04)


def test_erasing(isa: str, rng: Generator) -> None:
    for channels in (1, 3, 17):
        x, value = normal(rng, 4, 5, 6, channels), normal(rng, channels)
        where = np.array([[0, 0, 0, 0], [0, 5, 0, 6], [1, 3, 2, 3], [4, 5, 0, 6]], np.int32)
        assert_bits(ops.erase(x, where, value), reference.erase(x, where, value))
        noise = uniform(rng, 0, 1, *x.shape)
        want = reference.erase(double(x), where, value, double(noise), limits=(-2.0, 6.0))
        assert_close(ops.erase(x, where, value, noise, limits=(-2.0, 6.0)), want, bound("rounded", 16.0))
    outside = np.array([[-5, 99, -3, 99]] * 4, np.int32)
    assert_bits(ops.erase(x, outside, value), np.broadcast_to(value, x.shape).copy())


@pytest.mark.parametrize("with_mean", [True, False])
def test_contrast_and_brightness(isa: str, rng: Generator, with_mean: bool) -> None:
    for channels in (1, 3, 17):
        x, dy, u = normal(rng, 5, 31, channels), normal(rng, 5, 31, channels), uniform(rng, 0, 1, 5)
        x[0, 0, 0] = np.nan
        mean = normal(rng, 5, channels) if with_mean else None
        for clip in ((-0.75, 1.0), (-np.inf, np.inf)):
            y = ops.adjust_forward(x, mean, u, (0.25, 1.75), clip)
            want = reference.adjust_forward(double(x), double(mean), double(u), (0.25, 1.75), clip)
            assert_close(y, want, bound("formula", 4 * (1 + np.abs(double(np.nan_to_num(x))))))
            got = ops.adjust_backward(dy, x, mean, u, (0.25, 1.75), clip)
            exact = reference.adjust_backward(dy, double(x), double(mean), double(u), (0.25, 1.75), clip)
            assert_bits(got, exact)


X = np.zeros((2, 4, 5, 3), np.float32)
M = np.zeros((2, 6))
WRONG: dict[str, tuple[Any, str]] = {
    "affine rank": (lambda: ops.affine2d_forward(X[0], M, (2, 2)), "affine2d_forward: expected x of rank 4"),
    "matrices": (lambda: ops.affine2d_forward(X, M[:1].copy(), (2, 2)), "expected matrices of 12 elements, got 6"),
    "no pixels": (lambda: ops.affine2d_forward(X[:, :0], M, (2, 2)), "expected images of at least one pixel"),
    "border": (lambda: ops.affine2d_forward(X, M, (2, 2), border="mirrored"), "expected a known border"),
    "area and size": (
        lambda: ops.random_rectangles(np.zeros((1, 8), np.float32), (3, 3)),
        "random_rectangles: expected area or size",
    ),
    "erase rank": (lambda: ops.erase(X[0], X, X), "erase: expected x of rank 4"),
    "erase value": (
        lambda: ops.erase(X, np.zeros((2, 4), np.int32), np.zeros(2, np.float32)),
        "expected value of 3 elements, got 2",
    ),
    "adjust rank": (lambda: ops.adjust_forward(X, None, X, (0, 1), (0, 1)), "adjust_forward: expected x of rank 3"),
}


@pytest.mark.parametrize(("call", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()
