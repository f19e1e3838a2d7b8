"""Losses as functions of truth and predictions: one number for every row of the predictions, without reduction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn.checks import Float32
from fastnn.losses.base import Loss
from fastnn.losses.crossentropy import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy
from fastnn.losses.focal import BinaryFocalCrossentropy, CategoricalFocalCrossentropy
from fastnn.losses.hinge import CategoricalHinge, Hinge, SquaredHinge
from fastnn.losses.probabilistic import KLDivergence, Poisson
from fastnn.losses.regression import (
    CosineSimilarity,
    HalfSumSquares,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
)


def _each(loss: Loss, y_true: Any, y_pred: Any) -> Float32:
    """Return the loss of every row."""
    loss.reduction = "none"
    losses: Float32 = loss(y_true, y_pred)
    return losses


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Float32:
    """Return the binary cross-entropy of every row; see `BinaryCrossentropy`."""
    return _each(
        BinaryCrossentropy(from_logits=from_logits, label_smoothing=label_smoothing, axis=axis), y_true, y_pred
    )


def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Float32:
    """Return the focal binary cross-entropy of every row; see `BinaryFocalCrossentropy`."""
    return _each(
        BinaryFocalCrossentropy(
            apply_class_balancing=apply_class_balancing,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        ),
        y_true,
        y_pred,
    )


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Float32:
    """Return the cross-entropy of every row; see `CategoricalCrossentropy`."""
    return _each(
        CategoricalCrossentropy(from_logits=from_logits, label_smoothing=label_smoothing, axis=axis), y_true, y_pred
    )


def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Float32:
    """Return the focal cross-entropy of every row; see `CategoricalFocalCrossentropy`."""
    return _each(
        CategoricalFocalCrossentropy(
            alpha=alpha, gamma=gamma, from_logits=from_logits, label_smoothing=label_smoothing, axis=axis
        ),
        y_true,
        y_pred,
    )


def categorical_hinge(y_true: Any, y_pred: Any) -> Float32:
    """Return the hinge loss of the right class against the best other one of every row; see `CategoricalHinge`."""
    return _each(CategoricalHinge(), y_true, y_pred)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Float32:
    """Return the negative cosine of every row; see `CosineSimilarity`."""
    return _each(CosineSimilarity(axis=axis), y_true, y_pred)


def half_sum_squares(y_true: Any, y_pred: Any) -> Float32:
    """Return half the sum of squared errors of every row; see `HalfSumSquares`."""
    return _each(HalfSumSquares(), y_true, y_pred)


def hinge(y_true: Any, y_pred: Any) -> Float32:
    """Return the hinge loss of every row; see `Hinge`."""
    return _each(Hinge(), y_true, y_pred)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Float32:
    """Return the Huber loss of every row; see `Huber`."""
    return _each(Huber(delta=delta), y_true, y_pred)


def kl_divergence(y_true: Any, y_pred: Any) -> Float32:
    """Return the Kullback-Leibler divergence of every row; see `KLDivergence`."""
    return _each(KLDivergence(), y_true, y_pred)


def log_cosh(y_true: Any, y_pred: Any) -> Float32:
    """Return log(cosh) of the error of every row; see `LogCosh`."""
    return _each(LogCosh(), y_true, y_pred)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Float32:
    """Return the absolute error of every row; see `MeanAbsoluteError`."""
    return _each(MeanAbsoluteError(), y_true, y_pred)


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Float32:
    """Return the absolute error in percent of every row; see `MeanAbsolutePercentageError`."""
    return _each(MeanAbsolutePercentageError(), y_true, y_pred)


def mean_squared_error(y_true: Any, y_pred: Any) -> Float32:
    """Return the squared error of every row; see `MeanSquaredError`."""
    return _each(MeanSquaredError(), y_true, y_pred)


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Float32:
    """Return the squared logarithmic error of every row; see `MeanSquaredLogarithmicError`."""
    return _each(MeanSquaredLogarithmicError(), y_true, y_pred)


def poisson(y_true: Any, y_pred: Any) -> Float32:
    """Return the Poisson loss of every row; see `Poisson`."""
    return _each(Poisson(), y_true, y_pred)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Float32:
    """Return the cross-entropy, targets being class numbers of every row; see `SparseCategoricalCrossentropy`."""
    return _each(
        SparseCategoricalCrossentropy(from_logits=from_logits, ignore_class=ignore_class, axis=axis), y_true, y_pred
    )


def squared_hinge(y_true: Any, y_pred: Any) -> Float32:
    """Return the squared hinge loss of every row; see `SquaredHinge`."""
    return _each(SquaredHinge(), y_true, y_pred)


FUNCTIONS: dict[Callable[..., Float32], type[Loss]] = {
    binary_crossentropy: BinaryCrossentropy,
    binary_focal_crossentropy: BinaryFocalCrossentropy,
    categorical_crossentropy: CategoricalCrossentropy,
    categorical_focal_crossentropy: CategoricalFocalCrossentropy,
    categorical_hinge: CategoricalHinge,
    cosine_similarity: CosineSimilarity,
    half_sum_squares: HalfSumSquares,
    hinge: Hinge,
    huber: Huber,
    kl_divergence: KLDivergence,
    log_cosh: LogCosh,
    mean_absolute_error: MeanAbsoluteError,
    mean_absolute_percentage_error: MeanAbsolutePercentageError,
    mean_squared_error: MeanSquaredError,
    mean_squared_logarithmic_error: MeanSquaredLogarithmicError,
    poisson: Poisson,
    sparse_categorical_crossentropy: SparseCategoricalCrossentropy,
    squared_hinge: SquaredHinge,
}
