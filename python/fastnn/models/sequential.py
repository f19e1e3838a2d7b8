"""Sequential: a model that is a list of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastnn import checks, saving
from fastnn.graph import Node, SymbolicTensor
from fastnn.layers.base import Layer
from fastnn.layers.core import Input, InputLayer
from fastnn.models.base import BaseModel
from fastnn.models.model import Model, Reference
from fastnn.names import Shape, unique_name
from fastnn.structure import Structure
from fastnn.summary import Entry


class Sequential(Model):
    """A stack of layers: each takes the output of the one before.

    Args:
        layers: `fastnn.layers` objects or models, the first of them may be `Input(shape)`; more can be added with `add`.
        name: None makes "sequential", "sequential_1", ...

    Raises:
        ValueError: when built, if a layer does not fit the one before; the error names the layer and both shapes.

    Example:
        >>> import numpy as np
        >>> model = fastnn.Sequential([
        ...     fastnn.layers.Flatten(input_shape=(28, 28)),
        ...     fastnn.layers.Dense(10, activation="softmax"),
        ... ])
        >>> model.count_params()
        7850
        >>> model.predict(np.zeros((2, 28, 28)), verbose=0).shape
        (2, 10)
    """

    def __init__(self, layers: Iterable[Any] | None = None, name: str | None = None) -> None:
        BaseModel.__init__(self, name or unique_name("sequential"))
        if self._is_called():
            checks.fail_type(self.who, "a list of layers", "a class with a call", "derive it from fastnn.Model")
        self._input_tensor: SymbolicTensor | None = None
        if layers is not None and (
            isinstance(layers, (Layer, BaseModel, SymbolicTensor, str)) or not isinstance(layers, Iterable)
        ):
            checks.fail_type(self.who, "a list of layers", checks.describe(layers), "write Sequential([...])")
        for layer in layers or []:
            self._append(layer)
        self._build_if_known()

    # --- structure ---

    def add(self, layer: Any) -> None:
        """Put a layer (or a model) behind the others."""
        self._append(layer)
        self.built = False
        self._build_if_known()

    def _append(self, layer: Any) -> None:
        if isinstance(layer, InputLayer):
            layer = layer.output
        if isinstance(layer, SymbolicTensor):
            if self.layers or self._input_tensor is not None or not isinstance(layer.node.layer, InputLayer):
                checks.fail(self.who, "Input as the first layer only", "another one behind")
            self._input_tensor = layer
            return
        if not isinstance(layer, (Layer, BaseModel)):
            fix = "make an object of the class: Dense(10)" if isinstance(layer, type) else "see fastnn.layers"
            checks.fail_type(self.who, "layers", checks.describe(layer), fix)
        if isinstance(layer, Layer) and layer.takes_list:
            checks.fail(self.who, "layers of one input", repr(layer), "write a graph: fastnn.Model(inputs, outputs)")
        if isinstance(layer, BaseModel) and (len(layer.input_structure), len(layer.output_structure)) != (1, 1):
            checks.fail(self.who, "models of one input and one output", repr(layer), "write a graph: fastnn.Model(...)")
        if any(layer is other or layer.name == other.name for other in self.layers):
            checks.fail(self.who, "layers of different names", f"two named '{layer.name}'", "give name=")
        if not self.layers and self._input_tensor is None:
            self._input_tensor = self._own_input(layer)
        self.layers.append(layer)

    @staticmethod
    def _own_input(layer: Any) -> SymbolicTensor | None:
        """Return an input of the shape that a first layer was made or built for."""
        if isinstance(layer, Layer):
            shape, declared = layer.given_shape or layer.input_shape, layer.given_shape is not None
        else:
            shape = layer.inputs[0].shape if layer.built else None
            declared = layer.built and layer.input_layers[0].declared
        if shape is None:
            return None
        made = InputLayer(shape[1:])
        made.declared = declared
        return made.output

    def pop(self) -> Any:
        """Take the last layer off and return it."""
        if not self.layers:
            checks.fail(self.who, "a layer to pop", "none")
        layer = self.layers.pop()
        self.built = False
        self._build_if_known()
        return layer

    def _build_if_known(self) -> None:
        if self.layers and self._input_tensor is not None:
            self._build()

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Make the parameters of all layers for inputs of a shape.

        Args:
            input_shape: of a batch, the first entry None: (None, 28, 28). None: the one given by Input or the first layer.
        """
        if input_shape is not None:
            shape = self._checked_shape(input_shape)
            if self._input_tensor is None or self._input_tensor.shape != shape:
                self._input_tensor = Input(shape[1:])
            self._input_layer.declared = True
        if self._input_tensor is None:
            checks.fail(self.who, "an input shape", "none", "give build((None, ...)) or an Input layer")
        if not self.layers:
            checks.fail(self.who, "at least one layer", "none", "add layers first")
        self._build()

    def _build(self) -> None:
        """Call layer after layer on what the one before gave, where that has not been done."""
        assert self._input_tensor is not None
        tensor = self._input_tensor
        nodes: list[Node] = []
        for i, layer in enumerate(self.layers):
            before = self._calls[i] if i < len(self._calls) else None
            if before is None or before.layer is not layer or before.inputs != (tensor,):
                node = layer.call_parts([tensor]) if isinstance(layer, BaseModel) else layer(tensor).node
                tensor = node.outputs[0]
            else:
                tensor = before.outputs[0]
            nodes.append(tensor.node)
        self._inputs, self._outputs, self._calls = [self._input_tensor], [tensor], nodes
        self.input_structure = Structure("one", (self._inputs[0].name,))
        self.output_structure = Structure("one", (tensor.name,))
        self._set_graph(self._inputs, nodes)

    def _build_for_call(self, tensors: Sequence[SymbolicTensor]) -> None:
        if not self.built:
            self.build_for_some([tensors[0].shape])

    def _checked_shape(self, input_shape: Any) -> Shape:
        if not isinstance(input_shape, (tuple, list)) or len(input_shape) < 1:
            checks.fail_type(
                self.who, "input_shape of a batch as a tuple", checks.describe(input_shape), "such as (None, 28, 28)"
            )
        return (None, *(None if s is None else checks.integer(self.who, "input_shape", s, 1) for s in input_shape[1:]))

    @property
    def _input_layer(self) -> Any:
        assert self._input_tensor is not None
        return self._input_tensor.node.layer

    @property
    def input_shape(self) -> Shape | None:
        """Shape of the input, None for the batch size; None if it is not known yet."""
        return None if self._input_tensor is None else self._input_tensor.shape

    def wiring(self) -> tuple[list[tuple[Node, list[Reference]]], list[Reference]]:
        return [(node, [(i, 0)]) for i, node in enumerate(self._calls)], [(len(self._calls), 0)]

    def summary_entries(self) -> list[Entry]:
        insides = [tuple(part.summary_entries()) if isinstance(part, BaseModel) else () for part in self.layers]
        return [
            Entry(layer, str(node.shapes[0]), inside=inside)
            for layer, node, inside in zip(self.layers, self._calls, insides)
        ]

    # --- as data ---

    def get_config(self) -> dict[str, Any]:
        """Return the model's architecture as plain data."""
        shape = None if self.input_shape is None else list(self.input_shape)
        config = {
            "name": self.name,
            "input_shape": shape,
            "layers": [saving.layer_data(layer) for layer in self.layers],
        }
        return config if shape is None or self._input_layer.declared else {**config, "declared": False}

    @classmethod
    def read(cls, config: Mapping[str, Any], reader: saving.Reader) -> Sequential:
        """Return a new model whose layers the reader reads."""
        model = cls([reader(item) for item in config["layers"]], name=str(config["name"]))
        if config["input_shape"] is not None and not model.built:
            model.build(config["input_shape"])
        if model.built:
            model._input_layer.declared = checks.boolean("load_model", "declared", config.get("declared", True))
        return model

    def __repr__(self) -> str:
        return f"<{self.who}, {len(self.layers)} layers, {'built' if self.built else 'not built'}>"
