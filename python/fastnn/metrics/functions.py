"""Metrics as functions of truth and predictions: a number for every row, without their mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn import axes, checks, losses, ops
from fastnn.checks import Float32
from fastnn.metrics import accuracy, correlation, rows
from fastnn.metrics.base import Metric, labels, predictions, targets


def _leading(y_pred: Any) -> tuple[int, ...]:
    """Return the shape of what there is one row of predictions for."""
    shape: tuple[int, ...] = np.shape(y_pred)
    return shape[: max(len(shape) - 1, 1)]


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Float32:
    """Return 1 for every prediction on the truth's side of the threshold, else 0; in the predictions' shape.

    >>> from fastnn import metrics
    >>> metrics.binary_accuracy([[1, 0]], [[0.9, 0.8]]).tolist()
    [[1.0, 0.0]]
    """
    limit = checks.number("binary_accuracy", "threshold", threshold)
    pred = ops.as_float32("binary_accuracy", "y_pred", y_pred)
    right: Float32 = ((pred > limit) == targets("binary_accuracy", y_true, pred)).astype(np.float32)
    return right


def categorical_accuracy(y_true: Any, y_pred: Any) -> Float32:
    """Return 1 for every row whose largest prediction is where its largest target is, else 0.

    >>> from fastnn import metrics
    >>> metrics.categorical_accuracy([[1, 0], [0, 1]], [[0.9, 0.1], [0.8, 0.2]]).tolist()
    [1.0, 0.0]
    """
    pred = predictions("categorical_accuracy", y_pred)
    truth = targets("categorical_accuracy", y_true, pred)
    return _matches(truth.argmax(axis=1), pred, y_pred)


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Float32:
    """Return 1 for every row whose largest prediction is at its class number, else 0.

    >>> from fastnn import metrics
    >>> metrics.sparse_categorical_accuracy([0, 1], [[0.9, 0.1], [0.8, 0.2]]).tolist()
    [1.0, 0.0]
    """
    pred = predictions("sparse_categorical_accuracy", y_pred)
    return _matches(labels("sparse_categorical_accuracy", y_true, len(pred)), pred, y_pred)


def _matches(right: Any, pred: Float32, y_pred: Any) -> Float32:
    """Return 1 where the first maximum of a row is in this column; a row with a NaN has none."""
    found: Float32 = ((pred.argmax(axis=1) == right) & ~np.isnan(pred).any(axis=1)).astype(np.float32)
    return found.reshape(_leading(y_pred))


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Float32:
    """Return 1 for every row with fewer than k predictions above that of its largest target, else 0.

    >>> from fastnn import metrics
    >>> metrics.top_k_categorical_accuracy([[0, 0, 1], [1, 0, 0]], [[0.1, 0.7, 0.2], [0.1, 0.7, 0.2]], k=2).tolist()
    [1.0, 0.0]
    """
    pred = predictions("top_k_categorical_accuracy", y_pred)
    truth = targets("top_k_categorical_accuracy", y_true, pred)
    guesses = checks.integer("top_k_categorical_accuracy", "k", k, 1)
    return ops.score_rows("top_k", pred, truth, k=guesses).reshape(_leading(y_pred))


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Float32:
    """Return 1 for every row with fewer than k predictions above that of its class number, else 0.

    >>> from fastnn import metrics
    >>> metrics.sparse_top_k_categorical_accuracy([2, 0], [[0.1, 0.7, 0.2], [0.1, 0.7, 0.2]], k=2).tolist()
    [1.0, 0.0]
    """
    pred = predictions("sparse_top_k_categorical_accuracy", y_pred)
    truth = labels("sparse_top_k_categorical_accuracy", y_true, len(pred))
    guesses = checks.integer("sparse_top_k_categorical_accuracy", "k", k, 1)
    return ops.score_rows("top_k", pred, truth, k=guesses).reshape(_leading(y_pred))


def pearson_correlation(y_true: Any, y_pred: Any, axis: int | Sequence[int] = -1) -> Float32:
    """Return the linear correlation of every row's truth and predictions; see `PearsonCorrelation`.

    >>> from fastnn import metrics
    >>> metrics.pearson_correlation([[0.0, 1.0, 2.0]], [[3.0, 2.0, 1.0]]).tolist()
    [-1.0]
    """
    return _correlation("pearson_correlation", y_true, y_pred, axis)


def concordance_correlation(y_true: Any, y_pred: Any, axis: int | Sequence[int] = -1) -> Float32:
    """Return how well every row's truth and predictions agree; see `ConcordanceCorrelation`.

    >>> from fastnn import metrics
    >>> round(float(metrics.concordance_correlation([[0.0, 4.0]], [[1.0, 3.0]])[0]), 4)
    0.8
    """
    return _correlation("concordance_correlation", y_true, y_pred, axis)


def _correlation(kind: str, y_true: Any, y_pred: Any, axis: int | Sequence[int]) -> Float32:
    """Return a correlation along one or several axes."""
    pred = ops.as_float32(kind, "y_pred", y_pred)
    numbers = axes.axes_of(kind, axes.axis_argument(kind, axis), pred.ndim)
    truth = targets(kind, y_true, pred)
    flat, kept = axes.to_rows(pred, numbers), axes.to_rows(truth, numbers)
    correlation.check_columns(kind, flat.shape[-1])
    shape = (-1, flat.shape[-1])
    values = ops.score_rows(kind, np.ascontiguousarray(flat.reshape(shape)), np.ascontiguousarray(kept.reshape(shape)))
    return values.reshape(flat.shape[:-1])


# What `metrics.get` makes of a function: the class with its mean, whose steps are recorded.
FUNCTIONS: dict[Callable[..., Float32], type[Metric]] = {
    binary_accuracy: accuracy.BinaryAccuracy,
    categorical_accuracy: accuracy.CategoricalAccuracy,
    sparse_categorical_accuracy: accuracy.SparseCategoricalAccuracy,
    top_k_categorical_accuracy: accuracy.TopKCategoricalAccuracy,
    sparse_top_k_categorical_accuracy: accuracy.SparseTopKCategoricalAccuracy,
    pearson_correlation: correlation.PearsonCorrelation,
    concordance_correlation: correlation.ConcordanceCorrelation,
    losses.binary_crossentropy: rows.BinaryCrossentropy,
    losses.categorical_crossentropy: rows.CategoricalCrossentropy,
    losses.sparse_categorical_crossentropy: rows.SparseCategoricalCrossentropy,
    losses.categorical_hinge: rows.CategoricalHinge,
    losses.hinge: rows.Hinge,
    losses.squared_hinge: rows.SquaredHinge,
    losses.kl_divergence: rows.KLDivergence,
    losses.log_cosh: rows.LogCoshError,
    losses.mean_absolute_error: rows.MeanAbsoluteError,
    losses.mean_absolute_percentage_error: rows.MeanAbsolutePercentageError,
    losses.mean_squared_error: rows.MeanSquaredError,
    losses.mean_squared_logarithmic_error: rows.MeanSquaredLogarithmicError,
    losses.poisson: rows.Poisson,
}
