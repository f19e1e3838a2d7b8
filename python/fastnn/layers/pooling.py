"""Max and average pooling of sequences, images and volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.layers import spatial
from fastnn.layers.base import Layer
from fastnn.layers.core import data_format_of
from fastnn.names import Shape, shape_text

Options = dict[str, Any]


class Pooling(Layer):
    """What the pooling layers share: the window's geometry. Not for use by itself.

    A sequence is an image of height 1. A volume is pooled within its images, then from image to image: the largest value and the
    mean of a box are those of its slices.
    """

    rank: ClassVar[int]

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        self.pool_size = spatial.sizes_of(self.who, "pool_size", pool_size, self.rank)
        self.strides = self.pool_size if strides is None else spatial.sizes_of(self.who, "strides", strides, self.rank)
        self.padding = checks.one_of(self.who, "padding", padding, ("valid", "same"))
        self.data_format = data_format_of(self.who, data_format)

    def expected_shape(self) -> Shape | None:
        return (None,) * (self.rank + 2)

    def shape_advice(self, shape: Sequence[int | None]) -> str:
        return spatial.channel_advice(shape, self.rank)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = self.places(spatial.spatial(input_shape, self.data_format))
        if any(s is not None and s < 1 for s in sizes):
            checks.fail(
                self.who,
                f"{spatial.NOUNS[self.rank]} at least as large as the window {self.pool_size}",
                f"input of shape {shape_text(input_shape)}",
                "use padding='same' or fewer pooling layers before it",
            )
        return spatial.batch_shape(sizes, spatial.channels(input_shape, self.data_format), self.data_format)

    def places(self, sizes: Sequence[int | None]) -> list[int | None]:
        """Return how many places the window has along each axis; None where the size is free."""
        return spatial.places(self.padding, sizes, self.pool_size, self.strides, (1,) * self.rank)

    def stages(self, shape: Sequence[int]) -> list[tuple[tuple[int, ...], Options]]:
        """Return the 2-D poolings that make this one up for a channels-last shape: the shape of the images, and the geometry."""
        pads = spatial.explicit(self.padding, shape[1:-1], self.pool_size, self.strides, (1,) * self.rank)

        def options(axes: Sequence[int | None]) -> Options:
            return {
                "pool_size": tuple(1 if a is None else self.pool_size[a] for a in axes),
                "strides": tuple(1 if a is None else self.strides[a] for a in axes),
                "padding": tuple((0, 0) if a is None else pads[a] for a in axes),
            }

        n, *inner, c = shape
        if self.rank == 1:
            return [((n, 1, inner[0], c), options((None, 0)))]
        if self.rank == 2:
            return [((n, *inner, c), options((0, 1)))]
        d, h, w = inner
        _, p, q, _ = self.pooled_shape(shape)[1:]
        return [((n * d, h, w, c), options((1, 2))), ((n, d, 1, p * q * c), options((0, None)))]

    def pooled_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the channels-last shape of the output for a channels-last shape."""
        return (shape[0], *(places or 0 for places in self.places(shape[1:-1])), shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pool_size": list(self.pool_size),
            "strides": list(self.strides),
            "padding": self.padding,
            "data_format": self.data_format,
        }


class MaxPooling(Pooling):
    """Forward and backward of max pooling. Not for use by itself."""

    recordable: ClassVar[bool] = True
    takes_relu: ClassVar[bool] = True

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = y = spatial.to_last(self.check_input(x), self.data_format)
        indices = []
        for shape, options in self.stages(x.shape):
            y, index = ops.max_pool2d_forward(y.reshape(shape), **options)
            indices.append(index)
        if training:
            self._saved = indices, x.shape, y
        return spatial.from_last(y.reshape(self.pooled_shape(x.shape)), self.data_format)

    def backward(self, dy: Float32) -> Float32:
        indices, shape, y = self.saved()
        relu_y = y if self.relu_input else None  # where the largest value of a window is 0, so is the relu's derivative
        dx = spatial.to_last(dy, self.data_format)
        for index, (images, options) in zip(reversed(indices), reversed(self.stages(shape))):
            dx = ops.max_pool2d_backward(dx.reshape(index.shape), index, images, relu_y, **options)
            relu_y = None
        return spatial.from_last(dx.reshape(shape), self.data_format)


