"""Cross-entropies: binary, categorical and sparse categorical."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.losses.base import Evaluated, Fused, Loss, Truth
from fastnn.names import Shape, shape_text


class Shares(Loss):
    """The base of losses of probabilities, or of the logits before a sigmoid or softmax that the loss takes over."""

    def __init__(
        self,
        from_logits: bool,
        label_smoothing: float,
        axis: int,
        reduction: str | None,
        name: str | None,
        dtype: str | None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        who = type(self).__name__
        self.from_logits = checks.boolean(who, "from_logits", from_logits)
        self.label_smoothing = checks.number(who, "label_smoothing", label_smoothing, 0.0, 1.0)
        self.axis = checks.integer(who, "axis", axis)

    def evaluate_shares(
        self, y_true: Truth, y_pred: Float32, weights: Float32 | None, scale: float, need_gradient: bool
    ) -> Evaluated:
        """Return what `evaluate` does, for probabilities."""
        raise TypeError(checks.message(type(self).__name__, "a loss class with evaluate_shares", "none"))

    def evaluate(
        self, y_true: Truth, y_pred: Float32, weights: Float32 | None, scale: float, need_gradient: bool = True
    ) -> Evaluated:
        if self.from_logits:
            return self.evaluate_fused(y_true, y_pred, weights, scale, need_gradient)[1:]
        return self.evaluate_shares(y_true, y_pred, weights, scale, need_gradient)

    def smoothed(self, y_true: Truth, classes: int) -> Truth:
        """Return targets of which a share `label_smoothing` is spread over the classes."""
        if not self.label_smoothing:
            return y_true
        return ops.smooth_targets(y_true, 1.0 - self.label_smoothing, self.label_smoothing / classes)

    def get_config(self) -> dict[str, Any]:
        return {
            "from_logits": self.from_logits,
            "label_smoothing": self.label_smoothing,
            "axis": self.axis,
            **super().get_config(),
        }


class BinaryShares(Shares):
    """The base of losses of yes-or-no answers."""

    fuses: str | None = "sigmoid"

    def prepare(self, y_true: Any, output_shape: Shape) -> NDArray[Any]:
        y = super().prepare(y_true, output_shape)
        if y.size and not (y.min() >= 0 and y.max() <= 1):
            checks.fail(
                type(self).__name__,
                "y_true within [0, 1]",
                f"values from {y.min():g} to {y.max():g}",
                "use labels 0 and 1",
            )
        return y

    def limits(self, output_shape: Shape) -> tuple[float, float]:
        return 0.0, 1.0

    def shape_advice(self, y_true: NDArray[Any]) -> str:
        return "for more than two classes use sparse_categorical_crossentropy with a softmax"


class BinaryCrossentropy(BinaryShares):
    """Cross-entropy of yes-or-no answers.

    loss = mean over the axis of -y_true log(p) - (1 - y_true) log(1 - p), p = y_pred, or sigmoid(y_pred) from logits

    Behind a last layer with a sigmoid the model computes it on the logits: no overflow, and the gradient never vanishes by
    clipping. Called on probabilities, they are clipped to [1e-7, 1 - 1e-7].

    Args:
        from_logits: whether y_pred is before the sigmoid.
        label_smoothing: share s of the targets that becomes 1/2, in [0, 1]: y_true (1 - s) + s / 2.
        axis: along which the mean is taken.
        reduction: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none" or None; see `Loss`.

    Shape:
        y_true: (N, ..., D) in [0, 1], y_pred: (N, ..., D).

    Example:
        >>> round(float(fastnn.losses.BinaryCrossentropy()([[0.0]], [[0.1192]])), 6)
        0.126925
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)

    def evaluate_shares(
        self, y_true: Truth, y_pred: Float32, weights: Float32 | None, scale: float, need_gradient: bool
    ) -> Evaluated:
        y_true = self.smoothed(y_true, 2)
        return ops.elementwise_loss(
            "binary_crossentropy", y_pred, y_true, weights, scale=scale, need_gradient=need_gradient
        )

    def evaluate_fused(
        self, y_true: Truth, logits: Float32, weights: Float32 | None, scale: float, need_gradient: bool = True
    ) -> Fused:
        y_true = self.smoothed(y_true, 2)
        return ops.sigmoid_cross_entropy(logits, y_true, weights, scale=scale, need_gradient=need_gradient)


class CategoricalShares(Shares):
    """The base of losses of one class out of several."""

    def __init__(
        self,
        from_logits: bool,
        label_smoothing: float,
        axis: int,
        reduction: str | None,
        name: str | None,
        dtype: str | None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)
        self.fuses = "softmax" if self.axis == -1 else None  # which is over the last axis

    def shape_advice(self, y_true: NDArray[Any]) -> str:
        return "for integer labels use sparse_categorical_crossentropy, or to_categorical(y)"


