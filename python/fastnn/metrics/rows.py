"""Means of a number per sample: errors of values, hinges, divergences of probabilities."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from fastnn import checks, ops
from fastnn.metrics.base import MeanOfRows, labels, predictions, truth_of, weights_of


class MeanSquaredError(MeanOfRows):
    """Mean of squared differences.

    Example:
        >>> fastnn.metrics.MeanSquaredError()([[0.0]], [[0.5]])
        0.25
    """

    kind: ClassVar[str] = "squared_error"


class RootMeanSquaredError(MeanOfRows):
    """Square root of the mean of squared differences.

    Example:
        >>> fastnn.metrics.RootMeanSquaredError()([[0.0], [0.0]], [[0.5], [-0.5]])
        0.5
    """

    kind: ClassVar[str] = "squared_error"

    def result(self) -> float:
        """Return the metric over all batches since the last reset (0 if there were none)."""
        return math.sqrt(super().result())


class MeanAbsoluteError(MeanOfRows):
    """Mean of absolute differences.

    Example:
        >>> fastnn.metrics.MeanAbsoluteError()([[0.0]], [[0.5]])
        0.5
    """

    kind: ClassVar[str] = "absolute_error"


class MeanAbsolutePercentageError(MeanOfRows):
    """Mean of 100 |y_true - y_pred| / |y_true|; the divisor is at least 1e-7.

    Example:
        >>> fastnn.metrics.MeanAbsolutePercentageError()([[2.0]], [[1.5]])
        25.0
    """

    kind: ClassVar[str] = "absolute_percentage_error"


class MeanSquaredLogarithmicError(MeanOfRows):
    """Mean of (log(1 + y_true) - log(1 + y_pred))^2; values below 1e-7 count as 1e-7.

    Example:
        >>> round(fastnn.metrics.MeanSquaredLogarithmicError()([[0.0]], [[1.0]]), 6)
        0.480453
    """

    kind: ClassVar[str] = "squared_logarithmic_error"


class LogCoshError(MeanOfRows):
    """Mean of log(cosh(y_pred - y_true)).

    Example:
        >>> round(fastnn.metrics.LogCoshError()([[0.0]], [[1.0]]), 6)
        0.433781
    """

    kind: ClassVar[str] = "log_cosh"
    default_name: ClassVar[str | None] = "logcosh"


class CosineSimilarity(MeanOfRows):
    """Mean cosine of the angle between rows of truth and predictions, from -1 to 1.

    Args:
        name: the key in logs.
        dtype: see `Metric`.
        axis: of the vectors; in a model that of the loss.

    Example:
        >>> fastnn.metrics.CosineSimilarity()([[3.0, 0.0]], [[2.0, 0.0]])
        1.0
    """

    kind: ClassVar[str] = "cosine_similarity"

    def __init__(self, name: str | None = None, dtype: Any = None, axis: int = -1) -> None:
        super().__init__(name, dtype)
        self._choose_axis(axis)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        return {**super().get_config(), "axis": self.axis}


class Hinge(MeanOfRows):
    """Mean of max(1 - y_true y_pred, 0); y_true is -1 or 1, and 0 counts as -1.

    Example:
        >>> fastnn.metrics.Hinge()([[1.0], [-1.0]], [[0.5], [1.0]])
        1.25
    """

    kind: ClassVar[str] = "hinge"


class SquaredHinge(MeanOfRows):
    """Mean of max(1 - y_true y_pred, 0)^2; y_true is -1 or 1, and 0 counts as -1.

    Example:
        >>> fastnn.metrics.SquaredHinge()([[1.0], [-1.0]], [[0.5], [1.0]])
        2.125
    """

    kind: ClassVar[str] = "squared_hinge"


class CategoricalHinge(MeanOfRows):
    """Mean of max(the largest wrong prediction - the right one + 1, 0).

    Shape:
        y_true: (N, classes) one-hot or (N,) integers, y_pred: (N, classes).

    Example:
        >>> fastnn.metrics.CategoricalHinge()([[0.0, 1.0]], [[0.5, 0.25]])
        1.25
    """

    kind: ClassVar[str] = "categorical_hinge"


class Poisson(MeanOfRows):
    """Mean of y_pred - y_true log(y_pred).

    Example:
        >>> fastnn.metrics.Poisson()([[0.0]], [[2.0]])
        2.0
    """

    kind: ClassVar[str] = "poisson"


class KLDivergence(MeanOfRows):
    """Mean over the rows of the sum of y_true log(y_true / y_pred), both clipped to [1e-7, 1].

    Example:
        >>> round(fastnn.metrics.KLDivergence()([[0.5, 0.5]], [[0.25, 0.75]]), 6)
        0.143841
    """

    kind: ClassVar[str] = "kl_divergence"


class BinaryCrossentropy(MeanOfRows):
    """Mean cross-entropy of yes-or-no answers.

    Args:
        name: the key in logs.
        dtype: see `Metric`.
        from_logits: whether y_pred is before the sigmoid.
        label_smoothing: s makes targets y_true (1 - s) + s / 2; in [0, 1].

    Example:
        >>> round(fastnn.metrics.BinaryCrossentropy()([[0.0]], [[0.1192]]), 6)
        0.126925
    """

    kind: ClassVar[str] = "binary_crossentropy"
    on_logits: ClassVar[str] = "sigmoid_crossentropy"

    def __init__(
        self, name: str | None = None, dtype: Any = None, from_logits: bool = False, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(name, dtype)
        self.from_logits = checks.boolean(type(self).__name__, "from_logits", from_logits)
        self.label_smoothing = checks.number(type(self).__name__, "label_smoothing", label_smoothing, 0.0, 1.0)

    def kernel(self) -> str:
        """Return which kernel it is."""
        return self.on_logits if self.from_logits else self.kind

    def options(self) -> dict[str, Any]:
        """Return further arguments of the kernel."""
        return {"smoothing": self.label_smoothing}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        more = {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing}
        return {**super().get_config(), **more}


class CategoricalCrossentropy(BinaryCrossentropy):
    """Mean cross-entropy of probabilities of classes; as the loss, it takes them as they are, clipped to [1e-7, 1 - 1e-7].

    Args:
        name: the key in logs.
        dtype: see `Metric`.
        from_logits: whether y_pred is before the softmax.
        label_smoothing: s makes targets y_true (1 - s) + s / classes; in [0, 1].
        axis: of the classes; in a model that of the loss.

    Example:
        >>> round(fastnn.metrics.CategoricalCrossentropy()([[0.0, 1.0]], [[0.25, 0.75]]), 4)
        0.2877
    """

    kind: ClassVar[str] = "categorical_crossentropy"
    on_logits: ClassVar[str] = "softmax_crossentropy"

    def __init__(
        self,
        name: str | None = None,
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype, from_logits, label_smoothing)
        self._choose_axis(axis)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        return {**super().get_config(), "axis": self.axis}


class SparseCategoricalCrossentropy(MeanOfRows):
    """Mean cross-entropy, targets being class numbers.

    Args:
        name: the key in logs.
        dtype: see `Metric`.
        from_logits: whether y_pred is before the softmax.
        ignore_class: a class number whose samples are left out, or None.
        axis: of the classes; in a model that of the loss.

    Shape:
        y_true: (N,) integers, y_pred: (N, classes).

    Example:
        >>> round(fastnn.metrics.SparseCategoricalCrossentropy()([1], [[0.25, 0.75]]), 4)
        0.2877
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        name: str | None = None,
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype)
        self._choose_axis(axis)
        who = type(self).__name__
        self.from_logits = checks.boolean(who, "from_logits", from_logits)
        self.ignored = None if ignore_class is None else checks.integer(who, "ignore_class", ignore_class)

    def kernel(self) -> str:
        """Return which kernel it is."""
        return "softmax_crossentropy" if self.from_logits else "categorical_crossentropy"

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into account."""
        pred = predictions(self.name, self._with_axis_last(y_pred))
        truth = truth_of(self.name, labels(self.name, y_true, len(pred)), pred, self.ignored)
        weights = weights_of(self.name, sample_weight, len(pred))
        if self.ignored is not None:
            kept = ops.score_rows("unlike_label", pred, truth, k=self.ignored)
            weights = kept if weights is None else ops.multiply(kept, weights)
        ops.mean_update(ops.score_rows(self.kernel(), pred, truth), self.state, weights=weights)

    def step_key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured of this metric's settings."""
        return (*super().step_key(), self.ignored)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        own = {"from_logits": self.from_logits, "ignore_class": self.ignored, "axis": self.axis}
        return {**super().get_config(), **own}


class Perplexity(SparseCategoricalCrossentropy):
    """How many equally likely classes would be as hard to guess: exp of the mean cross-entropy.

    Args:
        from_logits: whether y_pred is before the softmax.
        mask_token_id: a class number (such as that of the padding) whose places are left out, or None.
        name: the key in logs.
        dtype: see `Metric`.

    Shape:
        y_true: (N, ...) integers, y_pred: (N, ..., classes).

    Example:
        >>> round(fastnn.metrics.Perplexity()([0, 1], [[0.25, 0.75], [0.75, 0.25]]), 4)
        4.0
    """

    def __init__(
        self,
        from_logits: bool = False,
        mask_token_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, dtype, from_logits, mask_token_id)

    def result(self) -> float:
        """Return the metric over all batches since the last reset (0 if there were none)."""
        with np.errstate(over="ignore"):
            return float(np.exp(super().result())) if self.state[1] else 0.0

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        return {"from_logits": self.from_logits, "mask_token_id": self.ignored, "name": self.name}
