"""Symbolic tensors: what calling a layer on `Input` gives, and the graph of calls that a `Model` is made of.

A tensor knows the node that made it, a node its layer and the tensors it was called on. Layers know their nodes only weakly: the
graph lives as long as somebody holds one of its tensors or a model made of it.
"""

from __future__ import annotations

import itertools
import numbers
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn, Protocol

from fastnn import checks
from fastnn.names import Shape, shape_text


class Callee(Protocol):
    """What can be called on symbolic tensors: a layer or a model."""

    name: str
    nodes: list[weakref.ref[Node]]


_serials = itertools.count()
# What +, - and * of two tensors call, and "scale", a x + b with numbers; filled by fastnn.layers.
OPERATORS: dict[str, Callable[..., Any]] = {}


class Node:
    """One call of a layer or model on symbolic tensors.

    Args:
        layer: that was called.
        inputs: what it was called on; none for an input layer.
        shapes: of its outputs, None for the batch size.
        inference: it computes what it does in inference, while the model that it becomes a part of is trained, too.
    """

    def __init__(
        self, layer: Callee, inputs: Sequence[SymbolicTensor], shapes: Iterable[Shape], inference: bool = False
    ) -> None:
        self.layer = layer
        self.inference = inference
        self.inputs = tuple(inputs)
        self.shapes = tuple(tuple(shape) for shape in shapes)
        self.serial = next(_serials)  # a node is made after those it depends on
        layer.nodes[:] = [*(ref for ref in layer.nodes if ref() is not None), weakref.ref(self)]

    @property
    def outputs(self) -> list[SymbolicTensor]:
        """The tensors this call gave."""
        return [SymbolicTensor(self, i) for i in range(len(self.shapes))]


class SymbolicTensor:
    """The output of a layer for inputs that are not there yet: a shape, and how it is computed.

    `Input` makes the first ones, calling layers on them the others; `fastnn.Model(inputs, outputs)` turns them into a model.

    Args:
        node: the call that gives it.
        index: which of the call's outputs it is.
    """

    def __init__(self, node: Node, index: int) -> None:
        self.node = node
        self.index = index

    @property
    def shape(self) -> Shape:
        """Shape of a batch: the first entry, the batch size, is None."""
        return self.node.shapes[self.index]

    @property
    def ndim(self) -> int:
        """Number of axes, that of the samples included."""
        return len(self.shape)

    @property
    def dtype(self) -> str:
        """Always "float32"."""
        return "float32"

    @property
    def name(self) -> str:
        """The name of the layer that makes it, with a number behind if it made others before."""
        return f"{self.node.layer.name}_{self.index}" if self.index else self.node.layer.name

    def __add__(self, other: Any) -> Any:
        return self._scaled(1, other) if isinstance(other, numbers.Real) else self._combined("add", other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._scaled(1, -other) if isinstance(other, numbers.Real) else self._combined("subtract", other)

    def __rsub__(self, other: Any) -> Any:
        return self._scaled(-1, other) if isinstance(other, numbers.Real) else NotImplemented

    def __mul__(self, other: Any) -> Any:
        return self._scaled(other, 0) if isinstance(other, numbers.Real) else self._combined("multiply", other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return self._scaled(1 / other, 0) if isinstance(other, numbers.Real) else NotImplemented

    def __neg__(self) -> Any:
        return self._scaled(-1, 0)

    def _scaled(self, scale: Any, offset: Any) -> Any:
        return OPERATORS["scale"](float(scale), float(offset))(self)

    def _combined(self, operator: str, other: Any) -> Any:
        return OPERATORS[operator]([self, other]) if isinstance(other, SymbolicTensor) else NotImplemented

    def __bool__(self) -> bool:
        self._has_no_values()

    def __array__(self, *args: Any, **options: Any) -> Any:
        self._has_no_values()

    def _has_no_values(self) -> NoReturn:
        fix = "let layers compute with it, and decide by its shape only"
        checks.fail_type(f"tensor '{self.name}'", "an array of numbers", "a symbolic tensor, which has none yet", fix)

    __array_ufunc__ = None  # so that an array does not take the tensor for a number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SymbolicTensor) and self.node is other.node and self.index == other.index

    def __hash__(self) -> int:
        return hash((id(self.node), self.index))

    def __repr__(self) -> str:
        return f"<SymbolicTensor '{self.name}' {shape_text(self.shape)}>"


FEW = 64  # a list that holds tensors is no longer than that; a list of samples may be


def is_symbolic(x: Any) -> bool:
    """Return whether x is a symbolic tensor, or a list or dict with one in it."""
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, (list, tuple)):
        return any(isinstance(t, SymbolicTensor) for t in x[:FEW])
    return isinstance(x, SymbolicTensor)


class Mode:
    """What the `call` of a model is given as `training`: layers may be given it, as Keras's examples do. It is not known yet."""

    def __bool__(self) -> bool:
        fix = "the layers know by themselves: write self.dropout(x), or self.dropout(x, training=training)"
        checks.fail_type("call", "no question whether this is training, as it runs once, for both", "one", fix)


def is_inference(who: str, training: bool | Mode | None) -> bool:
    """Return whether a call on symbolic tensors always runs as in inference; else the model that it becomes a part of says."""
    if is_symbolic(training):
        checks.fail_type(who, "its inputs as one argument", "two", "write layer([a, b])")
    if training is None or isinstance(training, Mode):
        return False
    if checks.boolean(who, "training", training):
        fix = "fit and train_on_batch run it in training, predict does not"
        checks.fail(who, "training=None or False for symbolic tensors", training, fix)
    return True


def tensors_of(who: str, argument: str, values: Iterable[Any]) -> list[SymbolicTensor]:
    """Return the values, after checking that they are symbolic tensors."""
    result = list(values)
    for value in result:
        if not isinstance(value, SymbolicTensor):
            checks.fail_type(
                who,
                f"{argument} to be symbolic tensors",
                checks.describe(value),
                "they come from fastnn.Input(shape=...) and from calling layers on them",
            )
    return result


def first_node(who: str, nodes: Sequence[weakref.ref[Node]]) -> Node:
    """Return the first call there was, of those whose outputs are still in use."""
    for ref in nodes:
        node = ref()
        if node is not None:
            return node
    checks.fail(
        who,
        "a layer that was called on a symbolic tensor",
        "no such call",
        "call it on fastnn.Input(...) or build its model",
    )


def nodes_between(who: str, inputs: Sequence[SymbolicTensor], outputs: Sequence[SymbolicTensor]) -> list[Node]:
    """Return the calls that lead from the inputs to the outputs, each after those it depends on."""
    known, found = set(inputs), {}
    waiting = list(outputs)
    while waiting:
        tensor = waiting.pop()
        if tensor in known or tensor.node.serial in found:
            continue
        node = tensor.node
        if not node.inputs:
            checks.fail(
                who,
                "inputs from which the outputs can be computed",
                f"outputs that also need '{tensor.name}'",
                "put it among the inputs",
            )
        found[node.serial] = node
        waiting += node.inputs
    return [found[serial] for serial in sorted(found)]
