"""Parameter and the flat store.

All parameters of a model live in one aligned float32 array and their gradients in a second; a Parameter is a named view. So an
optimizer step is one kernel call for the model, and saving one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.constraints import Constraint
from fastnn.regularizers import Regularizer
from fastnn.settings import Settings

ALIGN = 16  # floats: every parameter starts on a cache line, so no two threads or parameters share one


class Parameter(Settings):
    """A named array of a layer: its value, and the gradient of the loss with respect to it.

    Args:
        name: such as "dense_1/kernel".
        value: initial value; kept as float32.
        trainable: False for what is not learned (moving statistics); it then has no gradient. The attribute of that name may be
            set to False later to freeze a parameter.
        regularizer: what it adds to the loss, or None.
        constraint: what it is brought to after every update, or None.
    """

    def __init__(
        self,
        name: str,
        value: Any,
        *,
        trainable: bool = True,
        regularizer: Regularizer | None = None,
        constraint: Constraint | None = None,
    ) -> None:
        self.name = name
        # Plain arrays: they last until a store takes over, and their memory then goes back to the system at once.
        self.value: Float32 = np.array(value, np.float32, order="C")
        self.trainable = trainable
        self.grad: Float32 | None = np.zeros(self.value.shape, np.float32) if trainable else None
        self.store: ParameterStore | None = None
        self.regularizer = regularizer
        self.constraint = constraint

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.value.shape

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.value.size

    @property
    def learns(self) -> bool:
        """Whether it has a gradient, frozen or not."""
        return self.grad is not None

    @property
    def gradient(self) -> Float32:
        """The gradient, for a parameter that has one."""
        if self.grad is None:
            checks.fail(f"Parameter '{self.name}'", "a trainable parameter", "one without a gradient")
        return self.grad

    def step_key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured."""
        return (self.trainable, *(part and part.step_key() for part in (self.regularizer, self.constraint)))

    def assign(self, value: Any) -> None:
        """Copy new values in; the shape must be the same."""
        new = checks.float32(f"Parameter '{self.name}'", "value", value)
        if new.shape != self.shape:
            checks.fail(f"Parameter '{self.name}'", f"a value of shape {self.shape}", new.shape)
        self.value[...] = new

    def numpy(self) -> Float32:
        """Return a copy of the value."""
        return self.value.copy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the value, for NumPy: a copy, which no step changes."""
        if copy is False:
            checks.fail(f"Parameter '{self.name}'", "copy=None or True", copy, "`value` is the array itself")
        return self.value.astype(self.value.dtype if dtype is None else dtype)

    @property
    def path(self) -> str:
        """The name, as Keras calls it where it begins with the layer's."""
        return self.name

    def __repr__(self) -> str:
        return f"Parameter('{self.name}', shape={self.shape}, trainable={self.trainable})"


class _Weighted(Protocol):
    @property
    def weights(self) -> list[Parameter]: ...
    @property
    def trainable_weights(self) -> list[Parameter]: ...
    @property
    def non_trainable_weights(self) -> list[Parameter]: ...


class WithVariables:
    """The weights by their other names in Keras, and the type of numbers."""

    @property
    def dtype(self) -> str:
        """Always "float32"."""
        return "float32"

    @property
    def compute_dtype(self) -> str:
        """Always "float32"."""
        return "float32"

    @property
    def variables(self: _Weighted) -> list[Parameter]:
        """All weights."""
        return self.weights

    @property
    def trainable_variables(self: _Weighted) -> list[Parameter]:
        """The weights that training changes by gradients."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self: _Weighted) -> list[Parameter]:
        """The other weights."""
        return self.non_trainable_weights


class ParameterStore:
    """Moves parameters into one flat array of values and one of gradients.

    Args:
        parameters: in the order they shall lie. They are views of this store afterwards.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = list(parameters)
        self.offsets: list[int] = []
        size = 0
        for p in self.parameters:
            self.offsets.append(size)
            size += -(-p.size // ALIGN) * ALIGN
        self.size = size
        self.values: Float32 = ops.zeros((size,))
        self.grads: Float32 = ops.zeros((size,))
        for p, offset in zip(self.parameters, self.offsets):
            span = slice(offset, offset + p.size)
            value = self.values[span].reshape(p.shape)
            value[...] = p.value
            p.value = value
            if p.grad is not None:
                grad = self.grads[span].reshape(p.shape)
                grad[...] = p.grad
                p.grad = grad
            p.store = self

    def owns_all(self) -> bool:
        """Return whether every parameter still lives here (another model may have taken a shared layer's)."""
        return all(p.store is self for p in self.parameters)

    def runs(self, setting: Callable[[Parameter], Hashable]) -> list[tuple[Any, slice]]:
        """Return (setting, slice of the flat arrays) of each longest run of neighbours with the same setting, None left out."""
        result: list[tuple[Any, slice]] = []
        for p, offset in zip(self.parameters, self.offsets):
            kind, stop = setting(p), offset + -(-p.size // ALIGN) * ALIGN
            if kind is None or p.size == 0:
                continue
            if result and result[-1][0] == kind and result[-1][1].stop == offset:
                result[-1] = (kind, slice(result[-1][1].start, stop))
            else:
                result.append((kind, slice(offset, stop)))
        return result


def assign_all(who: str, parameters: Sequence[Parameter], values: Sequence[Any]) -> None:
    """Assign values to parameters, all or none."""
    if len(values) != len(parameters):
        checks.fail(who, f"{len(parameters)} arrays of weights", len(values))
    arrays = [checks.float32(f"Parameter '{p.name}'", "value", v) for p, v in zip(parameters, values)]
    for p, a in zip(parameters, arrays):
        if a.shape != p.shape:
            checks.fail(f"Parameter '{p.name}'", f"a value of shape {p.shape}", a.shape)
    for p, a in zip(parameters, arrays):
        p.assign(a)
