"""fastnn trains neural networks on a CPU, fast. See `fastnn.Sequential`, `fastnn.layers` and `fastnn.config`."""

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
    tune,
    utils,
)
from fastnn._core import __version__
from fastnn.layers.core import Input
from fastnn.models import Model, Sequential

__all__ = [
    "Input",
    "Model",
    "Sequential",
    "__version__",
    "activations",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "regularizers",
    "tune",
    "utils",
]
