"""Losses of distributions: Kullback-Leibler divergence and Poisson."""

from __future__ import annotations

from typing import ClassVar

from fastnn.losses.elementwise import ElementLoss


class KLDivergence(ElementLoss):
    """Kullback-Leibler divergence of predicted probabilities from true ones.

    loss = sum over the last axis of y_true log(y_true / y_pred), both clipped to [1e-7, 1]

    Args:
        reduction: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none" or None; see `Loss`.

    Shape:
        y_true, y_pred: (N, ..., classes).

    Reference:
        Kullback & Leibler (1951), On information and sufficiency.

    Example:
        >>> round(float(fastnn.losses.KLDivergence()([[0.5, 0.5]], [[0.25, 0.75]])), 6)
        0.143841
    """

    recordable: ClassVar[bool] = True
    kind: ClassVar[str] = "kl_divergence"
    sums: ClassVar[bool] = True


class Poisson(ElementLoss):
    """Negative log-likelihood of counts, but for a constant, under a Poisson distribution with mean y_pred.

    loss = mean over the last axis of y_pred - y_true log(y_pred + 1e-7)

    Args:
        reduction: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none" or None; see `Loss`.

    Shape:
        y_true, y_pred: (N, ..., D), y_pred >= 0; below -1e-7 the loss is NaN.

    Example:
        >>> round(float(fastnn.losses.Poisson()([[1.0]], [[2.0]])), 6)
        1.306853
    """

    recordable: ClassVar[bool] = True
    kind: ClassVar[str] = "poisson"
