"""Losses, metrics and optimizers against Keras, and whole training runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import (
    LONG,
    SHORT,
    Array,
    assert_near,
    check_loss,
    check_metric,
    check_optimizer,
    configurations,
    keras,
    normal,
)

import fastnn


def probabilities(*shape: int) -> Array:
    """Return float32 rows that add up to 1 as nearly as float32 can."""
    e = np.exp(normal(*shape, seed=3).astype(np.float64))
    return (e / e.sum(-1, keepdims=True)).astype(np.float32)


LABELS = np.array([[0], [2], [1], [3], [2], [0], [1]])
ONE_HOT = np.eye(4, dtype=np.float32)[LABELS[:, 0]]
BITS = (normal(7, 4, seed=5) > 0).astype(np.float32)
WEIGHTS = np.array([1.0, 0.5, 2.0, 0.0, 3.0, 1.5, 1.0], np.float32)
REDUCTIONS = ["sum_over_batch_size", "sum"]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("cls", "y_true", "y_pred", "arguments"),
    [
        ("MeanSquaredError", normal(7, 4, seed=1), normal(7, 4, seed=2), {}),
        ("MeanAbsoluteError", normal(7, 4, seed=1), normal(7, 4, seed=2), {}),
        ("BinaryCrossentropy", BITS, 1 / (1 + np.exp(-normal(7, 4))), {}),
        ("BinaryCrossentropy", BITS, 8 * normal(7, 4), {"from_logits": True}),
        ("CategoricalCrossentropy", ONE_HOT, 8 * normal(7, 4), {"from_logits": True}),
        ("SparseCategoricalCrossentropy", LABELS, 8 * normal(7, 4), {"from_logits": True}),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_losses(
    cls: str, y_true: Array, y_pred: Array, arguments: dict[str, Any], weighted: bool, reduction: str
) -> None:
    weights = WEIGHTS if weighted else None
    check_loss(cls, {**arguments, "reduction": reduction}, y_true, y_pred, sample_weight=weights)


@pytest.mark.parametrize(
    ("cls", "y_true"), [("CategoricalCrossentropy", ONE_HOT), ("SparseCategoricalCrossentropy", LABELS)]
)
def test_cross_entropy_of_probabilities(cls: str, y_true: Array) -> None:
    """The value only: Keras divides by the sum first, which changes the gradient along that direction."""
    p = probabilities(7, 4)
    ours = getattr(fastnn.losses, cls)()
    assert_near(ours(y_true, p), float(getattr(keras().losses, cls)()(y_true, p.astype(np.float64))), 1e-6, cls)


DECAYS = [None, 0.1]
OPTIMIZERS = [
    *(("SGD", c) for c in configurations(6, momentum=[0.0, 0.9], nesterov=[False, True], weight_decay=DECAYS)),
    *(("Adagrad", c) for c in configurations(3, initial_accumulator_value=[0.1, 0.01], weight_decay=DECAYS)),
    *(
        ("RMSprop", c)
        for c in configurations(6, rho=[0.9, 0.5], momentum=[0.0, 0.9], centered=[False, True], weight_decay=DECAYS)
    ),
    *(("Adam", c) for c in configurations(5, beta_1=[0.9, 0.5], amsgrad=[False, True], weight_decay=DECAYS)),
    *(("AdamW", c) for c in configurations(3, beta_2=[0.999, 0.9], amsgrad=[False, True], weight_decay=[0.004, 0.1])),
]


@pytest.mark.parametrize(("cls", "arguments"), OPTIMIZERS, ids=str)
def test_optimizers(cls: str, arguments: dict[str, Any]) -> None:
    # A centered RMSprop divides by the root of a difference.
    check_optimizer(
        cls, {"learning_rate": 0.01, **arguments}, tolerance=5 * SHORT if "centered" in arguments else SHORT
    )


@pytest.mark.parametrize("cls", ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW"])
def test_defaults_of_optimizers(cls: str) -> None:
    check_optimizer(cls, {})


@pytest.mark.parametrize(
    ("cls", "y_true", "y_pred"),
    [
        ("SparseCategoricalAccuracy", LABELS, probabilities(7, 4)),
        ("CategoricalAccuracy", ONE_HOT, probabilities(7, 4)),
        ("BinaryAccuracy", BITS, normal(7, 4) + np.float32(0.5)),
        ("MeanSquaredError", BITS, normal(7, 4)),
        ("MeanAbsoluteError", BITS, normal(7, 4)),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_metrics(cls: str, y_true: Array, y_pred: Array) -> None:
    check_metric(cls, {}, [(y_true, y_pred), (y_true[:3], y_pred[:3][::-1]), (y_true[2:], y_pred[:-2])])


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam"])
@pytest.mark.parametrize("loss", ["mse", "sparse_categorical_crossentropy"])
def test_fit(optimizer: str, loss: str) -> None:
    """Five epochs of ten batches, the last one odd, not shuffled: the same losses, the same weights."""
    x = normal(77, 9)
    y = (np.abs(x[:, :1] * 3).astype(np.int64) % 4) if loss.startswith("sparse") else np.tanh(x[:, :4])

    def trained(package: Any) -> tuple[Any, Any]:
        layers = package.layers
        model = package.Sequential(
            [
                package.Input((9,)),
                layers.Dense(16, activation="relu"),
                layers.BatchNormalization(),
                layers.Dense(4, activation="softmax" if loss.startswith("sparse") else None),
            ]
        )
        model.set_weights([normal(*w.shape, seed=7) / 4 + (w == 1) for w in model.get_weights()])
        model.compile(optimizer=optimizer, loss=loss)
        return model, model.fit(x, y, batch_size=8, epochs=5, shuffle=False, verbose=0).history

    (ours, logs), (theirs, expected) = trained(fastnn), trained(keras())
    assert_near(logs["loss"], expected["loss"], LONG, "losses")
    for p, want in zip(ours.get_weights(), theirs.get_weights()):
        assert_near(p, want, 5 * LONG, "weights after training")
