"""Sums, products, extrema, concatenation, broadcasting; rows of length 1; products of batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops_calls import Array, Generator, double, lanes, normal
from tolerances import assert_bits, assert_close, bound

from fastnn import ops, reference

COUNTS = (1, 2, 3, 7, 8, 9, 15, 16, 23)
EXTREMA = pytest.mark.parametrize("name", ["maximum", "minimum"])


def sizes() -> list[tuple[int, ...]]:
    """Return shapes around the width of a vector and of a cache line, and empty ones."""
    return [(), (0,), (3, 0), *((n,) for n in (1, lanes() - 1, lanes(), lanes() + 1, 15, 16, 17, 331)), (7, 5, 3)]


@pytest.mark.parametrize("count", COUNTS)
def test_sums_and_products(isa: str, rng: Generator, count: int) -> None:
    for shape in sizes():
        x = [normal(rng, *shape) for _ in range(count)]
        exact, size = [double(part) for part in x], sum(np.abs(part) for part in x)
        assert_close(ops.add(*x), reference.add(*exact), bound("sum", size, count), f"add {shape}")
        weights = [float(w) for w in rng.standard_normal(count)]
        scale = sum(abs(w) * np.abs(part) for w, part in zip(weights, x, strict=True))
        got, want = ops.add(*x, weights=weights), reference.add(*exact, weights=weights)
        assert_close(got, want, bound("product", scale, 2 * count), f"weights {shape}")
        product = reference.multiply(*exact)
        assert_close(ops.multiply(*x), product, bound("formula", product, count**2), f"multiply {shape}")


def test_two_are_added_as_numpy_adds_them(isa: str, rng: Generator) -> None:
    a, b = normal(rng, 1037), normal(rng, 1037)
    a[:4], b[:4] = [np.inf, -np.inf, np.nan, -0.0], [1.0, np.inf, 1.0, -0.0]
    with np.errstate(invalid="ignore"):
        assert_bits(np.isnan(ops.add(a, b)), np.isnan(a + b))
        assert_bits(np.nan_to_num(ops.add(a, b)), np.nan_to_num(a + b))
        assert_bits(np.nan_to_num(ops.add(a, b, weights=(1, -1))), np.nan_to_num(a - b))
        assert_bits(np.nan_to_num(ops.multiply(a, b)), np.nan_to_num(a * b))


def test_a_sum_may_be_written_to_its_first_array(isa: str, rng: Generator, threads: int) -> None:
    for n in (1, 17, 50_021):
        total, more = normal(rng, n), normal(rng, n)
        want = total + more
        assert ops.add(total, more, out=total) is total
        assert_bits(total, want)


@EXTREMA
@pytest.mark.parametrize("count", COUNTS)
def test_extrema(isa: str, rng: Generator, name: str, count: int) -> None:
    for shape in sizes():
        x = [rng.integers(-3, 3, shape).astype(np.float32) for _ in range(count)]  # many are equal
        dy, y = normal(rng, *shape), getattr(ops, name)(*x)
        assert_bits(y, getattr(np, name).reduce(x) if count > 1 else x[0], str(shape))
        got = ops.extremum_backward(dy, y, *x)
        assert_bits(sum(got[1:], got[0]), dy + 0, "all of dy goes somewhere")
        first = np.argmax(np.stack(x) == y, 0)
        for i, dx in enumerate(got):
            assert_bits(dx, np.where(first == i, dy, np.float32(0)), f"{shape} {i}")


@EXTREMA
def test_a_nan_wins(isa: str, name: str) -> None:
    a = np.array([np.nan, 1.0, np.inf, -np.inf, np.nan], np.float32)
    b = np.array([2.0, np.nan, np.nan, 0.0, np.nan], np.float32)
    for pair in ((a, b), (b, a)):
        assert np.isnan(getattr(ops, name)(*pair)).tolist() == [True, True, True, False, True]
        assert np.isnan(getattr(reference, name)(*pair)).tolist() == [True, True, True, False, True]


JOINED: list[tuple[tuple[int, ...], list[int], int]] = [
    ((5, 1), [1, 3, 0, 2], -1), ((4, 1, 3), [2, 5], 1), ((1, 3), [2, 1, 4], 0), ((3, 1, 2, 2), [7], 1),
    ((0, 1), [2, 3], 1), ((2, 1), [0, 0], 1), ((3, 1), [17, 1, 33], -1), ((2, 1, 5), list(range(11)), -2),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "widths", "axis"), JOINED, ids=str)
def test_concatenate_and_split(isa: str, rng: Generator, shape: tuple[int, ...], widths: list[int], axis: int) -> None:
    parts = []
    for width in widths:
        sized = list(shape)
        sized[axis] = width
        parts.append(normal(rng, *sized))
    whole = ops.concatenate(*parts, axis=axis)
    assert_bits(whole, np.concatenate(parts, axis))
    for got, part in zip(ops.split(whole, widths, axis), parts, strict=True):
        assert_bits(got, part)


REPEATED: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((5, 1), (5, 7)), ((5, 1, 1, 3), (5, 4, 2, 3)), ((2, 3), (2, 3)), ((3, 1), (3, 1)), ((1, 1), (6, 5)),
    ((0, 1), (0, 4)), ((2, 1, 5, 1), (2, 3, 5, 4)), ((1,), (17,)), ((3, 16, 1), (3, 16, 33)),
]  # fmt: skip


@pytest.mark.parametrize(("small", "large"), REPEATED, ids=str)
def test_broadcast(isa: str, rng: Generator, small: tuple[int, ...], large: tuple[int, ...]) -> None:
    x, dy = normal(rng, *small), normal(rng, *large)
    assert_bits(ops.broadcast(x, large), np.ascontiguousarray(np.broadcast_to(x, large)))
    axes = tuple(i for i, (a, b) in enumerate(zip(small, large, strict=True)) if a != b)
    exact, size = double(dy).sum(axes, keepdims=True), np.abs(dy).sum(axes, keepdims=True)
    terms = dy.size // max(exact.size, 1)
    assert_close(ops.broadcast_backward(dy, small), exact, bound("sum", size, terms))


@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (3, 5, 2), (17, 33, 9), (1, 40, 1), (4, 0, 3)])
@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True), (True, True)], ids=str)
def test_batch_gemm(isa: str, rng: Generator, m: int, k: int, n: int, transposed: tuple[bool, bool]) -> None:
    ta, tb = transposed
    for batch in (0, 1, 3):
        a, b = normal(rng, batch, *((k, m) if ta else (m, k))), normal(rng, batch, *((n, k) if tb else (k, n)))
        options: dict[str, Any] = {"transpose_a": ta, "transpose_b": tb}
        exact = reference.batch_gemm(double(a), double(b), **options)
        size = reference.batch_gemm(np.abs(a), np.abs(b), **options)
        assert_close(ops.batch_gemm(a, b, **options), exact, bound("product", size, k))


@pytest.mark.parametrize("cols", [1, 3, 15, 16, 17, 33, 300])
def test_unit_norm(isa: str, rng: Generator, cols: int) -> None:
    x, dy = normal(rng, 9, cols), normal(rng, 9, cols)
    x[3], x[4] = 0, 1e-8  # too short to divide by their length
    exact_y, exact_r = reference.unit_norm_forward(double(x))
    y, r = ops.unit_norm_forward(x)
    assert_close(y, exact_y, bound("norm", np.abs(exact_y), cols))
    assert_close(r, exact_r, bound("norm", exact_r, cols))
    exact_dx = reference.unit_norm_backward(double(dy), exact_y, exact_r)
    length = np.linalg.norm(dy, axis=1, keepdims=True)
    assert_close(ops.unit_norm_backward(dy, y, r), exact_dx, bound("norm", length * exact_r[:, None], cols))
    lengths = np.linalg.norm(double(y), axis=1)
    assert_close(np.delete(lengths, [3, 4]), np.ones(7), 1e-6)


def wrong_calls(x: Array) -> dict[str, Any]:
    other = np.ones((2, 4), np.float32)
    return {
        "at least one array, got none": lambda: ops.add(),
        "x of shape (2, 3), got (2, 4)": lambda: ops.multiply(x, other),
        "2 weights, got 1": lambda: ops.add(x, x, weights=(1.0,)),
        "out of shape (2, 3), got (2, 4)": lambda: ops.add(x, x, out=other),
        "dy of shape (2, 3), got (2, 4)": lambda: ops.extremum_backward(other, x, x),
        "x of shape (2, 4), got (3, 4)": lambda: ops.concatenate(x, np.ones((3, 4))),
        "an axis of arrays of rank 2, got 2": lambda: ops.concatenate(x, x, axis=2),
        "sizes that add up to 3, got (1, 1)": lambda: ops.split(x, (1, 1)),
        "sizes that add up to 3, got (4, -1)": lambda: ops.split(x, (4, -1)),
        "sizes 1 or those of (2, 4), got (2, 3)": lambda: ops.broadcast(x, (2, 4)),
        "sizes 1 or those of (2, 3), got (2, 2)": lambda: ops.broadcast_backward(x, (2, 2)),
        "as many matrices in a as in b": lambda: ops.batch_gemm(x[None], x[None]),
        "a of rank 3": lambda: ops.batch_gemm(x, x),
    }


def test_wrong_arguments() -> None:
    for text, use in wrong_calls(np.ones((2, 3), np.float32)).items():
        with pytest.raises(ValueError) as error:
            use()
        assert f": expected {text}" in str(error.value) or text in str(error.value)


def test_unit_norm_of_very_long_rows(isa: str) -> None:
    x = np.array([[3e20, 4e20, 0.0], [1e38, -2e38, 2e38], [1.0, 2.0, 2.0]], np.float32)
    y, r = ops.unit_norm_forward(x)
    expected = np.array([[0.6, 0.8, 0.0], [1 / 3, -2 / 3, 2 / 3], [1 / 3, 2 / 3, 2 / 3]])
    assert_close(y, expected, bound("formula", 1.0))
    assert_close(r, np.array([2e-21, 0.0, 1 / 3]), 1e-6 * np.array([2e-21, 1e-32, 1]))
    assert np.isfinite(ops.unit_norm_backward(np.ones_like(x), y, r)).all()
    x[0, 2], x[1, 0] = np.inf, np.nan
    y = ops.unit_norm_forward(x)[0]
    assert np.isnan(y[:2]).any(1).all(), "infinity has no direction"
    assert_close(y[2], expected[2], bound("formula", 1.0))
