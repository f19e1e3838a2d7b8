"""Permute and RepeatVector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.layers.base import Layer
from fastnn.names import Shape

LARGEST_RANK = 6  # of a batch whose axes are put in another order


class Permute(Layer):
    """Put the axes of every sample in another order.

    y[n, i, j, ...] has axis k of the sample where x has axis dims[k]

    Args:
        dims: the axes of the sample, counted from 1, in their new order.

    Shape:
        x: (N, ...) float32 -> y: the same sizes in the other order.

    Raises:
        ValueError: if dims does not name every axis once.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.Permute((2, 1))(np.ones((5, 3, 4))).shape
        (5, 4, 3)
    """

    recordable: ClassVar[bool] = True

    def __init__(self, dims: Sequence[int], **base: Any) -> None:
        super().__init__(**base)
        if not isinstance(dims, (tuple, list)):
            checks.fail_type(self.who, "dims to be a tuple", checks.describe(dims))
        self.dims = tuple(checks.integer(self.who, "dims", d, 1) for d in dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            checks.fail(self.who, f"dims that name each of 1..{len(self.dims)} once", self.dims)
        if len(self.dims) >= LARGEST_RANK:
            checks.fail(self.who, f"at most {LARGEST_RANK - 1} dims", self.dims)

    def expected_shape(self) -> Shape | None:
        return (None,) * (len(self.dims) + 1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self.check_shape(input_shape)
        return (None, *(input_shape[d] for d in self.dims))

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self.check_input(x)
        if training:
            self._saved = True
        return ops.permute(x, (0, *self.dims))

    def backward(self, dy: Float32) -> Float32:
        self.saved()
        back = sorted(range(len(self.dims)), key=self.dims.__getitem__)
        return ops.permute(dy, (0, *(axis + 1 for axis in back)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dims": list(self.dims)}


class RepeatVector(Layer):
    """Repeat every sample's vector: a sequence of equal elements.

    y[i, t, d] = x[i, d]

    Args:
        n: how often, >= 1.

    Shape:
        x: (N, D) float32 -> y: (N, n, D).

    Raises:
        ValueError: for inputs of another rank.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.RepeatVector(2)(np.arange(3.0).reshape(1, 3)).tolist()
        [[[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]]
    """

    recordable: ClassVar[bool] = True

    def __init__(self, n: int, **base: Any) -> None:
        super().__init__(**base)
        self.n = checks.integer(self.who, "n", n, 1)

    def expected_shape(self) -> Shape | None:
        return (None, None)

    def shape_advice(self, shape: Sequence[int | None]) -> str:
        return "add Flatten() before it" if len(shape) > 2 else ""

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (None, self.n, input_shape[1])

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self.check_input(x)
        rows, width = x.shape
        if training:
            self._saved = x.shape
        return ops.broadcast(x.reshape(rows, 1, width), (rows, self.n, width))

    def backward(self, dy: Float32) -> Float32:
        rows, width = self.saved()
        return ops.broadcast_backward(dy, (rows, 1, width)).reshape(rows, width)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n": self.n}
