"""Activations, their layers and losses against Keras and PyTorch in float64, over random configurations: values and gradients."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastnn import activations, layers, losses

Array = NDArray[Any]
pytestmark = pytest.mark.filterwarnings("default")  # other packages warn about each other

CLOSE = 1e-6  # of the largest value: float32 against float64


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def check(got: Any, expected: Any, what: str, close: float = CLOSE) -> None:
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape, f"{what}: shape {got.shape} instead of {expected.shape}"
    worst = float(np.abs(got - expected).max(initial=0))
    assert worst <= close * (float(np.abs(expected).max(initial=0)) + 1e-3), f"{what}: off by {worst}"


@contextmanager
def keras_in_float64() -> Iterator[tuple[Any, Any]]:
    """Give keras (on JAX) and jax, both computing in float64."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras, jax = pytest.importorskip("keras", exc_type=ImportError), pytest.importorskip("jax")
    if keras.backend.backend() != "jax":
        pytest.skip("compared with Keras on JAX")
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        with jax.enable_x64(True):
            yield keras, jax
    finally:
        keras.config.set_floatx(before)


def pulled(jax: Any, f: Callable[[Any], Any], x: Array, dy: Array | None) -> tuple[Array, Array]:
    """Return f(x), and dy pulled back through f (ones for None)."""
    y, pull = jax.vjp(f, jax.numpy.asarray(x, np.float64))
    dy = np.ones(y.shape) if dy is None else dy.astype(np.float64)
    return np.asarray(y), np.asarray(pull(jax.numpy.asarray(dy))[0])


# ---------------------------------------------------------------- activations

PARAMETERS: list[tuple[str, dict[str, Any]]] = [
    # Keras has no step and no sign; its tanh returns float32 whatever it is given, and is compared with PyTorch's below.
    *((name, {}) for name in activations.NAMES if name not in ("step", "sign", "gelu_tanh", "tanh")),
    ("relu", {"negative_slope": 0.25}),
    ("relu", {"max_value": 1.25}),
    ("relu", {"negative_slope": 0.25, "max_value": 1.25, "threshold": 0.5}),
    ("relu", {"negative_slope": 0.1, "threshold": 0.3}),
    ("leaky_relu", {"negative_slope": 0.4}),
    ("elu", {"alpha": 0.6}),
    ("celu", {"alpha": 1.7}),
    ("gelu", {"approximate": True}),
    ("soft_shrink", {"threshold": 0.3}),
    ("hard_shrink", {"threshold": 0.8}),
    ("squareplus", {"b": 1.5}),
    ("softmax", {"axis": 1}),
    ("softmax", {"axis": (1, 2)}),
    ("log_softmax", {"axis": -2}),
]


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS, ids=str)
def test_activation(name: str, parameters: dict[str, Any]) -> None:
    x, dy = 3 * normal(6, 7, 5), normal(6, 7, 5, seed=1)
    f = activations.Activation(name, **parameters)
    y = f.forward(x)
    dx = f.backward(dy, x, y)
    with keras_in_float64() as (keras, jax):
        if isinstance(parameters.get("axis"), tuple):
            theirs = keras.layers.Softmax(**parameters)
            want = pulled(jax, theirs, x, dy)
        else:
            want = pulled(jax, lambda z: getattr(keras.activations, name)(z, **parameters), x, dy)
    check(y, want[0], name)
    check(dx, want[1], f"gradient of {name}")


TORCH = {
    "relu": "relu", "relu6": "relu6", "leaky_relu": "leaky_relu", "elu": "elu", "selu": "selu", "celu": "celu",
    "sigmoid": "sigmoid", "hard_sigmoid": "hardsigmoid", "tanh": "tanh", "hard_tanh": "hardtanh", "gelu": "gelu",
    "softplus": "softplus", "softsign": "softsign", "silu": "silu", "mish": "mish", "hard_silu": "hardswish",
    "log_sigmoid": "logsigmoid", "tanh_shrink": "tanhshrink", "soft_shrink": "softshrink",
    "hard_shrink": "hardshrink",
}  # fmt: skip


