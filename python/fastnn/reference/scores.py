"""What metrics are made of: a number per row, counts by threshold, confusion matrices, moments of columns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .common import Array
from .element_losses import categorical_hinge, elementwise_loss, sigmoid_cross_entropy
from .losses import cross_entropy, softmax_cross_entropy

_TINY = 1e-7
_SHARED = ("categorical_crossentropy", "softmax_crossentropy")  # smoothing spreads over all columns


def _cosine_similarity(p: Array, t: Array) -> Array:
    lengths = [np.maximum(np.sqrt((a.astype(np.float64) ** 2).sum(axis=1)), _TINY) for a in (p, t)]
    result: Array = ((p * t).sum(axis=1) / lengths[0] / lengths[1]).astype(p.dtype)
    return result


def _moments(p: Array, t: Array) -> tuple[Array, Array, Array, Array]:
    """Return means' difference, variances of p and of t, and their covariance, of every row, in double."""
    left, right = p.astype(np.float64), t.astype(np.float64)
    means = left.mean(axis=1, keepdims=True), right.mean(axis=1, keepdims=True)
    x, y = left - means[0], right - means[1]
    return (means[0] - means[1])[:, 0], (x**2).mean(axis=1), (y**2).mean(axis=1), (x * y).mean(axis=1)


def _pearson_correlation(p: Array, t: Array) -> Array:
    _, p_variance, t_variance, covariance = _moments(p, t)
    deviations = np.sqrt(p_variance * t_variance)
    result: Array = np.divide(covariance, deviations, out=np.zeros_like(deviations), where=deviations != 0)
    return result


def _concordance_correlation(p: Array, t: Array) -> Array:
    shift, p_variance, t_variance, covariance = _moments(p, t)
    result: Array = 2 * covariance / (p_variance + t_variance + shift**2 + _TINY)
    return result


def _top_k(p: Array, t: Array, k: int) -> Array:
    top = p[np.arange(len(p)), t.argmax(axis=1)]
    result: Array = ((~(p <= top[:, None])).sum(axis=1) < k) & ~np.isnan(top)
    return result


# Those that are losses of one prediction and one target, by the same names, then functions of predictions and targets (rows, cols).
_ELEMENTS = (
    "squared_error",
    "absolute_error",
    "absolute_percentage_error",
    "squared_logarithmic_error",
    "log_cosh",
    "hinge",
    "squared_hinge",
    "poisson",
    "binary_crossentropy",
    "kl_divergence",
)
_ROWS: dict[str, Callable[[Array, Array], Array]] = {
    "equal": lambda p, t: (p == t).mean(axis=1),
    "sigmoid_crossentropy": lambda p, t: sigmoid_cross_entropy(p, t, scale=1.0, need_gradient=False)[1],
    "categorical_crossentropy": lambda p, t: cross_entropy(p, t, scale=1.0, need_gradient=False)[0],
    "softmax_crossentropy": lambda p, t: softmax_cross_entropy(p, t, scale=1.0, need_gradient=False)[1],
    "categorical_hinge": lambda p, t: categorical_hinge(p, t, scale=1.0, need_gradient=False)[0],
    "cosine_similarity": _cosine_similarity,
    "pearson_correlation": _pearson_correlation,
    "concordance_correlation": _concordance_correlation,
}
ROW_SCORES = (*_ELEMENTS, *_ROWS, "top_k", "unlike_label")


def _truth(kind: str, y_true: Array, like: Array, smoothing: float) -> Array:
    t = y_true
    if y_true.ndim == 1:
        t = (np.arange(like.shape[1]) == y_true[:, None]).astype(like.dtype)
    if smoothing:
        t = t * (1 - smoothing) + smoothing / (like.shape[1] if kind in _SHARED else 2)
    return t


def score_rows(kind: str, y_pred: Array, y_true: Array, *, smoothing: float = 0.0, k: int = 0) -> Array:
    """One number per row: the formula stands at `RowScore` in kernels.h, and in the functions of this file.

    y_true: labels int32 (rows,) or targets t (rows, cols); with smoothing s, t (1 - s) + s / n, n = cols or 2.
    """
    if kind == "unlike_label":
        unlike: Array = (y_true != k).astype(y_pred.dtype)
        return unlike
    t = _truth(kind, y_true, y_pred, smoothing)
    if kind == "top_k":
        values = _top_k(y_pred, t, k)
    elif kind in _ELEMENTS:
        t = np.where(t == 0, -1, t) if kind in ("hinge", "squared_hinge") else t
        sums = kind == "kl_divergence"
        values, _ = elementwise_loss(kind, y_pred, t, scale=1.0, need_gradient=False, sum_rows=sums)
    else:
        values = _ROWS[kind](y_pred, t)
    return np.asarray(values, y_pred.dtype)


