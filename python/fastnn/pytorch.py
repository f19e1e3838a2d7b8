"""Weights of PyTorch models: their arrays laid out as ours, the order of flattened images included."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks
from fastnn.layers import Activation, BatchNormalization, Dense, Dropout, Flatten, Layer
from fastnn.names import Shape, shape_text
from fastnn.parameter import Parameter, assign_all
from fastnn.plan import Call
from fastnn.weights import LoadReport, source_of

if TYPE_CHECKING:
    from fastnn.models.base import BaseModel

Array = NDArray[Any]
Modules = dict[str, dict[str, Any]]  # arrays by name, by module

WHO = "load_pytorch_weights"
IGNORED = "num_batches_tracked"
SCALE_AND_SHIFT = {"weight": "gamma", "bias": "beta"}
# By class of layer: PyTorch's names of its arrays, and ours.
NAMES: dict[str, dict[str, str]] = {
    "BatchNormalization": {**SCALE_AND_SHIFT, "running_mean": "moving_mean", "running_var": "moving_variance"},
    "Embedding": {"weight": "embeddings"},
    "GroupNormalization": SCALE_AND_SHIFT,
    "LayerNormalization": SCALE_AND_SHIFT,
}
KERNEL = {"weight": "kernel", "bias": "bias"}  # of Dense and of convolutions
LAID_OUT_ALIKE = (Activation, Dropout)  # what comes out is ordered as what goes in


def load_pytorch_weights(
    model: BaseModel, source: Any, names: Mapping[str, str] | None = None, flatten: str | None = None
) -> LoadReport:
    """Set a model's weights from those of a PyTorch model with the same layers.

    Kernels are turned round (Linear keeps (out, in), convolutions (out, in, height, width)). Where the PyTorch model flattens
    images, whose channels come first there, the rows of the next Dense are put in the order in which ours come out of Flatten.
    What is no weight has to be the same by itself: BatchNorm2d's eps is BatchNormalization(epsilon=1e-5), padding=1 is padding=1.

    Args:
        model: built, with the same layers.
        source: a state_dict, or a .safetensors or .npz file of one.
        names: the layer of each PyTorch module, such as {"fc1": "dense"}. Modules that are not in it go to the layer of the same
            name, else, where their order is known (a dict, a .npz file, the numbers of an nn.Sequential), to the next layer.
        flatten: "channels_first" or "channels_last", how the images lie that the PyTorch model flattens; None: channels first
            behind convolutions and pooling.

    Returns:
        LoadReport: the names of the weights that were set: all of them.

    Raises:
        ValueError: if a layer or an array is missing or too many, has another shape, or the order of values is not known.

    Example:
        >>> import numpy as np
        >>> model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(3)])
        >>> state_dict = {"0.weight": np.arange(6.0).reshape(3, 2), "0.bias": np.zeros(3)}
        >>> print(fastnn.models.load_pytorch_weights(model, state_dict))
        2 of 2 weights were set
        >>> model.get_weights()[0].tolist()
        [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]
    """
    if flatten is not None:
        checks.one_of(WHO, "flatten", flatten, ("channels_first", "channels_last"))
    given = source_of(model, source)
    modules: Modules = {}
    for name, array in given.arrays.items():
        module, _, kind = name.rpartition(".")
        if kind != IGNORED:
            modules.setdefault(module, {})[kind] = array
    layers = [layer for layer in model.leaf_layers if layer.weights]
    orders = _Orders(model, flatten).found
    parameters: list[Parameter] = []
    values: list[Array] = []
    for layer, module in _pairs(layers, modules, dict(names or {}), given.ordered).items():
        for parameter, value in _converted(layer, module, modules[module], orders.get(id(layer))):
            parameters.append(parameter)
            values.append(value)
    assign_all(WHO, parameters, values)
    return LoadReport(tuple(p.name for p in parameters))


# --- which module is which layer ---


def _pairs(layers: Sequence[Layer], modules: Modules, names: dict[str, str], ordered: bool) -> dict[Layer, str]:
    """Return the module of every layer."""
    by_name = {layer.name: layer for layer in layers}
    found: dict[Layer, str] = {}
    for module, name in names.items():
        checks.one_of(WHO, "a key of names", module, list(modules))
        found[by_name[checks.one_of(WHO, "a layer in names", name, list(by_name))]] = module
    for module in modules:
        if module not in found.values() and module in by_name:
            found.setdefault(by_name[module], module)
    left = [module for module in modules if module not in found.values()]
    waiting = [layer for layer in layers if layer not in found]
    if len(left) != len(waiting):
        checks.fail(
            WHO,
            f"{len(layers)} modules with weights, one for each of {[layer.name for layer in layers]}",
            f"{len(modules)}: {list(modules)}",
        )
    if not ordered and len(left) > 1:
        left = _by_number(left)
    return {layer: {**found, **dict(zip(waiting, left))}[layer] for layer in layers}


def _by_number(modules: Sequence[str]) -> list[str]:
    """Return the modules of an nn.Sequential in order."""
    parts = [re.fullmatch(r"(.*?)(\d+)", module) for module in modules]
    if not all(parts) or len({part[1] for part in parts if part}) > 1:
        fix = "safetensors files do not keep it: give names={module: layer}"
        checks.fail(WHO, "modules in a known order", f"{list(modules)}", fix)
    return sorted(modules, key=lambda module: int(module.rpartition(".")[2] or module))


# --- arrays ---


def _converted(
    layer: Layer, module: str, arrays: Mapping[str, Any], order: Array | None
) -> list[tuple[Parameter, Array]]:
    """Return the layer's parameters with the values that they have in PyTorch."""
    kind = type(layer).__name__
    theirs = NAMES.get(kind) or (KERNEL if isinstance(layer, Dense) or re.fullmatch(r"Conv\d.*", kind) else None)
    if theirs is None:
        checks.fail(WHO, "layers that PyTorch has as well", repr(layer), "set its weights with set_weights")
    own = {p.name.rpartition("/")[2]: p for p in layer.weights}
    if {theirs.get(name) for name in arrays} != own.keys():
        wanted = sorted(name for name, ours in theirs.items() if ours in own)
        checks.fail(WHO, f"'{module}' with {wanted} for {layer.who}", f"{sorted(arrays)}")
    result = []
    for name, array in arrays.items():
        parameter = own[theirs[name]]
        value = checks.array(WHO, f"'{module}.{name}'", array)
        if theirs[name] == "kernel" and value.ndim >= 2:
            value = value.transpose(*range(2, value.ndim), 1, 0)
        if order is not None and (theirs[name] == "kernel" or isinstance(layer, BatchNormalization)):
            value = value[order] if len(value) == len(order) else value
        if value.shape != parameter.shape:
            rule = f"'{module}.{name}' that makes a {theirs[name]} of shape {parameter.shape} for {layer.who}"
            checks.fail(WHO, rule, f"{np.shape(array)}, which makes one of shape {value.shape}")
        result.append((parameter, value))
    return result