@pytest.mark.parametrize("name", TORCH)
def test_activation_against_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    x, dy = 3 * normal(6, 7), normal(6, 7, seed=1)
    f = activations.Activation(name, 0.01) if name == "leaky_relu" else activations.Activation(name)
    t = torch.tensor(x.astype(np.float64), requires_grad=True)
    want = getattr(torch.nn.functional, TORCH[name])(t)
    want.backward(torch.tensor(dy.astype(np.float64)))
    y = f.forward(x)
    check(y, want.detach().numpy(), name)
    check(f.backward(dy, x, y), t.grad.numpy(), f"gradient of {name}")


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        ("ReLU", {"max_value": 1.0, "negative_slope": 0.2, "threshold": 0.4}),
        ("LeakyReLU", {"negative_slope": 0.15}),
        ("ELU", {"alpha": 0.4}),
        ("Softmax", {"axis": 2}),
        ("PReLU", {}),
        ("PReLU", {"shared_axes": [1, 2]}),
        ("PReLU", {"shared_axes": [2]}),
        ("PReLU", {"shared_axes": [1, 3]}),
    ],
    ids=str,
)
def test_layer(cls: str, arguments: dict[str, Any]) -> None:
    x, dy = normal(3, 4, 5, 2), normal(3, 4, 5, 2, seed=1)
    layer = getattr(layers, cls)(**arguments)
    layer.build_for((None, 4, 5, 2))
    for p in layer.parameters:
        p.assign(normal(*p.shape, seed=2))
    y = layer.forward(x, training=True)
    found = {"input": layer.backward(dy)}
    if layer.parameters:
        found["alpha"] = layer.parameters[0].gradient
    with keras_in_float64() as (keras, jax):
        theirs = getattr(keras.layers, cls)(**arguments)
        theirs.build((None, 4, 5, 2))
        theirs.set_weights([p.value for p in layer.parameters])
        want, dx = pulled(jax, theirs, x, dy)
        expected = {"input": dx}
        if layer.parameters:
            value = layer.parameters[0].value

            def of_alpha(alpha: Any) -> Any:
                return theirs.stateless_call([alpha], [], jax.numpy.asarray(x, np.float64))[0]

            expected["alpha"] = pulled(jax, of_alpha, value, dy)[1]
    check(y, want, cls)
    for name, gradient in found.items():
        check(gradient, expected[name], f"gradient of {name}")


# ---------------------------------------------------------------- losses


def inputs(cls: str, arguments: dict[str, Any], shape: tuple[int, ...], seed: int) -> tuple[Array, Array]:
    """Return a truth and predictions that such a loss is made for."""
    rng = np.random.default_rng(seed)
    values, axis = normal(*shape, seed=seed), arguments.get("axis", -1)
    shares = 1 / (1 + np.exp(-values))
    if cls.startswith(("Categorical", "Sparse", "KL")):
        shares = shares / shares.sum(axis, keepdims=True)  # Keras divides by the sum
    if cls.startswith("Sparse"):
        labels = rng.integers(0, shape[axis], np.delete(shape, axis))
        ignored = arguments.get("ignore_class")
        if ignored is not None:
            labels[rng.random(labels.shape) < 0.3] = ignored
        return labels, values if arguments.get("from_logits") else shares
    if cls.startswith("Categorical"):
        truth = np.moveaxis(np.eye(shape[axis])[rng.integers(0, shape[axis], np.delete(shape, axis))], -1, axis)
        plain = cls == "CategoricalHinge" or arguments.get("from_logits")
        return truth.astype(np.float32), values if plain else shares
    if cls.startswith("Binary"):
        return (rng.random(shape) > 0.5).astype(np.float32), values if arguments.get("from_logits") else shares
    if cls == "KLDivergence":
        return shares[::-1].copy(), shares
    if cls in ("Poisson", "MeanSquaredLogarithmicError"):
        return rng.integers(0, 5, shape).astype(np.float32), np.abs(values) + np.float32(0.1)
    if cls in ("Hinge", "SquaredHinge"):
        truth = rng.integers(0, 2, shape).astype(np.float32)
        return (truth if seed % 2 else 2 * truth - 1), values
    return normal(*shape, seed=seed + 100), values


CHOICES: dict[str, dict[str, list[Any]]] = {
    "MeanSquaredError": {},
    "MeanAbsoluteError": {},
    "MeanAbsolutePercentageError": {},
    "MeanSquaredLogarithmicError": {},
    "Huber": {"delta": [0.3, 1.0, 2.5]},
    "LogCosh": {},
    "CosineSimilarity": {"axis": [-1, 1]},
    "Hinge": {},
    "SquaredHinge": {},
    "CategoricalHinge": {},
    "KLDivergence": {},
    "Poisson": {},
    "BinaryCrossentropy": {"from_logits": [False, True], "label_smoothing": [0.0, 0.2], "axis": [-1, 1]},
    "BinaryFocalCrossentropy": {
        "from_logits": [False, True],
        "label_smoothing": [0.0, 0.2],
        "apply_class_balancing": [False, True],
        "alpha": [0.25, 0.6],
        "gamma": [0.0, 1.5, 2.0],
        "axis": [-1, 1],
    },
    "CategoricalCrossentropy": {"from_logits": [False, True], "label_smoothing": [0.0, 0.2], "axis": [-1, 1]},
    "CategoricalFocalCrossentropy": {
        "from_logits": [False, True],
        "label_smoothing": [0.0, 0.2],
        "alpha": [0.25, 1.0],
        "gamma": [0.0, 1.5, 2.0],
        "axis": [-1],
    },
    "SparseCategoricalCrossentropy": {"from_logits": [False, True], "ignore_class": [None, 1, -1], "axis": [-1, 1]},
}
REDUCTIONS = ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight"]


