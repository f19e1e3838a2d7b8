"""BatchNormalization."""

from __future__ import annotations

from typing import Any, ClassVar

from fastnn import checks, initializers, ops
from fastnn.checks import Float32
from fastnn.layers.base import Layer, initializer_of
from fastnn.names import Shape, shape_text
from fastnn.parameter import Parameter


class BatchNormalization(Layer):
    """Give every channel mean 0 and variance 1 over the batch, then scale and shift it.

    training: y = gamma (x - mean) / sqrt(variance + epsilon) + beta, moving = momentum moving + (1 - momentum) batch
    otherwise: the same with the moving mean and variance

    Args:
        axis: the channels' axis; -1 is the last.
        momentum: of the moving statistics, in [0, 1].
        epsilon: added to the variance, > 0.
        center: whether beta is added.
        scale: whether gamma multiplies.
        beta_initializer, gamma_initializer: initializers of beta and gamma.
        moving_mean_initializer, moving_variance_initializer: initializers of the moving statistics.
        beta_regularizer, gamma_regularizer: what beta and gamma add to the loss, or None.
        beta_constraint, gamma_constraint: what beta and gamma are brought to after every update, or None.
        synchronized: accepted, and without effect: a batch is never spread over several machines.

    Shape:
        any of rank >= 2, unchanged; statistics over all axes but `axis`. Variances are biased (divided by the count).
        With trainable=False, or called on a symbolic tensor with training=False, it uses the moving statistics, and does not change
        them, in training too.

    Raises:
        ValueError: for an empty batch in training, which has no statistics.

    Reference:
        Ioffe & Szegedy (2015), Batch normalization.

    Example:
        >>> import numpy as np
        >>> layer = fastnn.layers.BatchNormalization()
        >>> y = layer(np.array([[1.0], [3.0]]), training=True)
        >>> [round(float(v), 3) for v in y.ravel()]
        [-1.0, 1.0]
    """

    recordable: ClassVar[bool] = True
    supports_masking: ClassVar[bool] = True
    weight_names: ClassVar[tuple[str, ...]] = ("beta", "gamma")

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        synchronized: bool = False,
        **base: Any,
    ) -> None:
        super().__init__(
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint,
            gamma_constraint=gamma_constraint,
            **base,
        )
        checks.boolean(self.who, "synchronized", synchronized)
        self.axis = checks.integer(self.who, "axis", axis)
        self.momentum = checks.number(self.who, "momentum", momentum, 0.0, 1.0)
        self.epsilon = checks.number(self.who, "epsilon", epsilon, above=0.0)
        self.center = checks.boolean(self.who, "center", center)
        self.scale = checks.boolean(self.who, "scale", scale)
        self.beta_initializer = initializer_of(beta_initializer)
        self.gamma_initializer = initializer_of(gamma_initializer)
        self.moving_mean_initializer = initializer_of(moving_mean_initializer)
        self.moving_variance_initializer = initializer_of(moving_variance_initializer)
        self.gamma: Parameter | None = None
        self.beta: Parameter | None = None
        self.moving_mean: Parameter
        self.moving_variance: Parameter

    def build(self, input_shape: Shape) -> None:
        count = input_shape[self._axis(len(input_shape))]
        if count is None:
            checks.fail(self.who, "a channel axis of known size", shape_text(input_shape))
        if self.scale:
            self.gamma = self.add_weight("gamma", (count,), self.gamma_initializer)
        if self.center:
            self.beta = self.add_weight("beta", (count,), self.beta_initializer)
        self.moving_mean = self.add_weight("moving_mean", (count,), self.moving_mean_initializer, trainable=False)
        self.moving_variance = self.add_weight(
            "moving_variance", (count,), self.moving_variance_initializer, trainable=False
        )

    def _axis(self, rank: int) -> int:
        axis = self.axis + rank if self.axis < 0 else self.axis
        if not 1 <= axis < rank:
            checks.fail(self.who, f"axis of an input of rank {rank}, not the batch's", self.axis)
        return axis

    def expected_shape(self) -> Shape | None:
        if self.input_shape is None:
            return None
        axis = self._axis(len(self.input_shape))
        return tuple(s if i == axis else None for i, s in enumerate(self.input_shape))

    def _to_last(self, x: Float32) -> Float32:
        axis = self._axis(x.ndim)
        return x if axis == x.ndim - 1 else ops.permute(x, [a for a in range(x.ndim) if a != axis] + [axis])

    def _from_last(self, x: Float32) -> Float32:
        axis = self._axis(x.ndim)
        if axis == x.ndim - 1:
            return x
        others = list(range(x.ndim - 1))
        return ops.permute(x, [*others[:axis], x.ndim - 1, *others[axis:]])

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self._to_last(self.check_input(x))
        y, kept = self._normalized(x, training)
        if training:
            self._saved = *kept, False, None
        return self._from_last(y)

    def forward_relu(self, x: Float32, residual: Float32 | None, training: bool) -> Float32:
        """Return relu(forward(x) + residual), made in one pass; `backward_relu` is then the way back.

        Args:
            x: of channels last.
            residual: of the same shape; None adds nothing.
            training: as in `forward`.
        """
        y, kept = self._normalized(self.check_input(x), training, residual, relu=True)
        if training:
            self._saved = *kept, True, None if residual is None else y
        return y

    def _normalized(
        self, x: Float32, training: bool, residual: Float32 | None = None, relu: bool = False
    ) -> tuple[Float32, tuple[Float32, Float32, Float32, bool]]:
        """Return the output, and what backward needs: x, mean and 1 / standard deviation, whether these depend on x."""
        gamma, beta = (None if p is None else p.value for p in (self.gamma, self.beta))
        moving = self.moving_mean.value, self.moving_variance.value
        learns = training and self.trainable and not self.inference
        after: dict[str, Any] = {"epsilon": self.epsilon, "residual": residual, "relu": relu}
        if learns:
            if x.size == 0:
                checks.fail(self.who, "at least one sample in training", f"input of shape {x.shape}")
            if self.input_mask is not None:
                fix = "use LayerNormalization, or put it before Masking"
                checks.fail(self.who, "an input without a mask in training", "one with a mask", fix)
            y, mean, rstd = ops.batch_norm_forward(x, gamma, beta, *moving, momentum=self.momentum, **after)
        else:
            y, mean, rstd = ops.batch_norm_inference(x, gamma, beta, *moving, **after)
        return y, (x, mean, rstd, learns)

    def backward(self, dy: Float32) -> Float32:
        return self._from_last(self._gradient(self._to_last(dy)))

    def backward_relu(
        self, dy: Float32, need_residual: bool, more: Float32 | None = None
    ) -> tuple[Float32, Float32 | None]:
        """Return the gradients of x and of the residual of `forward_relu`, the latter where wanted. more: added to dy."""
        if self.skip_slope:  # the relu's derivative is in dy already
            dy = dy if more is None else ops.add(dy, more)
            return self._gradient(dy), dy if need_residual else None
        dresidual = ops.empty(dy.shape) if need_residual else None
        return self._gradient(dy, dresidual, more), dresidual

    def _gradient(self, dy: Float32, dresidual: Float32 | None = None, more: Float32 | None = None) -> Float32:
        x, mean, rstd, learns, relu, y = self.saved()
        gamma, beta = (None if p is None else p.value for p in (self.gamma, self.beta))
        dgamma, dbeta = (p.grad if p is not None and self.trainable else None for p in (self.gamma, self.beta))
        return ops.batch_norm_backward(
            x,
            dy,
            gamma,
            mean,
            rstd,
            dgamma,
            dbeta,
            dresidual,
            fixed_statistics=not learns,
            relu=relu and not self.skip_slope,
            relu_y=y,
            beta=beta,
            more=more,
        )

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.momentum, self.epsilon)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "axis": self.axis,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": initializers.serialize(self.beta_initializer),
            "gamma_initializer": initializers.serialize(self.gamma_initializer),
            "moving_mean_initializer": initializers.serialize(self.moving_mean_initializer),
            "moving_variance_initializer": initializers.serialize(self.moving_variance_initializer),
        }
