"""Whole models as one file: weights, optimizer, training state and a description. No code in it, none run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import checks, files, layers, losses, metrics, optimizers
from fastnn.custom import custom_object_scope, get_custom_objects, is_own, name_of
from fastnn.files import FileName, Tensors, described
from fastnn.layers.base import Layer
from fastnn.layers.budget import weight_budget
from fastnn.weights import assign, named_weights

if TYPE_CHECKING:
    from fastnn.models.base import BaseModel

MODEL_CLASSES: dict[str, type[BaseModel]] = {}  # filled by fastnn.models, which builds on this module


def layer_data(layer: Layer | BaseModel) -> dict[str, Any]:
    """Return a layer, or a model inside of a model, as plain data.

    A subclass of a model that only says how its graph comes about is written as that graph.
    """
    known = [name for name, cls in MODEL_CLASSES.items() if isinstance(layer, cls) and layer.is_plain(cls)]
    return {"class": known[-1] if known else name_of(type(layer)), "config": layer.get_config()}


class Reader:
    """Makes layers and models from plain data; the same name gives the same layer again, as shared ones are written twice.

    Args:
        custom_objects: the user's own classes by name.
    """

    def __init__(self, custom_objects: Mapping[str, Any] | None = None) -> None:
        self._classes: dict[str, Any] = {
            name: cls
            for name in layers.__all__
            if isinstance(cls := getattr(layers, name), type) and issubclass(cls, Layer) and cls is not Layer
        }
        self._classes |= MODEL_CLASSES | get_custom_objects() | dict(custom_objects or {})
        self._known: dict[str, Layer | BaseModel] = {}

    def __call__(self, data: Mapping[str, Any]) -> Any:
        """Return the layer or model that `layer_data` described."""
        name, config = data["class"], data["config"]
        if name not in self._classes:
            fix = f"{checks.nearest(name, self._classes)}; {own_class(name)}"
            checks.fail("load_model", "layers of classes it knows", repr(name), fix)
        cls = self._classes[name]
        layer = cls.read(config, self) if hasattr(cls, "read") else cls.from_config(config)
        if isinstance(layer, layers.InputLayer):
            return layer  # each model has its own; their names may be the same
        known = self._known.setdefault(layer.name, layer)
        if type(known) is not type(layer):
            checks.fail("load_model", "layers of different names", f"two named '{layer.name}'")
        return known


def own_class(name: str) -> str:
    """Return how to give a class of one's own."""
    return f"pass your own class as custom_objects={{{name!r}: {name.rpartition('>')[2]}}}"


# --- losses, metrics, optimizers ---


def _object_data(module: ModuleType, thing: Any) -> dict[str, Any]:
    """Return a loss, metric or optimizer as plain data; "own" if its class is the user's."""
    if not is_own(type(thing)):
        return dict(module.serialize(thing))
    return {"class": name_of(type(thing)), "config": thing.get_config(), "own": True}


def _object_from(module: ModuleType, data: Mapping[str, Any]) -> Any:
    """Return a new loss, metric or optimizer from what `_object_data` returned."""
    if not data.get("own"):
        return module.deserialize(data)
    name, config = str(data["class"]), data["config"]
    cls = get_custom_objects().get(name)
    if cls is None:
        checks.fail("load_model", "classes it knows", repr(name), f"{own_class(name)}, or compile=False")
    return cls.from_config(config) if hasattr(cls, "from_config") else cls(**config)


# --- whole models ---


def _training_state(model: BaseModel) -> tuple[Tensors, dict[str, Any]]:
    """Return optimizer slots, counters, and what they belong to."""
    tensors: Tensors = {}
    counters = {layer.name: layer.counters for layer in model.leaf_layers if layer.counters}
    for layer_name, arrays in counters.items():
        tensors |= {f"counters/{layer_name}/{name}": a for name, a in arrays.items()}
    state: dict[str, Any] = {"shuffle_seed": model.shuffle_seed, "epochs_shuffled": model.epochs_shuffled}
    state["seeds"] = {layer.name: layer.seed for layer in model.leaf_layers if hasattr(layer, "seed")}
    optimizer, scores = model.optimizer, model.scores
    if optimizer is None or not scores:
        return tensors, state
    tensors |= {f"optimizer/{name}": array for name, array in optimizer.state().items()}
    state |= algorithm_data(model)
    wanted, weighted = (
        [_metric_data(some) for some in kind] for kind in zip(*((s.wanted, s.weighted) for s in scores))
    )
    single = len(scores) == 1
    state["metrics"] = wanted[0] if single else wanted
    state["weighted_metrics"] = weighted[0] if single else weighted
    return tensors, state


