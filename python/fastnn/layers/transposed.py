"""Transposed convolution: the gradient of a convolution as a layer, which makes its input larger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

from fastnn import checks, initializers, ops
from fastnn.checks import Float32
from fastnn.layers import spatial
from fastnn.layers.base import initializer_of
from fastnn.layers.convolving import ConvolutionLayer
from fastnn.names import Shape, shape_text
from fastnn.parameter import Parameter


class TransposedConvolution(ConvolutionLayer):
    """The transpose of the convolution from what this layer makes to what it is given."""

    weight_names: ClassVar[tuple[str, ...]] = ("kernel", "bias")

    def __init__(self, *, filters: int, output_padding: Any, kernel_initializer: Any, **shared: Any) -> None:
        super().__init__(**shared)
        self.filters = checks.integer(self.who, "filters", filters, 1)
        self.kernel_initializer = initializer_of(kernel_initializer)
        self.output_padding: spatial.Sizes | None = None
        if output_padding is not None:
            self.output_padding = spatial.sizes_of(self.who, "output_padding", output_padding, self.rank, 0)
            if any(more >= stride for more, stride in zip(self.output_padding, self.strides)):
                checks.fail(self.who, f"output_padding less than strides = {self.strides}", self.output_padding)
        self.kernel: Parameter

    def build(self, input_shape: Shape) -> None:
        shape = (*self.kernel_size, self.filters, self.input_channels(input_shape))
        self.kernel = self.add_weight("kernel", shape, self.kernel_initializer)
        if self.use_bias:
            self.bias = self.add_weight("bias", (self.filters,), self.bias_initializer)

    def channels(self, inputs: int | None) -> int | None:
        return self.filters

    def sizes(self, sizes: Sequence[int | None]) -> list[int | None]:
        window, dilation = self.kernel_size, self.dilation_rate
        return spatial.transposed_sizes(self.padding, self.output_padding, sizes, window, self.strides, dilation)

    def refuse(self, input_shape: Shape) -> NoReturn:
        got = f"padding {self.padding!r} and input of shape {shape_text(input_shape)}"
        checks.fail(self.who, "less padding than the windows reach", got, "use padding='valid'")

    def geometry(self, x: Float32, made: Sequence[int]) -> dict[str, Any]:
        """Return the options of the convolution that is transposed, from `made` to the sizes of x."""
        sizes, window, dilation = self.input_sizes(x), self.kernel_size, self.dilation_rate
        return self.options(spatial.transposed_pads(self.padding, sizes, made, window, self.strides, dilation))

    def apply(self, x: Float32, bias: Float32 | None, activation: str, alpha: float) -> tuple[Float32, Any]:
        made = [n for n in self.sizes(self.input_sizes(x)) if n is not None]
        size = (1, *made) if self.rank == 1 else tuple(made)
        options = {**self.geometry(x, made), "activation": activation, "alpha": alpha}
        return self.products.transpose_forward(x, self.lifted_kernel(self.kernel.value), size, bias, **options), None

    def gradients(self, x: Float32, kept: Any, dz: Float32) -> Float32 | None:
        geometry = self.geometry(x, self.input_sizes(dz))
        if self.trainable:
            self.products.backward_filter(dz, x, self.lifted_kernel(self.kernel.gradient), **geometry)
            if self.bias is not None:
                ops.column_sums(dz.reshape(-1, self.filters), self.bias.gradient)
        if not self.need_dx:
            return None
        return self.products.forward(dz, self.lifted_kernel(self.kernel.value), **geometry)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "output_padding": None if self.output_padding is None else list(self.output_padding),
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
        }


class Conv1DTranspose(TransposedConvolution):
    """Make sequences larger: every step of x adds the filters, weighted by its channels, to y around its own place.

    It is the transpose of the linear map of Conv1D(C, ...) with the same kernel: <conv(y), x> = <y, transposed(x)>.

    Args:
        filters: output channels K, >= 1.
        kernel_size: steps of the filter, >= 1.
        strides: distance in y between the places of neighboring steps of x, >= 1.
        padding: "valid" (nothing is cut off), "same" (size stride outputs), or steps that are cut off:
            one number or ((left, right),).
        output_padding: None, or how much longer than the shortest y is, behind, less than strides.
        data_format: "channels_last" (None) or "channels_first".
        dilation_rate: distance between the filter's taps in steps, >= 1.
        activation: name or Activation; None is linear.
        use_bias: whether bias is added.
        kernel_initializer: initializer of kernel, shape (S, K, C).
        bias_initializer: initializer of bias, shape (K,).
        base: kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, name, trainable, ...

    Shape:
        x: (N, T, C) float32 -> y: (N, Q, K).
        With span = dilation (kernel_size - 1) + 1, Q = (T - 1) stride + max(span, stride) for "valid", T stride for "same";
        with output_padding Q = (T - 1) stride + span + output_padding for "valid", (T - 1) stride + span mod 2 +
        output_padding for "same".

    Raises:
        ValueError: if nothing would be left, or output_padding is not less than strides.

    Reference:
        Zeiler, Krishnan, Taylor & Fergus (2010), Deconvolutional networks.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.Conv1DTranspose(4, 3, strides=2, padding="same")(np.ones((2, 10, 5))).shape
        (2, 20, 4)
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 1

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: Any = "valid",
        output_padding: int | Sequence[int] | None = None,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
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
            output_padding=output_padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            **base,
        )


