"""Depthwise and separable convolution: every channel by itself, and then all channels of a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fastnn import checks, initializers
from fastnn.checks import Float32
from fastnn.layers import spatial
from fastnn.layers.base import initializer_of
from fastnn.layers.convolving import ConvolutionLayer
from fastnn.names import Shape
from fastnn.parameter import Parameter


class Channelwise(ConvolutionLayer):
    """A layer that convolves every channel with `depth_multiplier` filters of its own."""

    takes_relu: ClassVar[bool] = True

    def __init__(self, *, depth_multiplier: int, depthwise_initializer: Any, **shared: Any) -> None:
        super().__init__(**shared)
        self.depth_multiplier = checks.integer(self.who, "depth_multiplier", depth_multiplier, 1)
        self.depthwise_initializer = initializer_of(depthwise_initializer)

    def filters_of(self, kernel: Float32) -> Float32:
        """Return a kernel (..., C, depth_multiplier) as that of a convolution of C groups."""
        kernel = self.lifted_kernel(kernel)
        return kernel.reshape(*kernel.shape[:-2], 1, kernel.shape[-2] * kernel.shape[-1])

    def geometry(self, x: Float32) -> dict[str, Any]:
        """Return the options of the convolution of a batch."""
        sizes = self.input_sizes(x)
        pads = spatial.explicit(self.padding, sizes, self.kernel_size, self.strides, self.dilation_rate)
        return {**self.options(pads), "groups": x.shape[-1]}

    def input_gradient(self, dz: Float32, kernel: Parameter, x: Float32) -> Float32 | None:
        """Return the gradient of x if it is needed."""
        if not self.need_dx:
            return None
        options: dict[str, Any] = {**self.geometry(x), "relu_output": x if self.relu_input else None}
        return self.products.backward_input(dz, self.filters_of(kernel.value), x.shape, **options)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "depth_multiplier": self.depth_multiplier,
            "depthwise_initializer": initializers.serialize(self.depthwise_initializer),
        }


class DepthwiseConvolution(Channelwise):
    """Convolution of every channel by itself."""

    weight_names: ClassVar[tuple[str, ...]] = ("depthwise", "bias")

    def build(self, input_shape: Shape) -> None:
        count = self.input_channels(input_shape)
        shape = (*self.kernel_size, count, self.depth_multiplier)
        self.kernel: Parameter = self.add_weight("kernel", shape, self.depthwise_initializer, argument="depthwise")
        if self.use_bias:
            self.bias = self.add_weight("bias", (count * self.depth_multiplier,), self.bias_initializer)

    def channels(self, inputs: int | None) -> int | None:
        return None if inputs is None else inputs * self.depth_multiplier

    def apply(self, x: Float32, bias: Float32 | None, activation: str, alpha: float) -> tuple[Float32, Any]:
        options = {**self.geometry(x), "activation": activation, "alpha": alpha}
        return self.products.forward(x, self.filters_of(self.kernel.value), bias, **options), None

    def gradients(self, x: Float32, kept: Any, dz: Float32) -> Float32 | None:
        if self.trainable:
            dbias = None if self.bias is None else self.bias.grad
            self.products.backward_filter(x, dz, self.filters_of(self.kernel.gradient), dbias, **self.geometry(x))
        return self.input_gradient(dz, self.kernel, x)


class SeparableConvolution(Channelwise):
    """Convolution of every channel by itself, then of all channels of every pixel."""

    weight_names: ClassVar[tuple[str, ...]] = ("depthwise", "pointwise", "bias")

    def __init__(self, *, filters: int, pointwise_initializer: Any, **shared: Any) -> None:
        super().__init__(**shared)
        self.filters = checks.integer(self.who, "filters", filters, 1)
        self.pointwise_initializer = initializer_of(pointwise_initializer)

    def build(self, input_shape: Shape) -> None:
        count = self.input_channels(input_shape)
        shape = (*self.kernel_size, count, self.depth_multiplier)
        self.depthwise_kernel = self.add_weight(
            "depthwise_kernel", shape, self.depthwise_initializer, argument="depthwise"
        )
        shape = (*(1 for _ in self.kernel_size), count * self.depth_multiplier, self.filters)
        self.pointwise_kernel = self.add_weight(
            "pointwise_kernel", shape, self.pointwise_initializer, argument="pointwise"
        )
        if self.use_bias:
            self.bias = self.add_weight("bias", (self.filters,), self.bias_initializer)

    def channels(self, inputs: int | None) -> int | None:
        return self.filters

    def apply(self, x: Float32, bias: Float32 | None, activation: str, alpha: float) -> tuple[Float32, Any]:
        apart = self.products.forward(x, self.filters_of(self.depthwise_kernel.value), **self.geometry(x))
        pointwise = self.lifted_kernel(self.pointwise_kernel.value)
        return self.products.forward(apart, pointwise, bias, activation=activation, alpha=alpha), apart

    def gradients(self, x: Float32, kept: Any, dz: Float32) -> Float32 | None:
        if self.trainable:
            dbias = None if self.bias is None else self.bias.grad
            self.products.backward_filter(kept, dz, self.lifted_kernel(self.pointwise_kernel.gradient), dbias)
        elif not self.need_dx:
            return None
        pointwise = self.lifted_kernel(self.pointwise_kernel.value)
        dapart = self.products.backward_input(dz, pointwise, kept.shape)
        if self.trainable:
            dkernel = self.filters_of(self.depthwise_kernel.gradient)
            self.products.backward_filter(x, dapart, dkernel, **self.geometry(x))
        return self.input_gradient(dapart, self.depthwise_kernel, x)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "pointwise_initializer": initializers.serialize(self.pointwise_initializer),
        }


class DepthwiseConv1D(DepthwiseConvolution):
    """Slide filters over every channel by itself.

    y[n, q, c M + m] = f(bias[c M + m] + sum over s of x[n, q stride + s dilation - left, c] kernel[s, c, m])

    Args:
        kernel_size: steps of the filters, >= 1.
        strides: distance between windows in steps, >= 1.
        padding: "valid" (none), "same" (ceil(size / stride) outputs), or steps: one number or ((left, right),).
        depth_multiplier: filters M of every channel, >= 1.
        data_format: "channels_last" (None) or "channels_first".
        dilation_rate: distance between the filters' taps in steps, >= 1.
        activation: name or Activation; None is linear.
        use_bias: whether bias is added.
        depthwise_initializer: initializer of kernel, shape (S, C, M).
        bias_initializer: initializer of bias, shape (C M,).

    Shape:
        x: (N, T, C) float32 -> y: (N, Q, C M), Q = (T + left + right - dilation (S - 1) - 1) // stride + 1.

    Raises:
        ValueError: if the window is larger than the padded input.

    Reference:
        Sifre (2014), Rigid-motion scattering for image classification.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.DepthwiseConv1D(3, depth_multiplier=2)(np.ones((2, 10, 5))).shape
        (2, 8, 10)
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 1

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: Any = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **base: Any,
    ) -> None:
        super().__init__(
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            depth_multiplier=depth_multiplier,
            data_format=data_format,
            dilation_rate=dilation_rate,
            activation=activation,
            use_bias=use_bias,
            depthwise_initializer=depthwise_initializer,
            bias_initializer=bias_initializer,
            **base,
        )


