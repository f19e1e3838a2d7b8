"""Metrics against Keras: values after each of several batches, with and without weights, over random options."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases_objects import METRICS, metric_allowed, metric_batch
from harness import SHORT, Arguments, assert_near, configurations, keras, normal, numpy_of, tensor

from fastnn import metrics


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
