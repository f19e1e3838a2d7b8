"""The shape that a model was declared for: what other ones it refuses, and which models have none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from errors import check

from fastnn import Model, Sequential
from fastnn.layers import Dense, Flatten, Input
from fastnn.models import clone_model, load_model

TEXT = (
    "InputLayer '...': expected input of shape (N, 28, 28), got (N, 27, 28); the model was made for that shape; declare "
    "None for sizes that vary"
)


def graph() -> Model:
    x = Input((28, 28))
    return Model(x, Dense(2)(x))


def built() -> Sequential:
    model = Sequential([Dense(2)])
    model.build((None, 28, 28))
    return model


MODELS: dict[str, Callable[[], Any]] = {
    "graph": graph,
    "Input": lambda: Sequential([Input((28, 28)), Dense(2)]),
    "input_shape": lambda: Sequential([Dense(2, input_shape=(28, 28))]),
    "build": built,
    "inside": lambda: Sequential([Sequential([Input((28, 28)), Dense(2)])]),
    "part": lambda: Model((model := graph()).inputs, model.output),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_another_shape_than_the_declared_one_is_refused(make: Callable[[], Any]) -> None:
    model = make()
    model.compile("sgd", "mse")
    x, y = np.ones((4, 27, 28), np.float32), np.ones((4, 27, 2), np.float32)
    uses: list[Callable[[], Any]] = [
        lambda: model.fit(x, y, verbose=0),
        lambda: model.evaluate(x, y, verbose=0),
        lambda: model.predict(x, verbose=0),
        lambda: model.predict([x], verbose=0),
        lambda: model.train_on_batch(x, y),
        lambda: model.test_on_batch(x, y),
        lambda: model.predict_on_batch(x),
        lambda: model(x),
        lambda: model.fit(iter([(x, y)]), verbose=0),
        lambda: model(Input((27, 28))),
    ]
    for use in uses:
        check(use, ValueError, TEXT)
    assert model.predict(np.ones((4, 28, 28)), verbose=0).shape == (4, 28, 2)
    check(lambda: model.predict_on_batch(x), ValueError, TEXT)


def test_none_is_free() -> None:
    model = Sequential([Input((None, 28)), Dense(2)])
    for rows in (27, 28):
        assert model.predict(np.ones((4, rows, 28)), verbose=0).shape == (4, rows, 2)
        assert model(Input((rows, 28))).shape == (None, rows, 2)


def test_layers_say_first_what_they_do_not_take() -> None:
    model = Sequential([Input((28, 28)), Flatten(), Dense(2, name="out")])
    check(lambda: model.predict(np.ones((4, 27, 28))), ValueError, "Dense 'out': expected input of shape (N, 784)...")


def saved(model: Sequential, folder: Path) -> Any:
    model.save(folder / "m.fastnn")
    return load_model(folder / "m.fastnn")


COPIES: dict[str, Callable[[Sequential, Path], Any]] = {
    "itself": lambda model, folder: model,
    "saved": saved,
    "cloned": lambda model, folder: clone_model(model),
    "part": lambda model, folder: Model(model.inputs, model.layers[-1].output),
    "copied part": lambda model, folder: clone_model(Model(model.inputs, model.layers[-1].output)),
}


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
def test_a_first_batch_declares_nothing(make: Callable[[Sequential, Path], Any], tmp_path: Path) -> None:
    """What its layers take, the model and its copies take, until build says a shape."""
    model = Sequential([Dense(3), Dense(2)])
    model.predict(np.ones((4, 28, 28)), verbose=0)
    found = make(model, tmp_path)
    for rows in (27, 28):
        assert found.predict(np.ones((4, rows, 28)), verbose=0).shape == (4, rows, 2)
    model.build((None, 28, 28))
    check(lambda: model.predict(np.ones((4, 27, 28))), ValueError, TEXT)
