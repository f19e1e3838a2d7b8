"""Activations, their layers and losses against Keras and PyTorch in float64, over random configurations: values and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases_objects import ACTIVATIONS, LOSSES, TORCH_ACTIVATIONS, loss_arguments, loss_data
from harness import (
    BACKEND,
    LONG,
    QUICK,
    SHORT,
    Arguments,
    Array,
    assert_near,
    check_function,
    gradients,
    keras,
    normal,
    numpy_of,
    tensor,
)

import fastnn
from fastnn import activations, losses

CLOSE = 2e-6  # of the largest value: some more roundings than SHORT has


# ---------------------------------------------------------------- activations


@pytest.mark.parametrize(("name", "parameters"), ACTIVATIONS, ids=str)
def test_activation(name: str, parameters: dict[str, Any]) -> None:
    if isinstance(parameters.get("axis"), tuple):
        theirs = keras().layers.Softmax(**parameters)
    else:
        function = getattr(keras().activations, name)

        def theirs(x: Any) -> Any:
            return function(x, **parameters)

    check_function(activations.Activation(name, **parameters), theirs, 3 * normal(6, 7, 5))


@pytest.mark.parametrize("name", TORCH_ACTIVATIONS)
def test_activation_against_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    x, dy = 3 * normal(6, 7), normal(6, 7, seed=1)
    f = activations.Activation(name, 0.01) if name == "leaky_relu" else activations.Activation(name)
    t = torch.tensor(x.astype(np.float64), requires_grad=True)
    more = {"approximate": "tanh"} if name == "gelu_tanh" else {}
    want = getattr(torch.nn.functional, TORCH_ACTIVATIONS[name])(t, **more)
    want.backward(torch.tensor(dy.astype(np.float64)))
    y = f.forward(x)
    assert_near(y, want.detach().numpy(), SHORT, name)
    assert_near(f.backward(dy, x, y), t.grad.numpy(), SHORT, f"gradient of {name}")


# ---------------------------------------------------------------- losses


def check_loss(
    cls: str, arguments: Arguments, y_true: Array, y_pred: Array, weights: Array | None = None, theirs: Any = None
) -> None:
    """Check a loss and its gradient with respect to y_pred against Keras's, or against `theirs`."""
    loss, theirs = getattr(losses, cls)(**arguments), theirs or getattr(keras().losses, cls)(**arguments)
    truth, counts = tensor(y_true), None if weights is None else tensor(weights)
    if arguments.get("reduction") == "none":
        assert_near(loss(y_true, y_pred, weights), numpy_of(theirs(truth, tensor(y_pred), counts)), CLOSE, cls)
        return

    def objective(values: list[Any]) -> tuple[Any, Any]:
        number = theirs(truth, values[0], counts)
        return number, number

    want, (slope,) = gradients(objective)([y_pred])
    assert float(loss.forward(y_true, y_pred, weights)) == pytest.approx(float(numpy_of(want)), rel=SHORT, abs=SHORT), (
        cls
    )
    found = loss.backward()
    if cls.startswith(("Categorical", "Sparse")) and not arguments.get("from_logits", "Hinge" in cls):
        # Keras divides probabilities by their sum, which is 1 here: the part of the slope that changes the sum is lost in its own.
        found = found - (found * y_pred).sum(arguments.get("axis", -1), keepdims=True, dtype=np.float64)
    assert_near(found, slope, CLOSE, f"gradient of {cls}")


@pytest.mark.parametrize(("cls", "arguments", "seed"), loss_arguments(5 if QUICK else 15), ids=str)
def test_loss(cls: str, arguments: Arguments, seed: int) -> None:
    shape = (6, 4, 3) if seed % 4 < 2 else (6, 5)
    if BACKEND == "jax" and cls.startswith("Sparse") and arguments["axis"] == 1 and len(shape) == 3:
        pytest.skip("Keras on JAX takes labels of the last axis only")
    y_true, y_pred = loss_data(cls, arguments, shape, seed)
    # Keras takes a weight for every loss; one per sample only where a sample is a row.
    lead = tuple(np.delete(shape, arguments.get("axis", -1)))
    weights = np.random.default_rng(seed).uniform(0.5, 2.0, lead) if seed % 2 else None
    check_loss(cls, arguments, y_true, y_pred, weights)


@pytest.mark.parametrize("cls", [cls for cls in LOSSES if cls not in ("KLDivergence", "Poisson", "CosineSimilarity")])
def test_weights_of_samples_and_classes(cls: str) -> None:
    """Two epochs of a model with a weight for every sample, then for every class: the same losses and the same weights."""
    x, (y_true, _) = normal(12, 5), loss_data(cls, {}, (12, 3), 2)
    last = {"Binary": "sigmoid", "Catego": "softmax", "Sparse": "softmax"}.get(cls[:6])
    labels = y_true if y_true.ndim == 1 else y_true.argmax(-1)
    kinds: list[dict[str, Any]] = [{"sample_weight": np.abs(normal(12, seed=4))}]
    if last == "softmax":
        kinds.append({"class_weight": {0: 0.5, 1: 2.0, 2: float(labels.max())}})

    def trained(package: Any, kind: dict[str, Any]) -> Any:
        model = package.Sequential([package.Input((5,)), package.layers.Dense(3, activation=last)])
        model.set_weights([normal(*w.shape, seed=7) / 4 for w in model.get_weights()])
        model.compile(package.optimizers.SGD(0.01), getattr(package.losses, cls)())
        logs = model.fit(x, y_true, batch_size=5, epochs=2, shuffle=False, verbose=0, **kind).history["loss"]
        return [*model.get_weights(), logs]

    for kind in kinds:
        for ours, theirs in zip(trained(fastnn, kind), trained(keras(), kind), strict=True):
            assert_near(ours, theirs, LONG, f"{cls} {[*kind]}", 0.1)


FUNCTIONS = [name for name in losses.__all__ if name.islower() and name not in ("get", "serialize", "deserialize")]


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "half_sum_squares"])
def test_function(name: str) -> None:
    cls = type(losses.get(name)).__name__
    y_true, y_pred = loss_data(cls, {}, (6, 4, 3), 3)
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
    y_true, y_pred = loss_data(cls, ours, (9, 5), 1)
    t = torch.tensor(y_pred.astype(np.float64), requires_grad=True)
    truth = torch.tensor(y_true.astype(np.int64 if cls.startswith("Sparse") else np.float64))
    want = getattr(torch.nn, name)(**theirs)(t, truth)
    want.backward()
    loss = getattr(losses, cls)(**ours)
    assert_near(loss.forward(y_true, y_pred), want.item(), SHORT, cls)
    assert_near(loss.backward(), t.grad.numpy(), SHORT, f"gradient of {cls}")
