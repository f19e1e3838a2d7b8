"""Regularizers, constraints, layer and group normalization, noise and masks against their twins."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from gradcheck import STEP
from ops_calls import Array, Generator, double, lanes, normal, uniform
from tolerances import assert_bits, assert_close, assert_gradient, bound

from fastnn import config, ops, reference
from fastnn.reference.noise import normals

EPSILON = 0.0078125  # a float32 number, so that kernel and twin have the same


def around_a_vector() -> list[int]:
    return [*range(1, 2 * lanes() + 4), 63, 64, 65, 127, 129]


# ---------------------------------------------------------------- penalties, constraints


@pytest.mark.parametrize("n", [0, 1, 3, 15, 16, 17, 1023, 1024, 1025, 5003])
def test_penalty(isa: str, rng: Generator, n: int) -> None:
    x, dy = normal(rng, n), normal(rng, n)
    x[::5] = 0
    for l1, l2, scale in ((0.25, 0.0, 1.0), (0.0, 0.375, 0.5), (0.25, 0.375, 2.0)):
        found, exact = np.array([1.0, 2.0]), np.array([1.0, 2.0])
        dx = ops.penalty(x, l1, l2, found, scale=scale, rows=3, count=5, dy=dy, need_gradient=True)
        want = reference.penalty(
            double(x), l1, l2, exact, scale=scale, rows=3, count=5, dy=double(dy), need_gradient=True
        )
        assert dx is not None
        assert want is not None
        assert_close(dx, want, bound("formula", np.abs(dy) + scale * (l1 + 2 * l2 * np.abs(x))))
        assert_close(found, exact, bound("product", exact, 64))
        assert found[1] == 7
    assert ops.penalty(x, 1.0, 1.0) is None


def test_penalty_writes_where_it_is_told(isa: str, rng: Generator) -> None:
    x, g = normal(rng, 7, 13), normal(rng, 7, 13)
    want = ops.penalty(x, 0.5, 0.25, dy=g, need_gradient=True)
    assert ops.penalty(x, 0.5, 0.25, dy=g, out=g, need_gradient=True) is g
    assert want is not None
    assert_bits(g, want)
    with pytest.raises(ValueError, match=r"penalty: expected dy of shape \(7, 13\), got \(13,\)"):
        ops.penalty(x, 1.0, 1.0, dy=x[0], need_gradient=True)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((5,), (0,)),
        ((7, 33), (0,)),
        ((7, 33), (1,)),
        ((3, 2, 5, 18), (0, 1, 2)),
        ((3, 2, 5, 18), (1, -1)),
        ((0, 3), (0,)),
    ],
    ids=str,
)
def test_clip_norms(isa: str, rng: Generator, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    start = normal(rng, *shape)
    for low, high, rate in ((0.0, 1.5, 1.0), (1.0, 1.0, 1.0), (1.0, 2.0, 0.25)):
        w, want = start.copy(), double(start)
        ops.clip_norms(w, axes, low, high, rate)
        reference.clip_norms(want, axes, low, high, rate)
        assert_close(w, want, bound("formula", want, 4))
        norms = np.sqrt((double(w) ** 2).sum(axes))
        if rate == 1:
            assert (norms <= high * (1 + 1e-6)).all()
            assert ((norms >= low * (1 - 1e-6)) | (norms == 0)).all()


def test_clip_norms_of_zeros_and_wrong_axes() -> None:
    w = np.zeros((3, 4), np.float32)
    ops.clip_norms(w, (0,), 1.0, 1.0)
    assert not w.any()
    for axes in ((2,), (0, 0), (0, -2), ()):
        with pytest.raises(ValueError, match="clip_norms: expected axes that name some of the 2 once"):
            ops.clip_norms(w, axes, 0.0, 1.0)


# ---------------------------------------------------------------- normalization of rows and groups


def layer_data(rng: Generator, rows: int, cols: int, mean: float = 2.0) -> tuple[Array, ...]:
    x = normal(rng, rows, cols) * uniform(rng, 0.5, 3.0, rows, 1) + uniform(rng, -mean, mean, rows, 1)
    return x.astype(np.float32), normal(rng, rows, cols), normal(rng, cols), normal(rng, cols)


def check_layer_norm(rng: Generator, rows: int, cols: int, centered: bool, mean: float = 2.0) -> None:
    x, dy, gamma, beta = layer_data(rng, rows, cols, mean)
    for factor, offset in ((gamma, beta), (None, beta), (gamma, None), (None, None)):
        options: dict[str, Any] = {"epsilon": EPSILON, "centered": centered}
        y, means, rstd = ops.layer_norm_forward(x, factor, offset, **options)
        wide = [double(v) for v in (x, factor, offset)]
        want, exact_mean, exact_rstd = reference.layer_norm_forward(*wide, **options)
        spread = np.abs(wide[0] - exact_mean[:, None]).mean(1) + np.abs(wide[0][:, 0] - exact_mean)
        off = bound("rounded", exact_mean) + bound("norm", spread, cols) if centered else np.zeros(rows)
        assert_close(means, exact_mean, off, "mean")
        assert_close(rstd, exact_rstd, bound("norm", exact_rstd, cols), "rstd")
        slope = np.abs(exact_rstd[:, None] * (1.0 if factor is None else wide[1]))
        size = slope * np.abs(wide[0] - exact_mean[:, None]) + (0 if offset is None else np.abs(wide[2]))
        assert_close(y, want, slope * off[:, None] + bound("norm", size, cols), "y")
        check_layer_norm_backward(x, dy, factor, means, rstd, centered)


def check_layer_norm_backward(x: Array, dy: Array, gamma: Any, mean: Array, rstd: Array, centered: bool) -> None:
    rows, cols = x.shape
    found, exact = [[np.full(cols, np.nan, t) for _ in (0, 1)] for t in (np.float32, np.float64)]
    dx = ops.layer_norm_backward(x, dy, gamma, mean, rstd, *found, centered=centered)
    wide = [double(v) for v in (x, dy, gamma, mean, rstd)]
    want = reference.layer_norm_backward(*wide, *exact, centered=centered)
    xhat, g = (wide[0] - wide[3][:, None]) * wide[4][:, None], wide[1] * (1.0 if gamma is None else wide[2])
    size = np.abs(g) + np.abs(g).mean(1, keepdims=True) + np.abs(xhat) * np.abs(g * xhat).mean(1, keepdims=True)
    assert_close(dx, want, bound("norm", wide[4][:, None] * size, cols), "dx")
    assert_close(found[0], exact[0], bound("product", np.abs(wide[1] * xhat).sum(0), rows + 3), "dgamma")
    assert_close(found[1], exact[1], bound("sum", np.abs(wide[1]).sum(0), rows + 1), "dbeta")
    assert_bits(ops.layer_norm_backward(x, dy, gamma, mean, rstd, centered=centered), dx)


@pytest.mark.parametrize("centered", [True, False])
def test_layer_norm(isa: str, rng: Generator, centered: bool) -> None:
    for cols in around_a_vector():
        check_layer_norm(rng, 5, cols, centered)
    for rows, cols in ((1, 1), (300, 3), (257, 70), (3, 1025)):
        check_layer_norm(rng, rows, cols, centered)


def test_a_large_mean_costs_no_digits_of_a_row(isa: str, rng: Generator) -> None:
    check_layer_norm(rng, 7, 301, True, mean=1e5)
    y, _, rstd = ops.layer_norm_forward(np.full((3, 37), 0.1, np.float32), None, None, epsilon=EPSILON)
    assert not y.any()
    assert_close(rstd, np.full(3, EPSILON**-0.5), bound("formula", EPSILON**-0.5))


GROUPS = [
    ((1, 1, 1), 1), ((2, 3, 4), 2), ((3, 7, 5, 6), 3), ((2, 9, 64), 32), ((2, 130, 70), 7), ((1, 129, 66), 66),
    ((4, 5, 129), 1), ((3, 257, 15), 5), ((2, 12), 4),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "groups"), GROUPS, ids=str)
def test_group_norm(isa: str, rng: Generator, shape: tuple[int, ...], groups: int) -> None:
    channels, elements = shape[-1], int(np.prod(shape[1:])) // groups
    x = (normal(rng, *shape) * 2 + uniform(rng, -2, 2, channels)).astype(np.float32)
    dy, gamma, beta = normal(rng, *shape), normal(rng, channels), normal(rng, channels)
    for factor, offset in ((gamma, beta), (None, None)):
        y, mean, rstd = ops.group_norm_forward(x, factor, offset, groups, epsilon=EPSILON)
        wide = [double(v) for v in (x, factor, offset)]
        want, exact_mean, exact_rstd = reference.group_norm_forward(*wide, groups, epsilon=EPSILON)
        assert_close(mean, exact_mean, bound("norm", 4.0, elements), "mean")
        assert_close(rstd, exact_rstd, bound("norm", exact_rstd, elements), "rstd")
        limit = 1e-5 * (1 + np.abs(want)) * max(1, float(exact_rstd.max()))
        assert_close(y, want, limit, "y")
        found, exact = [[np.full(channels, np.nan, t) for _ in (0, 1)] for t in (np.float32, np.float64)]
        dx = ops.group_norm_backward(x, dy, factor, mean, rstd, *found)
        gradient = reference.group_norm_backward(*(double(v) for v in (x, dy, factor, mean, rstd)), *exact)
        assert_close(dx, gradient, 1e-5 * float(np.linalg.norm(gradient)) + 1e-6, "dx")
        for got, right in zip(found, exact, strict=True):
            assert_close(got, right, 1e-5 * float(np.linalg.norm(right)) + 1e-6, "dgamma, dbeta")


@pytest.mark.parametrize("kind", ["layer", "squares", "groups"])
def test_gradients_are_slopes(isa: str, rng: Generator, kind: str) -> None:
    shape = (4, 5, 6)
    x, dy, gamma, beta = normal(rng, *shape), normal(rng, *shape), normal(rng, 6), normal(rng, 6)
    sums = np.empty(6, np.float32), np.empty(6, np.float32)
    options: dict[str, Any] = {"epsilon": EPSILON} | ({} if kind == "groups" else {"centered": kind == "layer"})
    name, more = ("group_norm", (3,)) if kind == "groups" else ("layer_norm", ())
    _, mean, rstd = getattr(ops, f"{name}_forward")(x, gamma, beta, *more, **options)
    centered = {} if kind == "groups" else {"centered": kind == "layer"}
    dx = getattr(ops, f"{name}_backward")(x, dy, gamma, mean, rstd, *sums, **centered)
    arguments = [double(v) for v in (x, gamma, beta)]
    for i, gradient in enumerate((dx, *sums)):
        v = rng.standard_normal(gradient.shape)

        def at(step: float, i: int = i, v: Array = v) -> float:
            moved = [a + step * v if j == i else a for j, a in enumerate(arguments)]
            return float(np.vdot(double(dy), getattr(reference, f"{name}_forward")(*moved, *more, **options)[0]))

        assert_gradient(gradient, (at(STEP) - at(-STEP)) / (2 * STEP), v, ("dx", "dgamma", "dbeta")[i])


# ---------------------------------------------------------------- noise


def test_random_keep_is_dropout(isa: str) -> None:
    for n in (*around_a_vector(), 255, 257, 5003):
        one, other = np.array([2**32 + 3], np.uint64), np.array([2**32 + 3], np.uint64)
        keep = ops.random_keep((n,), 0.375, 9, 4, one)
        y, _ = ops.dropout_forward(np.ones(n, np.float32), 0.375, 9, 4, other)
        np.testing.assert_array_equal(keep, y != 0)
        assert one == other


@pytest.mark.parametrize("shape", [(3, 700, 6), (2, 41, 100), (1, 5000, 3), (4, 3, 1300)])
@pytest.mark.parametrize("threads", [1, 3])
def test_kept_columns_of_many_rows(isa: str, rng: Generator, shape: tuple[int, ...], threads: int) -> None:
    config.set_num_threads(threads)
    x = normal(rng, *shape)
    for keep_shape in ((shape[0], 1, shape[2]), (1, 1, shape[2]), (shape[0], shape[1], 1)):
        keep = (uniform(rng, 0, 1, *keep_shape) > 0.5).astype(np.float32)
        np.testing.assert_array_equal(
            ops.apply_keep(x, keep, 2.0, 0.0, -1.0), np.where(keep > 0, 2 * x, np.float32(-1))
        )


@pytest.mark.parametrize("keep_shape", [(3, 4, 5), (3, 1, 5), (1, 4, 5), (3, 4, 1), (3, 1, 1), (1, 4, 1), (1, 1, 1)])
def test_apply_keep_broadcasts(isa: str, rng: Generator, keep_shape: tuple[int, ...]) -> None:
    x, keep = normal(rng, 3, 4, 5), (uniform(rng, 0, 1, *keep_shape) > 0.5).astype(np.float32)
    y = ops.apply_keep(x, keep, 1.5, 0.25, -1.0)
    np.testing.assert_allclose(y, np.where(keep + 0 * x > 0, x * 1.5 + 0.25, -1.0), rtol=1e-6, atol=1e-7)
    bad = np.where(np.broadcast_to(keep, x.shape) > 0, x, np.nan).astype(np.float32)
    assert np.isfinite(ops.apply_keep(bad, keep, 1.5)).all(), "what is dropped does not matter"
    with pytest.raises(ValueError, match="apply_keep: expected keep of shape"):
        ops.apply_keep(x, keep[..., None], 1.0)


def test_normal_numbers_have_the_quantiles(isa: str) -> None:
    n = 4001
    z, _ = ops.gaussian_forward(np.zeros(n, np.float32), 1.0, 3, 1, np.array([5], np.uint64))
    assert_close(z, normals(n, 3, 1, 5), 2e-6)
    assert (normals(10**5, 3, 1, 5) > 0).mean() == pytest.approx(0.5, abs=0.01)
    block = np.sort(np.abs(normals(10**5, 1, 0, 0)))
    exact = [NormalDist().inv_cdf(0.5 + 0.5 * (i + 0.5) / len(block)) for i in range(0, len(block), 997)]
    np.testing.assert_allclose(block[::997], exact, atol=0.05)


def test_normal_numbers_are_normal(isa: str) -> None:
    n = 400_000
    counter = np.array([0], np.uint64)
    z, _ = ops.gaussian_forward(np.zeros(n, np.float32), 1.0, 8, 2, counter)
    again, _ = ops.gaussian_forward(np.zeros(n, np.float32), 1.0, 8, 2, counter)
    moments = [float((z.astype(np.float64) ** k).mean()) for k in (1, 2, 3, 4)]
    for got, want, spread in zip(moments, (0, 1, 0, 3), (1, 2**0.5, 15**0.5, 96**0.5), strict=True):
        assert abs(got - want) < 5 * spread / n**0.5
    assert abs(float((z * again).mean())) < 5 / n**0.5, "two steps are independent"
    assert abs(float((z[1:] * z[:-1]).mean())) < 5 / n**0.5, "neighbors are independent"
    tail = float((np.abs(z) > 3).mean())
    assert abs(tail - math.erfc(3 / 2**0.5)) < 5 * (0.0027 / n) ** 0.5


def test_gaussian_noise_of_any_size_and_back(isa: str, rng: Generator) -> None:
    whole = normal(rng, 400)
    y, used = ops.gaussian_forward(whole, 0.5, 9, 1, np.array([5], np.uint64), multiply=True)
    for n in (*around_a_vector(), 128, 256, 300):
        counter = np.array([5], np.uint64)
        part, _ = ops.gaussian_forward(whole[:n], 0.5, 9, 1, counter, multiply=True)
        assert_bits(part, y[:n])
        assert counter[0] == 6
    assert_bits(ops.gaussian_backward(whole, 0.5, 9, 1, used), y)


# ---------------------------------------------------------------- masks


def test_masks(isa: str, rng: Generator) -> None:
    for cols in (1, 3, *around_a_vector()):
        x = normal(rng, 6, cols)
        x[1], x[3], x[4, : cols - 1] = 0.5, 0.5, 0.5
        y, mask = ops.mask_rows(x, 0.5)
        np.testing.assert_array_equal(mask, [1, 0, 1, 0, 1, 1])
        np.testing.assert_array_equal(y, np.where(mask[:, None] > 0, x, 0))
    x = np.full((2, 3), np.nan, np.float32)
    np.testing.assert_array_equal(ops.mask_rows(x, 0.0)[1], [1, 1])


def test_mask_weights(isa: str, rng: Generator) -> None:
    mask, weights = np.array([1, 0, 1, 1, 0, 1], np.float32), uniform(rng, 0, 2, 6)
    np.testing.assert_allclose(ops.mask_weights(mask), mask * 1.5)
    np.testing.assert_allclose(ops.mask_weights(mask, weights), mask * 1.5 * weights, rtol=1e-6)
    assert_bits(ops.mask_weights(mask, weights, rescale=False), mask * weights)
    assert not ops.mask_weights(np.zeros(4, np.float32)).any()
