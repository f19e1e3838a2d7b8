"""plot_confusion_matrix, plot_decision_boundary: what a classifier takes for what, and where."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks
from fastnn.figures import new_figure, require_matplotlib, save
from fastnn.training.classes import Classifying
from fastnn.training.splits import classes_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # told apart by the color-blind
MARKERS = "os^DvPX"
POINTS = 301  # of the grid along each axis
ROOM = 0.1  # around the samples, of their extent
BOUNDARY_SIZE = (6.0, 4.8)  # inches
MOST_NUMBERED = 25  # classes: the numbers in the cells of more could not be read


def plot_confusion_matrix(
    matrix: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    labels: Sequence[Any] | None = None,
    normalize: bool = False,
    title: str | None = None,
) -> Figure:
    """Draw how often each class (row) was taken for each (column).

    Args:
        matrix: counts or weights >= 0, (k, k), k >= 1, as `metrics.ConfusionMatrix` gives them.
        path: file to write (.png, .svg, .pdf), folders that do not exist are made; None: the figure belongs to pyplot.
        labels: names of the classes; None is 0, 1, ...
        normalize: write shares of the row instead of counts. The colors are those of the shares either way.
        title: above the picture; None is "Confusion matrix", with the accuracy.

    Returns:
        the matplotlib Figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: for a matrix of another shape or with negative values, and a wrong number of labels.

    Example:
        >>> from fastnn.plotting import plot_confusion_matrix
        >>> matrix = fastnn.metrics.ConfusionMatrix(2)([0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
        >>> figure = plot_confusion_matrix(matrix, labels=["cat", "dog"])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['1', '0', '1', '1']
    """
    who = "plot_confusion_matrix"
    require_matplotlib(who)
    counts = checks.array(who, "matrix", matrix).astype(np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        checks.fail(who, "matrix of shape (k, k)", counts.shape)
    if not (np.isfinite(counts) & (counts >= 0)).all():
        checks.fail(who, "counts >= 0", "negative or infinite ones, or NaN")
    k = len(counts)
    names = [str(label) for label in (range(k) if labels is None else labels)]
    if len(names) != k:
        checks.fail(who, f"{k} labels, one for each class", len(names))
    sums = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, sums, out=np.zeros_like(counts), where=sums > 0)
    side = min(max(3.6, 1.6 + 0.45 * k), 14.0)
    figure: Any = new_figure(1, path is None, size=(side + 0.6, side))
    panel = figure.axes[0]
    image = panel.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(image, ax=panel, label="share of the class", shrink=0.8)
    if k <= MOST_NUMBERED:
        _write_cells(panel, shares if checks.boolean(who, "normalize", normalize) else counts, shares, normalize)
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if max(map(len, names)) > 3 else {}
    panel.set_xticks(range(k), names, **turned)
    panel.set_yticks(range(k), names)
    panel.set(xlabel="predicted", ylabel="true")
    right = f", {np.trace(counts) / counts.sum():.1%} right" if counts.sum() else ""
    panel.set_title(title if title is not None else f"Confusion matrix{right}", fontsize="medium")
    save(figure, path)
    return figure  # type: ignore[no-any-return]


def _write_cells(panel: Any, values: NDArray[Any], shares: NDArray[Any], normalize: bool) -> None:
    """Write a number into every cell, light on dark."""
    for i, j in np.ndindex(values.shape):
        text = f"{values[i, j]:.2f}" if normalize else f"{values[i, j]:g}"
        color = "white" if shares[i, j] > 0.5 else "0.2"
        panel.text(j, i, text, ha="center", va="center", color=color, fontsize="small")


def plot_decision_boundary(
    model: Classifying,
    x: Any,
    y: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    threshold: float = 0.5,
    names: tuple[str, str] = ("x1", "x2"),
    title: str | None = None,
) -> Figure:
    """Draw which class a model gives every place of a plane, and the samples on it.

    Args:
        model: a model whose samples are two numbers, and that has one output: a value for each class, or one value.
        x: samples, (N, 2), N >= 1.
        y: their classes: numbers, or one-hot rows.
        path: file to write (.png, .svg, .pdf), folders that do not exist are made; None: the figure belongs to pyplot.
        threshold: of an output of one value, as `predict_classes` takes it.
        names: of the axes.
        title: above the picture; None is the share of the samples that lie on the right side.

    Returns:
        the matplotlib Figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: for samples, classes or a model that do not fit.

    Example:
        >>> import numpy as np
        >>> from fastnn.plotting import plot_decision_boundary
        >>> model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(1, "sigmoid")])
        >>> model.set_weights([np.array([[1.0], [1.0]]), np.array([-1.5])])
        >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
        >>> figure = plot_decision_boundary(model, x, [0, 0, 0, 1])
        >>> figure.axes[0].get_title()
        '100.0% on the right side'
    """
    who = "plot_decision_boundary"
    require_matplotlib(who)
    if not isinstance(model, Classifying):
        checks.fail_type(who, "a model", checks.describe(model))
    samples = checks.float32(who, "x", x)
    if samples.ndim != 2 or samples.shape[1] != 2 or not len(samples) or not np.isfinite(samples).all():
        checks.fail(who, "finite samples of shape (N, 2), N >= 1", checks.describe(samples))
    truth = _class_numbers(who, y, len(samples))
    low, high = samples.min(axis=0).astype(np.float64), samples.max(axis=0).astype(np.float64)
    room = np.where(high > low, ROOM * (high - low), 1.0)
    grid = np.meshgrid(*(np.linspace(a, b, POINTS) for a, b in zip(low - room, high + room)))
    places = np.stack([axis.ravel() for axis in grid], axis=1)
    given = model.predict_classes(np.concatenate([samples, places]), batch_size=4096, verbose=0, threshold=threshold)
    if not isinstance(given, np.ndarray) or given.ndim != 1:
        checks.fail(who, "a model with one output, a row of values for each sample", f"'{model.name}'")
    figure: Any = new_figure(1, path is None, size=BOUNDARY_SIZE)
    panel = figure.axes[0]
    _draw_regions(panel, grid, given[len(samples) :].reshape(POINTS, POINTS))
    for label in np.unique(truth):
        own = samples[truth == label]
        style = {"color": COLORS[label % len(COLORS)], "marker": MARKERS[label % len(MARKERS)]}
        panel.scatter(own[:, 0], own[:, 1], s=22, edgecolors="white", linewidths=0.6, label=f"class {label}", **style)
    right = f"{np.mean(given[: len(samples)] == truth):.1%} on the right side"
    panel.set(xlabel=names[0], ylabel=names[1], title=right if title is None else title)
    panel.legend(framealpha=0.9)
    save(figure, path)
    return figure  # type: ignore[no-any-return]


def _class_numbers(who: str, y: Any, count: int) -> NDArray[np.int64]:
    """Return the class of every sample."""
    truth = checks.array(who, "y", y)
    if len(truth.shape) == 0 or len(truth) != count:
        checks.fail(who, f"a class for each of {count} samples", checks.describe(truth))
    numbers = classes_of(who, truth, "the picture")
    if truth.ndim == 1 or truth.shape[1] == 1:  # the numbers themselves, and not their places among those that occur
        numbers = truth.reshape(-1).astype(np.int64)
    if numbers.min() < 0:
        checks.fail(who, "class numbers >= 0", f"{numbers.min()}")
    return numbers


def _draw_regions(panel: Any, grid: Sequence[NDArray[Any]], classes: NDArray[np.int64]) -> None:
    """Fill the region of each class with its color, pale, and draw the lines between them."""
    found = np.unique(classes)
    for label in found:
        inside = (classes == label).astype(np.float64)
        panel.contourf(*grid, inside, levels=[0.5, 1.5], colors=[COLORS[label % len(COLORS)]], alpha=0.22)
        if len(found) > 1:
            panel.contour(*grid, inside, levels=[0.5], colors="0.35", linewidths=0.8)
