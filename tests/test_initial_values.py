"""What initial values do: the deviations that textbooks print, layer by layer, and every way to give a layer its values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import normal
from numpy.typing import NDArray

from fastnn import Input, Sequential, config, initializers
from fastnn.layers import Dense

Array = NDArray[Any]


@pytest.mark.parametrize(("name", "gain"), [("xavier", 1.0), ("xavier_book", 1.0), ("he", 2.0), ("he_book", 2.0)])
def test_plain_deviations(name: str, gain: float) -> None:
    for shape, inputs in (((784, 300), 784), ((5, 5, 20, 100), 500)):
        values = initializers.deserialize({"class_name": name, "config": {"seed": 3}})(shape)
        assert values.std() == pytest.approx((gain / inputs) ** 0.5, rel=0.02)
        assert np.abs(values).max() > 3 * values.std(), "not truncated"


def deviations(activation: str, kernel: Any) -> Array:
    """Return the deviation of the outputs of each of five layers of 100 units for 1000 normal samples, the mean of five draws."""
    found = []
    for draw in range(5):
        config.set_seed(draw)
        x, row = normal(1000, 100, seed=draw).astype(np.float32), []
        for _ in range(5):
            x = Dense(100, activation, use_bias=False, kernel_initializer=kernel)(x)
            row.append(float(x.std()))
        found.append(row)
    return np.mean(found, axis=0)


def test_deviations_layer_by_layer() -> None:
    """What the book's program shows, at recomputed numbers."""
    wide = deviations("sigmoid", 1.0)
    assert (wide[1:] > 0.43).all()
    assert (wide < 0.48).all()
    np.testing.assert_allclose(deviations("sigmoid", 0.01)[1:], 0.0125, rtol=0.05)
    np.testing.assert_allclose(deviations("sigmoid", "xavier")[1:], 0.12, rtol=0.15)
    tanh = deviations("tanh", "xavier")
    assert tanh[0] == pytest.approx(0.63, abs=0.02)
    assert tanh[-1] == pytest.approx(0.32, abs=0.03)
    small = deviations("relu", 0.01)
    np.testing.assert_allclose(small[:3], [0.058, 0.004, 0.0003], rtol=0.15)
    shrinking = deviations("relu", "xavier")
    assert shrinking[0] == pytest.approx(0.58, abs=0.02)
    assert shrinking[-1] == pytest.approx(0.15, abs=0.03)
    stable = deviations("relu", "he")
    np.testing.assert_allclose(stable, 0.83, rtol=0.12)


def diagonal(shape: Any, dtype: Any = None) -> Any:
    return np.eye(*shape)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("identity", np.eye(4, 3)),
        (diagonal, np.eye(4, 3)),
        (np.eye(4, 3), np.eye(4, 3)),
        (initializers.Ones, np.ones((4, 3))),
        ({"class_name": "Constant", "config": {"value": 2}}, np.full((4, 3), 2.0)),
        (0.0, np.zeros((4, 3))),
    ],
    ids=["name", "function", "array", "class", "data", "deviation"],
)
def test_all_ways_to_give_a_kernel(given: Any, expected: Array) -> None:
    layer = Dense(3, kernel_initializer=given)
    layer.build_for((None, 4))
    np.testing.assert_array_equal(layer.kernel.value, expected)
    assert layer.kernel.value.dtype == np.float32


def test_a_number_is_a_deviation() -> None:
    config.set_seed(1)
    layer = Dense(300, kernel_initializer=0.01)
    layer.build_for((None, 200))
    assert layer.kernel.value.std() == pytest.approx(0.01, rel=0.02)
    assert layer.get_config()["kernel_initializer"] == {
        "class_name": "RandomNormal",
        "config": {"mean": 0.0, "stddev": 0.01, "seed": None},
    }


def test_functions_that_do_not_fit() -> None:
    layer = Dense(3, kernel_initializer=lambda shape, dtype=None: np.zeros(5))
    with pytest.raises(ValueError, match=r"expected a result of shape \(4, 3\), got \(5,\)"):
        layer.build_for((None, 4))
    model = Sequential([Input((4,)), Dense(3, kernel_initializer=diagonal)])
    with pytest.raises(TypeError, match=r"expected an Initializer, got .*; a function cannot be written to a file"):
        model.get_config()
    for wrong in (None, True, 3, b"zeros"):
        with pytest.raises(TypeError, match="initializer"):
            Dense(3, kernel_initializer=wrong)
