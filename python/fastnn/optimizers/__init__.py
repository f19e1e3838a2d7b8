"""Optimizers, in the Keras dialect: one fused pass over the flat parameters."""

from __future__ import annotations

from typing import Any

from fastnn import checks
from fastnn.optimizers import numpy_style, presets, schedules
from fastnn.optimizers.adafactor import Adafactor
from fastnn.optimizers.adam import Adam, Adamax, AdamW, Lamb, Nadam
from fastnn.optimizers.adaptive import Adadelta, Adagrad, RMSprop
from fastnn.optimizers.base import Optimizer
from fastnn.optimizers.lbfgs import LBFGS
from fastnn.optimizers.linear import Ftrl, Lion
from fastnn.optimizers.muon import Muon
from fastnn.optimizers.sgd import SGD

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "Muon",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "deserialize",
    "get",
    "numpy_style",
    "presets",
    "schedules",
    "serialize",
]

_CLASSES = (SGD, RMSprop, Adam, AdamW, Adadelta, Adagrad, Adamax, Adafactor, Nadam, Ftrl, Lion, Lamb, LBFGS, Muon)
_BY_NAME: dict[str, type[Optimizer]] = {c.__name__.lower(): c for c in _CLASSES}


def get(identifier: str | Optimizer) -> Optimizer:
    """Return a new optimizer with default arguments from its name ("sgd", "adam", ...); an Optimizer is returned as it is."""
    if isinstance(identifier, Optimizer):
        return identifier
    if not isinstance(identifier, str):
        made = isinstance(identifier, type) and issubclass(identifier, Optimizer)
        fix = (
            f"make an object of the class: {identifier.__name__}()"
            if made
            else "write 'adam' or Adam(learning_rate=0.001)"
        )
        checks.fail_type("optimizer", "a name or an Optimizer", checks.describe(identifier), fix)
    return _BY_NAME[checks.one_of("optimizer", "name", identifier.lower(), sorted(_BY_NAME))]()


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """Return the optimizer as plain data."""
    named = {**optimizer.exclusions.as_data(), **optimizer.rate_factors.as_data()}
    return {"class": type(optimizer).__name__, "config": optimizer.get_config(), **named}


def deserialize(data: dict[str, Any]) -> Optimizer:
    """Return a new optimizer from what `serialize` returned."""
    cls = _BY_NAME[checks.one_of("optimizer", "class", str(data["class"]).lower(), sorted(_BY_NAME))]
    optimizer = cls.from_config(data["config"])
    optimizer.exclusions.restore(data)
    optimizer.rate_factors.restore(data)
    return optimizer
