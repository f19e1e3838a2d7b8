"""Calls of a plan that one kernel makes together: batch normalization, the sum with a shortcut, and the relu behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastnn.checks import Float32
from fastnn.layers.activation import Activation, ReLU
from fastnn.layers.merging import Add
from fastnn.layers.normalization import BatchNormalization
from fastnn.recordable import is_recordable

if TYPE_CHECKING:
    from fastnn.plan import Call


@dataclass(frozen=True)
class Chain:
    """relu(batch_normalization(x) + residual): the places of its calls in the plan, and the values that it reads and makes.

    Args:
        calls: of the normalization, of the sum if there is one, of the relu.
        x: the value that is normalized.
        residual: the value that is added; None: there is no sum.
        output: the value that the relu makes.
    """

    calls: tuple[int, ...]
    x: int
    residual: int | None
    output: int

    @property
    def inputs(self) -> tuple[int, ...]:
        """The values that it reads."""
        return (self.x,) if self.residual is None else (self.x, self.residual)

    def fits(self, values: Sequence[Any]) -> bool:
        """Return whether the values have the same shape: smaller ones are repeated by the sum."""
        return len({values[v].shape for v in self.inputs}) == 1

    def forward(self, layer: Any, values: Sequence[Any], training: bool) -> Float32:
        """Return its output; the layer is the normalization."""
        residual = None if self.residual is None else values[self.residual]
        result: Float32 = layer.forward_relu(values[self.x], residual, training)
        return result

    def backward(self, layer: Any, dy: Float32, wanted: Sequence[bool]) -> Sequence[Float32 | None]:
        """Return the gradients of `inputs`; that of the residual where it is wanted."""
        dx, dresidual = layer.backward_relu(dy, self.residual is not None and wanted[self.residual])
        return dx, dresidual


def find(calls: Sequence[Call], outputs: Sequence[int]) -> list[Chain]:
    """Return the chains of a plan, whose intermediate values nobody else reads.

    The classes are known exactly: what a subclass of the user's changes is not seen here.
    """
    readers: dict[int, list[int]] = {}
    for i, call in enumerate(calls):
        for value in call.inputs:
            readers.setdefault(value, []).append(i)
    maker = {call.output: i for i, call in enumerate(calls)}
    called = Counter(id(call.layer) for call in calls)

    def only_reader(i: int) -> int | None:
        """Return the call that alone reads what call i makes."""
        value = calls[i].output
        found = readers.get(value, [])
        return found[0] if len(found) == 1 and value not in outputs else None

    chains: list[Chain] = []
    for i, call in enumerate(calls):
        if type(call.layer) is not BatchNormalization:
            continue
        places, residual, j = [i], None, only_reader(i)
        if j is not None and type(calls[j].layer) is Add and len(calls[j].inputs) == 2:
            residual = next(value for value in calls[j].inputs if value != call.output)
            if maker.get(residual, -1) > i:
                continue  # not there yet when this one is normalized
            places.append(j)
            j = only_reader(j)
        if j is None or type(calls[j].layer) not in (ReLU, Activation):
            continue
        places.append(j)
        if any(called[id(calls[p].layer)] > 1 for p in places):
            continue
        chains.append(Chain(tuple(places), call.inputs[0], residual, calls[j].output))
    return chains


def holds(chain: Chain, calls: Sequence[Call]) -> bool:
    """Return whether the layers of a chain are as `find` took them to be: their settings may change between two steps."""
    layers = [calls[p].layer for p in chain.calls]
    first, last = layers[0], layers[-1]
    if not (isinstance(first, BatchNormalization) and isinstance(last, Activation)):
        return False
    if any(layer.activity_regularizer is not None for layer in layers):
        return False  # it is about a value that is not made
    if first.input_shape is None or first.axis not in (-1, len(first.input_shape) - 1):
        return False
    return last.effective().kind == "relu" and all(is_recordable(part) for part in (*layers, last.effective()))
