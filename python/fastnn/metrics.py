"""Metrics: running means over batches, in buffers, so that a recorded step updates them too."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.losses import MeanAbsoluteError as AbsoluteLoss
from fastnn.losses import MeanSquaredError as SquaredLoss
from fastnn.names import snake_case
from fastnn.settings import Settings


class Metric(Settings):
    """A number over all samples seen since `reset_state`: state[0] / state[1].

    A subclass writes `update_state` (and `result` if it is not that quotient).

    Args:
        name: the key in logs; None makes one from the class.

    Example:
        >>> import numpy as np
        >>> class Largest(fastnn.metrics.Metric):
        ...     def update_state(self, y_true, y_pred):
        ...         self.state[:] = max(self.state[0], y_pred.max()), 1
        >>> metric = Largest()
        >>> metric.update_state(None, np.array([3.0]))
        >>> metric.result()
        3.0
    """

    recordable: ClassVar[bool] = False

    def __init__(self, name: str | None = None) -> None:
        self.name = name or snake_case(type(self).__name__)
        self.state = np.zeros(2, np.float64)

    def update_state(self, y_true: Any, y_pred: Any) -> None:
        """Take a batch into account: y_true as the loss prepared it, y_pred (rows, last axis)."""
        raise TypeError(checks.message(type(self).__name__, "a metric class with an update_state method", "none"))

    def result(self) -> float:
        """Return the metric over all batches since the last reset (0 if there were none)."""
        total, count = self.state.tolist()
        return float(total / count) if count else 0.0

    def reset_state(self) -> None:
        """Forget all batches."""
        self.state[...] = 0

    def __call__(self, y_true: Any, y_pred: Any) -> float:
        """Update with a batch and return the result."""
        self.update_state(y_true, y_pred)
        return self.result()

    def step_key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured of this metric's settings."""
        return (id(self),)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        return {"name": self.name}


class Mean(Metric):
    """The mean of values, such as the losses of samples.

    Example:
        >>> import numpy as np
        >>> mean = fastnn.metrics.Mean()
        >>> mean.update_state(np.array([1.0, 2.0], np.float32))
        >>> mean.result()
        1.5
    """

    recordable: ClassVar[bool] = True

    def update_state(self, values: Any, y_pred: Any = None, scale: float = 1.0) -> None:
        """Take values, times scale, into account."""
        ops.mean_update(ops.as_float32(self.name, "values", values).reshape(-1), self.state, scale)


def _pairs(who: str, y_pred: Any) -> Float32:
    """Return predictions as (rows, columns)."""
    pred = ops.as_float32(who, "y_pred", y_pred)
    return pred.reshape(-1, pred.shape[-1]) if pred.ndim > 1 else pred.reshape(-1, 1)


def _labels(who: str, y_true: Any, rows: int) -> NDArray[np.int32]:
    if not (isinstance(y_true, np.ndarray) and y_true.dtype == np.int32):
        given = checks.array(who, "y_true", y_true)
        y_true = np.ascontiguousarray(given, np.int32)
        if (y_true != given).any():
            checks.fail(who, "class numbers", "fractions, NaN or numbers beyond 32 bits")
    if y_true.size != rows:
        checks.fail(
            who, f"{rows} integer labels", f"shape {y_true.shape}", "one-hot targets go with CategoricalAccuracy"
        )
    labels: NDArray[np.int32] = y_true.reshape(-1)
    return labels


def _targets(who: str, y_true: Any, pred: Float32) -> Float32:
    truth = ops.as_float32(who, "y_true", y_true)
    if truth.size != pred.size:
        checks.fail(who, f"y_true with the predictions' {pred.size} values", f"shape {truth.shape}")
    return truth.reshape(pred.shape)


class SparseCategoricalAccuracy(Metric):
    """Share of samples whose largest prediction is at their class number.

    Shape:
        y_true: (N,) integers, y_pred: (N, classes).

    Example:
        >>> fastnn.metrics.SparseCategoricalAccuracy()([0, 1], [[0.9, 0.1], [0.8, 0.2]])
        0.5
    """

    recordable: ClassVar[bool] = True

    def update_state(self, y_true: Any, y_pred: Any) -> None:
        pred = _pairs(self.name, y_pred)
        ops.count_matches("sparse", pred, _labels(self.name, y_true, len(pred)), self.state)


