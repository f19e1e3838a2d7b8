"""Losses of values: mean squared and mean absolute error."""

from __future__ import annotations

from typing import Any, ClassVar

from numpy.typing import NDArray

from fastnn import ops
from fastnn.checks import Float32
from fastnn.losses.base import Loss


class MeanSquaredError(Loss):
    """Mean of squared differences.

    loss = mean over the last axis of (y_pred - y_true)^2

    Args:
        reduction: "sum_over_batch_size", "sum" or "none".

    Shape:
        y_true, y_pred: (N, D).

    Example:
        >>> round(float(fastnn.losses.MeanSquaredError()([[0.0]], [[0.1192]])), 8)
        0.01420864
    """

    recordable: ClassVar[bool] = True
    kind: ClassVar[str] = "squared_error"

    def evaluate(
        self, y_true: NDArray[Any], y_pred: Float32, weights: Float32 | None, scale: float, need_gradient: bool = True
    ) -> tuple[Float32, Float32 | None]:
        return ops.elementwise_loss(self.kind, y_pred, y_true, weights, scale=scale, need_gradient=need_gradient)


class MeanAbsoluteError(MeanSquaredError):
    """Mean of absolute differences.

    loss = mean over the last axis of |y_pred - y_true|; the gradient is 0 where they are equal

    Args:
        reduction: "sum_over_batch_size", "sum" or "none".

    Shape:
        y_true, y_pred: (N, D).

    Example:
        >>> float(fastnn.losses.MeanAbsoluteError()([[0.0, 1.0]], [[0.5, 1.0]]))
        0.25
    """

    recordable: ClassVar[bool] = True
    kind: ClassVar[str] = "absolute_error"