class _Orders:
    """Where values of a flattened image lie in PyTorch, for the layers that read them.

    Attributes:
        found: by id of a layer: the number that each of its inputs has in PyTorch.
    """

    def __init__(self, model: BaseModel, flatten: str | None) -> None:
        self.found: dict[int, Array] = {}
        self.shapes = model.plan.shapes([tensor.shape for tensor in model.inputs])
        self.flatten = flatten
        self.format: dict[int, str] = {}  # by value: how the channels of an image lie
        self.order: dict[int, Array] = {}  # by value: the same numbers
        for call in model.plan.calls:
            self._follow(call)

    def _follow(self, call: Call) -> None:
        layer, value = call.layer, call.inputs[0]
        orders = [self.order[v] for v in call.inputs if v in self.order]
        if isinstance(layer, Flatten):
            order = self._flattened(layer, value)
            if order is not None:
                self.order[call.output] = order
        elif orders:
            if isinstance(layer, (Dense, BatchNormalization)):
                self.found[id(layer)] = orders[0]
            if not isinstance(layer, Dense):
                self._pass_on(call, orders)
        elif hasattr(layer, "data_format"):
            self.format[call.output] = layer.data_format
        elif value in self.format and len(self.shapes[call.output]) == len(self.shapes[value]):
            self.format[call.output] = self.format[value]
        elif self._mixes(value):
            checks.fail(WHO, "Flatten behind images", repr(layer), "PyTorch's values come out of it in another order")

    def _pass_on(self, call: Call, orders: Sequence[Array]) -> None:
        """Let the output of a layer be ordered as its inputs."""
        alike = isinstance(call.layer, (BatchNormalization, *LAID_OUT_ALIKE)) or (
            len(orders) == len(call.inputs) and all(self.shapes[v] == self.shapes[call.output] for v in call.inputs)
        )
        if not alike or not all(np.array_equal(order, orders[0]) for order in orders):
            fix = "PyTorch's values come in another order"
            checks.fail(WHO, "Dense, BatchNormalization or an activation behind Flatten", repr(call.layer), fix)
        self.order[call.output] = orders[0]

    def _mixes(self, value: int) -> bool:
        """Return whether the values of an image would lie in another order in PyTorch."""
        shape = self.shapes[value]
        if self.format.get(value) != "channels_last" or len(shape) < 3:
            return False
        return shape[-1] != 1 and any(size != 1 for size in shape[1:-1])

    def _flattened(self, layer: Flatten, value: int) -> Array | None:
        """Return the order of what Flatten gives; None where it is the same."""
        shape = self.shapes[value]
        theirs = self.flatten or ("channels_first" if value in self.format or len(shape) < 4 else None)
        ours = self.format.get(value, "channels_last" if len(shape) > 3 else None)
        if ours is None or shape[-1 if ours == "channels_last" else 1] == 1:
            return None
        if theirs is None:
            fix = "say how the PyTorch model's images lie: flatten='channels_first' or 'channels_last'"
            checks.fail(
                WHO, "images that come out of convolutions", f"{shape_text(shape)} straight into {layer.who}", fix
            )
        if ours == "channels_last" and layer.data_format == "channels_first":
            checks.fail(WHO, "Flatten of the images' own data_format", repr(layer.data_format))
        gives_last = ours == "channels_last" or layer.data_format == "channels_first"
        if (theirs == "channels_last") == gives_last:
            return None
        return _numbers(shape, ours, theirs)


def _numbers(shape: Shape, ours: str, theirs: str) -> Array:
    """Return for every value of a flattened image, ours in the other order, its number in PyTorch."""
    sizes = [size or 0 for size in shape[1:]]
    if 0 in sizes:
        checks.fail(WHO, "an image of known size", shape_text(shape))
    channels, rest = (sizes[-1], sizes[:-1]) if ours == "channels_last" else (sizes[0], sizes[1:])
    if theirs == "channels_first":
        return np.moveaxis(np.arange(np.prod(sizes)).reshape(channels, *rest), 0, -1).ravel()
    return np.moveaxis(np.arange(np.prod(sizes)).reshape(*rest, channels), -1, 0).ravel()
