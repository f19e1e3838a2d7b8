"""Convolution over sequences, images and volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fastnn import checks, initializers, ops
from fastnn.checks import Float32
from fastnn.layers import spatial
from fastnn.layers.base import initializer_of
from fastnn.layers.convolving import ConvolutionLayer
from fastnn.names import Shape, shape_text
from fastnn.parameter import Parameter


class Convolution(ConvolutionLayer):
    """Convolution with filters that see all channels, or those of their group."""

    takes_relu: ClassVar[bool] = True
    weight_names: ClassVar[tuple[str, ...]] = ("kernel", "bias")

    def __init__(self, *, filters: int, groups: int, kernel_initializer: Any, **shared: Any) -> None:
        super().__init__(**shared)
        self.filters = checks.integer(self.who, "filters", filters, 1)
        self.groups = checks.integer(self.who, "groups", groups, 1)
        self.kernel_initializer = initializer_of(kernel_initializer)
        if self.filters % self.groups:
            checks.fail(self.who, f"filters divisible by groups = {self.groups}", self.filters)
        self.kernel: Parameter

    def build(self, input_shape: Shape) -> None:
        count = spatial.channels(input_shape, self.data_format)
        if count is None or count % self.groups:
            checks.fail(self.who, f"channels divisible by groups = {self.groups}", shape_text(input_shape))
        shape = (*self.kernel_size, count // self.groups, self.filters)
        self.kernel = self.add_weight("kernel", shape, self.kernel_initializer)
        if self.use_bias:
            self.bias = self.add_weight("bias", (self.filters,), self.bias_initializer)

    def channels(self, inputs: int | None) -> int | None:
        return self.filters

    def geometry(self, x: Float32) -> dict[str, Any]:
        """Return the options of the convolution of a batch."""
        sizes = self.input_sizes(x)
        pads = spatial.explicit(self.padding, sizes, self.kernel_size, self.strides, self.dilation_rate)
        return {**self.options(pads), "groups": self.groups}

    def apply(self, x: Float32, bias: Float32 | None, activation: str, alpha: float) -> tuple[Float32, Any]:
        kernel = self.lifted_kernel(self.kernel.value)
        y = self.products.forward(x, kernel, bias, activation=activation, alpha=alpha, **self.geometry(x))
        return y, None

    def gradients(self, x: Float32, kept: Any, dz: Float32) -> Float32 | None:
        geometry = self.geometry(x)
        if self.trainable:
            dbias = None if self.bias is None else self.bias.grad
            self.products.backward_filter(x, dz, self.lifted_kernel(self.kernel.gradient), dbias, **geometry)
        if not self.need_dx:
            return None
        kernel, geometry["relu_output"] = self.lifted_kernel(self.kernel.value), x if self.relu_input else None
        if self.onto is not None:
            geometry["onto"] = self.onto.reshape(x.shape)
        return self.products.backward_input(dz, kernel, x.shape, **geometry)

    def adds_onto(self) -> bool:
        return self.rank < 3 and self.groups == 1 and self.data_format == "channels_last"

    def forward_pooled(self, x: Float32, pool_size: Sequence[int], training: bool) -> Float32:
        """Return the max pooling of `forward`'s output, which is not made; `backward_pooled` is then the way back.

        For one and two axes, and activations that a kernel applies.

        Args:
            x: of channels last.
            pool_size: sizes of the windows, which lie side by side.
            training: as in `forward`.
        """
        x, f = self.lifted(self.check_input(x)), self.effective()
        window = (1, pool_size[0]) if self.rank == 1 else (pool_size[0], pool_size[1])
        bias, geometry = None if self.bias is None else self.bias.value, {**self.geometry(x), "pool_size": window}
        kernel = self.lifted_kernel(self.kernel.value)
        y, index = ops.max_pooled_conv2d_forward(x, kernel, bias, activation=f.kind, alpha=f.alpha, **geometry)
        if training:
            self._saved = x, (geometry, index), None, y
        return self.lowered(y)

    def backward_pooled(self, dy: Float32) -> Float32 | None:
        """Write the gradients of the parameters, and return that of x, given that of `forward_pooled`'s output.

        f'(z) depends on f(z) alone: where that is the largest of its window, it is y.
        """
        x, (geometry, index), _, y = self.saved()
        dz, relu_y = dy.reshape(y.shape), None
        if self.effective().kind == "relu":
            relu_y = y
        else:
            dz = self.before_activation(dz, None, y)
        if self.trainable:
            dkernel, dbias = self.lifted_kernel(self.kernel.gradient), None if self.bias is None else self.bias.grad
            ops.max_pooled_conv2d_backward_filter(x, dz, index, relu_y, dkernel, dbias, **geometry)
        if not self.need_dx:
            return None
        kernel, relu_output = self.lifted_kernel(self.kernel.value), x if self.relu_input else None
        dx = ops.max_pooled_conv2d_backward_input(
            dz, index, relu_y, kernel, x.shape, relu_output=relu_output, **geometry
        )
        return self.lowered(dx)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "groups": self.groups,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
        }


class Conv1D(Convolution):
    """Slide filters along sequences.

    y[n, q, k] = f(bias[k] + sum over s, c of x[n, q stride + s dilation - left, c] kernel[s, c, k])

    Args:
        filters: output channels K, >= 1.
        kernel_size: steps of the filter, >= 1.
        strides: distance between windows in steps, >= 1.
        padding: "valid" (none), "same" (ceil(size / stride) outputs), "causal" (as many, none of which sees later steps), or
            steps: one number or ((left, right),).
        data_format: "channels_last" (None) or "channels_first".
        dilation_rate: distance between the filter's taps in steps, >= 1.
        groups: input channels and filters are cut into that many groups, each connected within itself.
        activation: name or Activation; None is linear.
        use_bias: whether bias is added.
        kernel_initializer: initializer of kernel, shape (S, C / groups, K).
        bias_initializer: initializer of bias, shape (K,).
        base: kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, name, trainable, ...

    Shape:
        x: (N, T, C) float32 -> y: (N, Q, K), Q = (T + left + right - dilation (S - 1) - 1) // stride + 1.

    Raises:
        ValueError: if the window is longer than the padded sequence, or groups does not divide C and K.

    Reference:
        Waibel, Hanazawa, Hinton, Shikano & Lang (1989), Phoneme recognition using time-delay neural networks.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.Conv1D(4, 3, padding="causal", activation="relu")(np.ones((2, 10, 5))).shape
        (2, 10, 4)
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 1
    paddings: ClassVar[tuple[str, ...]] = ("valid", "same", "causal")

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: Any = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **base: Any,
    ) -> None:
        super().__init__(
            filters=filters,
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            groups=groups,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            **base,
        )


