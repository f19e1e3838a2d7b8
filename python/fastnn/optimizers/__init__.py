"""Optimizers, in the Keras dialect: one fused pass over the flat parameters."""

from __future__ import annotations

from typing import Any

from fastnn import checks
from fastnn.optimizers.adam import Adam, AdamW
from fastnn.optimizers.adaptive import Adagrad, RMSprop
from fastnn.optimizers.base import Optimizer
from fastnn.optimizers.sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "deserialize", "get", "serialize"]

_BY_NAME: dict[str, type[Optimizer]] = {c.__name__.lower(): c for c in (SGD, Adagrad, RMSprop, Adam, AdamW)}


def get(identifier: str | Optimizer) -> Optimizer:
    """Return a new optimizer with default arguments from its name ("sgd", "adam", ...); an Optimizer is returned as it is."""
    if isinstance(identifier, Optimizer):
        return identifier
    if not isinstance(identifier, str):
        checks.fail_type("optimizer", "a name or an Optimizer", checks.describe(identifier))
    return _BY_NAME[checks.one_of("optimizer", "name", identifier.lower(), sorted(_BY_NAME))]()


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """Return the optimizer as plain data."""
    return {"class": type(optimizer).__name__, "config": optimizer.get_config()}


def deserialize(data: dict[str, Any]) -> Optimizer:
    """Return a new optimizer from what `serialize` returned."""
    return _BY_NAME[checks.one_of("optimizer", "class", str(data["class"]).lower(), sorted(_BY_NAME))].from_config(
        data["config"]
    )
