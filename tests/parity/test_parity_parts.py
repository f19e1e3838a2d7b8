"""Regularizers, constraints, initializers and what follows the training's numbers, against Keras."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cases_objects import CONSTRAINTS, FIXED_INITIALIZERS, FOURIER_INITIALIZERS, RANDOM_INITIALIZERS, REGULARIZERS
from harness import SHORT, Arguments, assert_near, gradients, keras, normal, numpy_of, tensor

from fastnn import callbacks, constraints, initializers, regularizers


@pytest.mark.parametrize(("cls", "arguments"), REGULARIZERS, ids=str)
@pytest.mark.parametrize("shape", [(5, 7), (1, 3), (6, 2)], ids=str)
def test_regularizer(cls: str, arguments: Arguments, shape: tuple[int, int]) -> None:
    ours, theirs = getattr(regularizers, cls)(**arguments), getattr(keras().regularizers, cls)(**arguments)
    if cls == "OrthogonalRegularizer" and shape[arguments.get("mode") == "columns"] == 1:
        pytest.skip("Keras divides 0 by 0")
    x = normal(*shape, seed=1)

    def objective(values: list[Any]) -> tuple[Any, Any]:
        penalty = theirs(values[0] + 0.0)
        return penalty, penalty

    if arguments or not cls.startswith("L1L2"):  # which is nothing, and has no gradient
        value, (slope,) = gradients(objective)([x])
        assert_near(ours(x), numpy_of(value), SHORT, cls)
        # Of a sum of cosines whose sign is what is derived.
        assert_near(ours.gradient(x), slope, 4 * SHORT, f"gradient of {cls}", arguments.get("factor"))
    else:
        assert float(ours(x)) == 0.0
        assert not np.asarray(ours.gradient(x)).any()


@pytest.mark.parametrize(("cls", "arguments"), CONSTRAINTS, ids=str)
def test_constraint(cls: str, arguments: Arguments) -> None:
    w = normal(3, 4, 5, 6, seed=1)
    expected = getattr(keras().constraints, cls)(**arguments)(tensor(w))
    assert_near(getattr(constraints, cls)(**arguments)(w), numpy_of(expected), SHORT, cls)


@pytest.mark.parametrize(("cls", "arguments"), FIXED_INITIALIZERS, ids=str)
def test_initializer(cls: str, arguments: Arguments) -> None:
    for shape in ((4, 4), (3, 5), (6, 2)):
        expected = getattr(keras().initializers, cls)(**arguments)(shape)
        assert_near(getattr(initializers, cls)(**arguments)(shape), numpy_of(expected), 0.0, cls)


@pytest.mark.parametrize("arguments", FOURIER_INITIALIZERS, ids=str)
def test_initializer_of_a_fourier_transform(arguments: Arguments) -> None:
    for shape in ((16, 1, 9), (7, 1, 3), (16, 1, 2)):
        if isinstance(arguments.get("window"), list) and shape[0] != 16:
            continue
        expected = keras().initializers.STFT(**arguments)(shape, dtype="float64")
        assert_near(initializers.STFT(**arguments)(shape), numpy_of(expected), SHORT, str(arguments), 1.0)


@pytest.mark.parametrize(("cls", "arguments"), RANDOM_INITIALIZERS, ids=str)
def test_initializer_of_random_numbers(cls: str, arguments: Arguments) -> None:
    """The numbers are others; how they are spread and, of a matrix, the singular values are not."""
    for shape in ((40, 30), (2, 3, 4, 6)) if cls == "Orthogonal" else ((400, 300), (3, 5, 40, 60)):
        ours = getattr(initializers, cls)(seed=1, **arguments)(shape)
        theirs = numpy_of(getattr(keras().initializers, cls)(seed=1, **arguments)(shape))
        if cls == "Orthogonal":
            rows = [np.asarray(w, np.float64).reshape(-1, shape[-1]) for w in (ours, theirs)]
            np.testing.assert_allclose(*(np.linalg.svd(w, compute_uv=False) for w in rows), rtol=1e-5)
            continue
        shares = (0.0, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 1.0)
        if "ormal" in f"{cls} {arguments.get('distribution', 'normal')}":
            shares = shares[1:-1]  # Keras on PyTorch lets some numbers be beyond where they are cut off
        expected = np.quantile(theirs, shares)
        np.testing.assert_allclose(np.quantile(ours, shares), expected, atol=0.07 * theirs.std())


# ---------------------------------------------------------------- callbacks that follow a loss


@pytest.mark.parametrize("seed", range(8))
def test_plateaus(seed: int) -> None:
    """The same rates after every epoch of a loss that goes up and down."""
    rng = np.random.default_rng(seed)
    arguments = {
        "factor": float(rng.choice([0.1, 0.5, 0.9])), "patience": int(rng.integers(1, 4)), "cooldown": int(rng.integers(0, 3)),
        "min_delta": float(rng.choice([0.0, 1e-4, 0.05])), "min_lr": float(rng.choice([0.0, 1e-3])),
        "mode": str(rng.choice(["auto", "min", "max"])), "monitor": str(rng.choice(["loss", "val_loss"])),
    }  # fmt: skip
    followed = rng.normal(size=40).cumsum() / 10
    rates = []
    for package in (callbacks, keras().callbacks):
        optimizer = SimpleNamespace(learning_rate=0.4)
        callback = package.ReduceLROnPlateau(**arguments)
        callback.set_model(SimpleNamespace(optimizer=optimizer, stop_training=False))
        callback.on_train_begin()
        found = []
        for epoch, value in enumerate(followed):
            callback.on_epoch_end(epoch, {arguments["monitor"]: float(value)})
            found.append(float(optimizer.learning_rate))
        rates.append(found)
    np.testing.assert_allclose(*rates, rtol=SHORT)
    assert len(set(rates[0])) > 1


@pytest.mark.parametrize("seed", range(8))
def test_early_stopping(seed: int) -> None:
    """Training ends after the same epoch."""
    rng = np.random.default_rng(seed)
    arguments = {
        "patience": int(rng.integers(0, 5)), "min_delta": float(rng.choice([0.0, 0.05])), "monitor": "val_loss",
        "mode": str(rng.choice(["auto", "min", "max"])), "baseline": rng.choice([None, -0.1]),
        "start_from_epoch": int(rng.integers(0, 4)),
    }  # fmt: skip
    followed = rng.normal(size=40).cumsum() / 10
    stops = []
    for package in (callbacks, keras().callbacks):
        callback, model = package.EarlyStopping(**arguments), SimpleNamespace(stop_training=False)
        callback.set_model(model)
        callback.on_train_begin()
        for epoch, value in enumerate(followed):
            callback.on_epoch_end(epoch, {"val_loss": float(value)})
            if model.stop_training:
                break
        stops.append(epoch)
    assert stops[0] == stops[1]
