"""Correlations within rows, and metrics as functions."""

from __future__ import annotations

import numpy as np
import pytest
from gradcheck import normal

from fastnn import Sequential, layers, metrics
from fastnn.metrics.functions import FUNCTIONS
from fastnn.recordable import is_recordable

CORRELATIONS = [metrics.PearsonCorrelation, metrics.ConcordanceCorrelation]


@pytest.mark.parametrize("cls", CORRELATIONS)
def test_correlations_take_several_values(cls: type[metrics.Metric]) -> None:
    for use in (
        lambda: cls()([1.0, 2.0], [[1.0], [2.0]]),
        lambda: getattr(metrics, cls().name)([1.0, 2.0], [[1.0], [2.0]]),
        lambda: Sequential([layers.Input((3,)), layers.Dense(1)]).compile("sgd", "mse", metrics=[cls()]),
    ):
        with pytest.raises(ValueError, match=f"{cls().name}: expected at least 2 values along the axis, got 1; it is"):
            use()


@pytest.mark.parametrize("eager", [False, True])
def test_correlations_in_a_model(eager: bool) -> None:
    """Masked times do not count, nor do rows of weight 0, whatever is there."""
    x = normal(6, 4, 3).astype(np.float32)
    y = normal(6, 4, 2, seed=1).astype(np.float32)
    x[:, 2:], y[:, 2:] = 0.0, 7.0
    model = Sequential([layers.Input((4, 3)), layers.Masking(), layers.Dense(2)])
    model.compile("sgd", "mse", metrics=[cls() for cls in CORRELATIONS], run_eagerly=eager)
    got = model.evaluate(x, y, batch_size=4, verbose=0)[1:]
    pred = model.predict(x, verbose=0)
    for value, cls in zip(got, CORRELATIONS):
        assert value == pytest.approx(cls()(y[:, :2], pred[:, :2]), rel=1e-5)
        weights = np.array([1.0, 0.0, 2.0, 0.0, 0.0, 1.0])
        assert cls()(y, pred, weights) == pytest.approx(cls()(y[[0, 2, 2, 5]], pred[[0, 2, 2, 5]]), rel=1e-5)
    for along in (1, -2):
        turned = [np.swapaxes(part, 1, 2) for part in (y, pred)]
        for cls in CORRELATIONS:
            assert cls(axis=along)(y, pred) == pytest.approx(cls()(*turned), rel=1e-6)


def test_functions_become_classes() -> None:
    """A function of the package means the metric that takes its mean, and is recorded; others are taken as they are."""
    for function, cls in FUNCTIONS.items():
        found = metrics.get(function)
        assert type(found) is cls
        assert found.name == function.__name__
        assert is_recordable(found)
    truth, pred = (
        np.eye(3)[[0, 2, 1, 1]],
        np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.2, 0.6, 0.2]]),
    )
    for function in (metrics.categorical_accuracy, metrics.huber, metrics.log_cosh, metrics.pearson_correlation):
        assert metrics.get(function)(truth, pred) == pytest.approx(
            function(truth, pred).mean(dtype=np.float64), rel=1e-6
        )


def test_functions_of_rows() -> None:
    pred = np.array([[0.1, 0.9], [np.nan, 1.0], [0.5, 0.5]], np.float32)
    assert metrics.sparse_categorical_accuracy([1, 1, 0], pred).tolist() == [1, 0, 1]
    assert metrics.categorical_accuracy(np.eye(2)[[1, 1, 1]], pred).tolist() == [1, 0, 0]
    assert metrics.top_k_categorical_accuracy(np.eye(2)[[1, 0, 1]], pred, k=1).tolist() == [1, 0, 1]
    assert metrics.binary_accuracy([[1], [0]], [[0.6], [0.6]], threshold=0.7).tolist() == [[0], [1]]
    assert metrics.pearson_correlation([[1, 1], [0, 1]], [[0, 1], [0, 3]]).tolist() == [0, 1]
    for name in ("categorical_accuracy", "binary_accuracy", "top_k_categorical_accuracy", "pearson_correlation"):
        with pytest.raises(ValueError, match=f"{name}: expected y_true with the predictions' 6 values, got"):
            getattr(metrics, name)(np.ones((2, 2)), pred)
    with pytest.raises(ValueError, match="sparse_categorical_accuracy: expected 3 integer labels, got"):
        metrics.sparse_categorical_accuracy([1, 0], pred)
