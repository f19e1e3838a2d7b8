"""The state of a training in the middle, in a file: what `BackupAndRestore` saves and takes up again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, files
from fastnn.files import FileName

if TYPE_CHECKING:
    from fastnn.models.base import BaseModel

Arrays = dict[str, NDArray[Any]]


def _changing(model: BaseModel) -> Arrays:
    """Return every array that training changes, by name: parameters, counters, the optimizer's, the running metrics'."""
    arrays: Arrays = {f"weights/{p.name}": p.value for p in model.parameters}
    for layer in model.leaf_layers:
        arrays |= {f"counters/{layer.name}/{name}": a for name, a in layer.counters.items()}
    if model.optimizer is not None:
        arrays |= {f"optimizer/{name}": array for name, array in model.optimizer.state().items()}
        arrays["optimizer/learning_rate"] = model.optimizer.lr
    running = [metric for score in model.scores for metric in score.running]
    return arrays | {f"running/{i}": metric.state for i, metric in enumerate(running)}


def save_backup(model: BaseModel, filepath: FileName, progress: Mapping[str, Any]) -> None:
    """Write the state of a model's training, and how far it has come."""
    state = {
        "progress": {**progress, **model.place()},
        "shuffle_seed": model.shuffle_seed,
        "epochs_shuffled": model.epochs_shuffled,
        "seeds": {layer.name: layer.seed for layer in model.leaf_layers if hasattr(layer, "seed")},
    }
    files.write(filepath, _changing(model), {"kind": "backup", "state": state}, True)


def load_backup(model: BaseModel, filepath: FileName) -> None:
    """Take up the state of a training; nothing changes if it is of another model.

    Raises:
        OSError: if the file cannot be read. ValueError: if it is damaged, or of a model with other arrays.
    """
    tensors, description = files.read(filepath)
    if description.get("kind") != "backup":
        checks.fail("BackupAndRestore", "a file that it wrote", f"one of kind {description.get('kind')!r}")
    arrays = _changing(model)
    other = sorted(
        name
        for name in {*arrays, *tensors}
        if name not in arrays or tensors.get(name, np.empty(0)).shape != arrays[name].shape
    )
    if other:
        rule = f"the backup of a model with the {len(arrays)} arrays of '{model.name}'"
        fix = "compile and fit the same model, with layers of the same names, or remove the folder"
        checks.fail("BackupAndRestore", rule, f"others: {', '.join(other[:5])}", fix)
    with files.described("BackupAndRestore"):
        state = description["state"]
        numbers = {key: _count(key, state[key]) for key in ("shuffle_seed", "epochs_shuffled")}
        place = {key: _count(key, state["progress"][key]) for key in ("epoch", "batch", "at")}
        seeds = {name: _count("seed", seed) for name, seed in state["seeds"].items()}
    for name, array in arrays.items():
        array[...] = tensors[name]
    for layer in model.leaf_layers:
        if layer.name in seeds:
            layer.seed = seeds[layer.name]  # type: ignore[attr-defined]
    model.shuffle_seed, model.epochs_shuffled = numbers["shuffle_seed"], numbers["epochs_shuffled"]
    model.resume(**place)


def _count(name: str, value: Any) -> int:
    return checks.integer("BackupAndRestore", name, value, 0, 2**63 - 1)
