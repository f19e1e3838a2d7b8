"""Optimizers, in the Keras dialect: one fused pass over the flat parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastnn import checks
from fastnn.custom import given_class
from fastnn.optimizers import numpy_style, presets, schedules
from fastnn.optimizers.adafactor import Adafactor
from fastnn.optimizers.adam import Adam, Adamax, AdamW, Lamb, Nadam
from fastnn.optimizers.adaptive import Adadelta, Adagrad, RMSprop
from fastnn.optimizers.base import Optimizer
from fastnn.optimizers.lbfgs import LBFGS
from fastnn.optimizers.linear import Ftrl, Lion
from fastnn.optimizers.muon import Muon
from fastnn.optimizers.sgd import SGD
from fastnn.registry import described

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


def get(identifier: str | Mapping[str, Any] | Optimizer) -> Optimizer:
    """Return a new optimizer with default arguments from its name ("sgd", "adam", ...); an Optimizer is returned as it is.

    A dict as `serialize` gives it makes one with arguments.
    """
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
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


def deserialize(
    config: str | Mapping[str, Any], custom_objects: Mapping[str, type[Optimizer]] | None = None
) -> Optimizer:
    """Return a new optimizer from its name or from what `serialize` returned.

    Args:
        config: the name, or a dict with "class_name" (or "class") and "config".
        custom_objects: your own classes by name.
    """
    name, arguments = described("optimizers.deserialize", config)
    cls = given_class(name, custom_objects)
    cls = cls or _BY_NAME[checks.one_of("optimizer", "class", name.lower(), sorted(_BY_NAME))]
    optimizer: Optimizer = cls.from_config(dict(arguments))
    if isinstance(config, Mapping):
        optimizer.exclusions.restore(config)
        optimizer.rate_factors.restore(config)
    return optimizer
