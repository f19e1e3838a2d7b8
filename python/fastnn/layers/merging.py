"""Layers that join several inputs element by element: Add, Subtract, Multiply, Average, Maximum, Minimum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fastnn import checks, graph, ops
from fastnn.checks import Float32
from fastnn.layers.base import Layer
from fastnn.names import Shape


class Merge(Layer):
    """The base of layers that are called on a list; a subclass writes `compute_output_shape`, `forward` and `backward`."""

    takes_list: ClassVar[bool] = True
    inputs_taken: ClassVar[int | None] = None  # how many; None is any number from 1 on

    def __init__(self, **base: Any) -> None:
        super().__init__(**base)
        self.input_shapes: list[Shape] | None = None

    def build_for(self, input_shape: Any) -> None:
        """Check the shapes, once."""
        self.check_shape(input_shape)
        self.compute_output_shape(input_shape)
        self.input_shapes = [(None, *shape[1:]) for shape in input_shape]
        self.built = True

    def check_shape(self, shape: Any) -> None:
        """Raise unless a list of inputs of these shapes will do."""
        if len(shape) != (self.inputs_taken or max(len(shape), 1)):
            rule = "at least one input" if self.inputs_taken is None else f"a list of {self.inputs_taken} inputs"
            checks.fail(self.who, rule, len(shape))
        for one in shape:
            if len(one) < 2:
                checks.fail(self.who, "inputs of shape (N, ...)", self._got(one), "give every sample an axis")

    def _texts(self, shapes: Sequence[Sequence[int | None]]) -> str:
        return " and ".join(self._got(shape) for shape in shapes)

    def check_input(self, x: Any) -> Any:
        """Return the inputs as float32 after checking that they fit each other."""
        if not isinstance(x, (list, tuple)):
            checks.fail_type(self.who, "a list of inputs", checks.describe(x), "write layer([a, b])")
        arrays = [ops.as_float32(self.who, "input", part) for part in x]
        shapes: Any = [a.shape for a in arrays]
        if self.input_shapes is None or [(None, *s[1:]) for s in shapes] != self.input_shapes:
            if self.built:
                self.check_shape(shapes)
                self.compute_output_shape(shapes)
            else:
                self.build_for(shapes)
        if len({shape[:1] for shape in shapes}) > 1:
            checks.fail(self.who, "inputs with equally many samples", self._texts(shapes))
        return arrays


class Elementwise(Merge):
    """The base of layers that join equal shapes element by element.

    An axis of size 1 is repeated to fit the others'; an input of smaller rank gets axes of size 1 behind its first one.
    """

    supports_masking: ClassVar[bool] = True

    def compute_output_shape(self, input_shape: Any) -> Shape:
        rank = max(len(shape) for shape in input_shape)
        columns = zip(*(self._raised(shape, rank)[1:] for shape in input_shape))
        result: list[int | None] = []
        for sizes in columns:
            known = {size for size in sizes if size not in (None, 1)}
            if len(known) > 1:
                checks.fail(
                    self.who,
                    "inputs of the same shape, but for axes of size 1",
                    self._texts(input_shape),
                    "make them fit, or join them with Concatenate",
                )
            result.append(known.pop() if known else None if None in sizes else 1)
        return (None, *result)

    @staticmethod
    def _raised(shape: Sequence[Any], rank: int) -> tuple[Any, ...]:
        """Return a shape of this rank, with axes of size 1 behind the samples' axis."""
        return (shape[0], *(1 for _ in range(rank - len(shape))), *shape[1:])

    def forward(self, x: Any, training: bool = False) -> Float32:
        arrays = self.check_input(x)
        n, shape = len(arrays[0]), self.compute_output_shape([a.shape for a in arrays])[1:]
        full = (n, *(s or 0 for s in shape))
        parts = [
            a if a.shape == full else ops.broadcast(a.reshape(self._raised(a.shape, len(full))), full) for a in arrays
        ]
        y = self.join(parts)
        if training:
            self._saved = [a.shape for a in arrays], self.remembered(parts, y)
        return y

    def backward(self, dy: Float32) -> Any:
        shapes, kept = self.saved()
        dy = ops.as_float32(self.who, "dy", dy)
        result = []
        for dx, shape in zip(self.part(dy, len(shapes), kept), shapes):
            raised = self._raised(shape, dy.ndim)
            result.append(dx if dx.shape == shape else ops.broadcast_backward(dx, raised).reshape(shape))
        return result

    def join(self, x: list[Float32]) -> Float32:
        """Return what becomes of inputs of the same shape."""
        raise TypeError(checks.message(self.who, "a class with a join method", type(self).__name__))

    def remembered(self, x: list[Float32], y: Float32) -> Any:
        """Return what `part` needs."""
        return None

    def part(self, dy: Float32, count: int, kept: Any) -> Sequence[Float32]:
        """Return the gradient of each of the inputs of the same shape."""
        raise TypeError(checks.message(self.who, "a class with a part method", type(self).__name__))


