"""fit, evaluate, predict and their kin: what Keras 3 means by them, against training by hand in NumPy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from cases import ObjectCase, every_optimizer
from gradcheck import normal
from tiny import X, Y, blobs, line
from tolerances import assert_bits, assert_close

from fastnn import Sequential, callbacks, config, losses, metrics, optimizers
from fastnn.layers import Dense, Input


def by_hand(
    epochs: int, batch_size: int, weights: Any = None, rate: float = 0.01
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Return w, b and the loss of every epoch of gradient descent on the mean squared error, in float64."""
    w, b, history = normal(3, 2, seed=2), normal(2, seed=3), []
    weights = np.ones(len(X)) if weights is None else np.asarray(weights, np.float64)
    for _ in range(epochs):
        total = 0.0
        for start in range(0, len(X), batch_size):
            x, y, v = (a[start : start + batch_size].astype(np.float64) for a in (X, Y, weights))
            error = x @ w + b - y
            total += float((v * (error**2).mean(1)).sum())
            slope = 2 * v[:, None] * error / error.size
            w, b = w - rate * x.T @ slope, b - rate * slope.sum(0)
        history.append(total / len(X))
    return w, b, history


def check(
    model: Sequential, losses_seen: Sequence[float], expected: tuple[np.ndarray, np.ndarray, list[float]]
) -> None:
    w, b, history = expected
    assert_close(model.get_weights()[0], w, 1e-5)
    assert_close(model.get_weights()[1], b, 1e-5)
    np.testing.assert_allclose(losses_seen, history, rtol=1e-5)


# ---------------------------------------------------------------- the arithmetic of fit


