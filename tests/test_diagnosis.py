"""diagnose: all rules on curves made for them, and on a real training; hidden_units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradcheck import normal

from fastnn import Input, Sequential, config, utils
from fastnn.layers import Dense
from fastnn.tune import diagnose

EPOCHS = np.arange(20)
FALLS, LEVEL, RISES = 2.0 * 0.9**EPOCHS, 0.5 + 0.5 * 0.3**EPOCHS, 0.5 + 0.02 * EPOCHS
CURVES = {"falls": FALLS, "level": LEVEL, "rises": RISES}


@pytest.mark.parametrize(
    ("training", "validation", "verdict", "word"),
    [
        ("falls", "falls", "learning", "more epochs"),
        ("falls", "level", "overfitting", "more data"),
        ("falls", "rises", "overfitting", "EarlyStopping"),
        ("level", "falls", "data problem", "data"),
        ("level", "level", "stuck", "smaller learning rate"),
        ("rises", "rises", "diverging", "network"),
        ("level", "rises", "overfitting", "more data"),
        ("rises", "level", "diverging", "clipping"),
        ("rises", "falls", "diverging", "clipping"),
        ("falls", None, "learning", "more epochs"),
        ("level", None, "stuck", "optimizer"),
        ("rises", None, "diverging", "clipping"),
    ],
)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e5])
@pytest.mark.parametrize("noise", [0.0, 0.005])
def test_rules(training: str, validation: str | None, verdict: str, word: str, scale: float, noise: float) -> None:
    shake = 1 + noise * np.random.default_rng(0).normal(size=(2, len(EPOCHS)))
    history = {"loss": list(scale * CURVES[training] * shake[0])}
    if validation is not None:
        history["val_loss"] = list(scale * CURVES[validation] * shake[1])
    found = diagnose(history)
    assert (found.verdict, found.training, found.validation) == (verdict, training, validation)
    assert any(word in advice for advice in found.advice)
    assert str(found).startswith(f"{verdict} (loss in training: {training}")
    assert len(str(found).splitlines()) == 1 + len(found.advice)


@pytest.mark.parametrize(
    ("accuracy", "validation", "verdict"),
    [
        (0.5, 0.5, "underfitting"),
        (0.5, 0.99, "underfitting"),
        (0.99, 0.5, "overfitting"),
        (0.95, 0.9, "fine"),
        (0.99, None, "fine"),
    ],
)
def test_by_accuracy_the_training_comes_first(accuracy: float, validation: float | None, verdict: str) -> None:
    history = {"loss": list(FALLS), "accuracy": [0.1] * 19 + [accuracy], "val_loss": list(LEVEL)}
    if validation is not None:
        history["val_accuracy"] = [0.1] * 19 + [validation]
    assert diagnose(history, target=0.9).verdict == verdict


def test_window_and_tolerance() -> None:
    turned = {"loss": [5.0, 4.0, 3.0, 2.0, 1.0, 1.0, 1.0, 1.0]}
    assert diagnose(turned).verdict == "stuck"
    assert diagnose(turned, window=1.0).verdict == "learning"
    slow = {"loss": [1.0, 0.995, 0.99]}
    assert diagnose(slow).verdict == "stuck"
    assert diagnose(slow, tolerance=0.005).verdict == "learning"
    assert diagnose({"loss": [1.0, 2.0, float("nan")]}).verdict == "diverging"
    assert diagnose({"loss": [0.0, 0.0, 0.0]}).verdict == "stuck"


def test_a_real_training_that_learns_its_samples_by_heart() -> None:
    config.set_seed(0)
    model = Sequential([Input((10,)), Dense(64, "relu"), Dense(1, "sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    x, y = normal(80, 10), (normal(80, 1, seed=1) > 0).astype(np.float32)
    history = model.fit(x, y, epochs=150, validation_split=0.5, batch_size=8, verbose=0)
    assert diagnose(history).verdict == "overfitting"
    assert diagnose(history, target=0.9).verdict == "overfitting"


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: diagnose({"loss": [1.0, 2.0]}), ValueError, "diagnose: expected loss of at least 3 epochs, got 2"),
        (lambda: diagnose({"mae": [1.0]}), ValueError, "a history with a loss, got mae"),
        (lambda: diagnose([1.0]), TypeError, "what fit returned"),
        (lambda: diagnose({"loss": list(FALLS)}, target=0.9), ValueError, "a history with an accuracy for a target"),
        (lambda: diagnose({"loss": list(FALLS)}, target=1.5), ValueError, "target to be a finite number"),
        (lambda: diagnose({"loss": list(FALLS)}, window=0.0), ValueError, "window to be a finite number"),
        (lambda: utils.hidden_units(0, 1, 1), ValueError, "hidden_units: expected samples to be an integer >= 1"),
        (lambda: utils.hidden_units(9, 1, 1, (5, 2)), ValueError, "the smallest factor first"),
        (lambda: utils.hidden_units(9, 1, 1, 2), TypeError, "alpha as two numbers"),  # type: ignore[arg-type]
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_hidden_units() -> None:
    """N_h = N_s / (alpha (N_i + N_o)), alpha from 2 to 10."""
    assert utils.hidden_units(1000, 4, 1) == (20, 100)
    assert utils.hidden_units(1000, 4, 1, (5, 5)) == (40, 40)
    assert utils.hidden_units(10, 784, 10) == (1, 1)
