"""Wrong names and arguments of constructors and settings: the error names the nearest valid ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from errors import check
from tiny import line

from fastnn import config, layers, metrics, optimizers, utils
from fastnn.layers import Conv2D, Dense, Dropout, MaxPooling2D

NAMES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "optimizer": (
        lambda: line("adm"),
        ValueError,
        "optimizer: expected name to be one of 'adadelta', ..., got 'adm'; did you mean 'adam'...",
    ),
    "optimizer class": (
        lambda: line(optimizers.Adam),
        TypeError,
        "optimizer: expected a name or an Optimizer, got ...",
    ),
    "loss": (
        lambda: line("sgd", "mean_square_error"),
        ValueError,
        "loss: expected name to be one of ..., got 'mean_square_error'; did you mean 'mean_squared_error'...",
    ),
    "loss function": (
        lambda: line("sgd", lambda y_true, y_pred: y_pred - y_true),
        TypeError,
        "loss: expected a name or a Loss, got ...; for a function of your own subclass fastnn.losses.Loss",
    ),
    "metric": (
        lambda: line(metrics=["acuracy"]),
        ValueError,
        "metric: expected name to be one of ..., got 'acuracy'; did you mean 'accuracy'...",
    ),
    "metric alone": (
        lambda: line(metrics="accuracy"),
        TypeError,
        "compile: expected metrics as a list, got 'accuracy' (str); write metrics=['accuracy']",
    ),
    "metric number": (lambda: line(metrics=[3]), TypeError, "metric: expected a name or a Metric, got ..."),
    "activation": (
        lambda: Dense(3, activation="rleu"),
        ValueError,
        "activation: expected name to be one of ..., got 'rleu'; did you mean 'relu'...",
    ),
    "activation function": (
        lambda: Dense(3, activation=np.tanh),
        TypeError,
        "activation: expected a name or an Activation, ...",
    ),
    "initializer": (
        lambda: Dense(3, kernel_initializer="he_norml"),
        ValueError,
        "...: expected the name of an initializer, got 'he_norml'; did you mean 'he_normal'...",
    ),
    "padding": (
        lambda: Conv2D(3, 3, padding="sme"),
        ValueError,
        "Conv2D 'conv2d...': expected padding to be one of 'valid', 'same', got 'sme'; did you mean 'same'?",
    ),
    "data format": (
        lambda: MaxPooling2D(data_format="channel_last"),
        ValueError,
        "MaxPooling2D '...': expected data_format to be one of ..., got 'channel_last'; did you mean 'channels_last'...",
    ),
    "argument of compile": (
        lambda: line(lss="mse"),
        TypeError,
        "compile: expected only known arguments, got 'lss'; did you mean 'loss'?",
    ),
    "argument of a layer": (
        lambda: Dense(3, activaton="relu"),
        TypeError,
        "Dense: expected only known arguments, got 'activaton'; did you mean 'activation'?",
    ),
    "argument of an optimizer": (
        lambda: optimizers.Adam(lr=0.1),
        TypeError,
        "Adam: expected only known arguments, got 'lr'; ...",
    ),
    "units": (lambda: Dense(0), ValueError, "Dense 'dense...': expected units to be an integer >= 1, got 0"),
    "units text": (
        lambda: Dense("3"),
        TypeError,
        "Dense 'dense...': expected units to be an integer >= 1, got '3' (str)",
    ),
    "units bool": (
        lambda: Dense(True),
        TypeError,
        "Dense 'dense...': expected units to be an integer >= 1, got True (bool)",
    ),
    "rate": (
        lambda: Dropout(1.5),
        ValueError,
        "Dropout 'dropout...': expected rate to be a finite number >= 0 and <= 1, got 1.5",
    ),
    "kernel size": (
        lambda: Conv2D(3, (3, 3, 3)),
        ValueError,
        "Conv2D '...': expected kernel_size to be one integer or two, got ...",
    ),
    "groups": (
        lambda: Conv2D(3, 3, groups=2),
        ValueError,
        "Conv2D '...': expected filters divisible by groups = 2, got 3",
    ),
    "axis": (
        lambda: layers.Softmax(axis=1)(np.zeros(3)),
        ValueError,
        "Softmax '...': expected input with axis 1 besides that of the samples, got (N,)",
    ),
    "reshape": (
        lambda: layers.Reshape((-1, -1)),
        ValueError,
        "Reshape '...': expected target_shape of sizes >= 1 with at most one -1, ...",
    ),
    "backend": (
        lambda: config.set_backend("nativ"),
        ValueError,
        "set_backend: expected name to be one of 'native', 'numpy', got 'nativ'; did you mean 'native'?",
    ),
    "instruction set": (
        lambda: config.set_isa("avx3"),
        ValueError,
        "set_isa: expected name to be one of 'baseline'..., got 'avx3'; ...",
    ),
    "threads": (
        lambda: config.set_num_threads(0),
        ValueError,
        "set_num_threads: expected count to be an integer >= 1 and <= 1024, got 0",
    ),
    "seed": (
        lambda: config.set_seed(-1),
        ValueError,
        "set_seed: expected seed to be an integer >= 0 and <= ..., got -1",
    ),
    "classes": (
        lambda: utils.to_categorical([0, 3], 3),
        ValueError,
        "to_categorical: expected class numbers from 0 to 2, got 0 to 3",
    ),
    "labels of a metric": (
        lambda: metrics.SparseCategoricalAccuracy()([0.5], [[0.1, 0.9]]),
        ValueError,
        "sparse_categorical_accuracy: expected ...",
    ),
}


@pytest.mark.parametrize(("use", "error", "text"), NAMES.values(), ids=NAMES)
def test_names_and_arguments(use: Callable[[], Any], error: type[Exception], text: str) -> None:
    check(use, error, text)
