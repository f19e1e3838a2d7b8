"""Rescaling and Normalization: fixed scales and offsets, given or taken from data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, graph, ops
from fastnn.checks import Float32
from fastnn.layers.base import Layer
from fastnn.names import Shape, shape_text
from fastnn.parameter import Parameter

SMALLEST_SQUARE = 1e-14  # of a deviation that is divided by: Keras's epsilon is 1e-7


def scaled(x: Float32, scale: Float32 | None, offset: Float32 | None) -> Float32:
    """Return x scale + offset, one number of each for every channel (last axis)."""
    channels = x.shape[-1:]
    y, _, _ = ops.batch_norm_inference(
        x, scale, offset, np.zeros(channels, x.dtype), np.ones(channels, x.dtype), epsilon=0.0
    )
    return y


class Rescaling(Layer):
    """Multiply and shift: pixels to [0, 1] or [-1, 1].

    y = x scale + offset

    Args:
        scale: a number, or one per channel (last axis).
        offset: a number, or one per channel.

    Shape:
        x: (N, ..., C) float32, unchanged.

    Raises:
        ValueError: if there are not as many numbers as channels.

    Example:
        >>> fastnn.layers.Rescaling(1 / 128, offset=-1)([[0.0, 128.0, 192.0]]).tolist()
        [[-1.0, 0.0, 0.5]]
    """

    recordable: ClassVar[bool] = True

    def __init__(self, scale: float | Sequence[float], offset: float | Sequence[float] = 0.0, **base: Any) -> None:
        super().__init__(**base)
        self.scale = self._numbers("scale", scale)
        self.offset = self._numbers("offset", offset)

    def _numbers(self, argument: str, value: Any) -> float | list[float]:
        if isinstance(value, (tuple, list, np.ndarray)) and np.ndim(value) == 1:
            return [checks.number(self.who, argument, v) for v in value]
        return checks.number(self.who, argument, value)

    def expected_shape(self) -> Shape | None:
        return None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        for argument, value in (("scale", self.scale), ("offset", self.offset)):
            if isinstance(value, list) and input_shape[-1] not in (None, len(value)):
                checks.fail(
                    self.who, f"{len(value)} channels, one per {argument}", f"input of shape {self._got(input_shape)}"
                )
        return tuple(input_shape)

    def check_shape(self, shape: Sequence[int | None]) -> None:
        super().check_shape(shape)
        self.compute_output_shape(tuple(shape))

    def _channels(self, x: Float32, value: float | list[float]) -> Float32:
        return np.full(x.shape[-1:], value, x.dtype)

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self.check_input(x)
        if training:
            self._saved = True
        rows = x.reshape(-1, 1) if x.ndim == 1 else x
        return scaled(rows, self._channels(rows, self.scale), self._channels(rows, self.offset)).reshape(x.shape)

    def backward(self, dy: Float32) -> Float32:
        self.saved()
        dy = ops.as_float32(self.who, "dy", dy)
        rows = dy.reshape(-1, 1) if dy.ndim == 1 else dy
        return scaled(rows, self._channels(rows, self.scale), None).reshape(dy.shape)

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), repr((self.scale, self.offset)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale, "offset": self.offset}


class Normalization(Layer):
    """Shift and scale features to mean 0 and variance 1, by statistics that are given or taken from data by `adapt`.

    y = (x - mean) / sqrt(variance), or with invert y = x sqrt(variance) + mean

    Args:
        axis: the axis or axes that have statistics of their own for each index; None: one mean and variance for all values.
        mean: given mean, of the shape of those axes or one that is repeated to it; needs variance.
        variance: given variance.
        invert: True undoes a normalization.

    Shape:
        any with the axes known, unchanged.

    Raises:
        ValueError: if only one of mean and variance is given, or they do not fit the axes.

    Example:
        >>> layer = fastnn.layers.Normalization()
        >>> layer.adapt([[0.0, 7.0, 4.0], [2.0, 9.0, 6.0], [0.0, 7.0, 4.0], [2.0, 9.0, 6.0]])
        >>> layer([[0.0, 7.0, 4.0]]).tolist()
        [[-1.0, -1.0, -1.0]]
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        axes = () if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
        self.axis = tuple(checks.integer(self.who, "axis", a) for a in axes)
        self.invert = checks.boolean(self.who, "invert", invert)
        if (mean is None) != (variance is None):
            checks.fail(self.who, "mean and variance, or neither", f"mean={mean}, variance={variance}")
        self.given = None
        if mean is not None:
            self.given = (checks.float32(self.who, "mean", mean), checks.float32(self.who, "variance", variance))
            if (self.given[1] < 0).any():
                checks.fail(self.who, "variance >= 0", self.given[1].min())
        self.mean: Parameter
        self.variance: Parameter

    def _kept(self, rank: int) -> list[int]:
        """Return the axes with statistics of their own, counted from 0, in order."""
        for a in self.axis:
            if not -rank < a < rank or a in (0, -rank):
                checks.fail(self.who, f"axis of inputs of rank {rank}, not the samples'", a)
        kept = sorted({a % rank for a in self.axis})
        if len(kept) < len(self.axis):
            checks.fail(self.who, "each axis once", self.axis)
        return kept

    def build(self, input_shape: Shape) -> None:
        sizes: list[int] = []
        for a in self._kept(len(input_shape)):
            size = input_shape[a]
            if size is None:
                checks.fail(self.who, "axes of known size", f"input of shape {shape_text(input_shape)}")
            sizes.append(size)
        self.mean = self.add_weight("mean", sizes, "zeros", trainable=False)
        self.variance = self.add_weight("variance", sizes, "ones", trainable=False)
        for parameter, value in zip((self.mean, self.variance), self.given or ()):
            if value.ndim > len(sizes) or any(a not in (1, b) for a, b in zip(value.shape[::-1], sizes[::-1])):
                checks.fail(self.who, f"mean and variance of shape {tuple(sizes)}", value.shape)
            parameter.assign(np.broadcast_to(value, sizes))

    def expected_shape(self) -> Shape | None:
        if self.input_shape is None:
            return None
        kept = self._kept(len(self.input_shape))
        return tuple(size if a in kept else None for a, size in enumerate(self.input_shape))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._kept(len(input_shape))
        return tuple(input_shape)

    def adapt(self, data: Any) -> None:
        """Take mean and variance from data, in place of those there were: samples (N, ...), or an iterator of batches of them.

        Raises:
            ValueError: for no samples, or other shapes than the layer was built for.
            TypeError: if mean and variance were given.
        """
        if self.given is not None:
            checks.fail_type(self.who, "no adapt", "given mean and variance", "leave them out")
        batches: Iterable[Any] = [data] if isinstance(data, (np.ndarray, list, tuple)) else data
        count, mean, square = 0, np.zeros(()), np.zeros(())  # square: the sum of squared distances from the mean
        for batch in batches:
            x: NDArray[np.float64] = self.check_input(batch).astype(np.float64)
            kept = self._kept(x.ndim)
            rest = tuple(a for a in range(x.ndim) if a not in kept)
            n = math.prod(x.shape[a] for a in rest)
            if n == 0:
                continue
            own = x.mean(rest, keepdims=True)
            distance = own.reshape([x.shape[a] for a in kept]) - mean
            square = square + ((x - own) ** 2).sum(rest) + distance**2 * (count * n / (count + n))
            mean, count = mean + distance * (n / (count + n)), count + n
        if count == 0:
            checks.fail(self.who, "data of at least one sample", "none")
        self.mean.assign(mean)
        self.variance.assign(square / count)

    def _rows(self, x: Float32) -> tuple[Float32, Float32, Float32]:
        """Return x with a last axis that has a mean and a variance for every index, and these."""
        kept = self._kept(x.ndim)
        if kept == [x.ndim - 1]:
            return x, self.mean.value, self.variance.value
        shape = tuple(x.shape[a] if a in kept else 1 for a in range(1, x.ndim))
        whole = math.prod(x.shape[1:])
        mean, variance = (
            ops.broadcast(p.value.reshape(shape), x.shape[1:]).reshape(whole) for p in (self.mean, self.variance)
        )
        return x.reshape(x.shape[0], whole), mean, variance

    @staticmethod
    def _deviation(variance: Float32) -> Float32:
        """Return sqrt(variance) = variance / sqrt(variance)."""
        nothing = np.zeros(variance.shape, variance.dtype)
        y, _, _ = ops.batch_norm_inference(
            variance.reshape(1, -1), None, None, nothing, variance, epsilon=SMALLEST_SQUARE
        )
        return y.reshape(variance.shape)

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self.check_input(x)
        if training:
            self._saved = True
        rows, mean, variance = self._rows(x)
        if self.invert:
            return scaled(rows, self._deviation(variance), mean).reshape(x.shape)
        y, _, _ = ops.batch_norm_inference(rows, None, None, mean, variance, epsilon=SMALLEST_SQUARE)
        return y.reshape(x.shape)

    def backward(self, dy: Float32) -> Float32:
        self.saved()
        rows, mean, variance = self._rows(ops.as_float32(self.who, "dy", dy))
        if self.invert:
            return scaled(rows, self._deviation(variance), None).reshape(dy.shape)
        nothing = np.zeros(mean.shape, mean.dtype)
        dx, _, _ = ops.batch_norm_inference(rows, None, None, nothing, variance, epsilon=SMALLEST_SQUARE)
        return dx.reshape(dy.shape)

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.invert)

    def get_config(self) -> dict[str, Any]:
        mean, variance = (None, None) if self.given is None else (v.tolist() for v in self.given)
        axis = list(self.axis) or None
        return {**super().get_config(), "axis": axis, "mean": mean, "variance": variance, "invert": self.invert}


graph.OPERATORS.update(scale=Rescaling)
