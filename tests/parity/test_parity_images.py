"""Conv2D, pooling, BatchNormalization and Dropout against Keras."""

from __future__ import annotations

from typing import Any

import pytest
from harness import BACKEND, LONG, Shape, check_layer, configurations

FORMATS = ["channels_last", "channels_first"]


def shaped(arguments: dict[str, Any], height: int, width: int, channels: int) -> Shape:
    """Return the shape of an image in the layer's data format."""
    first = arguments.get("data_format") == "channels_first"
    return (channels, height, width) if first else (height, width, channels)


@pytest.mark.parametrize(
    "arguments",
    configurations(
        24,
        valid=lambda c: c["strides"] == 1 or c["dilation_rate"] == 1,
        filters=[2, 6],
        kernel_size=[1, 2, (3, 2), (2, 5)],
        strides=[1, 2, (1, 3)],
        padding=["valid", "same"],
        dilation_rate=[1, 2, (2, 1)],
        groups=[1, 2],
        activation=[None, "relu", "tanh"],
        use_bias=[True, False],
        data_format=FORMATS,
    ),
    ids=str,
)
def test_conv2d(arguments: dict[str, Any]) -> None:
    check_layer("Conv2D", arguments, shaped(arguments, 9, 11, 4), tolerance=2e-6, steps=20)


def test_conv2d_with_long_sums() -> None:
    check_layer("Conv2D", {"filters": 33, "kernel_size": 3}, (13, 11, 40), tolerance=LONG, batch=5, steps=0)


@pytest.mark.parametrize("cls", ["MaxPooling2D", "AveragePooling2D"])
@pytest.mark.parametrize(
    "arguments",
    configurations(
        8, pool_size=[2, (3, 2), 1], strides=[None, 1, (2, 3)], padding=["valid", "same"], data_format=FORMATS
    ),
    ids=str,
)
def test_pooling(cls: str, arguments: dict[str, Any]) -> None:
    if cls == "AveragePooling2D" and arguments["padding"] == "same" and BACKEND == "torch":
        pytest.skip("Keras on PyTorch averages over copies of the border as well, on JAX it does not")
    check_layer(cls, arguments, shaped(arguments, 7, 8, 3))


@pytest.mark.parametrize("arguments", configurations(4, keepdims=[False, True], data_format=FORMATS), ids=str)
def test_global_pooling(arguments: dict[str, Any]) -> None:
    check_layer("GlobalAveragePooling2D", arguments, shaped(arguments, 5, 4, 3))


@pytest.mark.parametrize(
    "arguments",
    configurations(
        10,
        momentum=[0.99, 0.5],
        epsilon=[1e-3, 1e-5],
        center=[True, False],
        scale=[True, False],
        trainable=[True, True, False],
    ),
    ids=str,
)
@pytest.mark.parametrize("shape", [(6,), (4, 5, 3)], ids=str)
def test_batch_normalization(arguments: dict[str, Any], shape: Shape) -> None:
    learns = arguments["trainable"]
    check_layer("BatchNormalization", arguments, shape, tolerance=3e-6, batch=7, steps=20 if learns else 0)


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_axis_of_batch_normalization(axis: int) -> None:
    check_layer("BatchNormalization", {"axis": axis}, (3, 4, 5), tolerance=3e-6, batch=6, steps=20)


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_dropout_outside_training(rate: float) -> None:
    check_layer("Dropout", {"rate": rate, "seed": 3}, (6, 5), training=False)
