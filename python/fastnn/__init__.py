"""fastnn trains neural networks on a CPU, fast. See `fastnn.Sequential`, `fastnn.layers` and `fastnn.config`."""

import sys

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
from fastnn.by_hand import explain
from fastnn.layers.core import Input
from fastnn.models import Model, Sequential
from fastnn.rbm import RBM, pretrain
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
