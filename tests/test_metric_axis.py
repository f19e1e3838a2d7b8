"""Metrics along another axis than the last: by hand, and in a model whose loss has that axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import normal
from numpy.typing import NDArray

from fastnn import Input, Sequential, layers, losses, metrics

Array = NDArray[Any]
CLASSES = 3


def shares(*shape: int) -> Array:
    """Return float32 numbers that add up to 1 along axis 1."""
    e = np.exp(normal(*shape))
    return (e / e.sum(1, keepdims=True)).astype(np.float32)


LABELS = np.random.default_rng(0).integers(0, CLASSES, (5, 4, 2))
ONE_HOT = np.moveaxis(np.eye(CLASSES, dtype=np.float32)[LABELS], -1, 1)
PRED = shares(5, CLASSES, 4, 2)
WEIGHTS = np.linspace(0.5, 2.0, 5).astype(np.float32)
CASES: list[tuple[str, dict[str, Any], Array]] = [
    ("CosineSimilarity", {}, ONE_HOT),
    ("CategoricalCrossentropy", {}, ONE_HOT),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, ONE_HOT),
    ("SparseCategoricalCrossentropy", {}, LABELS),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}, LABELS),
    ("IoU", {"num_classes": CLASSES, "target_class_ids": [0, 2], "sparse_y_pred": False}, LABELS),
    ("MeanIoU", {"num_classes": CLASSES, "sparse_y_pred": False}, LABELS),
    ("OneHotIoU", {"num_classes": CLASSES, "target_class_ids": [1]}, ONE_HOT),
    ("OneHotMeanIoU", {"num_classes": CLASSES}, ONE_HOT),
]


@pytest.mark.parametrize(("cls", "arguments", "truth"), CASES, ids=lambda v: str(v) if isinstance(v, str) else "")
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weighted"])
def test_is_that_of_moved_arrays(cls: str, arguments: dict[str, Any], truth: Array, weights: Array | None) -> None:
    make = getattr(metrics, cls)
    moved = np.moveaxis(truth, 1, -1) if truth.ndim == PRED.ndim else truth
    expected = make(**arguments)(moved, np.moveaxis(PRED, 1, -1), weights)
    for axis in (1, -3):
        metric = make(axis=axis, **arguments)
        assert metric(truth, PRED, weights) == expected
        assert metric(truth.tolist(), PRED.tolist(), weights) == pytest.approx(expected, rel=1e-6)
        assert metrics.deserialize(metrics.serialize(metric)).axis == axis
    with pytest.raises(ValueError, match=r"axis.* of arrays of rank 4, got 4"):
        make(axis=4, **arguments)(truth, PRED)
    with pytest.raises(ValueError, match="expected axis of a sample, got 0"):
        make(axis=0, **arguments)(truth, PRED)


def model_of(loss: losses.Loss, *chosen: Any, eager: bool = False) -> Sequential:
    model = Sequential([Input((CLASSES, 4, 2)), layers.Softmax(axis=1)])
    model.compile("sgd", loss, metrics=list(chosen), run_eagerly=eager)
    return model


@pytest.mark.parametrize("eager", [False, True])
def test_in_a_model(eager: bool) -> None:
    """The loss's axis: what the metric is called with by hand, recorded or not, for as many batches as there are."""
    x = normal(5, CLASSES, 4, 2).astype(np.float32)
    sparse = metrics.SparseCategoricalCrossentropy(axis=1, name="entropy")
    model = model_of(losses.SparseCategoricalCrossentropy(axis=1), sparse, "accuracy", eager=eager)
    logs = model.evaluate(x, LABELS, batch_size=2, verbose=0, return_dict=True)
    assert logs["entropy"] == pytest.approx(logs["loss"], rel=1e-6)
    assert logs["accuracy"] == pytest.approx((model(x).argmax(1) == LABELS).mean(), rel=1e-6)
    similarity = metrics.CosineSimilarity(axis=-3)
    model = model_of(losses.CategoricalCrossentropy(axis=1), similarity, eager=eager)
    logs = model.evaluate(x, ONE_HOT, batch_size=2, verbose=0, return_dict=True)
    assert logs["cosine_similarity"] == pytest.approx(metrics.CosineSimilarity(axis=1)(ONE_HOT, model(x)), rel=1e-6)


def test_another_axis_than_the_loss() -> None:
    with pytest.raises(
        ValueError, match=r"compile: expected the metric 'cosine_similarity' along the loss's axis, 1, got"
    ):
        model_of(losses.CategoricalCrossentropy(axis=1), metrics.CosineSimilarity(axis=2))


def test_one_class_in_the_last_axis() -> None:
    """ "accuracy" is that of the classes, where the loss has them: not of the last axis, which has one."""
    model = Sequential([Input((CLASSES, 1)), layers.Softmax(axis=1)])
    model.compile("sgd", losses.CategoricalCrossentropy(axis=1), metrics=["accuracy"])
    x, y = normal(4, CLASSES, 1).astype(np.float32), np.eye(CLASSES)[[0, 1, 2, 0]][..., None]
    _, accuracy = model.evaluate(x, y, verbose=0)
    assert accuracy == pytest.approx((x.argmax(1) == y.argmax(1)).mean())


def test_adjusted_score_of_every_column() -> None:
    truth, pred = normal(9, 2), normal(9, 2, seed=1)
    whole = metrics.R2Score(num_regressors=2, class_aggregation=None)(truth, pred)
    for i in range(2):
        one = metrics.R2Score(num_regressors=2)(truth[:, i : i + 1], pred[:, i : i + 1])
        assert whole[i] == pytest.approx(one, rel=1e-9)
