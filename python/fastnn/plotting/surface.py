"""plot_loss_surface: the loss as a function of two of a model's weights, for one loss or several."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, losses
from fastnn.figures import new_figure, require_matplotlib, save
from fastnn.models.base import BaseModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHO = "plot_loss_surface"
LEVELS = 24
PANEL_SIZE = (4.8, 3.9)  # inches

Place = tuple[str, Sequence[int]]  # a weight: name of a parameter, index in it


def plot_loss_surface(
    model: BaseModel,
    x: Any,
    y: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    loss: Any = None,
    weights: tuple[Place, Place] | None = None,
    span: float = 4.0,
    points: int = 31,
    title: str | None = None,
) -> Figure:
    """Draw the loss of some samples over two weights of a model, all others as they are: where it is steep, flat, a valley.

    With several losses a panel for each: behind a sigmoid or softmax the cross-entropy is steep where the squared error is flat.
    The star is where the model is. Weights are changed while it is drawn, and put back.

    Args:
        model: a built model with one output.
        x, y: samples and targets, as `fit` takes them; all of them go through at once.
        path: file to write (.png, .svg, .pdf), folders that do not exist are made; None: the figure belongs to pyplot.
        loss: a name or Loss, or a list of them; None is the model's.
        weights: two of (name of a parameter, index in it), such as ("dense/kernel", (0, 0)); None is the first weight of the first
            and of the last kernel.
        span: how far the axes go from the weights as they are, in both directions, > 0.
        points: along each axis, >= 2.
        title: above the panels; None is none.

    Returns:
        the matplotlib Figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: for a model, samples, losses or weights that do not fit.

    Example:
        >>> import numpy as np
        >>> from fastnn.plotting import plot_loss_surface
        >>> layers = [fastnn.layers.Dense(1, "tanh"), fastnn.layers.Dense(1, "sigmoid")]
        >>> model = fastnn.Sequential([fastnn.Input((1,)), *layers])
        >>> figure = plot_loss_surface(model, [[-1.0], [1.0]], [[0.0], [1.0]], loss=["binary_crossentropy", "mse"], points=5)
        >>> [axes.get_title() for axes in figure.axes[:2]]
        ['BinaryCrossentropy', 'MeanSquaredError']
    """
    require_matplotlib(WHO)
    if not isinstance(model, BaseModel):
        checks.fail_type(WHO, "a model", checks.describe(model))
    chosen = _losses(model, loss)
    places = [_found(model, place) for place in _places(model, weights)]
    if places[0][0] == places[1][0]:
        checks.fail(WHO, "two different weights", f"{places[0][0]} twice")
    reach, count = checks.number(WHO, "span", span, above=0.0), checks.integer(WHO, "points", points, 2)
    centers = [float(value[index]) for _, value, index in places]
    axes = [np.linspace(center - reach, center + reach, count) for center in centers]
    heights = _heights(model, x, y, chosen, places, axes)
    figure: Any = new_figure(len(chosen), path is None, size=PANEL_SIZE)
    if title:
        figure.suptitle(title)
    for panel, one, height in zip(list(figure.axes), chosen, heights):
        filled = panel.contourf(*axes, np.ma.masked_invalid(height.T), levels=LEVELS, cmap="viridis")
        figure.colorbar(filled, ax=panel, shrink=0.85)
        panel.plot(*centers, marker="*", markersize=12, color="white", markeredgecolor="black", linestyle="none")
        panel.set(xlabel=places[0][0], ylabel=places[1][0], title=type(one).__name__)
    save(figure, path)
    return figure  # type: ignore[no-any-return]


def _losses(model: BaseModel, given: Any) -> list[losses.Loss]:
    """Return the losses to draw."""
    if len(model.outputs) != 1:
        checks.fail(WHO, "a model with one output", f"{len(model.outputs)} outputs")
    if given is None:
        if not model.scores:
            checks.fail(WHO, "a compiled model, or loss=", f"'{model.name}', which is not", "give loss='mse'")
        return [model.scores[0].loss]
    found = [losses.get(one) for one in (given if isinstance(given, (list, tuple)) else [given])]
    if not found:
        checks.fail(WHO, "at least one loss", "none")
    return found


def _places(model: BaseModel, given: Any) -> Sequence[Any]:
    """Return the two weights to change: as given, or the first of the first and of the last kernel."""
    if given is not None:
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            checks.fail_type(WHO, "weights as two of (name, index)", checks.describe(given))
        return given
    kernels = [p for p in model.parameters if len(p.shape) > 1 and p.size]
    if len(kernels) < 2:
        checks.fail(
            WHO, "a model with two kernels, or weights=", f"{len(kernels)}", "write weights=((name, index), ...)"
        )
    return [(p.name, (0,) * len(p.shape)) for p in (kernels[0], kernels[-1])]


def _found(model: BaseModel, place: Any) -> tuple[str, NDArray[Any], tuple[int, ...]]:
    """Return the label of a weight, the array that it is in, and its index."""
    if not isinstance(place, (tuple, list)) or len(place) != 2:
        checks.fail_type(WHO, "a weight as (name, index)", checks.describe(place))
    known = {p.name: p for p in model.parameters}
    p = known[checks.one_of(WHO, "the parameter's name", place[0], list(known))]
    given = place[1] if isinstance(place[1], (tuple, list)) else (place[1],)
    if len(given) != len(p.shape):
        checks.fail(WHO, f"an index of {len(p.shape)} numbers in '{p.name}'", place[1])
    index = tuple(checks.integer(WHO, "index", i, -n, n - 1) % n for i, n in zip(given, p.shape))
    return f"{p.name}{list(index)}", p.value, index


def _heights(
    model: BaseModel,
    x: Any,
    y: Any,
    chosen: Sequence[losses.Loss],
    places: Sequence[tuple[str, NDArray[Any], tuple[int, ...]]],
    axes: Sequence[NDArray[np.float64]],
) -> list[NDArray[np.float64]]:
    """Return the loss at every point of the grid, (points, points) for each loss."""
    heights = [np.empty((len(axes[0]), len(axes[1]))) for _ in chosen]
    (_, first, i), (_, second, j) = places
    with model.exclusively(WHO):
        before = first[i], second[j]
        try:
            for row, one in enumerate(axes[0]):
                for column, other in enumerate(axes[1]):
                    first[i], second[j] = one, other
                    out = model.predict_on_batch(x)
                    for height, loss in zip(heights, chosen):
                        height[row, column] = np.mean(loss(y, out))  # of a loss without reduction, too
        finally:
            first[i], second[j] = before
    return heights
