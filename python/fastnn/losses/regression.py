"""Losses of values: squared and absolute errors and their kin, cosine similarity."""

from __future__ import annotations

from typing import Any, ClassVar

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.losses.base import Evaluated, Loss, Truth
from fastnn.losses.elementwise import ElementLoss


class MeanSquaredError(ElementLoss):
    """Mean of squared differences.

    loss = mean over the last axis of (y_pred - y_true)^2

    Args:
        reduction: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none" or None; see `Loss`.

    Shape:
        y_true, y_pred: (N, ..., D).

    Example:
        >>> round(float(fastnn.losses.MeanSquaredError()([[0.0]], [[0.1192]])), 8)
        0.01420864
    """

    recordable: ClassVar[bool] = True
    kind: ClassVar[str] = "squared_error"


class HalfSumSquares(ElementLoss):
    """Half the sum of squared differences, the error of hand examples; its gradient is y_pred - y_true.

    loss = 1/2 sum over the last axis of (y_pred - y_true)^2

    Args:
        reduction: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none" or None; see `Loss`.

    Shape:
        y_true, y_pred: (N, ..., D).

    Example:
        >>> float(fastnn.losses.HalfSumSquares()([[0.0, 1.0]], [[1.0, 3.0]]))
        2.5
    """

    recordable: ClassVar[bool] = True
    kind: ClassVar[str] = "half_squared_error"
    sums: ClassVar[bool] = True


class MeanAbsoluteError(ElementLoss):
    """Mean of absolute differences.

    loss = mean over the last axis of |y_pred - y_true|; the gradient is 0 where they are equal

    Args:
        reduction: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none" or None; see `Loss`.

    Shape:
        y_true, y_pred: (N, ..., D).

    Example:
        >>> float(fastnn.losses.MeanAbsoluteError()([[0.0, 1.0]], [[0.5, 1.0]]))
        0.25
    """

    recordable: ClassVar[bool] = True
    kind: ClassVar[str] = "absolute_error"


class MeanAbsolutePercentageError(ElementLoss):
    """Mean of absolute differences in percent of the truth.

    loss = mean over the last axis of 100 |y_pred - y_true| / max(|y_true|, 1e-7)

    Args:
        reduction: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none" or None; see `Loss`.

    Shape:
        y_true, y_pred: (N, ..., D).

    Example:
        >>> float(fastnn.losses.MeanAbsolutePercentageError()([[4.0, 1.0]], [[3.0, 1.0]]))
        12.5
    """

    recordable: ClassVar[bool] = True
    kind: ClassVar[str] = "absolute_percentage_error"


class MeanSquaredLogarithmicError(ElementLoss):
    """Mean of squared differences of logarithms: relative errors of values >= 0.

    loss = mean over the last axis of (log(1 + max(y_pred, 1e-7)) - log(1 + max(y_true, 1e-7)))^2

    Args:
        reduction: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none" or None; see `Loss`.

    Shape:
        y_true, y_pred: (N, ..., D).

    Example:
        >>> round(float(fastnn.losses.MeanSquaredLogarithmicError()([[1.0]], [[3.0]])), 6)
        0.480453
    """

    recordable: ClassVar[bool] = True
    kind: ClassVar[str] = "squared_logarithmic_error"


class Huber(ElementLoss):
    """Squared error near the truth, absolute error far from it.

    loss = mean over the last axis of d^2 / 2 where d = |y_pred - y_true| <= delta, else delta d - delta^2 / 2

    Args:
        delta: where the one becomes the other, > 0.
        reduction: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none" or None; see `Loss`.

    Shape:
        y_true, y_pred: (N, ..., D).

    Reference:
        Huber (1964), Robust estimation of a location parameter.

    Example:
        >>> float(fastnn.losses.Huber()([[0.0, 0.0]], [[1.0, 3.0]]))
        1.5
    """

    recordable: ClassVar[bool] = True
    kind: ClassVar[str] = "huber"

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: str | None = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.delta = checks.number(type(self).__name__, "delta", delta, above=0.0)

    def numbers(self) -> dict[str, Any]:
        return {"delta": self.delta}

    def get_config(self) -> dict[str, Any]:
        return {"delta": self.delta, **super().get_config()}


class LogCosh(ElementLoss):
    """Logarithm of the hyperbolic cosine of differences: as half their squares near 0, as their size far out.

    loss = mean over the last axis of log(cosh(y_pred - y_true))

    Args:
        reduction: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none" or None; see `Loss`.

    Shape:
        y_true, y_pred: (N, ..., D).

    Example:
        >>> round(float(fastnn.losses.LogCosh()([[0.0]], [[1.0]])), 6)
        0.433781
    """

    recordable: ClassVar[bool] = True
    kind: ClassVar[str] = "log_cosh"


class CosineSimilarity(Loss):
    """Negative cosine of the angle between predictions and truth: -1 for the same direction, 1 for opposite ones.

    loss = -sum(y_true y_pred) / (|y_true| |y_pred|), 0 where one of them is 0

    Args:
        axis: along which the vectors lie.
        reduction: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none" or None; see `Loss`.

    Shape:
        y_true, y_pred: (N, ..., D).

    Example:
        >>> float(fastnn.losses.CosineSimilarity()([[0.0, 2.0]], [[0.0, 3.0]]))
        -1.0
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.axis = checks.integer(type(self).__name__, "axis", axis)

    def evaluate(
        self, y_true: Truth, y_pred: Float32, weights: Float32 | None, scale: float, need_gradient: bool = True
    ) -> Evaluated:
        pred, r = ops.unit_norm_forward(y_pred)
        truth, _ = ops.unit_norm_forward(y_true)
        losses, dpred = ops.elementwise_loss(
            "negative_product", pred, truth, weights, scale=scale, need_gradient=need_gradient, sum_rows=True
        )
        return losses, None if dpred is None else ops.unit_norm_backward(dpred, pred, r)

    def get_config(self) -> dict[str, Any]:
        return {"axis": self.axis, **super().get_config()}
