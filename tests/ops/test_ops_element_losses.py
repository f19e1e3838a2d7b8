"""Losses of one prediction and one target, of whole rows, focal ones on logits; targets and weights on their way there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import STEP
from ops_calls import Array, Generator, double, normal, uniform
from tolerances import U, assert_bits, assert_close, assert_gradient, bound, elementary

from fastnn import ops, reference

SCALE = 0.3125  # a float32 number, so that kernel and twin have the same
DELTA, GAMMA, ONE, ZERO = 0.75, 1.5, 0.25, 0.625
NUMBERS: dict[str, Any] = {"delta": DELTA, "gamma": GAMMA, "class_weights": (ONE, ZERO)}
SHAPES = [(0, 3), (1, 1), (2, 1), (15, 1), (17, 1), (67, 1), (3, 2), (5, 10), (4, 16), (4, 17), (3, 33), (2, 101)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_kind = pytest.mark.parametrize("kind", reference.ELEMENT_LOSSES)
OF_SHARES = ("kl_divergence", "binary_crossentropy", "binary_focal", "categorical_focal")
OF_COUNTS = ("squared_logarithmic_error", "poisson")


def inputs(rng: Generator, kind: str, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Return predictions and targets that such a loss is made for."""
    if kind in OF_SHARES:
        return uniform(rng, 0.01, 0.99, *shape), uniform(rng, 0.01, 0.99, *shape)
    if kind in OF_COUNTS:
        return uniform(rng, 0.1, 5.0, *shape), rng.integers(0, 5, shape).astype(np.float32)
    return normal(rng, *shape) * 2, normal(rng, *shape)


def entropy(p: Array, t: Array) -> Array:
    return t * np.abs(np.log(p)) + (1 - t) * np.abs(np.log1p(-p))


def sizes(kind: str, p: Array, t: Array) -> tuple[Array, Array]:
    """Return the sizes of what is rounded in one loss and in one slope."""
    d = np.abs(p - t)
    if kind in ("squared_error", "half_squared_error"):
        return d * d, 2 * d
    if kind == "absolute_error":
        return d, np.ones_like(d)
    if kind == "absolute_percentage_error":
        return 100 * d / np.maximum(np.abs(t), 1e-7), 100 / np.maximum(np.abs(t), 1e-7)
    if kind == "squared_logarithmic_error":
        logs = np.log1p(p) + np.log1p(t)
        return logs * logs, 2 * logs / (1 + p)
    if kind in ("huber", "log_cosh"):
        return 2 * np.minimum(d, d * d), np.minimum(d, 1)
    if kind in ("hinge", "squared_hinge"):
        margin = 1 + np.abs(t * p)
        return (margin, np.abs(t)) if kind == "hinge" else (margin**2, 2 * np.abs(t) * margin)
    if kind == "poisson":
        return p + t * np.abs(np.log(p)), 1 + t / p
    if kind == "kl_divergence":
        return t * (np.abs(np.log(t / p)) + 1), t / p
    if kind == "negative_product":
        return np.abs(t * p), np.abs(t)
    if kind == "binary_crossentropy":
        return entropy(p, t), t / p + (1 - t) / (1 - p)
    m = t * (1 - p) + (1 - t) * p if kind == "binary_focal" else 1 - p
    focus = m**GAMMA * (1 + GAMMA * np.abs(np.log(m)))
    if kind == "binary_focal":
        return focus * entropy(p, t), focus * (t / p + (1 - t) / (1 - p) + GAMMA / m * entropy(p, t))
    return focus * t * np.abs(np.log(p)), focus * t * (GAMMA * np.abs(np.log(p)) / m + 1 / p)


@every_shape
@every_kind
@pytest.mark.parametrize("sum_rows", [False, True], ids=["mean", "sum"])
def test_elementwise_loss(isa: str, rng: Generator, shape: tuple[int, int], kind: str, sum_rows: bool) -> None:
    pred, truth = inputs(rng, kind, shape)
    weights = uniform(rng, 0.1, 2.0, shape[0])
    weights[::5] = 0
    options = {**NUMBERS, "scale": SCALE, "sum_rows": sum_rows}
    for given in (None, weights):
        losses, dpred = ops.elementwise_loss(kind, pred, truth, given, **options)
        want, dwant = reference.elementwise_loss(kind, double(pred), double(truth), double(given), **options)
        loss_size, slope_size = sizes(kind, double(pred), double(truth))
        w = np.ones((shape[0], 1)) if given is None else double(given)[:, None]
        divisor = 1 if sum_rows else shape[1]
        limit = bound("softmax", (w * loss_size).sum(1) / divisor, 1 + shape[1] / 16)
        assert_close(losses, want, limit, "losses")
        assert dpred is not None
        assert dwant is not None
        assert_close(dpred, dwant, bound("softmax", SCALE * w * slope_size / divisor), "dpred")
        again, none = ops.elementwise_loss(kind, pred, truth, given, need_gradient=False, **options)
        assert none is None
        assert_bits(again, losses)


