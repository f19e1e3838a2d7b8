"""Losses of one prediction and one target, or of a row of them, with their gradients; targets and weights on their way there.

A loss function returns one loss per row, times the weight of the row; the gradient is that of scale * sum of losses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .common import Array
from .elementwise import sigmoid
from .losses import clipped_shares, row_factor, weighted

_SMALLEST = 1e-7  # what is divided by, or what a logarithm is taken of


class _Numbers(NamedTuple):
    """What some of the losses have in their formulas."""

    delta: float
    gamma: float
    weight_one: float
    weight_zero: float


Pair = tuple[Array, Array]  # the value and its derivative by p


def _squared_error(p: Array, t: Array, n: _Numbers) -> Pair:
    """(p - t)^2."""
    return (p - t) ** 2, 2.0 * (p - t)


def _half_squared_error(p: Array, t: Array, n: _Numbers) -> Pair:
    """(p - t)^2 / 2."""
    return 0.5 * (p - t) ** 2, p - t


def _absolute_error(p: Array, t: Array, n: _Numbers) -> Pair:
    """|p - t|; the derivative is 0 at p == t."""
    return np.abs(p - t), np.sign(p - t)


def _absolute_percentage_error(p: Array, t: Array, n: _Numbers) -> Pair:
    """100 |p - t| / max(|t|, 1e-7)."""
    factor = 100.0 / np.maximum(np.abs(t), _SMALLEST)
    return np.abs(p - t) * factor, np.sign(p - t) * factor


def _squared_logarithmic_error(p: Array, t: Array, n: _Numbers) -> Pair:
    """(log(1 + max(p, 1e-7)) - log(1 + max(t, 1e-7)))^2."""
    q = np.maximum(p, _SMALLEST)
    d = np.log1p(q) - np.log1p(np.maximum(t, _SMALLEST))
    return d * d, np.where(p > _SMALLEST, 2.0 * d / (1.0 + q), 0)


def _huber(p: Array, t: Array, n: _Numbers) -> Pair:
    """d^2 / 2 for d = |p - t| <= delta, else delta d - delta^2 / 2."""
    d = p - t
    inner = np.clip(d, -n.delta, n.delta)
    return np.abs(inner) * (np.abs(d) - 0.5 * np.abs(inner)), inner


def _log_cosh(p: Array, t: Array, n: _Numbers) -> Pair:
    """log(cosh d) = log(1 + 2 sinh(d / 2)^2), which is |d| - log 2 far out."""
    d = p - t
    size = np.abs(d)
    near = np.log1p(2.0 * np.sinh(0.5 * np.minimum(size, 20)) ** 2)
    return np.where(size > 20, size - np.log(2.0), near).astype(p.dtype), np.tanh(d)


def _hinge(p: Array, t: Array, n: _Numbers) -> Pair:
    """max(1 - t p, 0)."""
    margin = 1.0 - t * p
    return np.maximum(margin, 0), -t * (margin > 0)


def _squared_hinge(p: Array, t: Array, n: _Numbers) -> Pair:
    """max(1 - t p, 0)^2."""
    above = np.maximum(1.0 - t * p, 0)
    return above * above, -2.0 * t * above


def _poisson(p: Array, t: Array, n: _Numbers) -> Pair:
    """p - t log(p + 1e-7)."""
    q = p + _SMALLEST
    return p - t * np.log(q), 1.0 - t / q


def _kl_divergence(p: Array, t: Array, n: _Numbers) -> Pair:
    """t' log(t' / p'), each clipped to [1e-7, 1]."""
    q, u = (np.clip(x, _SMALLEST, 1.0) for x in (p, t))
    return u * np.log(u / q), np.where((p < _SMALLEST) | (p > 1), 0, -u / q)


def _negative_product(p: Array, t: Array, n: _Numbers) -> Pair:
    """-t p."""
    return -t * p, -t


def _binary_crossentropy(p: Array, t: Array, n: _Numbers) -> Pair:
    """-t log q - (1 - t) log(1 - q), q = p clipped; the derivative is 0 where clipped."""
    q, clipped = clipped_shares(p)
    value = -t * np.log(q) - (1.0 - t) * np.log(1.0 - q)
    return value, np.where(clipped, 0, (1.0 - t) / (1.0 - q) - t / q)


