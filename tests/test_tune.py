"""The search for a learning rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tiny import Array, blobs, cnn, images, mlp, state
from tolerances import assert_bits

from fastnn import Sequential, layers, optimizers, tune
from fastnn.optimizers import schedules

OPTIMIZERS: dict[str, Any] = {
    "adam": lambda: "adam",
    "sgd": lambda: optimizers.SGD(0.1, momentum=0.9),
    "scheduled": lambda: optimizers.SGD(schedules.CosineDecay(0.1, 50), momentum=0.5),
    "accumulating": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=2, use_ema=True),
}


def everything(model: Sequential) -> dict[str, Array]:
    assert model.optimizer is not None
    arrays = {**state(model), "grads": model.store.grads.copy(), "rate": np.array(model.optimizer.learning_rate)}
    return arrays | {f"metric {i}": m.state.copy() for i, m in enumerate(model._running())} | model.optimizer.state()


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("make", [mlp, cnn])
def test_everything_is_put_back(kind: str, make: Any) -> None:
    x, y = blobs(64) if make is mlp else images(40)
    model, other = make(OPTIMIZERS[kind]()), make(OPTIMIZERS[kind]())
    for one in (model, other):
        one.fit(x, y, 16, verbose=0)
    before = {name: np.array(a) for name, a in everything(model).items()}
    curve = tune.lr_finder(model, x, y, steps=30, batch_size=8)
    assert len(curve.rates) > 10
    for name, value in everything(model).items():
        assert_bits(np.asarray(value), before[name], name)
    for one in (model, other):  # and it trains on as if nothing had been
        one.fit(x, y, 16, epochs=2, verbose=0)
    np.testing.assert_array_equal(model.store.values, other.store.values)


def test_the_suggestion_trains_well_and_divergence_is_seen() -> None:
    x, y = blobs(300)
    model = mlp(optimizers.SGD(0.1))
    curve = tune.lr_finder(model, x, y, start=1e-5, end=1e4, steps=120)
    assert curve.diverged
    assert curve.suggestion < curve.rates[np.argmin(curve.smoothed)] < curve.rates[-1]
    assert curve.smoothed.min() < 0.8 * curve.smoothed[0]
    assert len(curve.rates) == len(curve.losses) == len(curve.smoothed) < 120
    np.testing.assert_allclose(np.diff(np.log(curve.rates)), np.log(1e9) / 119)
    trained = mlp(optimizers.SGD(curve.suggestion))
    history = trained.fit(x, y, 32, epochs=10, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


def test_the_first_losses_are_those_of_the_untouched_model() -> None:
    x, y = blobs(32)
    model = mlp("sgd")
    curve = tune.lr_finder(model, x, y, start=1e-12, end=1e-11, steps=5, batch_size=32, smoothing=0.0)
    # Dropout draws others every time; but for it all five would be the loss of the same weights.
    assert not curve.diverged
    np.testing.assert_array_equal(curve.losses, curve.smoothed)
    again = tune.lr_finder(model, x, y, start=1e-12, end=1e-11, steps=5, batch_size=32)
    np.testing.assert_array_equal(curve.losses, again.losses)


def test_models_that_are_not_built_and_lists() -> None:
    x, y = blobs(64)
    model = Sequential([layers.Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    curve = tune.lr_finder(model, x, y, steps=12)
    assert model.built
    assert len(curve.rates) >= 2
    named = tune.lr_finder(model, x.tolist(), y.tolist(), steps=12, sample_weight=np.ones(64))
    np.testing.assert_allclose(named.losses, curve.losses, rtol=1e-5)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "start": ({"start": 0.0}, "lr_finder: expected start to be a finite number > 0"),
    "end": ({"end": 1e-9}, "expected end to be a finite number > 1e-06"),
    "steps": ({"steps": 1}, "expected steps to be an integer >= 2"),
    "smoothing": ({"smoothing": 1.0}, "smoothing to be a finite number"),
    "rates": ({"start": 1e30, "end": 1e31}, "finite losses with the first learning rates"),
}


@pytest.mark.parametrize(("options", "text"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit(options: dict[str, Any], text: str) -> None:
    x, y = blobs(32)
    model = mlp(optimizers.SGD(0.1))
    before = state(model)
    with pytest.raises(ValueError, match=text):
        tune.lr_finder(model, x, y, **options)
    for name, value in state(model).items():
        assert_bits(value, before[name])
    with pytest.raises(ValueError, match="a compiled model"):
        tune.lr_finder(Sequential([layers.Dense(2)]), x, y)


def test_plot() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    x, y = blobs(64)
    curve = tune.lr_finder(mlp(optimizers.SGD(0.1)), x, y, steps=20)
    ax = curve.plot()
    assert ax.get_xscale() == "log"
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), curve.smoothed)
    assert len(curve.plot(ax).lines) == 6
    pyplot.close("all")
