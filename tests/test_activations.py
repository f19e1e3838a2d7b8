"""Activations as objects: names, parameters, axes, use in layers and in recorded steps, classes of one's own."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from gradcheck import normal
from numpy.typing import NDArray
from tiny import assert_same, state
from tolerances import assert_bits, assert_close

from fastnn import Input, Model, Sequential, activations, config, layers, ops, optimizers, reference
from fastnn.activations import Activation
from fastnn.layers import Conv2D, Dense, Flatten
from fastnn.models import load_model

Array = NDArray[Any]
X = np.linspace(-8, 8, 33, dtype=np.float32)

NAMES = [name for name in activations.NAMES if not name.endswith("softmax")]
WITH_PARAMETERS = [
    Activation("relu", negative_slope=0.25),
    Activation("relu", max_value=2.0),
    Activation("relu", 0.25, 1.5, 0.125),
    Activation("relu", max_value=6.0),
    Activation("leaky_relu", 0.3),
    Activation("elu", alpha=0.5),
    Activation("celu", alpha=1.5),
    Activation("gelu", approximate=True),
    Activation("soft_shrink", threshold=0.25),
    Activation("hard_shrink", threshold=0.25),
    Activation("squareplus", b=2.0),
]
every_parameterized = pytest.mark.parametrize("activation", WITH_PARAMETERS, ids=repr)


# What the courses and Keras's documentation say.
VALUES: dict[str, tuple[list[float], list[float]]] = {
    "linear": ([-3, 2], [-3, 2]),
    "step": ([-1, 0, 1e-6, 2], [0, 0, 1, 1]),
    "sign": ([-2, 0, 3], [-1, 0, 1]),
    "sigmoid": ([0, 1000, -1000], [0.5, 1, 0]),
    "hard_sigmoid": ([-3, -1, 0, 3], [0, 1 / 3, 0.5, 1]),
    "tanh": ([0, 1000, -1000], [0, 1, -1]),
    "relu": ([-10, -5, 0, 5, 10], [0, 0, 0, 5, 10]),
    "relu6": ([-1, 3, 7], [0, 3, 6]),
    "leaky_relu": ([-1, 2], [-0.2, 2]),
    "elu": ([-1, 2], [math.exp(-1) - 1, 2]),
    "selu": ([-1, 1], [-1.1113307, 1.0507010]),
    "celu": ([-1, 2], [math.exp(-1) - 1, 2]),
    "softplus": ([0, 1000], [math.log(2), 1000]),
    "softsign": ([-1, 3, 1e30], [-0.5, 0.75, 1]),
    "exponential": ([0, 1, -1000], [1, math.e, 0]),
    "silu": ([0, 1], [0, 1 / (1 + math.exp(-1))]),
    "mish": ([0, 1, 1000], [0, 0.8650984, 1000]),
    "hard_silu": ([-4, 0, 1, 4], [0, 0, 2 / 3, 4]),
    "gelu": ([0, 1], [0, 0.8413447]),
    "log_sigmoid": ([0, -1000], [-math.log(2), -1000]),
    "softmax": ([1010, 1000, 990], [0.99995460, 4.5398e-05, 2.0611e-09]),
    "log_softmax": ([1010, 1000, 990], [-4.5400e-05, -10.0000454, -20.0000454]),
}


@pytest.mark.parametrize("name", VALUES)
def test_values(isa: str, name: str) -> None:
    x, y = VALUES[name]
    with np.errstate(all="raise"):
        assert_close(getattr(activations, name)(np.array(x)), np.array(y), 1e-6 + 1e-5 * np.abs(y) * (name != "relu"))


def test_relu_with_all_arguments_as_keras_documents_it() -> None:
    x = np.array([-10.0, -5.0, 0.0, 5.0, 10.0])
    for arguments, expected in (
        ({"negative_slope": 0.5}, [-5.0, -2.5, 0.0, 5.0, 10.0]),
        ({"max_value": 5.0}, [0.0, 0.0, 0.0, 5.0, 5.0]),
        ({"threshold": 5.0}, [0.0, 0.0, 0.0, 0.0, 10.0]),
        ({"negative_slope": 0.5, "max_value": 7.0, "threshold": 1.0}, [-5.5, -3.0, -0.5, 5.0, 7.0]),
    ):
        assert activations.relu(x, **arguments).tolist() == expected
        assert layers.ReLU(**arguments)(x[None])[0].tolist() == expected
    assert activations.relu(x, 0.5).tolist() == [-5.0, -2.5, 0.0, 5.0, 10.0]


@pytest.mark.parametrize("name", NAMES)
def test_large_numbers_give_no_nan(isa: str, name: str) -> None:
    x = np.array([[-1e30, -1e8, -1e4, 1e4, 1e8, 1e30]], np.float32)
    f = Activation(name)
    y = f(x)
    assert not np.isnan(y).any()
    if name != "exponential":
        assert np.isfinite(y).all()
        assert np.isfinite(f.backward(np.ones_like(x), x, y)).all()


def test_names_aliases_and_configurations() -> None:
    for name in activations.NAMES:
        f = activations.get(name)
        assert f is getattr(activations, name)
        assert activations.serialize(f) == name
        assert activations.deserialize(name) is f
    assert activations.get(None) is activations.linear
    assert activations.get("swish") is activations.silu is activations.swish
    assert activations.get("hard_swish") is activations.hard_silu is activations.hard_swish
    for f in [*WITH_PARAMETERS, Activation("softmax", axis=(1, -1)), Activation("log_softmax", axis=1)]:
        data = json.loads(json.dumps(activations.serialize(f)))
        again = activations.get(data)
        assert (again.name, again.parameters, again.step_key()) == (f.name, f.parameters, f.step_key())


def test_wrong_arguments() -> None:
    for call, error, text in (
        (lambda: activations.get("reluu"), ValueError, "activation: expected name to be one of .* did you mean 'relu"),
        (lambda: Activation("rellu"), ValueError, "Activation: expected name to be one of"),
        (lambda: Activation(), TypeError, "Activation: expected name to be a string"),
        (
            lambda: Activation("elu", alhpa=1.0),
            TypeError,
            "activation 'elu': expected only known arguments, got 'alhpa'",
        ),
        (lambda: Activation("tanh", 1.0), TypeError, "activation 'tanh': expected at most 0 parameters, got 1"),
        (lambda: Activation("elu", 1.0, alpha=1.0), TypeError, "expected one value for alpha, got two"),
        (lambda: Activation("elu", -1.0), ValueError, "activation 'elu': expected alpha to be a finite number >= 0"),
        (lambda: Activation("celu", 0.0), ValueError, "activation 'celu': expected alpha to be a finite number > 0"),
        (lambda: Activation("squareplus", 0.0), ValueError, "expected b to be a finite number > 0"),
        (lambda: Activation("relu", max_value=-1), ValueError, "expected max_value to be a finite number >= 0"),
        (lambda: Activation("gelu", approximate=1), TypeError, "expected approximate to be True or False"),
        (lambda: Activation("softmax", axis=(1, 1)), ValueError, "expected axis to be an integer or several different"),
        (lambda: activations.softmax(X, axis=1), ValueError, "activation 'softmax': expected axis of arrays of rank 1"),
        (lambda: activations.get(np.tanh), TypeError, "expected a name or an Activation"),
        (lambda: activations.relu(X * 1j), TypeError, "activation 'relu': expected x of a real dtype"),
    ):
        with pytest.raises(error, match=text):
            call()


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, (0, 2), (1, 2), (2, 1), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_over_axes(isa: str, name: str, axis: Any) -> None:
    x, dy = normal(3, 4, 5).astype(np.float32), normal(3, 4, 5, seed=1).astype(np.float32)
    e = np.exp(x.astype(np.float64))
    p = e / e.sum(axis=axis, keepdims=True)
    f = Activation(name, axis=axis)
    y = f(x)
    assert_close(y, p if name == "softmax" else np.log(p), 2e-6)
    assert_bits(getattr(activations, name)(x, axis=axis), y)
    if name == "softmax":
        expected = p * (dy - (dy * p).sum(axis=axis, keepdims=True))
    else:
        expected = dy - p * dy.sum(axis=axis, keepdims=True)
    assert_close(f.backward(dy, None, y), expected, 1e-5)


# ---- in layers and steps ----


def fitted(f: Any, eager: bool, threads: int = 1) -> Any:
    """Return a model with this activation behind a convolution and a Dense, after some steps."""
    config.set_num_threads(threads)
    config.set_seed(3)
    x, y = normal(20, 6, 5, 2).astype(np.float32), normal(20, 3, seed=1).astype(np.float32)
    model = Sequential([Input((6, 5, 2)), Conv2D(3, 2, activation=f), Flatten(), Dense(7, f), Dense(3)])
    model.compile("adam", "mse", run_eagerly=eager)
    model.fit(x, y, 6, 2, verbose=0)
    return model


@pytest.mark.parametrize(
    "f", [*NAMES, *WITH_PARAMETERS, Activation("softmax", axis=1), Activation("log_softmax", axis=-1)], ids=str
)
def test_a_recorded_step_gives_the_bits_of_an_eager_one(f: Any) -> None:
    one = state(fitted(f, True))
    assert_same(one, state(fitted(f, False)))
    assert_same(one, state(fitted(f, False, 2)))


@every_parameterized
def test_parameters_are_kept_in_files_and_configurations(activation: Activation, tmp_path: Any) -> None:
    x = normal(4, 3).astype(np.float32) * 3
    model = Sequential([Input((3,)), Dense(5, activation), layers.Activation(activation)])
    model.save(tmp_path / "model.fastnn")
    again = load_model(tmp_path / "model.fastnn")
    assert again.layers[0].activation.parameters == activation.parameters
    assert_bits(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_another_parameter_is_another_step() -> None:
    x, y = normal(8, 3).astype(np.float32), normal(8, 3, seed=1).astype(np.float32)
    model = Sequential([Input((3,)), Dense(3, "relu")])
    model.compile("sgd", "mse")
    for parameters in ({}, {"max_value": 0.5}, {"max_value": 0.25}, {"threshold": 0.5}):
        f = Activation("relu", **parameters)
        model.layers[0].activation = f
        expected = f(x @ model.get_weights()[0] + model.get_weights()[1])
        loss = model.train_on_batch(x, y)
        assert loss == pytest.approx(((expected - y) ** 2).mean(), rel=1e-5)
        assert_close(model.predict_on_batch(x), f(x @ model.get_weights()[0] + model.get_weights()[1]), 1e-5)


def test_softmax_over_another_axis_behind_a_dense_of_sequences() -> None:
    x = normal(4, 6, 3).astype(np.float32)
    layer = Dense(5, Activation("softmax", axis=1))
    y = layer(x)
    assert_close(y.sum(1), np.ones((4, 5)), 1e-6)
    layer.forward(x, training=True)
    dx = layer.backward(np.ones_like(y))
    assert dx is not None
    assert np.abs(dx).max() < 1e-6  # the sums along the axis do not change


def test_an_activation_of_ones_own_trains() -> None:
    class Square(Activation):
        def forward(self, x: Array) -> Array:
            return x * x

        def backward(self, dy: Array, x: Array | None, y: Array) -> Array:
            assert x is not None
            return 2 * dy * x

    x = normal(64, 2).astype(np.float32)
    a = Input((2,))
    config.set_seed(1)
    model = Model(a, Dense(1)(Dense(8, Square())(a)))
    model.compile(optimizers.Adam(0.02), "mse")
    with pytest.warns(UserWarning, match="Square is written in Python"):
        history = model.fit(x, (x * x).sum(1), epochs=60, verbose=1).history["loss"]
    assert history[-1] < 0.1 * history[0]
    with pytest.raises(ValueError, match="a class of yours cannot be saved by name"):
        activations.serialize(Square())
    half = type("Half", (Activation,), {"forward": Square.forward})()
    with pytest.raises(TypeError, match="half: expected an activation class with a backward method, got forward only"):
        half.backward(x, x, half(x))
    with pytest.raises(TypeError, match="expected an activation class with a forward method"):
        type("Empty", (Activation,), {})()(X)


@every_parameterized
def test_slopes_of_the_twin(activation: Activation) -> None:
    x = X.astype(np.float64) + 0.0123
    config.set_backend("numpy")
    y = activation.forward(x)  # type: ignore[arg-type]
    dx = activation.backward(np.ones_like(x), x, y)  # type: ignore[arg-type]
    slope = (activation.forward(x + 1e-6) - activation.forward(x - 1e-6)) / 2e-6  # type: ignore[arg-type]
    np.testing.assert_allclose(dx, slope, rtol=1e-7, atol=1e-8)


def test_the_lists_agree() -> None:
    assert set(activations.NAMES) == {*reference.ACTIVATIONS, "softmax", "log_softmax"}
    assert activations.PARAMETERS.keys() <= set(activations.NAMES)
    assert ops.activation_forward(X, "step").tolist() == (X > 0).astype(float).tolist()


def test_softmax_with_a_mask() -> None:
    layer, x = layers.Softmax(), np.array([[0.0, np.log(3.0), np.nan], [1.0, 2.0, 3.0]])
    y = layer(x, training=True, mask=[[1, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(y, [[0.25, 0.75, 0.0], [0.0, 0.0, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(
        layer.backward(np.float32([[1, 0, 5], [1, 2, 3]])), [[0.1875, -0.1875, 0], [0, 0, 0]], rtol=1e-6
    )
    assert_bits(layer(x[1:], mask=np.array([0.6])), layer(x[1:]))  # repeated; above 0.5 is kept
    for mask in (np.ones((3, 3)), np.ones((1, 2, 3)), np.ones(2)):
        with pytest.raises(
            ValueError, match=r"Softmax '\w+': expected a mask that can be repeated to shape \(2, 3\), got shape"
        ):
            layer(x, mask=mask)
    with pytest.raises(
        ValueError, match="expected no mask in a call on symbolic tensors, got one; call the layer on arrays"
    ):
        layers.Softmax()(Input((3,)), mask=[1, 1, 0])


def test_identity_changes_nothing() -> None:
    models = []
    for more in ([], [layers.Identity()]):
        config.set_seed(0)
        model = Sequential([Input((5,)), Dense(4, "tanh"), *more, Dense(2)])
        model.compile("sgd", "mse")
        model.fit(normal(8, 5), normal(8, 2, seed=1), epochs=2, verbose=0)
        models.append(model)
    for one, other in zip(*(model.get_weights() for model in models)):
        assert_bits(one, other)
