"""Accuracies: how often the prediction is right."""

from __future__ import annotations

from typing import Any, ClassVar

from fastnn import checks, ops
from fastnn.metrics.base import MeanOfRows, Metric, labels, predictions, targets, weights_of


class Accuracy(MeanOfRows):
    """Share of predictions that are equal to the truth.

    Shape:
        y_true, y_pred: the same.

    Example:
        >>> fastnn.metrics.Accuracy()([[1], [2], [3], [4]], [[0], [2], [3], [4]])
        0.75
    """

    kind: ClassVar[str] = "equal"


class SparseCategoricalAccuracy(Metric):
    """Share of samples whose largest prediction is at their class number.

    Shape:
        y_true: (N,) integers, y_pred: (N, classes).

    Example:
        >>> fastnn.metrics.SparseCategoricalAccuracy()([0, 1], [[0.9, 0.1], [0.8, 0.2]])
        0.5
    """

    recordable: ClassVar[bool] = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into account."""
        pred = predictions(self.name, y_pred)
        truth, weights = labels(self.name, y_true, len(pred)), weights_of(self.name, sample_weight, len(pred))
        ops.count_matches("sparse", pred, truth, self.state, weights=weights)


class CategoricalAccuracy(Metric):
    """Share of samples whose largest prediction is where their largest target is.

    Shape:
        y_true, y_pred: (N, classes).

    Example:
        >>> fastnn.metrics.CategoricalAccuracy()([[1, 0], [0, 1]], [[0.9, 0.1], [0.8, 0.2]])
        0.5
    """

    recordable: ClassVar[bool] = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into account."""
        pred = predictions(self.name, y_pred)
        truth, weights = targets(self.name, y_true, pred), weights_of(self.name, sample_weight, len(pred))
        ops.count_matches("categorical", pred, truth, self.state, weights=weights)


class BinaryAccuracy(Metric):
    """Share of answers on the right side of the threshold.

    Args:
        name: the key in logs.
        dtype: see `Metric`.
        threshold: between no and yes.

    Shape:
        y_true, y_pred: the same.

    Example:
        >>> fastnn.metrics.BinaryAccuracy()([[1], [0]], [[0.9], [0.8]])
        0.5
    """

    recordable: ClassVar[bool] = True

    def __init__(self, name: str | None = None, dtype: Any = None, threshold: float = 0.5) -> None:
        super().__init__(name, dtype)
        self.threshold = checks.number(type(self).__name__, "threshold", threshold)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into account."""
        pred = predictions(self.name, y_pred)
        truth, weights = targets(self.name, y_true, pred), weights_of(self.name, sample_weight, len(pred))
        ops.count_matches("binary", pred, truth, self.state, self.threshold, weights)

    def step_key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured of this metric's settings."""
        return (*super().step_key(), self.threshold)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        return {**super().get_config(), "threshold": self.threshold}


class TopKCategoricalAccuracy(MeanOfRows):
    """Share of samples with less than k predictions above that of the right class.

    Args:
        k: how many guesses a sample has.
        name: the key in logs.
        dtype: see `Metric`.

    Shape:
        y_true: (N, classes) or (N,) integers, y_pred: (N, classes).

    Example:
        >>> metric = fastnn.metrics.TopKCategoricalAccuracy(k=2)
        >>> metric([[0, 0, 1], [1, 0, 0]], [[0.1, 0.7, 0.2], [0.1, 0.7, 0.2]])
        0.5
    """

    kind: ClassVar[str] = "top_k"

    def __init__(self, k: int = 5, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self.k = checks.integer(type(self).__name__, "k", k, 1)

    def options(self) -> dict[str, Any]:
        """Return further arguments of the kernel."""
        return {"k": self.k}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        return {"k": self.k, **super().get_config()}


class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """`TopKCategoricalAccuracy` of class numbers.

    Args:
        k: how many guesses a sample has.
        name: the key in logs.
        dtype: see `Metric`.

    Shape:
        y_true: (N,) integers, y_pred: (N, classes).

    Example:
        >>> fastnn.metrics.SparseTopKCategoricalAccuracy(k=2)([2, 0], [[0.1, 0.7, 0.2], [0.1, 0.7, 0.2]])
        0.5
    """

    recordable: ClassVar[bool] = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into account."""
        pred = predictions(self.name, y_pred)
        super().update_state(labels(self.name, y_true, len(pred)), pred, sample_weight)