def _binary_focal(p: Array, t: Array, n: _Numbers) -> Pair:
    """weight m^gamma times the binary cross-entropy; m = t (1 - q) + (1 - t) q."""
    q, clipped = clipped_shares(p)
    value, slope = _binary_crossentropy(p, t, n)
    m = t * (1.0 - q) + (1.0 - t) * q
    focus = (t * n.weight_one + (1.0 - t) * n.weight_zero) * m**n.gamma
    return focus * value, np.where(clipped, 0, focus * (slope + n.gamma * (1.0 - 2.0 * t) / m * value))


def _categorical_focal(p: Array, t: Array, n: _Numbers) -> Pair:
    """-weight_one (1 - q)^gamma t log q."""
    q, clipped = clipped_shares(p)
    focus = n.weight_one * t * (1.0 - q) ** n.gamma
    return -focus * np.log(q), np.where(clipped, 0, focus * (n.gamma * np.log(q) / (1.0 - q) - 1.0 / q))


_ELEMENT_LOSSES: dict[str, Callable[[Array, Array, _Numbers], Pair]] = {
    "squared_error": _squared_error,
    "absolute_error": _absolute_error,
    "half_squared_error": _half_squared_error,
    "absolute_percentage_error": _absolute_percentage_error,
    "squared_logarithmic_error": _squared_logarithmic_error,
    "huber": _huber,
    "log_cosh": _log_cosh,
    "hinge": _hinge,
    "squared_hinge": _squared_hinge,
    "poisson": _poisson,
    "kl_divergence": _kl_divergence,
    "negative_product": _negative_product,
    "binary_crossentropy": _binary_crossentropy,
    "binary_focal": _binary_focal,
    "categorical_focal": _categorical_focal,
}
ELEMENT_LOSSES = tuple(_ELEMENT_LOSSES)


def _reduced(value: Array, sum_rows: bool, weights: Array | None) -> Array:
    return weighted(value.sum(axis=1) if sum_rows else value.mean(axis=1), weights)


def elementwise_loss(
    kind: str,
    y_pred: Array,
    y_true: Array,
    weights: Array | None = None,
    *,
    scale: float,
    need_gradient: bool = True,
    sum_rows: bool = False,
    delta: float = 1.0,
    gamma: float = 2.0,
    class_weights: tuple[float, float] = (1.0, 1.0),
) -> tuple[Array, Array | None]:
    """loss_i = weight_i * mean over the row of l(p, t), dpred = scale weight_i l'(p, t) / cols; arrays (rows, cols).

    kind: one of ELEMENT_LOSSES. sum_rows: the sum of the row, without / cols. delta is that of huber, gamma and the weights of
    ones and zeros those of the focal losses. Returns losses, dpred.
    """
    y_true = y_true.astype(y_pred.dtype)
    value, slope = _ELEMENT_LOSSES[kind](y_pred, y_true, _Numbers(delta, gamma, *class_weights))
    losses = _reduced(value, sum_rows, weights)
    if not need_gradient:
        return losses, None
    return losses, row_factor(weights, scale) * slope / (1 if sum_rows else y_pred.shape[1])


def sigmoid_cross_entropy(
    logits: Array, y_true: Array, weights: Array | None = None, *, scale: float, need_gradient: bool = True
) -> tuple[Array, Array, Array | None]:
    """l(x, t) = max(x, 0) - x t + log(1 + exp(-|x|)), the binary cross-entropy of p = sigmoid(x); l' = p - t.

    Mean of the row, weights and scale as in elementwise_loss; nothing is clipped. Returns p, losses, dlogits.
    """
    probs = sigmoid(logits)
    value = np.maximum(logits, 0) - logits * y_true + np.log1p(np.exp(-np.abs(logits)))
    losses = weighted(value.mean(axis=1), weights)
    if not need_gradient:
        return probs, losses, None
    return probs, losses, row_factor(weights, scale) * (probs - y_true) / logits.shape[1]


