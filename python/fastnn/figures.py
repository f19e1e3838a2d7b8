"""What all pictures share: figures with panels, colors, files, and the error where matplotlib is missing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fastnn import checks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILION = "#0072b2", "#d55e00"  # told apart by the color-blind, and in gray
PANEL_SIZE = (5.2, 4.0)  # inches


def require_matplotlib(who: str) -> None:
    """Raise ImportError, with what to install, unless matplotlib can be imported."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        text = checks.message(who, "matplotlib to be installed", "no such package", "pip install 'fastnn[plot]'")
        raise ImportError(text) from error


def new_figure(
    panels: int, on_screen: bool, columns: int | None = None, size: tuple[float, float] = PANEL_SIZE
) -> Figure:
    """Return a figure with so many panels, row by row; one that is only written to a file needs no window system.

    columns: None is one row. size: of a panel, in inches.
    """
    across = min(panels, columns or panels)
    rows = -(-panels // across)
    whole = (size[0] * across, size[1] * rows)
    if on_screen:
        from matplotlib import pyplot

        figure = pyplot.figure(figsize=whole, layout="constrained")
    else:
        from matplotlib.figure import Figure

        figure = Figure(figsize=whole, layout="constrained")
    for axes in figure.subplots(rows, across, squeeze=False).flat[panels:]:
        axes.remove()
    return figure


def axes_for(who: str, ax: Axes | None) -> Axes:
    """Return the axes to draw into: those given, else those of a new figure of pyplot's."""
    if ax is not None:
        return ax
    require_matplotlib(who)
    from matplotlib import pyplot

    made: Axes = pyplot.subplots()[1]
    return made


def save(figure: Any, path: str | os.PathLike[str] | None) -> None:
    """Write a figure to a file, unless path is None; folders that do not exist are made."""
    if path is not None:
        os.makedirs(os.path.dirname(os.fspath(path)) or ".", exist_ok=True)
        figure.savefig(path, dpi=150)


def tidy(panel: Any) -> None:
    """Give a panel a pale grid behind the curves and no frame where it means nothing."""
    panel.grid(True, color="0.9")
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
