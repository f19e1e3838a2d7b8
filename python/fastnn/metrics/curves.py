"""Curves over thresholds: the area under them, and one share where another is at least so large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from fastnn import checks, ops
from fastnn.metrics.base import predictions
from fastnn.metrics.outcomes import Counts, Outcomes, quotient

CURVES = ("ROC", "PR", "PRGAIN")
SUMMATIONS = ("interpolation", "minoring", "majoring")
MOST_THRESHOLDS = 2**24  # float32 tells no more apart in [0.5, 1]
MARGIN = 1e-7  # beyond 0 and 1, for the outermost thresholds


class AUC(Outcomes):
    """Area under a curve of shares over thresholds, by sums over the thresholds.

    ROC: share of true positives over that of false positives. PR: precision over recall. PRGAIN: their gains over always yes.

    Args:
        num_thresholds: how many, evenly over [0, 1]; >= 2. With more the area is more exact.
        curve: "ROC", "PR" or "PRGAIN".
        summation_method: "interpolation" (trapezoids; for PR along the true precision between two points), "minoring" (the lower
            of two points counts) or "majoring".
        name: the key in logs.
        dtype: see `Metric`.
        thresholds: numbers in [0, 1] instead of evenly spaced ones.
        multi_label: whether every column is a question of its own, whose areas are averaged.
        num_labels: columns, with multi_label; None finds out.
        label_weights: of the columns: of their areas with multi_label, else of their counts.
        from_logits: whether y_pred is before the sigmoid.

    Example:
        >>> round(fastnn.metrics.AUC(num_thresholds=3)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9]), 4)
        0.75
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ) -> None:
        who = type(self).__name__
        count = checks.integer(who, "num_thresholds", num_thresholds, 2, MOST_THRESHOLDS)
        if thresholds is None:
            between = np.linspace(0, 1, count)[1:-1]
        else:
            given = checks.several(who, "thresholds", thresholds)
            between = np.sort([checks.number(who, "thresholds", t, 0.0, 1.0) for t in given])
        super().__init__([-MARGIN, *between.tolist(), 1 + MARGIN], name, dtype)
        self.given_thresholds = None if thresholds is None else between.tolist()
        self.curve = checks.one_of(who, "curve", curve, CURVES)
        self.summation_method = checks.one_of(who, "summation_method", summation_method, SUMMATIONS)
        self.multi_label = checks.boolean(who, "multi_label", multi_label)
        self.num_labels = None if num_labels is None else checks.integer(who, "num_labels", num_labels, 1)
        self.label_weights = None if label_weights is None else checks.float32(who, "label_weights", label_weights)
        self.from_logits = checks.boolean(who, "from_logits", from_logits)
        if self.num_labels is not None and not self.multi_label:
            checks.fail(who, "multi_label=True with num_labels", "multi_label=False")

    def build(self, columns: int) -> None:
        """Make the state for predictions of this many columns, where it depends on that."""
        if self.num_labels not in (None, columns):
            checks.fail(self.name, f"y_pred of num_labels={self.num_labels} columns", columns)
        if self.label_weights is not None and self.label_weights.shape != (columns,):
            checks.fail(self.name, f"label_weights of shape ({columns},)", self.label_weights.shape)
        super().build(columns)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into account."""
        pred = predictions(self.name, y_pred)
        if self.from_logits:
            pred = ops.activation_forward(pred, "sigmoid")
        self.count(y_true, pred, sample_weight, None if self.multi_label else self.label_weights)

    @property
    def by_column(self) -> bool:  # type: ignore[override]
        """Whether every column has counts of its own."""
        return self.multi_label

    def result(self) -> float:
        """Return the area over all batches since the last reset."""
        interpolated = self.curve == "PR" and self.summation_method == "interpolation"
        areas = (self._interpolated() if interpolated else self._summed()).sum(axis=-1)
        if self.multi_label and self.label_weights is not None and self.columns is not None:
            return float(quotient((areas * self.label_weights).sum(), self.label_weights.sum(dtype=np.float64)))
        return float(areas.mean())

    def _summed(self) -> Counts:
        """Return the areas of the rectangles or trapezoids between two thresholds."""
        tp, fp, tn, fn = self.outcomes()
        if self.curve == "ROC":
            x, y = quotient(fp, fp + tn), quotient(tp, tp + fn)
        elif self.curve == "PR":
            x, y = quotient(tp, tp + fn), quotient(tp, tp + fp)
        else:
            odds = quotient(tp + fn, tn + fp)
            x = np.where(tp == 0, 0.0, np.maximum(1 - odds * quotient(fn, tp), 0.0))
            y = np.where(tp == 0, 1.0, 1 - odds * quotient(fp, tp))
        left, right = y[:, :-1], y[:, 1:]
        heights = {
            "interpolation": (left + right) / 2,
            "minoring": np.minimum(left, right),
            "majoring": np.maximum(left, right),
        }
        areas: Counts = (x[:, :-1] - x[:, 1:]) * heights[self.summation_method]
        return areas

    def _interpolated(self) -> Counts:
        """Return the areas under precision over recall between two thresholds, true and false positives varying linearly there.

        With TP = TP_B + s (P - P_B), P = TP + FP, the integral of TP / P is s (dTP + (TP_B - s P_B) log(P_A / P_B)) / all.
        """
        tp, fp, _, fn = self.outcomes()
        p = tp + fp
        rise, run = tp[:, :-1] - tp[:, 1:], p[:, :-1] - p[:, 1:]
        slope = quotient(rise, run)
        intercept = tp[:, 1:] - slope * p[:, 1:]
        both = (p[:, :-1] > 0) & (p[:, 1:] > 0)
        ratio = np.divide(p[:, :-1], p[:, 1:], out=np.ones_like(run), where=both)
        areas: Counts = quotient(slope * (rise + intercept * np.log(ratio)), tp[:, 1:] + fn[:, 1:])
        return areas

    def step_key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured of this metric's settings."""
        return (*super().step_key(), self.multi_label, self.from_logits, id(self.label_weights))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        return {
            "num_thresholds": self.levels.size,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "thresholds": self.given_thresholds,
            "multi_label": self.multi_label,
            "num_labels": self.num_labels,
            "label_weights": None if self.label_weights is None else self.label_weights.tolist(),
            "from_logits": self.from_logits,
            **super().get_config(),
        }


