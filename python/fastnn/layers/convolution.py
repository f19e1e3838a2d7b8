"""Conv2D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fastnn import activations, checks, initializers, ops
from fastnn.checks import Float32
from fastnn.layers import geometry
from fastnn.layers.base import initializer_of
from fastnn.layers.core import ActivatedLayer, data_format_of
from fastnn.names import Shape, shape_text
from fastnn.parameter import Parameter


class Conv2D(ActivatedLayer):
    """Slide filters over images.

    y[n, p, q, k] = f(bias[k] + sum over r, s, c of x[n, p sh + r dh - top, q sw + s dw - left, c] kernel[r, s, c, k])

    Args:
        filters: output channels K, >= 1.
        kernel_size: rows and columns of the filter in pixels, >= 1; one number for both.
        strides: step between windows in pixels, >= 1.
        padding: "valid" (none), "same" (ceil(size / stride) outputs), or pixels: one number, (rows, columns) or
            ((top, bottom), (left, right)).
        data_format: "channels_last" (None) or "channels_first".
        dilation_rate: distance between the filter's taps in pixels, >= 1.
        groups: input channels and filters are cut into that many groups, each connected within itself.
        activation: name or Activation; None is linear.
        use_bias: whether bias is added.
        kernel_initializer: initializer of kernel, shape (R, S, C / groups, K).
        bias_initializer: initializer of bias, shape (K,).
        kernel_regularizer, bias_regularizer, activity_regularizer: what kernel, bias and output add to the loss, or None.
        kernel_constraint, bias_constraint: what kernel and bias are brought to after every update, or None.

    Shape:
        x: (N, H, W, C) float32 -> y: (N, P, Q, K), P = (H + top + bottom - dh (R - 1) - 1) // sh + 1.

    Raises:
        ValueError: if the window is larger than the padded image, or groups does not divide C and K.

    Reference:
        LeCun, Bottou, Bengio & Haffner (1998), Gradient-based learning applied to document recognition.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.Conv2D(6, 5, padding="same", activation="relu")(np.ones((1, 28, 28, 1))).shape
        (1, 28, 28, 6)
    """

    recordable: ClassVar[bool] = True
    takes_relu: ClassVar[bool] = True
    weight_names: ClassVar[tuple[str, ...]] = ("kernel", "bias")

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: Any = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **base: Any,
    ) -> None:
        super().__init__(
            activation,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            **base,
        )
        self.filters = checks.integer(self.who, "filters", filters, 1)
        self.kernel_size = checks.pair(self.who, "kernel_size", kernel_size)
        self.strides = checks.pair(self.who, "strides", strides)
        self.padding = geometry.padding_of(self.who, padding)
        self.data_format = data_format_of(self.who, data_format)
        self.dilation_rate = checks.pair(self.who, "dilation_rate", dilation_rate)
        self.groups = checks.integer(self.who, "groups", groups, 1)
        self.use_bias = checks.boolean(self.who, "use_bias", use_bias)
        self.kernel_initializer = initializer_of(kernel_initializer)
        self.bias_initializer = initializer_of(bias_initializer)
        if self.filters % self.groups:
            checks.fail(self.who, f"filters divisible by groups = {self.groups}", self.filters)
        self.kernel: Parameter
        self.bias: Parameter | None = None

    def build(self, input_shape: Shape) -> None:
        count = geometry.channels(input_shape, self.data_format)
        if count is None or count % self.groups:
            checks.fail(self.who, f"channels divisible by groups = {self.groups}", shape_text(input_shape))
        shape = (*self.kernel_size, count // self.groups, self.filters)
        self.kernel = self.add_weight("kernel", shape, self.kernel_initializer)
        if self.use_bias:
            self.bias = self.add_weight("bias", (self.filters,), self.bias_initializer)

    def expected_shape(self) -> Shape | None:
        count = None if self.input_shape is None else geometry.channels(self.input_shape, self.data_format)
        return geometry.image_shape((None, None), count, self.data_format)

    def shape_advice(self, shape: Sequence[int | None]) -> str:
        if len(shape) == 3:
            return "give the images a channel axis: x[..., None]"
        return (
            f"it was built for {geometry.channels(self.input_shape, self.data_format)} channels"
            if self.input_shape
            else ""
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = geometry.output_sizes(
            self.padding,
            geometry.spatial(input_shape, self.data_format),
            self.kernel_size,
            self.strides,
            self.dilation_rate,
        )
        if any(s is not None and s < 1 for s in sizes):
            checks.fail(
                self.who,
                f"images at least as large as the window {self.kernel_size} (dilation {self.dilation_rate})",
                f"input of shape {shape_text(input_shape)}",
                "use padding='same' or fewer strided layers before it",
            )
        return geometry.image_shape(sizes, self.filters, self.data_format)

    def _options(self, shape: Sequence[int]) -> dict[str, Any]:
        """Return the geometry of the convolution of images of this channels-last shape."""
        padding = geometry.explicit_padding(
            self.padding, shape[1:3], self.kernel_size, self.strides, self.dilation_rate
        )
        return {"strides": self.strides, "padding": padding, "dilation": self.dilation_rate, "groups": self.groups}

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = geometry.to_last(self.check_input(x), self.data_format)
        f, options = self.effective(), self._options(x.shape)
        bias = None if self.bias is None else self.bias.value
        if f.fusable:
            z = None
            y = ops.conv2d_forward(x, self.kernel.value, bias, activation=f.kind, alpha=f.alpha, **options)
        else:
            z = ops.conv2d_forward(x, self.kernel.value, bias, **options)
            y = f.forward(z)
        if training:
            self._saved = x, None if f.from_output else z, y
        return geometry.from_last(y, self.data_format)

    def backward(self, dy: Float32) -> Float32 | None:
        x, z, y = self.saved()
        options = self._options(x.shape)
        dz = self.before_activation(geometry.to_last(dy, self.data_format), z, y)
        if self.trainable:
            dbias = None if self.bias is None else self.bias.grad
            ops.conv2d_backward_filter(x, dz, self.kernel.gradient, dbias, **options)
        if not self.need_dx:
            return None
        relu_output = x if self.relu_input else None
        dx = ops.conv2d_backward_input(dz, self.kernel.value, x.shape, **options, relu_output=relu_output)
        return geometry.from_last(dx, self.data_format)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": list(self.kernel_size),
            "strides": list(self.strides),
            "padding": self.padding if isinstance(self.padding, str) else [list(p) for p in self.padding],
            "data_format": self.data_format,
            "dilation_rate": list(self.dilation_rate),
            "groups": self.groups,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
        }