@pytest.mark.parametrize(
    "batch_size", [1, 3, 4, 10, 99]
)  # of 10 samples: with a partial last batch, and larger than all
def test_fit_is_gradient_descent(isa: str, batch_size: int) -> None:
    model = line()
    history = model.fit(X, Y, batch_size=batch_size, epochs=3, shuffle=False, verbose=0)
    check(model, history.history["loss"], by_hand(3, batch_size))
    assert model.optimizer is not None
    assert model.optimizer.iterations[0] == 3 * -(-10 // batch_size)


def test_default_batch_size_is_32() -> None:
    model = line()
    model.fit(np.repeat(X, 10, 0), np.repeat(Y, 10, 0), verbose=0)
    assert model.optimizer is not None
    assert model.optimizer.iterations[0] == 4


def test_sample_weight(isa: str) -> None:
    weights = np.arange(10) / 4
    for given in (weights, weights[:, None], weights.tolist()):
        model = line()
        history = model.fit(X, Y, 4, 3, sample_weight=given, shuffle=False, verbose=0)
        check(model, history.history["loss"], by_hand(3, 4, weights))
    model = line("sgd", "mse")
    each = ((model.predict(X, verbose=0) - Y) ** 2).mean(1)
    assert model.evaluate(X, Y, 3, 0, sample_weight=weights) == pytest.approx((weights * each).mean(), rel=1e-5)
    assert line().train_on_batch(X, Y, weights) == pytest.approx((weights * each).mean(), rel=1e-5)
    assert model.test_on_batch(X, Y, weights) == pytest.approx((weights * each).mean(), rel=1e-5)


@pytest.mark.parametrize("one_hot", [False, True])
def test_class_weight_is_a_sample_weight(one_hot: bool) -> None:
    labels = np.array([0, 2, 1, 1, 2, 0, 0, 1, 2, 2])
    by_class, other = {0: 0.5, 1: 2.0, 2: 3.5}, np.arange(10) + 0.5
    y = np.eye(3)[labels] if one_hot else labels
    loss = "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
    runs = []
    for options in (
        {"class_weight": by_class, "sample_weight": other},
        {"sample_weight": other * [by_class[c] for c in labels]},
    ):
        model = Sequential([Input((3,)), Dense(3, activation="softmax")])
        model.set_weights([normal(3, 3), np.zeros(3)])
        model.compile("sgd", loss, metrics=["accuracy"])
        history = model.fit(X, y, 4, 2, shuffle=False, verbose=0, **options)
        runs.append((history.history, model.get_weights()))
    assert runs[0][0] == runs[1][0]
    for a, b in zip(runs[0][1], runs[1][1], strict=True):
        assert_bits(a, b)
    model = Sequential([Input((3,)), Dense(3, activation="softmax")])
    model.compile(optimizers.SGD(0.0), loss)
    p = model.predict(X, verbose=0)[range(10), labels]
    expected = np.mean([by_class[c] * -np.log(q) for c, q in zip(labels, p, strict=True)])
    history = model.fit(X, y, 4, class_weight=by_class, verbose=0)
    assert history.history["loss"][0] == pytest.approx(expected, rel=1e-5)


def test_a_class_without_a_weight_has_weight_one() -> None:
    x, labels = normal(12, 6), np.arange(12) % 3

    def loss(**weights: Any) -> float:
        config.set_seed(2)
        model = Sequential([Input((6,)), Dense(3, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model.fit(x, labels, 12, verbose=0, **weights).history["loss"][0]

    assert loss(class_weight={1: 5}) == loss(sample_weight=np.where(labels == 1, 5.0, 1.0))
    assert loss(class_weight={}) == loss()


def test_class_weight_of_labels_with_more_axes_is_refused() -> None:
    model = Sequential([Input((4, 3)), Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="class_weight"):
        model.fit(np.zeros((5, 4, 3)), np.ones((5, 4)), class_weight={0: 1, 1: 2, 2: 3}, verbose=0)


@pytest.mark.parametrize("reduction", ["sum", "sum_over_batch_size"])
def test_reduction_of_the_loss(reduction: str) -> None:
    loss = losses.MeanSquaredError(reduction)
    model = line(optimizers.SGD(0.001), loss)
    expected = float(loss(Y, model.predict(X, verbose=0)))
    assert model.train_on_batch(X, Y) == pytest.approx(expected, rel=1e-5)
    w, b, _ = by_hand(1, 10, rate=0.001 * (10 if reduction == "sum" else 1))
    assert_close(model.get_weights()[0], w, 1e-5)
    assert_close(model.get_weights()[1], b, 1e-5)


def test_reduction_none_cannot_be_trained() -> None:
    with pytest.raises(ValueError, match="reduction"):
        line("sgd", losses.MeanSquaredError("none")).fit(X, Y, verbose=0)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_loop_by_hand_is_the_same_training(optimizer: str) -> None:
    x, labels = normal(50, 6).astype(np.float32), np.random.default_rng(0).integers(0, 4, 50)

    def model() -> Sequential:
        result = Sequential([Input((6,)), Dense(9, "relu"), Dense(4, activation="softmax")])
        result.set_weights([0.3 * normal(*p.shape) for p in result.weights])  # no probability that is clipped
        return result

    fitted, looped = model(), model()
    fitted.compile(optimizer, "sparse_categorical_crossentropy")
    history = fitted.fit(x, labels, 16, epochs=3, shuffle=False, verbose=0)
    loss, rule = losses.SparseCategoricalCrossentropy(), optimizers.get(optimizer)
    rule.build(looped.store)
    seen = []
    for _ in range(3):
        total = 0.0
        for start in range(0, 50, 16):
            part = slice(start, start + 16)
            y = looped.forward(x[part], training=True)
            total += float(loss.forward(labels[part], y)) * len(y)
            looped.backward(loss.backward())
            rule.step()
        seen.append(total / 50)
    np.testing.assert_allclose(history.history["loss"], seen, rtol=1e-4)
    for a, b in zip(fitted.get_weights(), looped.get_weights(), strict=True):
        assert_close(a, b, 1e-4 * float(np.abs(b).max()))


# ---------------------------------------------------------------- learning


@every_optimizer
def test_every_optimizer_learns(case: ObjectCase) -> None:
    x, labels = blobs()
    config.set_seed(1)
    model = Sequential([Input((5,)), Dense(8, "tanh"), Dense(3, "softmax")])
    model.compile(case.make(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, labels, epochs=20, verbose=0)
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]
    assert history.history["accuracy"][-1] > 0.95


@pytest.mark.parametrize(
    ("loss", "activation", "kind"),
    [
        ("mse", None, "values"),
        ("mae", "linear", "values"),
        ("binary_crossentropy", "sigmoid", "one_hot"),
        (losses.BinaryCrossentropy(from_logits=True), None, "one_hot"),
        ("categorical_crossentropy", "softmax", "one_hot"),
        (losses.CategoricalCrossentropy(from_logits=True), None, "one_hot"),
        ("SparseCategoricalCrossentropy", "softmax", "labels"),
        (losses.SparseCategoricalCrossentropy(from_logits=True), None, "labels"),
    ],
    ids=lambda v: getattr(v, "name", str(v)),
)
def test_every_loss_learns(loss: Any, activation: str | None, kind: str) -> None:
    x, labels = blobs()
    y = {"values": x @ normal(5, 3), "one_hot": np.eye(3)[labels], "labels": labels}[kind]
    config.set_seed(1)
    model = Sequential([Input((5,)), Dense(3, activation=activation)])
    model.compile(optimizers.Adam(0.05), loss)
    history = model.fit(x, y, epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.3 * history[0]
    # What is reported is the loss, by its own formula, of what the model predicts.
    direct = float(losses.get(loss)(y, model.predict(x, verbose=0)))
    assert model.evaluate(x, y, verbose=0) == pytest.approx(direct, rel=1e-3, abs=1e-5)


def test_accuracy_counts_right_answers() -> None:
    x, labels = blobs(50)
    for loss, y in (("sparse_categorical_crossentropy", labels), ("categorical_crossentropy", np.eye(3)[labels])):
        model = Sequential([Input((5,)), Dense(3, activation="softmax")])
        model.compile("sgd", loss, metrics=["accuracy"])
        right = (model.predict(x, verbose=0).argmax(1) == labels).mean()
        assert model.evaluate(x, y, batch_size=7, verbose=0)[1] == pytest.approx(right, rel=1e-6)
    model = Sequential([Input((5,)), Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=["acc", "mse"])
    p = model.predict(x, verbose=0)[:, 0]
    result = model.evaluate(x, labels == 1, batch_size=7, verbose=0, return_dict=True)
    assert list(result) == ["loss", "acc", "mse"]
    assert result["acc"] == pytest.approx(((p > 0.5) == (labels == 1)).mean(), rel=1e-6)
    assert result["mse"] == pytest.approx(((p - (labels == 1)) ** 2).mean(), rel=1e-5)


# ---------------------------------------------------------------- history and return values


def test_history() -> None:
    model = line("adam", "mse", metrics=["mae", metrics.MeanSquaredError("squares")])
    history = model.fit(X, Y, 4, epochs=3, validation_data=(X, Y), verbose=0)
    assert isinstance(history, callbacks.History)
    assert model.history is history
    names = ["loss", "mae", "squares"]
    assert list(history.history) == [*names, *(f"val_{n}" for n in names)]
    assert all(len(values) == 3 and all(type(v) is float for v in values) for values in history.history.values())
    assert history.epoch == [0, 1, 2]
    assert history.params == {"verbose": 0, "epochs": 3, "steps": 3}
    assert history.interrupted is False
    assert json.loads(json.dumps(history.history)) == history.history
    assert history.history["loss"] == pytest.approx(history.history["squares"], rel=1e-5)
    assert model.metrics_names == names
    # The last validation is what the model now gives.
    assert model.evaluate(X, Y, verbose=0) == pytest.approx([history.history[f"val_{n}"][-1] for n in names], rel=1e-6)


def test_return_values() -> None:
    model = line()
    loss = model.evaluate(X, Y, verbose=0)
    assert type(loss) is float
    assert model.evaluate(X, Y, verbose=0, return_dict=True) == {"loss": loss}
    assert model.test_on_batch(X, Y) == pytest.approx(loss, rel=1e-6)
    before = model.get_weights()
    assert model.train_on_batch(X, Y, return_dict=True) == {"loss": pytest.approx(loss, rel=1e-6)}  # before the step
    assert model.evaluate(X, Y, verbose=0) < loss
    assert not np.array_equal(before[0], model.get_weights()[0])
    model.compile("sgd", "mse", metrics=["mae"])
    values = model.evaluate(X, Y, verbose=0)
    assert isinstance(values, list)
    assert values == pytest.approx(list(model.test_on_batch(X, Y)), rel=1e-6)
    assert list(model.train_on_batch(X, Y, return_dict=True)) == ["loss", "mae"]
    kept = model.get_weights()
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)
    model.test_on_batch(X, Y)
    for a, b in zip(kept, model.get_weights(), strict=True):
        assert_bits(a, b)
    assert_bits(model.predict_on_batch(X), model.predict(X, verbose=0))
    assert model.predict(X, verbose=0).dtype == np.float32


def test_validation_split_takes_the_last_samples() -> None:
    x, y = np.concatenate([X, X + 9]), np.concatenate([Y, Y - 9])
    config.set_seed(4)
    split = line()
    history = split.fit(x, y, 4, epochs=3, validation_split=0.5, verbose=0)
    config.set_seed(4)
    plain = line()
    expected = plain.fit(X, Y, 4, epochs=3, validation_data=(X + 9, Y - 9), verbose=0)
    assert history.history == expected.history
    assert history.params is not None
    assert history.params["steps"] == 3
    assert_bits(split.get_weights()[0], plain.get_weights()[0])
    uneven = line().fit(X, Y, 2, validation_split=0.25, verbose=0)  # floor(10 * 0.75) = 7 samples remain
    assert uneven.params is not None
    assert uneven.params["steps"] == 4
    weights = np.arange(10) + 1.0
    weighted = line(optimizers.SGD(0.0)).fit(X, Y, validation_split=0.3, sample_weight=weights, verbose=0).history
    each = ((line().predict(X, verbose=0) - Y) ** 2).mean(1) * weights
    assert weighted["loss"][0] == pytest.approx(each[:7].mean(), rel=1e-5)
    assert weighted["val_loss"][0] == pytest.approx(each[7:].mean(), rel=1e-5)


def test_validation_options() -> None:
    weights = np.arange(10) / 3
    history = line().fit(X, Y, epochs=5, validation_data=(X, Y, weights), validation_freq=2, verbose=0)
    assert len(history.history["loss"]) == 5
    assert len(history.history["val_loss"]) == 2
    expected = by_hand(1, 5)
    error = X @ expected[0] + expected[1] - Y
    for size in (None, 3, 99):
        model = line()
        history = model.fit(X, Y, 5, validation_data=(X, Y), validation_batch_size=size, shuffle=False, verbose=0)
        assert history.history["val_loss"] == [pytest.approx((error**2).mean(), rel=1e-5)]
    # validation_data is preferred to validation_split, as in Keras
    both = line().fit(X, Y, 4, validation_data=(X[:2], Y[:2]), validation_split=0.5, verbose=0)
    assert both.params is not None
    assert both.params["steps"] == 3


def test_initial_epoch_and_no_epochs() -> None:
    model = line()
    history = model.fit(X, Y, epochs=5, initial_epoch=3, verbose=0)
    assert history.epoch == [3, 4]
    assert len(history.history["loss"]) == 2
    before = model.get_weights()
    for options in ({"epochs": 0}, {"epochs": 2, "initial_epoch": 2}):
        history = model.fit(X, Y, verbose=0, **options)
        assert history.history == {}
        assert history.epoch == []
    assert_bits(model.get_weights()[0], before[0])


def test_training_goes_on_where_it_stopped() -> None:
    config.set_seed(7)
    once = line("adam")
    all_epochs = once.fit(X, Y, 4, epochs=4, verbose=0).history["loss"]
    config.set_seed(7)
    twice = line("adam")
    parts = [twice.fit(X, Y, 4, epochs=2, verbose=0).history["loss"] for _ in range(2)]
    assert parts[0] + parts[1] == all_epochs
    assert_bits(once.get_weights()[0], twice.get_weights()[0])


def test_compile_starts_the_optimizer_anew() -> None:
    model = line("adam")
    model.fit(X, Y, verbose=0)
    assert model.optimizer is not None
    assert model.optimizer.iterations[0] == 1
    before = model.get_weights()
    model.compile("adam", "mse")
    assert model.optimizer.iterations[0] == 0
    assert all(not slot.any() for slot in model.optimizer.slots.values())
    assert_bits(model.get_weights()[0], before[0])
