"""Models copied and pickled, as tools that run trials in processes do."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import layers, losses, metrics, optimizers

RNG = np.random.default_rng(0)
X = RNG.random((40, 4), np.float32)
Y = RNG.integers(0, 3, 40)

Way = Callable[[Any], Any]


def pickled(model: Any) -> Any:
    return pickle.loads(pickle.dumps(model))  # noqa: S301 - written a moment ago


ways = pytest.mark.parametrize("way", [copy.deepcopy, copy.copy, pickled])


class Twice(layers.Layer):
    def __init__(self, factor: float = 2.0, **base: Any) -> None:
        super().__init__(**base)
        self.factor = factor

    def forward(self, x: Any, training: bool = False) -> Any:
        return x * np.float32(self.factor)

    def backward(self, dy: Any) -> Any:
        return dy * np.float32(self.factor)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


class Cubic(losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return (np.abs(y_pred - y_true) ** 3).mean(-1)

    def gradient(self, y_true: Any, y_pred: Any) -> Any:
        error = y_pred - y_true
        return 3 * np.abs(error) * error / error.shape[-1]


class Largest(metrics.Metric):
    def update_state(self, y_true: Any, y_pred: Any) -> None:
        self.state[:] = max(self.state[0], y_pred.max()), 1


class Plain(optimizers.Optimizer):
    def update(self, w: Any, g: Any, slots: Any) -> None:
        w -= self.learning_rate * g


def network() -> fastnn.Sequential:
    fastnn.config.set_seed(3)
    parts = [layers.Dense(8, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.2)]
    model = fastnn.Sequential([fastnn.Input((4,)), *parts, layers.Dense(3, activation="softmax")])
    model.compile(optimizers.Adam(0.01, use_ema=True), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def bits(model: Any) -> list[bytes]:
    return [w.tobytes() for w in model.get_weights()]


@ways
def test_a_copy_goes_on_with_the_same_numbers_and_alone(way: Way) -> None:
    model = network()
    model.fit(X, Y, epochs=2, batch_size=16, verbose=0)
    before = bits(model)
    other = way(model)
    assert bits(other) == before
    histories = [m.fit(X, Y, epochs=2, batch_size=16, verbose=0).history for m in (other, model)]
    assert histories[0] == histories[1]
    assert bits(other) == bits(model) != before


@ways
def test_graphs_models_inside_and_what_is_frozen(way: Way) -> None:
    inner = fastnn.Sequential([fastnn.Input((4,)), layers.Dense(3, name="low")], name="inner")
    inner.trainable = False
    a, b = fastnn.Input((4,), name="a"), fastnn.Input((4,), name="b")
    out = layers.Dense(1, name="out")(layers.add([inner(a), inner(b)]))
    model = fastnn.Model([a, b], {"out": out, "low": inner(a)})
    other = way(model)
    assert bits(other) == bits(model)
    assert [p.name for p in other.trainable_weights] == ["out/kernel", "out/bias"]
    expected = model.predict([X, X[::-1]], verbose=0)
    for name, values in other.predict([X, X[::-1]], verbose=0).items():
        assert (values == expected[name]).all()


@ways
def test_parts_of_the_user(way: Way) -> None:
    model = fastnn.Sequential([fastnn.Input((4,)), Twice(3.0), layers.Dense(1)])
    model.compile(Plain(0.1), Cubic(), metrics=[Largest()], run_eagerly=True)
    other = way(model)
    assert other.layers[0].factor == 3.0
    assert other.run_eagerly
    kinds = type(other.layers[0]), type(other.loss), type(other.metrics[0]), type(other.optimizer)
    assert kinds == (Twice, Cubic, Largest, Plain)
    y = X.sum(1, keepdims=True)
    assert other.fit(X, y, verbose=0).history == model.fit(X, y, verbose=0).history


@ways
@pytest.mark.parametrize("compiled", [False, True])
def test_a_model_that_is_not_built(way: Way, compiled: bool) -> None:
    model = fastnn.Sequential([layers.Dense(2)])
    if compiled:
        model.compile("adam", "mse")
    other = way(model)
    assert not other.built
    other.compile("adam", "mse")
    other.fit(X, X[:, :2], verbose=0)
    assert not model.built


def test_a_pickle_is_read_in_another_process() -> None:
    model = network()
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer).count_params())"
    run = subprocess.run([sys.executable, "-c", program], input=pickle.dumps(model), capture_output=True, check=True)
    assert int(run.stdout) == model.count_params()
