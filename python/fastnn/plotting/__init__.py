"""Pictures. They need matplotlib (``pip install 'fastnn[plot]'``), which is imported when a picture is drawn."""

from fastnn.figures import require_matplotlib
from fastnn.plotting.classes import plot_confusion_matrix, plot_decision_boundary
from fastnn.plotting.functions import plot_activation_functions
from fastnn.plotting.history import plot_history
from fastnn.plotting.layers import plot_activations, plot_gradients, plot_weights
from fastnn.plotting.paths import plot_paths
from fastnn.plotting.surface import plot_loss_surface

__all__ = [
    "plot_activation_functions",
    "plot_activations",
    "plot_confusion_matrix",
    "plot_decision_boundary",
    "plot_gradients",
    "plot_history",
    "plot_loss_surface",
    "plot_paths",
    "plot_weights",
    "require_matplotlib",
]
