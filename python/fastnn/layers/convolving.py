"""What all convolution layers share: windows over one, two or three axes, bias and activation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, NoReturn

from fastnn import activations, checks, initializers, ops
from fastnn.checks import Float32
from fastnn.layers import spatial
from fastnn.layers.base import initializer_of
from fastnn.layers.core import ActivatedLayer, data_format_of
from fastnn.names import Shape, shape_text
from fastnn.parameter import Parameter

INPUTS = {1: "sequences", 2: "images", 3: "volumes"}


class Products(NamedTuple):
    """The ops of a convolution over two axes, or over three."""

    forward: Callable[..., Float32]
    backward_input: Callable[..., Float32]
    backward_filter: Callable[..., None]
    transpose_forward: Callable[..., Float32]


class ConvolutionLayer(ActivatedLayer):
    """A layer that slides windows over the axes between samples and channels.

    A subclass says how many `channels` its output has and what is done to a batch: `apply` and `gradients`. They see channels last,
    and a sequence as an image of one row, so that one and two axes have the same ops.
    """

    rank: ClassVar[int]  # axes that windows slide over
    paddings: ClassVar[tuple[str, ...]] = ("valid", "same")

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int],
        padding: Any,
        data_format: str | None,
        dilation_rate: int | Sequence[int],
        activation: Any,
        use_bias: bool,
        bias_initializer: Any,
        **base: Any,
    ) -> None:
        super().__init__(activation, **base)
        self.kernel_size = spatial.sizes_of(self.who, "kernel_size", kernel_size, self.rank)
        self.strides = spatial.sizes_of(self.who, "strides", strides, self.rank)
        self.padding = spatial.padding_of(self.who, padding, self.rank, self.paddings)
        self.data_format = data_format_of(self.who, data_format)
        self.dilation_rate = spatial.sizes_of(self.who, "dilation_rate", dilation_rate, self.rank)
        self.use_bias = checks.boolean(self.who, "use_bias", use_bias)
        self.bias_initializer = initializer_of(bias_initializer)
        self.bias: Parameter | None = None

    # --- to override ---

    def channels(self, inputs: int | None) -> int | None:
        """Return the channels of the output for those of the input."""
        raise NotImplementedError

    def sizes(self, sizes: Sequence[int | None]) -> list[int | None]:
        """Return the output's sizes for the input's."""
        return spatial.places(self.padding, sizes, self.kernel_size, self.strides, self.dilation_rate)

    def apply(self, x: Float32, bias: Float32 | None, activation: str, alpha: float) -> tuple[Float32, Any]:
        """Return f(z + bias), and what `gradients` needs besides x."""
        raise NotImplementedError

    def gradients(self, x: Float32, kept: Any, dz: Float32) -> Float32 | None:
        """Write the gradients of the parameters if the layer is trainable; return that of x if it is needed."""
        raise NotImplementedError

    def refuse(self, input_shape: Shape) -> NoReturn:
        """Say that of such an input nothing would be left."""
        checks.fail(
            self.who,
            f"{INPUTS[self.rank]} at least as large as the window {self.kernel_size} (dilation {self.dilation_rate})",
            f"input of shape {shape_text(input_shape)}",
            "use padding='same' or fewer strided layers before it",
        )

    # --- shapes ---

    def input_channels(self, input_shape: Shape) -> int:
        """Return C, or raise if it is free."""
        count = spatial.channels(input_shape, self.data_format)
        if count is None:
            checks.fail(self.who, "a known number of channels", shape_text(input_shape))
        return count

    def expected_shape(self) -> Shape | None:
        count = None if self.input_shape is None else spatial.channels(self.input_shape, self.data_format)
        return spatial.batch_shape([None] * self.rank, count, self.data_format)

    def check_shape(self, shape: Sequence[int | None]) -> None:
        super().check_shape(shape)
        self.compute_output_shape(tuple(shape))

    def shape_advice(self, shape: Sequence[int | None]) -> str:
        if len(shape) == self.rank + 1:
            return f"give the {INPUTS[self.rank]} a channel axis: x[..., None]"
        if self.input_shape is None:
            return ""
        return f"it was built for {spatial.channels(self.input_shape, self.data_format)} channels"

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = self.sizes(spatial.spatial(input_shape, self.data_format))
        if any(s is not None and s < 1 for s in sizes):
            self.refuse(input_shape)
        return spatial.batch_shape(
            sizes, self.channels(spatial.channels(input_shape, self.data_format)), self.data_format
        )

    # --- computation ---

    @property
    def products(self) -> Products:
        """The ops of a convolution over these axes."""
        if self.rank == 3:
            return Products(
                ops.conv3d_forward, ops.conv3d_backward_input, ops.conv3d_backward_filter, ops.conv3d_transpose_forward
            )
        return Products(
            ops.conv2d_forward, ops.conv2d_backward_input, ops.conv2d_backward_filter, ops.conv2d_transpose_forward
        )

    def lifted(self, x: Float32) -> Float32:
        """Return a batch of the layer's layout as the ops take it."""
        x = spatial.to_last(x, self.data_format)
        return x.reshape(x.shape[0], 1, *x.shape[1:]) if self.rank == 1 else x

    def lowered(self, x: Float32) -> Float32:
        """Return what the ops give in the layer's layout."""
        x = x.reshape(x.shape[0], *x.shape[2:]) if self.rank == 1 else x
        return spatial.from_last(x, self.data_format)

    def lifted_kernel(self, kernel: Float32) -> Float32:
        """Return a kernel as the ops take it."""
        return kernel[None] if self.rank == 1 else kernel

    def options(self, pads: spatial.Pads) -> dict[str, Any]:
        """Return the geometry of a convolution with this padding as the ops take it."""
        row, none = ((1,), ((0, 0),)) if self.rank == 1 else ((), ())
        return {
            "strides": (*row, *self.strides),
            "padding": (*none, *pads),
            "dilation": (*row, *self.dilation_rate),
        }

    def input_sizes(self, x: Float32) -> tuple[int, ...]:
        """Return the sizes of a lifted batch."""
        return x.shape[-1 - self.rank : -1]

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self.lifted(self.check_input(x))
        f, z = self.effective(), None
        bias = None if self.bias is None else self.bias.value
        if f.fusable:
            y, kept = self.apply(x, bias, f.kind, f.alpha)
        else:
            z, kept = self.apply(x, bias, "linear", 0.0)
            y = f.forward(z)
        if training:
            self._saved = x, kept, None if f.from_output else z, y
        return self.lowered(y)

    def backward(self, dy: Float32) -> Float32 | None:
        x, kept, z, y = self.saved()
        dx = self.gradients(x, kept, self.before_activation(self.lifted(dy), z, y))
        return None if dx is None else self.lowered(dx)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_size": list(self.kernel_size),
            "strides": list(self.strides),
            "padding": self.padding if isinstance(self.padding, str) else [list(p) for p in self.padding],
            "data_format": self.data_format,
            "dilation_rate": list(self.dilation_rate),
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "bias_initializer": initializers.serialize(self.bias_initializer),
        }
