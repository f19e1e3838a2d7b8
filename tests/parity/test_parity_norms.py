"""Normalization, regularizers, constraints and initial values against Keras (on JAX) and PyTorch."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastnn import Input, Sequential, constraints, initializers, layers, optimizers, regularizers

Array = NDArray[Any]
Generator = np.random.Generator

pytestmark = pytest.mark.filterwarnings("default")  # other packages warn about each other

CLOSE = 1e-5  # of the largest value; the peer computes in float32 or float64


def keras_on_jax() -> Any:
    """Return Keras, or skip the test."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    pytest.importorskip("jax")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "jax":
        pytest.skip("Keras runs on another backend in this process")
    return keras


def normal(rng: Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, np.float32)


def check(got: Any, expected: Any, what: str, close: float = CLOSE) -> None:
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, what
    worst = float(np.abs(got - expected).max(initial=0))
    assert worst <= close * (float(np.abs(expected).max(initial=0)) + 0.1), f"{what}: off by {worst}"


def compare_layer(name: str, arguments: dict[str, Any], x: Array, rng: Generator) -> None:
    """Compare outputs and all gradients of a layer with those of Keras's, in training."""
    keras, jax = keras_on_jax(), pytest.importorskip("jax")
    ours, theirs = getattr(layers, name)(**arguments), getattr(keras.layers, name)(**arguments)
    ours.build_for((None, *x.shape[1:]))
    theirs.build((None, *x.shape[1:]))
    for p, variable in zip(ours.trainable_weights, theirs.trainable_variables, strict=True):
        p.assign(normal(rng, *p.shape))
        variable.assign(p.value)
    dy = normal(rng, *x.shape)
    others = [v.value for v in theirs.non_trainable_variables]
    kwargs = {"training": True} if name == "BatchNormalization" else {}

    def value(parameters: Any, z: Any) -> Any:
        y, state = theirs.stateless_call(parameters, others, z, **kwargs)
        return (y * dy).sum(), (y, state)

    start = [v.value for v in theirs.trainable_variables]
    (_, (y, state)), (slopes, dx) = jax.value_and_grad(value, argnums=(0, 1), has_aux=True)(start, x)
    check(ours.forward(x, training=True), y, "output")
    check(ours.backward(dy), dx, "input gradient", 4 * CLOSE)
    for p, slope in zip(ours.trainable_weights, slopes, strict=True):
        check(p.gradient, slope, p.name)
    for p, new in zip(ours.non_trainable_weights, state, strict=True):
        check(p.value, new, p.name)


@pytest.mark.parametrize("seed", range(12))
def test_row_normalization(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(2, 5))
    shape = tuple(int(v) for v in rng.integers(2, 7, rank))
    count = int(rng.integers(1, rank))
    axes = sorted(int(a) for a in rng.choice(np.arange(1, rank), count, replace=False))
    axis: Any = axes[0] if len(axes) == 1 else axes
    epsilon = float(rng.choice([1e-3, 1e-5, 0.1]))
    x = normal(rng, *shape) * 3 + 1
    options = {"center": bool(rng.integers(2)), "scale": bool(rng.integers(2))}
    compare_layer("LayerNormalization", {"axis": axis, "epsilon": epsilon, **options}, x, rng)
    last = list(range(rank - count, rank))  # Keras's scale broadcasts along the last axes only
    compare_layer("RMSNormalization", {"axis": last, "epsilon": epsilon}, x, rng)
    compare_layer("UnitNormalization", {"axis": axis}, x, rng)


