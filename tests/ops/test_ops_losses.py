"""Losses with their gradients, from logits and from probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradcheck import STEP
from ops_calls import Array, Generator, double, normal, uniform
from tolerances import U, assert_bits, assert_close, assert_gradient, bound, elementary

from fastnn import ops, reference

SCALE = 0.3125  # a float32 number, so that kernel and twin have the same
LOWEST, HIGHEST = float(np.float32(1e-7)), float(np.float32(1 - 1e-7))  # what probabilities are clipped to

# Columns around the chunks of 16 in which a row is added up; rows around them too, for losses of one column.
SHAPES = [
    (0, 3), (1, 1), (2, 1), (15, 1), (16, 1), (17, 1), (67, 1), (3, 2), (5, 10), (4, 15), (4, 16), (4, 17),
    (3, 31), (3, 32), (3, 33), (2, 101), (2, 1000),
]  # fmt: skip
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
ELEMENT_LOSSES = ("squared_error", "absolute_error", "binary_crossentropy")


def truths(rng: Generator, shape: tuple[int, int]) -> dict[str, Array]:
    """Return labels, and targets that are shares, do not sum to one, and are often zero."""
    rows, cols = shape
    targets = uniform(rng, 0.0, 2.0, rows, cols) / np.float32(cols)
    targets[rng.random(shape) < 0.3] = 0
    return {"labels": rng.integers(0, cols, rows).astype(np.int32), "targets": targets}


def dense_targets(y_true: Array, shape: tuple[int, int]) -> Array:
    return double(y_true) if y_true.ndim == 2 else np.eye(shape[1])[y_true]


def weights_for(rng: Generator, rows: int) -> Array:
    weights = uniform(rng, 0.1, 2.0, rows)
    weights[::5] = 0
    return weights


def weight_column(weights: Array | None, rows: int) -> Array:
    return np.ones((rows, 1)) if weights is None else double(weights)[:, None]


def softmax_limits(logits: Array, y_true: Array, weights: Array | None) -> tuple[Array, Array, Array]:
    """Return the allowed errors of probabilities, losses and gradient."""
    x, t, w = double(logits), dense_targets(y_true, logits.shape), weight_column(weights, len(logits))
    distance = x.max(axis=1, keepdims=True, initial=-np.inf) - x
    p, log_sum = reference.softmax_forward(x), np.log(np.exp(-distance).sum(axis=1, keepdims=True))
    terms = 1 + x.shape[1] / 16
    loss = (w * np.where(t == 0, 0, t * (log_sum + distance + 1))).sum(axis=1)
    slope = SCALE * w * (p * (1 + np.minimum(distance, 200)) * t.sum(axis=1, keepdims=True) + t)
    limits = [bound("softmax", size, terms) for size in (p * (1 + np.minimum(distance, 200)), loss, slope)]
    return limits[0], limits[1], limits[2]


def check_softmax_cross_entropy(logits: Array, y_true: Array, weights: Array | None) -> None:
    got = ops.softmax_cross_entropy(logits, y_true, weights, scale=SCALE)
    want = reference.softmax_cross_entropy(double(logits), double(y_true), double(weights), scale=SCALE)
    names = ("probs", "losses", "dlogits")
    for name, a, b, limit in zip(names, got, want, softmax_limits(logits, y_true, weights), strict=True):
        assert a is not None
        assert b is not None
        assert_close(a, b, limit, f"{name} {logits.shape}")
    probs, losses, none = ops.softmax_cross_entropy(logits, y_true, weights, scale=SCALE, need_gradient=False)
    assert none is None
    assert_bits(probs, got[0])
    assert_bits(losses, got[1])


@every_shape
@pytest.mark.parametrize("truth", ["labels", "targets"])
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_softmax_cross_entropy(isa: str, rng: Generator, shape: tuple[int, int], truth: str, spread: float) -> None:
    logits, y_true = normal(rng, *shape) * np.float32(spread), truths(rng, shape)[truth]
    for weights in (None, weights_for(rng, shape[0])):
        check_softmax_cross_entropy(logits, y_true, weights)


@every_shape
@pytest.mark.parametrize("truth", ["labels", "targets"])
def test_cross_entropy(isa: str, rng: Generator, shape: tuple[int, int], truth: str) -> None:
    probs, y_true = uniform(rng, 0.001, 0.999, *shape), truths(rng, shape)[truth]
    t = dense_targets(y_true, shape)
    for weights in (None, weights_for(rng, shape[0])):
        losses, dprobs = ops.cross_entropy(probs, y_true, weights, scale=SCALE)
        want, dwant = reference.cross_entropy(double(probs), double(y_true), double(weights), scale=SCALE)
        size = (weight_column(weights, shape[0]) * t * np.abs(np.log(double(probs)))).sum(axis=1)
        assert_close(losses, want, bound("softmax", size, 1 + shape[1] / 16), "losses")
        assert dprobs is not None
        assert dwant is not None
        assert_close(dprobs, dwant, bound("formula", dwant), "dprobs")
        again, none = ops.cross_entropy(probs, y_true, weights, scale=SCALE, need_gradient=False)
        assert none is None
        assert_bits(again, losses)


def element_inputs(rng: Generator, kind: str, shape: tuple[int, int]) -> tuple[Array, Array]:
    if kind == "binary_crossentropy":
        return uniform(rng, 0.001, 0.999, *shape), uniform(rng, 0.0, 1.0, *shape)
    return normal(rng, *shape), normal(rng, *shape)


def element_sizes(kind: str, p: Array, t: Array) -> tuple[Array, Array]:
    """Return the sizes of what is rounded in one loss and in one slope."""
    if kind == "squared_error":
        return (p - t) ** 2, 2 * np.abs(p - t)
    if kind == "absolute_error":
        return np.abs(p - t), np.ones_like(p)
    if kind == "binary_crossentropy":
        return t * np.abs(np.log(p)) + (1 - t) * np.abs(np.log1p(-p)), t / p + (1 - t) / (1 - p)
    return np.maximum(p, 0) + np.abs(p * t) + np.log1p(np.exp(-np.abs(p))), 1 / (1 + np.exp(-p)) + np.abs(t)


@every_shape
@pytest.mark.parametrize("kind", ELEMENT_LOSSES)
def test_elementwise_loss(isa: str, rng: Generator, shape: tuple[int, int], kind: str) -> None:
    pred, truth = element_inputs(rng, kind, shape)
    for weights in (None, weights_for(rng, shape[0])):
        losses, dpred = ops.elementwise_loss(kind, pred, truth, weights, scale=SCALE)
        want, dwant = reference.elementwise_loss(kind, double(pred), double(truth), double(weights), scale=SCALE)
        loss_size, slope_size = element_sizes(kind, double(pred), double(truth))
        w = weight_column(weights, shape[0])
        assert_close(losses, want, bound("softmax", (w * loss_size).mean(axis=1), 1 + shape[1] / 16), "losses")
        assert dpred is not None
        assert dwant is not None
        assert_close(dpred, dwant, bound("softmax", SCALE * w * slope_size / shape[1]), "dpred")
        again, none = ops.elementwise_loss(kind, pred, truth, weights, scale=SCALE, need_gradient=False)
        assert none is None
        assert_bits(again, losses)


@every_shape
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_sigmoid_cross_entropy(isa: str, rng: Generator, shape: tuple[int, int], spread: float) -> None:
    logits, truth = normal(rng, *shape) * np.float32(spread), uniform(rng, 0.0, 1.0, *shape)
    for weights in (None, weights_for(rng, shape[0])):
        probs, losses, dlogits = ops.sigmoid_cross_entropy(logits, truth, weights, scale=SCALE)
        arguments = [double(v) for v in (logits, truth, weights)]
        p, want, dwant = reference.sigmoid_cross_entropy(*arguments, scale=SCALE)
        loss_size, slope_size = element_sizes("sigmoid", *arguments[:2])
        w = weight_column(weights, shape[0])
        assert_close(probs, p, elementary(p), "probs")
        assert_close(losses, want, bound("softmax", (w * loss_size).mean(axis=1), 1 + shape[1] / 16), "losses")
        assert dlogits is not None
        assert dwant is not None
        assert_close(dlogits, dwant, bound("softmax", SCALE * w * slope_size / shape[1]), "dlogits")
        again = ops.sigmoid_cross_entropy(logits, truth, weights, scale=SCALE, need_gradient=False)
        assert again[2] is None
        assert_bits(again[0], probs)
        assert_bits(again[1], losses)


def loss_cases(rng: Generator, shape: tuple[int, int]) -> dict[str, tuple[str, tuple[Any, ...]]]:
    """Return name -> (op, arguments) of every loss; the predictions are the first float array."""
    weights, truth = weights_for(rng, shape[0]), truths(rng, shape)
    logits, probs = normal(rng, *shape), uniform(rng, 0.05, 0.95, *shape)
    cases: dict[str, tuple[str, tuple[Any, ...]]] = {
        "softmax, labels": ("softmax_cross_entropy", (logits, truth["labels"], weights)),
        "softmax, targets": ("softmax_cross_entropy", (logits, truth["targets"], None)),
        "probs, labels": ("cross_entropy", (probs, truth["labels"], None)),
        "probs, targets": ("cross_entropy", (probs, truth["targets"], weights)),
        "sigmoid": ("sigmoid_cross_entropy", (logits, uniform(rng, 0.0, 1.0, *shape), weights)),
    }
    for kind in ELEMENT_LOSSES:
        cases[kind] = ("elementwise_loss", (kind, *element_inputs(rng, kind, shape), weights))
    return cases


LOSSES = tuple(loss_cases(np.random.default_rng(0), (2, 2)))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(37, 1), (9, 10), (5, 33)], ids=str)
def test_gradients_are_slopes(isa: str, rng: Generator, name: str, shape: tuple[int, int]) -> None:
    op, args = loss_cases(rng, shape)[name]
    at = 1 if op == "elementwise_loss" else 0
    if name == "absolute_error":  # away from the kink
        args[at][np.abs(args[at] - args[at + 1]) < 0.01] += np.float32(0.5)
    gradient = getattr(ops, op)(*args, scale=SCALE)[-1]
    v, position = rng.standard_normal(shape), 1 if op in ("softmax_cross_entropy", "sigmoid_cross_entropy") else 0

    def total(step: float) -> float:
        moved = [double(a) for a in args]
        moved[at] = moved[at] + step * v
        return SCALE * float(getattr(reference, op)(*moved, scale=SCALE)[position].sum())

    slope = (total(STEP) - total(-STEP)) / (2 * STEP)
    if shape[1] == 1 and op == "softmax_cross_entropy":
        assert np.abs(gradient).max() <= 4 * U  # one class is certain
    else:
        assert_gradient(gradient, slope, v, name)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("cols", [1, 2, 4, 5, 10, 16, 35, 700])
def test_a_row_does_not_see_the_others(isa: str, rng: Generator, name: str, cols: int) -> None:
    op, args = loss_cases(rng, (21, cols))[name]
    at = 1 if op == "elementwise_loss" else 0
    args[at][4] = np.nan
    args[at][20, 0] = np.inf
    batch = getattr(ops, op)(*args, scale=SCALE)
    for i in range(21):
        row = [a[i : i + 1] if isinstance(a, np.ndarray) else a for a in args]
        for alone, whole in zip(getattr(ops, op)(*row, scale=SCALE), batch, strict=True):
            assert_bits(alone[0], whole[i], f"row {i}")
    for whole in batch:
        assert np.isfinite(np.delete(whole, (4, 20), axis=0)).all()


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "probs, labels"])
@pytest.mark.parametrize("cols", [2, 16, 35])
def test_nan_propagates(isa: str, rng: Generator, name: str, cols: int) -> None:
    op, args = loss_cases(rng, (6, cols))[name]
    if args[-1] is not None:
        args[-1][...] = 1
    at = 1 if op == "elementwise_loss" else 0
    if args[at + 1].ndim == 2:
        args[at + 1][2, cols - 1] = 0.25
    args[at][2, cols - 1] = np.nan
    losses = getattr(ops, op)(*args, scale=SCALE)[1 if op in ("softmax_cross_entropy", "sigmoid_cross_entropy") else 0]
    np.testing.assert_array_equal(np.isnan(losses), np.arange(6) == 2)


def test_nan_at_the_label(isa: str) -> None:
    probs = np.full((3, 5), 0.2, np.float32)
    probs[1, 3] = np.nan
    losses, _ = ops.cross_entropy(probs, np.full(3, 3, np.int32), scale=1.0)
    np.testing.assert_array_equal(np.isnan(losses), [False, True, False])


@pytest.mark.parametrize("cols", [2, 3, 16, 21, 40])
@pytest.mark.parametrize("size", [90.0, 1e4, 1e8])
def test_softmax_cross_entropy_of_large_logits(isa: str, cols: int, size: float) -> None:
    logits = np.zeros((4, cols), np.float32)
    logits[0, 1], logits[1, 1], logits[2], logits[3, 0], logits[3, 1] = size, -size, -size, size, -size
    for label in (0, 1):
        labels = np.full(4, label, np.int32)
        check_softmax_cross_entropy(logits, labels, None)
        check_softmax_cross_entropy(logits, np.eye(cols, dtype=np.float32)[labels], None)
    _, losses, _ = ops.softmax_cross_entropy(logits, np.ones(4, np.int32), scale=1.0)
    assert_close(losses[[0, 3]], np.array([0.0, 2 * size]), bound("rounded", [0.0, 2 * size]))


@pytest.mark.parametrize("cols", [3, 17])
def test_classes_that_are_masked_out(isa: str, rng: Generator, cols: int) -> None:
    logits, labels = normal(rng, 5, cols), np.full(5, 2, np.int32)
    logits[:, 1] = -np.inf
    without = np.delete(logits, 1, axis=1)
    for y_true, other in ((labels, labels - 1), (np.eye(cols, dtype=np.float32)[labels], None)):
        probs, losses, dlogits = ops.softmax_cross_entropy(logits, y_true.astype(y_true.dtype), scale=1.0)
        assert dlogits is not None
        np.testing.assert_array_equal(probs[:, 1], 0)
        np.testing.assert_array_equal(dlogits[:, 1], 0)
        want = reference.softmax_cross_entropy(double(without), labels - 1 if other is None else other, scale=1.0)[1]
        assert_close(losses, want, bound("softmax", want + 10, 2))


@pytest.mark.parametrize("size", [90.0, 1e4, 1e8])
def test_sigmoid_cross_entropy_of_large_logits(isa: str, size: float) -> None:
    logits = np.array([[size], [-size], [size], [-size]], np.float32)
    truth = np.array([[1.0], [0.0], [0.0], [1.0]], np.float32)
    for repeat in (1, 5, 17):
        x, t = np.repeat(logits, repeat, axis=1), np.repeat(truth, repeat, axis=1)
        probs, losses, dlogits = ops.sigmoid_cross_entropy(x, t, scale=1.0)
        expected = np.array([0.0, 0.0, size, size])
        assert dlogits is not None
        assert_close(losses, expected, bound("mean", expected, repeat))
        np.testing.assert_array_equal(probs[[0, 2]], 1.0)
        assert probs[[1, 3]].max() < 1e-38
        assert_close(dlogits, np.array([[0], [0], [1], [-1]]) * np.full(repeat, 1 / repeat), bound("rounded", 1.0))


def test_log_on_a_grid(isa: str) -> None:
    p = np.concatenate([np.geomspace(LOWEST, 1, 100_001), np.linspace(LOWEST, HIGHEST, 100_001)]).astype(np.float32)
    p = np.clip(p, np.float32(LOWEST), np.float32(HIGHEST))[:, None]
    labels, scale = np.zeros(len(p), np.int32), {"scale": 1.0, "need_gradient": False}
    expected = -np.log(double(p[:, 0]))
    assert_close(ops.cross_entropy(p, labels, **scale)[0], expected, elementary(expected), "log")
    losses, _ = ops.elementwise_loss("binary_crossentropy", p, np.ones_like(p), **scale)
    assert_close(losses, expected, elementary(expected), "log of binary")
    losses, _ = ops.elementwise_loss("binary_crossentropy", p, np.zeros_like(p), **scale)
    expected = -np.log1p(-double(p[:, 0]))
    assert_close(losses, expected, elementary(expected), "log1p")


@pytest.mark.parametrize("cols", [1, 5, 17])
def test_probabilities_are_clipped(isa: str, cols: int) -> None:
    outside = [0.0, 1.0, -0.5, 1.5, LOWEST / 2, HIGHEST + (1 - HIGHEST) / 2]
    inside = [LOWEST, HIGHEST, 0.5]
    p = np.repeat(np.array([*outside, *inside], np.float32)[:, None], cols, axis=1)
    q = np.clip(double(p), LOWEST, HIGHEST)
    for t in (np.zeros_like(p), np.ones_like(p), np.full_like(p, 0.25)):
        losses, dpred = ops.elementwise_loss("binary_crossentropy", p, t, scale=1.0)
        want = (-t * np.log(q) - (1 - t) * np.log1p(-q)).mean(axis=1)
        assert_close(losses, want, bound("softmax", want, 2), "binary")
        assert dpred is not None
        np.testing.assert_array_equal(dpred[: len(outside)], 0)
        slope = ((1 - t) / (1 - q) - t / q)[len(outside) :] / cols
        assert_close(dpred[len(outside) :], slope, bound("softmax", slope), "binary slope")

        losses, dprobs = ops.cross_entropy(p, t, scale=1.0)
        want = -(t * np.log(q)).sum(axis=1)
        assert_close(losses, want, bound("softmax", want, 2), "categorical")
        assert dprobs is not None
        np.testing.assert_array_equal(dprobs[: len(outside)], 0)
        slope = (-t / q)[len(outside) :]
        assert_close(dprobs[len(outside) :], slope, bound("formula", slope), "categorical slope")


def test_absolute_error_has_no_slope_at_the_target(isa: str, rng: Generator) -> None:
    for cols in (1, 19):
        pred = normal(rng, 21, cols)
        losses, dpred = ops.elementwise_loss("absolute_error", pred, pred, scale=1.0)
        np.testing.assert_array_equal(losses, 0)
        np.testing.assert_array_equal(dpred, 0)


X, LABELS = np.zeros((4, 3), np.float32), np.zeros(4, np.int32)
ONE: dict[str, Any] = {"scale": 1.0}
WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "labels": (
        lambda: ops.softmax_cross_entropy(X, LABELS[:3], **ONE),
        ValueError,
        r"expected y_true of shape \(4,\), got \(3,\)",
    ),
    "targets": (
        lambda: ops.softmax_cross_entropy(X, X[:3], **ONE),
        ValueError,
        r"expected y_true of shape \(4, 3\), got \(3, 3\)",
    ),
    "label beyond the classes": (
        lambda: ops.softmax_cross_entropy(X, LABELS + np.int32(7), **ONE),
        ValueError,
        "expected class numbers from 0 to 2",
    ),
    "negative label": (
        lambda: ops.cross_entropy(X, LABELS - np.int32(9), **ONE),
        ValueError,
        "expected class numbers from 0 to 2",
    ),
    "long labels": (lambda: ops.softmax_cross_entropy(X, LABELS.astype(np.int64), **ONE), TypeError, "expected y_true"),
    "rank": (lambda: ops.softmax_cross_entropy(X[0], LABELS, **ONE), ValueError, "expected logits of rank 2"),
    "weights": (lambda: ops.cross_entropy(X, LABELS, X[0], **ONE), ValueError, "expected weights of 4 elements, got 3"),
    "double weights": (
        lambda: ops.cross_entropy(X, LABELS, np.ones(4), **ONE),
        TypeError,
        "expected weights as an aligned",
    ),
    "kind": (
        lambda: ops.elementwise_loss("mse", X, X, **ONE),
        ValueError,
        "the name of an elementwise loss, got 'mse'",
    ),
    "truth": (
        lambda: ops.elementwise_loss("squared_error", X, X[1:], **ONE),
        ValueError,
        r"expected y_true of shape \(4, 3\), got \(3, 3\)",
    ),
    "complex": (
        lambda: ops.sigmoid_cross_entropy(X * 1j, X, **ONE),
        TypeError,
        "sigmoid_cross_entropy: expected logits of a real dtype .*, got dtype complex64; convert it first",
    ),
}


@pytest.mark.parametrize(("call", "error", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
