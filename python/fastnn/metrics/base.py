"""Metric, the base of all metrics; means and sums of values; how truth, predictions and weights become rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, ops
from fastnn.axes import axes_of, to_rows
from fastnn.checks import Float32
from fastnn.names import snake_case
from fastnn.settings import Settings, missing

DTYPES = ("float32", "float64", "int32", "int64")


class Metric(Settings):
    """A number over all samples seen since `reset_state`: state[0] / state[1].

    A subclass writes `update_state` (and `result` if it is not that quotient). Written in Python, it makes every step go through
    Python; those of fastnn are part of recorded steps. To be used in `weighted_metrics` it takes a third argument, sample_weight.

    Args:
        name: the key in logs; None makes one from the class.
        dtype: taken as Keras has it; sums are float64 whatever it is.

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
    default_name: ClassVar[str | None] = None  # None: from the class
    axis: int = -1  # of the predictions: where the classes are, or the numbers of a vector

    if not TYPE_CHECKING:  # a type checker would take any attribute for a known one
        __getattr__ = missing

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        if dtype is not None:
            checks.one_of(type(self).__name__, "dtype", dtype, DTYPES)
        self.name = checks.name(type(self).__name__, name) or self.default_name or snake_case(type(self).__name__)
        self.state = np.zeros(2, np.float64)

    def _choose_axis(self, axis: Any) -> None:
        """Take the argument `axis`; in a model it has to be that of the loss."""
        self.axis = checks.integer(type(self).__name__, "axis", axis)

    def _with_axis_last(self, y: Any, like: Any = None) -> Any:
        """Return predictions with `axis` as the last; or a truth that is `like` them, class numbers as they are."""
        if self.axis == -1 or (like is not None and np.ndim(y) != np.ndim(like)):
            return y
        array = y if isinstance(y, np.ndarray) else np.asarray(y)
        axes = axes_of(self.name, self.axis, array.ndim)
        if axes == [0]:
            checks.fail(self.name, "axis of a sample", self.axis, "axis 0 has the samples")
        return to_rows(ops.as_float32(self.name, "y", array), axes)

    def build(self, columns: int) -> None:
        """Make the state for predictions of this many columns, where it depends on that."""

    def update_state(self, y_true: Any, y_pred: Any) -> None:
        """Take a batch into account: y_true as the loss prepared it, y_pred (rows, last axis)."""
        raise TypeError(checks.message(type(self).__name__, "a metric class with an update_state method", "none"))

    def result(self) -> Any:
        """Return the metric over all batches since the last reset (0 if there were none)."""
        total, count = self.state.tolist()
        return float(total / count) if count else 0.0

    def reset_state(self) -> None:
        """Forget all batches."""
        self.state[...] = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Update with a batch and return the result; arguments as of `update_state`."""
        self.update_state(*args, **kwargs)
        return self.result()

    def step_key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured of this metric's settings."""
        return (id(self), id(self.state), self.axis)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return a new metric from what `get_config` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} '{self.name}'>"


class Mean(Metric):
    """The mean of values, such as the losses of samples.

    Example:
        >>> import numpy as np
        >>> mean = fastnn.metrics.Mean()
        >>> mean.update_state(np.array([1.0, 2.0], np.float32))
        >>> mean.result()
        1.5
        >>> fastnn.metrics.Mean()([1.0, 2.0], sample_weight=[3.0, 1.0])
        1.25
    """

    recordable: ClassVar[bool] = True

    def update_state(self, values: Any, sample_weight: Any = None, scale: float = 1.0) -> None:
        """Take values, times scale, into account."""
        flat = ops.as_float32(self.name, "values", values).reshape(-1)
        ops.mean_update(flat, self.state, scale, weights_of(self.name, sample_weight, len(flat)))


class Sum(Mean):
    """The sum of values, each times its weight.

    Example:
        >>> fastnn.metrics.Sum()([1.0, 2.0, 4.0])
        7.0
    """

    recordable: ClassVar[bool] = True

    def result(self) -> float:
        """Return the sum over all batches since the last reset."""
        return float(self.state[0])