def configurations(count: int = 8) -> list[tuple[str, dict[str, Any], int]]:
    """Return (class, arguments, seed): `count` of every class, drawn from its choices."""
    rng = np.random.default_rng(7)
    found = []
    for cls, choices in CHOICES.items():
        for seed in range(count):
            arguments = {name: values[rng.integers(len(values))] for name, values in choices.items()}
            found.append((cls, {**arguments, "reduction": REDUCTIONS[seed % len(REDUCTIONS)]}, seed))
    return found


@pytest.mark.parametrize(("cls", "arguments", "seed"), configurations(), ids=str)
def test_loss(cls: str, arguments: dict[str, Any], seed: int) -> None:
    shape = (6, 4, 3) if seed % 4 < 2 else (6, 5)
    y_true, y_pred = inputs(cls, arguments, shape, seed)
    # Keras takes a weight for every loss; one per sample only where a sample is a row.
    lead = tuple(np.delete(shape, arguments.get("axis", -1)))
    weights = np.random.default_rng(seed).uniform(0.5, 2.0, lead) if seed % 2 else None
    loss = getattr(losses, cls)(**arguments)
    value = loss.forward(y_true, y_pred, weights)
    with keras_in_float64() as (keras, jax):
        theirs = getattr(keras.losses, cls)(**arguments)
        truth = y_true.astype(np.int64) if cls.startswith("Sparse") else y_true.astype(np.float64)
        want, slope = pulled(jax, lambda p: theirs(truth, p, weights), y_pred, None)
        if cls.startswith(("Categorical", "Sparse")) and not arguments.get("from_logits", True):
            slope = without_division(slope, y_pred, truth, arguments)
    assert float(value) == pytest.approx(float(want), rel=CLOSE, abs=CLOSE), cls
    check(loss.backward(), slope, f"gradient of {cls}", 2e-6)


def without_division(slope: Array, p: Array, truth: Array, arguments: dict[str, Any]) -> Array:
    """Return Keras's gradient as if it did not divide probabilities by their sum, which is 1 here.

    With q = p / sum(p) its gradient is g - sum(g p) along the axis, g being that by q. The true classes' g are not 0, and those of
    the others are: of a class that is not true (or smoothed) the slope is what was subtracted.
    """
    axis = arguments.get("axis", -1)
    if truth.ndim < p.ndim:
        truth = np.moveaxis(np.eye(p.shape[axis])[np.clip(truth, 0, p.shape[axis] - 1)], -1, axis)
    if arguments.get("label_smoothing"):
        pytest.skip("every class is true to some degree: nothing to tell the part that was subtracted from")
    others = np.where(truth == 0, slope, np.nan)
    return slope - np.where(truth == 0, slope, np.nanmean(others, axis, keepdims=True))


FUNCTIONS = [name for name in losses.__all__ if name.islower() and name not in ("get", "serialize", "deserialize")]


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "half_sum_squares"])
def test_function(name: str) -> None:
    cls = type(losses.get(name)).__name__
    y_true, y_pred = inputs(cls, {}, (6, 4, 3), 3)
    with keras_in_float64() as (keras, _):
        want = getattr(keras.losses, name)(y_true, y_pred.astype(np.float64))
        check(getattr(losses, name)(y_true, y_pred), want, name, 2e-6)


TORCH_LOSSES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "MeanSquaredError": ("MSELoss", {}, {}),
    "MeanAbsoluteError": ("L1Loss", {}, {}),
    "Huber": ("HuberLoss", {"delta": 0.7}, {"delta": 0.7}),
    "BinaryCrossentropy": ("BCEWithLogitsLoss", {"from_logits": True}, {}),
    "CategoricalCrossentropy": (
        "CrossEntropyLoss",
        {"from_logits": True, "label_smoothing": 0.1},
        {"label_smoothing": 0.1},
    ),
    "SparseCategoricalCrossentropy": ("CrossEntropyLoss", {"from_logits": True, "ignore_class": -100}, {}),
}


@pytest.mark.parametrize("cls", TORCH_LOSSES)
def test_loss_against_torch(cls: str) -> None:
    torch = pytest.importorskip("torch")
    name, ours, theirs = TORCH_LOSSES[cls]
    y_true, y_pred = inputs(cls, ours, (9, 5), 1)
    t = torch.tensor(y_pred.astype(np.float64), requires_grad=True)
    truth = torch.tensor(y_true.astype(np.int64 if cls.startswith("Sparse") else np.float64))
    want = getattr(torch.nn, name)(**theirs)(t, truth)
    want.backward()
    loss = getattr(losses, cls)(**ours)
    check(loss.forward(y_true, y_pred), want.item(), cls)
    check(loss.backward(), t.grad.numpy(), f"gradient of {cls}")
