"""Calls of a plan that one kernel makes together.

Batch normalization, the sum with a shortcut, and the relu behind them; a convolution and the max pooling behind it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastnn.checks import Float32
from fastnn.layers.activation import Activation, ReLU
from fastnn.layers.convolution import Conv1D, Conv2D, Convolution
from fastnn.layers.merging import Add
from fastnn.layers.normalization import BatchNormalization
from fastnn.layers.pooling import MaxPooling, MaxPooling1D, MaxPooling2D
from fastnn.recordable import is_recordable

if TYPE_CHECKING:
    from fastnn.plan import Call

POOLINGS: dict[type, type] = {Conv1D: MaxPooling1D, Conv2D: MaxPooling2D}  # that end a chain, by the convolution
MOST_POOLED = 256  # values of a window: its places fit into a byte


@dataclass(frozen=True)
class Chain:
    """The places of its calls in the plan, and the values that it reads and makes. Not for use by itself.

    Args:
        calls: in order.
        x: the value that the first one reads.
        output: the value that the last one makes.
    """

    calls: tuple[int, ...]
    x: int
    output: int

    @property
    def inputs(self) -> tuple[int, ...]:
        """The values that it reads."""
        return (self.x,)

    @property
    def adds_gradients(self) -> bool:
        """Whether the gradient of its output may come in two parts."""
        return False

    def holds(self, calls: Sequence[Call]) -> bool:
        """Return whether its layers are as `find` took them to be: their settings may change between two steps."""
        layers = [calls[p].layer for p in self.calls]
        if any(layer.activity_regularizer is not None for layer in layers):
            return False  # it is about a value that is not made
        return all(is_recordable(layer) for layer in layers) and self._fit(layers)

    def _fit(self, layers: Sequence[Any]) -> bool:
        """Return whether the settings of its layers are those that its kernels know."""
        raise NotImplementedError

    def fits(self, values: Sequence[Any]) -> bool:
        """Return whether the values that it reads are such that its kernels take them."""
        return True

    def forward(self, calls: Sequence[Call], values: Sequence[Any], training: bool) -> Float32:
        """Return its output."""
        raise NotImplementedError

    def backward(
        self, calls: Sequence[Call], dy: Float32, wanted: Sequence[bool], more: Float32 | None = None
    ) -> Sequence[Float32 | None]:
        """Return the gradients of `inputs`, at least where they are wanted. more: the second part of dy, if it has two."""
        raise NotImplementedError


@dataclass(frozen=True)
class NormalizationChain(Chain):
    """relu(batch_normalization(x) + residual).

    Args:
        calls: of the normalization, of the sum if there is one, of the relu.
        residual: the value that is added; None: there is no sum.
    """

    residual: int | None = None

    @property
    def inputs(self) -> tuple[int, ...]:
        return (self.x,) if self.residual is None else (self.x, self.residual)

    def _fit(self, layers: Sequence[Any]) -> bool:
        first, last = layers[0], layers[-1]
        if first.input_shape is None or first.axis not in (-1, len(first.input_shape) - 1):
            return False
        return last.effective().kind == "relu" and is_recordable(last.effective())

    def fits(self, values: Sequence[Any]) -> bool:
        return len({values[v].shape for v in self.inputs}) == 1  # smaller ones are repeated by the sum

    def forward(self, calls: Sequence[Call], values: Sequence[Any], training: bool) -> Float32:
        residual, layer = None if self.residual is None else values[self.residual], calls[self.calls[0]].layer
        assert isinstance(layer, BatchNormalization)  # `find` has looked
        return layer.forward_relu(values[self.x], residual, training)

    @property
    def adds_gradients(self) -> bool:
        return True

    def backward(
        self, calls: Sequence[Call], dy: Float32, wanted: Sequence[bool], more: Float32 | None = None
    ) -> Sequence[Float32 | None]:
        layer = calls[self.calls[0]].layer
        assert isinstance(layer, BatchNormalization)  # `find` has looked
        return layer.backward_relu(dy, self.residual is not None and wanted[self.residual], more)


@dataclass(frozen=True)
class PooledChain(Chain):
    """max_pooling(f(convolution(x) + bias)): the calls of the convolution and of the pooling."""

    def window(self, calls: Sequence[Call]) -> int:
        """Return how many values a window has."""
        pooling = calls[self.calls[1]].layer
        assert isinstance(pooling, MaxPooling)  # `find` has looked
        return math.prod(pooling.pool_size)

    def _fit(self, layers: Sequence[Any]) -> bool:
        convolution, pooling = layers
        if convolution.data_format != "channels_last" or pooling.data_format != "channels_last":
            return False
        if pooling.padding != "valid" or pooling.strides != pooling.pool_size:
            return False  # windows do not lie side by side
        return math.prod(pooling.pool_size) <= MOST_POOLED and bool(convolution.effective().fusable)

    def forward(self, calls: Sequence[Call], values: Sequence[Any], training: bool) -> Float32:
        layer, pooling = (calls[p].layer for p in self.calls)
        assert isinstance(layer, Convolution)  # `find` has looked
        assert isinstance(pooling, MaxPooling)
        return layer.forward_pooled(values[self.x], pooling.pool_size, training)

    def backward(
        self, calls: Sequence[Call], dy: Float32, wanted: Sequence[bool], more: Float32 | None = None
    ) -> Sequence[Float32 | None]:
        layer = calls[self.calls[0]].layer
        assert isinstance(layer, Convolution)  # `find` has looked
        return (layer.backward_pooled(dy),)


class _Readers:
    """Who reads what the calls of a plan make."""

    def __init__(self, calls: Sequence[Call], outputs: Sequence[int]) -> None:
        self.calls, self._outputs = calls, outputs
        self._readers: dict[int, list[int]] = {}
        for i, call in enumerate(calls):
            for value in call.inputs:
                self._readers.setdefault(value, []).append(i)
        self.maker = {call.output: i for i, call in enumerate(calls)}
        self._called = Counter(id(call.layer) for call in calls)

    def only(self, i: int) -> int | None:
        """Return the call that alone reads what call i makes."""
        value = self.calls[i].output
        found = self._readers.get(value, [])
        return found[0] if len(found) == 1 and value not in self._outputs else None

    def once(self, places: Sequence[int]) -> bool:
        """Return whether none of the layers of these calls is called anywhere else."""
        return all(self._called[id(self.calls[p].layer)] == 1 for p in places)


def find(calls: Sequence[Call], outputs: Sequence[int]) -> list[Chain]:
    """Return the chains of a plan, whose intermediate values nobody else reads.

    The classes are known exactly: what a subclass of the user's changes is not seen here.
    """
    readers = _Readers(calls, outputs)
    chains: list[Chain] = []
    for i, call in enumerate(calls):
        chain: Chain | None = None
        if type(call.layer) is BatchNormalization:
            chain = _normalization(i, readers)
        elif type(call.layer) in POOLINGS:
            chain = _pooled(i, readers)
        if chain is not None and readers.once(chain.calls):
            chains.append(chain)
    return chains


def _normalization(i: int, readers: _Readers) -> Chain | None:
    """Return the chain that begins with the normalization of call i."""
    calls = readers.calls
    places, residual, j = [i], None, readers.only(i)
    if j is not None and type(calls[j].layer) is Add and len(calls[j].inputs) == 2:
        residual = next(value for value in calls[j].inputs if value != calls[i].output)
        if readers.maker.get(residual, -1) > i:
            return None  # not there yet when this one is normalized
        places.append(j)
        j = readers.only(j)
    if j is None or type(calls[j].layer) not in (ReLU, Activation):
        return None
    return NormalizationChain((*places, j), calls[i].inputs[0], calls[j].output, residual)


def _pooled(i: int, readers: _Readers) -> Chain | None:
    """Return the chain that begins with the convolution of call i."""
    calls, j = readers.calls, readers.only(i)
    if j is None or type(calls[j].layer) is not POOLINGS[type(calls[i].layer)]:
        return None
    return PooledChain((i, j), calls[i].inputs[0], calls[j].output)
