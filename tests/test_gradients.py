"""check_gradients: right gradients pass, planted mistakes are found, nothing is changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import LayerCase, LossCase, every_layer, every_loss
from tiny import X, Y, assert_same, blobs, cnn, images, line, mlp, state

from fastnn import Sequential, config, layers
from fastnn.layers import Dense, Flatten, Input, Layer


class Wrong(Layer):
    """y = factor x^2, with the mistakes that are wanted."""

    def __init__(self, dx: float = 1.0, dfactor: float = 1.0, **more: Any) -> None:
        super().__init__(**more)
        self.dx, self.dfactor = dx, dfactor

    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight("factor", (input_shape[-1],), "ones")

    def forward(self, x: Any, training: bool = False) -> Any:
        self._saved = x
        return self.factor.value * x * x

    def backward(self, dy: Any) -> Any:
        x = self._saved
        self.factor.gradient[...] = self.dfactor * (dy * x * x).sum(0)
        return self.dx * 2 * dy * self.factor.value * x


@pytest.mark.parametrize("make", [mlp, cnn])
def test_networks_pass_and_nothing_is_changed(isa: str, make: Any) -> None:
    """With dropout and batch normalization, whose numbers must be the same in every pass."""
    x, y = blobs(20) if make is mlp else images(20)
    model = make()
    model.fit(x, y, verbose=0)
    before, predictions = state(model), model.predict(x, verbose=0)
    for found in (model.check_gradients(x, y), model.check_gradients(batch_size=2)):
        assert found.ok, str(found)
        assert {row.layer for row in found.rows} == {*(layer.name for layer in model.leaf_layers), "whole model"}
        assert max(row.error for row in found.rows if row.error is not None) < 1e-4
    assert_same(state(model), before)
    np.testing.assert_array_equal(model.predict(x, verbose=0), predictions)
    assert config.backend() == "native"


@pytest.mark.parametrize(
    ("mistakes", "wrong"),
    [
        ({}, set()),
        ({"dx": 1.01}, {("wrong", "input"), ("whole model", "all that learns")}),
        ({"dfactor": -1.0}, {("wrong", "factor"), ("whole model", "all that learns")}),
        ({"dfactor": 0.0}, {("wrong", "factor"), ("whole model", "all that learns")}),
        ({"dx": np.nan}, {("wrong", "input"), ("whole model", "all that learns")}),
    ],
)
def test_mistakes_are_found(mistakes: dict[str, float], wrong: set[tuple[str, str]]) -> None:
    model = Sequential([Input((3,)), Dense(5, "tanh"), Wrong(**mistakes, name="wrong"), Dense(2)])
    model.compile("sgd", "mse")
    found = model.check_gradients(X, Y)
    assert {(r.layer, r.of) for r in found.rows if r.error is not None and r.error > found.tolerance} == wrong
    assert found.ok is not bool(wrong)
    text = str(found)
    assert text.count("WRONG") == len(wrong)
    assert text.splitlines()[0].split() == ["layer", "gradient", "of", "shape", "|gradient|", "error"]


@every_loss
def test_every_loss(case: LossCase) -> None:
    units = case.shape[-1]
    last = None if case.truth == "values" or case.arguments.get("from_logits") else "sigmoid"
    shape = case.shape[1:-1]
    model = Sequential([Input((*shape, 3)), Dense(4, "tanh"), Dense(units, last)])
    if case.truth in ("labels", "shares") and last:
        model = Sequential([Input((*shape, 3)), Dense(4, "tanh"), Dense(units, "softmax")])
    model.compile("sgd", case.make())
    x = np.random.default_rng(0).standard_normal((*case.shape[:-1], 3))
    found = model.check_gradients(x, case.y_true())
    assert found.ok, str(found)


def test_wrong_arguments() -> None:
    model = line()
    for call, error, text in (
        (lambda: model.check_gradients(y=Y), ValueError, "check_gradients: expected x with y"),
        (lambda: model.check_gradients(X), ValueError, "check_gradients: expected targets y"),
        (lambda: model.check_gradients(X[:, :2], Y), ValueError, "expected input of shape"),
        (lambda: model.check_gradients(X, Y, batch_size=0), ValueError, "check_gradients: expected batch_size"),
        (lambda: model.check_gradients(X, Y, tolerance=0), ValueError, "check_gradients: expected tolerance"),
        (lambda: Sequential([layers.Input((3,)), Dense(2)]).check_gradients(X, Y), ValueError, "a compiled model"),
    ):
        with pytest.raises(error, match=text):
            call()  # type: ignore[no-untyped-call]


@every_layer
@pytest.mark.filterwarnings("ignore:.*does not support masks")
def test_every_layer(case: LayerCase) -> None:
    """All that is in the package, in a model that ends with a Dense."""
    model = Sequential([Input(case.shape), case.make(), Flatten(), Dense(1)])
    model.compile("sgd", "mse")
    found = model.check_gradients(case.batch(), np.ones((3, 1)))
    assert found.ok, str(found)