def algorithm_data(model: BaseModel) -> dict[str, Any]:
    """Return what `compile` chose and training depends on, as plain data; nothing for a model that is not compiled."""
    if model.optimizer is None or not model.scores:
        return {}
    chosen = [_object_data(losses, score.loss) for score in model.scores]
    return {
        "optimizer": _object_data(optimizers, model.optimizer),
        "loss": chosen[0] if len(chosen) == 1 else chosen,
        "loss_weights": [score.weight for score in model.scores],
    }


def _metric_data(wanted: Sequence[Any]) -> list[Any]:
    """Return names and metrics as plain data; without functions of the user's, which a file does not carry."""
    functions = [m for m in wanted if isinstance(m, metrics.MeanMetricWrapper)]
    if functions:
        names = ", ".join(m.name for m in functions)
        checks.warn(f"save: the metrics {names} are functions and not saved; compile anew after loading")
    return [m if isinstance(m, str) else _object_data(metrics, m) for m in wanted if m not in functions]


def _whole(model: BaseModel) -> tuple[Tensors, dict[str, Any]]:
    """Return a model as a description, and tensors besides the weights."""
    tensors, state = _training_state(model)
    data = layer_data(model)
    shapes = [list(tensor.shape) for tensor in model.inputs] if model.built else None
    description = {"kind": "model", "class": data["class"], "model": data["config"], "training": state}
    description |= {"input_shapes": shapes, "layer_names": [layer.name for layer in model.leaf_layers]}
    return tensors, description


def save_model(model: BaseModel, filepath: FileName, overwrite: bool = True) -> None:
    """Write a whole model; see `Sequential.save`."""
    weights = named_weights(model)
    tensors, description = _whole(model)
    plain_json(f"{model.who}.save", description)
    files.write(filepath, weights | tensors, description, overwrite)


def plain_json(who: str, data: Any, **options: Any) -> str:
    """Return plain data as JSON; raise if an object of the user's describes itself by something else."""
    try:
        return json.dumps(data, allow_nan=False, **options)
    except (TypeError, ValueError) as error:
        fix = "let its get_config return numbers, strings, lists and dicts"
        checks.fail_type(who, "layers and other parts described by plain data", str(error), fix)


def _count(name: str, value: Any) -> int:
    return checks.integer("load_model", name, value, 0, 2**63 - 1)


def _metrics_from(data: Sequence[Any]) -> list[Any]:
    return [m if isinstance(m, str) else _object_from(metrics, m) for m in data]


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
    optimizer = _object_from(optimizers, state["optimizer"])
    single = not isinstance(state["loss"], list)
    state = {"weighted_metrics": [] if single else [[] for _ in state["loss"]], **state}
    keys = ("loss", "metrics", "weighted_metrics")
    chosen, wanted, weighted = ([state[key]] if single else list(state[key]) for key in keys)
    whole = model.output_structure.whole
    model.compile(
        optimizer,
        whole([_object_from(losses, loss) for loss in chosen]),
        whole(list(state.get("loss_weights", [1.0]))),
        whole([_metrics_from(some) for some in wanted]),
        whole([_metrics_from(some) for some in weighted]),
    )
    for name, array in optimizer.state().items():
        stored = tensors[f"optimizer/{name}"]
        if stored.shape != array.shape:
            checks.fail("load_model", f"optimizer slot '{name}' of shape {array.shape}", stored.shape)
        array[...] = stored


def load_model(filepath: FileName, custom_objects: Mapping[str, Any] | None = None, compile: bool = True) -> Any:
    """Read a whole model; see `fastnn.models.load_model`."""
    tensors, description = files.read(filepath)
    if description.get("kind") != "model":
        checks.fail(
            "load_model", "a file written by save", f"one of kind {description.get('kind')!r}", "use load_weights"
        )
    with custom_object_scope(custom_objects), described(f"load '{Path(filepath)}'"):
        return _restored(tensors, description, compile)


def _restored(tensors: Tensors, description: Mapping[str, Any], compile: bool = True) -> Any:
    """Return a new model from what `_whole` returned, and weights."""
    with weight_budget(sum(t.size for t in tensors.values())):
        data = {"class": description.get("class", "Sequential"), "config": description["model"]}
        model = _model_from(data)
        shapes = description.get("input_shapes")
        if shapes is not None and not model.built:
            model.build_for_some([tuple(shape) for shape in shapes])
        if model.built:
            _rename(model.leaf_layers, description.get("layer_names", ()))
            assign(model, tensors, "load_model")
        if compile:
            _restore_training(model, tensors, description["training"])
    return model


