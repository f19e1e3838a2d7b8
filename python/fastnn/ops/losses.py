"""Losses and metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core, checks
from fastnn.checks import Float32
from fastnn.ops.base import (
    as_float32,
    empty,
    twin,
)

MATCHES = ("sparse", "categorical", "binary")


@twin
def softmax_cross_entropy(
    logits: Float32,
    y_true: NDArray[Any],
    weights: Float32 | None = None,
    *,
    scale: float,
    need_gradient: bool = True,
) -> tuple[Float32, Float32, Float32 | None]:
    """Return (probs, losses, dlogits) of cross-entropy on softmax(logits); y_true is int32 labels or float targets."""
    logits = as_float32("softmax_cross_entropy", "logits", logits)
    probs, losses = empty(logits.shape), empty(logits.shape[:1])
    dlogits = empty(logits.shape) if need_gradient else None
    _core.softmax_cross_entropy(logits, y_true, weights, probs, losses, dlogits, scale)
    return probs, losses, dlogits


@twin
def cross_entropy(
    probs: Float32,
    y_true: NDArray[Any],
    weights: Float32 | None = None,
    *,
    scale: float,
    need_gradient: bool = True,
) -> tuple[Float32, Float32 | None]:
    """Return (losses, dprobs) of cross-entropy on probabilities, clipped to [1e-7, 1 - 1e-7]."""
    probs = as_float32("cross_entropy", "probs", probs)
    losses = empty(probs.shape[:1])
    dprobs = empty(probs.shape) if need_gradient else None
    _core.cross_entropy(probs, y_true, weights, losses, dprobs, scale)
    return losses, dprobs


@twin
def elementwise_loss(
    kind: str,
    y_pred: Float32,
    y_true: Float32,
    weights: Float32 | None = None,
    *,
    scale: float,
    need_gradient: bool = True,
) -> tuple[Float32, Float32 | None]:
    """Return (losses, dpred): row means of "squared_error", "absolute_error" or "binary_crossentropy"."""
    y_pred = as_float32("elementwise_loss", "y_pred", y_pred)
    losses = empty(y_pred.shape[:1])
    dpred = empty(y_pred.shape) if need_gradient else None
    _core.elementwise_loss(kind, y_pred, y_true, weights, None, losses, dpred, scale)
    return losses, dpred


@twin
def sigmoid_cross_entropy(
    logits: Float32,
    y_true: Float32,
    weights: Float32 | None = None,
    *,
    scale: float,
    need_gradient: bool = True,
) -> tuple[Float32, Float32, Float32 | None]:
    """Return (probs, losses, dlogits) of binary cross-entropy on sigmoid(logits), row means."""
    logits = as_float32("sigmoid_cross_entropy", "logits", logits)
    probs, losses = empty(logits.shape), empty(logits.shape[:1])
    dlogits = empty(logits.shape) if need_gradient else None
    _core.elementwise_loss("sigmoid_crossentropy", logits, y_true, weights, probs, losses, dlogits, scale)
    return probs, losses, dlogits


@twin
def mean_update(values: Float32, state: NDArray[np.float64], scale: float = 1.0) -> None:
    """Add scale times the sum of values to state[0] and their number to state[1]."""
    _core.mean_update(values, state, scale)


@twin
def count_matches(
    kind: str, y_pred: Float32, y_true: NDArray[Any], state: NDArray[np.float64], threshold: float = 0.5
) -> None:
    """Add the number of right predictions to state[0] and of all to state[1]; kind: sparse, categorical or binary."""
    checks.one_of("count_matches", "kind", kind, MATCHES)
    _core.count_matches(kind, y_pred, y_true, state, threshold)
