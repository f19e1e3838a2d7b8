"""GroupNormalization."""

from __future__ import annotations

from typing import Any, ClassVar

from fastnn import checks, initializers, ops
from fastnn.checks import Float32
from fastnn.layers.base import Layer, initializer_of
from fastnn.layers.rows import value_of
from fastnn.names import Shape, shape_text
from fastnn.parameter import Parameter


class GroupNormalization(Layer):
    """Give groups of channels of every sample mean 0 and variance 1, then scale and shift each channel.

    y = gamma (x - mean) / sqrt(variance + epsilon) + beta, mean and biased variance over a group of channels and all positions of a
    sample

    Args:
        groups: how many the channels are cut into; must divide their number. -1: each channel by itself (instance normalization).
        axis: the channels' axis; -1 is the last.
        epsilon: added to the variance, > 0.
        center: whether beta is added.
        scale: whether gamma multiplies.
        beta_initializer, gamma_initializer: initializers of beta and gamma.
        beta_regularizer, gamma_regularizer: what beta and gamma add to the loss, or None.
        beta_constraint, gamma_constraint: what beta and gamma are brought to after every update, or None.

    Shape:
        any of rank >= 2, unchanged.

    Raises:
        ValueError: if groups does not divide the number of channels.

    Reference:
        Wu & He (2018), Group normalization.

    Example:
        >>> import numpy as np
        >>> y = fastnn.layers.GroupNormalization(groups=2)(np.array([[[1.0, 3.0, 7.0, 5.0]]]))
        >>> [round(float(v), 2) for v in y.ravel()]
        [-1.0, 1.0, 1.0, -1.0]
    """

    recordable: ClassVar[bool] = True
    supports_masking: ClassVar[bool] = True
    weight_names: ClassVar[tuple[str, ...]] = ("beta", "gamma")

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
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
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint,
            gamma_constraint=gamma_constraint,
            **base,
        )
        self.groups = checks.integer(self.who, "groups", groups, -1)
        if self.groups == 0:
            checks.fail(self.who, "groups >= 1, or -1 for each channel by itself", 0)
        self.axis = checks.integer(self.who, "axis", axis)
        self.epsilon = checks.number(self.who, "epsilon", epsilon, above=0.0)
        self.center = checks.boolean(self.who, "center", center)
        self.scale = checks.boolean(self.who, "scale", scale)
        self.beta_initializer = initializer_of(beta_initializer)
        self.gamma_initializer = initializer_of(gamma_initializer)
        self.gamma: Parameter | None = None
        self.beta: Parameter | None = None

    def _axis(self, rank: int) -> int:
        axis = self.axis + rank if self.axis < 0 else self.axis
        if not 1 <= axis < rank:
            checks.fail(self.who, f"axis of an input of rank {rank}, not the batch's", self.axis)
        return axis

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        count = input_shape[self._axis(len(input_shape))]
        if count is None:
            checks.fail(self.who, "a channel axis of known size", shape_text(input_shape))
        if self.groups > 0 and count % self.groups:
            checks.fail(self.who, f"channels divisible by groups = {self.groups}", shape_text(input_shape))
        return tuple(input_shape)

    def build(self, input_shape: Shape) -> None:
        sizes = (input_shape[self._axis(len(input_shape))] or 0,)
        if self.scale:
            self.gamma = self.add_weight("gamma", sizes, self.gamma_initializer)
        if self.center:
            self.beta = self.add_weight("beta", sizes, self.beta_initializer)

    def expected_shape(self) -> Shape | None:
        if self.input_shape is None:
            return None
        axis = self._axis(len(self.input_shape))
        return tuple(s if i == axis else None for i, s in enumerate(self.input_shape))

    def _moved(self, x: Float32, back: bool = False) -> Float32:
        """Return x with the channels' axis at the end, or back in its place."""
        axis, axes = self._axis(x.ndim), list(range(x.ndim))
        if axis == x.ndim - 1:
            return x
        to_last = [a for a in axes if a != axis] + [axis]
        return ops.permute(x, [to_last.index(a) for a in axes] if back else to_last)

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self._moved(self.check_input(x))
        groups = x.shape[-1] if self.groups < 0 else self.groups
        y, mean, rstd = ops.group_norm_forward(
            x, value_of(self.gamma), value_of(self.beta), groups, epsilon=self.epsilon
        )
        if training:
            self._saved = x, mean, rstd
        return self._moved(y, back=True)

    def backward(self, dy: Float32) -> Float32:
        x, mean, rstd = self.saved()
        sums = [p.gradient if p is not None and self.trainable else None for p in (self.gamma, self.beta)]
        dx = ops.group_norm_backward(x, self._moved(dy), value_of(self.gamma), mean, rstd, *sums)
        return self._moved(dx, back=True)

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.epsilon)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "groups": self.groups,
            "axis": self.axis,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": initializers.serialize(self.beta_initializer),
            "gamma_initializer": initializers.serialize(self.gamma_initializer),
        }