def _rename(layers: Sequence[Layer], names: Sequence[str]) -> None:
    """Give layers that a class of the user's made anew the names under which the file has them."""
    for layer, name in zip(layers, names):
        if layer.name == name:
            continue
        layer.name = str(name)
        for p in layer.parameters:
            p.name = f"{name}/{p.name.rpartition('/')[2]}"


def _model_from(data: Mapping[str, Any]) -> Any:
    """Return a new model from what `layer_data` returned for one."""
    known = {name: cls for name, cls in get_custom_objects().items() if hasattr(cls, "read")}
    name = data["class"]
    if isinstance(name, str) and name not in known and name not in MODEL_CLASSES:
        checks.fail("load_model", f"class to be one of {', '.join(sorted(MODEL_CLASSES))}", repr(name), own_class(name))
    return (MODEL_CLASSES | known)[name].read(data["config"], Reader())


# --- copies ---


def reduce_model(model: BaseModel) -> tuple[Any, ...]:
    """Return how `copy` and `pickle` make a model again: from what a file would have, and the user's classes by name."""
    tensors, description = _whole(model)
    parts: list[Any] = [*model.leaf_layers, model.optimizer]
    parts += [part for score in model.scores for part in (score.loss, *score.wanted, *score.weighted)]
    described = [
        model,
        *_inside(model),
        *parts,
        *(value for part in parts for value in getattr(part, "__dict__", {}).values()),
    ]
    own = {type(p) for p in described if hasattr(p, "get_config") and is_own(type(p))}
    tensors |= named_weights(model) if model.built else {}
    copies = {name: np.array(tensor) for name, tensor in tensors.items()}
    return _again, (copies, description, {name_of(cls): cls for cls in own}, model.run_eagerly)


def _inside(model: Any) -> list[Any]:
    """Return the models inside of a model."""
    found = [layer for layer in model.layers if hasattr(layer, "leaf_layers")]
    return found + [deeper for inner in found for deeper in _inside(inner)]


def _again(
    tensors: Tensors, description: Mapping[str, Any], classes: Mapping[str, Any], run_eagerly: bool
) -> BaseModel:
    with custom_object_scope(classes):
        model: BaseModel = _restored(tensors, description)
    model.run_eagerly = run_eagerly
    return model


# --- architecture as text, architecture anew ---


def to_json(model: BaseModel, **options: Any) -> str:
    """Return a model's architecture as JSON; see `BaseModel.to_json`."""
    return plain_json(f"{model.who}.to_json", layer_data(model), **options)


def model_from_json(text: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return a new model; see `fastnn.models.model_from_json`."""
    if not isinstance(text, str):
        checks.fail_type("model_from_json", "a string", checks.describe(text), "a dict goes into from_config")
    with custom_object_scope(custom_objects), described("model_from_json"):
        return _model_from(files.parse_json("model_from_json", text))


class Cloner(Reader):
    """Makes copies of a model's layers, each once.

    Args:
        model: whose layers are copied.
        clone_function: makes a layer from a layer; None is a new one of the same class and arguments.
    """

    def __init__(self, model: BaseModel, clone_function: Callable[[Any], Any] | None) -> None:
        super().__init__()
        self._originals: dict[str, Any] = {}
        self._function = clone_function
        self._collect(model)

    def _collect(self, model: Any) -> None:
        for layer in model.layers:
            self._originals[layer.name] = layer
            if hasattr(layer, "leaf_layers"):
                self._collect(layer)

    def __call__(self, data: Mapping[str, Any]) -> Any:
        if data["class"] == "InputLayer":
            return super().__call__(data)
        original = self._originals[data["config"]["name"]]
        if original.name in self._known:
            return self._known[original.name]
        if hasattr(original, "leaf_layers"):
            copy = type(original).read(original.get_config(), self)
        else:
            make = self._function or (lambda layer: type(layer).from_config(layer.get_config()))
            copy = make(original)
            if not isinstance(copy, Layer):
                checks.fail_type("clone_model", "clone_function to return a layer", checks.describe(copy))
        return self._known.setdefault(original.name, copy)


def clone_model(model: BaseModel, clone_function: Callable[[Any], Any] | None = None) -> Any:
    """Return a new model of the same architecture; see `fastnn.models.clone_model`."""
    return type(model).read(model.get_config(), Cloner(model, clone_function))
