"""Correlations between a row of predictions and its truth."""

from __future__ import annotations

from typing import Any, ClassVar

from fastnn import checks
from fastnn.metrics.base import MeanOfRows, predictions


class Correlation(MeanOfRows):
    """A mean over rows of a number that takes at least two values to make."""

    recordable: ClassVar[bool] = True

    def __init__(self, name: str | None = None, dtype: Any = None, axis: int = -1) -> None:
        super().__init__(name, dtype)
        self._choose_axis(axis)

    def build(self, columns: int) -> None:
        """Raise for predictions of one column."""
        check_columns(self.name, columns)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into account."""
        pred = self._with_axis_last(y_pred)
        self.build(predictions(self.name, pred).shape[1])
        super().update_state(y_true, y_pred, sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        return {**super().get_config(), "axis": self.axis}


def check_columns(who: str, columns: int) -> None:
    """Raise unless there are at least two columns: one number varies with nothing."""
    if columns < 2:
        fix = "it is a correlation within every row, not one over the samples"
        checks.fail(who, "at least 2 values along the axis", columns, fix)


class PearsonCorrelation(Correlation):
    """Mean over rows of covariance(t, p) / (deviation(t) deviation(p)), from -1 to 1; 0 for a row where one of them is constant.

    Args:
        name: the key in logs.
        dtype: see `Metric`.
        axis: of the values that are correlated; in a model that of the loss.

    Shape:
        y_true, y_pred: (N, ..., D), D >= 2.

    Raises:
        ValueError: for one value along the axis.

    Example:
        >>> metric = fastnn.metrics.PearsonCorrelation()
        >>> round(metric([[0.0, 1.0, 0.5], [1.0, 1.0, 0.25]], [[0.0, 2.0, 1.0], [-1.0, -1.0, 0.0]]), 6)
        0.0
    """

    kind: ClassVar[str] = "pearson_correlation"


class ConcordanceCorrelation(Correlation):
    """Mean over rows of 2 covariance(t, p) / (variance(t) + variance(p) + (mean(t) - mean(p))^2 + 1e-7), from -1 to 1.

    It is 1 only where predictions and truth are equal, not already where they lie on any rising line.

    Args:
        name: the key in logs.
        dtype: see `Metric`.
        axis: of the values that are correlated; in a model that of the loss.

    Shape:
        y_true, y_pred: (N, ..., D), D >= 2.

    Raises:
        ValueError: for one value along the axis.

    Reference:
        Lin (1989), A concordance correlation coefficient to evaluate reproducibility.

    Example:
        >>> round(fastnn.metrics.ConcordanceCorrelation()([[0.0, 2.0]], [[1.0, 3.0]]), 4)
        0.6667
    """

    kind: ClassVar[str] = "concordance_correlation"
