"""Weights out of Keras's own files, ".weights.h5" and ".keras". Needs h5py, which is imported when such a file is read.

Keras files its layers by class: "layers/dense_1/vars/0" is the first array of the second Dense, and the name that the layer has is
noted beside it. A model inside of a model has "layers" of its own.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import checks
from fastnn.files import Tensors, corrupt
from fastnn.layers.base import Layer
from fastnn.names import snake_case

if TYPE_CHECKING:
    from fastnn.models.base import BaseModel

RULE = "a file of weights written by Keras 3"
KERAS_NAMES = {"Model": "functional"}  # of classes that Keras files under another name


def read(path: Path, model: BaseModel) -> Tensors:
    """Return the arrays of a file by the names that the model has for them; what it has no layer for by their place there."""
    try:
        import h5py
    except ImportError as error:
        text = checks.message(f"load_weights '{path}'", "h5py to be installed", "no such package", "pip install h5py")
        raise ImportError(text) from error
    content = path.read_bytes()
    if path.suffix == ".keras":
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                content = archive.read("model.weights.h5")
        except (zipfile.BadZipFile, KeyError, NotImplementedError) as error:
            corrupt(path, f"a damaged or foreign file ({error})", RULE)
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            return dict(_arrays(h5py, path, file, model))
    except (OSError, RuntimeError, KeyError) as error:
        corrupt(path, f"a damaged or foreign file ({error})", RULE)


def _child(h5py: Any, path: Path, group: Any, name: str) -> Any:
    """Return what lies in a group, of this file only: a link to another one is not followed."""
    link = group.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        corrupt(path, f"a link in place of '{name}'", RULE)
    return group[name]


def _arrays(h5py: Any, path: Path, group: Any, model: BaseModel) -> Iterator[tuple[str, Any]]:
    """Yield the name and the array of every weight below a group that was written for a model."""
    stored = _child(h5py, path, group, "layers")
    if not isinstance(stored, h5py.Group):
        corrupt(path, "no layers", RULE)
    left = {str(key): _child(h5py, path, stored, key) for key in stored}
    places = _places(model, {key: _noted_name(child) for key, child in left.items()})
    for layer, key in zip(model.layers, places):
        child = left.pop(key, None)
        if child is None:
            continue
        if not isinstance(layer, Layer):
            yield from _arrays(h5py, path, child, layer)
            continue
        arrays = _own(h5py, path, child)
        for i, array in enumerate(arrays):
            yield (layer.weights[i].name if i < len(layer.weights) else f"{layer.name}/{i}"), array
    for key, child in left.items():
        for i, array in enumerate(_own(h5py, path, child)):
            yield f"{key}/{i}", array


def _noted_name(group: Any) -> str:
    name = group["vars"].attrs.get("name", "") if "vars" in group else ""
    return str(name)


def _own(h5py: Any, path: Path, group: Any) -> list[Any]:
    """Return the arrays of a layer in order."""
    own = _child(h5py, path, group, "vars")
    found = []
    for i in range(0 if own is None else len(own)):
        dataset = _child(h5py, path, own, str(i))
        if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
            corrupt(path, f"no array {i} in '{group.name}'", RULE)
        found.append(np.asarray(dataset))
    return found


def _places(model: BaseModel, noted: dict[str, str]) -> list[str]:
    """Return where the file has each of a model's layers: by the names where they are the same, else by counting each class."""
    by_name = {name: key for key, name in noted.items()}
    with_weights = [layer for layer in model.layers if layer.count_params()]
    if all(layer.name in by_name for layer in with_weights):
        return [by_name.get(layer.name, "") for layer in model.layers]
    counts: dict[str, int] = {}
    places = []
    for layer in model.layers:
        kind = KERAS_NAMES.get(type(layer).__name__, snake_case(type(layer).__name__))
        counts[kind] = counts.get(kind, -1) + 1
        places.append(f"{kind}_{counts[kind]}" if counts[kind] else kind)
    if any(entry.sources for entry in model.summary_entries()):
        names = [layer.name for layer in with_weights]
        fix = "in a graph with branches the order of layers may differ"
        checks.fail("load_weights", f"layers named {names} in the file", list(by_name), fix)
    return places