def sigmoid_focal(
    logits: Array,
    y_true: Array,
    weights: Array | None = None,
    *,
    gamma: float,
    class_weights: tuple[float, float] = (1.0, 1.0),
    scale: float,
    need_gradient: bool = True,
) -> tuple[Array, Array, Array | None]:
    """The binary focal loss of p = sigmoid(x), mean of the row; nothing is clipped. Returns p, losses, dlogits.

    m = t (1 - p) + (1 - t) p has the slope (1 - 2 t) p (1 - p); where m is 0, p (1 - p) / m counts as 1.
    """
    p, rest, t = sigmoid(logits), sigmoid(-logits), y_true
    entropy = np.maximum(logits, 0) - logits * t + np.log1p(np.exp(-np.abs(logits)))
    m = t * rest + (1.0 - t) * p
    focus = (t * class_weights[0] + (1.0 - t) * class_weights[1]) * m**gamma
    losses = weighted((focus * entropy).mean(axis=1), weights)
    if not need_gradient:
        return p, losses, None
    ratio = np.divide(p * rest, m, out=np.ones_like(m), where=m != 0)
    slope = focus * (p - t + gamma * (1.0 - 2.0 * t) * ratio * entropy)
    return p, losses, row_factor(weights, scale) * slope / logits.shape[1]


def softmax_focal(
    logits: Array,
    y_true: Array,
    weights: Array | None = None,
    *,
    alpha: float,
    gamma: float,
    scale: float,
    need_gradient: bool = True,
) -> tuple[Array, Array, Array | None]:
    """p = softmax(logits), loss_i = weight_i * -alpha sum_j (1 - p_j)^gamma t_j log p_j. Returns p, losses, dlogits.

    With h_j = alpha t_j (1 - p_j)^gamma (gamma p_j log p_j / (1 - p_j) - 1) the gradient of logit k is h_k - p_k sum of h.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    e = np.exp(shifted)
    total = e.sum(axis=1, keepdims=True)
    p, log_p = e / total, shifted - np.log(total)
    rest = np.maximum(1.0 - p, 0)
    focus = alpha * y_true * rest**gamma
    terms = np.multiply(-focus, log_p, out=np.zeros_like(p), where=y_true != 0)
    losses = weighted(terms.sum(axis=1), weights)
    if not need_gradient:
        return p, losses, None
    product = np.multiply(p, log_p, out=np.zeros_like(p), where=p != 0)
    ratio = np.divide(product, rest, out=-np.ones_like(p), where=rest != 0)
    h = np.where(y_true != 0, focus * (gamma * ratio - 1.0), 0)
    return p, losses, row_factor(weights, scale) * (h - p * h.sum(axis=1, keepdims=True))


def categorical_hinge(
    y_pred: Array, y_true: Array, weights: Array | None = None, *, scale: float, need_gradient: bool = True
) -> tuple[Array, Array | None]:
    """loss_i = weight_i * max(max_j((1 - t_j) p_j) - sum_j t_j p_j + 1, 0); the first of equal maxima counts."""
    others = (1.0 - y_true) * y_pred
    margin = others.max(axis=1) - (y_true * y_pred).sum(axis=1) + 1.0
    losses = weighted(np.maximum(margin, 0), weights)
    if not need_gradient:
        return losses, None
    slope = -y_true.copy()
    at = np.arange(len(slope)), others.argmax(axis=1)
    slope[at] += 1.0 - y_true[at]
    return losses, row_factor(weights, scale) * np.where(margin[:, None] > 0, slope, 0)


def row_weights(
    rows: int,
    weights: Array | None = None,
    *,
    mean_of_one: bool = False,
    labels: Array | None = None,
    ignored: int = 0,
) -> tuple[Array, Array | None]:
    """y = f w, or 0 where labels == ignored (w = 1 without weights), and the labels with 0 where they are ignored.

    f = 1, or with mean_of_one rows / (sum of the w that count), 0 instead of infinity.
    """
    counts = np.ones(rows, bool) if labels is None else labels != ignored
    y = counts.astype(np.float32) if weights is None else np.where(counts, weights, 0).astype(weights.dtype)
    kept = None if labels is None else np.where(counts, labels, 0).astype(labels.dtype)
    if not mean_of_one:
        return y, kept
    total = float(y.sum(dtype=np.float64))
    return y * y.dtype.type(rows / total if total else 0.0), kept


def smooth_targets(t: Array, keep: float, share: float) -> Array:
    """y = keep t + share."""
    return t * keep + share


def signed_labels(t: Array) -> Array:
    """y = 2 t - 1 if every t is 0 or 1, else a copy of t."""
    return 2 * t - 1 if np.isin(t, (0, 1)).all() else t.copy()
