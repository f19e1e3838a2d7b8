"""Running means and the counting of right answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ops_calls import Generator, double, lanes, normal
from tolerances import DOUBLE

from fastnn import ops, reference


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 67, 4099])
def test_mean_update(isa: str, rng: Generator, n: int) -> None:
    values, state = normal(rng, n), np.array([1e6, 100.0])
    ops.mean_update(values, state)
    size = 1e6 + np.abs(double(values)).sum()
    assert abs(state[0] - (1e6 + double(values).sum())) <= DOUBLE * size
    assert state[1] == 100 + n


def test_a_mean_keeps_growing(isa: str) -> None:
    state = np.array([2.0**40, 0.0])
    for _ in range(3):
        ops.mean_update(np.ones(37, np.float32), state)
    assert state.tolist() == [2**40 + 111, 111]


@pytest.mark.parametrize("kind", ["sparse", "categorical", "binary"])
def test_count_matches(isa: str, rng: Generator, kind: str) -> None:
    width = lanes()
    for cols in (1, 2, 3, width - 1, width, width + 1, 2 * width + 1, 37):
        for rows in (0, 1, 2, 43):
            pred = np.round(normal(rng, rows, cols) * 2)  # many ties
            truth = np.round(normal(rng, rows, cols))
            truth[: rows // 2] = pred[: rows // 2]
            labels = rng.integers(0, cols, rows).astype(np.int32)
            labels[: rows // 2] = pred[: rows // 2].argmax(axis=1)
            for threshold in (0.0, 1.0):
                state, expected = np.array([3.0, 5.0]), np.array([3.0, 5.0])
                y_true = labels if kind == "sparse" else truth
                ops.count_matches(kind, pred, y_true, state, threshold)
                reference.count_matches(kind, double(pred), double(y_true), expected, threshold)
                assert state.tolist() == expected.tolist(), (kind, rows, cols)


@pytest.mark.parametrize("cols", [2, 17, 40])
def test_a_row_with_a_nan_is_never_right(isa: str, cols: int) -> None:
    pred = np.zeros((cols, cols), np.float32)
    pred[:, 1] = 1
    np.fill_diagonal(pred, np.nan)
    for label in (0, 1, cols - 1):
        state = np.zeros(2)
        ops.count_matches("sparse", pred, np.full(cols, label, np.int32), state)
        ops.count_matches("categorical", pred, np.eye(cols, dtype=np.float32)[np.full(cols, label)], state)
        assert state.tolist() == [0, 2 * cols]


X, LABELS, STATE = np.zeros((4, 3), np.float32), np.zeros(4, np.int32), np.zeros(2)
WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "state": (lambda: ops.mean_update(X, STATE[:1]), ValueError, "expected state of 2 elements, got 1"),
    "float state": (lambda: ops.mean_update(X, X[0, :2]), TypeError, "expected state as an aligned"),
    "sparse": (lambda: ops.count_matches("sparse", X, X, STATE), ValueError, "expected int32 labels for sparse"),
    "binary": (lambda: ops.count_matches("binary", X, LABELS, STATE), ValueError, "expected int32 labels for sparse"),
    "labels": (
        lambda: ops.count_matches("sparse", X, LABELS[:3], STATE),
        ValueError,
        r"expected y_true of shape \(4,\), got",
    ),
    "targets": (
        lambda: ops.count_matches("binary", X, X[:3], STATE),
        ValueError,
        r"expected y_true of shape \(4, 3\), got",
    ),
    "unknown": (lambda: ops.count_matches("top5", X, X, STATE), ValueError, "expected .*, got 'top5'"),
}


@pytest.mark.parametrize(("call", "error", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
    assert not STATE.any()