class Conv2DTranspose(TransposedConvolution):
    """Make images larger: every pixel of x adds the filters, weighted by its channels, to y around its own place.

    It is the transpose of the linear map of Conv2D(C, ...) with the same kernel: <conv(y), x> = <y, transposed(x)>.

    Args:
        filters: output channels K, >= 1.
        kernel_size: rows and columns of the filter in pixels, >= 1; one number for both.
        strides: distance in y between the places of neighboring pixels of x, >= 1.
        padding: "valid" (nothing is cut off), "same" (size stride outputs), or pixels that are cut off:
            one number, (rows, columns) or ((top, bottom), (left, right)).
        output_padding: None, or how much longer than the shortest y is, behind, less than strides.
        data_format: "channels_last" (None) or "channels_first".
        dilation_rate: distance between the filter's taps in pixels, >= 1.
        activation: name or Activation; None is linear.
        use_bias: whether bias is added.
        kernel_initializer: initializer of kernel, shape (R, S, K, C).
        bias_initializer: initializer of bias, shape (K,).
        base: kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, name, trainable, ...

    Shape:
        x: (N, H, W, C) float32 -> y: (N, P, Q, K).
        With span = dilation (kernel_size - 1) + 1, P = (H - 1) stride + max(span, stride) for "valid", H stride for "same";
        with output_padding P = (H - 1) stride + span + output_padding for "valid", (H - 1) stride + span mod 2 +
        output_padding for "same".

    Raises:
        ValueError: if nothing would be left, or output_padding is not less than strides.

    Reference:
        Zeiler, Krishnan, Taylor & Fergus (2010), Deconvolutional networks.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.Conv2DTranspose(8, 3, strides=2, padding="same")(np.ones((1, 7, 7, 16))).shape
        (1, 14, 14, 8)
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 2

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: Any = "valid",
        output_padding: int | Sequence[int] | None = None,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
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
            output_padding=output_padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            **base,
        )


class Conv3DTranspose(TransposedConvolution):
    """Make volumes larger: every voxel of x adds the filters, weighted by its channels, to y around its own place.

    It is the transpose of the linear map of Conv3D(C, ...) with the same kernel: <conv(y), x> = <y, transposed(x)>.

    Args:
        filters: output channels K, >= 1.
        kernel_size: slices, rows and columns of the filter, >= 1; one number for all.
        strides: distance in y between the places of neighboring voxels of x, >= 1.
        padding: "valid" (nothing is cut off), "same" (size stride outputs), or voxels that are cut off:
            one number, (slices, rows, columns) or ((front, back), (top, bottom), (left, right)).
        output_padding: None, or how much longer than the shortest y is, behind, less than strides.
        data_format: "channels_last" (None) or "channels_first".
        dilation_rate: distance between the filter's taps in voxels, >= 1.
        activation: name or Activation; None is linear.
        use_bias: whether bias is added.
        kernel_initializer: initializer of kernel, shape (T, R, S, K, C).
        bias_initializer: initializer of bias, shape (K,).
        base: kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, name, trainable, ...

    Shape:
        x: (N, D, H, W, C) float32 -> y: (N, O, P, Q, K).
        With span = dilation (kernel_size - 1) + 1, O = (D - 1) stride + max(span, stride) for "valid", D stride for "same";
        with output_padding O = (D - 1) stride + span + output_padding for "valid", (D - 1) stride + span mod 2 +
        output_padding for "same".

    Raises:
        ValueError: if nothing would be left, or output_padding is not less than strides.

    Reference:
        Zeiler, Krishnan, Taylor & Fergus (2010), Deconvolutional networks.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.Conv3DTranspose(4, 2, strides=2)(np.ones((1, 3, 4, 5, 2))).shape
        (1, 6, 8, 10, 4)
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
        output_padding: int | Sequence[int] | None = None,
        dilation_rate: int | Sequence[int] = (1, 1, 1),
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
            output_padding=output_padding,
            dilation_rate=dilation_rate,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            **base,
        )
