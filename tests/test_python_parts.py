"""Parts that a user wrote in Python: the model then runs step by step, is right, and says so once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradcheck import normal
from tiny import Array, X, Y, line
from tolerances import assert_bits, assert_close

from fastnn import Sequential, activations, layers, losses, metrics, ops, optimizers
from fastnn.layers import Dense, Input


class Half(layers.Layer):
    """y = x / 2, in NumPy."""

    def forward(self, x: Any, training: bool = False) -> Array:
        return np.asarray(x, np.float32) / 2

    def backward(self, dy: Array) -> Array:
        return dy / 2


class HalfDense(Dense):
    """Dense, halved: overrides what the class that it derives from records."""

    def forward(self, x: Any, training: bool = False) -> Array:
        return super().forward(x, training) / 2

    def backward(self, dy: Array) -> Array | None:
        return super().backward(dy / 2)


class HalfModel(Sequential):
    """A model, halved."""

    def forward(self, x: Any, training: bool = False) -> Array:
        return super().forward(x, training) / 2

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        return super().backward(dy / 2, input_gradient)


def patched() -> Dense:
    """Return a Dense of whose methods this one object has its own."""
    layer = Dense(2, name="patched")
    forward, backward = layer.forward, layer.backward
    layer.forward = lambda x, training=False: forward(x, training) / 2  # type: ignore[method-assign, assignment]
    layer.backward = lambda dy: backward(dy / 2)  # type: ignore[method-assign]
    return layer


class Numbered(Dense):
    """Dense with another step_key only: still recorded."""

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), 1)


WAYS: dict[str, Callable[[], Sequential]] = {
    "layer": lambda: Sequential([Input((3,)), Dense(2), Half()]),
    "layer first": lambda: Sequential([Input((3,)), Half(), Dense(2)]),
    "subclass of a layer": lambda: Sequential([Input((3,)), HalfDense(2)]),
    "method of an object": lambda: Sequential([Input((3,)), patched()]),
    "subclass of the model": lambda: HalfModel([Input((3,)), Dense(2)]),
}


def halved(rate: float, epochs: int) -> tuple[Array, Array, list[float]]:
    """Return w, b and losses of gradient descent for y = (x w + b) / 2, batches of 4, by hand."""
    w, b, history = normal(3, 2, seed=2), normal(2, seed=3), []
    for _ in range(epochs):
        total = 0.0
        for start in (0, 4, 8):
            x, y = X[start : start + 4].astype(np.float64), Y[start : start + 4]
            error = (x @ w + b) / 2 - y
            total += float((error**2).mean(1).sum())
            slope = error / error.size
            w, b = w - rate * x.T @ slope, b - rate * slope.sum(0)
        history.append(total / 10)
    return w, b, history


@pytest.mark.parametrize("make", WAYS.values(), ids=WAYS)
def test_python_in_a_model_is_right(make: Callable[[], Sequential]) -> None:
    model = make()
    model.set_weights([normal(3, 2, seed=2), normal(2, seed=3)])
    start = (X @ normal(3, 2, seed=2) + normal(2, seed=3)) / 2
    if make is not WAYS["layer first"]:
        assert_close(model.predict(X, 4, verbose=0), start, 1e-5)
        assert_close(model.predict(X[::-1], 4, verbose=0), start[::-1], 1e-5)
        assert model.optimizer is None
    model.compile(optimizers.SGD(0.1), "mse")
    history = model.fit(X, Y, 4, epochs=3, shuffle=False, verbose=0).history["loss"]
    if make is WAYS["layer first"]:  # y = x w / 2 + b: no need to derive another rule
        assert history[2] < history[1] < history[0]
        plain = Sequential([Input((3,)), Dense(2)])
        plain.set_weights([normal(3, 2, seed=2), normal(2, seed=3)])
        plain.compile(optimizers.SGD(0.1), "mse")
        assert plain.fit(X / 2, Y, 4, epochs=3, shuffle=False, verbose=0).history["loss"] == history
        return
    w, b, expected = halved(0.1, 3)
    np.testing.assert_allclose(history, expected, rtol=1e-5)
    assert_close(model.get_weights()[0], w, 1e-5)
    assert_close(model.get_weights()[1], b, 1e-5)
    assert_close(model.predict(X, 3, verbose=0), (X @ w + b) / 2, 1e-5)


class SignSGD(optimizers.Optimizer):
    def update(self, w: Array, g: Array, slots: dict[str, Array]) -> None:
        w -= self.learning_rate * np.sign(g)


class LateSGD(optimizers.SGD):
    """Learns from the third step on."""

    def update(self, w: Array, g: Array, slots: dict[str, Array]) -> None:
        if self.iterations[0] >= 2:
            super().update(w, g, slots)


class Cubic(losses.Loss):
    def evaluate(self, y_true: Any, y_pred: Any, weights: Any, scale: float, need_gradient: bool = True) -> Any:
        error = y_pred - y_true
        return (np.abs(error) ** 3).mean(-1), 3 * scale * error**2 * np.sign(error) / error.shape[-1]


class DoubledError(losses.MeanSquaredError):
    def evaluate(self, y_true: Any, y_pred: Any, weights: Any, scale: float, need_gradient: bool = True) -> Any:
        each, slope = super().evaluate(y_true, y_pred, weights, 2 * scale, need_gradient)
        return 2 * each, slope


class Largest(metrics.Metric):
    def update_state(self, y_true: Any, y_pred: Any) -> None:
        self.state[:] = max(self.state[0], float(y_pred.max())), 1


def test_python_optimizers() -> None:
    model = line(SignSGD(0.25))
    before = model.get_weights()
    model.fit(X, Y, 4, epochs=1, shuffle=False, verbose=0)
    for w, old in zip(model.get_weights(), before, strict=True):
        moved = (w - old) / 0.25
        np.testing.assert_allclose(moved, np.round(moved), atol=1e-5)
        assert set(np.abs(np.round(moved)).ravel()) <= {1.0, 3.0}
    late, plain = line(LateSGD(0.1)), line(optimizers.SGD(0.1))
    late.fit(X, Y, 4, epochs=1, shuffle=False, verbose=0)
    plain.fit(X[8:], Y[8:], 4, epochs=1, shuffle=False, verbose=0)
    assert_bits(late.get_weights()[0], plain.get_weights()[0])


def test_python_losses_and_metrics() -> None:
    model = line(optimizers.SGD(0.0), Cubic(), metrics=[Largest(), "mae"])
    p = model.predict(X, verbose=0)
    history = model.fit(X, Y, 4, epochs=2, verbose=0).history
    assert history["loss"] == pytest.approx([(np.abs(p - Y) ** 3).mean()] * 2, rel=1e-5)
    assert history["largest"] == pytest.approx([p.max()] * 2, rel=1e-6)
    doubled, plain = line(optimizers.SGD(0.05), DoubledError()), line(optimizers.SGD(0.1))
    losses_seen = [m.fit(X, Y, 4, epochs=2, shuffle=False, verbose=0).history["loss"] for m in (doubled, plain)]
    assert losses_seen[0] == pytest.approx([2 * v for v in losses_seen[1]], rel=1e-5)
    assert_close(doubled.get_weights()[0], plain.get_weights()[0], 1e-5)


def test_an_activation_of_ones_own_is_used_or_refused() -> None:
    class Raised(activations.Activation):
        def forward(self, x: Array) -> Array:
            return super().forward(x) + 1

    for kind in ("relu", "gelu", "linear"):
        try:
            layer = Dense(2, activation=Raised(kind))
        except TypeError as error:
            assert "expected" in str(error)  # noqa: PT017 - both outcomes are right
            continue
        model = Sequential([Input((3,)), layer])
        expected = layers.Activation(kind)(X @ layer.get_weights()[0]) + 1
        assert_close(model(X), expected, 1e-5)
        assert_close(model.predict(X, 4, verbose=0), expected, 1e-5)


class Narrow(layers.Layer):
    """Returns three columns; made of ops, so it may be recorded; does not say what shape it returns."""

    recordable = True

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight("kernel", (input_shape[-1], 3))

    def forward(self, x: Any, training: bool = False) -> Array:
        return ops.dense_forward(x, self.kernel.value)


def test_recorded_layer_that_does_not_say_its_output_shape() -> None:
    model = Sequential([Input((8,)), Narrow()])
    x = normal(10, 8).astype(np.float32)
    expected = model.forward(x)
    for _ in range(3):
        assert_bits(model.predict(x, 4, verbose=0), expected)
    assert_bits(model.predict(x[:4], 2, verbose=0), expected[:4])


# ---------------------------------------------------------------- saying so


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ({"layer": Half()}, "Half"),
        ({"layer": HalfDense(2)}, "HalfDense"),
        ({"optimizer": SignSGD()}, "SignSGD"),
        ({"optimizer": LateSGD()}, "LateSGD"),
        ({"loss": Cubic()}, "Cubic"),
        ({"metric": Largest()}, "Largest"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_says_once_that_it_runs_through_python(part: dict[str, Any], name: str) -> None:
    model = Sequential([Input((3,)), Dense(2), part.get("layer", layers.ReLU())])
    model.compile(part.get("optimizer", "sgd"), part.get("loss", "mse"), metrics=[part.get("metric", "mae")])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, Y, verbose=0)  # silent means silent
    with pytest.warns(UserWarning, match=f"fit: {name} is written in Python, so every step runs through Python"):
        model.fit(X, Y, verbose=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, Y, verbose=2)


def test_says_nothing_where_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Sequential([Input((3,)), Numbered(2)])
    model.compile("sgd", "mse", metrics=["mae"])
    calls: list[int] = []
    advance = ops.advance
    monkeypatch.setattr(ops, "advance", lambda counter, by: (calls.append(1), advance(counter, by)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, Y, 2, epochs=10, verbose=2)
        line(run_eagerly=True).fit(X, Y, verbose=2)  # asked for
    assert len(calls) == 2 + 2  # recorded: the one step's two counters; then one eager step
