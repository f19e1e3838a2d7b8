"""LayerNormalization, RMSNormalization, UnitNormalization: each sample by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from fastnn import checks, initializers, ops
from fastnn.checks import Float32
from fastnn.layers.base import Layer, initializer_of
from fastnn.names import Shape, shape_text
from fastnn.parameter import Parameter

Axes = int | Sequence[int]


def value_of(parameter: Parameter | None) -> Float32 | None:
    """Return the values as one row, None for no parameter."""
    return None if parameter is None else parameter.value.reshape(-1)


class AxesLayer(Layer):
    """A layer that works on the numbers along some axes of each sample, as rows."""

    def __init__(self, axis: Axes, **base: Any) -> None:
        super().__init__(**base)
        several = isinstance(axis, (list, tuple))
        entries = [checks.integer(self.who, "axis", a) for a in (axis if isinstance(axis, (list, tuple)) else [axis])]
        self.axis: int | list[int] = entries if several else entries[0]

    def _axes(self, rank: int) -> list[int]:
        """Return the axes, counted from the front, in order."""
        given = self.axis if isinstance(self.axis, list) else [self.axis]
        axes = [a + rank if a < 0 else a for a in given]
        if not axes or len(set(axes)) < len(axes) or not all(1 <= a < rank for a in axes):
            checks.fail(self.who, f"axis of an input of rank {rank}, not the batch's, each once", self.axis)
        return sorted(axes)

    def _sizes(self, input_shape: Shape) -> tuple[int, ...]:
        """Return the sizes along the axes."""
        sizes = [input_shape[a] for a in self._axes(len(input_shape))]
        if None in sizes:
            checks.fail(self.who, "normalized axes of known size", shape_text(input_shape))
        return tuple(s for s in sizes if s is not None)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._axes(len(input_shape))
        return tuple(input_shape)

    def expected_shape(self) -> Shape | None:
        if self.input_shape is None:
            return None
        axes = self._axes(len(self.input_shape))
        return tuple(s if i in axes else None for i, s in enumerate(self.input_shape))

    def _order(self, rank: int) -> list[int]:
        axes = self._axes(rank)
        return [*(a for a in range(rank) if a not in axes), *axes]

    def _to_rows(self, x: Float32) -> Float32:
        """Return x as (rows, numbers along the axes)."""
        order, width = self._order(x.ndim), math.prod(x.shape[a] for a in self._axes(x.ndim))
        turned = x if order == list(range(x.ndim)) else ops.permute(x, order)
        return turned.reshape(math.prod(x.shape[a] for a in range(x.ndim) if a not in self._axes(x.ndim)), width)

    def _from_rows(self, rows: Float32, shape: Sequence[int]) -> Float32:
        """Return rows in the shape that they come from."""
        order = self._order(len(shape))
        turned = rows.reshape([shape[a] for a in order])
        if order == list(range(len(shape))):
            return turned
        return ops.permute(turned, [order.index(a) for a in range(len(shape))])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}


class LayerNormalization(AxesLayer):
    """Give every sample mean 0 and variance 1, then scale and shift each of its numbers.

    y = gamma (x - mean) / sqrt(variance + epsilon) + beta, mean and biased variance over `axis` of each sample

    Args:
        axis: the axis, or a list of axes, that is normalized; gamma and beta have its sizes. -1 is the last.
        epsilon: added to the variance, > 0.
        center: whether beta is added.
        scale: whether gamma multiplies.
        beta_initializer, gamma_initializer: initializers of beta and gamma.
        beta_regularizer, gamma_regularizer: what beta and gamma add to the loss, or None.
        beta_constraint, gamma_constraint: what beta and gamma are brought to after every update, or None.

    Shape:
        any of rank >= 2, unchanged. The same in training and otherwise; the batch's axis cannot be normalized.

    Reference:
        Ba, Kiros & Hinton (2016), Layer normalization.

    Example:
        >>> import numpy as np
        >>> y = fastnn.layers.LayerNormalization()(np.array([[1.0, 3.0]]))
        >>> [round(float(v), 3) for v in y.ravel()]
        [-1.0, 1.0]
    """

    recordable: ClassVar[bool] = True
    supports_masking: ClassVar[bool] = True
    weight_names: ClassVar[tuple[str, ...]] = ("beta", "gamma")

    def __init__(
        self,
        axis: Axes = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **base: Any,
    ) -> None:
        super().__init__(
            axis,
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint,
            gamma_constraint=gamma_constraint,
            **base,
        )
        self.epsilon = checks.number(self.who, "epsilon", epsilon, above=0.0)
        self.center = checks.boolean(self.who, "center", center)
        self.scale = checks.boolean(self.who, "scale", scale)
        self.beta_initializer = initializer_of(beta_initializer)
        self.gamma_initializer = initializer_of(gamma_initializer)
        self.gamma: Parameter | None = None
        self.beta: Parameter | None = None

    def build(self, input_shape: Shape) -> None:
        sizes = self._sizes(input_shape)
        if self.scale:
            self.gamma = self.add_weight("gamma", sizes, self.gamma_initializer)
        if self.center:
            self.beta = self.add_weight("beta", sizes, self.beta_initializer)

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self.check_input(x)
        rows = self._to_rows(x)
        y, mean, rstd = ops.layer_norm_forward(rows, value_of(self.gamma), value_of(self.beta), epsilon=self.epsilon)
        if training:
            self._saved = rows, mean, rstd, x.shape
        return self._from_rows(y, x.shape)

    def backward(self, dy: Float32) -> Float32:
        rows, mean, rstd, shape = self.saved()
        sums = [p.gradient.reshape(-1) if p is not None and self.trainable else None for p in (self.gamma, self.beta)]
        dx = ops.layer_norm_backward(rows, self._to_rows(dy), value_of(self.gamma), mean, rstd, *sums)
        return self._from_rows(dx, shape)

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.epsilon)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": initializers.serialize(self.beta_initializer),
            "gamma_initializer": initializers.serialize(self.gamma_initializer),
        }


class RMSNormalization(AxesLayer):
    """Give every sample the mean square 1, then scale each of its numbers.

    y = scale x / sqrt(mean of x^2 + epsilon), the mean over `axis` of each sample

    Args:
        axis: the axis, or a list of axes, that is normalized; scale has its sizes. -1 is the last.
        epsilon: added to the mean square, > 0.

    Shape:
        any of rank >= 2, unchanged.

    Reference:
        Zhang & Sennrich (2019), Root mean square layer normalization.

    Example:
        >>> import numpy as np
        >>> y = fastnn.layers.RMSNormalization()(np.array([[1.0, 7.0]]))
        >>> [round(float(v), 3) for v in y.ravel()]
        [0.2, 1.4]
    """

    recordable: ClassVar[bool] = True

    def __init__(self, axis: Axes = -1, epsilon: float = 1e-6, **base: Any) -> None:
        super().__init__(axis, **base)
        self.epsilon = checks.number(self.who, "epsilon", epsilon, above=0.0)
        self.scale: Parameter

    def build(self, input_shape: Shape) -> None:
        self.scale = self.add_weight("scale", self._sizes(input_shape), "ones")

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self.check_input(x)
        rows, scale = self._to_rows(x), value_of(self.scale)
        y, mean, rstd = ops.layer_norm_forward(rows, scale, None, epsilon=self.epsilon, centered=False)
        if training:
            self._saved = rows, mean, rstd, x.shape
        return self._from_rows(y, x.shape)

    def backward(self, dy: Float32) -> Float32:
        rows, mean, rstd, shape = self.saved()
        sums = self.scale.gradient.reshape(-1) if self.trainable else None
        scale = value_of(self.scale)
        dx = ops.layer_norm_backward(rows, self._to_rows(dy), scale, mean, rstd, sums, centered=False)
        return self._from_rows(dx, shape)

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.epsilon)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


class UnitNormalization(AxesLayer):
    """Give every sample length 1.

    y = x / sqrt(max(sum of x^2, 1e-12)), the sum over `axis` of each sample

    Args:
        axis: the axis, or a list of axes, that is normalized. -1 is the last.

    Shape:
        any of rank >= 2, unchanged.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.UnitNormalization()(np.array([[0.0, 0.5]])).tolist()
        [[0.0, 1.0]]
    """

    recordable: ClassVar[bool] = True
    supports_masking: ClassVar[bool] = True

    def __init__(self, axis: Axes = -1, **base: Any) -> None:
        super().__init__(axis, **base)

    def expected_shape(self) -> Shape | None:
        return None

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self.check_input(x)
        self._axes(x.ndim)
        y, r = ops.unit_norm_forward(self._to_rows(x))
        if training:
            self._saved = y, r, x.shape
        return self._from_rows(y, x.shape)

    def backward(self, dy: Float32) -> Float32:
        y, r, shape = self.saved()
        return self._from_rows(ops.unit_norm_backward(self._to_rows(dy), y, r), shape)
