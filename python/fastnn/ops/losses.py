"""Cross-entropies and metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core, checks
from fastnn.checks import Float32
from fastnn.ops.base import (
    FLOAT32,
    INT32,
    as_float32,
    check_rank,
    check_same_shape,
    empty,
    twin,
)

MATCHES = ("sparse", "categorical", "binary")


def _check_truth(who: str, y_true: NDArray[Any], pred: Float32, *, in_range: bool = True) -> None:
    """Raise unless y_true is class numbers (within the columns of pred) as int32, or a float32 array of its shape."""
    check_rank(who, "logits" if who == "softmax_cross_entropy" else "y_pred", pred, 2)
    if y_true.dtype not in (INT32, FLOAT32):
        checks.fail_type(who, "y_true as int32 class numbers or float32 targets", f"dtype {y_true.dtype}")
    if y_true.dtype != INT32:
        check_same_shape(who, "y_true", y_true, pred.shape)
        return
    check_same_shape(who, "y_true", y_true, pred.shape[:1])
    if not in_range or _core.planning():  # a plan's buffers hold nothing
        return
    if y_true.size and not 0 <= y_true.min() <= y_true.max() < pred.shape[1]:
        checks.fail(who, f"class numbers from 0 to {pred.shape[1] - 1}", f"{y_true.min()} to {y_true.max()}")


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
    _check_truth("softmax_cross_entropy", y_true, logits)
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
    _check_truth("cross_entropy", y_true, probs)
    losses = empty(probs.shape[:1])
    dprobs = empty(probs.shape) if need_gradient else None
    _core.cross_entropy(probs, y_true, weights, losses, dprobs, scale)
    return losses, dprobs


@twin
def mean_update(
    values: Float32, state: NDArray[np.float64], scale: float = 1.0, weights: Float32 | None = None
) -> None:
    """Add scale times the sum of values to state[0] and their number to state[1]; with weights, of each times its weight."""
    _core.mean_update(values, weights, state, scale)


@twin
def count_matches(
    kind: str,
    y_pred: Float32,
    y_true: NDArray[Any],
    state: NDArray[np.float64],
    threshold: float = 0.5,
    weights: Float32 | None = None,
) -> None:
    """Add the number of right predictions to state[0] and of all to state[1]; kind: sparse, categorical or binary.

    A label that is no column of y_pred never matches. weights: how often every row counts.
    """
    checks.one_of("count_matches", "kind", kind, MATCHES)
    _check_truth("count_matches", y_true, y_pred, in_range=False)
    _core.count_matches(kind, y_pred, y_true, weights, state, threshold)