class Add(Elementwise):
    """Add inputs.

    y = x[0] + x[1] + ...

    Shape:
        a list of (N, ...) -> (N, ...): equal shapes; an axis of size 1 is repeated, missing axes come behind the first.

    Raises:
        ValueError: for shapes that do not fit.

    Reference:
        He, Zhang, Ren & Sun (2016), Deep residual learning for image recognition.

    Example:
        >>> fastnn.layers.Add()([[[1.0, 2.0]], [[10.0, 20.0]]]).tolist()
        [[11.0, 22.0]]
    """

    recordable: ClassVar[bool] = True

    def join(self, x: list[Float32]) -> Float32:
        return ops.add(*x)

    def part(self, dy: Float32, count: int, kept: Any) -> Sequence[Float32]:
        return [dy] * count


class Subtract(Elementwise):
    """Subtract the second input from the first.

    y = x[0] - x[1]

    Shape:
        a list of two (N, ...) -> (N, ...), as for `Add`.

    Raises:
        ValueError: for shapes that do not fit, or another number of inputs.

    Example:
        >>> fastnn.layers.Subtract()([[[1.0, 2.0]], [[10.0, 20.0]]]).tolist()
        [[-9.0, -18.0]]
    """

    recordable: ClassVar[bool] = True
    inputs_taken: ClassVar[int | None] = 2

    def join(self, x: list[Float32]) -> Float32:
        return ops.add(*x, weights=(1.0, -1.0))

    def part(self, dy: Float32, count: int, kept: Any) -> Sequence[Float32]:
        return [dy, ops.add(dy, weights=(-1.0,))]


class Average(Elementwise):
    """Average inputs.

    y = (x[0] + x[1] + ...) / count

    Shape:
        a list of (N, ...) -> (N, ...), as for `Add`.

    Raises:
        ValueError: for shapes that do not fit.

    Example:
        >>> fastnn.layers.Average()([[[1.0, 2.0]], [[10.0, 20.0]]]).tolist()
        [[5.5, 11.0]]
    """

    recordable: ClassVar[bool] = True

    def join(self, x: list[Float32]) -> Float32:
        return ops.add(*x, weights=[1.0 / len(x)] * len(x))

    def part(self, dy: Float32, count: int, kept: Any) -> Sequence[Float32]:
        return [ops.add(dy, weights=(1.0 / count,))] * count


class Multiply(Elementwise):
    """Multiply inputs element by element.

    y = x[0] x[1] ...

    Shape:
        a list of (N, ...) -> (N, ...), as for `Add`.

    Raises:
        ValueError: for shapes that do not fit.

    Example:
        >>> fastnn.layers.Multiply()([[[1.0, 2.0]], [[10.0, 20.0]]]).tolist()
        [[10.0, 40.0]]
    """

    recordable: ClassVar[bool] = True

    def join(self, x: list[Float32]) -> Float32:
        return ops.multiply(*x)

    def remembered(self, x: list[Float32], y: Float32) -> Any:
        return x

    def part(self, dy: Float32, count: int, kept: Any) -> Sequence[Float32]:
        return [ops.multiply(dy, *kept[:i], *kept[i + 1 :]) for i in range(count)]


class Maximum(Elementwise):
    """Keep the largest of the inputs, element by element.

    y = max(x[0], x[1], ...); the gradient goes to the first of equal ones

    Shape:
        a list of (N, ...) -> (N, ...), as for `Add`.

    Raises:
        ValueError: for shapes that do not fit.

    Example:
        >>> fastnn.layers.Maximum()([[[1.0, 20.0]], [[10.0, 2.0]]]).tolist()
        [[10.0, 20.0]]
    """

    recordable: ClassVar[bool] = True

    def join(self, x: list[Float32]) -> Float32:
        return ops.maximum(*x)

    def remembered(self, x: list[Float32], y: Float32) -> Any:
        return x, y

    def part(self, dy: Float32, count: int, kept: Any) -> Sequence[Float32]:
        return ops.extremum_backward(dy, kept[1], *kept[0])


class Minimum(Maximum):
    """Keep the smallest of the inputs, element by element.

    y = min(x[0], x[1], ...); the gradient goes to the first of equal ones

    Shape:
        a list of (N, ...) -> (N, ...), as for `Add`.

    Raises:
        ValueError: for shapes that do not fit.

    Example:
        >>> fastnn.layers.Minimum()([[[1.0, 20.0]], [[10.0, 2.0]]]).tolist()
        [[1.0, 2.0]]
    """

    recordable: ClassVar[bool] = True

    def join(self, x: list[Float32]) -> Float32:
        return ops.minimum(*x)


def add(inputs: Sequence[Any], **base: Any) -> Any:
    """Return Add(**base)(inputs)."""
    return Add(**base)(inputs)


def subtract(inputs: Sequence[Any], **base: Any) -> Any:
    """Return Subtract(**base)(inputs)."""
    return Subtract(**base)(inputs)


def multiply(inputs: Sequence[Any], **base: Any) -> Any:
    """Return Multiply(**base)(inputs)."""
    return Multiply(**base)(inputs)


def average(inputs: Sequence[Any], **base: Any) -> Any:
    """Return Average(**base)(inputs)."""
    return Average(**base)(inputs)


def maximum(inputs: Sequence[Any], **base: Any) -> Any:
    """Return Maximum(**base)(inputs)."""
    return Maximum(**base)(inputs)


def minimum(inputs: Sequence[Any], **base: Any) -> Any:
    """Return Minimum(**base)(inputs)."""
    return Minimum(**base)(inputs)


graph.OPERATORS.update(add=add, subtract=subtract, multiply=multiply)
