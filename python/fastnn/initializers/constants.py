"""Initial values that are not random."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import checks
from fastnn.checks import Float32
from fastnn.initializers.base import FLOAT32_MAX, Initializer, Shape


class Constant(Initializer):
    """All elements equal ``value``.

    Args:
        value: any number in the range of float32; default 0.

    >>> from fastnn import initializers
    >>> initializers.Constant(0.5)((2, 2)).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """

    def __init__(self, value: float = 0.0) -> None:
        self.value = self._number("value", value, -FLOAT32_MAX, FLOAT32_MAX)

    def __call__(self, shape: Shape, dtype: Any = None) -> Float32:
        return np.full(self._shape(shape, dtype), self.value, np.float32)

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value}


class Zeros(Initializer):
    """All elements 0. For biases; hidden units whose weights all start at 0 stay identical for ever.

    >>> from fastnn import initializers
    >>> initializers.Zeros()((3,)).tolist()
    [0.0, 0.0, 0.0]
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> Float32:
        return np.zeros(self._shape(shape, dtype), np.float32)


class Ones(Initializer):
    """All elements 1.

    >>> from fastnn import initializers
    >>> initializers.Ones()((3,)).tolist()
    [1.0, 1.0, 1.0]
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> Float32:
        return np.ones(self._shape(shape, dtype), np.float32)


class Identity(Initializer):
    """``gain`` on the diagonal of a matrix, 0 elsewhere.

    Args:
        gain: any number in the range of float32; default 1.

    Raises:
        ValueError: the shape does not have two axes.

    >>> from fastnn import initializers
    >>> initializers.Identity(gain=2)((2, 3)).tolist()
    [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = self._number("gain", gain, -FLOAT32_MAX, FLOAT32_MAX)

    def __call__(self, shape: Shape, dtype: Any = None) -> Float32:
        sizes = self._shape(shape, dtype)
        if len(sizes) != 2:
            checks.fail("Identity", "a shape with two axes", sizes, "use Orthogonal for more axes")
        result = np.zeros(sizes, np.float32)
        np.fill_diagonal(result, self.gain)
        return result

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain}
