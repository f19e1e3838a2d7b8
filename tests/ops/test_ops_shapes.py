"""Cropping and padding, resizing, embeddings, unpooling: against the twin, adjoints, bits, wrong arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops_calls import Array, Generator, double, lanes, normal
from shape_calls import random_ids, random_taps, shape_calls
from tolerances import assert_bits, assert_close, bound

from fastnn import ops, reference
from fastnn.ops import Taps


def transposed(taps: Taps, columns: int) -> Taps:
    """Return the transpose of a matrix of so many columns."""
    rows = np.repeat(np.arange(len(taps.start) - 1), np.diff(taps.start))
    order = np.argsort(taps.column, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(taps.column, minlength=columns))]).astype(np.int32)
    return Taps(start, rows[order].astype(np.int32), taps.weight[order])


def dot(a: Array, b: Array) -> float:
    return float(np.vdot(double(a), double(b)))


def test_cropping_and_padding(isa: str, rng: Generator) -> None:
    for _ in range(120):
        n, channels, *size = (int(v) for v in rng.integers(0, 5, 5))
        offset = tuple(int(v) for v in rng.integers(-3, 4, 3))
        out = tuple(int(v) for v in rng.integers(0, 7, 3))
        x = normal(rng, n, *size, channels)
        x[rng.random(x.shape) < 0.1] = np.nan
        assert_bits(ops.crop_pad(x, offset, out, 0.5), reference.crop_pad(x, offset, out, 0.5))
    x = normal(rng, 2, 4, 5, 6, lanes() + 1)
    dy = normal(rng, 2, 3, 7, 5, lanes() + 1)
    back = ops.crop_pad(dy, (1, -1, 2), (4, 5, 6))
    assert dot(ops.crop_pad(x, (-1, 1, -2), (3, 7, 5)), dy) == pytest.approx(dot(x, back), rel=1e-6)


@pytest.mark.parametrize("channels", [0, 1, 2, 3, 15, 16, 17, 35])
def test_resampling(isa: str, rng: Generator, channels: int) -> None:
    for _ in range(12):
        n, h, w, p, q = (int(v) for v in rng.integers(1, 12, 5))
        rows, columns = random_taps(rng, p, h), random_taps(rng, q, w)
        x, dy = normal(rng, n, h, w, channels), normal(rng, n, p, q, channels)
        size = reference.resample2d(
            np.abs(double(x)), rows._replace(weight=abs(rows.weight)), columns._replace(weight=abs(columns.weight))
        )
        want = reference.resample2d(double(x), rows, columns)
        assert_close(ops.resample2d(x, rows, columns), want, bound("product", size, 16))
        dx = ops.resample2d(dy, transposed(rows, h), transposed(columns, w))
        assert dot(want, dy) == pytest.approx(dot(x, dx), rel=1e-4, abs=1e-4)


def test_what_is_copied_is_copied_exactly(isa: str, rng: Generator) -> None:
    x = normal(rng, 2, 5, 6, 3)
    x[0, 1, 2, 1], x[1, 4, 5, 0] = np.inf, np.nan
    same = [
        Taps(np.arange(n + 1, dtype=np.int32), np.arange(n, dtype=np.int32), np.ones(n, np.float32)) for n in (5, 6)
    ]
    assert_bits(ops.resample2d(x, *same), x)


@pytest.mark.parametrize("width", [0, 1, 3, 15, 16, 17, 64, 70])
def test_embedding(isa: str, threads: int, rng: Generator, width: int) -> None:
    for shape in ((0,), (1,), (200,), (9, 5)):
        ids, table = random_ids(rng, shape, 13), normal(rng, 13, width)
        assert_bits(ops.embedding_forward(ids, table), reference.embedding_forward(ids, table))
        dy = normal(rng, *shape, width)
        got, want = np.full_like(table, 7), np.zeros((13, width))
        ops.embedding_backward(ids, dy, got)
        reference.embedding_backward(ids, double(dy), want)
        size = np.zeros((13, width))
        reference.embedding_backward(ids, abs(double(dy)), size)
        assert_close(got, want, bound("sum", size, max(ids.size, 1)))


def test_ids_near_the_ends_of_the_range(isa: str) -> None:
    table = np.arange(3, dtype=np.float32)[:, None]
    ids = np.array([-0.0, 2.0, 3.0, -1e-7, 2.9999998, 1e30, -np.inf], np.float32)
    np.testing.assert_array_equal(ops.embedding_forward(ids, table)[:, 0], [0, 2, *[np.nan] * 5])


def test_unpooling(isa: str, rng: Generator) -> None:
    """Putting back and picking are each other's adjoints; without overlaps, picking undoes putting back."""
    for label, call in shape_calls(rng).items():
        if call.op != "max_unpool2d_backward":
            continue
        dy, index = call.args
        got = ops.max_unpool2d_backward(dy, index, **call.options)
        assert_bits(got, reference.max_unpool2d_backward(dy, index, **call.options), label)
        x = normal(rng, *index.shape)
        put = ops.max_pool2d_backward(x, index, dy.shape, **call.options)
        assert dot(put, dy) == pytest.approx(dot(x, got), rel=1e-4, abs=1e-3), label
        if label.endswith("apart"):
            assert_bits(ops.max_unpool2d_backward(put, index, **call.options), x, label)


X = np.zeros((2, 4, 5, 3), np.float32)
ONE = Taps(np.array([0, 1], np.int32), np.zeros(1, np.int32), np.ones(1, np.float32))
WRONG: dict[str, tuple[Any, str]] = {
    "crop rank": (lambda: ops.crop_pad(X, (0, 0, 0), (1, 1, 1)), "crop_pad: expected x of rank 5"),
    "crop size": (lambda: ops.crop_pad(X[None], (0, 0, 0), (1, -1, 1)), "crop_pad: expected sizes >= 0"),
    "resample rank": (lambda: ops.resample2d(X[0], ONE, ONE), "resample2d: expected x of rank 4"),
    "column beyond": (
        lambda: ops.resample2d(X, ONE._replace(column=np.array([4], np.int32)), ONE),
        "expected columns of the matrix",
    ),
    "column below": (
        lambda: ops.resample2d(X, ONE, ONE._replace(column=np.array([-1], np.int32))),
        "expected columns of the matrix",
    ),
    "start beyond": (
        lambda: ops.resample2d(X, ONE._replace(start=np.array([0, 2], np.int32)), ONE),
        "expected start from 0 to the number of entries",
    ),
    "start not in order": (
        lambda: ops.resample2d(X, ONE._replace(start=np.array([0, 9, 1], np.int32)), ONE),
        "expected start in order",
    ),
    "unpool index": (
        lambda: ops.max_unpool2d_backward(X, X[:1].astype(np.uint8), pool_size=(2, 2), strides=(2, 2)),
        r"max_unpool2d_backward: expected index of shape \(2, 2, 2, 3\), got \(1, 4, 5, 3\)",
    ),
    "embedding dy": (
        lambda: ops.embedding_backward(X[0, 0, 0], X[0, 0], X[0, 0]),
        r"embedding_backward: expected dy of shape \(3, 3\), got \(5, 3\)",
    ),
}


@pytest.mark.parametrize(("call", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()
