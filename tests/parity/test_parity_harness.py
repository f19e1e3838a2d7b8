"""The comparison finds what is wrong: a peer with another argument is told apart from ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import QUICK, check_layer, configurations, keras, normal
from test_parity_losses import check_loss
from test_parity_metrics import check_metric
from test_parity_optim import compare_with_keras


@pytest.mark.parametrize(
    ("cls", "arguments", "shape", "other"),
    [
        ("LeakyReLU", {"negative_slope": 0.3}, (4,), {"negative_slope": 0.30001}),
        ("Dense", {"units": 3, "activation": "gelu"}, (4,), {"units": 3, "activation": "silu"}),
        ("BatchNormalization", {"momentum": 0.9}, (4,), {"momentum": 0.8}),  # only the state differs
        ("Conv2D", {"filters": 2, "kernel_size": 2, "padding": "same", "strides": 2}, (5, 5, 1), {}),
    ],
)
def test_layers(cls: str, arguments: dict[str, Any], shape: Any, other: dict[str, Any]) -> None:
    check_layer(cls, arguments, shape, tolerance=3e-6, steps=2)
    if cls == "Conv2D":
        other = {**arguments, "strides": (2, 1)}
    with pytest.raises(AssertionError, match=r"off by|shape"):
        check_layer(cls, arguments, shape, tolerance=3e-6, theirs=lambda: getattr(keras().layers, cls)(**other))


def test_others() -> None:
    x, y = normal(3, 2), normal(3, 2, seed=1)
    with pytest.raises(AssertionError, match="MeanSquaredError"):
        check_loss("MeanSquaredError", {}, x, y, theirs=keras().losses.MeanAbsoluteError())
    with pytest.raises(AssertionError, match=r"kernel off by .* after step [1-9],"):  # the first step is the same
        compare_with_keras(
            "Adam", {"learning_rate": 0.01, "beta_2": 0.99}, 0, {"learning_rate": 0.01, "beta_2": 0.9901}
        )
    with pytest.raises(AssertionError, match="after batch 0"):
        check_metric("MeanSquaredError", {}, False, theirs=keras().metrics.MeanAbsoluteError())


@pytest.mark.skipif(QUICK, reason="there are fewer of them then")
def test_configurations_name_every_value() -> None:
    found = configurations(6, units=[1, 2, 3], bias=[True, False], valid=lambda c: c["units"] != 2 or c["bias"])
    assert {c["units"] for c in found} == {1, 2, 3}
    assert {c["bias"] for c in found} == {True, False}
    assert {"units": 2, "bias": False} not in found
    assert len({str(c) for c in found}) == len(found) == 5
    assert len(configurations(7, seed=1, a=list(range(5)), b=list(range(5)))) == 7
    assert np.array_equal(normal(3), normal(3))
