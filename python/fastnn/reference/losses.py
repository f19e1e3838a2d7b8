"""Cross-entropies with their gradients, and the counters behind the metrics.

A loss function returns one loss per row, times the weight of the row; the gradient is that of scale * sum of losses.
"""

from __future__ import annotations

import numpy as np

from .common import Array

_SMALLEST = 1e-7  # probabilities are clipped to [1e-7, 1 - 1e-7] before their log is taken


def _targets(y_true: Array, like: Array) -> Array:
    """Return targets (rows, cols): labels (int32, one per row) become rows of zeros with a one."""
    if y_true.ndim == 2:
        return y_true.astype(like.dtype)
    targets = np.zeros_like(like)
    targets[np.arange(len(y_true)), y_true] = 1
    return targets


def weighted(losses: Array, weights: Array | None) -> Array:
    """Return weight_i losses_i; without weights the losses."""
    return losses if weights is None else weights * losses


def row_factor(weights: Array | None, scale: float) -> Array | float:
    """Return scale weight_i as a column, what the gradient of row i is multiplied by."""
    return scale if weights is None else scale * weights[:, None]


def _entropy(targets: Array, log_p: Array) -> Array:
    """-sum over j of t_ij log p_ij, where 0 log 0 = 0."""
    terms = np.multiply(targets, log_p, out=np.zeros_like(log_p), where=targets != 0)
    total: Array = terms.sum(axis=1)
    return 0.0 - total  # -total would make -0.0 of no loss


def softmax_cross_entropy(
    logits: Array, y_true: Array, weights: Array | None = None, *, scale: float, need_gradient: bool = True
) -> tuple[Array, Array, Array | None]:
    """p = softmax(logits), loss_i = weight_i * -sum_j t_ij log p_ij, dlogits = scale weight_i (p sum_j t_ij - t).

    logits (rows, cols); y_true labels int32 (rows,) or targets t (rows, cols). Returns p, losses, dlogits.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    e = np.exp(shifted)
    total = e.sum(axis=1, keepdims=True)
    probs = e / total
    targets = _targets(y_true, logits)
    losses = weighted(_entropy(targets, shifted - np.log(total)), weights)
    if not need_gradient:
        return probs, losses, None
    dlogits = row_factor(weights, scale) * (probs * targets.sum(axis=1, keepdims=True) - targets)
    return probs, losses, dlogits


def clipped_shares(p: Array) -> tuple[Array, Array]:
    """Return q = min(max(p, 1e-7), 1 - 1e-7), and where it differs from p."""
    low, high = _SMALLEST, 1.0 - _SMALLEST
    return np.clip(p, low, high), (p < low) | (p > high)


def cross_entropy(
    probs: Array, y_true: Array, weights: Array | None = None, *, scale: float, need_gradient: bool = True
) -> tuple[Array, Array | None]:
    """loss_i = weight_i * -sum_j t_ij log q_ij, q = probs clipped; dprobs = -scale weight_i t / q, 0 where clipped.

    probs (rows, cols); y_true labels int32 (rows,) or targets t (rows, cols). Returns losses, dprobs.
    """
    q, clipped = clipped_shares(probs)
    targets = _targets(y_true, probs)
    losses = weighted(_entropy(targets, np.log(q)), weights)
    if not need_gradient:
        return losses, None
    return losses, np.where(clipped, 0, -row_factor(weights, scale) * targets / q)


def mean_update(values: Array, state: Array, scale: float = 1.0, weights: Array | None = None) -> None:
    """state[0] += scale sum of weight_i value_i, state[1] += sum of weights (1 each without them).

    state is float64, so that long sums keep growing.
    """
    w = np.ones(values.shape) if weights is None else weights.astype(np.float64)
    state += (scale * (w * values).sum(dtype=np.float64), w.sum())


def count_matches(
    kind: str, y_pred: Array, y_true: Array, state: Array, threshold: float = 0.5, weights: Array | None = None
) -> None:
    """state[0] += number of matches, state[1] += number compared, each times its row's weight. What matches, by kind:

    sparse: argmax of the row == label (the first maximum wins), never for a label that is no column;
    categorical: argmax of the row == argmax of the target row;
    binary: (y_pred > threshold) == (y_true > threshold), element by element.
    """
    if kind == "sparse":
        match = y_pred.argmax(axis=1) == y_true
    elif kind == "categorical":
        match = y_pred.argmax(axis=1) == y_true.argmax(axis=1)
    else:
        match = (y_pred > threshold) == (y_true > threshold)
    if weights is None:
        state += (np.count_nonzero(match), match.size)
        return
    w = np.broadcast_to(weights.reshape(-1, *[1] * (match.ndim - 1)), match.shape).astype(np.float64)
    state += ((w * match).sum(), w.sum())
