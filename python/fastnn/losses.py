"""Losses. ``loss(y_true, y_pred)`` is the number; ``loss.forward`` / ``loss.backward`` are the pair of an explicit loop."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.names import Shape, shape_text, snake_case

REDUCTIONS = ("sum_over_batch_size", "sum", "none")


class Loss:
    """How far predictions are from the truth: one number per sample, and its gradient.

    A subclass writes `evaluate`, and `prepare` if its truth is not an array of the predictions' shape.

    Args:
        reduction: "sum_over_batch_size" (mean over samples), "sum" or "none" (only for calling the loss by hand).
        name: for the record.

    Example:
        >>> import numpy as np
        >>> class Cubic(fastnn.losses.Loss):
        ...     def evaluate(self, y_true, y_pred, weights, scale, need_gradient=True):
        ...         error = np.abs(y_pred - y_true)
        ...         return (error**3).mean(-1), 3 * scale * error**2 * np.sign(y_pred - y_true) / error.shape[-1]
        >>> float(Cubic()(np.array([[0.0]]), np.array([[2.0]])))
        8.0
    """

    recordable: ClassVar[bool] = False
    fuses: ClassVar[str | None] = None  # the last activation that this loss takes over on logits

    def __init__(self, reduction: str = "sum_over_batch_size", name: str | None = None) -> None:
        self.reduction = checks.one_of(type(self).__name__, "reduction", reduction, REDUCTIONS)
        self.name = name or snake_case(type(self).__name__)
        self._gradient: Float32 | None = None

    # --- to override ---

    def evaluate(
        self,
        y_true: NDArray[Any],
        y_pred: Float32,
        weights: Float32 | None,
        scale: float,
        need_gradient: bool = True,
    ) -> tuple[Float32, Float32 | None]:
        """Return the loss of every sample (times its weight), and scale times its gradient with respect to y_pred.

        y_true is what `prepare` returned; both have a leading sample axis.
        """
        raise TypeError(checks.message(type(self).__name__, "a loss class with an evaluate method", "none"))

    def prepare(self, y_true: Any, output_shape: Shape) -> NDArray[Any]:
        """Check the truth against the shape of the predictions and return it as the kernels take it; called once per fit."""
        y = checks.float32(type(self).__name__, "y_true", y_true)
        if np.isnan(y).any():
            checks.fail(
                type(self).__name__, "y_true without NaN", f"{int(np.isnan(y).sum())} NaN", "drop or fill those samples"
            )
        if y.ndim == len(output_shape) - 1 and output_shape[-1] == 1:
            y = y[..., None]
        if y.ndim != len(output_shape) or any(o not in (None, s) for o, s in zip(output_shape[1:], y.shape[1:])):
            checks.fail(
                type(self).__name__,
                f"y_true of shape {shape_text(output_shape)}, that of the predictions",
                y.shape,
                self.shape_advice(y),
            )
        return y

    def shape_advice(self, y_true: NDArray[Any]) -> str:
        """Return how to mend a truth of a wrong shape."""
        return "give the last layer as many units as the targets have columns"

    def evaluate_fused(
        self, y_true: NDArray[Any], logits: Float32, weights: Float32 | None, scale: float, need_gradient: bool = True
    ) -> tuple[Float32, Float32, Float32 | None]:
        """Return (y_pred, losses, scale times the gradient with respect to logits), applying the activation named `fuses`."""
        raise TypeError(checks.message(type(self).__name__, "a loss that takes over an activation", "another one"))

    # --- for use ---

    def forward(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> np.float32:
        """Return the loss of a batch and remember its gradient for `backward`."""
        losses, gradient = self._evaluate(y_true, y_pred, sample_weight, True)
        self._gradient = gradient
        return self._reduce(losses)

    def backward(self) -> Float32:
        """Return the gradient of the last `forward` with respect to y_pred."""
        if self._gradient is None:
            checks.fail(type(self).__name__, "forward(y_true, y_pred) before backward", "no such call")
        return self._gradient

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the loss of a batch: a float32 number, or one per sample with reduction="none"."""
        losses, _ = self._evaluate(y_true, y_pred, sample_weight, False)
        return losses if self.reduction == "none" else self._reduce(losses)

    def _evaluate(self, y_true: Any, y_pred: Any, sample_weight: Any, gradient: bool) -> tuple[Float32, Float32 | None]:
        who = type(self).__name__
        pred = ops.as_float32(who, "y_pred", y_pred)
        if pred.ndim < 1 or pred.shape[0] == 0:
            checks.fail(who, "y_pred of at least one sample", f"shape {pred.shape}")
        flat = pred.reshape(-1, pred.shape[-1]) if pred.ndim > 1 else pred.reshape(-1, 1)
        truth = self.prepare(y_true, (None, *pred.shape[1:]) if pred.ndim > 1 else (None, 1))
        if len(truth) != len(pred):
            checks.fail(who, f"y_true and y_pred of the same length ({len(pred)})", len(truth))
        truth = truth.reshape(flat.shape) if truth.size == flat.size else truth.reshape(-1)
        weights = None if sample_weight is None else row_weights(who, sample_weight, len(pred), len(flat))
        losses, dpred = self.evaluate(truth, flat, weights, self.scale(len(flat)), gradient)
        return losses, None if dpred is None else dpred.reshape(pred.shape)

    def scale(self, rows: int) -> float:
        """Return the factor of the gradient: 1 / rows for a mean."""
        return 1.0 / rows if self.reduction == "sum_over_batch_size" else 1.0

    def _reduce(self, losses: Float32) -> np.float32:
        total = losses.sum(dtype=np.float64)
        return np.float32(total / losses.size if self.reduction == "sum_over_batch_size" else total)

    def step_key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured of this loss's settings."""
        return (id(self), self.reduction)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this loss again."""
        return {"reduction": self.reduction, "name": self.name}


def row_weights(who: str, weights: Any, samples: int, rows: int) -> Float32:
    """Return one float32 weight per row, from one per sample."""
    w = checks.float32(who, "sample_weight", weights)
    if w.shape not in ((samples,), (samples, 1)):
        checks.fail(who, f"sample_weight of shape ({samples},)", w.shape)
    return np.repeat(w.reshape(-1), rows // samples)


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


_ALIASES = {
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "bce": BinaryCrossentropy,
}
_BY_NAME: dict[str, type[Loss]] = {
    **{
        snake_case(c.__name__): c
        for c in (
            MeanSquaredError,
            MeanAbsoluteError,
            BinaryCrossentropy,
            CategoricalCrossentropy,
            SparseCategoricalCrossentropy,
        )
    },
    **_ALIASES,
}


def get(identifier: str | Loss) -> Loss:
    """Return a new loss from its name ("mse", "sparse_categorical_crossentropy", ...); a Loss is returned as it is."""
    if isinstance(identifier, Loss):
        return identifier
    if not isinstance(identifier, str):
        checks.fail_type(
            "loss",
            "a name or a Loss",
            checks.describe(identifier),
            "for a function of your own subclass fastnn.losses.Loss",
        )
    key = identifier if identifier in _BY_NAME else snake_case(identifier)
    return _BY_NAME[checks.one_of("loss", "name", key, sorted(_BY_NAME))]()


def serialize(loss: Loss) -> dict[str, Any]:
    """Return the loss as plain data."""
    return {"class": type(loss).__name__, "config": loss.get_config()}


def deserialize(data: dict[str, Any]) -> Loss:
    """Return a new loss from what `serialize` returned."""
    return _BY_NAME[checks.one_of("loss", "class", snake_case(str(data["class"])), sorted(_BY_NAME))](**data["config"])


def mean_squared_error(y_true: Any, y_pred: Any) -> Float32:
    """Return the squared error of every sample."""
    return MeanSquaredError("none")(y_true, y_pred)  # type: ignore[no-any-return]


def mean_absolute_error(y_true: Any, y_pred: Any) -> Float32:
    """Return the absolute error of every sample."""
    return MeanAbsoluteError("none")(y_true, y_pred)  # type: ignore[no-any-return]


def binary_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False) -> Float32:
    """Return the binary cross-entropy of every sample."""
    return BinaryCrossentropy(from_logits, "none")(y_true, y_pred)  # type: ignore[no-any-return]


def categorical_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False) -> Float32:
    """Return the cross-entropy of every sample."""
    return CategoricalCrossentropy(from_logits, "none")(y_true, y_pred)  # type: ignore[no-any-return]


def sparse_categorical_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False) -> Float32:
    """Return the cross-entropy of every sample, targets being class numbers."""
    return SparseCategoricalCrossentropy(from_logits, "none")(y_true, y_pred)  # type: ignore[no-any-return]
