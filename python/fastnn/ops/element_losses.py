"""Losses of one prediction and one target, or of a row of them; targets and weights on their way there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn.checks import Float32
from fastnn.ops.base import INT32, as_float32, check_rank, check_same_shape, empty, twin

Weights = tuple[float, float]
EVEN: Weights = (1.0, 1.0)


def _rows(who: str, name: str, y_pred: Float32, y_true: Float32) -> Float32:
    """Return predictions (rows, cols) as float32 after checking that the targets have their shape."""
    y_pred = as_float32(who, name, y_pred)
    check_rank(who, name, y_pred, 2)
    check_same_shape(who, "y_true", y_true, y_pred.shape)
    return y_pred


@twin
def elementwise_loss(
    kind: str,
    y_pred: Float32,
    y_true: Float32,
    weights: Float32 | None = None,
    *,
    scale: float,
    need_gradient: bool = True,
    sum_rows: bool = False,
    delta: float = 1.0,
    gamma: float = 2.0,
    class_weights: Weights = EVEN,
) -> tuple[Float32, Float32 | None]:
    """Return (losses, dpred): means, or with sum_rows sums, of rows of the loss named `kind` (`reference.ELEMENT_LOSSES`).

    delta is that of huber, gamma and class_weights (of ones, of zeros) those of the focal losses.
    """
    y_pred = _rows("elementwise_loss", "y_pred", y_pred, y_true)
    losses = empty(y_pred.shape[:1])
    dpred = empty(y_pred.shape) if need_gradient else None
    numbers = (delta, gamma, *class_weights)
    _core.elementwise_loss(kind, y_pred, y_true, weights, None, losses, dpred, scale, sum_rows, numbers)
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
    logits = _rows("sigmoid_cross_entropy", "logits", logits, y_true)
    probs, losses = empty(logits.shape), empty(logits.shape[:1])
    dlogits = empty(logits.shape) if need_gradient else None
    numbers = (1.0, 0.0, *EVEN)
    _core.elementwise_loss(
        "sigmoid_crossentropy", logits, y_true, weights, probs, losses, dlogits, scale, False, numbers
    )
    return probs, losses, dlogits


@twin
def sigmoid_focal(
    logits: Float32,
    y_true: Float32,
    weights: Float32 | None = None,
    *,
    gamma: float,
    class_weights: Weights = EVEN,
    scale: float,
    need_gradient: bool = True,
) -> tuple[Float32, Float32, Float32 | None]:
    """Return (probs, losses, dlogits) of the binary focal loss on sigmoid(logits), row means."""
    logits = _rows("sigmoid_focal", "logits", logits, y_true)
    probs, losses = empty(logits.shape), empty(logits.shape[:1])
    dlogits = empty(logits.shape) if need_gradient else None
    numbers = (1.0, gamma, *class_weights)
    _core.elementwise_loss("sigmoid_focal", logits, y_true, weights, probs, losses, dlogits, scale, False, numbers)
    return probs, losses, dlogits


@twin
def softmax_focal(
    logits: Float32,
    y_true: Float32,
    weights: Float32 | None = None,
    *,
    alpha: float,
    gamma: float,
    scale: float,
    need_gradient: bool = True,
) -> tuple[Float32, Float32, Float32 | None]:
    """Return (probs, losses, dlogits) of the focal cross-entropy on softmax(logits)."""
    logits = _rows("softmax_focal", "logits", logits, y_true)
    probs, losses = empty(logits.shape), empty(logits.shape[:1])
    dlogits = empty(logits.shape) if need_gradient else None
    _core.softmax_focal(logits, y_true, weights, probs, losses, dlogits, alpha, gamma, scale)
    return probs, losses, dlogits


@twin
def categorical_hinge(
    y_pred: Float32,
    y_true: Float32,
    weights: Float32 | None = None,
    *,
    scale: float,
    need_gradient: bool = True,
) -> tuple[Float32, Float32 | None]:
    """Return (losses, dpred) of max(largest wrong score - right score + 1, 0)."""
    y_pred = _rows("categorical_hinge", "y_pred", y_pred, y_true)
    losses = empty(y_pred.shape[:1])
    dpred = empty(y_pred.shape) if need_gradient else None
    _core.categorical_hinge(y_pred, y_true, weights, losses, dpred, scale)
    return losses, dpred


@twin
def row_weights(
    rows: int,
    weights: Float32 | None = None,
    *,
    mean_of_one: bool = False,
    labels: NDArray[np.int32] | None = None,
    ignored: int = 0,
) -> tuple[Float32, NDArray[np.int32] | None]:
    """Return (weights, labels) without the rows whose label is `ignored`: their weight and their label are 0.

    mean_of_one: they are scaled so that their mean is 1.
    """
    y, kept = empty((rows,)), None if labels is None else empty((rows,), INT32)
    _core.row_weights(weights, labels, ignored, mean_of_one, y, kept)
    return y, kept


@twin
def smooth_targets(t: Float32, keep: float, share: float) -> Float32:
    """Return keep t + share."""
    t = as_float32("smooth_targets", "t", t)
    y = empty(t.shape)
    _core.smooth_targets(t, y, keep, share)
    return y


@twin
def signed_labels(t: Float32) -> Float32:
    """Return 2 t - 1 if every t is 0 or 1, else a copy of t."""
    t = as_float32("signed_labels", "t", t)
    y = empty(t.shape)
    _core.signed_labels(t, y)
    return y
