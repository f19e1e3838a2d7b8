"""Losses of probabilities: binary, categorical and sparse categorical cross-entropy."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.losses.base import Loss
from fastnn.names import Shape, shape_text


class BinaryCrossentropy(Loss):
    """Cross-entropy of yes-or-no answers.

    loss = mean over the last axis of -y_true log(p) - (1 - y_true) log(1 - p), p = y_pred, or sigmoid(y_pred) from logits

    Behind a last layer with a sigmoid the model computes it on the logits: no overflow, and the gradient never vanishes by
    clipping. Called on probabilities, they are clipped to [1e-7, 1 - 1e-7].

    Args:
        from_logits: whether y_pred is before the sigmoid.
        reduction: "sum_over_batch_size", "sum" or "none".

    Shape:
        y_true: (N, D) in [0, 1], y_pred: (N, D).

    Example:
        >>> round(float(fastnn.losses.BinaryCrossentropy()([[0.0]], [[0.1192]])), 6)
        0.126925
    """

    recordable: ClassVar[bool] = True
    fuses: ClassVar[str | None] = "sigmoid"

    def __init__(
        self, from_logits: bool = False, reduction: str = "sum_over_batch_size", name: str | None = None
    ) -> None:
        super().__init__(reduction, name)
        self.from_logits = checks.boolean(type(self).__name__, "from_logits", from_logits)

    def prepare(self, y_true: Any, output_shape: Shape) -> NDArray[Any]:
        y = super().prepare(y_true, output_shape)
        if y.size and not (y.min() >= 0 and y.max() <= 1):
            checks.fail(
                "BinaryCrossentropy",
                "y_true within [0, 1]",
                f"values from {y.min():g} to {y.max():g}",
                "use labels 0 and 1",
            )
        return y

    def limits(self, output_shape: Shape) -> tuple[float, float]:
        return 0.0, 1.0

    def shape_advice(self, y_true: NDArray[Any]) -> str:
        return "for more than two classes use sparse_categorical_crossentropy with a softmax"

    def evaluate(
        self, y_true: NDArray[Any], y_pred: Float32, weights: Float32 | None, scale: float, need_gradient: bool = True
    ) -> tuple[Float32, Float32 | None]:
        if self.from_logits:
            return self.evaluate_fused(y_true, y_pred, weights, scale, need_gradient)[1:]
        return ops.elementwise_loss(
            "binary_crossentropy", y_pred, y_true, weights, scale=scale, need_gradient=need_gradient
        )

    def evaluate_fused(
        self, y_true: NDArray[Any], logits: Float32, weights: Float32 | None, scale: float, need_gradient: bool = True
    ) -> tuple[Float32, Float32, Float32 | None]:
        return ops.sigmoid_cross_entropy(logits, y_true, weights, scale=scale, need_gradient=need_gradient)

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.from_logits)

    def get_config(self) -> dict[str, Any]:
        return {"from_logits": self.from_logits, **super().get_config()}


class CategoricalCrossentropy(Loss):
    """Cross-entropy with targets given as probabilities, usually one-hot.

    loss = -sum over classes of y_true log(p), p = y_pred, or softmax(y_pred) from logits

    Behind a last layer with a softmax the model computes it on the logits (gradient p - y_true). Called on probabilities, they
    are clipped to [1e-7, 1 - 1e-7]; they need not add up to 1.

    Args:
        from_logits: whether y_pred is before the softmax.
        reduction: "sum_over_batch_size", "sum" or "none".

    Shape:
        y_true: (N, classes), y_pred: (N, classes).

    Example:
        >>> p = [[0.09, 0.07, 0.08, 0.08, 0.09, 0.10, 0.10, 0.21, 0.10, 0.09]]
        >>> loss = fastnn.losses.CategoricalCrossentropy()(fastnn.utils.to_categorical([7], 10), p)
        >>> round(float(loss), 4)
        1.5606
    """

    recordable: ClassVar[bool] = True
    fuses: ClassVar[str | None] = "softmax"

    def __init__(
        self, from_logits: bool = False, reduction: str = "sum_over_batch_size", name: str | None = None
    ) -> None:
        super().__init__(reduction, name)
        self.from_logits = checks.boolean(type(self).__name__, "from_logits", from_logits)

    def shape_advice(self, y_true: NDArray[Any]) -> str:
        return "for integer labels use sparse_categorical_crossentropy, or to_categorical(y)"

    def evaluate(
        self, y_true: NDArray[Any], y_pred: Float32, weights: Float32 | None, scale: float, need_gradient: bool = True
    ) -> tuple[Float32, Float32 | None]:
        if self.from_logits:
            return self.evaluate_fused(y_true, y_pred, weights, scale, need_gradient)[1:]
        return ops.cross_entropy(y_pred, y_true, weights, scale=scale, need_gradient=need_gradient)

    def evaluate_fused(
        self, y_true: NDArray[Any], logits: Float32, weights: Float32 | None, scale: float, need_gradient: bool = True
    ) -> tuple[Float32, Float32, Float32 | None]:
        return ops.softmax_cross_entropy(logits, y_true, weights, scale=scale, need_gradient=need_gradient)

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.from_logits)

    def get_config(self) -> dict[str, Any]:
        return {"from_logits": self.from_logits, **super().get_config()}


class SparseCategoricalCrossentropy(CategoricalCrossentropy):
    """Cross-entropy with targets given as class numbers.

    loss = -log(p[label]), p = y_pred, or softmax(y_pred) from logits; otherwise as `CategoricalCrossentropy`

    Args:
        from_logits: whether y_pred is before the softmax.
        reduction: "sum_over_batch_size", "sum" or "none".

    Shape:
        y_true: (N,) integers in [0, classes), y_pred: (N, classes).

    Example:
        >>> round(float(fastnn.losses.SparseCategoricalCrossentropy()([1], [[0.25, 0.75]])), 4)
        0.2877
    """

    recordable: ClassVar[bool] = True

    def prepare(self, y_true: Any, output_shape: Shape) -> NDArray[Any]:
        return class_labels(type(self).__name__, y_true, output_shape)

    def limits(self, output_shape: Shape) -> tuple[float, float]:
        return 0.0, float((output_shape[-1] or 2**31) - 1)


def class_labels(who: str, y_true: Any, output_shape: Shape) -> NDArray[np.int32]:
    """Return class numbers as int32 of shape (N, ...) for predictions (N, ..., classes), after checking their range."""
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
    if y.size and (y.min() < 0 or (classes is not None and y.max() >= classes)):
        checks.fail(
            who,
            f"labels from 0 to {'?' if classes is None else classes - 1}",
            f"labels from {y.min():g} to {y.max():g}",
            "number the classes from 0 and give the last layer as many units as there are classes",
        )
    return np.ascontiguousarray(y, np.int32)