class CategoricalCrossentropy(CategoricalShares):
    """Cross-entropy with targets given as probabilities, usually one-hot.

    loss = -sum over classes of y_true log(p), p = y_pred, or softmax(y_pred) from logits

    Behind a last layer with a softmax the model computes it on the logits (gradient p - y_true). Called on probabilities, they
    are clipped to [1e-7, 1 - 1e-7]; they need not add up to 1.

    Args:
        from_logits: whether y_pred is before the softmax.
        label_smoothing: share s of the targets that is spread over all classes, in [0, 1]: y_true (1 - s) + s / classes.
        axis: that of the classes.
        reduction: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none" or None; see `Loss`.

    Shape:
        y_true: (N, ..., classes), y_pred: (N, ..., classes).

    Example:
        >>> p = [[0.09, 0.07, 0.08, 0.08, 0.09, 0.10, 0.10, 0.21, 0.10, 0.09]]
        >>> loss = fastnn.losses.CategoricalCrossentropy()(fastnn.utils.to_categorical([7], 10), p)
        >>> round(float(loss), 4)
        1.5606
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)

    def evaluate_shares(
        self, y_true: Truth, y_pred: Float32, weights: Float32 | None, scale: float, need_gradient: bool
    ) -> Evaluated:
        y_true = self.smoothed(y_true, y_pred.shape[1])
        return ops.cross_entropy(y_pred, y_true, weights, scale=scale, need_gradient=need_gradient)

    def evaluate_fused(
        self, y_true: Truth, logits: Float32, weights: Float32 | None, scale: float, need_gradient: bool = True
    ) -> Fused:
        y_true = self.smoothed(y_true, logits.shape[1])
        return ops.softmax_cross_entropy(logits, y_true, weights, scale=scale, need_gradient=need_gradient)


class SparseCategoricalCrossentropy(CategoricalShares):
    """Cross-entropy with targets given as class numbers.

    loss = -log(p[label]), p = y_pred, or softmax(y_pred) from logits; otherwise as `CategoricalCrossentropy`

    Args:
        from_logits: whether y_pred is before the softmax.
        ignore_class: label, such as -1 or 255, of what does not count: its loss is 0, and a mean is over the others; or None.
        reduction: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none" or None; see `Loss`.
        axis: that of the classes in y_pred.

    Shape:
        y_true: (N, ...) integers in [0, classes), or ignore_class; y_pred: (N, ..., classes).

    Example:
        >>> round(float(fastnn.losses.SparseCategoricalCrossentropy()([1], [[0.25, 0.75]])), 4)
        0.2877
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(from_logits, 0.0, axis, reduction, name, dtype)
        low, high = -(2**31), 2**31 - 1
        self.ignore_class = (
            None
            if ignore_class is None
            else checks.integer(type(self).__name__, "ignore_class", ignore_class, low, high)
        )

    def prepare(self, y_true: Any, output_shape: Shape) -> NDArray[Any]:
        axis = self._axes(len(output_shape))[0]
        shape = (*self.losses_shape(output_shape), output_shape[axis])
        return class_labels(type(self).__name__, y_true, shape, self.ignore_class)

    def limits(self, output_shape: Shape) -> tuple[float, float]:
        classes = output_shape[self._axes(len(output_shape))[0]] or 2**31
        if self.ignore_class is None or 0 <= self.ignore_class < classes:
            return 0.0, classes - 1.0
        if self.ignore_class in (-1, classes):
            return min(self.ignore_class, 0), max(self.ignore_class, classes - 1.0)
        return math.inf, -math.inf  # what is allowed is no interval

    def counting(
        self, y_true: Truth, weights: Float32 | None, mask: Float32 | None = None
    ) -> tuple[Truth, Float32 | None]:
        if self.ignore_class is None:
            return super().counting(y_true, weights, mask)
        counts, labels = ops.row_weights(len(y_true), mask, labels=y_true, ignored=self.ignore_class)
        assert labels is not None  # labels were given
        return super().counting(labels, weights, counts)

    def evaluate_shares(
        self, y_true: Truth, y_pred: Float32, weights: Float32 | None, scale: float, need_gradient: bool
    ) -> Evaluated:
        return ops.cross_entropy(y_pred, y_true, weights, scale=scale, need_gradient=need_gradient)

    def evaluate_fused(
        self, y_true: Truth, logits: Float32, weights: Float32 | None, scale: float, need_gradient: bool = True
    ) -> Fused:
        return ops.softmax_cross_entropy(logits, y_true, weights, scale=scale, need_gradient=need_gradient)

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "ignore_class": self.ignore_class}
        del config["label_smoothing"]
        return config


def class_labels(who: str, y_true: Any, output_shape: Shape, ignored: int | None = None) -> NDArray[np.int32]:
    """Return class numbers as int32 of shape (N, ...) for predictions (N, ..., classes), after checking their range.

    ignored: a number that is no class, but allowed; or None.
    """
    y = checks.array(who, "y_true", y_true)
    classes = output_shape[-1]
    if y.ndim == len(output_shape) and y.shape[-1] == 1:
        y = y[..., 0]
    if y.ndim != len(output_shape) - 1:
        fix = (
            "one-hot targets go with categorical_crossentropy, or give y.argmax(-1)"
            if y.ndim == len(output_shape)
            else ""
        )
        checks.fail(who, f"integer labels of shape {shape_text(output_shape[:-1])}", f"shape {y.shape}", fix)
    if y.dtype.kind == "f":
        if np.isnan(y).any():
            checks.fail(who, "labels without NaN", f"{int(np.isnan(y).sum())} NaN", "drop those samples")
        if (y != np.floor(y)).any():
            checks.fail(
                who, "integer labels", f"fractions such as {y[y != np.floor(y)].flat[0]:g}", "is this a regression?"
            )
    counting = y if ignored is None else y[y != ignored]
    if counting.size and (counting.min() < 0 or (classes is not None and counting.max() >= classes)):
        checks.fail(
            who,
            f"labels from 0 to {'?' if classes is None else classes - 1}{'' if ignored is None else f', or {ignored}'}",
            f"labels from {counting.min():g} to {counting.max():g}",
            "number the classes from 0 and give the last layer as many units as there are classes",
        )
    return np.ascontiguousarray(y, np.int32)
