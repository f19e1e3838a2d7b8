"""layer_outputs, check_activations, gradient_norms: against what the layers give one by one, and that nothing is changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import Array
from gradcheck import normal
from tolerances import assert_bits, assert_close

import fastnn
from fastnn import Input, Model, Sequential, config, initializers, layers, losses, optimizers
from fastnn.layers import Activation, BatchNormalization, Conv2D, Dense, Dropout, Flatten


@pytest.fixture(autouse=True)
def _seed() -> None:
    config.set_seed(0)


def images(n: int = 6) -> Array:
    return normal(n, 9, 7, 3).astype(np.float32)


def convolutional() -> Sequential:
    """Return a model whose layers training would take together."""
    stack = [
        Input((9, 7, 3)), Conv2D(5, 3, use_bias=False, name="conv"), BatchNormalization(name="norm"),
        Activation("relu", name="relu"), Dropout(0.5, name="drop"), Flatten(name="flat"), Dense(2, "tanh", name="out"),
    ]  # fmt: skip
    return Sequential(stack)


def test_outputs_are_those_of_the_layers_one_after_the_other() -> None:
    model, x = convolutional(), images()
    found = model.layer_outputs(x)
    assert list(found) == ["conv", "norm", "relu", "drop", "flat", "out"]
    given: Any = x
    for layer in model.layers:
        given = np.asarray(layer(given))
        assert_close(found[layer.name], given, 1e-6)
    assert_bits(found["out"], model.predict(x, verbose=0))
    assert list(model.layer_outputs(x, ["out", "relu"])) == ["relu", "out"]


def test_outputs_are_the_callers_own() -> None:
    x = images()
    model = Sequential([Input((9, 7, 3)), Flatten(name="flat"), Dropout(0.5, name="drop")])
    found = model.layer_outputs(x)
    for out in found.values():
        out[...] = 0
    assert np.abs(x).min() > 0


def test_outputs_of_shared_layers_and_of_models_inside() -> None:
    inner = Sequential([Input((4,)), Dense(3, "tanh", name="inside")], name="inner")
    shared = Dense(4, name="shared")
    a, b = Input((4,), name="a"), Input((4,), name="b")
    both = layers.Add(name="sum")([inner(shared(a)), inner(shared(b))])
    model = Model({"a": a, "b": b}, both)
    given = {"a": normal(5, 4), "b": normal(5, 4, seed=1)}
    found = model.layer_outputs(given)
    assert list(found) == ["shared", "inside", "shared (2)", "inside (2)", "sum"]
    assert_close(found["shared (2)"], np.asarray(shared(given["b"])), 1e-6)
    assert_bits(found["inside"] + found["inside (2)"], found["sum"])
    assert list(model.layer_outputs(given, ["shared"])) == ["shared", "shared (2)"]


def test_dead_units_and_saturated_values() -> None:
    kernel = np.array([[1.0, -1.0, 1.0, -1.0, -1.0]])
    model = Sequential([Input((1,)), Dense(5, "relu", name="r"), Dense(2, name="l"), Activation("sigmoid", name="s")])
    model.set_weights([kernel, np.zeros(5), np.array([[1.0, 0.0]] * 5), np.zeros(2)])
    x = np.array([[0.5], [1.0], [3.0]])
    r, linear, s = model.check_activations(x).rows
    assert r.dead == pytest.approx(3 / 5)
    assert (r.activation, r.shape, r.saturated) == ("relu", (3, 5), None)
    assert (linear.dead, linear.saturated) == (None, None)
    assert s.saturated == pytest.approx(1 / 6)  # sigmoid(6) only: sigmoid(2) = 0.88
    assert s.dead == 0.0
    assert (linear.mean, linear.std) == (pytest.approx(1.5), pytest.approx(np.std([1, 2, 6, 0, 0, 0])))
    head, first, *_ = str(model.check_activations(x)).splitlines()
    assert head.split() == ["layer", "activation", "shape", "mean", "std", "dead", "saturated"]
    assert first.split()[-2:] == ["60.0%", "-"]


def test_a_unit_of_a_convolution_is_a_channel() -> None:
    for form, shape in (("channels_last", (4, 4, 1)), ("channels_first", (1, 4, 4))):
        model = Sequential([Input(shape), Conv2D(3, 1, activation="relu", data_format=form)])
        model.set_weights([np.array([1.0, -1.0, 2.0]).reshape(1, 1, 1, 3), np.zeros(3)])
        (row,) = model.check_activations(np.ones((2, *shape))).rows
        assert row.dead == pytest.approx(1 / 3)


@pytest.mark.parametrize(("activation", "stuck"), [("tanh", True), ("relu", False), ("softmax", False), ("elu", False)])
def test_saturation_is_of_bounded_activations_only(activation: str, stuck: bool) -> None:
    model = Sequential([Input((3,)), Dense(3, activation, use_bias=False)])
    model.set_weights([1000 * np.eye(3)])
    (row,) = model.check_activations(np.ones((2, 3))).rows
    assert row.saturated == (1.0 if stuck else None)


def test_three_quarters_of_sigmoids_are_stuck_after_weights_of_deviation_one() -> None:
    wide = initializers.RandomNormal(stddev=1.0)
    hidden = [Dense(100, "sigmoid", kernel_initializer=wide) for _ in range(5)]
    rows = Sequential([Input((100,)), *hidden]).check_activations(normal(1000, 100)).rows
    assert np.mean([row.saturated for row in rows]) == pytest.approx(0.75, abs=0.03)
    assert np.mean([row.std for row in rows]) == pytest.approx(0.45, abs=0.02)


def test_sigmoids_have_a_mean_above_zero_and_tanhs_have_not() -> None:
    x = normal(500, 50)
    means = {}
    for kind in ("sigmoid", "tanh"):
        (row,) = Sequential([Input((50,)), Dense(80, kind)]).check_activations(x).rows
        means[kind] = row.mean
    assert means["sigmoid"] == pytest.approx(0.5, abs=0.05)
    assert means["tanh"] == pytest.approx(0.0, abs=0.05)


def test_a_learning_rate_that_is_too_large_kills_relus_and_a_smaller_one_does_not() -> None:
    x = normal(200, 5)
    y = (normal(200, 1, seed=1) > 0).astype(np.float32)
    dead = {}
    for rate in (0.01, 10.0):
        config.set_seed(0)
        hidden = Dense(30, "relu", kernel_initializer="he_normal", name="hidden")
        model = Sequential([Input((5,)), hidden, Dense(1, "sigmoid")])
        model.compile(optimizers.SGD(rate), "binary_crossentropy")
        model.fit(x, y, batch_size=20, epochs=5, verbose=0)
        dead[rate] = model.check_activations(x, ["hidden"]).rows[0].dead
    assert dead[0.01] == 0.0
    assert dead[10.0] is not None
    assert dead[10.0] > 0.5


# ---------------------------------------------------------------- gradients


def test_norms_of_gradients_are_those_of_a_backward_pass() -> None:
    model = Sequential([Input((4,)), Dense(6, "tanh", name="a"), Dense(3, use_bias=False, name="b")])
    x, y = normal(8, 4), normal(8, 3, seed=1)
    model.compile(optimizers.SGD(0.1, loss_scale_factor=64.0), "mse")
    found = model.gradient_norms(x, y)
    loss = losses.MeanSquaredError()
    loss.forward(y, model.forward(x, training=True))
    model.backward(loss.backward())
    kernel, bias, last = (np.asarray(p.gradient, np.float64) for p in model.weights)
    assert found == {
        "a": pytest.approx(np.sqrt((kernel**2).sum() + (bias**2).sum()), rel=1e-5),
        "b": pytest.approx(np.linalg.norm(last), rel=1e-5),
    }
    doubled = model.gradient_norms(x, y, sample_weight=np.full(8, 2.0))
    assert doubled["b"] == pytest.approx(2 * found["b"], rel=1e-5)
    model.get_layer("a").trainable = False
    assert list(model.gradient_norms(x, y)) == ["b"]


def test_nothing_is_changed() -> None:
    model, x, y = convolutional(), images(), normal(6, 2)
    model.compile("adam", "mse")
    model.fit(x, y, epochs=1, verbose=0)
    again = fastnn.models.clone_model(model)
    again.set_weights(model.get_weights())

    def state() -> list[Array]:
        counters = [c for layer in model.leaf_layers for c in layer.counters.values()]
        assert model.optimizer is not None
        return [w.copy() for w in (*model.get_weights(), *model.optimizer.state().values(), *counters)]

    before, epochs = state(), model.epochs_shuffled
    first = model.gradient_norms(x, y)
    model.layer_outputs(x)
    model.check_activations(x)
    assert model.gradient_norms(x, y) == first
    for a, b in zip(before, state()):
        np.testing.assert_array_equal(a, b)
    assert model.epochs_shuffled == epochs


def test_gradients_vanish_behind_ten_sigmoids_and_not_behind_relus() -> None:
    for activation, start, least, most in (("sigmoid", "glorot_uniform", 0, 1e-3), ("relu", "he_normal", 0.1, 10)):
        hidden = [Dense(50, activation, kernel_initializer=start) for _ in range(10)]
        model = Sequential([Input((50,)), *hidden, Dense(5)])
        model.compile("sgd", "mse")
        norms = list(model.gradient_norms(normal(64, 50, seed=1), normal(64, 5)).values())
        assert least < norms[0] / norms[-2] < most


# ---------------------------------------------------------------- errors


def test_errors() -> None:
    model = Sequential([Input((4,)), Dense(2, name="only")])
    with pytest.raises(ValueError, match="layer_outputs: expected layers to be one of 'only', got 'onyl'"):
        model.layer_outputs(np.ones((3, 4)), ["onyl"])
    with pytest.raises(TypeError, match="check_activations: expected layers as a list of names, got 'only'"):
        model.check_activations(np.ones((3, 4)), "only")
    with pytest.raises(ValueError, match=r"expected input of shape \(N, 4\), got \(3, 5\)"):
        model.layer_outputs(np.ones((3, 5)))
    with pytest.raises(ValueError, match="gradient_norms: expected a compiled model with a loss"):
        model.gradient_norms(np.ones((3, 4)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="expected a built model"):
        Sequential([Dense(2)]).layer_outputs(np.ones((3, 4)))
