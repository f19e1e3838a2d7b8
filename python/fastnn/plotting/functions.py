"""plot_activation_functions: what activations look like, with their derivatives."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn import activations, checks
from fastnn.activations import Activation
from fastnn.figures import BLUE, VERMILION, new_figure, require_matplotlib, save, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 5
PANEL_SIZE = (2.6, 2.2)  # inches
HIGHEST = 7.0  # what grows faster is cut, so that the rest can be seen


def plot_activation_functions(
    functions: Sequence[str | Activation] | None = None,
    x: Any = None,
    path: str | os.PathLike[str] | None = None,
    *,
    columns: int = COLUMNS,
    title: str | None = None,
) -> Figure:
    """Draw f(x) and f'(x) of activations, a panel for each.

    A softmax is drawn for the first of the two values (x, 0).

    Args:
        functions: names or activations; None is all that there are.
        x: where to compute them, rising, shape (n,); None is [-7, 7) in steps of 0.1.
        path: file to write (.png, .svg, .pdf), folders that do not exist are made; None: the figure belongs to pyplot.
        columns: panels side by side, >= 1.
        title: above the panels; None is "Activations and their derivatives".

    Returns:
        the matplotlib Figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: for unknown names, no functions, and an x of fewer than two values.

    Example:
        >>> from fastnn.plotting import plot_activation_functions
        >>> figure = plot_activation_functions(["sigmoid"])
        >>> value, derivative = figure.axes[0].lines
        >>> len(value.get_ydata()), round(float(max(derivative.get_ydata())), 4)
        (140, 0.25)
    """
    who = "plot_activation_functions"
    require_matplotlib(who)
    chosen = _chosen(functions)
    places = np.arange(-70, 70) / 10.0 if x is None else checks.array(who, "x", x).astype(np.float64)
    if places.ndim != 1 or len(places) < 2 or not (np.diff(places) > 0).all():
        checks.fail(who, "x of shape (n,), n >= 2, with rising values", checks.describe(x))
    across = checks.integer(who, "columns", columns, 1)
    figure: Any = new_figure(len(chosen), path is None, across, PANEL_SIZE)
    figure.suptitle(title or "Activations and their derivatives")
    for panel, function in zip(figure.axes, chosen):
        _draw(panel, function, places)
    figure.axes[0].legend(frameon=False, fontsize="small")
    save(figure, path)
    return figure  # type: ignore[no-any-return]


def _chosen(functions: Sequence[str | Activation] | None) -> list[Activation]:
    """Return the activations asked for, else every one that has a name."""
    if functions is None:
        return list({id(f): f for f in vars(activations).values() if isinstance(f, Activation)}.values())
    if isinstance(functions, (str, Activation)) or not functions:
        checks.fail_type("plot_activation_functions", "functions as a list", checks.describe(functions))
    return [activations.get(function) for function in functions]


def values(function: Activation, x: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return f(x) and f'(x), computed as in training."""
    z = np.stack([x, np.zeros_like(x)], axis=1).astype(np.float32)  # a function of a whole row needs another value
    y = function.forward(z)
    dy = np.tile(np.array([1, 0], np.float32), (len(x), 1))
    return y[:, 0], function.backward(dy, z, y)[:, 0]


def _draw(panel: Any, function: Activation, x: NDArray[np.float64]) -> None:
    """Draw an activation and its derivative."""
    value, derivative = values(function, x)
    panel.plot(x, value, color=BLUE, linewidth=1.6, label="f(x)")
    panel.plot(x, derivative, color=VERMILION, linewidth=1.2, linestyle="--", label="f'(x)")
    panel.set_title(function.name, fontsize="medium")
    tidy(panel)
    bottom, top = np.clip([min(value.min(), derivative.min()), max(value.max(), derivative.max())], -HIGHEST, HIGHEST)
    margin = 0.05 * (top - bottom) or 1.0
    panel.set_ylim(bottom - margin, top + margin)
