"""Dense, reshaping, activations and merging layers against Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import LONG, Shape, check_function, check_layer, configurations, keras, normal

from fastnn import activations

ACTIVATIONS = [None, "relu", "sigmoid", "tanh", "elu", "gelu", "silu", "softplus", "softmax"]


@pytest.mark.parametrize(
    "arguments", configurations(12, units=[1, 5, 17], activation=ACTIVATIONS, use_bias=[True, False]), ids=str
)
@pytest.mark.parametrize("shape", [(7,), (1,), (3, 4)], ids=str)
def test_dense(arguments: dict[str, Any], shape: Shape) -> None:
    check_layer("Dense", arguments, shape)


def test_dense_with_long_sums() -> None:
    check_layer("Dense", {"units": 33, "activation": "tanh"}, (1000,), tolerance=LONG, batch=67)


@pytest.mark.parametrize("shape", [(5,), (3, 2, 5), (4, 1)], ids=str)
@pytest.mark.parametrize("data_format", [None, "channels_last", "channels_first"])
def test_flatten(shape: Shape, data_format: str | None) -> None:
    check_layer("Flatten", {"data_format": data_format}, shape)


@pytest.mark.parametrize("target", [(5, -1, 2), (30,), (-1,), (3, 10)], ids=str)
def test_reshape(target: Shape) -> None:
    check_layer("Reshape", {"target_shape": target}, (3, 10))


@pytest.mark.parametrize("name", sorted(set(filter(None, ACTIVATIONS)) - {"softmax"}))
def test_activations(name: str) -> None:
    x = np.concatenate([normal(7, 5).ravel(), [0.0, 30.0, -30.0]]).astype(np.float32).reshape(-1, 1)
    check_function(activations.get(name), getattr(keras().activations, name), x)


@pytest.mark.parametrize("name", ACTIVATIONS[1:])
def test_activation_layer(name: str) -> None:
    check_layer("Activation", {"activation": name}, (3, 5))


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        ("ReLU", {}),
        ("ReLU", {"negative_slope": 0.2}),
        ("LeakyReLU", {}),
        ("LeakyReLU", {"negative_slope": 0.01}),
        ("ELU", {}),
        ("ELU", {"alpha": 0.5}),
        ("Softmax", {}),
    ],
)
def test_activation_classes(cls: str, arguments: dict[str, Any]) -> None:
    check_layer(cls, arguments, (4, 9))


@pytest.mark.parametrize("cls", ["Add", "Average", "Multiply", "Maximum", "Minimum"])
@pytest.mark.parametrize("shapes", [[(3, 2), (3, 2)], [(4, 3)] * 5, [(4, 1, 3), (1, 2, 3), (4, 2, 1)]], ids=str)
def test_merging(cls: str, shapes: list[Shape]) -> None:
    check_layer(cls, {}, shapes)


@pytest.mark.parametrize("shapes", [[(3, 5), (3, 5)], [(1, 5), (4, 1)]], ids=str)
def test_subtract(shapes: list[Shape]) -> None:
    check_layer("Subtract", {}, shapes)


@pytest.mark.parametrize(
    ("axis", "shapes"),
    [(-1, [(3, 2), (3, 5), (3, 1)]), (1, [(2, 3), (5, 3)]), (-2, [(2, 3, 4)] * 3), (2, [(2, 3, 4), (2, 1, 4)])],
)
def test_concatenate(axis: int, shapes: list[Shape]) -> None:
    check_layer("Concatenate", {"axis": axis}, shapes)


@pytest.mark.parametrize(
    ("arguments", "shapes"),
    [
        ({"axes": 1}, [(5,), (5,)]),
        ({"axes": (2, 1)}, [(4, 5), (5, 3)]),
        ({"axes": (1, 2), "normalize": True}, [(5, 4), (3, 5)]),
        ({"axes": -1}, [(4, 5), (3, 5)]),
    ],
)
def test_dot(arguments: dict[str, Any], shapes: list[Shape]) -> None:
    check_layer("Dot", arguments, shapes)
