"""Rectifiers with slopes of their own, learned or random, and Maxout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from fastnn import checks, initializers, ops
from fastnn.checks import Float32
from fastnn.layers.base import Layer, initializer_of
from fastnn.layers.noise import RandomLayer
from fastnn.names import Shape, shape_text
from fastnn.parameter import Parameter


class PReLU(Layer):
    """Scale negative values by learned factors.

    y = x for x > 0, alpha x below; d alpha = sum of dy x where x <= 0

    Args:
        alpha_initializer: initializer of alpha.
        alpha_regularizer: what alpha adds to the loss, or None.
        alpha_constraint: what alpha is brought to after every update, or None.
        shared_axes: axes along which one alpha is used, an integer or several from 1 on; [1, 2] gives an image's channels one each.

    Shape:
        any, unchanged; alpha has the shape of a sample, with 1 along the shared axes.

    Raises:
        ValueError: for axes that an input does not have, or samples of another shape than it was built for.

    Reference:
        He, Zhang, Ren & Sun (2015), Delving deep into rectifiers.

    Example:
        >>> import numpy as np
        >>> layer = fastnn.layers.PReLU(fastnn.initializers.Constant(0.25))
        >>> layer(np.array([[-4.0, 2.0]])).tolist()
        [[-1.0, 2.0]]
        >>> layer.count_params()
        2
    """

    recordable: ClassVar[bool] = True
    supports_masking: ClassVar[bool] = True
    weight_names: ClassVar[tuple[str, ...]] = ("alpha",)

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        **base: Any,
    ) -> None:
        super().__init__(alpha_regularizer=alpha_regularizer, alpha_constraint=alpha_constraint, **base)
        self.alpha_initializer = initializer_of(alpha_initializer)
        axes = [] if shared_axes is None else shared_axes if isinstance(shared_axes, (list, tuple)) else [shared_axes]
        self.shared_axes = [checks.integer(self.who, "shared_axes", axis, 1) for axis in axes]
        self.alpha: Parameter

    def build(self, input_shape: Shape) -> None:
        if any(axis >= len(input_shape) for axis in self.shared_axes):
            checks.fail(self.who, f"shared_axes from 1 to {len(input_shape) - 1}", self.shared_axes)
        shape = [1 if i in self.shared_axes else size for i, size in enumerate(input_shape)][1:]
        if None in shape:
            checks.fail(self.who, "known sizes along the axes that are not shared", shape_text(input_shape))
        self.alpha = self.add_weight("alpha", [size for size in shape if size is not None], self.alpha_initializer)

    def expected_shape(self) -> Shape | None:
        if self.input_shape is None:
            return None
        return tuple(None if i in self.shared_axes else size for i, size in enumerate(self.input_shape))

    def _columns(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the sizes of a sample's last axes: all behind the first shared ones, along which alpha repeats as a whole."""
        first = 1
        while first in self.shared_axes:
            first += 1
        return tuple(shape[first:])

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self.check_input(x)
        columns = self._columns(x.shape)
        alpha = self.alpha.value.reshape(self.alpha.shape[len(self.alpha.shape) - len(columns) :])
        if alpha.shape != columns:
            alpha = ops.broadcast(alpha, columns)
        flat = x.reshape(x.size // max(math.prod(columns), 1), math.prod(columns))
        if training:
            self._saved = flat, alpha.reshape(-1), columns
        return ops.prelu_forward(flat, alpha.reshape(-1)).reshape(x.shape)

    def backward(self, dy: Float32) -> Float32:
        x, alpha, columns = self.saved()
        dy = ops.as_float32(self.who, "dy", dy)
        learned = self.alpha.grad if self.trainable else None
        if learned is None or learned.size == alpha.size:
            return ops.prelu_backward(
                dy.reshape(x.shape), x, alpha, None if learned is None else learned.reshape(-1)
            ).reshape(dy.shape)
        dalpha = ops.empty(columns, learned.dtype)
        dx = ops.prelu_backward(dy.reshape(x.shape), x, alpha, dalpha.reshape(-1)).reshape(dy.shape)
        shape = learned.shape[learned.ndim - len(columns) :]
        ops.add(ops.broadcast_backward(dalpha, shape), out=learned.reshape(shape))
        return dx

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "alpha_initializer": initializers.serialize(self.alpha_initializer),
            "shared_axes": self.shared_axes or None,
        }


