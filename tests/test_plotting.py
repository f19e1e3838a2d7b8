"""The learning curve: what is drawn where, that nothing is clipped, and the errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image, pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import fastnn
from fastnn.callbacks import History
from fastnn.plotting import plot_history

TWO_METRICS = {
    "accuracy": [0.5, 0.75, 0.875],
    "loss": [2.0, 1.0, 0.5],
    "val_accuracy": [0.25, 0.5, 0.625],
    "val_loss": [4.0, 2.0, 1.5],
}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def lines(figure, panel=0):
    """Return {label: (x, y)} of a panel."""
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in figure.axes[panel].get_lines()
    }


def test_one_panel_for_each_quantity_with_the_loss_first():
    figure = plot_history(TWO_METRICS)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch", "epoch"]
    assert lines(figure, 0) == {
        "training": ([1, 2, 3], [2.0, 1.0, 0.5]),
        "validation": ([1, 2, 3], [4.0, 2.0, 1.5]),
    }
    assert lines(figure, 1) == {
        "training": ([1, 2, 3], [0.5, 0.75, 0.875]),
        "validation": ([1, 2, 3], [0.25, 0.5, 0.625]),
    }
    for axes in figure.axes:
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training", "validation"]


def test_training_and_validation_differ_in_more_than_color():
    training, validation = plot_history(TWO_METRICS).axes[0].get_lines()
    assert training.get_color() != validation.get_color()
    assert training.get_linestyle() != validation.get_linestyle()


def test_accuracy_is_shown_in_percent_and_the_loss_is_not():
    figure = plot_history(TWO_METRICS)
    assert figure.axes[1].yaxis.get_major_formatter()(0.5, 0) == "50%"
    assert "%" not in figure.axes[0].yaxis.get_major_formatter()(0.5, 0)


def test_history_of_fit_is_drawn_by_its_own_epochs():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 1))
    model = fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    history = model.fit(x, y, initial_epoch=4, epochs=7, validation_split=0.25, verbose=0)
    figure = plot_history(history)
    assert lines(figure)["training"] == ([5, 6, 7], history.history["loss"])
    assert lines(figure)["validation"] == ([5, 6, 7], history.history["val_loss"])
    assert figure.axes[1].get_ylabel() == "mae"


@pytest.mark.parametrize(("epochs", "every", "places"), [(7, 3, [3, 6]), (7, 2, [2, 4, 6]), (7, 7, [7])])
def test_validation_lies_at_the_epochs_that_were_validated(epochs, every, places):
    model = fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((8, 3)), np.ones((8, 1))
    history = model.fit(x, y, epochs=epochs, validation_data=(x, y), validation_freq=every, verbose=0)
    figure = plot_history(history, validation_freq=every)
    assert lines(figure)["validation"] == (places, history.history["val_loss"])
    if every > 1:
        with pytest.raises(ValueError, match=r"7 values of val_loss, got \d; give validation_freq as fit was given it"):
            plot_history(history)


def test_initial_epoch_counts_in_the_places_of_validation():
    history = History()
    history.epoch = [4, 5, 6]  # the fifth, sixth and seventh: only the sixth is a multiple of three
    history.history = {"loss": [3.0, 2.0, 1.0], "val_loss": [9.0]}
    assert lines(plot_history(history, validation_freq=3))["validation"] == ([6], [9.0])


def test_metrics_chooses_panels_and_their_order():
    figure = plot_history(TWO_METRICS, metrics=["accuracy", "loss"])
    assert [axes.get_ylabel() for axes in figure.axes] == ["accuracy", "loss"]
    assert len(plot_history(TWO_METRICS, metrics=["loss"]).axes) == 1


def test_draws_into_given_axes_and_leaves_their_title_alone():
    figure, panels = pyplot.subplots(2, 1)
    figure.suptitle("mine")
    assert plot_history(TWO_METRICS, axes=list(panels)) is figure
    assert figure.get_suptitle() == "mine"
    assert lines(figure, 1)["training"][1] == TWO_METRICS["accuracy"]
    plot_history(TWO_METRICS, axes=list(panels), title="new")
    assert figure.get_suptitle() == "new"


@pytest.mark.parametrize("epochs", [1, 2, 25, 400])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 12345.0])
def test_nothing_is_clipped(epochs, scale):
    series = [scale / (1 + epoch) for epoch in range(epochs)]
    values = {"loss": series, "val_loss": series, "mean_absolute_error": series}
    figure = plot_history(values, title="A title of some length: a small network on digits")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    page = figure.bbox
    for axes in figure.axes:
        box = axes.get_tightbbox(renderer)
        assert page.x0 <= box.x0
        assert page.y0 <= box.y0
        assert box.x1 <= page.x1
        assert box.y1 <= page.y1
        ticks = [tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
        assert ticks
        assert all(tick == int(tick) >= 1 for tick in ticks)
    first, second = (axes.get_tightbbox(renderer) for axes in figure.axes)
    assert first.x1 <= second.x0


def test_file_is_written_in_a_new_folder_and_shows_the_curves(tmp_path):
    path = tmp_path / "a" / "b" / "curve.png"
    figure = plot_history(TWO_METRICS, path)
    pixels = image.imread(path)
    height, width = pixels.shape[:2]
    assert (width, height) == tuple(round(150 * inches) for inches in figure.get_size_inches())
    for color in ("#0072b2", "#d55e00"):
        wanted = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        assert (np.abs(pixels[..., :3] - wanted).max(-1) < 0.02).sum() > 500
    plot_history(TWO_METRICS, str(tmp_path / "curve.svg"))
    assert (tmp_path / "curve.svg").read_text().startswith("<?xml")


def test_a_figure_for_a_file_is_not_left_open_in_pyplot(tmp_path):
    assert isinstance(plot_history(TWO_METRICS, tmp_path / "curve.png"), Figure)
    assert pyplot.get_fignums() == []
    plot_history(TWO_METRICS)
    assert len(pyplot.get_fignums()) == 1


def test_history_is_not_changed():
    values = {name: list(series) for name, series in TWO_METRICS.items()}
    plot_history(values)
    assert values == TWO_METRICS


def test_nan_leaves_a_gap():
    assert np.isnan(lines(plot_history({"loss": [1.0, float("nan"), 0.5]}))["training"][1][1])


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (({},), ValueError, "plot_history: expected a history of at least one epoch, got an empty one; call fit first"),
        ((History(),), ValueError, "at least one epoch"),
        (([0.5],), TypeError, r"what fit returned, or a dict of lists, got \[0.5\]"),
        (({"loss": [1.0, 2.0], "mae": [1.0]},), ValueError, "2 values of mae, got 1; one value for every epoch"),
    ],
)
def test_errors_of_the_history(arguments, error, text):
    with pytest.raises(error, match=text):
        plot_history(*arguments)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"metrics": ["acuracy"]}, ValueError, "got 'acuracy'; did you mean 'accuracy'?"),
        ({"metrics": ["val_loss"]}, ValueError, "metrics to be one of 'accuracy', 'loss'"),
        ({"metrics": "loss"}, TypeError, "metrics as a list of names"),
        ({"metrics": []}, TypeError, "metrics as a list of names"),
        ({"validation_freq": 0}, ValueError, "validation_freq to be an integer >= 1, got 0"),
        ({"axes": []}, ValueError, "2 axes, one for each of loss, accuracy, got 0"),
    ],
)
def test_errors_of_the_options(options, error, text):
    with pytest.raises(error, match=text):
        plot_history(TWO_METRICS, **options)


def test_path_that_cannot_be_written_is_an_oserror(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        plot_history(TWO_METRICS, tmp_path / "file" / "curve.png")


def test_missing_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"^plot_history: expected matplotlib .*; pip install 'fastnn\[plot\]'$"):
        plot_history(TWO_METRICS)


def test_a_file_needs_no_pyplot(tmp_path):
    program = (
        "import sys; from fastnn.plotting import plot_history; assert 'matplotlib' not in sys.modules;"
        f"plot_history({{'loss': [1.0]}}, {str(tmp_path / 'c.png')!r}); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert Path(tmp_path / "c.png").stat().st_size > 1000
