"""Small helpers that Keras's users expect."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import checks, config
from fastnn.checks import Float32
from fastnn.training.splits import train_test_split


def to_categorical(x: Any, num_classes: int | None = None) -> Float32:
    """Return one-hot rows for class numbers.

    Args:
        x: integers in [0, num_classes), any shape.
        num_classes: number of columns; None means the largest class number plus one.

    Raises:
        ValueError: for numbers out of range.

    Example:
        >>> fastnn.utils.to_categorical([0, 2]).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    labels = checks.array("to_categorical", "x", x)
    if labels.dtype.kind == "f" and (labels != np.floor(labels)).any():
        checks.fail("to_categorical", "integer class numbers", "fractions or NaN")
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    largest = int(labels.max()) if labels.size else -1
    count = largest + 1 if num_classes is None else checks.integer("to_categorical", "num_classes", num_classes, 1)
    if labels.size and (labels.min() < 0 or largest >= count):
        checks.fail("to_categorical", f"class numbers from 0 to {count - 1}", f"{labels.min():g} to {largest}")
    return np.eye(count, dtype=np.float32)[labels.astype(np.int64)]


def set_random_seed(seed: int) -> None:
    """Make everything random that follows a function of `seed`; the same as `fastnn.config.set_seed`."""
    config.set_seed(seed)


__all__ = ["set_random_seed", "to_categorical", "train_test_split"]
