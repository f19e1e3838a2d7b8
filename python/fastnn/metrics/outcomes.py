"""Right and wrong answers by threshold: true positives and their kin, precision, recall, F scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, ops
from fastnn.metrics.base import Metric, predictions, truth_of, weights_of

Counts = NDArray[np.float64]


def quotient(a: Any, b: Any) -> Any:
    """Return a / b, 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(np.shape(a), np.shape(b))), where=np.asarray(b) != 0)


class Outcomes(Metric):
    """Counts of right and wrong answers for every threshold: state[group, should it be yes, thresholds below the prediction].

    A prediction above a threshold says yes. A target above 0.5 says that it should; class numbers do so for their column.
    """

    recordable: ClassVar[bool] = True
    by_column: ClassVar[bool] = False  # one group for every column of the predictions, else one for all

    def __init__(
        self,
        thresholds: Any,
        name: str | None,
        dtype: Any,
        top_k: int | None = None,
        class_id: int | None = None,
    ) -> None:
        super().__init__(name, dtype)
        who = type(self).__name__
        several = isinstance(thresholds, (Sequence, np.ndarray)) and not isinstance(thresholds, str)
        given = [checks.number(who, "thresholds", t) for t in thresholds] if several else [thresholds]
        if several and not given:
            checks.fail(who, "at least one threshold", "none")
        self.single = not several
        self.order = np.argsort(given, kind="stable")
        self.levels = np.ascontiguousarray(np.asarray(given, np.float64)[self.order], np.float32)
        self.top_k = None if top_k is None else checks.integer(who, "top_k", top_k, 1)
        self.class_id = None if class_id is None else checks.integer(who, "class_id", class_id, 0)
        self.columns: int | None = None
        self.state = np.zeros((1, 2, self.levels.size + 1))

    def build(self, columns: int) -> None:
        """Make the state for predictions of this many columns, where it depends on that."""
        if self.class_id is not None and self.class_id >= columns:
            checks.fail(self.name, f"class_id below the {columns} columns of y_pred", self.class_id)
        groups = columns if self.by_column else 1
        if len(self.state) != groups:
            if self.state.any():
                checks.fail(self.name, f"y_pred of {len(self.state)} columns, as before", columns, "call reset_state()")
            self.state = np.zeros((groups, *self.state.shape[1:]))
        self.columns = columns

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into account."""
        self.count(y_true, predictions(self.name, y_pred), sample_weight)

    def count(self, y_true: Any, pred: Any, sample_weight: Any, column_weights: Any = None) -> None:
        """Add rows of predictions to the state."""
        if self.columns != pred.shape[1]:
            self.build(pred.shape[1])
        truth, weights = truth_of(self.name, y_true, pred), weights_of(self.name, sample_weight, len(pred))
        if self.top_k is not None:
            pred = ops.keep_largest(pred, self.top_k)
        column = -1 if self.class_id is None else self.class_id
        ops.count_outcomes(
            pred, truth, self.levels, self.state, weights, column_weights, column=column, by_column=self.by_column
        )

    def above(self) -> Counts:
        """Return state[group, positive] summed over the predictions above each threshold."""
        return np.cumsum(self.state[..., :0:-1], axis=-1)[..., ::-1]

    def outcomes(self) -> tuple[Counts, Counts, Counts, Counts]:
        """Return true positives, false positives, true negatives, false negatives; each (groups, thresholds)."""
        yes, total = self.above(), self.state.sum(axis=-1, keepdims=True)
        return yes[:, 1], yes[:, 0], (total - yes)[:, 0], (total - yes)[:, 1]

    def as_given(self, values: Counts) -> Any:
        """Return one number, or an array in the order in which the thresholds were given."""
        if self.single:
            return float(values[0])
        result = np.empty_like(values)
        result[self.order] = values
        return result

    def step_key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured of this metric's settings."""
        return (*super().step_key(), self.top_k, self.class_id, id(self.levels))

    def thresholds_as_given(self) -> Any:
        """Return the thresholds as plain data."""
        values = [float(t) for t in np.asarray(self.as_given_levels())]
        return values[0] if self.single else values

    def as_given_levels(self) -> Counts:
        """Return the thresholds in the order in which they were given."""
        result = np.empty(self.levels.size)
        result[self.order] = self.levels
        return result


class TruePositives(Outcomes):
    """How many of the predictions say yes rightly, by weight.

    Args:
        thresholds: a number (None: 0.5), or a list of numbers, for one result each.
        name: the key in logs.
        dtype: see `Metric`.

    Example:
        >>> fastnn.metrics.TruePositives()([0, 1, 1, 1], [1, 0, 1, 1])
        2.0
    """

    outcome: ClassVar[int] = 0

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(_level(type(self).__name__, thresholds, 0.5), name, dtype)

    def result(self) -> Any:
        """Return the count over all batches since the last reset, an array for a list of thresholds."""
        return self.as_given(self.outcomes()[self.outcome][0])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        return {"thresholds": self.thresholds_as_given(), **super().get_config()}


class FalsePositives(TruePositives):
    """How many of the predictions say yes wrongly, by weight; arguments as of `TruePositives` (thresholds, name, dtype).

    Example:
        >>> fastnn.metrics.FalsePositives()([0, 1, 0, 0], [0, 0, 1, 1])
        2.0
    """

    outcome: ClassVar[int] = 1


class TrueNegatives(TruePositives):
    """How many of the predictions say no rightly, by weight; arguments as of `TruePositives` (thresholds, name, dtype).

    Example:
        >>> fastnn.metrics.TrueNegatives()([0, 1, 0, 0], [1, 1, 0, 0])
        2.0
    """

    outcome: ClassVar[int] = 2