class MeanMetricWrapper(Metric):
    """The mean of what a function of your own says of every sample; a step that has it goes through Python.

    Args:
        fn: function of (y_true, y_pred) that returns a number per sample, or arrays whose mean that is.
        name: the key in logs; None takes the function's.
        dtype: see `Metric`.
        **kwargs: further arguments of fn.

    Example:
        >>> import numpy as np
        >>> largest = fastnn.metrics.MeanMetricWrapper(lambda y, p: np.abs(y - p).max(axis=-1), name="largest")
        >>> largest(np.zeros((2, 2)), np.array([[1.0, -3.0], [1.0, 0.0]]))
        2.0
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any) -> None:
        if not callable(fn):
            checks.fail_type(type(self).__name__, "fn to be a function", checks.describe(fn))
        super().__init__(name or getattr(fn, "__name__", None), dtype)
        self.fn, self.arguments = fn, kwargs

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into account."""
        values = np.asarray(self.fn(y_true, y_pred, **self.arguments), np.float64)
        rows = values.mean(axis=tuple(range(1, values.ndim))) if values.ndim > 1 else values.reshape(-1)
        weights = weights_of(self.name, sample_weight, len(rows))
        self.state += (rows.sum(), rows.size) if weights is None else ((weights * rows).sum(), weights.sum())

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        return {"fn": self.fn, "name": self.name, **self.arguments}


# ---------------------------------------------------------------- rows


def predictions(who: str, y_pred: Any) -> Float32:
    """Return predictions as (rows, columns)."""
    pred = ops.as_float32(who, "y_pred", y_pred)
    return pred.reshape(-1, pred.shape[-1]) if pred.ndim > 1 else pred.reshape(-1, 1)


def labels(who: str, y_true: Any, rows: int) -> NDArray[np.int32]:
    """Return class numbers, one per row."""
    if not (isinstance(y_true, np.ndarray) and y_true.dtype == np.int32):
        given = checks.array(who, "y_true", y_true)
        with np.errstate(invalid="ignore"):
            y_true = np.ascontiguousarray(given, np.int32)
        if (y_true != given).any():
            checks.fail(who, "class numbers", "fractions, NaN or numbers beyond 32 bits")
    if y_true.size != rows:
        checks.fail(
            who, f"{rows} integer labels", f"shape {y_true.shape}", "one-hot targets go with CategoricalAccuracy"
        )
    result: NDArray[np.int32] = y_true.reshape(-1)
    return result


def targets(who: str, y_true: Any, pred: Float32) -> Float32:
    """Return targets of the predictions' shape."""
    truth = ops.as_float32(who, "y_true", y_true)
    if truth.size != pred.size:
        checks.fail(who, f"y_true with the predictions' {pred.size} values", f"shape {truth.shape}")
    return truth.reshape(pred.shape)


def truth_of(who: str, y_true: Any, pred: Float32, besides: int | None = None) -> NDArray[Any]:
    """Return class numbers (int32, one per row of several columns) or targets of the predictions' shape, whichever y_true is.

    besides: a class number that is allowed although there is no column of it.
    """
    rows, columns = pred.shape
    given = y_true if isinstance(y_true, np.ndarray) else checks.array(who, "y_true", y_true)
    if columns == 1 or given.size != rows or given.dtype.kind not in "iu":
        return targets(who, given, pred)
    result = labels(who, given, rows)
    if not ops.planning() and rows:  # the buffers of a plan hold nothing
        known = result if besides is None else result[result != besides]
        if known.size and not 0 <= known.min() <= known.max() < columns:
            checks.fail(who, f"class numbers from 0 to {columns - 1}", f"{known.min()} to {known.max()}")
    return result


def weights_of(who: str, sample_weight: Any, rows: int) -> Float32 | None:
    """Return one weight per row, from one for all, one per sample or one per row."""
    if sample_weight is None:
        return None
    weights = ops.as_float32(who, "sample_weight", sample_weight)
    if weights.size == rows:
        return weights.reshape(-1)
    if weights.size == 0 or rows % weights.size:
        checks.fail(who, f"sample_weight of {rows} values, or one per sample", f"shape {weights.shape}")
    return np.repeat(weights.reshape(-1), rows // weights.size)


class MeanOfRows(Metric):
    """The mean of what a kernel of `ops.score_rows` says of every row."""

    recordable: ClassVar[bool] = True
    kind: ClassVar[str]

    def options(self) -> dict[str, Any]:
        """Return further arguments of the kernel."""
        return {}

    def kernel(self) -> str:
        """Return which kernel it is."""
        return self.kind

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into account."""
        pred = predictions(self.name, self._with_axis_last(y_pred))
        truth = truth_of(self.name, self._with_axis_last(y_true, y_pred), pred)
        values = ops.score_rows(self.kernel(), pred, truth, **self.options())
        ops.mean_update(values, self.state, weights=weights_of(self.name, sample_weight, len(pred)))

    def step_key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured of this metric's settings."""
        return (*super().step_key(), self.kernel(), *self.options().values())
