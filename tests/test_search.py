"""Cross-validation and random search: parts, numbers that do not depend on the workers, narrower ranges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from gradcheck import normal
from tiny import Array, blobs, images

from fastnn import (
    Input,
    Model,
    Sequential,
    callbacks,
    config,
    cross_validate,
    layers,
    losses,
    optimizers,
    random_search,
)
from fastnn.tune import Choice, Integer, LogUniform, Uniform

SPACE: dict[str, Any] = {"rate": LogUniform(1e-5, 1.0), "units": Integer(2, 9), "activation": ["relu", "tanh"]}


def classifier(rate: float = 0.01, units: int = 6, activation: str = "relu") -> Sequential:
    model = Sequential([layers.Dense(units, activation), layers.Dropout(0.2), layers.Dense(3, "softmax")])
    model.compile(optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("threads", [1, 2])
def test_folds_do_not_depend_on_the_workers(threads: int) -> None:
    """Also of models that are built by their data, with dropout and early stopping."""
    config.set_num_threads(threads)
    x, y = blobs(61)
    results = []
    for workers in (1, 2, 5):
        config.set_seed(7)
        stop = callbacks.EarlyStopping("loss", patience=1, min_delta=0.01)
        results.append(cross_validate(classifier, x, y, 5, epochs=4, callbacks=[stop], workers=workers, batch_size=8))
    for other in results[1:]:
        for name, values in results[0].scores.items():
            assert values.tolist() == other.scores[name].tolist()
        np.testing.assert_array_equal(results[0].predictions, other.predictions)
        assert [h.history for h in results[0].histories] == [h.history for h in other.histories]
    assert len({tuple(h.history["loss"]) for h in results[0].histories}) == 5


def test_a_fold_is_a_training_without_its_part() -> None:
    x, y = blobs(30)
    config.set_seed(3)
    result = cross_validate(classifier, x, y, 3, epochs=2, seed=1, verbose=0, shuffle=False)
    assert [fold.tolist() for fold in result.folds] == np.arange(30).reshape(3, 10).tolist()
    config.set_seed(3)
    for i, fold in enumerate(result.folds):
        model = classifier()
        model.build((None, 5))
        rest = np.setdiff1d(np.arange(30), fold)
        model.fit(x[rest], y[rest], epochs=2, verbose=0)
        scores = model.evaluate(x[fold], y[fold], verbose=0)
        assert [result.scores["loss"][i], result.scores["accuracy"][i]] == scores
        np.testing.assert_array_equal(result.predictions[fold], model.predict(x[fold], verbose=0))
    assert result.mean["loss"] == result.scores["loss"].mean()
    assert result.std["accuracy"] == result.scores["accuracy"].std(ddof=1)
    lines = str(result).splitlines()
    assert [line.split()[0] for line in lines] == ["fold", "1", "2", "3", "mean", "std"]


def test_parts_hold_every_sample_once_and_each_class_evenly() -> None:
    x, y = normal(47, 5).astype(np.float32), np.repeat([0, 1, 2], [30, 12, 5])
    result = cross_validate(classifier, x, y, 5, stratify=True, epochs=1)
    assert sorted(np.concatenate(result.folds)) == list(range(47))
    counts = np.array([np.bincount(y[fold], minlength=3) for fold in result.folds])
    assert (counts.max(0) - counts.min(0) <= 1).all()
    again = cross_validate(classifier, x, y, 5, epochs=1, seed=4)
    assert {len(fold) for fold in again.folds} == {9, 10}
    same = cross_validate(classifier, x, y, 5, epochs=1, seed=4)
    assert [f.tolist() for f in again.folds] == [f.tolist() for f in same.folds]


def test_weights_and_several_inputs() -> None:
    x, y = blobs(24)

    def model() -> Model:
        a, b = Input((5,)), Input((5,))
        out = layers.Dense(3, "softmax")(layers.Concatenate()([a, b]))
        made = Model([a, b], [out, layers.Dense(1)(b)])
        made.compile("sgd", ["sparse_categorical_crossentropy", "mse"])
        return made

    result = cross_validate(model, [x, x], [y, x[:, :1]], 3, sample_weight=np.ones(24), epochs=2)
    assert [p.shape for p in result.predictions] == [(24, 3), (24, 1)]
    assert len(result.scores) == 3


def test_search_ranks_and_narrows() -> None:
    x, y = blobs(60)
    config.set_seed(1)
    result = random_search(
        classifier, SPACE, x, y, 12, "val_accuracy", seed=2, epochs=3, validation_split=0.3, batch_size=8
    )
    scores = [trial.score for trial in result.trials]
    assert scores == sorted(scores, reverse=True)
    assert result.best.score == result.best.history.history["val_accuracy"][-1]
    assert result.model.evaluate(x[42:], y[42:], verbose=0)[1] == pytest.approx(
        result.best.history.history["val_accuracy"][-1]
    )
    narrow = result.narrow(0.25)
    some = [trial.parameters for trial in result.trials[:3]]
    rates = [p["rate"] for p in some]
    assert narrow["rate"] == LogUniform(min(rates), max(rates))
    assert set(narrow["activation"].values) == {p["activation"] for p in some}  # type: ignore[attr-defined]
    again = random_search(classifier, narrow, x, y, 3, seed=5, validation_split=0.3)
    assert all(min(rates) <= trial.parameters["rate"] <= max(rates) for trial in again.trials)
    lines = str(result).splitlines()
    assert lines[0].split() == ["trial", "val_accuracy", "rate", "units", "activation"]
    assert len(lines) == 13


def test_trials_do_not_depend_on_the_workers() -> None:
    x, y = images(24)

    def build(rate: float) -> Sequential:
        model = Sequential([layers.Input((9, 9, 2)), layers.Conv2D(3, 3), layers.Flatten(), layers.Dropout(0.5)])
        model.add(layers.Dense(4, activation="softmax"))
        model.compile(optimizers.SGD(rate), "sparse_categorical_crossentropy")
        return model

    found = []
    for workers in (1, 2, 4):
        config.set_seed(9)
        result = random_search(build, {"rate": Uniform(0, 0.01)}, x, y, 6, "loss", epochs=2, workers=workers)
        found.append([(t.parameters, t.score, t.history.history) for t in result.trials])
    assert found[0] == found[1] == found[2]


def test_a_trial_that_diverges_comes_last() -> None:
    def build(rate: float) -> Sequential:
        model = Sequential([layers.Input((5,)), layers.Dense(1)])
        model.compile(optimizers.SGD(rate), "mse")
        return model

    x, _ = blobs(20)
    result = random_search(build, {"rate": [1e30, 0.001]}, x, x[:, 0], 8, "loss", epochs=8, seed=3)
    ends = [trial.history.history["loss"][-1] for trial in result.trials]
    assert math.isfinite(ends[0])
    assert result.best_parameters == {"rate": 0.001}
    assert result.trials[-1].parameters == {"rate": 1e30}


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_in_one_comes_out(workers: int) -> None:
    x, y = blobs(20)
    calls: list[int] = []

    def model() -> Sequential:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("mine")
        return classifier()

    with pytest.raises(RuntimeError, match="mine"):
        cross_validate(model, x, y, 5, epochs=2, workers=workers)
    with pytest.raises(ValueError, match="SparseCategoricalCrossentropy: expected labels from 0 to 2"):
        cross_validate(classifier, x, y + 5, 5, workers=workers)


def test_draws() -> None:
    rng = np.random.default_rng(0)
    rates = np.array([LogUniform(1e-6, 1e-2).draw(rng) for _ in range(4000)])
    counts: Array = np.histogram(np.log10(rates), 4, (-6, -2))[0]
    assert (np.abs(counts - 1000) < 120).all()
    assert {Integer(2, 4).draw(rng) for _ in range(100)} == {2, 3, 4}
    assert {Choice([1, "a"]).draw(rng) for _ in range(100)} == {1, "a"}
    assert Uniform(0.5, 0.5).draw(rng) == 0.5


X, LABELS = blobs(12)
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "no function": (lambda: cross_validate(classifier(), X, LABELS), TypeError, "cross_validate: expected .*function"),
    "no model": (lambda: cross_validate(dict, X, LABELS), TypeError, "cross_validate: expected a function that returns"),
    "not compiled": (lambda: cross_validate(lambda: Sequential([]), X, LABELS), ValueError, "cross_validate: expected a compiled"),
    "one fold": (lambda: cross_validate(classifier, X, LABELS, 1), ValueError, "expected k to be an integer >= 2"),
    "many folds": (lambda: cross_validate(classifier, X, LABELS, 13), ValueError, r"as many folds as samples \(12\)"),
    "lengths": (lambda: cross_validate(classifier, X, LABELS[:5]), ValueError, "arrays of the same length, got x of 12"),
    "unshuffled": (
        lambda: cross_validate(classifier, X, LABELS, stratify=True, shuffle=False), ValueError, "expected shuffle=True"
    ),
    "validation": (
        lambda: cross_validate(classifier, X, LABELS, validation_split=0.2), TypeError, "no argument validation_split"
    ),
    "callbacks": (
        lambda: cross_validate(classifier, X, LABELS, callbacks=[losses.get("mse")]), TypeError, "expected callbacks, or"
    ),
    "space": (lambda: random_search(classifier, [], X, LABELS), TypeError, "random_search: expected space as a dict"),
    "range": (lambda: random_search(classifier, {"rate": 0.1}, X, LABELS), TypeError, "a range for 'rate'"),
    "order": (lambda: Uniform(1, 0), ValueError, "Uniform: expected low <= high, got 1 and 0"),
    "log of 0": (lambda: LogUniform(0, 1), ValueError, "LogUniform: expected low to be a finite number > 0"),
    "fraction": (lambda: Integer(0.5, 1), TypeError, "Integer: expected low to be an integer"),
    "no values": (lambda: Choice([]), ValueError, "Choice: expected a list of at least one value"),
    "objective": (
        lambda: random_search(classifier, SPACE, X, LABELS, 2),
        ValueError,
        "validation_data for the objective 'val_loss', got neither"
    ),
    "keep": (
        lambda: random_search(classifier, SPACE, X, LABELS, 1, "loss").narrow(0), ValueError, "narrow: expected keep"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