class DepthwiseConv2D(DepthwiseConvolution):
    """Slide filters over every channel by itself.

    y[n, p, q, c M + m] = f(bias[c M + m] + sum over r, s of x[n, p sh + r dh - top, q sw + s dw - left, c] kernel[r, s, c, m])

    Args:
        kernel_size: rows and columns of the filters in pixels, >= 1; one number for both.
        strides: step between windows in pixels, >= 1.
        padding: "valid" (none), "same" (ceil(size / stride) outputs), or pixels: one number, (rows, columns) or
            ((top, bottom), (left, right)).
        depth_multiplier: filters M of every channel, >= 1.
        data_format: "channels_last" (None) or "channels_first".
        dilation_rate: distance between the filters' taps in pixels, >= 1.
        activation: name or Activation; None is linear.
        use_bias: whether bias is added.
        depthwise_initializer: initializer of kernel, shape (R, S, C, M).
        bias_initializer: initializer of bias, shape (C M,).

    Shape:
        x: (N, H, W, C) float32 -> y: (N, P, Q, C M), P = (H + top + bottom - dh (R - 1) - 1) // sh + 1.

    Raises:
        ValueError: if the window is larger than the padded input.

    Reference:
        Sifre (2014), Rigid-motion scattering for image classification.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(np.ones((1, 8, 8, 5))).shape
        (1, 8, 8, 10)
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 2

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: Any = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **base: Any,
    ) -> None:
        super().__init__(
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            depth_multiplier=depth_multiplier,
            data_format=data_format,
            dilation_rate=dilation_rate,
            activation=activation,
            use_bias=use_bias,
            depthwise_initializer=depthwise_initializer,
            bias_initializer=bias_initializer,
            **base,
        )


class SeparableConv1D(SeparableConvolution):
    """Slide filters over every channel by itself, then mix the channels: DepthwiseConv1D, and Conv1D of a window of one.

    Args:
        filters: output channels K, >= 1.
        kernel_size: steps of the filters, >= 1.
        strides: distance between windows in steps, >= 1.
        padding: "valid" (none), "same" (ceil(size / stride) outputs), or steps: one number or ((left, right),).
        data_format: "channels_last" (None) or "channels_first".
        dilation_rate: distance between the filters' taps in steps, >= 1.
        depth_multiplier: filters M of every channel, >= 1.
        activation: name or Activation; None is linear.
        use_bias: whether bias is added.
        depthwise_initializer: initializer of depthwise_kernel, shape (S, C, M).
        pointwise_initializer: initializer of pointwise_kernel, shape (1, C M, K).
        bias_initializer: initializer of bias, shape (K,).

    Shape:
        x: (N, T, C) float32 -> y: (N, Q, K), Q = (T + left + right - dilation (S - 1) - 1) // stride + 1.

    Raises:
        ValueError: if the window is larger than the padded input.

    Reference:
        Chollet (2017), Xception: deep learning with depthwise separable convolutions.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.SeparableConv1D(4, 3)(np.ones((2, 10, 5))).shape
        (2, 8, 4)
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 1

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: Any = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
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
            depth_multiplier=depth_multiplier,
            activation=activation,
            use_bias=use_bias,
            depthwise_initializer=depthwise_initializer,
            pointwise_initializer=pointwise_initializer,
            bias_initializer=bias_initializer,
            **base,
        )


