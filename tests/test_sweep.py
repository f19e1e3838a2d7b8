"""sweep: a training for each value of one hyperparameter, ranked, drawn; the coefficient of L2 by validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradcheck import normal
from tiny import blobs

from fastnn import Input, Sequential, config, layers, optimizers, regularizers, tune

X, LABELS = blobs(60)


def classifier(rate: float = 0.01, units: int = 6) -> Sequential:
    model = Sequential([layers.Dense(units, "relu"), layers.Dropout(0.2), layers.Dense(3, "softmax")])
    model.compile(optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_a_value_is_a_training_and_workers_change_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    rates, found = [1e-4, 1e-2, 1e-1], []
    for workers in (1, 3):
        config.set_seed(5)
        found.append(
            tune.sweep(
                classifier, "rate", rates, X, LABELS, epochs=3, validation_split=0.25, workers=workers, verbose=1
            )
        )
    one, other = found
    np.testing.assert_array_equal(one.scores, other.scores)
    assert one.values == rates
    config.set_seed(5)
    models = []  # all made before the first one is trained, or in turn: what they draw does not depend on it
    for rate in rates:
        models.append(classifier(rate))
        models[-1].build((None, X.shape[1]))
    for i, model in enumerate(models):
        history = model.fit(X, LABELS, epochs=3, validation_split=0.25, verbose=0).history
        assert one.trials[i].history.history == history
        assert one.scores[i] == history["val_loss"][-1]
        assert one.training[i] == history["loss"][-1]
    assert one.best == rates[int(one.scores.argmin())]
    assert one.ranking == np.argsort(one.scores).tolist()
    for kept, model in zip(one.model.get_weights(), models[one.ranking[0]].get_weights()):
        np.testing.assert_array_equal(kept, model)
    assert capsys.readouterr().out.count("trial ") == 6


def test_largest_metrics_are_the_best_and_nan_is_the_worst() -> None:
    by_accuracy = tune.sweep(
        classifier, "rate", [1e-6, 0.05], X, LABELS, "val_accuracy", epochs=20, validation_split=0.2
    )
    assert by_accuracy.best == 0.05
    text = str(by_accuracy).splitlines()
    assert text[0].split() == ["rate", "accuracy", "val_accuracy"]
    assert [line.split()[0] for line in text[1:]] == ["1e-06", "0.05"]

    def linear(rate: float) -> Sequential:
        model = Sequential([Input((3,)), layers.Dense(1)])
        model.compile(optimizers.SGD(rate), "mse")
        return model

    with np.errstate(all="ignore"):
        diverged = tune.sweep(linear, "rate", [1e30, 1e-3], normal(40, 3), normal(40, 1), "loss", epochs=9)
    assert np.isnan(diverged.scores[0])
    assert diverged.best == 1e-3


def test_the_coefficient_of_l2_is_chosen_by_validation() -> None:
    """Thirty features for twenty noisy samples: no penalty learns them by heart, a large one learns nothing."""
    weights, rng = np.zeros((30, 1)), np.random.default_rng(0)
    weights[:5] = 1.0
    x, held_out = rng.normal(size=(20, 30)), rng.normal(size=(500, 30))
    y, truth = x @ weights + rng.normal(size=(20, 1)), held_out @ weights

    def build(l2: float) -> Sequential:
        model = Sequential([Input((30,)), layers.Dense(1, kernel_regularizer=regularizers.L2(l2))])
        model.compile(optimizers.Adam(0.05), "mse", metrics=["mse"])
        return model

    config.set_seed(0)
    coefficients = [0.0, 0.1, 100.0]
    found = tune.sweep(build, "l2", coefficients, x, y, "val_mse", epochs=300, validation_data=(held_out, truth))
    assert found.best == 0.1
    assert found.training[0] < 0.01 < found.training[1] < found.training[2]


def test_plot() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    found = tune.sweep(classifier, "units", [2, 4, 8], X, LABELS, "val_accuracy", epochs=2, validation_split=0.2)
    ax = found.plot()
    training, validation, best = ax.lines
    np.testing.assert_array_equal(training.get_ydata(), found.training)
    np.testing.assert_array_equal(validation.get_ydata(), found.scores)
    assert best.get_xdata()[0] == found.values.index(found.best)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["2", "4", "8"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("units", "accuracy")
    alone = tune.sweep(classifier, "units", [2], X, LABELS, "loss").plot(pyplot.figure().subplots())
    assert len(alone.lines) == 2
    pyplot.close("all")


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: tune.sweep(classifier(), "rate", [1], X), TypeError, "sweep: expected build to be a function"),
        (lambda: tune.sweep(classifier, "rate", [0.1], X, LABELS), ValueError, "validation_data for the objective"),
        (lambda: tune.sweep(classifier, "", [0.1], X, LABELS, "loss"), TypeError, "parameter as the name"),
        (lambda: tune.sweep(classifier, "rate", [], X, LABELS, "loss"), TypeError, "values as a list"),
        (lambda: tune.sweep(classifier, "rate", 0.1, X, LABELS, "loss"), TypeError, "values as a list"),  # type: ignore[arg-type]
        (lambda: tune.sweep(classifier, "rate", "abc", X, LABELS, "loss"), TypeError, "values as a list"),
        (lambda: tune.sweep(classifier, "rate", [0.1], X, LABELS, "los"), ValueError, "objective 'los' in the logs"),
        (lambda: tune.sweep(classifier, "rate", [0.1], X, LABELS, 3), TypeError, "objective to be a name"),  # type: ignore[arg-type]
        (lambda: tune.sweep(classifier, "speed", [0.1], X, LABELS, "loss"), TypeError, "speed"),
        (lambda: tune.sweep(lambda rate: 3, "rate", [0.1], X, LABELS, "loss"), TypeError, "a compiled model"),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
