"""fit(balanced=True): every class equally often, in every batch, the samples of a class in turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradcheck import normal
from tolerances import assert_bits

from fastnn import Input, Model, Sequential, callbacks, config, metrics, optimizers
from fastnn.layers import Dense
from fastnn.training.splits import balanced
from fastnn.utils import to_categorical

LABELS = np.repeat([0, 1, 2], [33, 5, 2])  # of 40 samples


@pytest.fixture(autouse=True)
def _seed() -> None:
    config.set_seed(0)


@pytest.mark.parametrize("sizes", [[33, 5, 2], [1, 1], [7], [1, 100], [3, 4, 5, 6, 7]])
def test_draws(sizes: list[int]) -> None:
    classes = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)) * 2 + 1, sizes))
    k = len(sizes)
    order = balanced(classes, np.random.default_rng(1))
    assert len(order) == len(classes)
    drawn = classes[order]
    counts = np.unique(drawn, return_counts=True)[1]
    assert len(counts) == k
    assert counts.max() - counts.min() <= 1
    for start in range(0, len(order) - k + 1, k):
        assert len(set(drawn[start : start + k])) == k
    for value in np.unique(classes):
        own, times = np.unique(order[drawn == value], return_counts=True)
        members = np.flatnonzero(classes == value)
        assert set(own) <= set(members)
        assert len(own) == min(len(members), (drawn == value).sum())
        assert times.max() - times.min() <= 1


class Seen(metrics.Metric):
    """Remembers the truth of every batch."""

    def __init__(self) -> None:
        super().__init__("seen")
        self.batches: list[list[int]] = []

    def update_state(self, y_true: Any, y_pred: Any) -> None:
        self.batches.append((y_true.argmax(1) if y_true.ndim == 2 else y_true).tolist())


@pytest.mark.parametrize("one_hot", [False, True])
def test_batches_of_fit(one_hot: bool) -> None:
    model, seen = Sequential([Input((2,)), Dense(3, "softmax")]), Seen()
    y = to_categorical(LABELS, 3) if one_hot else LABELS
    model.compile("sgd", f"{'' if one_hot else 'sparse_'}categorical_crossentropy", metrics=[seen], run_eagerly=True)
    model.fit(normal(40, 2), y, 6, epochs=2, balanced=True, verbose=0)
    assert [len(batch) for batch in seen.batches] == [6, 6, 6, 6, 6, 6, 4] * 2
    for batch in seen.batches:
        assert all(batch.count(c) == 2 for c in range(3)) or len(batch) == 4
    assert seen.batches[:7] != seen.batches[7:]


def test_a_rare_class_is_learned() -> None:
    rng = np.random.default_rng(0)
    y = (np.arange(600) % 30 == 0).astype(int)
    x = rng.normal(size=(600, 2)) + 1.2 * y[:, None]

    def recall(**options: Any) -> float:
        config.set_seed(1)
        model = Sequential([Input((2,)), Dense(1, "sigmoid")])
        model.compile(optimizers.Adam(0.02), "binary_crossentropy")
        model.fit(x, y, epochs=40, verbose=0, **options)
        return float((model.predict(x[y == 1], verbose=0) > 0.5).mean())

    assert recall() < 0.3
    assert recall(balanced=True) > 0.7


def test_the_same_seed_gives_the_same_draws_replayed_or_not() -> None:
    def weights(**options: Any) -> list[Any]:
        config.set_seed(3)
        model = Sequential([Input((2,)), Dense(3, "softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy", **options)
        model.fit(normal(40, 2), LABELS, 7, epochs=3, balanced=True, validation_split=0.1, stratify=True, verbose=0)
        return model.get_weights()

    for a, b in zip(weights(), weights(run_eagerly=True)):
        assert_bits(a, b)


def test_an_interrupted_training_goes_on_with_the_same_draws(tmp_path: Path) -> None:
    class Stop(callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 3:
                raise RuntimeError

    def new() -> Sequential:
        config.set_seed(5)
        model = Sequential([Input((2,)), Dense(3, "softmax", name="only")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    x, options = normal(40, 2), {"batch_size": 7, "epochs": 2, "balanced": True, "verbose": 0}
    whole = new()
    whole.fit(x, LABELS, **options)
    backup = callbacks.BackupAndRestore(tmp_path / "b", save_freq=2)
    with pytest.raises(RuntimeError):
        new().fit(x, LABELS, callbacks=[backup, Stop()], **options)
    again = new()
    again.fit(x, LABELS, callbacks=[callbacks.BackupAndRestore(tmp_path / "b", save_freq=2)], **options)
    for a, b in zip(whole.get_weights(), again.get_weights()):
        assert_bits(a, b)


def test_errors() -> None:
    x, y = normal(10, 2), np.arange(10) % 2
    model = Sequential([Input((2,)), Dense(1, "sigmoid")])
    model.compile("sgd", "mse")
    for options, text in (
        ({"y": y, "shuffle": False}, "fit: expected shuffle=True with balanced=True, got shuffle=False"),
        ({"y": normal(10, 1)}, "expected classes for balanced, got fractions; is this a regression?"),
        ({"x": [(x, y)], "y": None}, "expected arrays for balanced=True, got batches"),
    ):
        with pytest.raises(ValueError, match=text):
            model.fit(**{"x": x, "verbose": 0, "balanced": True, **options})
    with pytest.raises(TypeError, match="balanced to be True or False"):
        model.fit(x, y, balanced=1)
    given = Input((2,))
    both = Model(given, [Dense(1)(given), Dense(1)(given)])
    both.compile("sgd", "mse")
    with pytest.raises(ValueError, match="balanced for one output only, got 2 outputs"):
        both.fit(x, [y, y], balanced=True)
