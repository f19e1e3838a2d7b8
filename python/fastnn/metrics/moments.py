"""R2Score: how much of the targets' variance the predictions explain."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, ops
from fastnn.metrics.base import Metric, predictions, targets, weights_of

AGGREGATIONS = ("uniform_average", "variance_weighted_average")


class R2Score(Metric):
    """1 - (sum of squared errors) / (sum of squared deviations from the mean target), of every column; 0 where that is 0.

    Args:
        class_aggregation: "uniform_average" (mean over the columns), "variance_weighted_average", or None for an array.
        num_regressors: inputs of the regression, for the adjusted score 1 - (1 - R2)(n - 1) / (n - num_regressors - 1); 0: none.
        name: the key in logs.
        dtype: see `Metric`.

    Shape:
        y_true, y_pred: (N, D).

    Example:
        >>> round(fastnn.metrics.R2Score()([[1], [4], [3]], [[2], [4], [4]]), 4)
        0.5714
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, dtype)
        who, chosen = type(self).__name__, class_aggregation
        self.class_aggregation = (
            None if chosen is None else checks.one_of(who, "class_aggregation", chosen, AGGREGATIONS)
        )
        self.num_regressors = checks.integer(who, "num_regressors", num_regressors, 0)
        self.state: NDArray[np.float64] = np.zeros(
            (4, 1)
        )  # weight, mean, squared deviations, squared errors, of every column

    def build(self, columns: int) -> None:
        """Make the state for predictions of this many columns."""
        if self.state.shape[1] != columns:
            if self.state.any():
                checks.fail(
                    self.name, f"y_pred of {self.state.shape[1]} columns, as before", columns, "call reset_state()"
                )
            self.state = np.zeros((4, columns))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into account."""
        pred = predictions(self.name, y_pred)
        self.build(pred.shape[1])
        weights = weights_of(self.name, sample_weight, len(pred))
        ops.moments_update(pred, targets(self.name, y_true, pred), self.state, weights)

    def result(self) -> Any:
        """Return the score over all batches since the last reset (0 if there were none)."""
        weight, _, deviations, errors = self.state
        scores = 1 - np.divide(errors, deviations, out=np.ones_like(errors), where=deviations > 0)
        score: Any = scores
        if self.class_aggregation == "variance_weighted_average" and deviations.sum():
            score = float((scores * deviations).sum() / deviations.sum())
        elif self.class_aggregation is not None:
            score = float(scores.mean())
        left = weight[0] - self.num_regressors - 1
        if not self.num_regressors or left <= 0:
            return score
        return 1 - (1 - score) * float(weight[0] - 1) / float(left)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        mine = {"class_aggregation": self.class_aggregation, "num_regressors": self.num_regressors}
        return {**mine, **super().get_config()}
