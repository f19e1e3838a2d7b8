"""Pictures. They need matplotlib (``pip install 'fastnn[plot]'``), which is imported when a picture is drawn."""

from fastnn.plotting.figures import require_matplotlib
from fastnn.plotting.functions import plot_activation_functions
from fastnn.plotting.history import plot_history
from fastnn.plotting.layers import plot_activations, plot_gradients
from fastnn.plotting.paths import plot_paths

__all__ = [
    "plot_activation_functions",
    "plot_activations",
    "plot_gradients",
    "plot_history",
    "plot_paths",
    "require_matplotlib",
]
