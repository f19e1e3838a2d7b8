"""Saving: one safetensors file with weights, optimizer, training state and a JSON description. No code in it, none run.

The file is written beside its target, flushed to the disk and renamed, so that a crash leaves the old file or the new one. Every
tensor and the description carry a checksum, which loading verifies.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as parse_safetensors
from safetensors.numpy import save as format_safetensors

from fastnn import checks, layers, losses, metrics, optimizers
from fastnn.layers.base import Layer, weight_budget

if TYPE_CHECKING:
    from fastnn.models.base import BaseModel

FileName = str | os.PathLike[str]
Tensors = dict[str, NDArray[Any]]

FORMAT = "fastnn-model-1"
LARGEST_HEADER = 16 * 2**20  # bytes


# --- files ---


def write_atomically(filepath: FileName, content: bytes, overwrite: bool = True) -> None:
    """Write a file so that at any moment either the old or the new one is there, whole, also after a loss of power."""
    path = Path(filepath)
    if path.exists() and not overwrite:
        raise FileExistsError(checks.message("save", "a path without a file, as overwrite=False", str(path)))
    if path.suffix in (".keras", ".h5", ".hdf5"):
        checks.fail("save", "a path ending in .fastnn", str(path), "the file is a safetensors file, not a Keras one")
    folder = path.parent
    _remove_strays(folder, path.name)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.{os.getpid()}-", suffix=".part", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder_handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(folder_handle)
    finally:
        os.close(folder_handle)


def _remove_strays(folder: Path, name: str) -> None:
    """Remove what saves to this name left unfinished when their process was killed."""
    for stray in folder.iterdir():
        match = re.fullmatch(re.escape(f".{name}.") + r"(\d+)-\w+\.part", stray.name)
        if match and not _runs(int(match[1])):
            stray.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _checksum(array: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


def _write(filepath: FileName, tensors: Tensors, description: dict[str, Any], overwrite: bool) -> None:
    """Write tensors and a description, each with its checksum."""
    tensors = {name: np.ascontiguousarray(t) for name, t in tensors.items()}
    description = {**description, "crc32": {name: _checksum(t) for name, t in tensors.items()}}
    text = json.dumps(description, allow_nan=False)
    metadata = {"format": FORMAT, "description": text, "crc32": str(zlib.crc32(text.encode()))}
    write_atomically(filepath, format_safetensors(tensors, metadata), overwrite)


def _corrupt(path: Path, reason: str) -> NoReturn:
    checks.fail(f"load '{path}'", "a file written by fastnn", reason, "restore it from a backup or save it again")


def _strict_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key twice")
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"the number {name}")


def _parse_json(path: Path, text: str) -> dict[str, Any]:
    try:
        result = json.loads(text, object_pairs_hook=_strict_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        _corrupt(path, f"a description that is not strict JSON ({error})")
    if not isinstance(result, dict):
        _corrupt(path, "a description that is no object")
    return result


def _read(filepath: FileName) -> tuple[Tensors, dict[str, Any]]:
    """Return tensors and description of a file, after verifying every checksum."""
    path = Path(filepath)
    content = path.read_bytes()
    header_size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or header_size > min(len(content) - 8, LARGEST_HEADER):
        _corrupt(path, f"{len(content)} bytes that are not a safetensors file, or a part of one")
    try:
        tensors: Tensors = dict(parse_safetensors(content))
        header = _parse_json(path, content[8 : 8 + header_size].decode())
    except (SafetensorError, UnicodeDecodeError, KeyError) as error:
        _corrupt(path, f"a damaged file ({error})")
    metadata = header.get("__metadata__", {})
    if metadata.get("format") != FORMAT:
        _corrupt(path, f"a safetensors file of format {metadata.get('format', 'unknown')!r}")
    text = metadata.get("description", "")
    if str(zlib.crc32(text.encode())) != metadata.get("crc32"):
        _corrupt(path, "a description whose checksum is wrong")
    description = _parse_json(path, text)
    if {name: _checksum(t) for name, t in tensors.items()} != description.get("crc32"):
        _corrupt(path, "tensors whose checksums are wrong")
    return tensors, description


@contextmanager
def described(who: str) -> Iterator[None]:
    """Turn what a wrong description makes fail into the one error."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        reason = f"one that does not fit this version ({type(error).__name__}: {error})"
        checks.fail(who, "a description written by fastnn", reason, "restore it from a backup or save it again")


