"""Activations and softmax: accuracy on dense grids of floats, special values, gradients, rows on their own."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from gradcheck import STEP
from ops_calls import ALPHA, Array, Generator, double, lanes, normal, uniform
from tolerances import SMALLEST, U, assert_bits, assert_close, assert_gradient, bound, elementary

from fastnn import ops, reference

FROM_INPUT = tuple(kind for kind in reference.ACTIVATIONS if kind not in reference.FROM_OUTPUT)
GATED = ("gelu", "gelu_tanh", "silu", "mish", "hard_silu", "tanh_shrink")
SELU_BOTTOM, SELU_SLOPE = -1.7580993408473766, 1.0507009873554805
KINKS = (0.0, -ALPHA, ALPHA, -1.0, 1.0, -3.0, 3.0, 6.0)
SHRINKS = ("tanh_shrink", "soft_shrink", "hard_shrink")
STEPS = ("step", "sign", "relu6", "hard_tanh", "hard_sigmoid", "sparse_sigmoid")  # that are flat far out
every_kind = pytest.mark.parametrize("kind", reference.ACTIVATIONS)


@functools.cache
def grid() -> Array:
    """Return floats of every size from everywhere on the line: each 4097th of them all, and many of ordinary size."""
    every = np.arange(0, 2**32, 2**12 + 1, dtype=np.uint64).astype(np.uint32).view(np.float32)
    zero = np.array([0.0, -0.0, 2**-149, -(2**-149), 2**-126, -(2**-126), 3.4028235e38, -3.4028235e38])
    edges = np.array([88.72284, 88.72283, -87.33655, -103.97208, 9.01, 10.0, 20.0, 16.64], np.float64)
    return np.concatenate([every[np.isfinite(every)], np.linspace(-20, 20, 100_001), zero, edges, -edges]).astype(
        np.float32
    )


@functools.cache
def expected_on_grid(kind: str) -> tuple[Array, Array]:
    """Return f on the grid and the largest error that is allowed."""
    x = double(grid())
    with np.errstate(over="ignore"):
        y = reference.activation_forward(x, kind, ALPHA)
        y[y > np.finfo(np.float32).max] = np.inf
    if kind in ("linear", "relu", "relu6", "step", "sign", "hard_tanh", "hard_shrink"):
        return y, bound("exact", y)
    if kind in ("leaky_relu", "soft_shrink"):
        return y, bound("rounded", y)
    if kind in GATED:  # a gate below the smallest normal number may be 0
        return y, bound("gate", x) + np.abs(x) * SMALLEST
    if kind == "selu":  # twice the smallest normal number may be 0 before it is scaled
        return y, elementary(y) + 4 * SMALLEST
    return y, elementary(y)


@every_kind
def test_accuracy(isa: str, kind: str) -> None:
    expected, limit = expected_on_grid(kind)
    y = ops.activation_forward(grid(), kind, ALPHA)
    if kind in ("step", "sign"):  # a denormal number counts as 0
        normal_number = (np.abs(grid()) >= SMALLEST) | (grid() == 0)
        y, expected, limit = y[normal_number], expected[normal_number], limit[normal_number]
    assert_close(y, expected, limit, kind)


@every_kind
def test_accuracy_of_the_slope(isa: str, rng: Generator, kind: str) -> None:
    at = grid()[(np.abs(grid()) >= SMALLEST) | (grid() == 0)]  # a denormal number counts as 0, where slopes jump
    if kind in ("sigmoid", "tanh"):
        at = at[np.abs(at) <= 1]  # these are outputs
    elif kind in ("elu", "celu", "selu"):
        at = at[at >= (SELU_BOTTOM if kind == "selu" else -ALPHA)]
    elif kind == "exponential":
        at = at[(at >= 0) & (at < 1e30)]
    dy = uniform(rng, 0.5, 2.0, *at.shape)
    x, y = (at, None) if kind in FROM_INPUT else (None, at)
    expected = reference.activation_backward(*(double(v) for v in (dy, x, y)), kind, ALPHA)
    if kind in FROM_INPUT:
        limit = bound("gate slope", dy)
    else:
        limit = bound("formula", np.maximum(dy, np.abs(expected)))  # 1 - y^2 and the like are accurate in units of 1
    assert_close(ops.activation_backward(dy, x, y, kind, ALPHA), expected, limit, kind)


@every_kind
def test_sizes_around_a_vector(isa: str, rng: Generator, kind: str) -> None:
    # An element has the same bits wherever it stands, so every length must repeat the beginning of the longest.
    x, dy = normal(rng, 67), normal(rng, 67)
    y = ops.activation_forward(x, kind, ALPHA)
    dx = ops.activation_backward(dy, x, y, kind, ALPHA)
    expected = reference.activation_forward(double(x), kind, ALPHA)
    assert_close(y, expected, 8 * U * (np.abs(x) + np.abs(expected) + 1), kind)
    for n in range(2 * lanes() + 4):
        assert_bits(ops.activation_forward(x[:n], kind, ALPHA), y[:n])
        assert_bits(ops.activation_forward(x[67 - n :].copy(), kind, ALPHA), y[67 - n :])
        assert_bits(ops.activation_backward(dy[:n], x[:n], y[:n], kind, ALPHA), dx[:n])
    for shape in ((67, 1), (1, 67), (1, 1, 67, 1)):
        assert_bits(ops.activation_forward(x.reshape(shape), kind, ALPHA), y.reshape(shape))
        assert_bits(ops.activation_backward(dy.reshape(shape), x, y, kind, ALPHA), dx.reshape(shape))
    assert ops.activation_forward(x[:0].reshape(0, 5), kind, ALPHA).shape == (0, 5)


@every_kind
def test_sums_are_those_of_the_columns(isa: str, rng: Generator, kind: str) -> None:
    width = lanes()
    for shape in (
        (1, 1),
        (67, 1),
        (130, 3),
        (63, width - 1),
        (2049, 6),
        (7, 5, 9, width),
        (700, 4 * width + 1),
        (3, 5000),
    ):
        x, dy = normal(rng, *shape), normal(rng, *shape)
        y = ops.activation_forward(x, kind, ALPHA)
        sums = np.full(shape[-1], np.nan, np.float32)
        dx = ops.activation_backward(dy, x, y, kind, ALPHA, sums)
        assert_bits(dx, ops.activation_backward(dy, x, y, kind, ALPHA))
        rows = dx.reshape(-1, shape[-1])
        assert_bits(sums, ops.column_sums(rows))
        assert_close(sums, double(rows).sum(0), bound("sum", np.abs(double(rows)).sum(0), len(rows)), f"{kind} {shape}")
    for shape in ((0, 3), (3, 0)):
        sums = np.full(shape[-1], np.nan, np.float32)
        empty = np.zeros(shape, np.float32)
        ops.activation_backward(empty, empty, empty, kind, ALPHA, sums)
        np.testing.assert_array_equal(sums, 0)


@every_kind
def test_slope_is_the_derivative(isa: str, rng: Generator, kind: str) -> None:
    x = normal(rng, 31, 37) * 3
    x[np.abs(x[..., None] - np.array(KINKS, np.float32)).min(-1) < 0.01] = 2.0  # away from the kinks
    dy, v = normal(rng, 31, 37), rng.standard_normal((31, 37))
    dx = ops.activation_backward(dy, x, ops.activation_forward(x, kind, ALPHA), kind, ALPHA)
    ahead, behind = (reference.activation_forward(double(x) + step * v, kind, ALPHA) for step in (1e-6, -1e-6))
    assert_gradient(dx, float(np.vdot(double(dy), (ahead - behind) / 2e-6)), v, kind)


@every_kind
def test_special_values(isa: str, kind: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0] * 9, np.float32)[:43]
    y = ops.activation_forward(x, kind, ALPHA)
    assert np.isnan(y[::5]).all(), "a NaN comes out as a NaN"
    top = {"relu6": 6.0, "log_sigmoid": 0.0}.get(
        kind, 1.0 if kind in ("sigmoid", "tanh", "softsign", *STEPS) else np.inf
    )
    bottom = dict.fromkeys(("tanh", "softsign", "sign", "hard_tanh"), -1.0)
    bottom |= dict.fromkeys(("linear", "leaky_relu", "log_sigmoid", *SHRINKS), -np.inf)
    bottom |= {"elu": -ALPHA, "celu": -ALPHA, "selu": SELU_BOTTOM}
    np.testing.assert_array_equal(y[1::5], top)
    if kind in GATED and kind not in SHRINKS:
        assert not (np.abs(y[2::5]) > 0).any(), "-inf gives 0 or, as the formula -inf * 0 does, a NaN"
    else:
        np.testing.assert_array_equal(y[2::5], np.float32(bottom.get(kind, 0.0)))
    middle = dict.fromkeys(("sigmoid", "hard_sigmoid", "sparse_sigmoid"), 0.5)
    middle |= {"softplus": np.log(2.0), "log_sigmoid": -np.log(2.0), "exponential": 1.0, "sparse_plus": 0.25}
    middle |= {"squareplus": np.sqrt(ALPHA) / 2}
    value = middle.get(kind, 0.0)
    assert_close(y[3::5], np.full(len(y[3::5]), value), elementary(value))
    np.testing.assert_array_equal(y[4::5], y[3 : 3 + 5 * len(y[4::5]) : 5])


@every_kind
def test_slopes_far_out(isa: str, kind: str) -> None:
    x = np.array([-3e38, -1e30, -1e8, -1000, -120, 120, 1000, 1e8, 1e30, 3e38] * 4, np.float32)
    y, dy = ops.activation_forward(x, kind, ALPHA), np.full(x.shape, 3.0, np.float32)
    left = {"leaky_relu": ALPHA}.get(kind, 1.0 if kind in ("linear", "log_sigmoid", *SHRINKS) else 0.0)
    right = {"selu": SELU_SLOPE, "exponential": np.inf}
    right |= dict.fromkeys(("sigmoid", "tanh", "log_sigmoid", *STEPS), 0.0)
    expected = 3 * np.where(x < 0, left, right.get(kind, 1.0))
    if kind == "softsign":
        expected = 3 / (1 + np.abs(double(x))) ** 2
    if kind == "squareplus":  # 1 + x / root without a difference
        root = np.sqrt(double(x) ** 2 + ALPHA)
        twice = root + np.abs(double(x))
        expected = 1.5 * np.where(x < 0, ALPHA / twice, twice) / root
    assert_close(ops.activation_backward(dy, x, y, kind, ALPHA), expected, bound("gate slope", 3.0), kind)


@every_kind
def test_a_nan_gradient_stays(isa: str, kind: str) -> None:
    x = np.linspace(0.5, 1.0, 37, dtype=np.float32)
    dy = np.ones(37, np.float32)
    dy[[3, 35]] = np.nan
    dx = ops.activation_backward(dy, x, ops.activation_forward(x, kind, ALPHA), kind, ALPHA)
    np.testing.assert_array_equal(np.isnan(dx), np.isnan(dy))


def test_denormal_numbers_count_as_zero_and_python_keeps_them(isa: str) -> None:
    tiny = np.full(37, 2.0**-149, np.float32)
    assert np.abs(ops.activation_forward(tiny, "leaky_relu", ALPHA)).max() <= SMALLEST
    ops.gemm(tiny.reshape(37, 1), np.ones((1, 5), np.float32))
    assert np.float32(2.0**-149) * np.float32(2.0) == np.float32(2.0**-148), "our calls put the processor's mode back"


# ---- softmax ----


def softmax_limit(x: Array, y: Array) -> Array:
    """Return the allowed error: exp turns the rounding of x - max, u |x - max|, into a relative error."""
    distance = x.max(axis=-1, keepdims=True) - x
    return bound("softmax", y * (1 + distance), 1 + x.shape[-1] / 16)


SHAPES = [
    (0, 5),
    (1, 1),
    (3, 1),
    (7, 2),
    (5, 15),
    (5, 16),
    (5, 17),
    (3, 31),
    (3, 32),
    (2, 33),
    (11, 37),
    (2, 1000),
    (2, 3, 5),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_softmax(isa: str, rng: Generator, shape: tuple[int, ...], spread: float) -> None:
    x = normal(rng, *shape) * np.float32(spread)
    y = ops.softmax_forward(x)
    expected = reference.softmax_forward(double(x))
    assert_close(y, expected, softmax_limit(double(x), expected))
    dy = normal(rng, *shape)
    wide, dwide = double(y), double(dy)
    mean = (np.abs(dwide * wide)).sum(axis=-1, keepdims=True)
    limit = bound("formula", wide * (np.abs(dwide) + mean), shape[-1])
    assert_close(ops.softmax_backward(dy, y), reference.softmax_backward(dwide, wide), limit)


def test_softmax_around_a_vector(isa: str, rng: Generator) -> None:
    for cols in range(1, 2 * lanes() + 4):
        x = normal(rng, 3, cols)
        expected = reference.softmax_forward(double(x))
        assert_close(ops.softmax_forward(x), expected, softmax_limit(double(x), expected), str(cols))


def test_exp_on_a_grid(isa: str) -> None:
    # Of two columns x and 0 with x far below 0 the first is exp(x): the second sums to 1 with it.
    x = np.linspace(-104, -17, 200_001).astype(np.float32)
    y = ops.softmax_forward(np.stack([x, np.zeros_like(x)], axis=1))
    expected = np.exp(double(x))
    assert_close(y[:, 0], expected, elementary(expected))
    np.testing.assert_array_equal(y[:, 1], 1.0)


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_softmax_gradient_is_the_slope(isa: str, rng: Generator, shape: tuple[int, ...]) -> None:
    x, dy, v = normal(rng, *shape), normal(rng, *shape), rng.standard_normal(shape)
    dx = ops.softmax_backward(dy, ops.softmax_forward(x))
    ahead, behind = (reference.softmax_forward(double(x) + step * v) for step in (STEP, -STEP))
    slope = float(np.vdot(double(dy), (ahead - behind) / (2 * STEP)))
    if shape[-1] == 1:
        np.testing.assert_array_equal(dx, 0.0)
    else:
        assert_gradient(dx, slope, v)


@pytest.mark.parametrize("cols", [1, 7, 16, 19, 53])
def test_a_row_does_not_see_the_others(isa: str, rng: Generator, cols: int) -> None:
    x, dy = normal(rng, 17, cols) * 10, normal(rng, 17, cols)
    x[5], x[11, cols // 2] = np.nan, np.inf
    y = ops.softmax_forward(x)
    dx = ops.softmax_backward(dy, y)
    for i in range(17):
        assert_bits(ops.softmax_forward(x[i : i + 1])[0], y[i])
        assert_bits(ops.softmax_backward(dy[i : i + 1], y[i : i + 1])[0], dx[i])
    assert np.isfinite(np.delete(y, (5, 11), axis=0)).all()


@pytest.mark.parametrize("cols", [3, 16, 21, 40])
def test_softmax_of_extremes(isa: str, cols: int) -> None:
    x = np.zeros((5, cols), np.float32)
    x[0], x[0, 1] = -1e8, 1e8
    x[1], x[1, cols - 1] = -3e38, 3e38
    x[2] = 3e38
    x[3], x[3, 2] = -np.inf, -5.0
    x[4] = -1e8
    y = ops.softmax_forward(x)
    expected = np.zeros((5, cols))
    expected[0, 1] = expected[1, cols - 1] = expected[3, 2] = 1
    expected[2] = expected[4] = 1 / cols
    assert_close(y, expected, bound("softmax", expected, 1 + cols / 16))


@pytest.mark.parametrize("cols", [2, 16, 21, 40])
@pytest.mark.parametrize("at", [0, 1, -1])
def test_softmax_of_nan(isa: str, rng: Generator, cols: int, at: int) -> None:
    x = normal(rng, 3, cols)
    x[1, at] = np.nan
    y = ops.softmax_forward(x)
    assert np.isnan(y[1]).all()
    assert np.isfinite(y[[0, 2]]).all()


X = np.zeros((3, 4), np.float32)
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "name": (lambda: ops.activation_forward(X, "rely"), ValueError, "expected the name of an activation, got 'rely'"),
    "name, backward": (
        lambda: ops.activation_backward(X, X, X, "swish"),
        ValueError,
        "expected the name of an activation",
    ),
    "size of x": (
        lambda: ops.activation_backward(X, X[0], None, "gelu"),
        ValueError,
        "expected x of 12 elements, got 4",
    ),
    "size of y": (
        lambda: ops.activation_backward(X, None, X[0], "tanh"),
        ValueError,
        "expected y of 12 elements, got 4",
    ),
    "no y": (lambda: ops.activation_backward(X, X, None, "tanh"), ValueError, "expected the array that the derivative"),
    "no x": (lambda: ops.activation_backward(X, None, X, "gelu"), ValueError, "expected the array that the derivative"),
    "complex": (
        lambda: ops.activation_forward(X * 1j, "relu"),
        TypeError,
        "activation_forward: expected x of a real dtype",
    ),
    "ragged": (
        lambda: ops.activation_forward([[1], [1, 2]], "relu"),
        ValueError,
        "expected x to be a rectangular array",
    ),
    "softmax of strings": (
        lambda: ops.softmax_forward(X.astype(str)),
        TypeError,
        "softmax_forward: expected x of a real",
    ),
    "softmax dy": (lambda: ops.softmax_backward(X[:2], X), ValueError, r"expected dy of shape \(3, 4\), got \(2, 4\)"),
    "softmax y": (lambda: ops.softmax_backward(X, X.astype(np.float64)), TypeError, "expected y as an aligned"),
}


@pytest.mark.parametrize(("call", "error", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
