"""Layers that join several inputs along an axis: Concatenate, Dot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.layers.merging import Merge
from fastnn.names import Shape


class Concatenate(Merge):
    """Put inputs one behind the other along an axis.

    Args:
        axis: of the joined axis; not 0, the samples' one.

    Shape:
        a list of (N, ...), equal but for that axis -> (N, ...) with the sum of its sizes.

    Raises:
        ValueError: for shapes that do not fit.

    Example:
        >>> fastnn.layers.Concatenate()([[[1.0, 2.0]], [[10.0]]]).tolist()
        [[1.0, 2.0, 10.0]]
    """

    recordable: ClassVar[bool] = True

    def __init__(self, axis: int = -1, **base: Any) -> None:
        super().__init__(**base)
        self.axis = checks.integer(self.who, "axis", axis)

    def _axis(self, rank: int) -> int:
        axis = self.axis + rank if self.axis < 0 else self.axis
        if not 1 <= axis < rank:
            checks.fail(self.who, f"axis of inputs of rank {rank}, not the samples'", self.axis)
        return axis

    def compute_output_shape(self, input_shape: Any) -> Shape:
        first = tuple(input_shape[0])
        at, width = self._axis(len(first)), 0
        result, free = list(first), False
        for shape in input_shape:
            others = [(i, a, b) for i, (a, b) in enumerate(zip(first, shape)) if i not in (0, at)]
            if len(shape) != len(first) or any(None not in (a, b) and a != b for _, a, b in others):
                checks.fail(
                    self.who, f"inputs of the same shape, but for axis {at}", self._texts(input_shape), "make them fit"
                )
            for i, a, b in others:
                result[i] = b if a is None else result[i]
            free, width = free or shape[at] is None, width + (shape[at] or 0)
        result[at] = None if free else width
        return (None, *result[1:])

    def forward(self, x: Any, training: bool = False) -> Float32:
        arrays = self.check_input(x)
        if training:
            self._saved = [a.shape[self._axis(a.ndim)] for a in arrays]
        return ops.concatenate(*arrays, axis=self.axis)

    def backward(self, dy: Float32) -> Any:
        return list(ops.split(dy, self.saved(), self.axis))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}


class Dot(Merge):
    """Multiply samples of two inputs with each other along an axis of each: for vectors, their dot product.

    y[n, i, j] = sum over d of x[0][n, i, d] x[1][n, j, d], where d runs along the given axes

    Args:
        axes: of the two inputs, 1 or 2; one number for both.
        normalize: whether the vectors along the axes are first divided by their length: y is then their cosine.

    Shape:
        a list of two (N, D) or (N, I, D) -> (N, 1), (N, I) or (N, I, J).

    Raises:
        ValueError: for other ranks, or axes of different sizes.

    Example:
        >>> fastnn.layers.Dot(axes=1)([[[1.0, 2.0]], [[10.0, 20.0]]]).tolist()
        [[50.0]]
    """

    recordable: ClassVar[bool] = True
    inputs_taken: ClassVar[int | None] = 2

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **base: Any) -> None:
        super().__init__(**base)
        pair = axes if isinstance(axes, (tuple, list)) else (axes, axes)
        if len(pair) != 2:
            checks.fail(self.who, "axes to be one integer or two", checks.describe(axes))
        self.axes = tuple(checks.integer(self.who, "axes", axis) for axis in pair)
        self.normalize = checks.boolean(self.who, "normalize", normalize)

    def _axes(self, shapes: Sequence[Sequence[Any]]) -> list[int]:
        result = []
        for axis, shape in zip(self.axes, shapes):
            positive = axis + len(shape) if axis < 0 else axis
            if len(shape) not in (2, 3) or not 1 <= positive < len(shape):
                checks.fail(self.who, f"inputs of rank 2 or 3 that have the axes {self.axes}", self._texts(shapes))
            result.append(positive)
        return result

    def compute_output_shape(self, input_shape: Any) -> Shape:
        axes = self._axes(input_shape)
        a, b = (shape[axis] for shape, axis in zip(input_shape, axes))
        if None not in (a, b) and a != b:
            checks.fail(self.who, f"axes {self.axes} of the same size", self._texts(input_shape))
        rest = [s for shape, axis in zip(input_shape, axes) for i, s in enumerate(shape) if i not in (0, axis)]
        return (None, *(rest or [1]))

    @staticmethod
    def _rows(x: Float32, axis: int) -> Float32:
        """Return x as (N, rows, D), D being the axis."""
        if x.ndim == 2:
            return x.reshape(len(x), 1, x.shape[1])
        return x if axis == 2 else ops.permute(x, (0, 2, 1))

    @staticmethod
    def _back(dx: Float32, shape: tuple[int, ...], axis: int) -> Float32:
        """Return the gradient of x from that of its rows."""
        return dx.reshape(shape) if len(shape) == 2 or axis == 2 else ops.permute(dx, (0, 2, 1))

    def forward(self, x: Any, training: bool = False) -> Float32:
        arrays = self.check_input(x)
        shapes = [a.shape for a in arrays]
        rows = [self._rows(a, axis) for a, axis in zip(arrays, self._axes(shapes))]
        lengths: list[Any] = [None, None]
        if self.normalize:
            (a, lengths[0]), (b, lengths[1]) = (ops.unit_norm_forward(r) for r in rows)
            rows = [a, b]
        if training:
            self._saved = rows, lengths, shapes
        y = ops.batch_gemm(rows[0], rows[1], transpose_b=True)
        return y.reshape(len(y), *(s or 0 for s in self.compute_output_shape(shapes)[1:]))

    def backward(self, dy: Float32) -> Any:
        (a, b), lengths, shapes = self.saved()
        dy = ops.as_float32(self.who, "dy", dy).reshape(len(a), a.shape[1], b.shape[1])
        gradients = [ops.batch_gemm(dy, b), ops.batch_gemm(dy, a, transpose_a=True)]
        if self.normalize:
            gradients = [ops.unit_norm_backward(g, y, r) for g, y, r in zip(gradients, (a, b), lengths)]
        return [self._back(g, s, axis) for g, s, axis in zip(gradients, shapes, self._axes(shapes))]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axes": list(self.axes), "normalize": self.normalize}


def concatenate(inputs: Sequence[Any], axis: int = -1, **base: Any) -> Any:
    """Return Concatenate(axis, **base)(inputs)."""
    return Concatenate(axis, **base)(inputs)


def dot(inputs: Sequence[Any], axes: int | Sequence[int] = -1, normalize: bool = False, **base: Any) -> Any:
    """Return Dot(axes, normalize, **base)(inputs)."""
    return Dot(axes, normalize, **base)(inputs)