def count_outcomes(
    y_pred: Array,
    y_true: Array,
    thresholds: Array,
    state: Array,
    weights: Array | None = None,
    column_weights: Array | None = None,
    *,
    column: int = -1,
    by_column: bool = False,
) -> None:
    """state[group, positive, bin] += weight_i column_weight_j; bin = number of thresholds below y_pred[i, j].

    positive: the label is j, or the target above 0.5. One group, or one per column (by_column); column: the only one, or -1.
    """
    rows, cols = y_pred.shape
    positive = (y_true[:, None] == np.arange(cols)) if y_true.ndim == 1 else y_true > 0.5
    bins = (thresholds < y_pred[..., None]).sum(axis=-1)
    weight = np.ones((rows, cols))
    weight *= 1 if weights is None else weights[:, None]
    weight *= 1 if column_weights is None else column_weights
    groups = np.broadcast_to(np.arange(cols) if by_column else np.zeros(cols, int), (rows, cols))
    where = slice(None) if column < 0 else slice(column, column + 1)
    if column >= 0 and by_column:
        groups = groups - column
    flat = state.reshape(-1, 2, len(thresholds) + 1)
    np.add.at(flat, (groups[:, where], positive[:, where].astype(int), bins[:, where]), weight[:, where])


def keep_largest(x: Array, k: int) -> Array:
    """y = x where it is one of the k largest of its row (of equal ones the first), else -infinity; NaN never is."""
    clean = np.where(np.isnan(x), -np.inf, x)
    order = np.argsort(-clean, axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable")
    kept: Array = np.where((rank < k) & ~np.isnan(x), x, -np.inf).astype(x.dtype)
    return kept


def _classes_of(a: Array, classes: int) -> Array:
    """Return class numbers: those that int32 labels are, the first maximum of a row, or a number; -1 for none."""
    if a.ndim == 1:
        return a.astype(np.int64)
    if a.shape[1] > 1:
        first: Array = a.argmax(axis=1)
        return first
    value = a[:, 0]
    fits = (value >= 0) & (value < classes) & (value == np.floor(value))
    return np.where(fits, np.where(fits, value, 0).astype(np.int64), -1)


def count_pairs(
    y_pred: Array,
    y_true: Array,
    state: Array,
    weights: Array | None = None,
    *,
    classes: int,
    ignored: int | None = None,
    threshold: float | None = None,
) -> None:
    """state[truth * classes + guess] += weight_i, or state[-1] where one of them is no class.

    truth: labels, numbers (rows, 1) or the first maximum of targets; guess: y_pred >= threshold, or likewise. Rows whose truth is
    `ignored` are left out.
    """
    truth, guess = _classes_of(y_true, classes), _classes_of(y_pred, classes)
    if threshold is not None:
        guess = (y_pred[:, 0] >= threshold).astype(np.int64)
    as_given = y_true[:, 0] if y_true.ndim == 2 and y_true.shape[1] == 1 else truth
    kept = np.ones(len(truth), bool) if ignored is None else as_given != ignored
    known = (truth >= 0) & (truth < classes) & (guess >= 0) & (guess < classes)
    place = np.where(known, truth * classes + guess, classes * classes)
    np.add.at(state, place[kept], 1.0 if weights is None else weights[kept])


def moments_update(y_pred: Array, y_true: Array, state: Array, weights: Array | None = None) -> None:
    """Of every column of the targets: weight, mean, sum of squared deviations; sum of squared errors. state: (4, cols)."""
    w = (np.ones(len(y_true)) if weights is None else weights.astype(np.float64))[:, None]
    total = float(w.sum())
    if total == 0:
        return
    t, p = y_true.astype(np.float64), y_pred.astype(np.float64)
    mean = (w * t).sum(axis=0) / total
    before, distance = state[0].copy(), mean - state[1]
    state[0] += total
    state[1] += distance * total / state[0]
    state[2] += (w * (t - mean) ** 2).sum(axis=0) + distance**2 * before * total / state[0]
    state[3] += (w * (t - p) ** 2).sum(axis=0)
