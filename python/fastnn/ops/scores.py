"""What metrics are made of: a number per row, counts by threshold, confusion matrices, moments of columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastnn import _core, checks
from fastnn.checks import Float32
from fastnn.ops.base import INT32, check_rank, check_same_shape, empty, twin
from fastnn.reference import ROW_SCORES
from fastnn.reference.common import Array


def _check(who: str, y_pred: Float32, y_true: Array, weights: Float32 | None = None) -> None:
    """Raise unless y_true is int32 class numbers of the rows of y_pred, or float32 targets of its shape."""
    check_rank(who, "y_pred", y_pred, 2)
    check_same_shape(who, "y_true", y_true, y_pred.shape[:1] if y_true.dtype == INT32 else y_pred.shape)
    if weights is not None:
        check_same_shape(who, "weights", weights, y_pred.shape[:1])


@twin
def score_rows(kind: str, y_pred: Float32, y_true: Array, *, smoothing: float = 0.0, k: int = 0) -> Float32:
    """Return what `kind` says of every row, one of `ROW_SCORES`; y_true: int32 labels (rows,) or targets (rows, cols).

    k: how many are on top for "top_k", the label for "unlike_label".
    """
    checks.one_of("score_rows", "kind", kind, ROW_SCORES)
    _check("score_rows", y_pred, y_true)
    values = empty(y_pred.shape[:1])
    _core.score_rows(kind, y_pred, y_true, values, smoothing, k)
    return values


@twin
def count_outcomes(
    y_pred: Float32,
    y_true: Array,
    thresholds: Float32,
    state: NDArray[np.float64],
    weights: Float32 | None = None,
    column_weights: Float32 | None = None,
    *,
    column: int = -1,
    by_column: bool = False,
) -> None:
    """Add every prediction's weight to state[group, whether it should be yes, number of thresholds below it].

    thresholds: rising. column: the only one to look at, -1 for all. by_column: one group per column, else one for all.
    """
    _check("count_outcomes", y_pred, y_true, weights)
    if thresholds.size > 1 and not (np.diff(thresholds) >= 0).all():
        checks.fail("count_outcomes", "rising thresholds", thresholds.tolist())
    _core.count_outcomes(y_pred, y_true, thresholds, state, weights, column_weights, column, by_column)


@twin
def keep_largest(x: Float32, k: int) -> Float32:
    """Return x with all but the k largest of every row replaced by -infinity; of equal ones the first are kept."""
    check_rank("keep_largest", "x", x, 2)
    y = empty(x.shape)
    _core.keep_largest(x, y, k)
    return y


@twin
def count_pairs(
    y_pred: Float32,
    y_true: Array,
    state: NDArray[np.float64],
    weights: Float32 | None = None,
    *,
    classes: int,
    ignored: int | None = None,
    threshold: float | None = None,
) -> None:
    """Add every row's weight to state[truth * classes + guess], or to the last entry where one of them is no class.

    y_true, int32 labels (rows,), targets (rows, several) whose first maximum counts, or numbers (rows, 1); y_pred likewise; with a
    threshold the guess is y_pred >= threshold.
    """
    check_rank("count_pairs", "y_pred", y_pred, 2)
    if y_true.dtype != INT32:
        check_rank("count_pairs", "y_true", y_true, 2)
    if len(y_true) != len(y_pred):
        checks.fail("count_pairs", f"y_true of {len(y_pred)} rows", len(y_true))
    _core.count_pairs(y_pred, y_true, state, weights, classes, ignored, threshold)


@twin
def moments_update(
    y_pred: Float32, y_true: Float32, state: NDArray[np.float64], weights: Float32 | None = None
) -> None:
    """Bring state (4, cols) up to date: weight, mean, squared deviations of the targets, squared errors of the predictions."""
    _check("moments_update", y_pred, y_true, weights)
    _core.moments_update(y_pred, y_true, state, weights)
