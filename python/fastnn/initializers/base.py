"""Initializer, the base, and the fans of a shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks
from fastnn.checks import Float32

Shape = Sequence[int]
Float64 = NDArray[np.float64]

# Standard deviation of a standard normal distribution that is cut off at +-2.
TRUNCATED_STDDEV = 0.87962566103423978
FLOAT32_MAX = float(np.finfo(np.float32).max)
LARGEST = 1e37  # as a mean or deviation: a draw ten deviations out is still a float32


def compute_fans(
    shape: Shape, input_axes: Sequence[int] | None = None, output_axes: Sequence[int] | None = None
) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a parameter: how many inputs and outputs each element connects.

    A matrix is (inputs, outputs); a filter is (..., C, K), whose fans are C and K times the size of the receptive
    field; a vector has its length for both, a scalar 1. With both input_axes and output_axes the fans are the sizes of
    these axes, multiplied.

    Raises:
        ValueError: the shape does not have these axes.

    >>> from fastnn import initializers
    >>> initializers.compute_fans((3, 3, 16, 32))
    (144, 288)
    """
    sizes = tuple(shape)
    if input_axes is not None and output_axes is not None:
        for axis in (*input_axes, *output_axes):
            if not -len(sizes) <= axis < len(sizes):
                checks.fail("initializer", f"axes of a shape of rank {len(sizes)}", axis, f"the shape is {sizes}")
        return math.prod(sizes[i] for i in input_axes), math.prod(sizes[i] for i in output_axes)
    if len(sizes) < 2:
        return (sizes[0], sizes[0]) if sizes else (1, 1)
    field = math.prod(sizes[:-2])
    return sizes[-2] * field, sizes[-1] * field


class Initializer:
    """Base class: a subclass defines ``__call__`` and, if it has arguments, ``get_config``.

    >>> import numpy as np
    >>> from fastnn import initializers
    >>> class Ramp(initializers.Initializer):
    ...     def __call__(self, shape, dtype=None):
    ...         return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    >>> initializers.get(Ramp)((3,)).tolist()
    [-1.0, 0.0, 1.0]
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> Float32:
        """Return a new array of the given shape; ``dtype`` is None or float32."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(shape, dtype=None)")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Initializer:
        """Return a new initializer with the arguments that ``get_config`` returned."""
        try:
            return cls(**config)
        except TypeError as error:
            checks.fail_type(cls.__name__, "config to hold its arguments", checks.describe(dict(config)), str(error))

    def clone(self) -> Initializer:
        """Return a new initializer with the same arguments."""
        return type(self).from_config(self.get_config())

    def _shape(self, shape: Any, dtype: Any) -> tuple[int, ...]:
        """Return the checked shape; the dtype must be float32, the only one that parameters have."""
        who = type(self).__name__
        if dtype is not None:
            try:
                right = np.dtype(dtype) == np.float32
            except TypeError:
                right = False
            if not right:
                checks.fail(who, "dtype None or 'float32'", checks.describe(dtype), "convert the result: .astype()")
        if not isinstance(shape, (tuple, list)):
            checks.fail_type(who, "shape to be a tuple of integers", checks.describe(shape), "write (n,) for a vector")
        return tuple(checks.integer(who, "each axis of shape", size, 0) for size in shape)

    def _number(self, name: str, value: Any, minimum: float = -LARGEST, maximum: float = LARGEST) -> float:
        """Return a checked number."""
        return checks.number(type(self).__name__, name, value, minimum, maximum)


class FromFunction(Initializer):
    """What a layer makes of a function of (shape, dtype=None) that it is given as an initializer; it cannot be saved.

    Args:
        function: returns the values.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, shape: Shape, dtype: Any = None) -> Float32:
        sizes, name = self._shape(shape, dtype), getattr(self.function, "__name__", "the initializer")
        values = checks.float32(name, "the result", self.function(sizes, dtype=dtype)).copy()
        if values.shape != sizes:
            checks.fail(name, f"a result of shape {sizes}", values.shape)
        return values

    def get_config(self) -> dict[str, Any]:
        """Raise: a function cannot be written to a file."""
        fix = "a function cannot be written to a file: write a subclass of Initializer"
        checks.fail_type("initializers.serialize", "an Initializer", checks.describe(self.function), fix)
