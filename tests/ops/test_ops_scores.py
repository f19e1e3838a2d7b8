"""What metrics are made of: numbers per row, counts by threshold, confusion matrices, moments; against the twin in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ops_calls import Generator, double, lanes, normal, uniform
from tolerances import DOUBLE, assert_close, bound

from fastnn import ops, reference
from fastnn.reference import ROW_SCORES

Array = NDArray[Any]
PROBABILITIES = ("binary_crossentropy", "kl_divergence", "categorical_crossentropy", "poisson")


def row_scale(kind: str, pred: Array, truth: Array) -> float:
    """Return how large the numbers are that are rounded in a row."""
    cols = pred.shape[1] if pred.size else 1
    size = float(np.abs(pred).max(initial=0) + np.abs(truth).max(initial=0) + 1)
    factor = {
        "absolute_percentage_error": 100 * size / 1e-2,
        "squared_error": size,
        "squared_hinge": size**3,
        "poisson": 20.0,
    }
    factor |= dict.fromkeys(("binary_crossentropy", "kl_divergence", "categorical_crossentropy"), 20.0)
    return size * cols * factor.get(kind, 1.0)


@pytest.mark.parametrize("kind", ROW_SCORES)
def test_score_rows(isa: str, rng: Generator, kind: str) -> None:
    width = lanes()
    for cols in (1, 2, 7, 8, 9, width - 1, width + 1, 37):
        for rows in (0, 1, 43):
            pred, truth = normal(rng, rows, cols), np.round(normal(rng, rows, cols) * 4) / 4
            if kind in PROBABILITIES:
                pred, truth = uniform(rng, 0.01, 0.99, rows, cols), uniform(rng, 0.0, 1.0, rows, cols)
            if kind == "absolute_percentage_error":
                truth = np.where(np.abs(truth) < 0.1, np.float32(0.5), truth)
            if kind == "equal":
                truth[::2] = pred[::2]
            labels = rng.integers(0, cols, rows).astype(np.int32)
            options = {"k": 1 + cols // 2} if kind in ("top_k", "unlike_label") else {"smoothing": 0.0}
            for y_true in (truth, labels):
                if (kind == "unlike_label" and y_true is truth) or (
                    kind == "absolute_percentage_error" and y_true is labels
                ):
                    continue
                got = ops.score_rows(kind, pred, y_true, **options)
                expected = reference.score_rows(kind, double(pred), double(y_true), **options)
                assert_close(got, expected, bound("formula", row_scale(kind, pred, truth)), f"{kind} {rows}x{cols}")


def test_smoothing(isa: str, rng: Generator) -> None:
    pred, labels = uniform(rng, 0.05, 0.95, 11, 5), rng.integers(0, 5, 11).astype(np.int32)
    for kind in ("binary_crossentropy", "categorical_crossentropy", "softmax_crossentropy", "sigmoid_crossentropy"):
        got = ops.score_rows(kind, pred, labels, smoothing=0.3)
        expected = reference.score_rows(kind, double(pred), labels, smoothing=0.3)
        assert_close(got, expected, bound("formula", row_scale(kind, pred, np.ones(1))), kind)
        assert np.abs(got - ops.score_rows(kind, pred, labels)).max() > 0.01


def test_nan_and_infinity_show(isa: str) -> None:
    truth = np.ones((3, 9), np.float32)
    for value in (np.nan, np.inf):
        for kind in ("squared_error", "absolute_error", "log_cosh", "absolute_percentage_error"):
            pred = np.ones((3, 9), np.float32)
            pred[1, 4] = value
            values = ops.score_rows(kind, pred, truth)
            assert np.isfinite(values[[0, 2]]).all(), kind
            assert not np.isfinite(values[1]), kind
    pred = np.array([[0.1, np.nan, 0.3]], np.float32)
    for k, expected in ((1, 0.0), (2, 1.0)):
        assert ops.score_rows("top_k", pred, np.array([2], np.int32), k=k) == expected
    assert ops.score_rows("top_k", pred, np.array([1], np.int32), k=3) == 0.0
    assert ops.score_rows("top_k", pred, np.array([-1], np.int32), k=3) == 0.0


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("labels", [False, True])
def test_count_outcomes(isa: str, rng: Generator, weighted: bool, labels: bool) -> None:
    for cols, column, by_column in ((1, -1, False), (5, -1, False), (5, -1, True), (5, 3, False), (5, 3, True)):
        for levels in ([0.5], [0.25, 0.5, 0.75], np.linspace(0, 1, 200), [-np.inf]):
            pred = np.round(uniform(rng, 0.0, 1.0, 43, cols) * 16) / 16
            pred[3] = np.nan
            truth = rng.integers(0, cols, 43).astype(np.int32) if labels else np.round(uniform(rng, 0, 1, 43, cols))
            thresholds = np.asarray(levels, np.float32)
            weights = uniform(rng, 0, 2, 43) if weighted else None
            by_label = uniform(rng, 0, 2, cols) if weighted else None
            groups = cols if by_column and column < 0 else 1
            states = [np.ones((groups, 2, thresholds.size + 1)) for _ in range(2)]
            for module, state in zip((ops, reference), states, strict=True):
                module.count_outcomes(
                    pred, truth, thresholds, state, weights, by_label, column=column, by_column=by_column
                )
            np.testing.assert_allclose(states[0], states[1], rtol=DOUBLE)
            if not weighted:
                assert states[0].sum() == states[0].size + 43 * (cols if column < 0 else 1)


def test_keep_largest(isa: str, rng: Generator) -> None:
    for cols in (1, 2, 5, 17):
        for k in (1, 2, 5, 40):
            x = np.round(normal(rng, 23, cols))
            x[::5, 0] = np.nan
            got = ops.keep_largest(x, k)
            np.testing.assert_array_equal(got, reference.keep_largest(x, k))
            assert ((got > -np.inf).sum(axis=1) <= k).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_count_pairs(isa: str, rng: Generator, weighted: bool) -> None:
    rows, classes = 61, 4
    weights = uniform(rng, 0, 2, rows) if weighted else None
    labels = rng.integers(-1, classes + 1, rows).astype(np.int32)
    truths = [labels, labels[:, None].astype(np.float32), normal(rng, rows, classes)]
    guesses = [rng.integers(-1, classes + 1, (rows, 1)).astype(np.float32), normal(rng, rows, classes)]
    guesses[0][:4, 0] = [np.nan, 0.5, np.inf, -np.inf]
    for truth in truths:
        for guess, threshold in ((guesses[0], None), (guesses[1], None), (guesses[0], 0.5)):
            for ignored in (None, 0, -1):
                states = [np.ones(classes**2 + 1) for _ in range(2)]
                for module, state in zip((ops, reference), states, strict=True):
                    module.count_pairs(
                        guess, truth, state, weights, classes=classes, ignored=ignored, threshold=threshold
                    )
                np.testing.assert_allclose(states[0], states[1], rtol=DOUBLE)


@pytest.mark.parametrize("weighted", [False, True])
def test_moments_update(isa: str, rng: Generator, weighted: bool) -> None:
    """Also far from zero, where sums of squares would lose all digits."""
    for cols in (1, 3, 17):
        states = [np.zeros((4, cols)) for _ in range(2)]
        batches = [(normal(rng, n, cols) + 1e4, normal(rng, n, cols) + 1e4) for n in (1, 43, 0, 12)]
        for truth, pred in batches:
            weights = uniform(rng, 0, 2, len(truth)) if weighted else None
            for module, state in zip((ops, reference), states, strict=True):
                module.moments_update(pred, truth, state, weights)
        np.testing.assert_allclose(states[0], states[1], rtol=1e-10)
        if not weighted:
            every = np.concatenate([truth for truth, _ in batches]).astype(np.float64)
            np.testing.assert_allclose(states[0][2], ((every - every.mean(0)) ** 2).sum(0), rtol=1e-10)


@pytest.mark.parametrize("kind", ["sparse", "categorical", "binary"])
def test_weights_count(isa: str, rng: Generator, kind: str) -> None:
    """A weight of 2 counts as two rows, one of 0 as none."""
    pred, weights = uniform(rng, 0, 1, 43, 5), rng.integers(0, 3, 43).astype(np.float32)
    truth = rng.integers(0, 5, 43).astype(np.int32) if kind == "sparse" else np.round(uniform(rng, 0, 1, 43, 5))
    repeats = weights.astype(int)
    states = [np.zeros(2) for _ in range(3)]
    ops.count_matches(kind, pred, truth, states[0], weights=weights)
    reference.count_matches(kind, pred, truth, states[1], weights=weights)
    ops.count_matches(kind, np.repeat(pred, repeats, 0), np.repeat(truth, repeats, 0), states[2])
    assert states[0].tolist() == states[1].tolist() == states[2].tolist()
    ops.mean_update(pred[:, 0].copy(), states[0], 0.5, weights)
    reference.mean_update(pred[:, 0], states[1], 0.5, weights)
    np.testing.assert_allclose(states[0], states[1], rtol=DOUBLE)


X, LABELS, LEVELS = np.zeros((4, 3), np.float32), np.zeros(4, np.int32), np.array([0.25, 0.5], np.float32)
STATE = np.zeros((1, 2, 3))
WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "kind": (lambda: ops.score_rows("top5", X, X), ValueError, "expected .*, got 'top5'"),
    "targets": (lambda: ops.score_rows("equal", X, X[:3]), ValueError, r"expected y_true of shape \(4, 3\), got"),
    "labels": (lambda: ops.score_rows("equal", X, LABELS[:3]), ValueError, r"expected y_true of shape \(4,\), got"),
    "no labels": (lambda: ops.score_rows("unlike_label", X, X), ValueError, "expected int32 labels"),
    "falling": (
        lambda: ops.count_outcomes(X, LABELS, LEVELS[::-1].copy(), STATE), ValueError, "expected rising thresholds"
    ),
    "state": (lambda: ops.count_outcomes(X, LABELS, LEVELS, np.zeros(5)), ValueError, "expected state of 6 elements"),
    "column": (lambda: ops.count_outcomes(X, LABELS, LEVELS, STATE, column=3), ValueError, "expected column to be"),
    "weights": (
        lambda: ops.count_outcomes(X, LABELS, LEVELS, STATE, X[:, 0].copy()[:3]), ValueError, "expected weights of shape"
    ),
    "pairs": (lambda: ops.count_pairs(X, LABELS[:3], np.zeros(10), classes=3), ValueError, "expected y_true of 4 rows"),
    "matrix": (lambda: ops.count_pairs(X, LABELS, np.zeros(9), classes=3), ValueError, "expected state of 10"),
    "moments": (lambda: ops.moments_update(X, X, np.zeros(4)), ValueError, "expected state of 12 elements"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
    assert not STATE.any()
