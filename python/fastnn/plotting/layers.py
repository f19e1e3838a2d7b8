"""plot_activations, plot_gradients, plot_weights: what goes on in every layer of a model for a batch, and what it has learned."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks
from fastnn.figures import BLUE, new_figure, require_matplotlib, save, tidy
from fastnn.training.inspection import Inspected

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 5
PANEL_SIZE = (2.8, 2.5)  # inches
BAR_WIDTH = 0.45  # inches
NEARLY_ZERO = 1e-3  # what L1 is said to have made zero


def plot_activations(
    model: Inspected,
    x: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    layers: Sequence[str] | None = None,
    bins: int = 30,
    columns: int = COLUMNS,
    title: str | None = None,
) -> Figure:
    """Draw a histogram of every layer's outputs for a batch, with the shares of dead units and saturated values.

    Args:
        model: a built model.
        x: samples as `predict` takes them; all of them go through at once.
        path: file to write (.png, .svg, .pdf), folders that do not exist are made; None: the figure belongs to pyplot.
        layers: names of the layers to draw; None is all.
        bins: of a histogram, >= 1.
        columns: panels side by side, >= 1.
        title: above the panels; None is "Outputs of the layers".

    Returns:
        the matplotlib Figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: for a model that is not built, unknown layers, and samples that do not fit.

    Example:
        >>> import numpy as np
        >>> from fastnn.plotting import plot_activations
        >>> model = fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(8, "tanh", name="first"), fastnn.layers.Dense(2)])
        >>> figure = plot_activations(model, np.ones((5, 3)))
        >>> len(figure.axes), figure.axes[0].get_title()
        (2, 'first (tanh)')
    """
    who = "plot_activations"
    require_matplotlib(who)
    _check_model(who, model)
    count, across = checks.integer(who, "bins", bins, 1), checks.integer(who, "columns", columns, 1)
    outputs = model.layer_outputs(x, layers)
    rows = model.check_activations(x, layers).rows
    if not rows or not all(out.size for out in outputs.values()):
        checks.fail(who, "at least one layer and one sample", f"{len(rows)} layers")
    figure: Any = new_figure(len(rows), path is None, across, PANEL_SIZE)
    figure.suptitle(title or "Outputs of the layers")
    for panel, row, out in zip(figure.axes, rows, outputs.values()):
        name = f"{row.layer} ({row.activation})" if row.activation else row.layer
        shares = {"dead": row.dead, "saturated": row.saturated}
        _draw_histogram(panel, out, count, name, (row.mean, row.std), shares)
    save(figure, path)
    return figure  # type: ignore[no-any-return]


def plot_gradients(
    model: Inspected,
    x: Any,
    y: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    sample_weight: Any = None,
    title: str | None = None,
) -> Figure:
    """Draw the length of the gradient of every layer that learns, for one batch: whether it vanishes or explodes.

    Args:
        model: a compiled model.
        x, y, sample_weight: as `fit` takes them; all samples go through at once.
        path: file to write (.png, .svg, .pdf), folders that do not exist are made; None: the figure belongs to pyplot.
        title: above the panel; None is "Gradients of the layers".

    Returns:
        the matplotlib Figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: for a model that is not compiled or learns nothing, and for samples that do not fit.

    Example:
        >>> import numpy as np
        >>> from fastnn.plotting import plot_gradients
        >>> model = fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(8, "tanh"), fastnn.layers.Dense(2)])
        >>> model.compile("sgd", "mse")
        >>> figure = plot_gradients(model, np.ones((5, 3)), np.ones((5, 2)))
        >>> len(figure.axes[0].patches)
        2
    """
    who = "plot_gradients"
    require_matplotlib(who)
    _check_model(who, model)
    norms = model.gradient_norms(x, y, sample_weight)
    if not norms:
        checks.fail(who, "a model with layers that learn", f"'{model.name}'")
    size = max(4.0, 1.5 + BAR_WIDTH * len(norms)), 3.6
    figure: Any = new_figure(1, path is None, size=size)
    panel = figure.axes[0]
    places = range(len(norms))
    lengths = [length if np.isfinite(length) else np.nan for length in norms.values()]
    panel.bar(places, lengths, color=BLUE)
    if any(length > 0 for length in lengths):
        panel.set_yscale("log")
    labels = [name if length > 0 else f"{name}: {length:g}" for name, length in norms.items()]
    panel.set_xticks(places, labels, rotation=45, ha="right", rotation_mode="anchor")
    panel.set_ylabel("length of the gradient")
    panel.set_title(title or "Gradients of the layers")
    tidy(panel)
    panel.grid(False, axis="x")
    save(figure, path)
    return figure  # type: ignore[no-any-return]


def plot_weights(
    model: Inspected,
    path: str | os.PathLike[str] | None = None,
    *,
    layers: Sequence[str] | None = None,
    bins: int = 30,
    columns: int = COLUMNS,
    title: str | None = None,
) -> Figure:
    """Draw a histogram of the weights of every layer that has some, without its biases and other vectors.

    Whether they have grown too large, whether L1 has made many of them zero, how they lie before and after training.

    Args:
        model: a built model.
        path: file to write (.png, .svg, .pdf), folders that do not exist are made; None: the figure belongs to pyplot.
        layers: names of the layers to draw; None is all.
        bins: of a histogram, >= 1.
        columns: panels side by side, >= 1.
        title: above the panels; None is "Weights of the layers".

    Returns:
        the matplotlib Figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: for a model that is not built, unknown layers, and layers without weights only.

    Example:
        >>> from fastnn.plotting import plot_weights
        >>> model = fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(8, name="first"), fastnn.layers.Dense(2)])
        >>> figure = plot_weights(model)
        >>> len(figure.axes), figure.axes[0].get_title()
        (2, 'first/kernel')
    """
    who = "plot_weights"
    require_matplotlib(who)
    _check_model(who, model)
    count, across = checks.integer(who, "bins", bins, 1), checks.integer(who, "columns", columns, 1)
    found = model.leaf_layers
    if layers is not None:
        if isinstance(layers, str):
            checks.fail_type(who, "layers as a list of names", repr(layers), f"write [{layers!r}]")
        wanted = {checks.one_of(who, "layers", name, [layer.name for layer in found]) for name in layers}
        found = [layer for layer in found if layer.name in wanted]
    drawn = [p for layer in found for p in layer.weights if p.learns and len(p.shape) > 1 and p.size]
    if not drawn:
        checks.fail(who, "a built model with layers that have weights", f"'{model.name}'")
    figure: Any = new_figure(len(drawn), path is None, across, PANEL_SIZE)
    figure.suptitle(title or "Weights of the layers")
    for panel, p in zip(figure.axes, drawn):
        values = p.value[np.isfinite(p.value)].astype(np.float64)
        moments = (values.mean(), values.std()) if values.size else (np.nan, np.nan)
        shares = {"below 0.001": float(np.mean(np.abs(values) < NEARLY_ZERO)) if values.size else 0.0}
        _draw_histogram(panel, p.value, count, p.name, moments, shares)
    save(figure, path)
    return figure  # type: ignore[no-any-return]


def _check_model(who: str, model: Any) -> None:
    if not isinstance(model, Inspected):
        checks.fail_type(who, "a model", checks.describe(model))


def _draw_histogram(
    panel: Any,
    values: NDArray[Any],
    bins: int,
    title: str,
    moments: tuple[float, float],
    shares: Mapping[str, float | None],
) -> None:
    """Draw the finite values; below them mean and deviation, and those shares that are not 0."""
    finite = values[np.isfinite(values)]
    panel.hist(finite, bins=bins, color=BLUE)
    panel.set_title(title, fontsize="medium")
    every = {**shares, "NaN or infinite": 1 - finite.size / values.size}
    told = ", ".join(f"{share:.0%} {name}" for name, share in every.items() if share)
    panel.set_xlabel(f"mean {moments[0]:.2g}, std {moments[1]:.2g}\n{told}".strip(), fontsize="small")
    panel.tick_params(labelsize="small")
    tidy(panel)