# --- models ---


MODEL_CLASSES: dict[str, type[BaseModel]] = {}  # filled by fastnn.models, which builds on this module


def layer_data(layer: Layer | BaseModel) -> dict[str, Any]:
    """Return a layer, or a model inside of a model, as plain data."""
    name = next((n for n, cls in MODEL_CLASSES.items() if type(layer) is cls), type(layer).__name__)
    return {"class": name, "config": layer.get_config()}


class Reader:
    """Makes layers and models from plain data; the same name gives the same layer again, as shared ones are written twice.

    Args:
        custom_objects: the user's own layer classes by name.
    """

    def __init__(self, custom_objects: Mapping[str, type[Layer]] | None = None) -> None:
        self._layers: dict[str, type[Layer]] = {
            name: cls
            for name in layers.__all__
            if isinstance(cls := getattr(layers, name), type) and issubclass(cls, Layer) and cls is not Layer
        }
        self._layers |= custom_objects or {}
        self._known: dict[str, Layer | BaseModel] = {}

    def __call__(self, data: Mapping[str, Any]) -> Any:
        """Return the layer or model that `layer_data` described."""
        name, config = data["class"], data["config"]
        if name in MODEL_CLASSES:
            layer: Layer | BaseModel = MODEL_CLASSES[name].read(config, self)
        elif name in self._layers:
            layer = self._layers[name].from_config(config)
        else:
            checks.fail(
                "load_model",
                "layers of classes it knows",
                repr(name),
                f"{checks.nearest(name, self._layers)}; pass your own class as custom_objects={{{name!r}: {name}}}",
            )
        known = self._known.setdefault(layer.name, layer)
        if type(known) is not type(layer):
            checks.fail("load_model", "layers of different names", f"two named '{layer.name}'")
        return known


def _weights(model: BaseModel) -> Tensors:
    return {f"weights/{p.name}": p.value for p in model.parameters}


def save_weights(model: BaseModel, filepath: FileName, overwrite: bool = True) -> None:
    """Write a model's parameters by name."""
    _write(filepath, _weights(model), {"kind": "weights"}, overwrite)


def _assign_weights(model: BaseModel, tensors: Tensors, who: str) -> None:
    stored = {name.removeprefix("weights/"): t for name, t in tensors.items() if name.startswith("weights/")}
    names = [p.name for p in model.parameters]
    missing, extra = [n for n in names if n not in stored], [n for n in stored if n not in names]
    if missing or extra:
        checks.fail(
            who,
            f"a file with the {len(names)} weights of '{model.name}'",
            f"{len(stored)}: {len(missing)} missing {missing[:5]}, {len(extra)} unknown {extra[:5]}",
            "build the same layers with the same names",
        )
    model.set_weights([stored[name] for name in names])


def load_weights(model: BaseModel, filepath: FileName) -> None:
    """Set a model's parameters from a file, all or none."""
    tensors, _ = _read(filepath)
    _assign_weights(model, tensors, "load_weights")


def _training_state(model: BaseModel) -> tuple[Tensors, dict[str, Any]]:
    """Return optimizer slots, counters, and what they belong to."""
    tensors: Tensors = {}
    counters = {layer.name: layer.counters for layer in model.leaf_layers if layer.counters}
    for layer_name, arrays in counters.items():
        tensors |= {f"counters/{layer_name}/{name}": a for name, a in arrays.items()}
    state: dict[str, Any] = {"shuffle_seed": model.shuffle_seed, "epochs_shuffled": model.epochs_shuffled}
    state["seeds"] = {layer.name: layer.seed for layer in model.leaf_layers if hasattr(layer, "seed")}
    optimizer, scores = model.optimizer, model.scores
    if optimizer is None or not scores or type(optimizer).__module__.split(".")[0] != "fastnn":
        return tensors, state
    tensors |= {f"optimizer/{name}": slot for name, slot in optimizer.slots.items()}
    tensors["optimizer/iterations"] = optimizer.iterations
    state["optimizer"] = optimizers.serialize(optimizer)
    if all(type(score.loss).__module__.startswith(losses.__name__) for score in scores):
        chosen = [losses.serialize(score.loss) for score in scores]
        wanted, weighted = ([_metric_data(s) for s in some] for some in zip(*((s.wanted, s.weighted) for s in scores)))
        single = len(scores) == 1
        state["loss"], state["metrics"] = (chosen[0], wanted[0]) if single else (chosen, wanted)
        state["weighted_metrics"] = weighted[0] if single else weighted
        state["loss_weights"] = [score.weight for score in scores]
    return tensors, state


