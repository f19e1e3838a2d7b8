"""Losses. ``loss(y_true, y_pred)`` is the number; ``loss.forward`` / ``loss.backward`` are the pair of an explicit loop."""

from __future__ import annotations

from typing import Any

from fastnn import checks
from fastnn.checks import Float32
from fastnn.losses.base import Loss
from fastnn.losses.crossentropy import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy
from fastnn.losses.regression import MeanAbsoluteError, MeanSquaredError
from fastnn.names import snake_case

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "categorical_crossentropy",
    "deserialize",
    "get",
    "mean_absolute_error",
    "mean_squared_error",
    "serialize",
    "sparse_categorical_crossentropy",
]

_ALIASES = {
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "bce": BinaryCrossentropy,
}
_BY_NAME: dict[str, type[Loss]] = {
    **{
        snake_case(c.__name__): c
        for c in (
            MeanSquaredError,
            MeanAbsoluteError,
            BinaryCrossentropy,
            CategoricalCrossentropy,
            SparseCategoricalCrossentropy,
        )
    },
    **_ALIASES,
}


def get(identifier: str | Loss) -> Loss:
    """Return a new loss from its name ("mse", "sparse_categorical_crossentropy", ...); a Loss is returned as it is."""
    if isinstance(identifier, Loss):
        return identifier
    if not isinstance(identifier, str):
        checks.fail_type(
            "loss",
            "a name or a Loss",
            checks.describe(identifier),
            "for a function of your own subclass fastnn.losses.Loss",
        )
    key = identifier if identifier in _BY_NAME else snake_case(identifier)
    return _BY_NAME[checks.one_of("loss", "name", key, sorted(_BY_NAME))]()


def serialize(loss: Loss) -> dict[str, Any]:
    """Return the loss as plain data."""
    return {"class": type(loss).__name__, "config": loss.get_config()}


def deserialize(data: dict[str, Any]) -> Loss:
    """Return a new loss from what `serialize` returned."""
    return _BY_NAME[checks.one_of("loss", "class", snake_case(str(data["class"])), sorted(_BY_NAME))](**data["config"])


def mean_squared_error(y_true: Any, y_pred: Any) -> Float32:
    """Return the squared error of every sample."""
    return MeanSquaredError("none")(y_true, y_pred)  # type: ignore[no-any-return]


def mean_absolute_error(y_true: Any, y_pred: Any) -> Float32:
    """Return the absolute error of every sample."""
    return MeanAbsoluteError("none")(y_true, y_pred)  # type: ignore[no-any-return]


def binary_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False) -> Float32:
    """Return the binary cross-entropy of every sample."""
    return BinaryCrossentropy(from_logits, "none")(y_true, y_pred)  # type: ignore[no-any-return]


def categorical_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False) -> Float32:
    """Return the cross-entropy of every sample."""
    return CategoricalCrossentropy(from_logits, "none")(y_true, y_pred)  # type: ignore[no-any-return]


def sparse_categorical_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False) -> Float32:
    """Return the cross-entropy of every sample, targets being class numbers."""
    return SparseCategoricalCrossentropy(from_logits, "none")(y_true, y_pred)  # type: ignore[no-any-return]
