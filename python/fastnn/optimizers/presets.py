"""Constants that other frameworks gave Adam, as tables in courses list them, and those of a textbook's optimizers."""

from __future__ import annotations

from typing import Any

from fastnn import checks
from fastnn.optimizers.adam import Adam
from fastnn.optimizers.adaptive import Adagrad, RMSprop
from fastnn.optimizers.base import Optimizer
from fastnn.optimizers.sgd import SGD

_PAPER: dict[str, Any] = {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}
ADAM: dict[str, dict[str, Any]] = {
    "tensorflow": _PAPER,
    "keras": _PAPER,
    "blocks": {**_PAPER, "learning_rate": 0.002},
    "lasagne": _PAPER,
    "caffe": _PAPER,
    "mxnet": _PAPER,
    "torch": _PAPER,
}

BOOK: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "sgd": (SGD, {"learning_rate": 0.01}),
    "momentum": (SGD, {"learning_rate": 0.01, "momentum": 0.9}),
    "nesterov": (SGD, {"learning_rate": 0.01, "momentum": 0.9, "nesterov": True}),
    "adagrad": (Adagrad, {"learning_rate": 0.01, "initial_accumulator_value": 0.0, "epsilon": 1e-7}),
    "rmsprop": (RMSprop, {"learning_rate": 0.01, "rho": 0.99, "epsilon": 1e-7}),
    "adam": (Adam, {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
}


def adam(framework: str, **arguments: Any) -> Adam:
    """Return Adam with a framework's constants.

    Args:
        framework: "tensorflow", "keras", "blocks", "lasagne", "caffe", "mxnet" or "torch", in the versions of 2016.
        arguments: of `Adam`, which go before.

    Example:
        >>> round(fastnn.optimizers.presets.adam("blocks").learning_rate, 6)
        0.002
    """
    return Adam(**{**ADAM[checks.one_of("presets.adam", "framework", framework, sorted(ADAM))], **arguments})


def book(name: str, **arguments: Any) -> Optimizer:
    """Return an optimizer with the constants that it has in `fastnn.optimizers.numpy_style`, for `compile`.

    Epsilon stays where Keras has it: of "adagrad" and "rmsprop" it is under the root.

    Args:
        name: "sgd", "momentum", "nesterov", "adagrad", "rmsprop" or "adam".
        arguments: of the optimizer, which go before.

    Example:
        >>> optimizer = fastnn.optimizers.presets.book("rmsprop")
        >>> optimizer.get_config()["rho"]
        0.99
    """
    cls, constants = BOOK[checks.one_of("presets.book", "name", name, sorted(BOOK))]
    return cls(**{**constants, **arguments})
