"""Every layer against Keras over random configurations of all its options: forward, gradients, steps of gradient descent."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from cases_layers import LAYERS, LayerCase
from harness import (
    BACKEND,
    LONG,
    SHORT,
    Arguments,
    assert_near,
    check_layer,
    configurations,
    keras,
    normal,
    numpy_of,
    tensor,
)

import fastnn


def drawn(case: LayerCase, count: int | None = None) -> list[Arguments]:
    """Return random arguments of a case, "shape" among them."""
    found = configurations(count or case.count, shape=case.shapes, valid=case.allows, **case.options)
    return [{**c, "shape": c["shape"](c) if callable(c["shape"]) else c["shape"]} for c in found]


def drawn_of_all(*classes: str) -> list[Any]:
    return [pytest.param(cls, c, id=f"{cls} {c}") for cls in classes for c in drawn(LAYERS[cls])]


@pytest.mark.parametrize(("cls", "arguments"), drawn_of_all(*LAYERS))
def test_layer(cls: str, arguments: Arguments) -> None:
    case, arguments = LAYERS[cls], dict(arguments)
    shape = arguments.pop("shape")
    more = dict(case.check)
    if case.prepare:
        more["inputs"] = [case.prepare(normal(more.get("batch", 3), *shape), arguments)]
    check_layer(cls, arguments, shape, **more)


@pytest.mark.parametrize(
    ("cls", "arguments", "shape", "batch"),
    [
        ("Dense", {"units": 33, "activation": "tanh"}, (1000,), 67),
        ("Conv2D", {"filters": 33, "kernel_size": 3}, (13, 11, 40), 5),
        ("DepthwiseConv2D", {"kernel_size": 5}, (40, 41, 8), 6),
        ("BatchNormalization", {}, (30, 30, 8), 20),
        ("LayerNormalization", {}, (2000,), 9),
        ("GlobalAveragePooling2D", {}, (60, 61, 3), 4),
    ],
    ids=str,
)
def test_long_sums(cls: str, arguments: Arguments, shape: Any, batch: int) -> None:
    check_layer(cls, arguments, shape, tolerance=LONG, batch=batch, steps=0)


@pytest.mark.parametrize("axis", [-1, 1, (1, 2)])
@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 1, 5), (4, 1), (5,)], ids=str)
def test_softmax_with_a_mask(axis: Any, shape: tuple[int, ...]) -> None:
    x, mask = normal(3, 4, 5), normal(*shape, seed=2) > 0.2
    if shape == (3, 4, 5):
        mask[1] = False
    ours = fastnn.layers.Softmax(axis)
    got = ours(x, training=True, mask=mask)
    expected = numpy_of(keras().layers.Softmax(axis)(tensor(x), mask=tensor(mask)))
    assert_near(got, expected, SHORT, "softmax", 1.0)
    dy = normal(3, 4, 5, seed=3)
    summed = (dy * expected).sum(axis, keepdims=True)
    assert_near(ours.backward(dy), expected * (dy - summed), SHORT, "its gradient", 1.0)


# ---------------------------------------------------------------- options of weights

WEIGHTED = [
    "Dense", "Embedding", "PReLU", "BatchNormalization", "LayerNormalization", "GroupNormalization", "Conv1D", "Conv2D", "Conv3D",
    "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D",
    "SeparableConv2D",
]  # fmt: skip
PENALTIES: list[tuple[str, Arguments]] = [("L2", {"l2": 0.03})]
if BACKEND != "jax":  # where the derivative of |x| at 0, which constraints and activations lead to, is 1
    PENALTIES += [("L1", {"l1": 0.02}), ("L1L2", {"l1": 0.01, "l2": 0.02})]
LIMITS: list[tuple[str, Arguments]] = [
    ("MaxNorm", {"max_value": 0.6}),
    ("NonNeg", {}),
    ("MinMaxNorm", {"min_value": 0.3, "max_value": 0.8, "rate": 0.7}),
    ("UnitNorm", {}),
]


def options_of_weights(cls: str, ending: str) -> list[str]:
    """Return the arguments of a layer of Keras that say something about its weights."""
    found = inspect.signature(getattr(keras().layers, cls)).parameters
    return sorted(
        {name for name in found if name.endswith(ending)} | ({"activity_regularizer"} if "reg" in ending else set())
    )


@pytest.mark.parametrize("cls", WEIGHTED)
def test_initializers(cls: str) -> None:
    """Every weight has the value that its own argument asks for."""
    arguments = drawn(LAYERS[cls], 2)[0]
    shape = arguments.pop("shape")
    given = {name: 0.25 + i for i, name in enumerate(options_of_weights(cls, "_initializer"))}
    made = []
    for package in (fastnn, keras()):
        values = {name: package.initializers.Constant(v) for name, v in given.items()}
        layer = getattr(package.layers, cls)(**arguments, **values)
        layer.build_for((None, *shape)) if package is fastnn else layer.build((None, *shape))
        made.append(layer.weights)
    assert given
    for ours, theirs in zip(*made, strict=True):
        assert_near(ours.value, numpy_of(theirs.value), 0.0, ours.name)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cls", WEIGHTED)
def test_penalties_and_constraints(cls: str, seed: int) -> None:
    """Six steps of a model with the layer: the same losses, the penalties included, and the same weights."""
    rng, case = np.random.default_rng([seed, *cls.encode()]), LAYERS[cls]
    arguments = drawn(case, 9)[seed]
    shape = arguments.pop("shape")
    chosen = {n: PENALTIES[rng.integers(len(PENALTIES))] for n in options_of_weights(cls, "_regularizer")}
    chosen |= {n: LIMITS[rng.integers(len(LIMITS))] for n in options_of_weights(cls, "_constraint")}
    x = normal(12, *shape, seed=seed)
    x = case.prepare(x, arguments) if case.prepare else x
    y = normal(12, 2, seed=seed + 1)

    def trained(package: Any, start: Any) -> Any:
        values = {
            name: getattr(package.regularizers if "regularizer" in name else package.constraints, kind)(**options)
            for name, (kind, options) in chosen.items()
        }
        stack = [package.Input(shape), getattr(package.layers, cls)(**arguments, **values)]
        model = package.Sequential([*stack, package.layers.Flatten(), package.layers.Dense(2)])
        model.set_weights(start or [normal(*w.shape, seed=7) / 4 + (w == 1) for w in model.get_weights()])
        model.compile(package.optimizers.SGD(0.02, momentum=0.5), "mse")
        logs = model.fit(x, y, batch_size=12, epochs=6, shuffle=False, verbose=0).history["loss"]
        return logs, model.get_weights()

    (losses, weights), (expected, wanted) = trained(fastnn, None), trained(keras(), None)
    assert_near(losses, expected, LONG, "losses")
    for i, (ours, theirs) in enumerate(zip(weights, wanted, strict=True)):
        assert_near(ours, theirs, 2 * LONG, f"weight {i}", 1.0)


@pytest.mark.parametrize("cls", [cls for cls in WEIGHTED if cls != "Embedding"])  # whose ids have no gradient, either
def test_frozen(cls: str) -> None:
    """Without trainable weights: the same output in training (moving statistics are used) and the same gradient of the input."""
    arguments = drawn(LAYERS[cls], 2)[-1]
    shape = arguments.pop("shape")
    prepare = LAYERS[cls].prepare
    inputs = [prepare(normal(3, *shape), arguments)] if prepare else None
    check_layer(cls, {**arguments, "trainable": False}, shape, tolerance=LONG, inputs=inputs)


def alike(ours: Any, theirs: Any) -> bool:
    """Tell whether defaults mean the same: names in any case, one number for all axes."""
    if isinstance(ours, str) and isinstance(theirs, str):
        return ours.lower() == theirs.lower()
    return bool(ours == theirs) or (isinstance(theirs, tuple) and bool((np.asarray(theirs) == np.max(ours)).all()))


def test_defaults_are_those_of_keras() -> None:
    """Every argument that both have has the same default, in the same order."""
    modules = {
        "layers": [*LAYERS, "RandomContrast", "RandomErasing", "RandomCrop"],
        "regularizers": ["L1", "L2", "L1L2", "OrthogonalRegularizer"],
        "constraints": ["MaxNorm", "MinMaxNorm", "UnitNorm", "NonNeg"],
    }
    for module, name in [(module, name) for module, names in modules.items() for name in names]:
        ours, theirs = getattr(getattr(fastnn, module), name), getattr(getattr(keras(), module), name)
        own = inspect.signature(ours).parameters
        found = [p for p in inspect.signature(theirs).parameters.values() if p.name in own and p.kind != p.VAR_KEYWORD]
        shared = {p.name for p in found}
        assert [p.name for p in found] == [n for n, p in own.items() if p.kind != p.VAR_KEYWORD and n in shared], name
        for p in [p for p in found if p.default is not p.empty]:
            assert alike(own[p.name].default, p.default), f"{name}: {p.name}"
