"""Models: `Sequential`, a list of layers, and `Model`, a graph of them; `load_model` reads either from a file."""

from __future__ import annotations

import os
from collections.abc import Mapping

from fastnn import saving
from fastnn.layers.base import Layer
from fastnn.models.model import Model
from fastnn.models.sequential import Sequential

__all__ = ["Model", "Sequential", "load_model"]


def load_model(
    filepath: str | os.PathLike[str], custom_objects: Mapping[str, type[Layer]] | None = None, compile: bool = True
) -> Model:
    """Read a model that `save` wrote, ready to predict and to go on training.

    Args:
        filepath: the file.
        custom_objects: your own layer classes by name; no other code is ever run.
        compile: False leaves optimizer, loss and metrics out.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is truncated, damaged, not written by fastnn, or has a layer of an unknown class.

    Example:
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "m.fastnn")
        >>> fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(2)]).save(path)
        >>> fastnn.models.load_model(path).count_params()
        8
    """
    model: Model = saving.load_model(filepath, custom_objects, compile)
    return model


saving.MODEL_CLASSES.update({"Model": Model, "Sequential": Sequential})
