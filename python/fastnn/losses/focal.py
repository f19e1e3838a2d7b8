"""Focal cross-entropies, which count what is known well less."""

from __future__ import annotations

from typing import Any, ClassVar

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.losses.base import Evaluated, Fused, Truth
from fastnn.losses.crossentropy import BinaryShares, CategoricalShares


class BinaryFocalCrossentropy(BinaryShares):
    """Cross-entropy of yes-or-no answers, less for those that are known well.

    loss = mean over the axis of a m^gamma (-y_true log(p) - (1 - y_true) log(1 - p)), m = y_true (1 - p) + (1 - y_true) p;
    a = y_true alpha + (1 - y_true) (1 - alpha) with class balancing, else 1

    Behind a last layer with a sigmoid, and from logits, nothing is clipped; probabilities are, to [1e-7, 1 - 1e-7].

    Args:
        apply_class_balancing: whether alpha counts.
        alpha: weight of ones, in [0, 1]; that of zeros is 1 - alpha.
        gamma: how much less, >= 0; 0 is the plain cross-entropy.
        from_logits: whether y_pred is before the sigmoid.
        label_smoothing: share s of the targets that becomes 1/2, in [0, 1]: y_true (1 - s) + s / 2.
        axis: along which the mean is taken.
        reduction: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none" or None; see `Loss`.

    Shape:
        y_true: (N, ..., D) in [0, 1], y_pred: (N, ..., D).

    Reference:
        Lin, Goyal, Girshick, He & Dollar (2017), Focal loss for dense object detection.

    Example:
        >>> round(float(fastnn.losses.BinaryFocalCrossentropy()([[1.0]], [[0.5]])), 6)
        0.173287
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)
        who = type(self).__name__
        self.apply_class_balancing = checks.boolean(who, "apply_class_balancing", apply_class_balancing)
        self.alpha = checks.number(who, "alpha", alpha, 0.0, 1.0)
        self.gamma = checks.number(who, "gamma", gamma, 0.0)

    @property
    def class_weights(self) -> tuple[float, float]:
        """What ones and zeros count."""
        return (self.alpha, 1.0 - self.alpha) if self.apply_class_balancing else (1.0, 1.0)

    def evaluate_shares(
        self, y_true: Truth, y_pred: Float32, weights: Float32 | None, scale: float, need_gradient: bool
    ) -> Evaluated:
        return ops.elementwise_loss(
            "binary_focal",
            y_pred,
            self.smoothed(y_true, 2),
            weights,
            scale=scale,
            need_gradient=need_gradient,
            gamma=self.gamma,
            class_weights=self.class_weights,
        )

    def evaluate_fused(
        self, y_true: Truth, logits: Float32, weights: Float32 | None, scale: float, need_gradient: bool = True
    ) -> Fused:
        return ops.sigmoid_focal(
            logits,
            self.smoothed(y_true, 2),
            weights,
            gamma=self.gamma,
            class_weights=self.class_weights,
            scale=scale,
            need_gradient=need_gradient,
        )

    def get_config(self) -> dict[str, Any]:
        own = {"apply_class_balancing": self.apply_class_balancing, "alpha": self.alpha, "gamma": self.gamma}
        return {**own, **super().get_config()}


class CategoricalFocalCrossentropy(CategoricalShares):
    """Cross-entropy of one class out of several, less for what is known well.

    loss = -sum over classes of alpha (1 - p)^gamma y_true log(p), p = y_pred, or softmax(y_pred) from logits

    Behind a last layer with a softmax, and from logits, nothing is clipped; probabilities are, to [1e-7, 1 - 1e-7].

    Args:
        alpha: weight of all classes, >= 0.
        gamma: how much less, >= 0; 0 is the plain cross-entropy times alpha.
        from_logits: whether y_pred is before the softmax.
        label_smoothing: share s of the targets that is spread over all classes, in [0, 1]: y_true (1 - s) + s / classes.
        axis: that of the classes.
        reduction: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none" or None; see `Loss`.

    Shape:
        y_true: (N, ..., classes), y_pred: (N, ..., classes).

    Reference:
        Lin, Goyal, Girshick, He & Dollar (2017), Focal loss for dense object detection.

    Example:
        >>> round(float(fastnn.losses.CategoricalFocalCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]])), 6)
        0.043322
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)
        self.alpha = checks.number(type(self).__name__, "alpha", alpha, 0.0)
        self.gamma = checks.number(type(self).__name__, "gamma", gamma, 0.0)

    def evaluate_shares(
        self, y_true: Truth, y_pred: Float32, weights: Float32 | None, scale: float, need_gradient: bool
    ) -> Evaluated:
        return ops.elementwise_loss(
            "categorical_focal",
            y_pred,
            self.smoothed(y_true, y_pred.shape[1]),
            weights,
            scale=scale,
            need_gradient=need_gradient,
            sum_rows=True,
            gamma=self.gamma,
            class_weights=(self.alpha, self.alpha),
        )

    def evaluate_fused(
        self, y_true: Truth, logits: Float32, weights: Float32 | None, scale: float, need_gradient: bool = True
    ) -> Fused:
        return ops.softmax_focal(
            logits,
            self.smoothed(y_true, logits.shape[1]),
            weights,
            alpha=self.alpha,
            gamma=self.gamma,
            scale=scale,
            need_gradient=need_gradient,
        )

    def get_config(self) -> dict[str, Any]:
        return {"alpha": self.alpha, "gamma": self.gamma, **super().get_config()}
