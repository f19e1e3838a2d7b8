"""explain: the hand examples of the course notes, with the right numbers where the notes misprint."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from tiny import X, assert_same, state

import fastnn
from fastnn import Sequential, layers, losses
from fastnn.layers import Dense, Input


def network(*kernels: Any, activation: str = "sigmoid", last: str | None = None, bias: Any = None) -> Sequential:
    """Return a chain of Dense layers with these kernels."""
    arrays = [np.asarray(k, np.float64) for k in kernels]
    units = [k.shape[1] for k in arrays]
    kinds = [activation] * (len(units) - 1) + [last or activation]
    chain = [
        Dense(n, kind, use_bias=bias is not None, name=f"layer{i}") for i, (n, kind) in enumerate(zip(units, kinds))
    ]
    model = Sequential([Input((len(arrays[0]),)), *chain])
    model.set_weights([part for k in arrays for part in ([k] if bias is None else [k, np.full(k.shape[1], bias)])])
    return model


def explained(model: Any, x: Any, y: Any, **options: Any) -> dict[str, float]:
    """Return what the text says that everything is, by name; gradients of layer i with "i " before the name."""
    lines: list[str] = []
    fastnn.explain(model, x, y, digits=8, print_fn=lines.append, **options)
    found: dict[str, float] = {}
    layer = ""
    for line in "\n".join(lines).splitlines():
        heading = re.match(r"layer(\d)", line)
        layer = heading[1] + " " if heading else "" if line and not line.startswith(" ") else layer
        total = re.search(r": L = (-?[\d.]+)$", line)
        if total:
            found["L"] = float(total[1])
            continue
        for part in re.split(r", (?=[a-zL]\w*(?:\(|:| =))", line.strip()):
            name, _, rest = re.sub(r"^(w\d+|b\d+):", r"new \1 =", part).partition(" = ")
            value = re.search(r"-?\d+\.\d+$", rest)
            if value:
                found[layer + name.strip()] = float(value[0])
    return found


def check(found: dict[str, float], expected: dict[str, float], tolerance: float) -> None:
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=tolerance), name


def test_example_of_two_outputs() -> None:
    """S3: 0.5, 0.3 -> 0.23, -0.07; the hidden layer's gradients with their outgoing weights."""
    model = network([[0.2, -0.4], [0.5, 0.6]], [[0.1, -0.5], [-0.3, 0.8]])
    found = explained(model, [[0.5, 0.3]], [[0.23, -0.07]], loss="mse")
    check(found, {"0 h1": 0.5622, "0 h2": 0.4950, "1 y1": 0.4769, "1 y2": 0.5287}, 5e-5)
    assert found["L"] == pytest.approx(0.20971, abs=5e-6)
    hidden = {"0 dL/dw11": -0.008421, "0 dL/dw21": -0.005053, "0 dL/dw12": 0.012607, "0 dL/dw22": 0.007564}
    check(found, hidden, 1e-6)
    outer = {"1 dL/dw11": 0.0346, "1 dL/dw21": 0.0305, "1 dL/dw12": 0.0839, "1 dL/dw22": 0.0738}
    check(found, outer, 6e-5)


def test_example_of_one_output() -> None:
    """S2: 0.35, 0.9 -> 0.5 by half the squared error and learning rate 1."""
    model = network([[0.1, 0.4], [0.8, 0.6]], [[0.3], [0.9]])
    found = explained(model, [[0.35, 0.9]], [[0.5]], loss="mse", factor=0.5, learning_rate=1.0)
    check(found, {"0 h1": 0.680267, "0 h2": 0.663739, "1 z1": 0.801445, "1 y1": 0.690283, "L": 0.018104}, 1e-6)
    check(found, {"1 dL/dw11": 0.027674, "1 dL/dw21": 0.027002}, 1e-6)
    new = {"0 new w11": 0.09907093, "0 new w21": 0.79761096, "0 new w12": 0.39713992, "0 new w22": 0.59264552}
    check(found, {**new, "1 new w11": 0.27232597, "1 new w21": 0.87299836}, 1e-7)


