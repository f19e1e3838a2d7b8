"""plot_confusion_matrix, plot_decision_boundary, plot_weights: what is drawn, and that nothing of it is cut off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from gradcheck import normal
from matplotlib import pyplot
from matplotlib.colors import to_hex

from fastnn import Input, Model, Sequential, layers, metrics, utils
from fastnn.layers import Dense
from fastnn.plotting import plot_confusion_matrix, plot_decision_boundary, plot_weights

MATRIX = np.array([[8, 2, 0], [0, 5, 0], [1, 1, 2]])


@pytest.fixture(autouse=True)
def _close():
    yield
    pyplot.close("all")


def assert_nothing_is_cut_off(figure: Any) -> None:
    figure.canvas.draw()
    whole = figure.bbox
    for panel in figure.axes:
        box = panel.get_tightbbox(figure.canvas.get_renderer())
        assert whole.x0 <= box.x0 + 1, panel
        assert box.x1 <= whole.x1 + 1, panel
        assert whole.y0 <= box.y0 + 1, panel
        assert box.y1 <= whole.y1 + 1, panel


# ---------------------------------------------------------------- confusion matrices


def test_cells_have_counts_and_the_colors_of_shares():
    figure = plot_confusion_matrix(MATRIX)
    panel = figure.axes[0]
    written = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in panel.texts}
    assert written == {(i, j): str(MATRIX[i, j]) for i in range(3) for j in range(3)}
    np.testing.assert_allclose(panel.images[0].get_array(), MATRIX / MATRIX.sum(1, keepdims=True))
    assert panel.get_title() == "Confusion matrix, 78.9% right"
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("predicted", "true")
    shares = plot_confusion_matrix(MATRIX, normalize=True, title="Shares").axes[0]
    assert [t.get_text() for t in shares.texts][:3] == ["0.80", "0.20", "0.00"]
    assert shares.get_title() == "Shares"


def test_what_the_metric_gives_is_drawn():
    y, p = np.arange(40) % 4, normal(40, 4)
    matrix = metrics.ConfusionMatrix(4)(y, p)
    texts = [int(t.get_text()) for t in plot_confusion_matrix(matrix).axes[0].texts]
    expected = np.zeros((4, 4), int)
    np.add.at(expected, (y, p.argmax(1)), 1)
    assert texts == expected.ravel().tolist()


@pytest.mark.parametrize("k", [1, 2, 3, 10, 40])
def test_labels_fit_and_empty_classes_are_drawn(k, tmp_path):
    names = [f"a longer name {i}" for i in range(k)] if k < 10 else None
    figure = plot_confusion_matrix(np.diag(np.arange(k) % 3), labels=names)
    assert_nothing_is_cut_off(figure)
    assert len(figure.axes[0].texts) == (k * k if k <= 25 else 0)
    plot_confusion_matrix(np.zeros((k, k)), tmp_path / "new" / "none.png")
    assert (tmp_path / "new" / "none.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((np.ones((2, 3)),), {}, ValueError, r"plot_confusion_matrix: expected matrix of shape \(k, k\), got \(2, 3\)"),
        ((np.ones((0, 0)),), {}, ValueError, "matrix of shape"),
        ((-np.ones((2, 2)),), {}, ValueError, "expected counts >= 0"),
        ((np.full((2, 2), np.nan),), {}, ValueError, "expected counts >= 0"),
        ((MATRIX,), {"labels": ["a", "b"]}, ValueError, "expected 3 labels, one for each class, got 2"),
        ((MATRIX,), {"normalize": 2}, TypeError, "normalize to be True or False"),
        (([["a"]],), {}, TypeError, "real dtype"),
    ],
)
def test_errors_of_matrices(arguments, options, error, text):
    with pytest.raises(error, match=text):
        plot_confusion_matrix(*arguments, **options)


# ---------------------------------------------------------------- decision boundaries


def above_the_diagonal() -> Sequential:
    model = Sequential([Input((2,)), Dense(2, "softmax")])
    model.set_weights([[[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]])  # class 1 where x2 > x1
    return model


def colors_at(panel: Any, places: Any) -> list[str]:
    """Return the color of the region that each place lies in."""
    filled = [c for c in panel.collections if hasattr(c, "levels") and c.filled]
    found = []
    for place in places:
        (own,) = [c for c in filled if any(path.contains_point(place) for path in c.get_paths())]
        found.append(to_hex(own.get_facecolor()[0]))
    return found


def test_regions_are_those_of_the_classes():
    model, x = above_the_diagonal(), normal(60, 2)
    y = (x[:, 1] > x[:, 0]).astype(int)
    figure = plot_decision_boundary(model, x, y)
    panel = figure.axes[0]
    assert panel.get_title() == "100.0% on the right side"
    (low, high), _ = panel.get_xlim(), panel.get_ylim()
    assert low < x[:, 0].min()
    assert high > x[:, 0].max()
    colors = colors_at(panel, [(1.0, -0.5), (-0.5, 1.0), (0.8, 0.6)])
    assert colors[0] == colors[2] != colors[1]
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["class 0", "class 1"]
    assert_nothing_is_cut_off(figure)
    half = plot_decision_boundary(model, x, 1 - y).axes[0]
    assert half.get_title() == "0.0% on the right side"


def test_one_value_one_hot_rows_and_classes_that_do_not_occur(tmp_path):
    model = Sequential([Input((2,)), Dense(1)])
    model.set_weights([[[1.0], [0.0]], [0.0]])
    x = np.array([[-1.0, 0], [1.0, 0], [2.0, 0.0]])
    figure = plot_decision_boundary(model, x, [[0], [1], [1]], threshold=1.5, names=("a", "b"))
    assert figure.axes[0].get_title() == "66.7% on the right side"
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("a", "b")
    three = Sequential([Input((2,)), Dense(3)])
    three.set_weights([np.zeros((2, 3)), [0, 0, 1.0]])
    panel = plot_decision_boundary(three, x, np.eye(3)[[2, 2, 0]], tmp_path / "b.png").axes[0]
    assert panel.get_title() == "66.7% on the right side"
    assert (tmp_path / "b.png").exists()
    assert plot_decision_boundary(three, x[:1], [2]).axes[0].get_title() == "100.0% on the right side"


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((3, np.ones((2, 2)), [0, 1]), TypeError, "plot_decision_boundary: expected a model"),
        ((above_the_diagonal(), np.ones((2, 3)), [0, 1]), ValueError, r"samples of shape \(N, 2\)"),
        ((above_the_diagonal(), np.ones((0, 2)), []), ValueError, "N >= 1"),
        ((above_the_diagonal(), np.full((2, 2), np.nan), [0, 1]), ValueError, "finite samples"),
        ((above_the_diagonal(), np.ones((2, 2)), [0]), ValueError, "a class for each of 2 samples"),
        ((above_the_diagonal(), np.ones((2, 2)), [0.5, 1]), ValueError, "classes for the picture, got fractions"),
        ((above_the_diagonal(), np.ones((2, 2)), [-1, 1]), ValueError, "class numbers >= 0, got -1"),
        ((Sequential([Input((3,)), Dense(2)]), np.ones((2, 2)), [0, 1]), ValueError, "expected input of shape"),
    ],
)
def test_errors_of_boundaries(arguments, error, text):
    with pytest.raises(error, match=text):
        plot_decision_boundary(*arguments)


def test_a_model_with_two_outputs_has_no_boundary():
    x = Input((2,))
    with pytest.raises(ValueError, match="a model with one output"):
        plot_decision_boundary(Model(x, [Dense(2)(x), Dense(2)(x)]), np.ones((2, 2)), [0, 1])


# ---------------------------------------------------------------- weights


def test_a_histogram_for_every_kernel():
    model = Sequential([Input((6, 6, 1)), layers.Conv2D(4, 3, name="c"), layers.BatchNormalization(), layers.Flatten()])
    model.add(Dense(5, name="d"))
    kernel = np.zeros((64, 5))
    kernel[:16] = 2.0
    model.get_layer("d").set_weights([kernel, np.ones(5)])
    figure = plot_weights(model, bins=7)
    assert [panel.get_title() for panel in figure.axes] == ["c/kernel", "d/kernel"]
    heights = [patch.get_height() for patch in figure.axes[1].patches]
    assert (len(heights), heights[0], heights[-1], sum(heights)) == (7, 240, 80, 320)
    assert figure.axes[1].get_xlabel() == "mean 0.5, std 0.87\n75% below 0.001"
    assert len(plot_weights(model, layers=["d"]).axes) == 1
    assert_nothing_is_cut_off(figure)


def test_weights_that_are_not_numbers_are_told():
    model = Sequential([Input((2,)), Dense(2)])
    model.set_weights([[[1.0, np.nan], [np.inf, 2.0]], [0.0, 0.0]])
    assert plot_weights(model).axes[0].get_xlabel() == "mean 1.5, std 0.5\n50% NaN or infinite"
    model.set_weights([np.full((2, 2), np.nan), [0.0, 0.0]])
    assert plot_weights(model).axes[0].get_xlabel().endswith("100% NaN or infinite")


def test_errors_of_weights(tmp_path):
    model = Sequential([Input((2,)), Dense(2, name="d"), layers.ReLU(name="r")])
    with pytest.raises(TypeError, match="plot_weights: expected a model"):
        plot_weights(3)
    with pytest.raises(ValueError, match="a built model with layers that have weights"):
        plot_weights(model, layers=["r"])
    with pytest.raises(ValueError, match="layers to be one of 'd', 'r', got 'e'"):
        plot_weights(model, layers=["e"])
    with pytest.raises(TypeError, match="layers as a list of names"):
        plot_weights(model, layers="d")
    with pytest.raises(ValueError, match="bins"):
        plot_weights(model, bins=0)
    with pytest.raises(ValueError, match="a built model"):
        plot_weights(Sequential([Dense(2)]))
    plot_weights(model, tmp_path / "w.png")
    assert (tmp_path / "w.png").exists()


def test_pictures_are_found_among_the_utilities():
    assert utils.plot_confusion_matrix is plot_confusion_matrix
    assert utils.plot_decision_boundary is plot_decision_boundary
    assert utils.plot_weights is plot_weights