def rows_cases(rng: Generator, shape: tuple[int, int]) -> dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Return name -> (op, arguments, options); the predictions are the first array."""
    weights = uniform(rng, 0.5, 2.0, shape[0])
    logits, one_hot = normal(rng, *shape), np.eye(shape[1], dtype=np.float32)[rng.integers(0, shape[1], shape[0])]
    shares = uniform(rng, 0.05, 0.95, *shape)
    focal = {"gamma": GAMMA}
    cases: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
        "sigmoid focal": ("sigmoid_focal", (logits, shares, weights), {**focal, "class_weights": (ONE, ZERO)}),
        "softmax focal": ("softmax_focal", (logits, shares, weights), {**focal, "alpha": ONE}),
        "softmax focal, one-hot": ("softmax_focal", (logits, one_hot, None), {**focal, "alpha": ONE}),
        "categorical hinge": ("categorical_hinge", (logits, one_hot, weights), {}),
        "categorical hinge of shares": ("categorical_hinge", (logits, shares, None), {}),
    }
    for kind in reference.ELEMENT_LOSSES:
        cases[kind] = ("elementwise_loss", (kind, *inputs(rng, kind, shape), weights), NUMBERS)
    return cases


CASES = tuple(rows_cases(np.random.default_rng(0), (2, 2)))
FUSED = tuple(name for name in CASES if "focal" in name and " " in name)


def first_array(args: tuple[Any, ...]) -> int:
    return next(i for i, a in enumerate(args) if isinstance(a, np.ndarray))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shape", [(37, 1), (9, 10), (5, 33)], ids=str)
def test_gradients_are_slopes(isa: str, rng: Generator, name: str, shape: tuple[int, int]) -> None:
    op, args, options = rows_cases(rng, shape)[name]
    at, v = first_array(args), rng.standard_normal(shape)
    p, t = args[at], args[at + 1]
    if op == "elementwise_loss" and name not in OF_SHARES:  # away from the kinks
        p[np.abs(p - t) < 0.01] += np.float32(0.5)
        p[np.abs(np.abs(p - t) - DELTA) < 0.01] += np.float32(0.1)
        p[np.abs(1 - t * p) < 0.02] += np.float32(0.3)
    gradient = getattr(ops, op)(*args, scale=SCALE, **options)[-1]

    def total(step: float) -> float:
        moved = [double(a) for a in args]
        moved[at] = moved[at] + step * v
        return SCALE * float(getattr(reference, op)(*moved, scale=SCALE, **options)[-2].sum())

    if name == "softmax focal, one-hot" and shape[1] == 1:
        assert np.abs(gradient).max() <= 4 * U  # one class is certain
    elif "hinge" in name and op == "categorical_hinge" and shape[1] == 1 and name == "categorical hinge":
        np.testing.assert_array_equal(gradient[p[:, 0] > 1.01], 0)
    else:
        assert_gradient(gradient, (total(STEP / 10) - total(-STEP / 10)) / (2 * STEP / 10), v, name)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("cols", [1, 2, 5, 16, 35])
def test_a_row_does_not_see_the_others(isa: str, rng: Generator, name: str, cols: int) -> None:
    op, args, options = rows_cases(rng, (21, cols))[name]
    at = first_array(args)
    args[at][4] = np.nan
    args[at][20, 0] = np.inf
    batch = getattr(ops, op)(*args, scale=SCALE, **options)
    for i in range(21):
        row = [a[i : i + 1] if isinstance(a, np.ndarray) else a for a in args]
        for alone, whole in zip(getattr(ops, op)(*row, scale=SCALE, **options), batch, strict=True):
            assert_bits(alone[0], whole[i], f"row {i}")
    for whole in batch:
        assert np.isfinite(np.delete(whole, (4, 20), axis=0)).all()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("cols", [2, 16, 35])
def test_nan_propagates(isa: str, rng: Generator, name: str, cols: int) -> None:
    op, args, options = rows_cases(rng, (6, cols))[name]
    at = first_array(args)
    args[at + 1][2, cols - 1] = 0.25
    args[at][2, cols - 1] = np.nan
    losses = getattr(ops, op)(*args, scale=SCALE, **options)[-2]
    np.testing.assert_array_equal(np.isnan(losses), np.arange(6) == 2)


@every_shape
def test_focal_losses_on_logits(isa: str, rng: Generator, shape: tuple[int, int]) -> None:
    logits, truth, weights = normal(rng, *shape) * 3, uniform(rng, 0, 1, *shape), uniform(rng, 0.1, 2.0, shape[0])
    for gamma in (0.0, 0.5, 2.0, 5.0):
        options: dict[str, Any] = {"scale": SCALE, "gamma": gamma}
        given = [double(v) for v in (logits, truth, weights)]
        got = ops.sigmoid_focal(logits, truth, weights, class_weights=(ONE, ZERO), **options)
        want = reference.sigmoid_focal(*given, class_weights=(ONE, ZERO), **options)
        assert_close(got[0], want[0], elementary(want[0]), "sigmoid")
        slack = (1 + gamma) * (1 + np.abs(given[0]))
        size = given[2] * (slack * (1 + np.abs(given[0]))).sum(1) / shape[1]
        assert_close(got[1], want[1], bound("softmax", size, 1 + shape[1] / 16), "losses")
        assert_close(got[2], want[2], bound("softmax", SCALE * given[2][:, None] * slack**2 / shape[1]), "slopes")  # type: ignore[arg-type]

        got = ops.softmax_focal(logits, truth, weights, alpha=ONE, **options)
        want = reference.softmax_focal(*given, alpha=ONE, **options)
        distance = given[0].max(1, keepdims=True, initial=-np.inf) - given[0]
        slack = (1 + gamma) * (1 + distance)
        assert_close(got[0], want[0], bound("softmax", want[0] * (1 + distance), 1 + shape[1] / 16), "softmax")
        size = given[2] * (slack * (1 + distance)).sum(1)
        assert_close(got[1], want[1], bound("softmax", size, 1 + shape[1] / 16), "losses")
        reach = SCALE * given[2][:, None] * (slack**2 + (slack**2).sum(1, keepdims=True) * want[0])
        assert_close(got[2], want[2], bound("softmax", reach, 1 + shape[1] / 16), "slopes")  # type: ignore[arg-type]


@every_shape
def test_categorical_hinge(isa: str, rng: Generator, shape: tuple[int, int]) -> None:
    pred, truth = normal(rng, *shape) * 2, np.eye(shape[1], dtype=np.float32)[rng.integers(0, shape[1], shape[0])]
    weights = uniform(rng, 0.1, 2.0, shape[0])
    losses, dpred = ops.categorical_hinge(pred, truth, weights, scale=SCALE)
    want, dwant = reference.categorical_hinge(double(pred), double(truth), double(weights), scale=SCALE)
    assert_close(losses, want, bound("formula", double(weights) * (1 + 2 * np.abs(pred).max(1, initial=0))), "losses")
    assert_close(dpred, dwant, bound("formula", SCALE * double(weights)[:, None] * np.ones(shape)), "slopes")  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [90.0, 1e4, 1e8])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("cols", [2, 3, 16, 21])
def test_focal_losses_of_large_logits(isa: str, size: float, gamma: float, cols: int) -> None:
    logits = np.array([[size], [-size], [size], [-size]], np.float32).repeat(cols, 1)
    truth = np.array([[1.0], [0.0], [0.0], [1.0]], np.float32).repeat(cols, 1)
    _, losses, slopes = ops.sigmoid_focal(logits, truth, scale=1.0, gamma=gamma)
    assert slopes is not None
    assert_close(losses, np.array([0.0, 0.0, size, size]), bound("mean", [0, 0, size, size], cols))
    assert_close(slopes * cols, np.array([[0], [0], [1], [-1]]) * np.ones(cols), bound("formula", np.ones(cols)))

    logits = np.zeros((2, cols), np.float32)
    logits[:, 0], logits[:, 1:] = size, -size
    one_hot = np.eye(cols, dtype=np.float32)[[0, 1]]
    probs, losses, slopes = ops.softmax_focal(logits, one_hot, scale=1.0, alpha=0.5, gamma=gamma)
    np.testing.assert_array_equal(probs, np.eye(cols)[[0, 0]])
    assert_close(losses, np.array([0.0, size]), bound("formula", [0.0, size]))
    expected = np.zeros((2, cols))
    expected[1, :2] = 0.5, -0.5
    assert slopes is not None
    assert_close(slopes, expected, bound("formula", 1.0))


@every_kind
def test_exact_at_zero_and_one(isa: str, kind: str) -> None:
    p = np.array([[0.0, 1.0, 0.0, 1.0]] * 3, np.float32)
    t = np.array([[0.0, 1.0, 1.0, 0.0]] * 3, np.float32)
    options = {**NUMBERS, "scale": 1.0}
    losses, slopes = ops.elementwise_loss(kind, p.reshape(-1, 1), t.reshape(-1, 1), **options)
    want, dwant = reference.elementwise_loss(kind, double(p).reshape(-1, 1), double(t).reshape(-1, 1), **options)
    assert slopes is not None
    assert dwant is not None
    assert np.isfinite(losses).all()
    assert np.isfinite(slopes).all()
    # 1 - 1e-7, to which shares are clipped, is another number in float32, and so is 1 + 1e-7
    rough = 0.02 if kind in OF_SHARES else 1e-6
    assert_close(losses, want, rough * np.abs(want) + 2 * U, kind)
    if kind not in OF_SHARES:
        assert_close(slopes, dwant, rough * np.abs(dwant) + 2 * U, kind)


@pytest.mark.parametrize("kind", ["huber", "log_cosh", "hinge", "absolute_error", "absolute_percentage_error"])
def test_far_from_the_truth(isa: str, kind: str) -> None:
    p, t = np.array([[1e8], [-1e8], [1e30], [-1e30]], np.float32), np.full((4, 1), -1, np.float32)
    losses, slopes = ops.elementwise_loss(kind, p, t, scale=1.0, delta=2.0)
    want, dwant = reference.elementwise_loss(kind, double(p), double(t), scale=1.0, delta=2.0)
    assert slopes is not None
    assert dwant is not None
    assert_close(losses, want, bound("formula", want))
    assert_close(slopes, dwant, bound("formula", dwant))


@pytest.mark.parametrize("rows", [0, 1, 5, 16, 67])
def test_weights_of_rows(isa: str, rng: Generator, rows: int) -> None:
    weights, labels = uniform(rng, 0.0, 2.0, rows), rng.integers(-1, 3, rows).astype(np.int32)
    for mean_of_one in (False, True):
        for given, ignored in ((weights, None), (weights, -1), (None, 2), (None, None)):
            options: dict[str, Any] = {"mean_of_one": mean_of_one}
            if ignored is not None:
                options |= {"labels": labels, "ignored": ignored}
            got = ops.row_weights(rows, given, **options)
            want = reference.row_weights(rows, None if given is None else double(given), **options)
            assert_close(got[0], want[0], bound("formula", want[0], 2))
            if ignored is not None:
                np.testing.assert_array_equal(got[1], want[1])
    assert_close(ops.row_weights(rows, np.zeros(rows, np.float32), mean_of_one=True)[0], np.zeros(rows), 0)
    nobody = ops.row_weights(rows, mean_of_one=True, labels=np.full(rows, 7, np.int32), ignored=7)
    assert_close(nobody[0], np.zeros(rows), 0)


def test_targets_are_smoothed_and_signed(isa: str, rng: Generator) -> None:
    for n in (0, 1, 15, 16, 17, 67):
        t = (rng.random((n, 3)) > 0.5).astype(np.float32)
        expected = 0.75 * double(t) + 0.125
        assert_close(ops.smooth_targets(t, 0.75, 0.125), expected, bound("rounded", expected))
        assert_bits(ops.signed_labels(t), 2 * t - 1)
        if n:
            t[n - 1, 2] = 0.5
            assert_bits(ops.signed_labels(t), t)


X = np.zeros((4, 3), np.float32)
ONE_SCALE: dict[str, Any] = {"scale": 1.0}
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "kind": (lambda: ops.elementwise_loss("hubert", X, X, **ONE_SCALE), ValueError, "name of an elementwise loss, got"),
    "truth": (
        lambda: ops.categorical_hinge(X, X[1:], **ONE_SCALE),
        ValueError,
        r"y_true of shape \(4, 3\), got \(3, 3\)",
    ),
    "rank": (lambda: ops.softmax_focal(X[0], X[0], alpha=1.0, gamma=1.0, **ONE_SCALE), ValueError, "logits of rank 2"),
    "weights": (lambda: ops.categorical_hinge(X, X, X[0], **ONE_SCALE), ValueError, "weights of 4 elements, got 3"),
    "labels": (lambda: ops.row_weights(3, labels=np.zeros(2, np.int32)), ValueError, "labels of 3 elements"),
}


@pytest.mark.parametrize(("call", "error", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