@pytest.mark.parametrize("last", ["softmax", "sigmoid", "linear", "tanh", "relu"])
@pytest.mark.parametrize("loss", ["mse", "mae", "crossentropy"])
def test_numbers_are_those_of_training(last: str, loss: str) -> None:
    rng = np.random.default_rng(3)
    kernels = [rng.normal(size=shape) for shape in ((3, 4), (4, 2), (2, 3))]
    model = network(*kernels, activation="tanh", last=last, bias=0.125)
    name: Any = loss
    y: Any = [[0.25, 0.5, 0.75]]
    if loss == "crossentropy":
        name = {"softmax": "sparse_categorical_crossentropy", "sigmoid": "binary_crossentropy"}.get(last)
        if name is None:
            return
        y = [2] if last == "softmax" else y
    model.compile(fastnn.optimizers.SGD(0.5), name)
    before = state(model)
    found = explained(model, X[:1], y, learning_rate=0.5)
    assert_same(state(model), before)
    out = model.predict(X[:1], verbose=0)[0]
    for i, value in enumerate(out):
        assert found[f"2 y{i + 1}"] == pytest.approx(value, abs=1e-6)
    assert found["L"] == pytest.approx(model.evaluate(X[:1], y, verbose=0), abs=1e-6)
    model.train_on_batch(X[:1], y)
    for k, layer in enumerate(model.layers):
        kernel, bias = layer.get_weights()
        for (i, j), value in np.ndenumerate(kernel):
            assert found[f"{k} new w{i + 1}{j + 1}"] == pytest.approx(value, abs=2e-6)
        for j, value in enumerate(bias):
            assert found[f"{k} new b{j + 1}"] == pytest.approx(value, abs=2e-6)


def test_by_default_it_prints_four_digits(capsys: pytest.CaptureFixture[str]) -> None:
    fastnn.explain(network([[0.5]], activation="linear"), [[2.0]], [[1.5]], loss=losses.MeanSquaredError())
    text = capsys.readouterr().out
    assert "z1 = 0.5000*2.0000 = 1.0000, y1 = linear(z1) = 1.0000" in text
    assert "L = 0.2500" in text
    assert "-0.0000" not in text


WIDE = Sequential([Input((3,)), Dense(17)])
POOLED = Sequential([Input((3,)), Dense(2), layers.Dropout(0.5)])
ONE = network([[0.5]])
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "model": (lambda: fastnn.explain(3, [[1.0]], [[1.0]]), TypeError, "explain: expected a model, got 3"),
    "layers": (lambda: fastnn.explain(POOLED, X[:1], [[1.0, 1.0]]), ValueError, "chain of Dense layers, got Dropout"),
    "wide": (lambda: fastnn.explain(WIDE, X[:1], [[1.0]]), ValueError, "at most 16 units a layer, got 17"),
    "not compiled": (lambda: fastnn.explain(ONE, [[1.0]], [[1.0]]), ValueError, "expected a compiled model, or loss="),
    "samples": (lambda: fastnn.explain(ONE, [[1.0], [2.0]], [[1.0]], "mse"), ValueError, "expected one sample x"),
    "targets": (lambda: fastnn.explain(ONE, [[1.0]], [[1.0], [2.0]], "mse"), ValueError, "expected one target y"),
    "loss": (lambda: fastnn.explain(ONE, [[1.0]], [[1.0]], "msee"), ValueError, "did you mean 'mse'"),
    "rate": (
        lambda: fastnn.explain(ONE, [[1.0]], [[1.0]], "mse", learning_rate=-1), ValueError, "expected learning_rate"
    ),
    "digits": (lambda: fastnn.explain(ONE, [[1.0]], [[1.0]], "mse", digits=-1), ValueError, "expected digits"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
