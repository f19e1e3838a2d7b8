"""Pictures of activations and of what goes on in the layers: the numbers that are drawn, files, and the errors."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from gradcheck import normal
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg

from fastnn import Input, Sequential, activations, config, utils
from fastnn.layers import Dense, Flatten
from fastnn.optimizers import numpy_style
from fastnn.plotting import plot_activation_functions, plot_activations, plot_gradients, plot_paths


@pytest.fixture(autouse=True)
def _close_figures():
    config.set_seed(0)
    yield
    pyplot.close("all")


def deep(activation="sigmoid", layers=4):
    hidden = [Dense(20, activation, name=f"h{i}") for i in range(layers)]
    model = Sequential([Input((7,)), *hidden, Dense(2, name="out")])
    model.compile("sgd", "mse")
    return model


def assert_nothing_is_clipped(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    for i, a in enumerate(boxes):
        assert not any(a.overlaps(b) for b in boxes[i + 1 :])


# ---------------------------------------------------------------- functions


def test_every_activation_has_a_panel_with_value_and_derivative():
    figure = plot_activation_functions()
    titles = [panel.get_title() for panel in figure.axes]
    known = {f.name for f in vars(activations).values() if isinstance(f, activations.Activation)}
    assert set(titles) == known
    assert len(titles) == len(known) >= 11
    assert titles[:2] == ["linear", "relu"]
    for panel in figure.axes:
        value, derivative = (np.asarray(line.get_ydata(), float) for line in panel.lines)
        x = np.asarray(panel.lines[0].get_xdata())
        slope = np.gradient(value, x)
        smooth = np.abs(np.diff(derivative, append=derivative[-1], n=2, prepend=derivative[0])) < 0.05
        jumps = ~np.isclose(slope, derivative, atol=0.05 * (1 + np.abs(derivative))) & smooth
        assert jumps.sum() <= 12, panel.get_title()  # beside the places where a derivative is none
    assert_nothing_is_clipped(figure)


def test_a_function_is_drawn_at_140_places_unless_told_where():
    (panel,) = plot_activation_functions(["tanh"]).axes
    value, derivative = panel.lines
    x = np.asarray(value.get_xdata())
    assert (len(x), x[0], x[-1]) == (140, -7.0, pytest.approx(6.9))
    np.testing.assert_allclose(value.get_ydata(), np.tanh(x), atol=1e-6)
    np.testing.assert_allclose(derivative.get_ydata(), 1 - np.tanh(x) ** 2, atol=1e-6)
    (panel,) = plot_activation_functions([activations.elu], [-1, 0.5]).axes
    assert panel.lines[0].get_ydata().tolist() == [pytest.approx(np.exp(-1) - 1), 0.5]


def test_a_softmax_is_drawn_against_a_zero():
    (panel,) = plot_activation_functions(["softmax"]).axes
    value, derivative = (np.asarray(line.get_ydata()) for line in panel.lines)
    x = np.asarray(panel.lines[0].get_xdata())
    s = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(value, s, atol=1e-6)
    np.testing.assert_allclose(derivative, s * (1 - s), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((["tanhh"],), ValueError, "did you mean 'tanh'"),
        (("tanh",), TypeError, "functions as a list"),
        (([],), TypeError, "functions as a list"),
        ((None, [1.0]), ValueError, r"x of shape \(n,\), n >= 2, with rising values"),
        ((None, [1.0, 0.0]), ValueError, "rising values"),
        ((None, [0.0, float("nan"), 1.0]), ValueError, "rising values"),
    ],
)
def test_errors_of_functions(arguments, error, text):
    with pytest.raises(error, match=text):
        plot_activation_functions(*arguments)


# ---------------------------------------------------------------- layers


def test_a_histogram_for_every_layer():
    model, x = deep(), normal(50, 7)
    figure = plot_activations(model, x, bins=17)
    assert [panel.get_title() for panel in figure.axes] == [*(f"h{i} (sigmoid)" for i in range(4)), "out (linear)"]
    for panel, out in zip(figure.axes, model.layer_outputs(x).values()):
        counts, edges = np.histogram(out, 17)
        assert [patch.get_height() for patch in panel.patches] == counts.tolist()
        np.testing.assert_allclose([patch.get_x() for patch in panel.patches], edges[:-1], atol=1e-6)
        assert f"mean {out.mean(dtype=np.float64):.2g}" in panel.get_xlabel()
    assert_nothing_is_clipped(figure)
    assert len(plot_activations(model, x, layers=["h1", "out"]).axes) == 2


def test_dead_and_unbounded_outputs_are_told():
    model = Sequential([Input((2,)), Dense(4, "relu", use_bias=False, name="r"), Flatten(name="f")])
    model.set_weights([[[-1.0, 1.0, 1.0, 1.0], [-1.0, 1.0, 1.0, np.inf]]])
    first, last = plot_activations(model, np.ones((3, 2))).axes
    assert first.get_xlabel().endswith("25% dead, 25% NaN or infinite")
    assert last.get_title() == "f"
    assert sum(patch.get_height() for patch in last.patches) == 9


def test_a_bar_for_the_gradient_of_every_layer_that_learns():
    model, x, y = deep(), normal(50, 7), normal(50, 2, seed=1)
    (panel,) = plot_gradients(model, x, y).axes
    norms = model.gradient_norms(x, y)
    assert [patch.get_height() for patch in panel.patches] == list(norms.values())
    assert [label.get_text() for label in panel.get_xticklabels()] == list(norms)
    assert panel.get_yscale() == "log"
    assert_nothing_is_clipped(panel.figure)


def test_gradients_of_zero_and_nan_are_named():
    model = Sequential([Input((2,)), Dense(3, "relu", name="r"), Dense(1, use_bias=False, name="l")])
    model.compile("sgd", "mse")
    model.set_weights([-np.ones((2, 3)), np.zeros(3), np.ones((3, 1))])
    (panel,) = plot_gradients(model, np.ones((4, 2)), np.ones((4, 1))).axes
    assert [label.get_text() for label in panel.get_xticklabels()] == ["r: 0", "l: 0"]
    assert_nothing_is_clipped(panel.figure)
    model.set_weights([np.full((2, 3), np.nan), np.zeros(3), np.ones((3, 1))])
    assert_nothing_is_clipped(plot_gradients(model, np.ones((4, 2)), np.ones((4, 1))))


def test_files_need_no_pyplot_window(tmp_path):
    model, x, y = deep(), normal(10, 7), normal(10, 2)
    plot_activation_functions(["relu"], path=tmp_path / "new" / "f.png")
    plot_activations(model, x, tmp_path / "a.svg")
    plot_gradients(model, x, y, tmp_path / "g.pdf")
    assert pyplot.get_fignums() == []
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("new/f.png", "a.svg", "g.pdf"))


def test_pictures_are_found_among_the_utilities():
    for name in (
        "plot_activation_functions",
        "plot_activations",
        "plot_gradients",
        "plot_history",
        "plot_model",
        "plot_paths",
    ):
        assert callable(getattr(utils, name))
    with pytest.raises(AttributeError, match="no attribute 'plot_nothing'"):
        utils.__getattr__("plot_nothing")


def test_errors_of_layers(monkeypatch):
    model, x = deep(), normal(5, 7)
    with pytest.raises(TypeError, match="plot_activations: expected a model, got 3"):
        plot_activations(3, x)
    with pytest.raises(ValueError, match="bins to be an integer >= 1"):
        plot_activations(model, x, bins=0)
    with pytest.raises(ValueError, match="at least one layer and one sample"):
        plot_activations(model, x[:0])
    model.trainable = False
    with pytest.raises(ValueError, match="plot_gradients: expected a model with layers that learn"):
        plot_gradients(model, x, np.ones((5, 2)))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (plot_activation_functions, lambda: plot_activations(model, x), lambda: plot_gradients(model, x, x)):
        with pytest.raises(ImportError, match="pip install"):
            draw()


# ---------------------------------------------------------------- paths


def long_bowl(x, y):
    return x**2 / 20 + y**2


def way(optimizer, steps=30):
    """Return where an optimizer goes on the long bowl from (-7, 2)."""
    p, points = {"x": np.array(-7.0), "y": np.array(2.0)}, [(-7.0, 2.0)]
    for _ in range(steps):
        optimizer.update(p, {"x": p["x"] / 10, "y": 2 * p["y"]})
        points.append((float(p["x"]), float(p["y"])))
    return np.array(points)


def test_paths_are_drawn_over_lines_of_equal_height():
    ways = {"SGD": way(numpy_style.SGD(lr=0.95)), "Momentum": way(numpy_style.Momentum(lr=0.1))}
    figure = plot_paths(long_bowl, ways, title="Two")
    (panel,) = figure.axes
    assert panel.get_title() == "Two"
    drawn = {line.get_label(): np.array(line.get_xydata()) for line in panel.get_lines()}
    for name, points in ways.items():
        np.testing.assert_array_equal(drawn[name], points)
        assert panel.get_xlim()[0] < points[:, 0].min() < points[:, 0].max() < panel.get_xlim()[1]
        assert panel.get_ylim()[0] < points[:, 1].min() < points[:, 1].max() < panel.get_ylim()[1]
    (contours,) = panel.collections
    heights = [level for level, line in zip(contours.levels, contours.get_paths()) if len(line.vertices)]
    assert len(heights) > 15
    for level, line in zip(contours.levels, contours.get_paths()):
        if len(line.vertices):
            np.testing.assert_allclose(long_bowl(*line.vertices.T), level, rtol=0.05, atol=0.02)
    assert_nothing_is_clipped(figure)


def test_descent_zigzags_and_momentum_goes_a_shorter_way():
    lengths = {
        optimizer: np.linalg.norm(np.diff(way(optimizer), axis=0), axis=1).sum()
        for optimizer in (numpy_style.SGD(lr=0.95), numpy_style.Momentum(lr=0.1))
    }
    descent, momentum = lengths.values()
    assert descent > momentum


def test_axes_of_paths_and_surfaces_with_holes(tmp_path):
    figure = plot_paths(lambda x, y: np.where(x > 0, x * y, np.nan), {"one": [[1.0, 1.0]]}, x=(-2, 2), y=(-1, 3))
    assert (figure.axes[0].get_xlim(), figure.axes[0].get_ylim()) == ((-2.0, 2.0), (-1.0, 3.0))
    plot_paths(lambda x, y: 0 * x, {"flat": [[1.0, 1.0], [1.0, 2.0]]}, tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        (({},), {}, TypeError, "plot_paths: expected paths as a dict of names to points"),
        (({"a": [1.0, 2.0]},), {}, ValueError, r"the path 'a' of shape \(n, 2\), got \(2,\)"),
        (({"a": [[1.0, np.inf]]},), {}, ValueError, "finite points in the path 'a'"),
        (({"a": [[1.0, 1.0]]},), {"x": (2, 1)}, ValueError, r"x as \(least, greatest\), got \(2, 1\)"),
        (({"a": [[1.0, 1.0]]},), {"y": 3}, TypeError, r"y as \(least, greatest\)"),
    ],
)
def test_errors_of_paths(arguments, options, error, text):
    with pytest.raises(error, match=text):
        plot_paths(long_bowl, *arguments, **options)
    with pytest.raises(ValueError, match="function to return an array of shape"):
        plot_paths(lambda x, y: 1.0, {"a": [[1.0, 1.0]]})
