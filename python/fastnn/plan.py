"""The calls of a model's layers in order, run forward and backward.

Models inside of the model are laid open: a plan has layers only. A layer that is called several times keeps what forward leaves
for backward per call, and its gradients add up; so do those of a tensor that several calls read.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastnn import chains, checks, ops
from fastnn.chains import Chain
from fastnn.checks import Float32
from fastnn.custom import is_own
from fastnn.graph import Node, SymbolicTensor
from fastnn.layers.base import Layer
from fastnn.layers.core import ActivatedLayer
from fastnn.names import Shape
from fastnn.order import side_by_side
from fastnn.recordable import keeps_step
from fastnn.regularizers import Total


@dataclass(frozen=True)
class Call:
    """A call of a layer: the numbers of the values that it reads (`last`: nothing does later) and of the one it makes.

    `inference`: it computes what it does in inference, in training, too.
    """

    layer: Layer
    inputs: tuple[int, ...]
    output: int
    last: tuple[int, ...] = ()
    inference: bool = False

    def given(self, values: Sequence[Any]) -> Any:
        """Return what the layer takes: one value, or a list."""
        return [values[i] for i in self.inputs] if self.layer.takes_list else values[self.inputs[0]]


class Plan:
    """The calls between the inputs and the outputs of a model.

    Args:
        inputs: the numbers of the values that are given.
        outputs: of those that are wanted.
        calls: in an order in which they can be made; `side_by_side` decides about it.
        size: how many values there are.
    """

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int], calls: Sequence[Call], size: int) -> None:
        self.inputs, self.outputs, self.size = tuple(inputs), tuple(outputs), size
        calls = side_by_side(calls)
        last_reader = {value: i for i, call in enumerate(calls) for value in call.inputs}
        self.calls = [
            replace(c, last=tuple({v for v in c.inputs if last_reader[v] == i} - set(outputs)))
            for i, c in enumerate(calls)
        ]
        maker = {call.output: i for i, call in enumerate(calls)}
        first_reader = {value: i for i, call in reversed(list(enumerate(calls))) for value in call.inputs}
        self._reads = Counter(value for call in calls for value in call.inputs)
        # By call of one input: the call that makes it, if nobody else reads it before.
        self._below = {
            i: maker[call.inputs[0]]
            for i, call in enumerate(calls)
            if len(call.inputs) == 1 and call.inputs[0] in maker and first_reader[call.inputs[0]] == i
            if call.inputs[0] not in outputs
        }
        layers = [id(call.layer) for call in calls]
        self._shared = {layer for layer, count in Counter(layers).items() if count > 1}
        self._kept: dict[int, dict[str, Any]] = {}  # what shared layers left for backward, by call
        self._chains = chains.find(self.calls, outputs)
        self._chained: dict[int, Chain] = {}  # those that the last forward pass in training made, by their last call
        self.total: Total | None = None  # where penalties are added up while a step is scored
        self._active: dict[int, Float32] = {}  # outputs that are penalized, for backward, by call
        self.output_masks: list[Float32 | None] = []  # of the outputs, while a step is scored
        self._told_unmasked: set[str] = set()  # layers at which a mask was said to end
        self.activity_losses: dict[int, float] = {}  # their penalties in the last pass that was called by hand, by call

    @classmethod
    def of(cls, inputs: Sequence[SymbolicTensor], outputs: Sequence[SymbolicTensor], nodes: Sequence[Node]) -> Plan:
        """Return the plan of a graph: of its inputs, its outputs and the calls between them."""
        values = {tensor: i for i, tensor in enumerate(inputs)}
        calls: list[Call] = []
        size = len(inputs)
        for node in nodes:
            given = [values[tensor] for tensor in node.inputs]
            if isinstance(node.layer, Layer):
                made = [size]
                calls.append(Call(node.layer, tuple(given), size, inference=node.inference))
                size += 1
            else:
                inner: Plan = node.layer.plan  # type: ignore[attr-defined]
                made, size = inner._laid_open(calls, given, size, node.inference)
            values |= {tensor: made[tensor.index] for tensor in node.outputs}
        return cls([values[t] for t in inputs], [values[t] for t in outputs], calls, size)

    def _laid_open(self, calls: list[Call], given: Sequence[int], size: int, inference: bool) -> tuple[list[int], int]:
        """Append these calls to others, on given values; return the numbers of the outputs there, and of all values."""
        place = dict(zip(self.inputs, given))
        for call in self.as_written():
            place[call.output] = size
            read, inferred = tuple(place[v] for v in call.inputs), inference or call.inference
            calls.append(Call(call.layer, read, size, inference=inferred))
            size += 1
        return [place[v] for v in self.outputs], size

    def as_written(self) -> list[Call]:
        """Return the calls in the order in which they were written down, that of the layers and their parameters."""
        return sorted(self.calls, key=lambda call: call.output)

    def check_values(self, inputs: Sequence[Any]) -> None:
        """Let every layer that reads an input look at its values."""
        for call in self.calls:
            for value, x in zip(self.inputs, inputs):
                if value in call.inputs:
                    call.layer.check_values(x)

    def held_chains(self) -> list[Chain]:
        """Return the calls that one kernel makes together, with the settings of their layers as they are now."""
        return [chain for chain in self._chains if chain.holds(self.calls)]

    def is_shared(self, layer: Layer) -> bool:
        """Return whether a layer is called several times."""
        return id(layer) in self._shared

    def last_layer(self, output: int) -> Layer | None:
        """Return the layer that makes an output, if nothing else reads it and the layer is called only there."""
        value = self.outputs[output]
        made = [call for call in self.calls if call.output == value]
        read = any(value in call.inputs for call in self.calls) or self.outputs.count(value) > 1
        return made[0].layer if made and not read and id(made[0].layer) not in self._shared else None

    def output_shapes(self, input_shapes: Sequence[Shape], check: bool = False) -> list[Shape]:
        """Return the shapes of the outputs for those of the inputs; `check` lets every layer look at its own."""
        shapes = self.shapes(input_shapes, check)
        return [shapes[value] for value in self.outputs]

    def shapes(self, input_shapes: Sequence[Shape], check: bool = False) -> list[Shape]:
        """Return the shapes of all values for those of the inputs."""
        shapes: list[Any] = [None] * self.size
        for value, shape in zip(self.inputs, input_shapes):
            shapes[value] = tuple(shape)
        for call in self.calls:
            given = call.given(shapes)
            if check:
                call.layer.check_shape(given)
            shapes[call.output] = call.layer.compute_output_shape(given)
        return shapes

    def forward(self, inputs: Sequence[Float32], training: bool) -> list[Float32]:
        """Return the outputs; with training=True remember what `backward` needs."""
        values: list[Any] = [None] * self.size
        for value, x in zip(self.inputs, inputs):
            values[value] = x
        recording, masks = ops.recording(), dict[int, Float32]()
        starts = {chain.calls[0]: chain for chain in self.held_chains()}
        chained: dict[int, Chain] = {}
        made = set[int]()  # the other calls of chains
        for i, call in enumerate(self.calls):
            layer = call.layer
            if recording:
                ops.label(layer.name, "forward")
            chain = starts.get(i)
            if masks or layer.input_mask is not None:  # an error may have left one there
                layer.input_mask = self._mask_for(call, masks)
            if chain is not None and not masks and chain.fits(values):
                with _inference(call):
                    values[chain.output] = chain.forward(self.calls, values, training)
                chained[chain.calls[-1]] = chain
                made.update(chain.calls)
            elif i not in made:
                with _inference(call):
                    values[call.output] = _forward(layer, call.given(values), training)
            if layer.activity_regularizer is not None and i not in made:
                self._penalize_output(i, values[call.output], training)
            if training and id(layer) in self._shared:
                self._kept[i] = layer.keep()
            mask = layer.input_mask if layer.output_mask is None else layer.output_mask
            layer.input_mask = layer.output_mask = None
            if mask is not None:
                masks[call.output] = mask
            for value in call.last:
                values[value] = None  # while a step is recorded, later calls get its memory
                masks.pop(value, None)
        self.output_masks = [] if self.total is None else [masks.get(value) for value in self.outputs]
        if training:
            self._chained = chained
        return [values[value] for value in self.outputs]

    def backward(self, gradients: Sequence[Float32], input_gradients: bool) -> list[Float32 | None]:
        """Write the gradients of all parameters, given those of the outputs; return those of the inputs, or None for each.

        Those of the penalties are part of them: of `Model.losses`.

        Nothing is done where no parameter that learns, and no input whose gradient is wanted, lies before.
        """
        found: list[Float32 | None] = [None] * self.size
        for value, gradient in zip(self.outputs, gradients):
            found[value] = _sum(found[value], gradient)
        wanted, recording, called = self.wanted(input_gradients), ops.recording(), set[int]()
        second: dict[int, Float32] = {}  # parts of gradients that their chain adds to the first one itself
        adding = {chain.output for chain in self._chained.values() if chain.adds_gradients}
        slopes_taken = set[int]()  # calls whose relu's derivative is in dy already
        for i in reversed(range(len(self.calls))):
            call = self.calls[i]
            dy, found[call.output] = found[call.output], None
            if dy is None or not wanted[call.output]:
                continue
            chain = self._chained.get(i)
            first = i if chain is None else chain.calls[0]
            layer, inputs = self.calls[first].layer, call.inputs if chain is None else chain.inputs
            need_dx = any(wanted[v] for v in inputs)
            take_slope = need_dx and self._leaves_slope(first, chain)
            onto = self._gathered(inputs[0], found, second) if need_dx and chain is None and _adds(layer) else None
            if recording:
                ops.label(layer.name, "backward")
            if take_slope:
                slopes_taken.add(self._below[first])
            if i in self._active:
                dy = self._penalized(i, dy)
            with _inference(call), _asked(layer, need_dx, take_slope, i in slopes_taken, onto):
                if chain is None:
                    dx = self._call_backward(i, dy, id(layer) in called)
                else:
                    dx = chain.backward(self.calls, dy, wanted, second.pop(chain.output, None))
            called.add(id(layer))
            for value, part in zip(inputs, dx):
                if not wanted[value] or part is None:
                    continue
                if value in adding and found[value] is not None:
                    if value in second:
                        found[value] = _sum(found[value], second[value])
                    second[value] = part
                else:
                    found[value] = _sum(found[value], part)
                del part
            del dy, dx, onto
            if recording:
                layer.forget()  # so that later calls of the recording may use its buffers
        self.penalize_weights(lambda layer: id(layer) in called)
        return [found[value] for value in self.inputs]

    def _mask_for(self, call: Call, masks: dict[int, Float32]) -> Float32 | None:
        """Return the mask of what a call reads: of several, where any of them has something. Say where a mask ends."""
        found = [masks[value] for value in call.inputs if value in masks]
        if not found:
            return None
        layer = call.layer
        if not layer.supports_masking:
            if layer.name not in self._told_unmasked:
                self._told_unmasked.add(layer.name)
                checks.warn(f"{layer.who} does not support masks: what comes after it sees all values")
            return None
        if len(found) < len(call.inputs) or any(mask.shape != found[0].shape for mask in found):
            return None
        return found[0] if len(found) == 1 else ops.maximum(*found)

    def penalize_weights(self, reached: Callable[[Layer], bool] | None = None) -> None:
        """Add the penalties of parameters to the total, and their gradients to those of the layers that were reached, if given."""
        for layer in {id(call.layer): call.layer for call in self.calls}.values():
            for p in layer.trainable_weights:
                if p.regularizer is None:
                    continue
                ops.label(layer.name, "backward" if reached else "forward")
                learns = reached is not None and reached(layer)
                p.regularizer.add_to(p.value, total=self.total, dy=p.grad, out=p.grad, need_gradient=learns)

    def _penalize_output(self, i: int, y: Float32, training: bool) -> None:
        """Add the penalty of call i's output to the total, and keep the output for backward."""
        regularizer, scale = self.calls[i].layer.activity_regularizer, 1 / max(len(y), 1)
        assert regularizer is not None  # the caller has looked
        if self.total is not None:
            regularizer.add_to(y, scale=scale, total=self.total)
        elif not ops.recording():
            self.activity_losses[i] = scale * regularizer(y)
        if training:
            self._active[i] = y

    def _penalized(self, i: int, dy: Float32) -> Float32:
        """Return the gradient of call i's output with that of its penalty."""
        y, regularizer = self._active.pop(i), self.calls[i].layer.activity_regularizer
        if regularizer is None:
            return dy
        dy = ops.as_float32(self.calls[i].layer.who, "dy", dy)
        both = regularizer.add_to(y, scale=1 / max(len(y), 1), dy=dy.reshape(y.shape), need_gradient=True)
        assert both is not None  # it was asked for
        return both

    def wanted(self, input_gradients: bool) -> list[bool]:
        """Return for every value whether its gradient is needed."""
        wanted = [False] * self.size
        for value in self.inputs:
            wanted[value] = input_gradients
        for call in self.calls:
            wanted[call.output] = any(wanted[v] for v in call.inputs) or bool(call.layer.trainable_weights)
        return wanted

    def _gathered(self, value: int, found: list[Float32 | None], second: dict[int, Float32]) -> Float32 | None:
        """Take out the gradient of a value as found so far, as an array that may be changed; None: there is none."""
        if found[value] is None:
            return None
        if value in second:
            found[value] = _sum(found[value], second.pop(value))
        alone = ops.is_alone(found, value)
        gathered, found[value] = found[value], None
        assert gathered is not None
        return gathered if alone else ops.add(gathered)

    def _leaves_slope(self, i: int, chain: Chain | None) -> bool:
        """Return whether call i, or the chain it begins, may take the derivative of the relu that its input comes from.

        That is done in its own backward pass, by which all of the gradient must have been found.
        """
        above, below = self.calls[i].layer, self.calls[self._below[i]].layer if i in self._below else None
        if self._reads[self.calls[i].inputs[0]] > 1 and (chain is not None or not _adds(above)):
            return False
        if not (above.takes_relu and isinstance(below, ActivatedLayer) and below.effective().kind == "relu"):
            return False
        if below.activity_regularizer is not None:  # its gradient comes between the two
            return False
        return all(keeps_step(part) for part in (below, below.effective(), above))

    def _call_backward(self, i: int, dy: Float32, again: bool) -> Sequence[Float32 | None]:
        """Return the gradients of what call i read; `again`: add those of its parameters to what is there."""
        layer = self.calls[i].layer
        if id(layer) not in self._shared:
            return _backward(layer, dy)
        if i not in self._kept:
            layer.forget()
            layer.saved()  # says that forward has to be first
        with layer.recalled(self._kept.pop(i) if ops.recording() else self._kept[i]):
            if not again or not layer.trainable:
                return _backward(layer, dy)
            learning = [(p, p.gradient) for p in layer.parameters if p.learns]
            try:
                for p, total in learning:
                    p.grad = ops.empty(total.shape, total.dtype)
                    ops.fill(p.grad, 0.0)  # a layer of the user's need not write all of them
                dx = _backward(layer, dy)
                for p, total in learning:
                    ops.add(total, p.gradient, out=total)
            finally:
                for p, total in learning:
                    p.grad = total
            return dx

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Put back what forward left for backward, in the layers and here."""
        kept, left = dict(self._kept), [(layer, layer.keep()) for layer in {call.layer for call in self.calls}]
        try:
            yield
        finally:
            self._kept = kept
            for layer, attributes in left:
                vars(layer).update(attributes)

    def forget(self) -> None:
        """Let go of what was kept for backward."""
        self._kept.clear()
        self._active.clear()


@contextmanager
def _inference(call: Call) -> Iterator[None]:
    """Tell the layer of a call whether this one runs as in inference."""
    if not call.inference:
        yield
        return
    call.layer.inference = True
    try:
        yield
    finally:
        call.layer.inference = False


@contextmanager
def _asked(layer: Layer, need_dx: bool, relu_input: bool, skip_slope: bool, onto: Float32 | None) -> Iterator[None]:
    """Tell a layer what its backward pass is to do, for one call."""
    layer.need_dx, layer.relu_input, layer.skip_slope, layer.onto = need_dx, relu_input, skip_slope, onto
    try:
        yield
    finally:
        layer.need_dx, layer.relu_input, layer.skip_slope, layer.onto = True, False, False, None


def _adds(layer: Layer) -> bool:
    """Return whether the backward pass of a layer adds the gradient of its input to others itself."""
    return layer.adds_onto() and keeps_step(layer)


def _forward(layer: Layer, x: Any, training: bool) -> Any:
    """Return the output of a layer."""
    y: Any = layer.forward(x, training)
    if is_own(type(layer)) and not isinstance(y, np.ndarray):
        checks.fail_type(layer.who, "forward to return an array", checks.describe(y))
    return y


def _backward(layer: Layer, dy: Float32) -> Sequence[Float32 | None]:
    """Return the gradients of what a layer read."""
    dx: Any = layer.backward(dy)
    if layer.need_dx and is_own(type(layer)):
        _check_gradients(layer, dx, len(dy))
    return dx if layer.takes_list else [dx]


def _check_gradients(layer: Layer, dx: Any, rows: int) -> None:
    """Raise unless these are the gradients of what a layer of the user's read: without them nothing before it would learn."""
    read: Any = layer.input_shape  # None where the layer does without its base's build
    several = layer.takes_list
    if several and not (isinstance(dx, (list, tuple)) and (read is None or len(dx) == len(read))):
        checks.fail_type(layer.who, "backward to return a list of gradients, one per input", checks.describe(dx))
    shapes = read if several else [read]
    for part, shape in itertools.zip_longest(dx if several else [dx], shapes or []):
        if not isinstance(part, np.ndarray):
            checks.fail_type(layer.who, "backward to return the gradient of its input", checks.describe(part))
        expected = (rows, *(part.shape if shape is None else shape)[1:])
        if len(part.shape) != len(expected) or any(e not in (None, s) for s, e in zip(part.shape, expected)):
            checks.fail(layer.who, f"backward to return a gradient of the input's shape {expected}", part.shape)


def _sum(total: Float32 | None, part: Float32) -> Float32:
    """Return the sum of two gradients of one value; the first is taken as it is."""
    return part if total is None else ops.add(total, part)
