"""Losses. ``loss(y_true, y_pred)`` is the number; ``loss.forward`` / ``loss.backward`` are the pair of an explicit loop."""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any

from fastnn import checks
from fastnn.custom import given_class
from fastnn.losses.base import Loss
from fastnn.losses.crossentropy import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy
from fastnn.losses.focal import BinaryFocalCrossentropy, CategoricalFocalCrossentropy
from fastnn.losses.functions import (
    FUNCTIONS,
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_hinge,
    cosine_similarity,
    half_sum_squares,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)
from fastnn.losses.hinge import CategoricalHinge, Hinge, SquaredHinge
from fastnn.losses.probabilistic import KLDivergence, Poisson
from fastnn.losses.regression import (
    CosineSimilarity,
    HalfSumSquares,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
)
from fastnn.names import snake_case
from fastnn.registry import described

__all__ = [
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "HalfSumSquares",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "cosine_similarity",
    "deserialize",
    "get",
    "half_sum_squares",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "serialize",
    "sparse_categorical_crossentropy",
    "squared_hinge",
]

_ALIASES: dict[str, type[Loss]] = {
    "bce": BinaryCrossentropy,
    "kld": KLDivergence,
    "kullback_leibler_divergence": KLDivergence,
    "logcosh": LogCosh,
    "mae": MeanAbsoluteError,
    "mape": MeanAbsolutePercentageError,
    "mse": MeanSquaredError,
    "msle": MeanSquaredLogarithmicError,
}
_BY_NAME: dict[str, type[Loss]] = {**{snake_case(c.__name__): c for c in FUNCTIONS.values()}, **_ALIASES}


def get(identifier: Any) -> Loss:
    """Return a loss; a Loss is returned as it is.

    Others are made from a name ("mse", "MSE", "sparse_categorical_crossentropy", "Huber", ...), a class, one of the functions of
    this module, or a dict as `serialize` gives it.

    Raises:
        ValueError: for an unknown name, with the nearest ones.
        TypeError: for anything else, such as a function of your own: it has no derivative here.
    """
    if isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        return identifier()
    if isinstance(identifier, FunctionType) and identifier in FUNCTIONS:
        return FUNCTIONS[identifier]()
    if not isinstance(identifier, str):
        checks.fail_type(
            "loss",
            "a name or a Loss",
            checks.describe(identifier),
            "for a function of your own subclass fastnn.losses.Loss",
        )
    return _class(identifier)()


def _class(name: str) -> type[Loss]:
    key = name if name in _BY_NAME else snake_case(name)
    return _BY_NAME[checks.one_of("loss", "name", key, sorted(_BY_NAME))]


def serialize(loss: Loss) -> dict[str, Any]:
    """Return the loss as plain data."""
    return {"class": type(loss).__name__, "config": loss.get_config()}


def deserialize(name: str | Mapping[str, Any], custom_objects: Mapping[str, type[Loss]] | None = None) -> Loss:
    """Return a new loss from its name or from what `serialize` returned.

    Args:
        name: the name, or a dict with "class_name" (or "class") and "config".
        custom_objects: your own classes by name.
    """
    cls, arguments = described("losses.deserialize", name)
    made: Loss = (given_class(cls, custom_objects) or _class(cls)).from_config(arguments)
    return made
