"""Data of a training: shuffling, dtypes and layouts, predictions, progress lines, checkpoints, seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import X, Y, blobs, line
from tolerances import assert_bits

import fastnn
from fastnn import Sequential, callbacks, config, metrics
from fastnn.layers import Activation, Dense, Dropout, Flatten, Input
from fastnn.models import load_model

# ---------------------------------------------------------------- shuffling, kinds of data


class Seen(metrics.Metric):
    """Remembers the truth of every batch."""

    def __init__(self) -> None:
        super().__init__("seen")
        self.batches: list[list[float]] = []

    def update_state(self, y_true: Any, y_pred: Any) -> None:
        self.batches.append(y_true[:, 0].tolist())


def order(seed: int, **options: Any) -> list[list[float]]:
    config.set_seed(seed)
    model, seen = Sequential([Input((1,)), Dense(1)]), Seen()
    model.compile("sgd", "mse", metrics=[seen], run_eagerly=True)
    model.fit(np.zeros((10, 1)), np.arange(10.0), 4, epochs=3, verbose=0, **options)
    return seen.batches


def test_shuffling() -> None:
    batches = order(1)
    assert [len(b) for b in batches] == [4, 4, 2] * 3
    epochs = [[y for batch in batches[i : i + 3] for y in batch] for i in (0, 3, 6)]
    assert [sorted(e) for e in epochs] == [list(range(10))] * 3
    assert len({tuple(e) for e in epochs}) == 3
    assert order(1) == batches
    assert order(2) != batches
    assert order(1, shuffle=False) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] * 3


@pytest.mark.parametrize(
    "kind", ["int64", "float64", "float16", "uint8", ">f4", ">i2", "bool", "list", "fortran", "reversed"]
)
def test_kinds_of_data_give_the_same_training(kind: str) -> None:
    grid = (np.arange(40).reshape(10, 2, 2) * 7 % 5).astype(np.float32)
    grid = (grid > 2).astype(np.float32) if kind == "bool" else grid
    x: Any = {
        "list": grid.tolist,
        "fortran": lambda: np.asfortranarray(grid),
        "reversed": lambda: np.ascontiguousarray(grid[::-1])[::-1],
    }.get(kind, lambda: grid.astype(kind))()
    runs = []
    for data, truth in ((grid, Y), (x, Y.astype(np.float64))):
        config.set_seed(2)
        model = Sequential([Input((2, 2)), Flatten(), Dense(3, "tanh"), Dense(2)])
        model.compile("adam", "mse")
        copy = np.array(data)
        history = model.fit(data, truth, 4, 2, validation_split=0.2, verbose=0).history
        np.testing.assert_array_equal(copy, np.array(data))
        runs.append((history, model.predict(data, verbose=0), model.evaluate(data, truth, verbose=0)))
    assert runs[0][0] == runs[1][0]
    assert runs[0][2] == runs[1][2]
    assert_bits(runs[0][1], runs[1][1])


@pytest.mark.parametrize("dtype", ["uint8", "int8", ">i4", "float32", "float64", "list"])
@pytest.mark.parametrize("column", [False, True])
def test_kinds_of_labels_give_the_same(dtype: str, column: bool) -> None:
    x, labels = blobs(20)
    model = Sequential([Input((5,)), Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    y: Any = labels[:, None] if column else labels
    y = y.tolist() if dtype == "list" else y.astype(dtype)
    assert model.evaluate(x, y, verbose=0) == model.evaluate(x, labels, verbose=0)


# ---------------------------------------------------------------- predict


def test_predict_of_any_number_of_samples() -> None:
    model = Sequential([Input((3,)), Dense(4, "relu"), Dropout(0.5), Dense(2), Activation("softmax")])
    expected = model.predict(X, verbose=0)
    for n in (0, 1, 9, 10):
        for batch_size in (1, 3, 32):
            assert_bits(model.predict(X[:n], batch_size, verbose=0), expected[:n])
    assert_bits(model.predict(X, verbose=0), expected)  # no dropout, so nothing is random
    np.testing.assert_allclose(expected.sum(1), 1, rtol=1e-6)


# ---------------------------------------------------------------- progress


def test_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    model = line("sgd", "mse", metrics=["mae"])
    model.fit(X, Y, 4, 2, verbose=0)
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
    for verbose in ("auto", 1, 2):
        model.fit(X, Y, 4, 2, verbose=verbose, validation_data=(X, Y))
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 2
        for i, text in enumerate(lines):
            assert text.startswith(f"Epoch {i + 1}/2 - 3/3 steps - ")
            assert [part.split(":")[0] for part in text.split(" - ")[4:]] == ["loss", "mae", "val_loss", "val_mae"]
    loss, mae = model.evaluate(X, Y, 4, verbose=2)
    assert capsys.readouterr().out.rstrip().endswith(f"loss: {loss:.4f} - mae: {mae:.4f}")
    for use in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=r"expected verbose to be 0 .* got 3"):
            use(X, Y, verbose=3)


# ---------------------------------------------------------------- saving on the way


def test_checkpoints_of_a_real_training(tmp_path: Path) -> None:
    model = line("adam", "mse")
    saving = callbacks.ModelCheckpoint(tmp_path / "{epoch:02d}.fastnn")
    best = callbacks.ModelCheckpoint(tmp_path / "best.fastnn", monitor="loss", save_best_only=True)
    model.fit(X, Y, 4, epochs=3, callbacks=[saving, best], verbose=0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["01.fastnn", "02.fastnn", "03.fastnn", "best.fastnn"]
    assert_bits(load_model(tmp_path / "03.fastnn").predict(X, verbose=0), model.predict(X, verbose=0))
    second = load_model(tmp_path / "02.fastnn")
    second.fit(X, Y, 4, epochs=3, initial_epoch=2, verbose=0)
    assert_bits(second.predict(X, verbose=0), model.predict(X, verbose=0))


def test_set_random_seed_decides_everything() -> None:
    def run() -> list[np.ndarray]:
        fastnn.utils.set_random_seed(11)
        model = Sequential([Input((3,)), Dense(6, "relu"), Dropout(0.4), Dense(2)])
        model.compile("adam", "mse")
        model.fit(X, Y, 4, 3, verbose=0)
        return model.get_weights()

    for a, b in zip(run(), run(), strict=True):
        assert_bits(a, b)