class CategoricalAccuracy(Metric):
    """Share of samples whose largest prediction is where their largest target is.

    Shape:
        y_true, y_pred: (N, classes).

    Example:
        >>> fastnn.metrics.CategoricalAccuracy()([[1, 0], [0, 1]], [[0.9, 0.1], [0.8, 0.2]])
        0.5
    """

    recordable: ClassVar[bool] = True

    def update_state(self, y_true: Any, y_pred: Any) -> None:
        pred = _pairs(self.name, y_pred)
        ops.count_matches("categorical", pred, _targets(self.name, y_true, pred), self.state)


class BinaryAccuracy(Metric):
    """Share of answers on the right side of the threshold.

    Args:
        threshold: between no and yes.

    Shape:
        y_true, y_pred: the same.

    Example:
        >>> fastnn.metrics.BinaryAccuracy()([[1], [0]], [[0.9], [0.8]])
        0.5
    """

    recordable: ClassVar[bool] = True

    def __init__(self, name: str | None = None, threshold: float = 0.5) -> None:
        super().__init__(name)
        self.threshold = checks.number(type(self).__name__, "threshold", threshold)

    def update_state(self, y_true: Any, y_pred: Any) -> None:
        pred = _pairs(self.name, y_pred)
        ops.count_matches("binary", pred, _targets(self.name, y_true, pred), self.state, self.threshold)

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.threshold)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "threshold": self.threshold}


class MeanSquaredError(Metric):
    """Mean of squared differences.

    Example:
        >>> fastnn.metrics.MeanSquaredError()([[0.0]], [[0.5]])
        0.25
    """

    recordable: ClassVar[bool] = True
    kind: ClassVar[str] = SquaredLoss.kind

    def update_state(self, y_true: Any, y_pred: Any) -> None:
        pred = _pairs(self.name, y_pred)
        losses, _ = ops.elementwise_loss(
            self.kind, pred, _targets(self.name, y_true, pred), scale=1.0, need_gradient=False
        )
        ops.mean_update(losses, self.state)


class MeanAbsoluteError(MeanSquaredError):
    """Mean of absolute differences.

    Example:
        >>> fastnn.metrics.MeanAbsoluteError()([[0.0]], [[0.5]])
        0.5
    """

    recordable: ClassVar[bool] = True
    kind: ClassVar[str] = AbsoluteLoss.kind


_BY_NAME: dict[str, type[Metric]] = {
    snake_case(c.__name__): c
    for c in (Mean, SparseCategoricalAccuracy, CategoricalAccuracy, BinaryAccuracy, MeanSquaredError, MeanAbsoluteError)
}
_ALIASES = {"mse": "mean_squared_error", "mae": "mean_absolute_error"}
ACCURACY = ("accuracy", "acc")


def get(identifier: str | Metric, *, labels: bool = False, columns: int | None = None) -> Metric:
    """Return a new metric from its name; a Metric is returned as it is.

    "accuracy" is the accuracy that fits: SparseCategoricalAccuracy for class numbers (`labels`), BinaryAccuracy for one column of
    predictions, else CategoricalAccuracy; it keeps the name it was asked for by.
    """
    if isinstance(identifier, Metric):
        return identifier
    if not isinstance(identifier, str):
        checks.fail_type(
            "metric",
            "a name or a Metric",
            checks.describe(identifier),
            "for a function of your own subclass fastnn.metrics.Metric",
        )
    if identifier in ACCURACY:
        cls = SparseCategoricalAccuracy if labels else BinaryAccuracy if columns == 1 else CategoricalAccuracy
        return cls(identifier)
    key = identifier if identifier in _BY_NAME else snake_case(identifier)
    valid = [*_BY_NAME, *_ALIASES, *ACCURACY]
    name = checks.one_of("metric", "name", key, valid)
    return _BY_NAME[_ALIASES.get(name, name)](identifier if identifier in _ALIASES else None)


def serialize(metric: Metric) -> dict[str, Any]:
    """Return the metric as plain data."""
    return {"class": type(metric).__name__, "config": metric.get_config()}


def deserialize(data: dict[str, Any]) -> Metric:
    """Return a new metric from what `serialize` returned."""
    return _BY_NAME[checks.one_of("metric", "class", snake_case(str(data["class"])), sorted(_BY_NAME))](
        **data["config"]
    )
