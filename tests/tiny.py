"""Small models and data, the same ones at every call, and all that a training changes."""

from __future__ import annotations

from typing import Any

import numpy as np
from gradcheck import normal
from numpy.typing import NDArray
from tolerances import assert_bits

from fastnn import Sequential, config
from fastnn.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D, ReLU

Array = NDArray[Any]

# Ten samples with three features, and two targets each.
X: Array = normal(10, 3).astype(np.float32)
Y: Array = normal(10, 2, seed=1).astype(np.float32)


# Twenty samples with four features, and whether the first is large.
QUARTETS: Array = np.random.default_rng(0).random((20, 4), np.float32)
YES: Array = (QUARTETS[:, :1] > 0.5).astype(np.float32)


def binary(**compiled: Any) -> Sequential:
    """Return a model that says whether, for QUARTETS and YES, compiled; its weights are always the same."""
    config.set_seed(1)
    model = Sequential([Input((4,)), Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy", **compiled)
    return model


def line(optimizer: Any = "sgd", loss: Any = "mse", **compiled: Any) -> Sequential:
    """Return the model y = x w + b for X and Y, compiled; its weights are always the same."""
    model = Sequential([Input((3,)), Dense(2)])
    model.set_weights([normal(3, 2, seed=2), normal(2, seed=3)])
    model.compile(optimizer, loss, **compiled)
    return model


def blobs(n: int = 200) -> tuple[Array, Array]:
    """Return points of three clouds in five dimensions, and which one each is from."""
    labels = np.arange(n) % 3
    return (2 * normal(3, 5, seed=4)[labels] + 0.5 * normal(n, 5)).astype(np.float32), labels


def mlp(optimizer: Any = "adam", hidden: int = 16, **compiled: Any) -> Sequential:
    """Return a model for blobs, with dropout, compiled; everything random in it follows from one seed."""
    config.set_seed(5)
    model = Sequential([Input((5,)), Dense(hidden, "relu"), Dropout(0.2), Dense(3, activation="softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], **compiled)
    return model


def images(n: int = 40, size: int = 9) -> tuple[Array, Array]:
    """Return uint8 images (n, size, size, 2) with a bright spot, and in which of four corners it is."""
    labels = np.random.default_rng(1).integers(0, 4, n)
    x = np.random.default_rng(2).integers(0, 100, (n, size, size, 2))
    for image, label in zip(x, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[row * (size - 3) :, column * (size - 3) :][:3, :3] += 150
    return x.astype(np.uint8), labels


def cnn(optimizer: Any = "adam", size: int = 9, filters: int = 4, **compiled: Any) -> Sequential:
    """Return a model for images, with batch normalization and dropout, compiled; it follows from one seed."""
    config.set_seed(6)
    model = Sequential(
        [
            Input((size, size, 2)),
            Conv2D(filters, 3, padding="same", use_bias=False),
            BatchNormalization(momentum=0.9),
            ReLU(),
            MaxPooling2D(2),
            Conv2D(2 * filters, (2, 3), activation="elu"),
            Flatten(),
            Dropout(0.25),
            Dense(4, activation="softmax"),
        ]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], **compiled)
    return model


def state(model: Sequential) -> dict[str, Array]:
    """Return everything that training changes, by name."""
    arrays: dict[str, Array] = {p.name.split("/", 1)[1] + str(i): p.numpy() for i, p in enumerate(model.weights)}
    arrays |= {f"counter {i}": c.copy() for i, x in enumerate(model.layers) for c in x.counters.values()}
    if model.optimizer is not None:
        arrays |= {f"slot {name}": slot.copy() for name, slot in model.optimizer.slots.items()}
        arrays["iterations"] = model.optimizer.iterations.copy()
    return arrays


def assert_same(one: dict[str, Array], other: dict[str, Array]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert_bits(np.asarray(value), np.asarray(other[name]), name)


def train(model: Sequential, x: Any, y: Any, epochs: int = 3, batch_size: int = 16, **options: Any) -> dict[str, Array]:
    """Train, with a partial last batch and validation; return the model's state, history and predictions."""
    n = len(x) - 7
    history = model.fit(
        x[:n], y[:n], batch_size, epochs, validation_data=(x[n:], y[n:]), validation_batch_size=3, verbose=0, **options
    ).history
    assert set(history) >= {"loss", "val_loss"}
    result = state(model) | {f"history {name}": np.array(values) for name, values in history.items()}
    result["predictions"] = model.predict(x, 9, verbose=0)
    return result | {"evaluation": np.array(model.evaluate(x, y, 11, verbose=0))}