class AveragePooling(Pooling):
    """Forward and backward of average pooling. Not for use by itself."""

    recordable: ClassVar[bool] = True

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = y = spatial.to_last(self.check_input(x), self.data_format)
        for shape, options in self.stages(x.shape):
            y = ops.avg_pool2d_forward(y.reshape(shape), **options)
        if training:
            self._saved = x.shape
        return spatial.from_last(y.reshape(self.pooled_shape(x.shape)), self.data_format)

    def backward(self, dy: Float32) -> Float32:
        shape = self.saved()
        dx = spatial.to_last(dy, self.data_format)
        for images, options in reversed(self.stages(shape)):
            steps = zip(images[1:3], options["pool_size"], options["strides"], options["padding"])
            places = (ops.conv_output_size(*step) for step in steps)
            dx = ops.avg_pool2d_backward(dx.reshape(images[0], *places, images[3]), images, **options)
        return spatial.from_last(dx.reshape(shape), self.data_format)


class MaxPooling1D(MaxPooling):
    """Keep the largest value of each window of a sequence.

    y[n, p, c] = max over r of x[n, p stride + r - before, c]

    Args:
        pool_size: length of the window, >= 1.
        strides: step between windows; None means pool_size.
        padding: "valid" (none) or "same" (ceil(size / stride) outputs); padding never wins.
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, T, C) float32 -> y: (N, P, C). Ties send the gradient to the first maximum.

    Raises:
        ValueError: if the window is longer than the sequence.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.MaxPooling1D(2)(np.arange(6.0).reshape(1, 6, 1)).ravel().tolist()
        [1.0, 3.0, 5.0]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 1


class MaxPooling2D(MaxPooling):
    """Keep the largest value of each window.

    y[n, p, q, c] = max over r, s of x[n, p sh + r - top, q sw + s - left, c]

    Args:
        pool_size: rows and columns of the window in pixels, >= 1.
        strides: step between windows in pixels; None means pool_size.
        padding: "valid" (none) or "same" (ceil(size / stride) outputs); padding never wins.
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, H, W, C) float32 -> y: (N, P, Q, C). Ties send the gradient to the first maximum.

    Raises:
        ValueError: if the window is larger than the image.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.MaxPooling2D(2)(np.arange(16.0).reshape(1, 4, 4, 1)).ravel().tolist()
        [5.0, 7.0, 13.0, 15.0]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 2


class MaxPooling3D(MaxPooling):
    """Keep the largest value of each box of a volume.

    y[n, o, p, q, c] = max over t, r, s of x[n, o sd + t - front, p sh + r - top, q sw + s - left, c]

    Args:
        pool_size: depth, rows and columns of the box, >= 1.
        strides: step between boxes; None means pool_size.
        padding: "valid" (none) or "same" (ceil(size / stride) outputs); padding never wins.
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, D, H, W, C) float32 -> y: (N, O, P, Q, C). Ties send the gradient to the first maximum.

    Raises:
        ValueError: if the box is larger than the volume.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.MaxPooling3D(2)(np.arange(8.0).reshape(1, 2, 2, 2, 1)).ravel().tolist()
        [7.0]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 3


class AveragePooling1D(AveragePooling):
    """Average each window of a sequence; padding is not counted.

    y[n, p, c] = mean over the window's elements inside of the sequence

    Args:
        pool_size: length of the window, >= 1.
        strides: step between windows; None means pool_size.
        padding: "valid" (none) or "same" (ceil(size / stride) outputs).
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, T, C) float32 -> y: (N, P, C).

    Raises:
        ValueError: if the window is longer than the sequence.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.AveragePooling1D(2)(np.arange(6.0).reshape(1, 6, 1)).ravel().tolist()
        [0.5, 2.5, 4.5]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 1


class AveragePooling2D(AveragePooling):
    """Average each window; padding is not counted.

    y[n, p, q, c] = mean over the window's pixels inside of the image

    Args:
        pool_size: rows and columns of the window in pixels, >= 1.
        strides: step between windows in pixels; None means pool_size.
        padding: "valid" (none) or "same" (ceil(size / stride) outputs).
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, H, W, C) float32 -> y: (N, P, Q, C).

    Raises:
        ValueError: if the window is larger than the image.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.AveragePooling2D(2)(np.arange(16.0).reshape(1, 4, 4, 1)).ravel().tolist()
        [2.5, 4.5, 10.5, 12.5]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 2


class AveragePooling3D(AveragePooling):
    """Average each box of a volume; padding is not counted.

    y[n, o, p, q, c] = mean over the box's elements inside of the volume

    Args:
        pool_size: depth, rows and columns of the box, >= 1.
        strides: step between boxes; None means pool_size.
        padding: "valid" (none) or "same" (ceil(size / stride) outputs).
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, D, H, W, C) float32 -> y: (N, O, P, Q, C).

    Raises:
        ValueError: if the box is larger than the volume.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.AveragePooling3D(2)(np.arange(8.0).reshape(1, 2, 2, 2, 1)).ravel().tolist()
        [3.5]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 3
