"""Small models and data, the same ones at every call."""

from __future__ import annotations

from typing import Any

import numpy as np
from gradcheck import normal
from numpy.typing import NDArray

from fastnn import Sequential, config
from fastnn.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D, ReLU

Array = NDArray[Any]

# Ten samples with three features, and two targets each.
X: Array = normal(10, 3).astype(np.float32)
Y: Array = normal(10, 2, seed=1).astype(np.float32)


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
