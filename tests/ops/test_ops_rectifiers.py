"""Log-softmax, and rectifiers with more than one number: clipped, with learned slopes, with random slopes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import STEP
from ops_calls import Generator, double, lanes, normal
from tolerances import assert_bits, assert_close, assert_gradient, bound

from fastnn import ops, reference

SHAPES = [(0, 5), (1, 1), (3, 1), (7, 2), (5, 15), (5, 16), (5, 17), (3, 33), (11, 37), (130, 3), (2, 1000), (2049, 6)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
CLIPPINGS = [(0.0, 1.5, 0.0), (0.25, 1.5, 0.125), (0.25, np.inf, 0.5), (0.0, 0.75, 0.25), (0.5, 0.0, 0.0)]


# ---- log-softmax ----


@every_shape
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_log_softmax(isa: str, rng: Generator, shape: tuple[int, int], spread: float) -> None:
    x, dy = normal(rng, *shape) * np.float32(spread), normal(rng, *shape)
    y = ops.log_softmax_forward(x)
    expected = reference.log_softmax_forward(double(x))
    distance = double(x).max(1, keepdims=True, initial=-np.inf) - double(x)
    assert_close(y, expected, bound("softmax", distance + 1 + np.log(shape[1]), 1 + shape[1] / 16))
    dx = ops.log_softmax_backward(dy, y)
    want = reference.log_softmax_backward(double(dy), double(y))
    size = np.abs(double(dy)) + np.exp(expected) * np.abs(double(dy)).sum(1, keepdims=True) * (1 + distance)
    assert_close(dx, want, bound("softmax", size, 1 + shape[1] / 16))


@pytest.mark.parametrize("cols", [2, 16, 21])
def test_log_softmax_of_extremes(isa: str, cols: int) -> None:
    x = np.zeros((4, cols), np.float32)
    x[0], x[0, 1] = -1e8, 1e8
    x[1] = 1e8
    x[2], x[2, 0] = -np.inf, 5.0
    x[3, 1] = np.nan
    y = ops.log_softmax_forward(x)
    np.testing.assert_array_equal(y[0], np.where(np.arange(cols) == 1, 0, -2e8).astype(np.float32))
    assert_close(y[1], np.full(cols, -np.log(cols)), 1e-6)
    np.testing.assert_array_equal(y[2], np.where(np.arange(cols) == 0, 0, -np.inf))
    assert np.isnan(y[3]).all()
    assert np.isfinite(ops.log_softmax_backward(np.ones_like(y), y)[:3]).all()


@pytest.mark.parametrize("cols", [1, 7, 16, 19, 53])
def test_a_row_does_not_see_the_others(isa: str, rng: Generator, cols: int) -> None:
    x, dy, alpha = normal(rng, 17, cols) * 10, normal(rng, 17, cols), normal(rng, cols)
    x[5], x[11, cols // 2] = np.nan, np.inf
    y, prelu = ops.log_softmax_forward(x), ops.prelu_forward(x, alpha)
    dx = ops.log_softmax_backward(dy, y)
    for i in range(17):
        assert_bits(ops.log_softmax_forward(x[i : i + 1])[0], y[i])
        assert_bits(ops.log_softmax_backward(dy[i : i + 1], y[i : i + 1])[0], dx[i])
        assert_bits(ops.prelu_forward(x[i : i + 1], alpha)[0], prelu[i])


@pytest.mark.parametrize("shape", [(3, 2), (5, 16), (4, 37)])
def test_log_softmax_gradient_is_the_slope(isa: str, rng: Generator, shape: tuple[int, int]) -> None:
    x, dy, v = normal(rng, *shape), normal(rng, *shape), rng.standard_normal(shape)
    dx = ops.log_softmax_backward(dy, ops.log_softmax_forward(x))
    ahead, behind = (reference.log_softmax_forward(double(x) + step * v) for step in (STEP, -STEP))
    assert_gradient(dx, float(np.vdot(double(dy), (ahead - behind) / (2 * STEP))), v)


# ---- clipped ----


@pytest.mark.parametrize("clipping", CLIPPINGS, ids=str)
def test_clipped_relu(isa: str, rng: Generator, clipping: tuple[float, float, float]) -> None:
    slope, most, threshold = clipping
    for n in (0, 1, lanes() - 1, lanes() + 1, 67, 501):
        x, dy = normal(rng, n), normal(rng, n)
        y = ops.clipped_relu_forward(x, *clipping)
        wide = double(x)
        expected = np.where(wide > threshold, np.minimum(wide, most), slope * (wide - threshold))
        assert_close(y, expected, bound("formula", np.abs(wide) + threshold))
        slopes = np.where(wide > threshold, np.where(wide < most, 1.0, 0.0), slope)
        assert_close(ops.clipped_relu_backward(dy, x, *clipping), dy * slopes, bound("rounded", dy))


@pytest.mark.parametrize("clipping", CLIPPINGS, ids=str)
def test_clipped_relu_far_out(isa: str, clipping: tuple[float, float, float]) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38] * 7, np.float32)
    y = ops.clipped_relu_forward(x, *clipping)
    assert np.isnan(y[::5]).all()
    np.testing.assert_array_equal(y[1::5], np.float32(clipping[1]))
    np.testing.assert_array_equal(y[2::5], -np.inf if clipping[0] else 0)
    np.testing.assert_array_equal(y[3::5], np.float32(min(3e38, clipping[1])))
    dx = ops.clipped_relu_backward(np.ones_like(x), x, *clipping)
    np.testing.assert_array_equal(dx[2::5], clipping[0])
    assert np.isfinite(dx).all()


# ---- learned slopes ----


@every_shape
def test_prelu(isa: str, rng: Generator, shape: tuple[int, int]) -> None:
    x, dy, alpha = normal(rng, *shape), normal(rng, *shape), normal(rng, shape[1])
    y, wide = ops.prelu_forward(x, alpha), double(x)
    assert_close(y, np.where(wide > 0, wide, double(alpha) * wide), bound("rounded", double(alpha) * wide))
    dalpha = np.full(shape[1], np.nan, np.float32)
    dx = ops.prelu_backward(dy, x, alpha, dalpha)
    assert_bits(dx, ops.prelu_backward(dy, x, alpha))
    assert_close(dx, np.where(wide > 0, dy, dy * double(alpha)), bound("rounded", dy * double(alpha)))
    terms = np.where(wide > 0, 0, double(dy) * wide)
    assert_close(dalpha, terms.sum(0), bound("product", np.abs(terms).sum(0), max(shape[0], 1)))


def test_prelu_at_zero_and_nan(isa: str) -> None:
    x, alpha = np.array([[0.0, -0.0, np.nan]], np.float32), np.array([0.5, 0.25, 0.125], np.float32)
    np.testing.assert_array_equal(ops.prelu_forward(x, alpha)[0, :2], 0)
    assert np.isnan(ops.prelu_forward(x, alpha)[0, 2])
    dalpha = np.empty(3, np.float32)
    dx = ops.prelu_backward(np.ones_like(x), x, alpha, dalpha)
    np.testing.assert_array_equal(dx, [[0.5, 0.25, 0.125]])
    np.testing.assert_array_equal(dalpha[:2], 0)


# ---- random slopes ----


@pytest.mark.parametrize("n", [0, 1, 7, 255, 256, 257, 1031])
def test_random_relu(isa: str, rng: Generator, n: int) -> None:
    x, dy = normal(rng, n), normal(rng, n)
    counter = np.array([5], np.uint64)
    y, used = ops.random_relu_forward(x, 0.125, 0.75, 2**40 + 3, 2, counter)
    assert (int(counter[0]), int(used[0])) == (6, 5)
    want, _ = reference.random_relu_forward(double(x), 0.125, 0.75, 2**40 + 3, 2, np.array([5], np.uint64))
    assert_close(y, want, bound("formula", want))
    slopes = (y / x)[x < 0]
    assert ((slopes > 0.1249) & (slopes < 0.7501)).all()
    dx = ops.random_relu_backward(dy, x, 0.125, 0.75, 2**40 + 3, 2, used)
    assert_close(dx, np.where(x > 0, dy, dy * double(y) / np.where(x == 0, 1, x)), bound("formula", dy))


def test_random_slopes_are_uniform_and_new_each_time(isa: str) -> None:
    x, counter = np.full(60_000, -1.0, np.float32), np.zeros(1, np.uint64)
    first, second = (-ops.random_relu_forward(x, 0.125, 0.375, 7, 0, counter)[0] for _ in range(2))
    for slopes in (first, second):
        assert abs(slopes.mean() - 0.25) < 3 * 0.25 / np.sqrt(12 * x.size)
        assert abs(slopes.std() * np.sqrt(12) - 0.25) < 0.002
        counts = np.histogram(slopes, 20, (0.125, 0.375))[0]
        assert np.abs(counts - 3000).max() < 4.5 * np.sqrt(3000)
        assert len(np.unique(slopes)) > 35_000  # of 65536 that there are
    assert (first != second).mean() > 0.999


X = np.zeros((3, 4), np.float32)
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "alpha": (lambda: ops.prelu_forward(X, X[0, :3]), ValueError, r"expected alpha of shape \(4,\), got \(3,\)"),
    "rank": (lambda: ops.prelu_forward(X[0], X[0]), ValueError, "expected x of rank 2"),
    "dalpha": (lambda: ops.prelu_backward(X, X, X[0], X[0, :2]), ValueError, "expected dalpha of 4 elements, got 2"),
    "dy": (lambda: ops.clipped_relu_backward(X[0], X, 0.0, 1.0, 0.0), ValueError, r"expected dy of shape \(3, 4\)"),
    "log softmax": (lambda: ops.log_softmax_backward(X[:2], X), ValueError, r"expected dy of shape \(3, 4\)"),
    "complex": (lambda: ops.clipped_relu_forward(X * 1j, 0.0, 1.0, 0.0), TypeError, "expected x of a real dtype"),
    "random": (
        lambda: ops.random_relu_backward(X, X[0], 0.0, 1.0, 0, 0, np.zeros(1, np.uint64)),
        ValueError,
        "expected dy of shape",
    ),
}


@pytest.mark.parametrize(("call", "error", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
