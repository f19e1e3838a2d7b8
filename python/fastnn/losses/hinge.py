"""Losses of margins: hinge, squared hinge, categorical hinge."""

from __future__ import annotations

from typing import ClassVar

from fastnn import ops
from fastnn.checks import Float32
from fastnn.losses.base import Evaluated, Loss, Truth
from fastnn.losses.elementwise import ElementLoss


class Hinge(ElementLoss):
    """How much scores miss a margin of 1 on the right side.

    loss = mean over the last axis of max(1 - y_true y_pred, 0); the truth is -1 or 1, a batch of nothing but 0 and 1 counts as such

    Args:
        reduction: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none" or None; see `Loss`.

    Shape:
        y_true, y_pred: (N, ..., D).

    Reference:
        Cortes & Vapnik (1995), Support-vector networks.

    Example:
        >>> fastnn.losses.hinge([[1.0], [1.0], [1.0]], [[2.0], [0.5], [-1.0]]).tolist()
        [0.0, 0.5, 2.0]
    """

    recordable: ClassVar[bool] = True
    kind: ClassVar[str] = "hinge"

    def evaluate(
        self, y_true: Truth, y_pred: Float32, weights: Float32 | None, scale: float, need_gradient: bool = True
    ) -> Evaluated:
        return super().evaluate(ops.signed_labels(y_true), y_pred, weights, scale, need_gradient)


class SquaredHinge(Hinge):
    """Square of how much scores miss a margin of 1 on the right side.

    loss = mean over the last axis of max(1 - y_true y_pred, 0)^2; the truth as for `Hinge`

    Args:
        reduction: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none" or None; see `Loss`.

    Shape:
        y_true, y_pred: (N, ..., D).

    Example:
        >>> fastnn.losses.squared_hinge([[1.0], [1.0], [-1.0]], [[2.0], [0.5], [1.0]]).tolist()
        [0.0, 0.25, 4.0]
    """

    recordable: ClassVar[bool] = True
    kind: ClassVar[str] = "squared_hinge"


class CategoricalHinge(Loss):
    """How much the right class misses a margin of 1 over the best other one.

    loss = max(largest of (1 - y_true) y_pred - sum of y_true y_pred + 1, 0); the gradient goes to the first of equal maxima

    Args:
        reduction: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none" or None; see `Loss`.

    Shape:
        y_true: (N, ..., classes) one-hot, y_pred: (N, ..., classes).

    Example:
        >>> fastnn.losses.categorical_hinge([[0.0, 1.0]], [[0.5, 0.25]]).tolist()
        [1.25]
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: str | None = None
    ) -> None:
        super().__init__(name, reduction, dtype)

    def evaluate(
        self, y_true: Truth, y_pred: Float32, weights: Float32 | None, scale: float, need_gradient: bool = True
    ) -> Evaluated:
        return ops.categorical_hinge(y_pred, y_true, weights, scale=scale, need_gradient=need_gradient)
