"""Constants that other frameworks gave Adam, as tables in courses list them."""

from __future__ import annotations

from typing import Any

from fastnn import checks
from fastnn.optimizers.adam import Adam

_PAPER: dict[str, Any] = {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}
ADAM: dict[str, dict[str, Any]] = {
    "tensorflow": _PAPER,
    "keras": _PAPER,
    "blocks": {**_PAPER, "learning_rate": 0.002},
    "lasagne": _PAPER,
    "caffe": _PAPER,
    "mxnet": _PAPER,
    "torch": _PAPER,
}


def adam(framework: str, **arguments: Any) -> Adam:
    """Return Adam with a framework's constants.

    Args:
        framework: "tensorflow", "keras", "blocks", "lasagne", "caffe", "mxnet" or "torch", in the versions of 2016.
        arguments: of `Adam`, which go before.

    Example:
        >>> round(fastnn.optimizers.presets.adam("blocks").learning_rate, 6)
        0.002
    """
    return Adam(**{**ADAM[checks.one_of("presets.adam", "framework", framework, sorted(ADAM))], **arguments})
