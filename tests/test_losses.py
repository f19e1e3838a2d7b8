"""Losses: the numbers of the courses, reductions and weights, smoothing, ignored classes, axes, names, losses of one's own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from cases import LossCase, every_loss
from gradcheck import normal
from numpy.typing import NDArray
from tiny import X, Y, assert_same, line, state
from tolerances import assert_bits, assert_close

from fastnn import Input, Sequential, config, losses, ops
from fastnn.layers import Dense

Array = NDArray[Any]

# (loss, y_true, y_pred, its number): from the courses where they name one, otherwise counted by hand.
NUMBERS: list[tuple[Any, Any, Any, float]] = [
    ("mse", [[1.0]], [[1.0]], 0.0),
    ("mse", [[1.0]], [[0.9997]], 9.0e-8),
    ("mse", [[0.0]], [[0.1192]], 0.01420864),
    ("mae", [[1.0, 0.0]], [[0.5, 2.0]], 1.25),
    ("half_sum_squares", [[1.0, 0.0]], [[0.0, 2.0]], 2.5),
    ("binary_crossentropy", [[1.0]], [[0.9997]], 3.000450e-4),
    ("binary_crossentropy", [[0.0]], [[0.1192]], 0.12692469),
    ("mape", [[2.0, 4.0]], [[1.0, 5.0]], 37.5),
    ("msle", [[0.0, 3.0]], [[math.e - 1, 3.0]], 0.5),
    ("huber", [[0.0, 0.0]], [[0.5, -3.0]], (0.125 + 2.5) / 2),
    ("log_cosh", [[0.0]], [[1.0]], math.log(math.cosh(1.0))),
    ("hinge", [[1.0]], [[2.0]], 0.0),
    ("hinge", [[1.0]], [[0.5]], 0.5),
    ("hinge", [[1.0]], [[-1.0]], 2.0),
    ("hinge", [[0.0, 1.0]], [[-0.5, 2.0]], 0.25),
    ("squared_hinge", [[1.0]], [[-1.0]], 4.0),
    ("categorical_hinge", [[0.0, 1.0, 0.0]], [[0.5, 0.25, 0.75]], 1.5),
    ("kl_divergence", [[0.5, 0.5]], [[0.25, 0.75]], 0.5 * math.log(2) + 0.5 * math.log(2 / 3)),
    ("poisson", [[2.0]], [[3.0]], 3 - 2 * math.log(3)),
    ("cosine_similarity", [[3.0, 4.0]], [[4.0, 3.0]], -0.96),
    ("sparse_categorical_crossentropy", [1], [[0.25, 0.75]], -math.log(0.75)),
    (losses.BinaryFocalCrossentropy(gamma=2.0), [[1.0]], [[0.9]], 0.01 * -math.log(0.9)),
    (losses.BinaryFocalCrossentropy(True, 0.25, 2.0), [[0.0]], [[0.9]], 0.75 * 0.81 * -math.log(0.1)),
    (losses.CategoricalFocalCrossentropy(0.5, 1.0), [[0.0, 1.0]], [[0.2, 0.8]], 0.5 * 0.2 * -math.log(0.8)),
]


@pytest.mark.parametrize(("loss", "y_true", "y_pred", "value"), NUMBERS)
def test_numbers(isa: str, loss: Any, y_true: Any, y_pred: Any, value: float) -> None:
    # 0.9997 as a float32 is off by 1e-8, which the difference from 1 makes 1e-4 of
    assert float(losses.get(loss)(y_true, y_pred)) == pytest.approx(value, rel=3e-4 if y_pred == [[0.9997]] else 2e-6)


def test_cross_entropy_of_ten_classes() -> None:
    p = [[0.09, 0.07, 0.08, 0.08, 0.09, 0.10, 0.10, 0.21, 0.10, 0.09]]  # their sum is 1.01
    one_hot = np.eye(10)[[7]]
    assert float(losses.CategoricalCrossentropy()(one_hot, p)) == pytest.approx(1.5606, abs=5e-5)
    assert float(losses.SparseCategoricalCrossentropy()([7], p)) == pytest.approx(1.5606, abs=5e-5)


def test_hand_example_of_the_course() -> None:
    """2-2-2 with sigmoids: error 0.20971."""
    targets, outputs = np.array([[0.23, -0.07]]), np.array([[0.4769, 0.5287]])
    loss = losses.HalfSumSquares()
    assert float(loss.forward(targets, outputs)) == pytest.approx(0.20971, abs=2e-4)
    assert_close(loss.backward(), outputs - targets, 1e-6)


def test_cosine_of_very_long_vectors(isa: str) -> None:
    y_true, y_pred = np.array([[3e30, 4e30]]), np.array([[4e25, 3e25]])
    assert float(losses.CosineSimilarity()(y_true, y_pred)) == pytest.approx(-0.96, rel=1e-6)


def test_gradient_of_mse_shrinks_and_that_of_mae_does_not() -> None:
    for error in (1e-3, 1.0, 1e3):
        for cls, expected in (("mse", 2 * error), ("mae", 1.0), ("huber", min(error, 1.0))):
            loss = losses.get(cls)
            loss.forward([[0.0]], [[error]])
            assert float(loss.backward()[0, 0]) == pytest.approx(expected, rel=1e-6)


@every_loss
def test_extreme_predictions_give_finite_numbers(isa: str, case: LossCase) -> None:
    y_true, logits = case.y_true(), bool(case.arguments.get("from_logits"))
    if case.truth == "values" or logits:
        extremes: tuple[float, ...] = (-1e8, 1e8)
        if case.cls in ("MeanSquaredError", "HalfSumSquares"):
            extremes = (-1e15, 1e15)
    else:
        extremes = (0.0, 1.0)
    rng = np.random.default_rng(1)
    y_pred = np.array(extremes)[rng.integers(0, 2, case.shape)]
    loss = case.make()
    assert np.isfinite(loss.forward(y_true, y_pred))
    assert np.isfinite(loss.backward()).all()


# ---- reductions ----


@every_loss
def test_every_reduction(case: LossCase) -> None:
    y_true, y_pred, n = case.y_true(), case.y_pred(), case.shape[0]
    weights = np.arange(n) + 0.5
    each = case.make(reduction=None)(y_true, y_pred).astype(np.float64)
    w = np.broadcast_to(weights.reshape(-1, *(1 for _ in each.shape[1:])), each.shape)
    counts = np.ones(each.shape, bool)
    if "ignore_class" in case.arguments:
        counts = y_true != case.arguments["ignore_class"]
        assert (each[~counts] == 0).all()
    total, weighted = each.sum(), (w * each).sum()
    for reduction, plain, with_weights in (
        ("sum", total, weighted),
        ("sum_over_batch_size", total / counts.sum(), weighted / counts.sum()),
        ("mean", total / counts.sum(), weighted / counts.sum()),
        ("mean_with_sample_weight", total / counts.sum(), weighted / w[counts].sum()),
    ):
        loss = case.make(reduction=reduction)
        assert float(loss(y_true, y_pred)) == pytest.approx(plain, rel=2e-6), reduction
        assert float(loss(y_true, y_pred, weights)) == pytest.approx(with_weights, rel=2e-6), reduction
        assert float(loss(y_true, y_pred, np.ascontiguousarray(w))) == pytest.approx(with_weights, rel=2e-6)
    assert_close(case.make(reduction="none")(y_true, y_pred, weights), w * each, 1e-5 * np.abs(w * each).max())
    assert float(case.make(reduction="mean_with_sample_weight")(y_true, y_pred, np.zeros(n))) == 0


@pytest.mark.parametrize("reduction", ["sum", "mean", "sum_over_batch_size", "mean_with_sample_weight"])
def test_reductions_in_training(reduction: str) -> None:
    """A recorded step with weights does what the formula says, and the same as an eager one."""
    weights = np.linspace(0.5, 3, 10).astype(np.float32)
    divisor = {"sum": 1.0, "mean_with_sample_weight": weights.sum()}.get(reduction, 10.0)
    model, other = (line("sgd", losses.MeanSquaredError(reduction), run_eagerly=eager) for eager in (False, True))
    w, b = model.get_weights()
    error = X @ w + b - Y
    expected = w - 0.01 * X.T @ (weights[:, None] * error) / divisor
    value = (weights * (error**2).mean(1)).sum() / divisor
    for m in (model, other):
        assert m.train_on_batch(X, Y, weights) == pytest.approx(value, rel=1e-5)
        assert_close(m.get_weights()[0], expected, 1e-5)
        m.fit(X, Y, 4, 2, sample_weight=weights, verbose=0, shuffle=False)
    assert_same(state(model), state(other))


# ---- smoothing, ignoring, axes ----


def test_label_smoothing() -> None:
    y, p = np.eye(4)[[0, 2]], np.array([[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25]])
    smooth = y * 0.8 + 0.2 / 4
    loss = losses.CategoricalCrossentropy(label_smoothing=0.2)
    assert float(loss(y, p)) == pytest.approx(-(smooth * np.log(p)).sum() / 2, rel=1e-6)
    bits, q = np.array([[0.0, 1.0]]), np.array([[0.3, 0.6]])
    soft = bits * 0.8 + 0.1
    expected = -(soft * np.log(q) + (1 - soft) * np.log(1 - q)).mean()
    assert float(losses.BinaryCrossentropy(label_smoothing=0.2)(bits, q)) == pytest.approx(expected, rel=1e-6)
    logits = np.log(q / (1 - q))
    assert float(losses.BinaryCrossentropy(True, 0.2)(bits, logits)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("ignored", [-1, 1, 3, 255, -(2**31)])
@pytest.mark.parametrize("last", ["softmax", None])
def test_a_class_is_ignored_in_training(ignored: int, last: str | None) -> None:
    """Samples whose label is ignored change nothing but the number of those that a mean is over."""
    y = np.array([0, ignored, 2, 0, ignored, 2, ignored, 0], np.int32)
    x, counts = normal(8, 4).astype(np.float32), y != ignored

    def make(loss: losses.Loss, **options: Any) -> Sequential:
        config.set_seed(5)
        model = Sequential([Input((4,)), Dense(3, last)])
        model.compile("sgd", loss, metrics=["accuracy"], **options)
        return model

    arguments = {"from_logits": last is None}
    recorded, eager = (make(losses.SparseCategoricalCrossentropy(ignore_class=ignored, **arguments), run_eagerly=e)
                       for e in (False, True))  # fmt: skip
    plain = make(losses.SparseCategoricalCrossentropy(**arguments))
    for _ in range(4):
        found = [m.train_on_batch(x, y) for m in (recorded, eager)]
        wanted = plain.train_on_batch(x[counts], y[counts])
        assert found[0] == found[1]
        assert found[0][0] == pytest.approx(wanted[0], rel=1e-5)
    assert_same(state(recorded), state(eager))
    for a, b in zip(recorded.get_weights(), plain.get_weights(), strict=True):
        assert_close(a, b, 1e-5)
    for wrong in (7, -3, 100):
        bad = y.copy()
        bad[3] = wrong
        with pytest.raises(ValueError, match=f"labels from 0 to 2, or {ignored}, got labels from"):
            recorded.train_on_batch(x, bad)


def test_an_ignored_class_of_pixels_and_nobody_left() -> None:
    y = np.array([[[0, -1], [2, 1]], [[-1, -1], [-1, -1]]])
    p = normal(2, 2, 2, 3).astype(np.float32)
    loss = losses.SparseCategoricalCrossentropy(True, -1, reduction="none")
    each = loss(y, p)
    assert each.shape == (2, 2, 2)
    assert (each[y == -1] == 0).all()
    mean = losses.SparseCategoricalCrossentropy(True, -1)
    assert float(mean.forward(y, p)) == pytest.approx(each.sum() / 3, rel=1e-6)
    assert (mean.backward()[y == -1] == 0).all()
    assert float(mean(np.full((1, 2), -1), p[:1, 0])) == 0


@pytest.mark.parametrize("cls", ["CategoricalCrossentropy", "SparseCategoricalCrossentropy", "BinaryCrossentropy"])
@pytest.mark.parametrize("axis", [1, 2, 3, -1, -2, -3])
def test_classes_on_another_axis(cls: str, axis: int) -> None:
    logits = normal(2, 3, 4, 5).astype(np.float32)
    last = np.ascontiguousarray(np.moveaxis(logits, axis, -1))
    labels = np.random.default_rng(1).integers(0, 3, last.shape[:-1])
    targets = np.eye(last.shape[-1], dtype=np.float32)[labels]
    y, y_last = (labels, labels) if cls.startswith("Sparse") else (np.moveaxis(targets, -1, axis), targets)
    moved, plain = (getattr(losses, cls)(from_logits=True, axis=a) for a in (axis, -1))
    weights = np.array([0.5, 2.0])
    assert moved.forward(y, logits, weights) == plain.forward(y_last, last, weights)
    assert_bits(moved.backward(), np.ascontiguousarray(np.moveaxis(plain.backward(), -1, axis)))


def test_a_softmax_over_another_axis_than_that_of_the_classes_is_not_taken_over() -> None:
    x, y = normal(6, 3, 4).astype(np.float32), np.abs(normal(6, 3, 5, seed=1)).astype(np.float32)
    loss = losses.CategoricalCrossentropy(axis=1)
    model = Sequential([Input((3, 4)), Dense(5, "softmax")])
    model.compile("sgd", loss)
    p = model.predict(x, verbose=0)
    expected = -(y * np.log(p)).sum(1).mean()
    assert float(loss(y, p)) == pytest.approx(expected, rel=1e-5)
    assert model.train_on_batch(x, y) == pytest.approx(expected, rel=1e-5)


def test_axes_in_training_and_errors() -> None:
    x, y = normal(6, 3, 5).astype(np.float32), normal(6, 3, 4, seed=1).astype(np.float32)
    found = []
    for eager in (False, True):
        config.set_seed(1)
        model = Sequential([Input((3, 5)), Dense(4)])
        model.compile("sgd", losses.CosineSimilarity(axis=1), run_eagerly=eager)
        p = model.predict(x, verbose=0)
        cosine = (p * y).sum(1) / np.linalg.norm(p, axis=1) / np.linalg.norm(y, axis=1)
        assert model.train_on_batch(x, y, np.arange(6) / 2.5) == pytest.approx(
            -(cosine.mean(1) * np.arange(6) / 2.5).mean(), rel=1e-5
        )
        model.fit(x, y, 4, 2, verbose=0)
        found.append(state(model))
    assert_same(*found)
    with pytest.raises(ValueError, match="CosineSimilarity: expected axis of a sample, got 0; axis 0 has the samples"):
        losses.CosineSimilarity(axis=0)(y, y)
    with pytest.raises(
        ValueError, match="CosineSimilarity: expected axis of arrays of rank 3, got 3; it may be from -3"
    ):
        losses.CosineSimilarity(axis=3)(y, y)
    with pytest.raises(TypeError, match="CategoricalCrossentropy: expected axis to be an integer"):
        losses.CategoricalCrossentropy(axis=True)


# ---- names and errors ----


def test_every_name_of_keras() -> None:
    for name, cls in {
        "bce": "BinaryCrossentropy", "BCE": "BinaryCrossentropy", "kld": "KLDivergence", "KLD": "KLDivergence",
        "mae": "MeanAbsoluteError", "MAE": "MeanAbsoluteError", "mse": "MeanSquaredError", "MSE": "MeanSquaredError",
        "mape": "MeanAbsolutePercentageError", "MAPE": "MeanAbsolutePercentageError",
        "msle": "MeanSquaredLogarithmicError", "MSLE": "MeanSquaredLogarithmicError",
        "kl_divergence": "KLDivergence", "kullback_leibler_divergence": "KLDivergence", "logcosh": "LogCosh",
        "log_cosh": "LogCosh", "Huber": "Huber", "huber": "Huber", "CosineSimilarity": "CosineSimilarity",
    }.items():  # fmt: skip
        assert type(losses.get(name)).__name__ == cls
    assert type(losses.get(losses.categorical_hinge)) is losses.CategoricalHinge
    assert type(losses.get(losses.Poisson)) is losses.Poisson
    for key in ("class", "class_name"):
        loss = losses.get({key: "Huber", "config": {"delta": 2.0}})
        assert (type(loss), loss.delta) == (losses.Huber, 2.0)
    assert losses.Huber().name == "huber_loss"
    assert losses.Hinge(name="mine", dtype="float32").name == "mine"


def test_wrong_arguments() -> None:
    for call, error, text in (
        (lambda: losses.get("hubr"), ValueError, "loss: expected name to be one of .* did you mean 'huber'"),
        (
            lambda: losses.get({"config": {}}),
            TypeError,
            "losses.deserialize: expected a name or a dict with 'class_name'",
        ),
        (lambda: losses.get(len), TypeError, "loss: expected a name or a Loss"),
        (lambda: losses.get([]), TypeError, "loss: expected a name or a Loss"),
        (lambda: losses.Huber(0.0), ValueError, "Huber: expected delta to be a finite number > 0"),
        (lambda: losses.Huber(dtype="float64"), ValueError, "Huber: expected dtype None or 'float32', got 'float64'"),
        (lambda: losses.BinaryCrossentropy(label_smoothing=1.5), ValueError, "expected label_smoothing to be a finite"),
        (lambda: losses.BinaryFocalCrossentropy(alpha=2), ValueError, "expected alpha to be a finite number >= 0"),
        (lambda: losses.CategoricalFocalCrossentropy(gamma=-1), ValueError, "expected gamma to be a finite number"),
        (lambda: losses.SparseCategoricalCrossentropy(ignore_class=0.5), TypeError, "ignore_class to be an integer"),
        (lambda: losses.Hinge(reduction="avg"), ValueError, "Hinge: expected reduction to be one of"),
        (lambda: line(loss=losses.Hinge(reduction=None)), ValueError, "expected a loss that is one number"),
        (lambda: losses.Hinge()([[1.0]], [[1.0]], [np.nan]), ValueError, "expected finite sample_weight"),
    ):
        with pytest.raises(error, match=text):
            call()


# ---- of one's own ----


class Fourth(losses.Loss):
    def call(self, y_true: Array, y_pred: Array) -> Array:
        return ((y_pred - y_true) ** 4).mean(-1)

    def gradient(self, y_true: Array, y_pred: Array) -> Array:
        return 4 * (y_pred - y_true) ** 3 / y_pred.shape[-1]


@pytest.mark.parametrize("reduction", ["sum", "mean", "mean_with_sample_weight"])
def test_a_loss_of_ones_own_trains(reduction: str) -> None:
    weights = np.linspace(0.5, 3, 10).astype(np.float32)
    model = line("sgd", Fourth(reduction=reduction))
    w, b = model.get_weights()
    error = X @ w + b - Y
    divisor = {"sum": 1.0, "mean_with_sample_weight": weights.sum()}.get(reduction, 10.0)
    value = (weights * (error**4).mean(1)).sum() / divisor
    assert model.train_on_batch(X, Y, weights) == pytest.approx(value, rel=1e-5)
    assert_close(model.get_weights()[0], w - 0.01 * X.T @ (weights[:, None] * 2 * error**3) / divisor, 1e-4)
    with pytest.warns(UserWarning, match="Fourth is written in Python"):
        assert "loss" in line("sgd", Fourth(reduction=reduction)).fit(X, Y, verbose=2).history


def test_what_a_loss_of_ones_own_returns_is_checked() -> None:
    class Wrong(Fourth):
        def call(self, y_true: Array, y_pred: Array) -> Array:
            return np.asarray(((y_pred - y_true) ** 4).mean())

    with pytest.raises(ValueError, match=r"Wrong: expected call to return an array of shape \(10,\), got \(\)"):
        Wrong()(Y, Y)
    with pytest.raises(TypeError, match="Loss: expected a loss class with call or evaluate, got none"):
        losses.Loss()(Y, Y)
    with pytest.raises(
        TypeError, match="Tuned: expected call and gradient in a subclass of Loss itself, got them in one of M"
    ):
        type("Tuned", (losses.MeanSquaredError,), {"call": Fourth.call})
    no_gradient = type("Half", (losses.Loss,), {"call": Fourth.call})
    assert float(no_gradient()(Y, Y)) == 0
    with pytest.raises(TypeError, match="Half: expected a loss class with gradient or evaluate, got none"):
        no_gradient().forward(Y, Y)


def test_a_label_that_is_no_class_never_matches(isa: str) -> None:
    for cols in (3, 40):
        pred = np.full((6, cols), -1.0, np.float32)
        for label in (-1, cols, 255, -(2**31), 2**31 - 1):
            state_of = np.zeros(2)
            ops.count_matches("sparse", pred, np.full(6, label, np.int32), state_of)
            assert state_of.tolist() == [0, 6]
