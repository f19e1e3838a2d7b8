"""Batch normalization: training, inference, gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import STEP
from ops_calls import Array, Generator, double, lanes, normal, uniform
from tolerances import assert_bits, assert_close, assert_gradient, bound

from fastnn import ops, reference

EPSILON, MOMENTUM = 0.0078125, 0.75  # float32 numbers, so that kernel and twin have the same
NORM = {"momentum": MOMENTUM, "epsilon": EPSILON}
CHUNK = 128  # rows that the kernel adds up in float32; what follows is done in double

# Few channels are folded into rows of up to 64 numbers, and 128 such rows make a chunk: sizes around those steps.
SHAPES = [
    (1, 1), (1, 5), (2, 3), (3, 2, 5, 7), (63, 1), (64, 1), (65, 1), (8191, 1), (8192, 1), (8193, 1), (8257, 1),
    (2687, 3), (2689, 3), (128, 64), (129, 64), (131, 63), (257, 65), (301, 70), (3, 511), (2, 512), (5, 513), (140, 1025),
]  # fmt: skip
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def rows_of(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def data(rng: Generator, shape: tuple[int, ...], mean: float = 2.0) -> tuple[Array, Array, Array, Array, Array]:
    """Return x, gamma, beta and moving statistics."""
    channels = shape[-1]
    x = normal(rng, *shape) * uniform(rng, 0.5, 3.0, channels) + uniform(rng, -mean, mean, channels)
    return x, normal(rng, channels), normal(rng, channels), normal(rng, channels), uniform(rng, 0.5, 2.0, channels)


def mean_limit(x: Array) -> Array:
    """Return the allowed error of the mean: its own rounding, and that of the sum of differences from the first row."""
    rows = rows_of(double(x))
    mean = rows.mean(0)
    spread = np.abs(rows - mean).mean(0) + np.abs(rows[0] - mean)
    return bound("rounded", mean) + bound("norm", spread, min(len(rows), CHUNK))


def check_forward(x: Array, gamma: Array | None, beta: Array | None, mean_0: Array, variance_0: Array) -> None:
    moving, exact = [mean_0.copy(), variance_0.copy()], [double(mean_0), double(variance_0)]
    y, mean, rstd = ops.batch_norm_forward(x, gamma, beta, *moving, **NORM)
    want, want_mean, want_rstd = reference.batch_norm_forward(double(x), double(gamma), double(beta), *exact, **NORM)
    terms = min(len(rows_of(x)), CHUNK)
    assert_close(mean, want_mean, mean_limit(x), "mean")
    assert_close(rstd, want_rstd, bound("norm", want_rstd, terms), "rstd")
    scale = np.abs(want_rstd if gamma is None else gamma * want_rstd)
    offset = 0.0 if beta is None else np.abs(double(beta))
    size = scale * np.abs(double(x) - want_mean) + offset
    assert_close(y, want, scale * mean_limit(x) + bound("norm", size, terms), "y")
    limit = 0.25 * mean_limit(x) + bound("formula", np.abs(exact[0]) + np.abs(mean_0) + np.abs(want_mean))
    assert_close(moving[0], exact[0], limit, "moving mean")
    assert_close(moving[1], exact[1], bound("norm", variance_0 + want_rstd**-2, terms), "moving variance")


@every_shape
def test_forward(isa: str, rng: Generator, shape: tuple[int, ...]) -> None:
    x, gamma, beta, *moving = data(rng, shape)
    check_forward(x, gamma, beta, *moving)
    check_forward(x, gamma, None, *moving)
    check_forward(x, None, beta, *moving)
    check_forward(x, None, None, *moving)


def test_channels_around_a_vector(isa: str, rng: Generator) -> None:
    width = lanes()
    for channels in (*range(1, 2 * width + 4), 3 * width + 1, 4 * width, 4 * width + 1):
        for rows in (1, 3, 17):
            check_forward(*data(rng, (rows, channels)))
            check_backward(rng, (rows, channels), fixed=False)


@pytest.mark.parametrize("shape", [(301, 5), (40, 3, 70), (20000, 2)], ids=str)
def test_a_large_mean_costs_no_digits_of_the_variance(isa: str, rng: Generator, shape: tuple[int, ...]) -> None:
    check_forward(*data(rng, shape, mean=1e5))


def test_constant_channels(isa: str) -> None:
    x = np.broadcast_to(np.array([3.0, -1e6, 0.0, 0.1], np.float32), (301, 4)).copy()
    moving = np.zeros(4, np.float32), np.ones(4, np.float32)
    y, mean, rstd = ops.batch_norm_forward(x, None, np.full(4, 0.5, np.float32), *moving, **NORM)
    np.testing.assert_array_equal(mean, x[0])
    assert_close(rstd, np.full(4, EPSILON**-0.5), bound("formula", EPSILON**-0.5))
    np.testing.assert_array_equal(y, 0.5)
    np.testing.assert_array_equal(moving[1], MOMENTUM)


def check_backward(rng: Generator, shape: tuple[int, ...], fixed: bool) -> None:
    x, gamma, *_ = data(rng, shape)
    dy, channels = normal(rng, *shape), shape[-1]
    _, mean, rstd = ops.batch_norm_forward(
        x, None, None, np.zeros(channels, np.float32), np.ones(channels, np.float32), **NORM
    )
    wide = [double(v) for v in (x, dy, gamma, mean, rstd)]
    found, exact = [[np.full(channels, np.nan, t) for _ in (0, 1)] for t in (np.float32, np.float64)]
    for factor in (gamma, None):
        wide[2] = double(factor)
        dx = ops.batch_norm_backward(x, dy, factor, mean, rstd, *found, fixed_statistics=fixed)
        want = reference.batch_norm_backward(*wide, *exact, fixed_statistics=fixed)
        xhat = (wide[0] - wide[3]) * wide[4]
        terms, count = min(len(rows_of(x)), CHUNK), len(rows_of(x))
        sums = [rows_of(np.abs(part)).sum(0) for part in (wide[1] * xhat, wide[1])]
        assert_close(found[0], exact[0], bound("product", sums[0], terms + 3), "dgamma")
        assert_close(found[1], exact[1], bound("sum", sums[1], terms), "dbeta")
        size = np.abs(wide[1]) + (0 if fixed else sums[1] / count + np.abs(xhat) * sums[0] / count)
        limit = bound("norm", np.abs(wide[4] * (1.0 if factor is None else wide[2])) * size, terms)
        assert_close(dx, want, limit, "dx")


@every_shape
@pytest.mark.parametrize("fixed", [False, True])
def test_backward(isa: str, rng: Generator, shape: tuple[int, ...], fixed: bool) -> None:
    check_backward(rng, shape, fixed)


def bits_of_separate_ops(x: Array, residual: Array | None, relu: bool, y: Array) -> Array:
    """Return what y becomes by a residual and a relu of their own."""
    total = y if residual is None else y + residual
    return ops.activation_forward(total, "relu") if relu else total


@every_shape
def test_a_residual_and_a_relu(isa: str, rng: Generator, shape: tuple[int, ...]) -> None:
    """Fused or one after the other: the same bits."""
    x, gamma, beta, *moving = data(rng, shape)
    residual = normal(rng, *shape)
    plain, *_ = ops.batch_norm_forward(x, gamma, beta, *(m.copy() for m in moving), **NORM)
    inferred, *_ = ops.batch_norm_inference(x, gamma, beta, *moving, epsilon=EPSILON)
    for more in (None, residual):
        for relu in (False, True):
            own = [m.copy() for m in moving]
            y, *_ = ops.batch_norm_forward(x, gamma, beta, *own, **NORM, residual=more, relu=relu)
            assert_bits(y, bits_of_separate_ops(x, more, relu, plain))
            y, *_ = ops.batch_norm_inference(x, gamma, beta, *moving, epsilon=EPSILON, residual=more, relu=relu)
            assert_bits(y, bits_of_separate_ops(x, more, relu, inferred))


def check_parts(rng: Generator, x: Array, dy: Array, parameters: tuple[Any, ...], options: dict[str, Any]) -> None:
    """A gradient in two parts gives the bits of their sum, with and without one that goes on to a residual."""
    more, results = normal(rng, *x.shape), []
    for parts in ({"dy": dy + more}, {"dy": dy, "more": more}):
        for residual in (None, np.full(x.shape, np.nan, np.float32)):
            sums = [np.empty(x.shape[-1:], np.float32) for _ in (0, 1)]
            given = {**options, **{k: v for k, v in parts.items() if k != "dy"}}
            dx = ops.batch_norm_backward(x, parts["dy"], *parameters, *sums, residual, **given)
            results.append([dx, *sums, *([] if residual is None else [residual])])
    for whole, split in zip(results[:2], results[2:], strict=True):
        for a, b in zip(whole, split, strict=True):
            np.testing.assert_array_equal(b, a)
    for alone, both in zip(results[2], results[3][:3], strict=True):
        np.testing.assert_array_equal(both, alone)


@every_shape
@pytest.mark.parametrize("fixed", [False, True])
def test_the_gradient_behind_a_relu(isa: str, rng: Generator, shape: tuple[int, ...], fixed: bool) -> None:
    """That of the relu, then that of the normalization: the same bits, whether seen from y or computed again."""
    x, gamma, beta, *moving = data(rng, shape)
    dy, residual, channels = normal(rng, *shape), normal(rng, *shape), shape[-1]
    for factor, offset in ((gamma, beta), (gamma, None), (None, beta)):
        own = [m.copy() for m in moving]
        if fixed:
            forward = lambda **more: ops.batch_norm_inference(x, factor, offset, *own, epsilon=EPSILON, **more)  # noqa: E731, B023
        else:
            forward = lambda **more: ops.batch_norm_forward(x, factor, offset, *own, **NORM, **more)  # noqa: E731, B023
        for y, mean, rstd in (forward(relu=True), forward(relu=True, residual=residual)):
            dz = ops.activation_backward(dy, None, y, "relu")
            want = [np.empty(channels, np.float32) for _ in (0, 1)]
            dx = ops.batch_norm_backward(x, dz, factor, mean, rstd, *want, fixed_statistics=fixed)
            found, dresidual = [np.empty(channels, np.float32) for _ in (0, 1)], np.full(shape, np.nan, np.float32)
            options = {"fixed_statistics": fixed, "relu": True, "relu_y": y, "beta": offset}
            fused = ops.batch_norm_backward(x, dy, factor, mean, rstd, *found, dresidual, **options)
            np.testing.assert_array_equal(dresidual, dz)
            for got, expected in zip((fused, *found), (dx, *want), strict=True):
                np.testing.assert_array_equal(got, expected)
        y, mean, rstd = forward(relu=True)
        check_parts(rng, x, dy, (factor, mean, rstd), {"fixed_statistics": fixed, "relu": True, "relu_y": y})
        check_parts(rng, x, dy, (factor, mean, rstd), {"fixed_statistics": fixed, "relu": True, "beta": offset})
        check_parts(rng, x, dy, (factor, mean, rstd), {"fixed_statistics": fixed})
        results = []
        for relu_y in (y, None):
            found = [np.empty(channels, np.float32) for _ in (0, 1)]
            options = {"fixed_statistics": fixed, "relu": True, "relu_y": relu_y, "beta": offset}
            results.append([ops.batch_norm_backward(x, dy, factor, mean, rstd, *found, **options), *found])
        for from_y, again in zip(*results, strict=True):
            assert_bits(again, from_y)


@pytest.mark.parametrize("shape", [(7, 3), (3, 2, 5, 7), (65, 1), (131, 63), (40, 70)], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_slopes(isa: str, rng: Generator, shape: tuple[int, ...], training: bool) -> None:
    x, gamma, beta, *moving = data(rng, shape)
    dy, channels = normal(rng, *shape), shape[-1]
    if training:
        _, mean, rstd = ops.batch_norm_forward(x, gamma, beta, *(m.copy() for m in moving), **NORM)
    else:
        _, mean, rstd = ops.batch_norm_inference(x, gamma, beta, *moving, epsilon=EPSILON)
    dgamma, dbeta = np.empty(channels, np.float32), np.empty(channels, np.float32)
    dx = ops.batch_norm_backward(x, dy, gamma, mean, rstd, dgamma, dbeta, fixed_statistics=not training)
    arguments = [double(v) for v in (x, gamma, beta)]
    for i, gradient in enumerate((dx, dgamma, dbeta)):
        v = rng.standard_normal(gradient.shape)

        def at(step: float, i: int = i, v: Array = v) -> float:
            moved = [a + step * v if j == i else a for j, a in enumerate(arguments)]
            statistics = [double(m) for m in moving]
            if training:
                y, _, _ = reference.batch_norm_forward(*moved, *statistics, **NORM)
            else:
                y, _, _ = reference.batch_norm_inference(*moved, *statistics, epsilon=EPSILON)
            return float(np.vdot(double(dy), y))

        assert_gradient(gradient, (at(STEP) - at(-STEP)) / (2 * STEP), v, ("dx", "dgamma", "dbeta")[i])


def test_one_row_has_no_gradient(isa: str, rng: Generator) -> None:
    x, gamma, beta, *moving = data(rng, (1, 37))
    y, mean, rstd = ops.batch_norm_forward(x, gamma, beta, *moving, **NORM)
    np.testing.assert_array_equal(y[0], beta)
    np.testing.assert_array_equal(ops.batch_norm_backward(x, normal(rng, 1, 37), gamma, mean, rstd), 0.0)


@every_shape
def test_inference(isa: str, rng: Generator, shape: tuple[int, ...]) -> None:
    x, gamma, beta, *moving = data(rng, shape)
    before = [m.copy() for m in moving]
    for scale, shift in ((gamma, beta), (None, None), (gamma, None)):
        y, mean, rstd = ops.batch_norm_inference(x, scale, shift, *moving, epsilon=EPSILON)
        wide = [double(v) for v in (x, scale, shift, *moving)]
        want, _, want_rstd = reference.batch_norm_inference(*wide, epsilon=EPSILON)
        assert_bits(mean, moving[0])
        assert_close(rstd, want_rstd, bound("formula", want_rstd), "rstd")
        factor = want_rstd if scale is None else np.abs(wide[1]) * want_rstd
        size = factor * (np.abs(wide[0]) + np.abs(wide[3])) + (0 if shift is None else np.abs(wide[2]))
        assert_close(y, want, bound("norm", size), "y")
    for now, then in zip(moving, before, strict=True):
        assert_bits(now, then)


@pytest.mark.parametrize("channels", [1, 3, 17, 64, 70, 513])
def test_a_row_does_not_see_the_others_in_inference(isa: str, rng: Generator, channels: int) -> None:
    x, gamma, beta, *moving = data(rng, (29, channels))
    x[7] = np.nan
    y, _, _ = ops.batch_norm_inference(x, gamma, beta, *moving, epsilon=EPSILON)
    for i in range(29):
        alone, _, _ = ops.batch_norm_inference(x[i : i + 1], gamma, beta, *moving, epsilon=EPSILON)
        assert_bits(alone[0], y[i])
    assert np.isfinite(np.delete(y, 7, axis=0)).all()


@pytest.mark.parametrize("channels", [2, 19, 70])
@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_a_special_value_stays_in_its_channel(isa: str, rng: Generator, channels: int, special: float) -> None:
    x, gamma, beta, *moving = data(rng, (131, channels))
    clean, _, _ = ops.batch_norm_forward(x, gamma, beta, *(m.copy() for m in moving), **NORM)
    x[130, 1] = special
    y, mean, _ = ops.batch_norm_forward(x, gamma, beta, *moving, **NORM)
    assert not np.isfinite(mean[1])
    assert not np.isfinite(moving[0][1])
    assert not np.isfinite(y[:, 1]).any()
    np.testing.assert_array_equal(np.delete(y, 1, axis=1), np.delete(clean, 1, axis=1))


def test_no_rows_and_no_channels(isa: str) -> None:
    none, three = np.zeros(0, np.float32), np.ones(3, np.float32)
    y, mean, _ = ops.batch_norm_inference(np.zeros((0, 3), np.float32), three, three, three, three, epsilon=EPSILON)
    assert y.shape == (0, 3)
    np.testing.assert_array_equal(mean, 1.0)
    y, _, _ = ops.batch_norm_inference(np.zeros((4, 0), np.float32), none, none, none, none, epsilon=EPSILON)
    assert y.shape == (4, 0)


X, ONE = np.zeros((4, 3), np.float32), np.ones(3, np.float32)
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "empty batch": (
        lambda: ops.batch_norm_forward(X[:0], ONE, ONE, ONE.copy(), ONE.copy(), **NORM),
        ValueError,
        r"batch_norm_forward: expected at least one sample in training, got x of shape \(0, 3\)",
    ),
    "empty batch, backward": (
        lambda: ops.batch_norm_backward(X[:0], X[:0], ONE, ONE, ONE),
        ValueError,
        "at least one row",
    ),
    "gamma": (
        lambda: ops.batch_norm_forward(X, ONE[:2], ONE, ONE.copy(), ONE.copy(), **NORM),
        ValueError,
        "expected gamma of 3 elements, got 2",
    ),
    "moving mean": (
        lambda: ops.batch_norm_inference(X, ONE, ONE, ONE[:1], ONE, epsilon=EPSILON),
        ValueError,
        "expected moving_mean of 3 elements, got 1",
    ),
    "dtype": (
        lambda: ops.batch_norm_forward(X, ONE, ONE, np.zeros(3), ONE.copy(), **NORM),
        TypeError,
        "expected moving_mean as an aligned, C-contiguous array",
    ),
    "complex": (
        lambda: ops.batch_norm_inference(X * 1j, ONE, ONE, ONE, ONE, epsilon=EPSILON),
        TypeError,
        "batch_norm_inference: expected x of a real dtype",
    ),
    "dy": (lambda: ops.batch_norm_backward(X, X[:2], ONE, ONE, ONE), ValueError, "expected dy of 12 elements, got 6"),
    "dgamma": (
        lambda: ops.batch_norm_backward(X, X, ONE, ONE, ONE, X),
        ValueError,
        "expected dgamma of 3 elements, got 12",
    ),
}


@pytest.mark.parametrize(("call", "error", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
