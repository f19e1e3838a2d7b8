"""Function: a layer made of two Python functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NoReturn

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.layers.base import Layer, sample_shape
from fastnn.names import Shape, shape_text


class Function(Layer):
    """A layer without parameters from a function and its gradient, written in Python or NumPy.

    y = forward(x); dx = backward(dy, x, y)

    A model with it runs step by step through Python. What has parameters, or shall be saved, is a subclass of `Layer`.

    Args:
        forward: takes a batch as a float32 array and returns the output.
        backward: takes the gradient of the output, the input and the output of the last pass, and returns the input's gradient.
            None: there is none, and nothing that learns may lie before.
        output_shape: shape of one sample of the output; a function of that of the input (with the batch size, which is None);
            or None where the shape stays.

    Shape:
        as `output_shape` says.

    Raises:
        TypeError: when it is saved, as a file holds no code.
        ValueError: for results of another shape.

    Example:
        >>> import numpy as np
        >>> square = fastnn.layers.Function(lambda x: x * x, lambda dy, x, y: 2 * x * dy)
        >>> square(np.array([[3.0]]), training=True).tolist()
        [[9.0]]
        >>> square.backward(np.array([[1.0]])).tolist()
        [[6.0]]
    """

    recordable: ClassVar[bool] = False

    def __init__(
        self,
        forward: Callable[[Float32], Any],
        backward: Callable[[Float32, Float32, Float32], Any] | None = None,
        output_shape: Sequence[int | None] | Callable[[Shape], Shape] | None = None,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        for name, function in (("forward", forward), ("backward", backward)):
            if not callable(function) and (function is not None or name == "forward"):
                checks.fail_type(self.who, f"{name} to be a function", checks.describe(function))
        self.function, self.gradient = forward, backward
        fixed = None if output_shape is None or callable(output_shape) else output_shape
        self.output_shape = output_shape if callable(output_shape) else None
        self.fixed_shape = None if fixed is None else sample_shape(self.who, "output_shape", fixed)

    def expected_shape(self) -> Shape | None:
        return None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if self.fixed_shape is not None:
            return self.fixed_shape
        return tuple(input_shape) if self.output_shape is None else tuple(self.output_shape(tuple(input_shape)))

    def forward(self, x: Any, training: bool = False) -> Float32:
        given = self.check_input(x)
        y = ops.as_float32(self.who, "the result of forward", self.function(given))
        expected = (len(given), *self.compute_output_shape((None, *given.shape[1:]))[1:])
        self._check_result("forward", y, expected)
        if training:
            self._saved = given, y
        return y

    def backward(self, dy: Float32) -> Float32 | None:
        x, y = self.saved()
        if not self.need_dx:
            return None
        if self.gradient is None:
            checks.fail(self.who, "a backward function, as layers before it learn", "None", "freeze them, or give one")
        dx = ops.as_float32(self.who, "the result of backward", self.gradient(dy, x, y))
        self._check_result("backward", dx, x.shape)
        return dx

    def _check_result(self, name: str, result: Float32, shape: Sequence[int | None]) -> None:
        fits = result.ndim == len(shape) and all(s in (None, own) for s, own in zip(shape, result.shape))
        if not fits:
            rule = f"{name} to return shape {shape_text(shape) if None in shape else tuple(shape)}"
            checks.fail(self.who, rule, result.shape, "say so in output_shape" if name == "forward" else "")

    def get_config(self) -> NoReturn:
        fix = "write a subclass of Layer, and give it to load_model as custom_objects"
        checks.fail_type(self.who, "a layer that can be written to a file", "Python functions", fix)
