"""plot_loss_surface: heights are losses at those weights, and the model stays as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from gradcheck import normal
from matplotlib import pyplot
from tolerances import assert_bits

from fastnn import Input, Model, Sequential, config, losses, plotting, utils
from fastnn.layers import Dense
from fastnn.plotting import plot_loss_surface


@pytest.fixture(autouse=True)
def _close():
    config.set_seed(0)
    yield
    pyplot.close("all")


def two_layers(last: str = "sigmoid") -> Sequential:
    return Sequential([Input((2,)), Dense(3, "tanh", name="a"), Dense(1, last, name="b")])


X, Y = normal(20, 2), (normal(20, 1, seed=1) > 0).astype(np.float32)


def test_heights_are_the_losses_at_these_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    model, drawn = two_layers(), []
    before = model.get_weights()
    new_figure = plotting.surface.new_figure

    def caught(*args: Any, **options: Any) -> Any:
        figure: Any = new_figure(*args, **options)
        for panel in figure.axes:
            monkeypatch.setattr(
                panel,
                "contourf",
                lambda *a, f=panel.contourf, **o: drawn.append([np.asarray(v) for v in a]) or f(*a, **o),
            )
        return figure

    monkeypatch.setattr(plotting.surface, "new_figure", caught)
    weights = (("a/kernel", (1, 2)), ("b/bias", 0))
    figure = plot_loss_surface(
        model, X, Y, loss=["bce", losses.MeanSquaredError("sum")], weights=weights, points=7, span=2
    )
    for old, new in zip(before, model.get_weights()):
        assert_bits(new, old)
    assert [panel.get_title() for panel in figure.axes[:2]] == ["BinaryCrossentropy", "MeanSquaredError"]
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("a/kernel[1, 2]", "b/bias[0]")
    for (first, second, heights), loss in zip(drawn, (losses.get("bce"), losses.MeanSquaredError("sum"))):
        np.testing.assert_allclose(first[[0, 3, 6]], before[0][1, 2] + np.array([-2, 0, 2]), rtol=1e-6)
        for i, j in ((0, 0), (6, 2), (3, 3)):
            values = [w.copy() for w in before]
            values[0][1, 2], values[3][0] = first[i], second[j]
            model.set_weights(values)
            assert heights[j, i] == pytest.approx(float(loss(Y, model.predict(X, verbose=0))), rel=1e-5)
    assert len(drawn) == 2


def test_the_squared_error_is_flat_where_cross_entropy_is_steep() -> None:
    """Far off with a sigmoid that says the opposite: the slope of one is nearly 0, that of the other 1."""
    model = Sequential([Input((1,)), Dense(1, "sigmoid", use_bias=False)])
    slopes = {}
    for name in ("mse", "bce"):
        values = []
        for weight in (-6.0, -5.9):
            model.set_weights([[[weight]]])
            values.append(float(losses.get(name)([[1.0]], model.predict([[1.0]], verbose=0))))
        slopes[name] = (values[0] - values[1]) / 0.1
    assert slopes["bce"] > 0.99
    assert slopes["mse"] < 0.02


def test_defaults_flat_surfaces_and_files(tmp_path: Any) -> None:
    model = two_layers("linear")
    model.compile("sgd", "mse")
    figure = plot_loss_surface(model, X, Y, tmp_path / "s.png", points=3, title="A surface")
    assert (tmp_path / "s.png").exists()
    assert figure.axes[0].get_xlabel() == "a/kernel[0, 0]"
    assert figure.axes[0].get_ylabel() == "b/kernel[0, 0]"
    plot_loss_surface(
        model, np.zeros((3, 2)), np.zeros((3, 1)), points=3, weights=(("a/kernel", (0, 0)), ("a/kernel", (1, 0)))
    )
    plot_loss_surface(model, X, Y, points=3, span=1e30)
    assert utils.plot_loss_surface is plot_loss_surface


def test_weights_are_put_back_after_an_error() -> None:
    model = two_layers()
    before = model.get_weights()
    with pytest.raises(ValueError, match="expected"):
        plot_loss_surface(model, X, Y[:3], loss="mse")
    for old, new in zip(before, model.get_weights()):
        assert_bits(new, old)


def two_outputs() -> Model:
    x = Input((2,))
    return Model(x, [Dense(1)(x), Dense(1)(x)])


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((3,), {}, TypeError, "plot_loss_surface: expected a model"),
        ((two_layers(),), {}, ValueError, "expected a compiled model, or loss="),
        ((two_outputs(),), {"loss": "mse"}, ValueError, "a model with one output, got 2"),
        ((two_layers(),), {"loss": []}, ValueError, "at least one loss"),
        ((two_layers(),), {"loss": "mse", "weights": ("a/kernel",)}, TypeError, "weights as two"),
        ((two_layers(),), {"loss": "mse", "weights": (("a/kernel", 0), ("b/bias", 0))}, ValueError, "an index of 2"),
        ((two_layers(),), {"loss": "mse", "weights": (("a/bias", 3), ("b/bias", 0))}, ValueError, "index"),
        ((two_layers(),), {"loss": "mse", "weights": (("b/bias", 0), ("b/bias", -1))}, ValueError, "two different"),
        ((two_layers(),), {"loss": "mse", "weights": (("q", 0), ("b/bias", 0))}, ValueError, "the parameter's name"),
        ((Sequential([Input((2,)), Dense(1)]),), {"loss": "mse"}, ValueError, "a model with two kernels"),
        ((Sequential([Dense(1)]),), {"loss": "mse"}, ValueError, "a built model"),
        ((two_layers(),), {"loss": "mse", "span": 0}, ValueError, "span"),
        ((two_layers(),), {"loss": "mse", "points": 1}, ValueError, "points"),
    ],
)
def test_errors(arguments: Any, options: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        plot_loss_surface(*arguments, X, Y, **options)
