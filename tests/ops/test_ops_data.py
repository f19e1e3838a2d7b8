"""Gathering and storing rows, permuting, filling, counting."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ops_calls import Array, Generator, lanes, normal
from tolerances import assert_bits

from fastnn import ops, reference

FLOAT32, INT32, UINT8 = (np.dtype(t) for t in (np.float32, np.int32, np.uint8))


def source_of(rng: Generator, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """Return numbers that use the whole range of a dtype."""
    if dtype == FLOAT32:
        x = normal(rng, *shape)
        x.reshape(-1)[:3] = np.array([np.inf, -0.0, 3e38], np.float32)[: x.size]
        return x
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", [FLOAT32, INT32, UINT8], ids=str)
@pytest.mark.parametrize("shuffled", [True, False])
def test_gather_rows(isa: str, rng: Generator, dtype: np.dtype[Any], shuffled: bool) -> None:
    sizes = [(), (1,), (0,), (3, 5), *((n,) for n in range(lanes() - 1, 2 * lanes() + 3)), (7, 11, 3)]
    for row_shape in sizes:
        source = source_of(rng, dtype, (23, *row_shape))
        order = rng.integers(0, 23, 31) if shuffled else None  # some twice, some never
        for start, rows in ((0, 23), (0, 0), (5, 1), (22, 1), (7, 13), (23, 0)):
            for scale in (1.0, 1 / 255):
                position = np.array([start])
                got = ops.gather_rows(source, order, position, rows, scale=scale)
                want = reference.gather_rows(source, order, position, rows, scale=scale)
                assert got.shape == (rows, *row_shape)
                assert_bits(got, want, f"{row_shape} {start} {rows} {scale}")
                assert position[0] == start


def test_gather_finds_new_data_through_the_cells(isa: str, rng: Generator) -> None:
    sources = [normal(rng, 9, 5) for _ in range(2)]
    orders = [rng.permutation(9) for _ in range(2)]
    source_cell, order_cell, position = np.zeros(1, np.uint64), np.zeros(1, np.uint64), np.array([2])
    for source, order in itertools.product(sources, [*orders, None]):
        source_cell[0], order_cell[0] = source.ctypes.data, 0 if order is None else order.ctypes.data
        got = ops.gather_cells(source_cell, order_cell, position, 4, (5,), FLOAT32, 0.5)
        assert_bits(got, reference.gather_rows(source, order, position, 4, scale=0.5))


@pytest.mark.parametrize("row_shape", [(), (0,), (5,), (3, 7), (2, 3, 4)], ids=str)
def test_store_rows(isa: str, rng: Generator, row_shape: tuple[int, ...]) -> None:
    for start, rows in ((0, 11), (3, 5), (10, 1), (0, 0), (11, 0)):
        values, target = normal(rng, rows, *row_shape), normal(rng, 11, *row_shape)
        want = target.copy()
        want[start : start + rows] = values
        ops.store_rows(values, target, np.array([start]))
        assert_bits(target, want)


def test_store_converts_rows(isa: str) -> None:
    target = np.zeros((4, 3), np.float32)
    ops.store_rows(np.arange(6).reshape(2, 3)[:, ::-1], target, np.array([1]))
    assert target.tolist() == [[0, 0, 0], [2, 1, 0], [5, 4, 3], [0, 0, 0]]


@pytest.mark.parametrize("by", [1, 3, -7, 0, 2**33])
def test_advance(isa: str, by: int) -> None:
    counter = np.array([2**40 + 1])
    ops.advance(counter, by)
    assert counter.tolist() == [2**40 + 1 + by]


PERMUTED = [
    (), (1,), (7,), (0,), (5, 3), (37, 41), (65, 33), (1, 9), (9, 1), (3, 0, 2), (2, 3, 5), (33, 1, 7), (4, 4, 4),
    (2, 5, 3, 7), (3, 17, 2, 5), (1, 6, 1, 5), (2, 3, 2, 3, 2), (2, 1, 3, 2, 2, 3),
]  # fmt: skip


@pytest.mark.parametrize("shape", PERMUTED, ids=str)
def test_permute(isa: str, rng: Generator, shape: tuple[int, ...]) -> None:
    x = normal(rng, *shape)
    for axes in itertools.permutations(range(len(shape))):
        y = ops.permute(x, axes)
        assert y.flags.c_contiguous
        assert_bits(y, x.transpose(axes), f"{axes}")
        assert not np.shares_memory(x, y)


def test_permute_of_a_strided_array(isa: str, rng: Generator) -> None:
    x = normal(rng, 6, 8, 10)[::2, ::-1, 1::3]
    assert_bits(ops.permute(x, (2, 0, 1)), x.transpose(2, 0, 1))


def test_fill(isa: str) -> None:
    for n in (*range(2 * lanes() + 4), 1031):
        store = np.full(n + 2, 7.0, np.float32)
        ops.fill(store[1 : n + 1], -2.5)
        assert store[[0, n + 1]].tolist() == [7, 7]
        assert (store[1 : n + 1] == -2.5).all()
    y = np.zeros((3, 5), np.float32)
    for value in (np.inf, -0.0, np.nan):
        ops.fill(y, value)
        assert_bits(y, np.full((3, 5), value, np.float32))


X, ORDER, START = np.arange(12, dtype=np.float32).reshape(4, 3), np.arange(4), np.array([0])
WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "too many rows": (
        lambda: ops.gather_rows(X, None, START, 5),
        ValueError,
        "gather_rows: expected rows .*, got 0 to 5",
    ),
    "before": (
        lambda: ops.gather_rows(X, ORDER, START - 1, 2),
        ValueError,
        "gather_rows: expected rows .*, got -1 to 1",
    ),
    "large order": (lambda: ops.gather_rows(X, ORDER + 1, START, 4), ValueError, "gather_rows: expected order within"),
    "negative order": (
        lambda: ops.gather_rows(X, ORDER - 1, START, 4),
        ValueError,
        "gather_rows: expected order within",
    ),
    "position": (
        lambda: ops.gather_rows(X, None, START.astype(np.int32), 1),
        TypeError,
        "expected position as an aligned",
    ),
    "store outside": (
        lambda: ops.store_rows(X, X.copy(), START + 1),
        ValueError,
        "store_rows: expected a place .*, got 1 to 5",
    ),
    "store shape": (
        lambda: ops.store_rows(X[:, :2], X.copy(), START),
        ValueError,
        r"store_rows: expected rows of shape \(4, 3\), got \(4, 2\)",
    ),
    "too few axes": (lambda: ops.permute(X, (0,)), ValueError, "expected axes that name each of the 2 once"),
    "negative axis": (lambda: ops.permute(X, (0, -1)), ValueError, "expected axes that name each of the 2 once"),
    "counter": (lambda: ops.advance(np.zeros(2, np.int64), 1), ValueError, "expected counter of 1 elements, got 2"),
    "float counter": (lambda: ops.advance(np.zeros(1), 1), TypeError, "expected counter as an aligned"),
    "double": (lambda: ops.fill(np.zeros(3), 1.0), TypeError, "expected y as an aligned, C-contiguous array"),
    "strided": (lambda: ops.fill(X.copy()[:, ::2], 1.0), TypeError, "expected y as an aligned, C-contiguous array"),
}


@pytest.mark.parametrize(("call", "error", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


# What the kernel would misread, cut from larger arrays so that it would at least stay inside of their memory.
HOSTILE_SOURCES: dict[str, Array] = {
    "float64": np.arange(120.0).reshape(40, 3)[:4],
    "float16": np.arange(120, dtype=np.float16).reshape(40, 3)[:4],
    "uint16": np.arange(120, dtype=np.uint16).reshape(40, 3)[:4],
    "int64": np.arange(120).reshape(40, 3)[:4],
    "big-endian": X.astype(">f4"),
    "column order": np.asfortranarray(X),
    "every second column": np.arange(240, dtype=np.float32).reshape(40, 6)[:4, ::2],
    "backwards": np.arange(120, dtype=np.float32).reshape(40, 3)[3::-1],
}


def result_or_error(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (TypeError, ValueError) as error:
        return error


def assert_right_or_refused(name: str, outcome: Any, expected: Array) -> None:
    if isinstance(outcome, Exception):
        assert f"expected {name}" in str(outcome)
    else:
        np.testing.assert_array_equal(outcome, expected)


@pytest.mark.parametrize("source", HOSTILE_SOURCES.values(), ids=HOSTILE_SOURCES)
def test_gather_is_right_or_refused(source: Array) -> None:
    outcome = result_or_error(lambda: ops.gather_rows(source, None, START + 1, 2))
    assert_right_or_refused("source", outcome, source[1:3])


HOSTILE_ORDERS: dict[str, Array] = {
    "int32": np.array([0, 0, 1, 0, 2, 0, 3, 0, 0, 0], np.int32)[:4],
    "every second": np.repeat(np.arange(4), 2)[::2],
    "float64": np.arange(4).view(np.float64),
}


@pytest.mark.parametrize("order", HOSTILE_ORDERS.values(), ids=HOSTILE_ORDERS)
def test_gather_with_a_hostile_order_is_right_or_refused(order: Array) -> None:
    outcome = result_or_error(lambda: ops.gather_rows(X, order, START + 1, 2))
    assert_right_or_refused("order", outcome, X[order[1:3].astype(np.int64)])


HOSTILE_TARGETS: dict[str, Array] = {
    "float64": np.zeros((4, 3)),
    "int32": np.zeros((4, 3), np.int32),
    "column order": np.zeros((4, 3), np.float32, order="F"),
    "every second column": np.zeros((4, 6), np.float32)[:, ::2],
}


@pytest.mark.parametrize("target", HOSTILE_TARGETS.values(), ids=HOSTILE_TARGETS)
def test_store_into_a_hostile_target_is_right_or_refused(target: Array) -> None:
    outcome = result_or_error(lambda: ops.store_rows(X[:2], target, START + 1))
    refused = isinstance(outcome, Exception)
    assert_right_or_refused("target", outcome if refused else target[1:3], X[:2])
    assert target.any() != refused


def test_store_into_a_read_only_target_is_refused() -> None:
    target = np.zeros((4, 3), np.float32)
    target.flags.writeable = False
    with pytest.raises((TypeError, ValueError), match="expected target"):
        ops.store_rows(X[:2], target, START)
    assert not target.any()


def test_permute_refuses_an_axis_twice() -> None:
    square = np.arange(90, dtype=np.float32)[:9].reshape(3, 3)
    with pytest.raises(ValueError, match="expected axes"):
        ops.permute(square, (0, 0))
