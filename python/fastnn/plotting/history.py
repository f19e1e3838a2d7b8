"""plot_history: the learning curve."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastnn import checks
from fastnn.figures import BLUE, VERMILION, new_figure, require_matplotlib, save, tidy
from fastnn.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKED_EPOCHS = 30  # with more, markers would run into each other


def plot_history(
    history: History | Mapping[str, Sequence[float]],
    path: str | os.PathLike[str] | None = None,
    *,
    metrics: Sequence[str] | None = None,
    title: str | None = None,
    axes: Sequence[Axes] | None = None,
    validation_freq: int = 1,
) -> Figure:
    """Draw the learning curve: loss and metrics over the epochs, of training and of validation.

    Args:
        history: what `fit` returned, or its `.history`.
        path: file to write (.png, .svg, .pdf), folders that do not exist are made. None: the figure belongs to pyplot, so that
            `plt.show()` and notebooks show it.
        metrics: names without "val_" to draw, one panel each; None is all, the loss first.
        title: above the panels; None is "Learning curve".
        axes: one matplotlib Axes per panel to draw into, and no title unless given; None makes a figure.
        validation_freq: as `fit` was given it.

    Returns:
        the matplotlib Figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: for a history without epochs, an unknown metric, a wrong number of axes or validation_freq.
        OSError: if the file cannot be written.

    Example:
        >>> from fastnn.plotting import plot_history
        >>> figure = plot_history({"loss": [0.9, 0.4], "val_loss": [1.0, 0.6]}, title="Two epochs")
        >>> [line.get_label() for line in figure.axes[0].lines]
        ['training', 'validation']
    """
    require_matplotlib("plot_history")
    values, epochs = _series(history)
    every = checks.integer("plot_history", "validation_freq", validation_freq, 1)
    names = _panel_names(values, metrics)
    if axes is not None and len(axes) != len(names):
        checks.fail("plot_history", f"{len(names)} axes, one for each of {', '.join(names)}", len(axes))
    figure: Any = new_figure(len(names), on_screen=path is None) if axes is None else axes[0].figure
    if axes is None or title is not None:
        figure.suptitle(title or "Learning curve")
    for panel, name in zip(figure.axes if axes is None else axes, names):
        _draw(panel, name, epochs, values, every)
        if axes is None:
            panel.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    save(figure, path)
    return figure  # type: ignore[no-any-return]


def _series(history: Any) -> tuple[Mapping[str, Sequence[float]], list[int]]:
    """Return the values by name, and the number of each epoch, counted from 1."""
    values = history.history if isinstance(history, History) else history
    if not isinstance(values, Mapping):
        checks.fail_type("plot_history", "what fit returned, or a dict of lists", checks.describe(history))
    length = max((len(series) for series in values.values()), default=0)
    if length == 0:
        checks.fail("plot_history", "a history of at least one epoch", "an empty one", "call fit first")
    if isinstance(history, History) and len(history.epoch) == length:
        return values, [epoch + 1 for epoch in history.epoch]
    return values, list(range(1, length + 1))


def _panel_names(values: Mapping[str, Sequence[float]], wanted: Sequence[str] | None) -> list[str]:
    """Return what to draw: the names asked for, else all, the loss first."""
    known = list(dict.fromkeys(name.removeprefix("val_") for name in values))
    if wanted is None:
        return sorted(known, key=lambda name: name != "loss")
    if isinstance(wanted, str) or not wanted:
        checks.fail_type("plot_history", "metrics as a list of names", checks.describe(wanted), "write ['loss']")
    return [checks.one_of("plot_history", "metrics", name, known) for name in wanted]


def _draw(panel: Any, name: str, epochs: list[int], values: Mapping[str, Sequence[float]], every: int) -> None:
    """Draw one quantity of training and of validation."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    marker = "o" if len(epochs) <= MARKED_EPOCHS else None
    style: dict[str, Any] = {"marker": marker, "markersize": 3.5, "linewidth": 1.6}
    if name in values:
        x = _places(name, epochs, values[name], 1)
        panel.plot(x, values[name], color=BLUE, label="training", **style)
    if (validation := f"val_{name}") in values:
        x = _places(validation, epochs, values[validation], every)
        panel.plot(x, values[validation], color=VERMILION, linestyle="--", label="validation", **style)
    panel.set_xlabel("epoch")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    panel.set_ylabel(name.replace("_", " "))
    if name.endswith("accuracy"):
        panel.yaxis.set_major_formatter(PercentFormatter(1.0))
    tidy(panel)
    panel.legend(frameon=False)


def _places(name: str, epochs: list[int], series: Sequence[float], every: int) -> list[int]:
    """Return the epochs that the values of a series belong to."""
    if len(series) == len(epochs):
        return epochs
    places = [epoch for epoch in epochs if epoch % every == 0]
    if len(places) != len(series):
        fix = "give validation_freq as fit was given it" if name.startswith("val_") else "one value for every epoch"
        checks.fail("plot_history", f"{len(places)} values of {name}", len(series), fix)
    return places
