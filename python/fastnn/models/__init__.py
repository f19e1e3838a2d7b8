"""Models: `Sequential`, a list of layers, and `Model`, a graph of them; `load_model` reads either from a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from fastnn import saving
from fastnn.models.model import Model
from fastnn.models.sequential import Sequential
from fastnn.pytorch import load_pytorch_weights

__all__ = [
    "Model",
    "Sequential",
    "clone_model",
    "load_model",
    "load_pytorch_weights",
    "model_from_json",
    "save_model",
]


def save_model(model: Model, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
    """Write a model as `model.save(filepath)` does.

    Args:
        model: to write.
        filepath: by custom ending in .fastnn.
        overwrite: False raises if the file is there.

    Example:
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "m.fastnn")
        >>> fastnn.models.save_model(fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(2)]), path)
        >>> fastnn.models.load_model(path).count_params()
        8
    """
    model.save(filepath, overwrite)


def load_model(
    filepath: str | os.PathLike[str], custom_objects: Mapping[str, Any] | None = None, compile: bool = True
) -> Model:
    """Read a model that `save` wrote, ready to predict and to go on training.

    Args:
        filepath: the file.
        custom_objects: your own classes of layers, losses, metrics, optimizers, ... by name; no other code is ever run.
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


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> Model:
    """Return a new model from what `to_json` returned: its architecture, new weights.

    Args:
        json_string: the text.
        custom_objects: your own classes by name.

    Raises:
        ValueError: for text that describes no model.

    Example:
        >>> text = fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(2)]).to_json()
        >>> fastnn.models.model_from_json(text).count_params()
        8
    """
    model: Model = saving.model_from_json(json_string, custom_objects)
    return model


def clone_model(model: Model, *, clone_function: Callable[[Any], Any] | None = None) -> Model:
    """Return a model of the same architecture with new weights.

    Layers that the model calls several times, or that models inside of it share, are shared in the copy as well.

    Args:
        model: to copy.
        clone_function: makes the copy of a layer from the layer; None is a new layer of the same class and arguments. It is not
            asked about inputs and models.

    Example:
        >>> model = fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(2)])
        >>> copy = fastnn.models.clone_model(model)
        >>> copy.count_params(), copy.layers[0] is model.layers[0]
        (8, False)
    """
    result: Model = saving.clone_model(model, clone_function)
    return result


saving.MODEL_CLASSES.update({"Model": Model, "Sequential": Sequential})
