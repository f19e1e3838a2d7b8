"""Model: a model that is a graph of layers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from fastnn import checks, graph, saving
from fastnn.graph import Node, SymbolicTensor
from fastnn.layers.core import Input, InputLayer
from fastnn.models.base import BaseModel
from fastnn.names import snake_case, unique_name
from fastnn.structure import KINDS, Structure
from fastnn.summary import Entry

Reference = tuple[int, int]  # which call of a description, which of its outputs


class Model(BaseModel):
    """All that lies between inputs and outputs: layers called on symbolic tensors.

    A subclass may write `call(self, inputs)` instead: what it computes when it is called on symbolic tensors is the graph.

    Args:
        inputs: what `Input` returned, or a list or dict of such; or another symbolic tensor, to start there.
        outputs: a symbolic tensor, or a list or dict of such, computed from the inputs.
        name: None makes "functional", "functional_1", ...

    Raises:
        TypeError: for what is no symbolic tensor.
        ValueError: if the outputs need other inputs, or two layers have one name.

    Example:
        >>> x = fastnn.Input(shape=(4,))
        >>> h = fastnn.layers.Dense(4, activation="relu")(x)
        >>> y = fastnn.layers.Dense(2)(fastnn.layers.add([x, h]))
        >>> model = fastnn.Model(inputs=x, outputs=y)
        >>> model.count_params()
        30
        >>> import numpy as np
        >>> model.predict(np.ones((3, 4)), verbose=0).shape
        (3, 2)
        >>> class Net(fastnn.Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.hidden, self.out = fastnn.layers.Dense(4, activation="relu"), fastnn.layers.Dense(2)
        ...     def call(self, x):
        ...         return self.out(x + self.hidden(x))
        >>> Net().predict(np.ones((3, 4)), verbose=0).shape
        (3, 2)
    """

    def __init__(self, inputs: Any = None, outputs: Any = None, name: str | None = None) -> None:
        kind = snake_case(type(self).__name__) if self._is_called() else "functional"
        super().__init__(name or unique_name(kind))
        self._places: dict[SymbolicTensor, Reference] = {}
        if inputs is None and outputs is None and self._is_called():
            return  # the graph waits for the inputs' shapes
        if inputs is None or outputs is None:
            checks.fail_type(
                self.who,
                "inputs and outputs",
                "none",
                "write Model(inputs, outputs); for a list of layers Sequential([...]); a subclass may write call(inputs)",
            )
        self._define(inputs, outputs)

    def _define(self, inputs: Any, outputs: Any) -> None:
        """Become what lies between inputs and outputs."""
        given = self._tensors("inputs", inputs)
        self._outputs = self._tensors("outputs", outputs)
        if len(set(given)) < len(given):
            checks.fail(self.who, "inputs that differ", "one of them twice")
        self._inputs = [t if not t.node.inputs else Input(t.shape[1:]) for t in given]
        self.input_structure = _structure(inputs, self._inputs)
        self.output_structure = _structure(outputs, self._outputs)
        self._calls = graph.nodes_between(self.who, given, self._outputs)
        self._places = {tensor: (i, 0) for i, tensor in enumerate(self._inputs)}
        self._places |= {tensor: (i, 0) for i, tensor in enumerate(given)}
        for i, node in enumerate(self._calls, len(given)):
            self._places |= {tensor: (i, tensor.index) for tensor in node.outputs}
        layers = {id(t.node.layer): t.node.layer for t in self._inputs} | {id(n.layer): n.layer for n in self._calls}
        self.layers = list(layers.values())  # type: ignore[arg-type]
        self._set_graph(given, self._calls)

    # --- subclasses with a call ---

    def call(self, inputs: Any) -> Any:
        """Return the outputs for the inputs, symbolic tensors both: what a subclass writes instead of giving inputs and outputs.

        It is called once, when the shapes of the inputs are known; the layers it calls are the model, and from then on steps run as
        those of any other graph. So Python that looks at values, or is to run in every step, has no place in it: write a layer.
        If it has an argument `training`, it may hand that on to layers, but not look at it.
        """
        raise TypeError(checks.message(self.who, "a model class with a call method", type(self).__name__))

    @classmethod
    def _is_called(cls) -> bool:
        return cls.call is not Model.call

    def build(self, input_shape: Any = None) -> None:
        """Make the parameters of a model that has a `call`: its graph for inputs of a shape.

        Args:
            input_shape: of a batch, the first entry None: (None, 28, 28); a list of shapes, or a dict by name, for several inputs.
        """
        if not self._is_called() or self.built:
            return
        several = isinstance(input_shape, (list, Mapping)) and not isinstance(input_shape, tuple)
        if isinstance(input_shape, Mapping):
            inputs: Any = {str(name): Input(self._sample(shape), name=str(name)) for name, shape in input_shape.items()}
        elif several and input_shape and isinstance(input_shape[0], (list, tuple)):
            inputs = [Input(self._sample(shape)) for shape in input_shape]
        else:
            inputs = Input(self._sample(input_shape))
        takes_mode = "training" in inspect.signature(self.call).parameters
        self._define(inputs, self.call(inputs, **({"training": graph.Mode()} if takes_mode else {})))
        if self._scores and len(self._scores) != len(self.output_structure):
            fix = "give build the inputs' shapes before compile"
            checks.fail(self.who, f"losses of {len(self.output_structure)} outputs", len(self._scores), fix)

    def _sample(self, shape: Any) -> tuple[Any, ...]:
        """Return the shape of a sample of that of a batch."""
        if not isinstance(shape, (tuple, list)) or not shape:
            checks.fail_type(
                self.who, "input_shape of a batch as a tuple", checks.describe(shape), "such as (None, 28, 28)"
            )
        return tuple(shape[1:])

    def _build_for_call(self, tensors: Sequence[SymbolicTensor]) -> None:
        if not self.built:
            self.build_for_some([tensor.shape for tensor in tensors])

    # --- inputs and outputs ---

    def _tensors(self, argument: str, value: Any) -> list[SymbolicTensor]:
        several = isinstance(value, (list, tuple, Mapping))
        values = list(value.values()) if isinstance(value, Mapping) else list(value) if several else [value]
        if not values:
            checks.fail(self.who, f"at least one of {argument}", "none")
        return graph.tensors_of(self.who, argument, values)

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs, in order: the keys of a dict of arrays."""
        return list(self.input_structure.names)

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs, in order: what logs and dicts of losses call them."""
        return list(self.output_structure.names)

    @property
    def input_shape(self) -> Any:
        """Shape of the input (or list or dict of them), None for the batch size."""
        return self.input_structure.whole([tensor.shape for tensor in self.inputs])

    # --- summary ---

    def wiring(self) -> tuple[list[tuple[Node, list[Reference]]], list[Reference]]:
        """Return the calls with what each was called on, and the outputs: numbers of a call, inputs first, and of its output."""
        calls = [(node, [self._places[tensor] for tensor in node.inputs]) for node in self._calls]
        return calls, [self._places[tensor] for tensor in self._outputs]

    def summary_entries(self) -> list[Entry]:
        nodes = [*(tensor.node for tensor in self._inputs), *self._calls]
        sources = [[self._places[tensor] for tensor in node.inputs] for node in nodes]
        chain = len(self._inputs) == 1 and all(given == [(i - 1, 0)] for i, given in enumerate(sources) if i)
        times: dict[int, int] = {}
        labels: list[str] = []
        entries: list[Entry] = []
        for node, given in zip(nodes, sources):
            time = times[id(node.layer)] = times.get(id(node.layer), -1) + 1
            labels.append(f"{node.layer.name}[{time}]")
            connected = "" if chain else ", ".join(f"{labels[call]}[{output}]" for call, output in given)
            shapes = ", ".join(str(shape) for shape in node.shapes)
            inside = tuple(node.layer.summary_entries()) if isinstance(node.layer, BaseModel) else ()
            entries.append(Entry(node.layer, shapes, time > 0, connected, inside))
        return entries

    # --- as data ---

    def get_config(self) -> dict[str, Any]:
        """Return the model's architecture as plain data: its layers, the calls of them, its inputs and outputs."""
        nodes = [*(tensor.node for tensor in self._inputs), *self._calls]
        return {
            "name": self.name,
            "layers": [saving.layer_data(layer) for layer in self.layers],
            "calls": [
                {
                    "layer": node.layer.name,
                    "inputs": [list(self._places[tensor]) for tensor in node.inputs],
                    **({"training": False} if node.inference else {}),
                }
                for node in nodes
            ],
            "inputs": self._structure_data(self.input_structure, self._inputs),
            "outputs": self._structure_data(self.output_structure, self._outputs),
        }

    def _structure_data(self, structure: Structure, tensors: Sequence[SymbolicTensor]) -> dict[str, Any]:
        places = [list(self._places[tensor]) for tensor in tensors]
        return {"kind": structure.kind, "names": list(structure.names), "tensors": places}

    @classmethod
    def read(cls, config: Mapping[str, Any], reader: saving.Reader) -> Model:
        """Return a new model whose layers the reader reads."""
        if cls._is_called():
            return cls(**config)
        layers = {layer.name: layer for layer in map(reader, config["layers"])}
        made: list[list[SymbolicTensor]] = []
        for call in config["calls"]:
            layer = layers[checks.one_of("load_model", "layer", call["layer"], list(layers))]
            given = [_made(made, place) for place in call["inputs"]]
            made.append(_called(layer, given, graph.is_inference("load_model", call.get("training"))))
        inputs, outputs = (_tensors_from(config[key], made) for key in ("inputs", "outputs"))
        return cls(inputs, outputs, name=str(config["name"]))

    def __repr__(self) -> str:
        return f"<{self.who}, {len(self.layers)} layers>"


def _structure(value: Any, tensors: Sequence[SymbolicTensor]) -> Structure:
    """Return how tensors, given as this value, are given, and their names, each different."""
    if isinstance(value, Mapping):
        return Structure("dict", tuple(str(key) for key in value))
    names: list[str] = []
    for tensor in tensors:
        name, count = tensor.name, 0
        while name in names:
            count += 1
            name = f"{tensor.name}_{count}"
        names.append(name)
    return Structure("list" if len(names) > 1 else "one", tuple(names))  # a list of one is one thing


def _made(made: Sequence[Sequence[SymbolicTensor]], place: Any) -> SymbolicTensor:
    """Return an output of a call that was described before."""
    if not isinstance(place, (list, tuple)) or len(place) != 2:
        checks.fail("load_model", "a tensor as [call, output]", checks.describe(place))
    call, output = place
    return made[checks.integer("load_model", "call", call, 0)][checks.integer("load_model", "output", output, 0)]


def _called(layer: Any, given: list[SymbolicTensor], inference: bool) -> list[SymbolicTensor]:
    """Return the outputs of a layer or model called on tensors; `inference`: with training=False."""
    if isinstance(layer, InputLayer):
        if given:
            checks.fail("load_model", "input layers that are called on nothing", f"{len(given)} inputs")
        return [layer.output]
    if isinstance(layer, BaseModel):
        node: Node = layer.call_parts(given, inference)
        return node.outputs
    if not layer.takes_list and len(given) != 1:
        checks.fail("load_model", f"one input of {layer.who}", len(given))
    return [layer.call_symbolic(given if layer.takes_list else given[0], inference)]


def _tensors_from(data: Mapping[str, Any], made: Sequence[Sequence[SymbolicTensor]]) -> Any:
    """Return inputs or outputs as they were given."""
    kind = checks.one_of("load_model", "kind", data["kind"], KINDS)
    tensors = [_made(made, place) for place in data["tensors"]]
    names = [str(name) for name in list(data["names"])]
    if not tensors or len(names) != len(tensors) or len(set(names)) != len(names) or (kind == "one" and len(names) > 1):
        checks.fail("load_model", "one different name per tensor", f"{len(names)} names, {len(tensors)} tensors")
    return Structure(kind, tuple(names)).whole(tensors)
