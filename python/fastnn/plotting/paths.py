"""plot_paths: how optimizers go over a surface of two parameters."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks
from fastnn.figures import new_figure, require_matplotlib, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHO = "plot_paths"
POINTS = 201  # of the grid along each axis
LEVELS = 24
SIZE = (6.4, 4.8)  # inches
ROOM = 0.1  # around the paths, of their extent
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # told apart by the color-blind
MARKERS = "osD^vPX"


def plot_paths(
    function: Callable[[NDArray[Any], NDArray[Any]], Any],
    paths: Mapping[str, Any],
    path: str | os.PathLike[str] | None = None,
    *,
    x: tuple[float, float] | None = None,
    y: tuple[float, float] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw lines of equal height of f(x, y), and the ways that optimizers took over it.

    Args:
        function: of two arrays of the same shape, elementwise.
        paths: by name, the points of each, shape (n, 2), n >= 1.
        path: file to write (.png, .svg, .pdf), folders that do not exist are made; None: the figure belongs to pyplot.
        x, y: (least, greatest) of the axes; None: so that all paths are seen.
        title: above the picture; None is none.

    Returns:
        the matplotlib Figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: for no paths, points that are not finite, and a function that does not keep the shape.

    Example:
        >>> import numpy as np
        >>> from fastnn.plotting import plot_paths
        >>> sgd, p = fastnn.optimizers.numpy_style.SGD(lr=0.95), {"x": np.array(-7.0), "y": np.array(2.0)}
        >>> way = [(-7.0, 2.0)]
        >>> for _ in range(30):
        ...     sgd.update(p, {"x": p["x"] / 10, "y": 2 * p["y"]})
        ...     way.append((float(p["x"]), float(p["y"])))
        >>> figure = plot_paths(lambda x, y: x**2 / 20 + y**2, {"SGD": way})
        >>> figure.axes[0].get_legend().get_texts()[0].get_text()
        'SGD'
    """
    require_matplotlib(WHO)
    ways = _checked(paths)
    points = np.concatenate(list(ways.values()))
    bounds = [_bounds(name, given, points[:, i]) for i, (name, given) in enumerate((("x", x), ("y", y)))]
    grid = np.meshgrid(*(np.linspace(low, high, POINTS) for low, high in bounds))
    heights = np.asarray(function(*grid), np.float64)
    if heights.shape != grid[0].shape:
        checks.fail(WHO, f"function to return an array of shape {grid[0].shape}", heights.shape)
    figure: Any = new_figure(1, path is None, size=SIZE)
    panel = figure.axes[0]
    # Steps of a square root: as many lines in a valley as on its sides.
    finite = heights[np.isfinite(heights)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if high > low:
        levels = low + (high - low) * np.linspace(0.0, 1.0, LEVELS) ** 2
        panel.contour(*grid, np.ma.masked_invalid(heights), levels=levels[1:], colors="0.75", linewidths=0.8)
    for i, (name, way) in enumerate(ways.items()):
        style = {"color": COLORS[i % len(COLORS)], "marker": MARKERS[i % len(MARKERS)]}
        panel.plot(way[:, 0], way[:, 1], markersize=3.5, linewidth=1.2, label=name, **style)
    panel.plot(*points[0], marker="*", markersize=11, color="black", linestyle="none")
    panel.set(xlim=bounds[0], ylim=bounds[1], xlabel="x", ylabel="y", title=title or "")
    panel.legend(frameon=True, framealpha=0.9)
    save(figure, path)
    return figure  # type: ignore[no-any-return]


def _checked(paths: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Return the points of every path."""
    if not isinstance(paths, Mapping) or not paths:
        checks.fail_type(WHO, "paths as a dict of names to points", checks.describe(paths))
    ways = {}
    for name, given in paths.items():
        way = checks.array(WHO, f"the path '{name}'", given).astype(np.float64)
        if way.ndim != 2 or way.shape[1] != 2 or len(way) == 0:
            checks.fail(WHO, f"the path '{name}' of shape (n, 2)", way.shape)
        if not np.isfinite(way).all():
            checks.fail(WHO, f"finite points in the path '{name}'", "NaN or infinity", "draw fewer steps")
        ways[str(name)] = way
    return ways


def _bounds(name: str, given: Any, places: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of an axis: as given, or with some room around the places."""
    if given is None:
        low, high = float(places.min()), float(places.max())
        room = ROOM * (high - low) or 1.0
        return low - room, high + room
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        checks.fail_type(WHO, f"{name} as (least, greatest)", checks.describe(given))
    low, high = (checks.number(WHO, name, end) for end in given)
    if low >= high:
        checks.fail(WHO, f"{name} as (least, greatest)", given)
    return low, high