@pytest.mark.parametrize("seed", range(12))
def test_normalization_of_channels(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    rank, groups = int(rng.integers(2, 5)), int(rng.choice([1, 2, 3, -1]))
    shape = [int(v) for v in rng.integers(2, 6, rank)]
    axis = int(rng.choice([-1, 1]))
    shape[axis] = abs(groups) * int(rng.integers(1, 5))
    x = normal(rng, *shape) * 2 - 1
    options: dict[str, Any] = {"axis": axis, "center": bool(rng.integers(2)), "scale": bool(rng.integers(2))}
    compare_layer("GroupNormalization", {"groups": groups, "epsilon": 0.01, **options}, x, rng)
    compare_layer("BatchNormalization", {"momentum": 0.7, "epsilon": 0.01, **options}, x, rng)


def test_group_and_layer_normalization_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    x, dy = normal(rng, 3, 8, 5, 6), normal(rng, 3, 8, 5, 6)
    image = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    y = torch.nn.functional.group_norm(image, 4, eps=1e-3)
    y.backward(torch.tensor(dy, dtype=torch.float64))
    layer = layers.GroupNormalization(4, axis=1)
    check(layer(x, training=True), y.detach(), "output")
    check(layer.backward(dy), image.grad, "input gradient")
    image.grad = None
    y = torch.nn.functional.layer_norm(image, (5, 6), eps=1e-3)
    y.backward(torch.tensor(dy, dtype=torch.float64))
    rows = layers.LayerNormalization([2, 3])
    check(rows(x, training=True), y.detach(), "output")
    check(rows.backward(dy), image.grad, "input gradient")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("L1", {"l1": 0.3}), ("L2", {"l2": 0.2}), ("L1L2", {"l1": 1e-5, "l2": 1e-4}),
     ("OrthogonalRegularizer", {"factor": 0.5}), ("OrthogonalRegularizer", {"factor": 0.1, "mode": "columns"})],
)  # fmt: skip
def test_regularizers(name: str, arguments: dict[str, Any]) -> None:
    keras, jax = keras_on_jax(), pytest.importorskip("jax")
    ours, theirs = getattr(regularizers, name)(**arguments), getattr(keras.regularizers, name)(**arguments)
    for shape in ((5, 7), (1, 3), (6, 2)):
        if name == "OrthogonalRegularizer" and shape[0] == 1:
            continue  # Keras divides 0 by 0
        x = normal(np.random.default_rng(1), *shape)
        value, slope = jax.value_and_grad(lambda z: theirs(z))(x)
        check(ours(x), value, "penalty")
        check(ours.gradient(x), slope, "gradient")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("MaxNorm", {}), ("MaxNorm", {"max_value": 1.0, "axis": 1}), ("MaxNorm", {"max_value": 1.0, "axis": [0, 1, 2]}),
     ("NonNeg", {}), ("UnitNorm", {}), ("UnitNorm", {"axis": [1, 3]}),
     ("MinMaxNorm", {"min_value": 0.5, "max_value": 1.0, "rate": 0.3, "axis": [0, 2]})],
)  # fmt: skip
def test_constraints(name: str, arguments: dict[str, Any]) -> None:
    keras = keras_on_jax()
    w = normal(np.random.default_rng(1), 3, 4, 5, 6)
    expected = getattr(keras.constraints, name)(**arguments)(w)
    check(getattr(constraints, name)(**arguments)(w), expected, name, 1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_training_with_penalties_and_constraints(seed: int) -> None:
    """Ten steps: the same reported losses, the same weights."""
    keras, rng = keras_on_jax(), np.random.default_rng(seed)
    first: dict[str, Any] = {
        "activation": "relu", "kernel_regularizer": ("L1L2", {"l1": 0.01, "l2": 0.02}), "bias_regularizer": ("L2", {"l2": 0.03}),
        "activity_regularizer": ("L2", {"l2": 0.05}), "kernel_constraint": ("MaxNorm", {"max_value": 0.9}),
        "bias_constraint": ("NonNeg", {}),
    }  # fmt: skip
    last: dict[str, Any] = {
        "activation": "softmax", "kernel_regularizer": ("OrthogonalRegularizer", {"factor": 0.1}),
        "activity_regularizer": ("L1", {"l1": 0.01}), "kernel_constraint": ("UnitNorm", {}),
    }  # fmt: skip
    keep = [name for name in first if name == "activation" or rng.integers(2)]

    def arguments(chosen: dict[str, Any], of: Any, limits: Any) -> dict[str, Any]:
        made = {}
        for name, value in chosen.items():
            family = of if "regularizer" in name else limits
            made[name] = getattr(family, value[0])(**value[1]) if isinstance(value, tuple) else value
        return made

    first = {name: first[name] for name in keep}
    mine = Sequential([
        Input((5,)), layers.Dense(8, **arguments(first, regularizers, constraints)),
        layers.BatchNormalization(gamma_regularizer="l2"), layers.ActivityRegularization(0.01, 0.02),
        layers.Dense(3, **arguments(last, regularizers, constraints)),
    ])  # fmt: skip
    theirs = keras.Sequential([
        keras.Input((5,)), keras.layers.Dense(8, **arguments(first, keras.regularizers, keras.constraints)),
        keras.layers.BatchNormalization(gamma_regularizer="l2"), keras.layers.ActivityRegularization(0.01, 0.02),
        keras.layers.Dense(3, **arguments(last, keras.regularizers, keras.constraints)),
    ])  # fmt: skip
    theirs.set_weights(mine.get_weights())
    x, y = normal(rng, 40, 5), rng.integers(0, 3, 40)
    mine.compile(optimizers.SGD(0.1, momentum=0.5), "sparse_categorical_crossentropy")
    theirs.compile(keras.optimizers.SGD(0.1, momentum=0.5), "sparse_categorical_crossentropy")
    options = {"batch_size": 16, "epochs": 4, "shuffle": False, "verbose": 0, "validation_data": (x[:9], y[:9])}
    ours, expected = mine.fit(x, y, **options).history, theirs.fit(x, y, **options).history
    for name, values in expected.items():
        np.testing.assert_allclose(ours[name], values, rtol=2e-5, err_msg=name)
    for p, q in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        check(p, q, "weights", 5e-5)


@pytest.mark.parametrize(
    "name", ["GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform", "LecunNormal"]
)
def test_initial_values_have_the_deviation_and_limits_of_keras(name: str) -> None:
    keras = keras_on_jax()
    for shape in ((400, 300), (3, 5, 40, 60)):
        ours, theirs = (
            getattr(initializers, name)(seed=1)(shape),
            np.asarray(getattr(keras.initializers, name)(seed=1)(shape)),
        )
        assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
        assert np.abs(ours).max() == pytest.approx(np.abs(theirs).max(), rel=0.02)


@pytest.mark.parametrize("loss", ["mse", "mae", "binary_crossentropy"])
def test_masked_training(loss: str) -> None:
    """Times that are left out: the same losses and weights, with and without weights of samples."""
    keras, rng = keras_on_jax(), np.random.default_rng(3)
    x, y = normal(rng, 20, 5, 4), (rng.random((20, 5, 2)) > 0.5).astype(np.float32)
    x[rng.random((20, 5)) > 0.6] = 0
    weights = rng.random(20).astype(np.float32)

    def stack(of: Any, first: Any) -> list[Any]:
        return [first, of.Masking(), of.Dense(6, "tanh"), of.LayerNormalization(), of.ReLU(), of.Dense(2, "sigmoid")]

    mine, theirs = Sequential(stack(layers, Input((5, 4)))), keras.Sequential(stack(keras.layers, keras.Input((5, 4))))
    theirs.set_weights(mine.get_weights())
    mine.compile(optimizers.SGD(0.1), loss)
    theirs.compile(keras.optimizers.SGD(0.1), loss)
    for sample_weight in (None, weights[:, None]):
        options = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0, "sample_weight": sample_weight}
        found, expected = mine.fit(x, y, **options).history["loss"], theirs.fit(x, y, **options).history["loss"]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    for p, q in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        check(p, q, "weights", 5e-5)
