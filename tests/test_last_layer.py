"""The warning of last layers and losses that do not fit, when it is given and when not."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import Input, Model, Sequential, activations
from fastnn.layers import Activation, Dense, Flatten, Softmax
from fastnn.losses import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy

PROBABILITIES = "takes probabilities; use {}, or {}\\(from_logits=True\\) with a linear layer"


def told(last: Any, loss: Any, units: Any = 3) -> list[str]:
    """Return the warnings of compiling a model with this last activation or layer."""
    rank = 3 if isinstance(units, tuple) else 2
    units = units[-1] if rank == 3 else units
    layers = [Dense(units), last] if isinstance(last, fastnn.layers.Layer) else [Dense(units, last, name="end")]
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        Sequential([Input((4,) * (rank - 1)), *layers]).compile("sgd", loss)
    assert all(warning.filename == __file__ for warning in found)
    return [str(warning.message) for warning in found]


@pytest.mark.parametrize(
    ("last", "loss", "units", "text"),
    [
        ("relu", "sparse_categorical_crossentropy", 3, PROBABILITIES.format("softmax", "SparseCategoricalCrossentropy")),
        (None, "categorical_crossentropy", 3, PROBABILITIES.format("softmax", "CategoricalCrossentropy")),
        ("sigmoid", "categorical_crossentropy", 3, "takes probabilities; use softmax"),
        ("tanh", "binary_crossentropy", 1, PROBABILITIES.format("sigmoid", "BinaryCrossentropy")),
        (None, "binary_crossentropy", 1, "end' ends with linear: BinaryCrossentropy takes probabilities"),
        ("softmax", "binary_crossentropy", 1, "of one unit it is always 1, and nothing is learned; use sigmoid"),
        ("softmax", "mse", 1, "of one unit it is always 1"),
        (Softmax(name="soft"), "mse", 1, "soft' ends with softmax: of one unit"),
        ("softmax", SparseCategoricalCrossentropy(from_logits=True), 3, "applies a softmax itself; leave one of the two"),
        (Activation("sigmoid"), BinaryCrossentropy(from_logits=True), 1, "applies a sigmoid itself"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(last: Any, loss: Any, units: int, text: str) -> None:
    (found,) = told(last, loss, units)
    assert re.search(f"^compile: layer '.*{text}", found)


@pytest.mark.parametrize(
    ("last", "loss", "units"),
    [
        (None, "mse", 1),
        ("relu", "mse", 3),
        ("sigmoid", "mse", 1),
        ("softmax", "mse", 3),
        ("sigmoid", "binary_crossentropy", 1),
        ("softmax", "binary_crossentropy", 2),
        ("softmax", "categorical_crossentropy", 3),
        (None, CategoricalCrossentropy(from_logits=True), 3),
        ("relu", BinaryCrossentropy(from_logits=True), 1),
        (Softmax(), "mse", (3, 1)),  # over another axis it may be meant
        (Flatten(), "binary_crossentropy", 1),  # who knows what comes before
    ],
)
def test_what_fits_is_not(last: Any, loss: Any, units: Any) -> None:
    assert told(last, loss, units) == []


def test_a_model_without_shapes_is_told_once_it_has_them() -> None:
    model = Sequential([Dense(1, "softmax")])
    model.compile("sgd", "mse")
    x, y = np.ones((4, 3)), np.ones((4, 1))
    with pytest.warns(UserWarning, match="always 1"):
        model.fit(x, y, verbose=0)
    model.fit(x, y, verbose=0)
    model.train_on_batch(x, y)
    with pytest.warns(UserWarning, match="always 1"):
        model.compile("sgd", "mse")


def test_every_output_is_looked_at() -> None:
    x = Input((3,))
    model = Model(x, [Dense(2, name="a")(x), Dense(1, "sigmoid", name="b")(x)])
    with pytest.warns(UserWarning, match="layer 'a' ends with linear") as found:
        model.compile("sgd", ["categorical_crossentropy", "binary_crossentropy"])
    assert len(found) == 1


def test_an_activation_of_ones_own_is_not_judged() -> None:
    class Own(activations.Activation):
        pass

    assert told(Own("relu"), "binary_crossentropy", 1) == []
