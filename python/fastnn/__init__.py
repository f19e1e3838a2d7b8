"""fastnn trains neural networks on a CPU, fast. See `fastnn.Sequential`, `fastnn.layers` and `fastnn.config`."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastnn import (
    activations,
    callbacks,
    config,
    constraints,
    datasets,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
    utils,
)
from fastnn._core import __version__
from fastnn.by_hand import explain
from fastnn.layers.core import Input
from fastnn.models import Model, Sequential
from fastnn.rbm import RBM, pretrain

if TYPE_CHECKING:
    from fastnn import tune
    from fastnn.tune import cross_validate, random_search

keras = sys.modules[__name__]  # a program that says tf.keras.layers.Dense needs `import fastnn as tf`

__all__ = [
    "RBM",
    "Input",
    "Model",
    "Sequential",
    "__version__",
    "activations",
    "callbacks",
    "config",
    "constraints",
    "cross_validate",
    "datasets",
    "explain",
    "initializers",
    "keras",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "pretrain",
    "random_search",
    "regularizers",
    "tune",
    "utils",
]


def __getattr__(name: str) -> Any:
    """Import the search for hyperparameters where it is used: it is an eighth of the time that an import takes."""
    if name not in ("tune", "cross_validate", "random_search"):
        raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
    tune = import_module("fastnn.tune")
    return tune if name == "tune" else getattr(tune, name)


def __dir__() -> list[str]:
    return sorted(__all__)