class Conv2D(Convolution):
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
        base: kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, name, trainable, ...

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
    rank: ClassVar[int] = 2

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
        **base: Any,
    ) -> None:
        super().__init__(
            filters=filters,
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            groups=groups,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            **base,
        )


class Conv3D(Convolution):
    """Slide filters through volumes.

    y[n, o, p, q, k] = f(bias[k] + sum over t, r, s, c of x[n, o sd + t dd - front, p sh + r dh - top, q sw + s dw - left, c]
    kernel[t, r, s, c, k])

    Args:
        filters: output channels K, >= 1.
        kernel_size: slices, rows and columns of the filter, >= 1; one number for all.
        strides: steps between windows, >= 1.
        padding: "valid" (none), "same" (ceil(size / stride) outputs), or how much: one number, (slices, rows, columns) or
            ((front, back), (top, bottom), (left, right)).
        data_format: "channels_last" (None) or "channels_first".
        dilation_rate: distance between the filter's taps, >= 1.
        groups: input channels and filters are cut into that many groups, each connected within itself.
        activation: name or Activation; None is linear.
        use_bias: whether bias is added.
        kernel_initializer: initializer of kernel, shape (T, R, S, C / groups, K).
        bias_initializer: initializer of bias, shape (K,).
        base: kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, name, trainable, ...

    Shape:
        x: (N, D, H, W, C) float32 -> y: (N, O, P, Q, K), O = (D + front + back - dd (T - 1) - 1) // sd + 1.

    Raises:
        ValueError: if the window is larger than the padded volume, or groups does not divide C and K.

    Reference:
        Ji, Xu, Yang & Yu (2013), 3D convolutional neural networks for human action recognition.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.Conv3D(4, 3, padding="same")(np.ones((1, 6, 8, 8, 2))).shape
        (1, 6, 8, 8, 4)
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 3

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1, 1),
        padding: Any = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1, 1),
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **base: Any,
    ) -> None:
        super().__init__(
            filters=filters,
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            groups=groups,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            **base,
        )