class SeparableConv2D(SeparableConvolution):
    """Slide filters over every channel by itself, then mix the channels: DepthwiseConv2D, and Conv2D of a window of one.

    Args:
        filters: output channels K, >= 1.
        kernel_size: rows and columns of the filters in pixels, >= 1; one number for both.
        strides: step between windows in pixels, >= 1.
        padding: "valid" (none), "same" (ceil(size / stride) outputs), or pixels: one number, (rows, columns) or
            ((top, bottom), (left, right)).
        data_format: "channels_last" (None) or "channels_first".
        dilation_rate: distance between the filters' taps in pixels, >= 1.
        depth_multiplier: filters M of every channel, >= 1.
        activation: name or Activation; None is linear.
        use_bias: whether bias is added.
        depthwise_initializer: initializer of depthwise_kernel, shape (R, S, C, M).
        pointwise_initializer: initializer of pointwise_kernel, shape (1, 1, C M, K).
        bias_initializer: initializer of bias, shape (K,).

    Shape:
        x: (N, H, W, C) float32 -> y: (N, P, Q, K), P = (H + top + bottom - dh (R - 1) - 1) // sh + 1.

    Raises:
        ValueError: if the window is larger than the padded input.

    Reference:
        Chollet (2017), Xception: deep learning with depthwise separable convolutions.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.SeparableConv2D(16, 3, padding="same")(np.ones((1, 8, 8, 5))).shape
        (1, 8, 8, 16)
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
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
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
            depth_multiplier=depth_multiplier,
            activation=activation,
            use_bias=use_bias,
            depthwise_initializer=depthwise_initializer,
            pointwise_initializer=pointwise_initializer,
            bias_initializer=bias_initializer,
            **base,
        )
