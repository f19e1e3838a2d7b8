"""Metrics against Keras: values after each of several batches, with and without weights, over random options."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases_objects import METRICS, loss_data, metric_allowed, metric_batch
from harness import SHORT, Arguments, assert_near, configurations, keras, normal, numpy_of, tensor

from fastnn import losses, metrics
from fastnn.losses.functions import FUNCTIONS


def every_metric() -> list[Any]:
    return [
        pytest.param(cls, arguments, id=f"{cls} {arguments}")
        for cls, (_, options) in METRICS.items()
        for arguments in configurations(12 if len(options) > 3 else 6, valid=metric_allowed, **options)
    ]


def check_metric(cls: str, arguments: Arguments, weighted: bool, theirs: Any = None) -> None:
    """Check a metric's result after each of three batches against Keras's, or against that of `theirs`."""
    exact = {"dtype": "float64"} if "IoU" in cls else {}  # which cuts weights down to whole numbers without it
    ours, theirs = getattr(metrics, cls)(**arguments), theirs or getattr(keras().metrics, cls)(**arguments, **exact)
    for i, n in enumerate((17, 5, 30)):
        batch = metric_batch(cls, METRICS[cls][0], arguments, n, i)
        weights = {"sample_weight": np.abs(normal(n, seed=9 + i)) + np.float32(0.1)} if weighted else {}
        ours.update_state(*batch, **weights)
        theirs.update_state(*map(tensor, batch), **{name: tensor(w) for name, w in weights.items()})
        assert_near(
            ours.result(), numpy_of(theirs.result()), SHORT, f"{cls} after batch {i}, weighted: {weighted}", 1.0
        )


@pytest.mark.parametrize(("cls", "arguments"), every_metric())
def test_metric(cls: str, arguments: Arguments) -> None:
    if (
        cls != "SparseCategoricalCrossentropy" or not arguments["ignore_class"]
    ):  # Keras leaves labels out only with weights
        check_metric(cls, arguments, weighted=False)
    if not arguments.get("num_regressors"):  # the adjusted score counts samples by their weights, Keras's each as one
        check_metric(cls, arguments, weighted=True)


LIKE_LOSSES = sorted({name for name in metrics.__all__ if name.islower()} & {f.__name__ for f in FUNCTIONS})


@pytest.mark.parametrize("name", LIKE_LOSSES)
def test_function_of_a_loss(name: str) -> None:
    assert getattr(metrics, name) is getattr(losses, name)
    y_true, y_pred = loss_data(type(losses.get(name)).__name__, {}, (6, 4, 3), 3)
    want = getattr(keras().metrics, name)(tensor(y_true), tensor(y_pred))
    assert_near(getattr(metrics, name)(y_true, y_pred), numpy_of(want), SHORT, name, 1.0)


@pytest.mark.parametrize(
    ("name", "kind", "arguments"),
    [
        ("binary_accuracy", "bits", {}),
        ("binary_accuracy", "bits", {"threshold": 0.3}),
        ("categorical_accuracy", "one hot", {}),
        ("sparse_categorical_accuracy", "classes", {}),
        *((name, kind, {"k": k}) for name, kind in
          (("top_k_categorical_accuracy", "one hot"), ("sparse_top_k_categorical_accuracy", "classes")) for k in (1, 2, 3)),
        *((name, "numbers", {"axis": axis}) for name in ("pearson_correlation", "concordance_correlation")
          for axis in (-1, 0, 1, (0, -1))),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("leading", [(12,), (3, 4), (2, 3, 2)], ids=str)
def test_function(name: str, kind: str, arguments: Arguments, leading: tuple[int, ...]) -> None:
    """Of rows, and of rows in several axes."""
    batch = metric_batch("", kind, arguments, 12, 5)
    y_true, y_pred = (np.asarray(part).reshape(*leading, *np.shape(part)[1:]) for part in batch)
    want = getattr(keras().metrics, name)(tensor(y_true), tensor(y_pred), **arguments)
    assert_near(getattr(metrics, name)(y_true, y_pred, **arguments), numpy_of(want), SHORT, name, 1.0)