class FalseNegatives(TruePositives):
    """How many of the predictions say no wrongly, by weight; arguments as of `TruePositives` (thresholds, name, dtype).

    Example:
        >>> fastnn.metrics.FalseNegatives()([0, 1, 1, 1], [0, 1, 0, 0])
        2.0
    """

    outcome: ClassVar[int] = 3


class Precision(Outcomes):
    """Share of the predictions that say yes which do so rightly: TP / (TP + FP), 0 if none says yes.

    Args:
        thresholds: a number, or a list of numbers for one result each; None: 0.5, and with top_k no threshold at all.
        top_k: only the k largest predictions of a row may say yes.
        class_id: the only column to look at, or None for all.
        name: the key in logs.
        dtype: see `Metric`.

    Shape:
        y_true: as y_pred, 0 or 1; or (N,) integers for y_pred (N, classes).

    Example:
        >>> round(fastnn.metrics.Precision()([0, 1, 1, 1], [1, 0, 1, 1]), 4)
        0.6667
    """

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        default = 0.5 if top_k is None else -np.inf
        super().__init__(_level(type(self).__name__, thresholds, default), name, dtype, top_k, class_id)

    def share(self, tp: Counts, fp: Counts, fn: Counts) -> Counts:
        """Return the metric of such counts."""
        return quotient(tp, tp + fp)  # type: ignore[no-any-return]

    def result(self) -> Any:
        """Return the share over all batches since the last reset, an array for a list of thresholds."""
        tp, fp, _, fn = self.outcomes()
        return self.as_given(self.share(tp[0], fp[0], fn[0]))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        thresholds = self.thresholds_as_given()
        return {
            "thresholds": None if thresholds == -np.inf else thresholds,
            "top_k": self.top_k,
            "class_id": self.class_id,
            **super().get_config(),
        }


class Recall(Precision):
    """Share of what should be yes that was found: TP / (TP + FN), 0 if nothing should be yes.

    Args:
        thresholds: a number, or a list of numbers for one result each; None: 0.5, and with top_k no threshold at all.
        top_k: only the k largest predictions of a row may say yes.
        class_id: the only column to look at, or None for all.
        name: the key in logs.
        dtype: see `Metric`.

    Example:
        >>> round(fastnn.metrics.Recall()([0, 1, 1, 1], [1, 0, 1, 1]), 4)
        0.6667
    """

    def share(self, tp: Counts, fp: Counts, fn: Counts) -> Counts:
        """Return the metric of such counts."""
        return quotient(tp, tp + fn)  # type: ignore[no-any-return]


def _level(who: str, thresholds: Any, default: float) -> Any:
    if thresholds is None:
        return default
    if isinstance(thresholds, (list, tuple, np.ndarray)):
        return checks.several(who, "thresholds", thresholds)
    return checks.number(who, "thresholds", thresholds)


AVERAGES = ("micro", "macro", "weighted")


class FBetaScore(Outcomes):
    """Harmonic mean of precision and recall, recall counting beta^2 times: (1 + b^2) P R / (b^2 P + R), of every class.

    Args:
        average: None for one number per class (an array), "micro" (of all counts together), "macro" (mean over the classes) or
            "weighted" (mean by the number of samples of the classes).
        beta: > 0.
        threshold: in (0, 1]; None: the largest prediction of a row says yes, the others no.
        name: the key in logs.
        dtype: see `Metric`.

    Shape:
        y_true: (N, classes) of 0 and 1 or (N,) integers, y_pred: (N, classes).

    Example:
        >>> metric = fastnn.metrics.FBetaScore(average="macro", beta=2.0, threshold=0.5)
        >>> round(metric([[1, 1, 1], [1, 0, 0], [1, 1, 0]], [[0.2, 0.6, 0.7], [0.2, 0.6, 0.6], [0.6, 0.8, 0.0]]), 4)
        0.709
    """

    by_column: ClassVar[bool] = True
    default_name: ClassVar[str | None] = "fbeta_score"

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        who = type(self).__name__
        level = -np.inf if threshold is None else checks.number(who, "threshold", threshold, above=0.0, maximum=1.0)
        super().__init__(level, name, dtype, top_k=1 if threshold is None else None)
        self.average = None if average is None else checks.one_of(who, "average", average, AVERAGES)
        self.beta = checks.number(who, "beta", beta, above=0.0)

    def result(self) -> Any:
        """Return the score over all batches since the last reset, an array for average=None."""
        tp, fp, _, fn = (counts[:, 0] for counts in self.outcomes())
        support = tp + fn
        if self.average == "micro":
            tp, fp, fn = tp.sum(), fp.sum(), fn.sum()
        b = self.beta**2
        scores = quotient((1 + b) * tp, (1 + b) * tp + b * fn + fp)
        if self.average is None:
            return scores if self.columns is not None else 0.0
        if self.average == "weighted":
            return float(quotient((scores * support).sum(), support.sum()))
        return float(scores.mean())

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        threshold = None if self.top_k else float(self.levels[0])
        return {"average": self.average, "beta": self.beta, "threshold": threshold, **super().get_config()}


class F1Score(FBetaScore):
    """Harmonic mean of precision and recall: 2 P R / (P + R), of every class.

    Args:
        average: None for one number per class (an array), "micro", "macro" or "weighted"; see `FBetaScore`.
        threshold: in (0, 1]; None: the largest prediction of a row says yes, the others no.
        name: the key in logs.
        dtype: see `Metric`.

    Example:
        >>> round(fastnn.metrics.F1Score(average="micro", threshold=0.5)([[1], [0], [1]], [[0.9], [0.8], [0.7]]), 4)
        0.8
    """

    default_name: ClassVar[str | None] = "f1_score"

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        return {key: value for key, value in super().get_config().items() if key != "beta"}