class _AtLeast(Outcomes):
    """The best of one share among the thresholds at which another is at least `value`."""

    constraint: ClassVar[str]

    def __init__(self, value: float, num_thresholds: int, class_id: int | None, name: str | None, dtype: Any) -> None:
        who = type(self).__name__
        self.value = checks.number(who, self.constraint, value, 0.0, 1.0)
        count = checks.integer(who, "num_thresholds", num_thresholds, 1, MOST_THRESHOLDS)
        levels = [0.5] if count == 1 else np.linspace(0, 1, count).tolist()
        super().__init__(levels, name, dtype, class_id=class_id)

    def shares(self) -> tuple[Counts, Counts]:
        """Return the share that must be large, and the one that is the result."""
        raise TypeError(checks.message(type(self).__name__, "a class with shares", "none"))

    def result(self) -> float:
        """Return the best share over all batches since the last reset, 0 if no threshold will do."""
        given, wanted = self.shares()
        fits = given[0] >= self.value
        return float(wanted[0][fits].max()) if fits.any() else 0.0

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        mine = {self.constraint: self.value, "num_thresholds": self.levels.size, "class_id": self.class_id}
        return {**mine, **super().get_config()}


class SensitivityAtSpecificity(_AtLeast):
    """The best sensitivity, TP / (TP + FN), among the thresholds with at least this specificity, TN / (TN + FP).

    Args:
        specificity: in [0, 1].
        num_thresholds: how many, evenly over [0, 1].
        class_id: the only column to look at, or None for all.
        name: the key in logs.
        dtype: see `Metric`.

    Example:
        >>> fastnn.metrics.SensitivityAtSpecificity(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
        0.5
    """

    constraint: ClassVar[str] = "specificity"

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(specificity, num_thresholds, class_id, name, dtype)

    def shares(self) -> tuple[Counts, Counts]:
        """Return the share that must be large, and the one that is the result."""
        tp, fp, tn, fn = self.outcomes()
        return quotient(tn, tn + fp), quotient(tp, tp + fn)


class SpecificityAtSensitivity(_AtLeast):
    """The best specificity, TN / (TN + FP), among the thresholds with at least this sensitivity, TP / (TP + FN).

    Args:
        sensitivity: in [0, 1].
        num_thresholds: how many, evenly over [0, 1].
        class_id: the only column to look at, or None for all.
        name: the key in logs.
        dtype: see `Metric`.

    Example:
        >>> round(fastnn.metrics.SpecificityAtSensitivity(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8]), 4)
        0.6667
    """

    constraint: ClassVar[str] = "sensitivity"

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)

    def shares(self) -> tuple[Counts, Counts]:
        """Return the share that must be large, and the one that is the result."""
        tp, fp, tn, fn = self.outcomes()
        return quotient(tp, tp + fn), quotient(tn, tn + fp)


class PrecisionAtRecall(_AtLeast):
    """The best precision, TP / (TP + FP), among the thresholds with at least this recall, TP / (TP + FN).

    Args:
        recall: in [0, 1].
        num_thresholds: how many, evenly over [0, 1].
        class_id: the only column to look at, or None for all.
        name: the key in logs.
        dtype: see `Metric`.

    Example:
        >>> fastnn.metrics.PrecisionAtRecall(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
        0.5
    """

    constraint: ClassVar[str] = "recall"

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(recall, num_thresholds, class_id, name, dtype)

    def shares(self) -> tuple[Counts, Counts]:
        """Return the share that must be large, and the one that is the result."""
        tp, fp, _, fn = self.outcomes()
        return quotient(tp, tp + fn), quotient(tp, tp + fp)


class RecallAtPrecision(_AtLeast):
    """The best recall, TP / (TP + FN), among the thresholds with at least this precision, TP / (TP + FP).

    Args:
        precision: in [0, 1].
        num_thresholds: how many, evenly over [0, 1].
        class_id: the only column to look at, or None for all.
        name: the key in logs.
        dtype: see `Metric`.

    Example:
        >>> fastnn.metrics.RecallAtPrecision(0.8)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
        0.5
    """

    constraint: ClassVar[str] = "precision"

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(precision, num_thresholds, class_id, name, dtype)

    def shares(self) -> tuple[Counts, Counts]:
        """Return the share that must be large, and the one that is the result."""
        tp, fp, _, fn = self.outcomes()
        return quotient(tp, tp + fp), quotient(tp, tp + fn)