def _metric_data(wanted: Sequence[Any]) -> list[Any]:
    """Return names and metrics as plain data; without those that are code of the user's, which a file does not carry."""
    own = [m for m in wanted if not isinstance(m, str) and not metrics.is_plain(m)]
    if own:
        names = ", ".join(m.name for m in own)
        warnings.warn(
            f"save: the metrics {names} are written in Python and not saved; compile anew after loading", stacklevel=5
        )
    return [m if isinstance(m, str) else metrics.serialize(m) for m in wanted if m not in own]


def save_model(model: BaseModel, filepath: FileName, overwrite: bool = True) -> None:
    """Write a whole model; see `Sequential.save`."""
    tensors, state = _training_state(model)
    data = layer_data(model)
    description = {"kind": "model", "class": data["class"], "model": data["config"], "training": state}
    _write(filepath, _weights(model) | tensors, description, overwrite)


def _count(name: str, value: Any) -> int:
    return checks.integer("load_model", name, value, 0, 2**63 - 1)


def _metrics_from(data: Sequence[Any]) -> list[Any]:
    return [m if isinstance(m, str) else metrics.deserialize(m) for m in data]


def _restore_training(model: BaseModel, tensors: Tensors, state: Mapping[str, Any]) -> None:
    for layer in model.leaf_layers:
        for name, array in layer.counters.items():
            array[...] = tensors[f"counters/{layer.name}/{name}"]
        if layer.name in state["seeds"]:
            layer.seed = _count("seed", state["seeds"][layer.name])  # type: ignore[attr-defined]
    model.shuffle_seed = _count("shuffle_seed", state["shuffle_seed"])
    model.epochs_shuffled = _count("epochs_shuffled", state["epochs_shuffled"])
    if "optimizer" not in state or "loss" not in state:
        return
    optimizer = optimizers.deserialize(state["optimizer"])
    single = not isinstance(state["loss"], list)
    state = {"weighted_metrics": [] if single else [[] for _ in state["loss"]], **state}
    keys = ("loss", "metrics", "weighted_metrics")
    chosen, wanted, weighted = ([state[key]] if single else list(state[key]) for key in keys)
    whole = model.output_structure.whole
    model.compile(
        optimizer,
        whole([losses.deserialize(loss) for loss in chosen]),
        whole([_metrics_from(some) for some in wanted]),
        whole(list(state.get("loss_weights", [1.0]))),
        whole([_metrics_from(some) for some in weighted]),
    )
    optimizer.iterations[...] = tensors["optimizer/iterations"]
    for name, slot in optimizer.slots.items():
        stored = tensors[f"optimizer/{name}"]
        if stored.shape != slot.shape:
            checks.fail("load_model", f"optimizer slot '{name}' of shape {slot.shape}", stored.shape)
        slot[...] = stored


def load_model(
    filepath: FileName, custom_objects: Mapping[str, type[Layer]] | None = None, compile: bool = True
) -> Any:
    """Read a whole model; see `fastnn.models.load_model`."""
    tensors, description = _read(filepath)
    if description.get("kind") != "model":
        checks.fail(
            "load_model", "a file written by save", f"one of kind {description.get('kind')!r}", "use load_weights"
        )
    with described(f"load '{Path(filepath)}'"), weight_budget(sum(t.size for t in tensors.values())):
        cls = checks.one_of("load_model", "class", description.get("class", "Sequential"), sorted(MODEL_CLASSES))
        model = MODEL_CLASSES[cls].read(description["model"], Reader(custom_objects))
        if model.built:
            _assign_weights(model, tensors, "load_model")
        if compile:
            _restore_training(model, tensors, description["training"])
    return model
