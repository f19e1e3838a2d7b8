"""Loss, the base of all losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, ops
from fastnn.axes import axes_of, from_rows, to_rows
from fastnn.checks import Float32
from fastnn.names import Shape, shape_text, snake_case
from fastnn.settings import Settings, missing

REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none")
Size = TypeVar("Size")  # of an axis: a number, or None where it is open
Truth = NDArray[Any]
Evaluated = tuple[Float32, Float32 | None]  # losses of rows, gradient
Fused = tuple[Float32, Float32, Float32 | None]  # predictions, losses of rows, gradient


class Loss(Settings):
    """How far predictions are from the truth: one number per sample, and its gradient.

    A subclass of your own writes `call` and `gradient`; the model then runs from Python. One made of `fastnn.ops` writes
    `evaluate`, and may declare ``recordable = True`` in its own body. Either writes `prepare` too if its truth is not an array of
    the predictions' shape.

    Args:
        name: for the record.
        reduction: "sum_over_batch_size" or "mean" (mean over samples), "sum", "mean_with_sample_weight" (sum of weighted losses
            through sum of weights), or "none" or None (a loss per sample, only for calling the loss by hand).
        dtype: None or "float32", the only one there is.

    Example:
        >>> import numpy as np
        >>> class Cubic(fastnn.losses.Loss):
        ...     def call(self, y_true, y_pred):
        ...         return (np.abs(y_pred - y_true) ** 3).mean(-1)
        ...     def gradient(self, y_true, y_pred):
        ...         error = y_pred - y_true
        ...         return 3 * np.abs(error) * error / error.shape[-1]
        >>> float(Cubic()(np.array([[0.0]]), np.array([[2.0]])))
        8.0
        >>> model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(1)])
        >>> model.compile("sgd", Cubic())
        >>> history = model.fit(np.ones((4, 2)), np.zeros((4, 1)), verbose=0)
    """

    recordable: ClassVar[bool] = False
    unwatched: ClassVar[frozenset[str]] = frozenset({"_gradient"})
    fuses: str | None = None  # the last activation that this loss takes over on logits
    axis: int = -1  # of the predictions: along which a loss is one number

    if not TYPE_CHECKING:  # a type checker would take any attribute for a known one
        __getattr__ = missing

    def __init__(
        self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: str | None = None
    ) -> None:
        who = type(self).__name__
        reduction = "none" if reduction is None else reduction
        self.reduction = checks.one_of(who, "reduction", reduction, REDUCTIONS)
        self.name = checks.name(who, name) or snake_case(who)
        checks.only_float32(who, dtype)
        self._gradient: Float32 | None = None

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if cls.evaluate is not Loss.evaluate and not {"call", "gradient"}.isdisjoint(vars(cls)):
            raise TypeError(
                checks.message(
                    cls.__name__,
                    "call and gradient in a subclass of Loss itself",
                    f"them in one of {cls.__mro__[1].__name__}, which computes by evaluate",
                    "write evaluate, or subclass fastnn.losses.Loss",
                )
            )

    # --- to override ---

    def call(self, y_true: Truth, y_pred: Float32) -> Float32:
        """Return the loss of every row of predictions (rows, columns)."""
        raise TypeError(checks.message(type(self).__name__, "a loss class with call or evaluate", "none"))

    def gradient(self, y_true: Truth, y_pred: Float32) -> Float32:
        """Return the derivative of every row's loss by its predictions (rows, columns)."""
        raise TypeError(checks.message(type(self).__name__, "a loss class with gradient or evaluate", "none"))

    def evaluate(
        self, y_true: Truth, y_pred: Float32, weights: Float32 | None, scale: float, need_gradient: bool = True
    ) -> Evaluated:
        """Return the loss of every sample (times its weight), and scale times its gradient with respect to y_pred.

        y_true and weights are what `counting` returned, rows of what `prepare` returned.
        """
        losses = self._own("call", self.call(y_true, y_pred), y_pred.shape[:1])
        if weights is not None:
            losses = weights * losses
        if not need_gradient:
            return losses, None
        slopes = self._own("gradient", self.gradient(y_true, y_pred), y_pred.shape)
        return losses, slopes * (scale if weights is None else scale * weights[:, None])

    def _own(self, method: str, value: Any, shape: tuple[int, ...]) -> Float32:
        """Return what a method of the user's returned, after checking it."""
        array = ops.as_float32(type(self).__name__, f"what {method} returns", value)
        if array.shape != shape:
            checks.fail(type(self).__name__, f"{method} to return an array of shape {shape}", array.shape)
        return array

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
        self, y_true: Truth, logits: Float32, weights: Float32 | None, scale: float, need_gradient: bool = True
    ) -> Fused:
        """Return (y_pred, losses, scale times the gradient with respect to logits), applying the activation named `fuses`."""
        raise TypeError(checks.message(type(self).__name__, "a loss that takes over an activation", "another one"))

    # --- rows ---

    def _axes(self, rank: int) -> list[int]:
        axes = axes_of(type(self).__name__, self.axis, rank)
        if axes == [0]:
            checks.fail(type(self).__name__, "axis of a sample", self.axis, "axis 0 has the samples")
        return axes

    def rows(self, y: Float32) -> Float32:
        """Return predictions, or a truth of their shape, as (rows, columns): each row is one loss."""
        moved = to_rows(y, self._axes(y.ndim))
        return moved.reshape(math.prod(moved.shape[:-1]), moved.shape[-1])

    def from_rows(self, rows: Float32, shape: Sequence[int]) -> Float32:
        """Return the gradient of predictions of this shape from that of their rows."""
        return from_rows(rows, shape, self._axes(len(shape)))

    def truth_rows(self, y_true: Truth) -> Truth:
        """Return what `prepare` returned as (rows, columns), or (rows,) for class numbers."""
        if y_true.dtype == np.int32:
            return y_true.reshape(-1)
        return y_true.reshape(-1, 1) if y_true.ndim == 1 else self.rows(y_true)

    def losses_shape(self, shape: Sequence[Size]) -> tuple[Size, ...]:
        """Return the shape of the losses of predictions of this shape: that without the axis of a loss."""
        axis = self._axes(len(shape))[0]
        return (*shape[:axis], *shape[axis + 1 :])

    def counting(
        self, y_true: Truth, weights: Float32 | None, mask: Float32 | None = None
    ) -> tuple[Truth, Float32 | None]:
        """Return truth and weights of rows as `evaluate` takes them: with those the mean over all rows is that of what counts.

        mask: 0 for rows that do not count.
        """
        if mask is not None:
            weights = ops.mask_weights(mask, weights, rescale=self.reduction in ("sum_over_batch_size", "mean"))
        if weights is not None and self.reduction == "mean_with_sample_weight":
            weights, _ = ops.row_weights(len(y_true), weights, mean_of_one=True)
        return y_true, weights

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
        """Return the loss of a batch: a float32 number, or with reduction="none" one for every row of y_pred."""
        losses, _ = self._evaluate(y_true, y_pred, sample_weight, False)
        return losses if self.reduction == "none" else self._reduce(losses)

    def _evaluate(self, y_true: Any, y_pred: Any, sample_weight: Any, gradient: bool) -> Evaluated:
        who = type(self).__name__
        pred = ops.as_float32(who, "y_pred", y_pred)
        if pred.ndim < 1 or pred.shape[0] == 0:
            checks.fail(who, "y_pred of at least one sample", f"shape {pred.shape}")
        full = pred if pred.ndim > 1 else pred.reshape(-1, 1)
        truth = self.prepare(y_true, (None, *full.shape[1:]))
        if len(truth) != len(pred):
            checks.fail(who, f"y_true and y_pred of the same length ({len(pred)})", len(truth))
        flat, shape = self.rows(full), [int(s or 0) for s in self.losses_shape(full.shape)]
        weights = None if sample_weight is None else row_weights(who, sample_weight, shape)
        rows, weights = self.counting(self.truth_rows(truth), weights)
        losses, dpred = self.evaluate(rows, flat, weights, self.scale(len(flat)), gradient)
        return losses.reshape(shape), None if dpred is None else self.from_rows(dpred, full.shape).reshape(pred.shape)

    @property
    def averages(self) -> bool:
        """Whether the loss of a batch is a mean over its rows."""
        return self.reduction not in ("sum", "none")

    def scale(self, rows: int) -> float:
        """Return the factor of the gradient: 1 / rows for a mean."""
        return 1.0 / rows if self.averages else 1.0

    def _reduce(self, losses: Float32) -> np.float32:
        total = losses.sum(dtype=np.float64)
        return np.float32(total / losses.size if self.averages else total)

    def step_key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured of this loss's settings."""
        return (id(self), *((k, tuple(v) if isinstance(v, list) else v) for k, v in self.get_config().items()))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this loss again."""
        return {"reduction": self.reduction, "name": self.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return a new loss from what `get_config` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} '{self.name}'>"


def row_weights(who: str, weights: Any, shape: Sequence[int]) -> Float32:
    """Return one float32 weight per row, from one per sample or one per loss."""
    w = checks.float32(who, "sample_weight", weights)
    if w.shape not in ((shape[0],), (shape[0], 1), tuple(shape)):
        checks.fail(who, f"sample_weight of shape ({shape[0]},)", w.shape)
    if not np.isfinite(w).all():
        checks.fail(who, "finite sample_weight", "NaN or infinity")
    return w.reshape(-1) if w.shape == tuple(shape) else np.repeat(w.reshape(-1), math.prod(shape[1:]))
