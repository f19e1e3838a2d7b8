"""Optimizers in the form of books: dicts of arrays, updated in place."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradcheck import normal

from fastnn.optimizers import numpy_style

Array = Any
State = dict[str, Any]


def sgd(w: Array, g: Array, s: State, t: int, lr: float) -> Array:
    return w - lr * g


def momentum(w: Array, g: Array, s: State, t: int, lr: float, momentum: float) -> Array:
    s["v"] = momentum * s.get("v", 0) - lr * g
    return w + s["v"]


def nesterov(w: Array, g: Array, s: State, t: int, lr: float, momentum: float) -> Array:
    v = s.get("v", 0)
    s["v"] = momentum * v - lr * g
    return w + momentum * momentum * v - (1 + momentum) * lr * g


def adagrad(w: Array, g: Array, s: State, t: int, lr: float) -> Array:
    s["h"] = s.get("h", 0) + g * g
    return w - lr * g / (np.sqrt(s["h"]) + 1e-7)


def rmsprop(w: Array, g: Array, s: State, t: int, lr: float, decay_rate: float) -> Array:
    s["h"] = s.get("h", 0) * decay_rate + (1 - decay_rate) * g * g
    return w - lr * g / (np.sqrt(s["h"]) + 1e-7)


def adam(w: Array, g: Array, s: State, t: int, lr: float, beta1: float, beta2: float) -> Array:
    rate = lr * np.sqrt(1 - beta2**t) / (1 - beta1**t)
    s["m"] = s.get("m", 0) + (1 - beta1) * (g - s.get("m", 0))
    s["v"] = s.get("v", 0) + (1 - beta2) * (g**2 - s.get("v", 0))
    return w - rate * s["m"] / (np.sqrt(s["v"]) + 1e-7)


RULES: dict[str, Callable[..., Array]] = {
    "SGD": sgd, "Momentum": momentum, "Nesterov": nesterov, "AdaGrad": adagrad, "RMSprop": rmsprop, "Adam": adam,
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(4))
def test_rules_of_the_book(isa: str, name: str, dtype: Any, seed: int) -> None:
    """Fifty steps with random arguments."""
    rule, rng = RULES[name], np.random.default_rng(seed)
    names = [n for n in inspect.signature(getattr(numpy_style, name)).parameters if n != "lr"]
    options = {"lr": float(rng.uniform(0.001, 0.1)), **{n: float(rng.choice([0.5, 0.8, 0.9, 0.99])) for n in names}}
    params = {
        "W1": normal(7, 5).astype(dtype),
        "b1": normal(5, seed=1).astype(dtype),
        "x": np.array(0.5, dtype),
    }
    arrays, expected, states = (
        dict(params),
        {k: v.astype(np.float64) for k, v in params.items()},
        {k: {} for k in params},
    )  # type: ignore[var-annotated]
    optimizer = getattr(numpy_style, name)(**options)
    for t in range(1, 51):
        grads = {
            k: normal(*v.shape, seed=10 * t).astype(dtype) if v.ndim else np.array(0.1 * t, dtype)
            for k, v in params.items()
        }
        optimizer.update(params, grads)
        expected = {k: rule(w, grads[k].astype(np.float64), states[k], t, **options) for k, w in expected.items()}
    for key, w in params.items():
        assert w is arrays[key]  # in place
        np.testing.assert_allclose(
            w, expected[key], rtol=1e-12 if dtype == np.float64 else 3e-6, atol=2e-6 if dtype == np.float32 else 1e-12
        )


# f(x, y) = x^2 / 20 + y^2 from (-7, 2), 30 steps, with the book's rates.
ENDS = {
    "SGD": (numpy_style.SGD(lr=0.95), (-0.350393, 0.084782)),
    "Momentum": (numpy_style.Momentum(lr=0.1), (0.896414, 0.088086)),
    "AdaGrad": (numpy_style.AdaGrad(lr=1.5), (-0.120162, 0.0)),
    "Adam": (numpy_style.Adam(lr=0.3), (0.136007, 0.318245)),
}


@pytest.mark.parametrize("name", ENDS)
def test_ends_of_the_paths_on_a_long_bowl(name: str) -> None:
    optimizer, end = ENDS[name]
    params = {"x": -7.0, "y": 2.0}  # plain numbers, as the book's script has them
    for _ in range(30):
        optimizer.update(params, {"x": params["x"] / 10, "y": 2 * params["y"]})
    assert (params["x"], params["y"]) == pytest.approx(end, abs=1e-6)


def test_no_method_is_always_the_best() -> None:
    def best(rates: dict[str, float]) -> str:
        left = {}
        for name, rate in rates.items():
            params = {"x": np.array([-7.0]), "y": np.array([2.0])}
            optimizer = getattr(numpy_style, name)(lr=rate)
            for _ in range(30):
                optimizer.update(params, {"x": params["x"] / 10, "y": 2 * params["y"]})
            left[name] = (params["x"] ** 2 / 20 + params["y"] ** 2).item()
        return min(left, key=left.__getitem__)

    assert best({"SGD": 0.95, "Momentum": 0.1, "AdaGrad": 1.5, "Adam": 0.3}) == "AdaGrad"
    assert best({"SGD": 0.95, "Momentum": 0.1, "AdaGrad": 0.1, "Adam": 0.01}) == "SGD"


def test_arrays_of_any_layout_and_plain_lists() -> None:
    base = np.zeros((6, 4), np.float32)
    params: dict[str, Any] = {"turned": base.T, "every other": np.zeros(8, np.float32)[::2]}
    grads = {"turned": np.ones((4, 6)), "every other": [1.0, 2.0, 3.0, 4.0]}
    numpy_style.Momentum(lr=0.5).update(params, grads)
    assert (base == -0.5).all()
    assert params["every other"].tolist() == [-0.5, -1.0, -1.5, -2.0]


@pytest.mark.parametrize(
    ("params", "grads", "error", "text"),
    [
        (
            {"W": np.zeros(3)},
            {"V": np.zeros(3)},
            ValueError,
            r"numpy_style.Adam: expected a gradient for .*'W', got .*'V'",
        ),
        ({"W": np.zeros(3)}, {"W": np.zeros(4)}, ValueError, r"a gradient of shape \(3,\) for 'W', got \(4,\)"),
        ({"W": np.zeros(3, int)}, {"W": np.zeros(3)}, TypeError, "'W' as a float32 or float64 array, got dtype int64"),
        ({"A": np.zeros(3), "W": "no"}, {"A": np.ones(3), "W": 1}, TypeError, "W to be a finite number"),
    ],
)
def test_what_does_not_fit(params: Any, grads: Any, error: type[Exception], text: str) -> None:
    optimizer = numpy_style.Adam()
    with pytest.raises(error, match=text):
        optimizer.update(params, grads)
    assert optimizer.iter == 0
    assert all(not v.any() for v in params.values() if isinstance(v, np.ndarray))


def test_read_only_parameters_are_refused() -> None:
    w = np.zeros(3)
    w.flags.writeable = False
    with pytest.raises(ValueError, match="'W' to be writeable"):
        numpy_style.SGD().update({"W": w}, {"W": np.ones(3)})
