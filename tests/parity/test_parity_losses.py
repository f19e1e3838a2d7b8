"""Activations, their layers and losses against Keras and PyTorch in float64, over random configurations: values and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import SHORT, Array, assert_near, check_function, check_layer, gradients, keras, normal, numpy_of, tensor

from fastnn import activations, losses

CLOSE = 2e-6  # of the largest value: some more roundings than SHORT has


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
    if isinstance(parameters.get("axis"), tuple):
        theirs = keras().layers.Softmax(**parameters)
    else:
        function = getattr(keras().activations, name)

        def theirs(x: Any) -> Any:
            return function(x, **parameters)

    check_function(activations.Activation(name, **parameters), theirs, 3 * normal(6, 7, 5))


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
    assert_near(y, want.detach().numpy(), SHORT, name)
    assert_near(f.backward(dy, x, y), t.grad.numpy(), SHORT, f"gradient of {name}")


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
    check_layer(cls, arguments, (4, 5, 2))


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
    theirs = getattr(keras().losses, cls)(**arguments)
    truth, counts = tensor(y_true), None if weights is None else tensor(weights)

    def objective(values: list[Any]) -> tuple[Any, Any]:
        number = theirs(truth, values[0], counts)
        return number, number

    want, (slope,) = gradients(objective)([y_pred])
    if cls.startswith(("Categorical", "Sparse")) and not arguments.get("from_logits", True):
        slope = without_division(slope, y_pred, y_true, arguments)
    assert float(value) == pytest.approx(float(numpy_of(want)), rel=SHORT, abs=SHORT), cls
    assert_near(loss.backward(), slope, CLOSE, f"gradient of {cls}")


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
    want = getattr(keras().losses, name)(tensor(y_true), tensor(y_pred))
    assert_near(getattr(losses, name)(y_true, y_pred), numpy_of(want), CLOSE, name)


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
    assert_near(loss.forward(y_true, y_pred), want.item(), SHORT, cls)
    assert_near(loss.backward(), t.grad.numpy(), SHORT, f"gradient of {cls}")
