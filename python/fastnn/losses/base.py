"""Loss, the base of all losses."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.names import Shape, shape_text, snake_case
from fastnn.settings import Settings

REDUCTIONS = ("sum_over_batch_size", "sum", "none")


class Loss(Settings):
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
    unwatched: ClassVar[frozenset[str]] = frozenset({"_gradient"})
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

    def limits(self, output_shape: Shape) -> tuple[float, float]:
        """Return the least and the greatest value that `prepare` takes for predictions of this shape; NaN it never takes."""
        return -math.inf, math.inf

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
    if not np.isfinite(w).all():
        checks.fail(who, "finite sample_weight", "NaN or infinity")
    return np.repeat(w.reshape(-1), rows // samples)