class RReLU(RandomLayer):
    """Scale negative values by random factors in training, by their mean otherwise.

    training: y = x for x > 0, a x below, with a drawn from [lower, upper] for every value; otherwise a = (lower + upper) / 2

    The factors are a function of the seed and of how many training passes were made, whatever the number of threads.

    Args:
        lower: smallest factor, >= 0.
        upper: largest factor, >= lower.
        seed: integer >= 0; None draws one from the package's seed sequence.

    Shape:
        any, unchanged.

    Reference:
        Xu, Wang, Chen & Li (2015), Empirical evaluation of rectified activations in convolutional network.

    Example:
        >>> import numpy as np
        >>> layer = fastnn.layers.RReLU(0.25, 0.75, seed=1)
        >>> layer(np.array([[-2.0, 2.0]])).tolist()
        [[-1.0, 2.0]]
        >>> y = layer(np.full((4, 8), -1.0), training=True)
        >>> bool(y.min() >= -0.75 and y.max() <= -0.25 and y.min() < y.max())
        True
    """

    recordable: ClassVar[bool] = True
    supports_masking: ClassVar[bool] = True

    def __init__(
        self, lower: float = 1.0 / 8.0, upper: float = 1.0 / 3.0, seed: int | None = None, **base: Any
    ) -> None:
        super().__init__(seed, **base)
        self.lower = checks.number(self.who, "lower", lower, 0.0)
        self.upper = checks.number(self.who, "upper", upper, self.lower)

    def _mean(self) -> float:
        """Return the factor outside of training."""
        return 0.5 * (self.lower + self.upper)

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self.check_input(x)
        if not training or self.inference:
            y = ops.activation_forward(x, "leaky_relu", self._mean())
            if training:
                self._saved = x, y
            return y
        y, used = ops.random_relu_forward(x, self.lower, self.upper, self.seed, 0, self.counter)
        self._saved = x, used
        return y

    def backward(self, dy: Float32) -> Float32:
        x, used = self.saved()
        if self.inference:
            return ops.activation_backward(dy, x, used, "leaky_relu", self._mean())
        return ops.random_relu_backward(dy, x, self.lower, self.upper, self.seed, 0, used)

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.lower, self.upper)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "lower": self.lower, "upper": self.upper}


class Maxout(Layer):
    """Keep the largest of every group of neighbors on the last axis: behind a `Dense`, units made of several linear pieces.

    y[j] = max(x[j group_size], ..., x[(j + 1) group_size - 1]); the gradient goes to the first of equal ones

    Args:
        group_size: how many values become one, >= 1.

    Shape:
        x: (N, ..., units group_size) float32 -> y: (N, ..., units).

    Raises:
        ValueError: if the last axis is no multiple of group_size.

    Reference:
        Goodfellow, Warde-Farley, Mirza, Courville & Bengio (2013), Maxout networks.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.Maxout(2)(np.array([[5.0, 7.0, -1.0, 1.0]])).tolist()
        [[7.0, 1.0]]
    """

    recordable: ClassVar[bool] = True
    supports_masking: ClassVar[bool] = True

    def __init__(self, group_size: int = 2, **base: Any) -> None:
        super().__init__(**base)
        self.group_size = checks.integer(self.who, "group_size", group_size, 1)

    def expected_shape(self) -> Shape | None:
        return None

    def check_shape(self, shape: Sequence[int | None]) -> None:
        if len(shape) < 2 or shape[-1] is None or shape[-1] % self.group_size:
            checks.fail(
                self.who,
                f"input of shape (N, ..., a multiple of {self.group_size})",
                self._got(shape),
                "give the layer before it units * group_size units",
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self.check_shape(input_shape)
        return (*input_shape[:-1], (input_shape[-1] or 0) // self.group_size)

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self.check_input(x)
        shape = (*x.shape[:-1], x.shape[-1] // self.group_size)
        image = (math.prod(x.shape[:-1]), 1, x.shape[-1], 1)  # a group is a window, one pixel high
        window = (1, self.group_size)
        y, index = ops.max_pool2d_forward(x.reshape(image), pool_size=window, strides=window)
        if training:
            self._saved = image, index, x.shape
        return y.reshape(shape)

    def backward(self, dy: Float32) -> Float32:
        image, index, shape = self.saved()
        dy = ops.as_float32(self.who, "dy", dy).reshape(image[0], 1, image[2] // self.group_size, 1)
        window = (1, self.group_size)
        return ops.max_pool2d_backward(dy, index, image, pool_size=window, strides=window).reshape(shape)

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.group_size)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "group_size": self.group_size}
