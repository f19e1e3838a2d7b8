"""Dense, Flatten, Reshape, activations and merging layers against Keras."""

from __future__ import annotations

from typing import Any

import pytest
from harness import LONG, check_layer, configurations

ACTIVATIONS = [None, "relu", "sigmoid", "tanh", "elu", "gelu", "silu", "softplus", "softmax"]


@pytest.mark.parametrize(
    "arguments", configurations(12, units=[1, 5, 17], activation=ACTIVATIONS, use_bias=[True, False]), ids=str
)
@pytest.mark.parametrize("shape", [(7,), (1,), (3, 4)], ids=str)
def test_dense(arguments: dict[str, Any], shape: tuple[int, ...]) -> None:
    check_layer("Dense", arguments, shape)


def test_dense_with_long_sums() -> None:
    check_layer("Dense", {"units": 33, "activation": "tanh"}, (1000,), tolerance=LONG, batch=67)
