"""MaxPooling2D, AveragePooling2D, GlobalAveragePooling2D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.layers import geometry
from fastnn.layers.base import Layer
from fastnn.layers.core import data_format_of
from fastnn.names import Shape, shape_text


class Pooling2D(Layer):
    """What the pooling layers share: the window's geometry. Not for use by itself."""

    def __init__(
        self,
        pool_size: int | Sequence[int] = (2, 2),
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        self.pool_size = checks.pair(self.who, "pool_size", pool_size)
        self.strides = self.pool_size if strides is None else checks.pair(self.who, "strides", strides)
        self.padding = checks.one_of(self.who, "padding", padding, ("valid", "same"))
        self.data_format = data_format_of(self.who, data_format)

    def expected_shape(self) -> Shape | None:
        return (None, None, None, None)

    def shape_advice(self, shape: Sequence[int | None]) -> str:
        return "give the images a channel axis: x[..., None]" if len(shape) == 3 else ""

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = geometry.output_sizes(
            self.padding, geometry.spatial(input_shape, self.data_format), self.pool_size, self.strides
        )
        if any(s is not None and s < 1 for s in sizes):
            checks.fail(
                self.who,
                f"images at least as large as the window {self.pool_size}",
                f"input of shape {shape_text(input_shape)}",
                "use padding='same' or fewer pooling layers before it",
            )
        return geometry.image_shape(sizes, geometry.channels(input_shape, self.data_format), self.data_format)

    def options(self, shape: Sequence[int]) -> dict[str, Any]:
        """Return the geometry for images of this channels-last shape."""
        padding = geometry.explicit_padding(self.padding, shape[1:3], self.pool_size, self.strides)
        return {"pool_size": self.pool_size, "strides": self.strides, "padding": padding}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pool_size": list(self.pool_size),
            "strides": list(self.strides),
            "padding": self.padding,
            "data_format": self.data_format,
        }


class MaxPooling2D(Pooling2D):
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
    takes_relu: ClassVar[bool] = True

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = geometry.to_last(self.check_input(x), self.data_format)
        y, index = ops.max_pool2d_forward(x, **self.options(x.shape))
        if training:
            self._saved = index, x.shape, y
        return geometry.from_last(y, self.data_format)

    def backward(self, dy: Float32) -> Float32:
        index, shape, y = self.saved()
        relu_y = y if self.relu_input else None  # where the largest value of a window is 0, so is the relu's derivative
        dy = geometry.to_last(dy, self.data_format)
        dx = ops.max_pool2d_backward(dy, index, shape, **self.options(shape), relu_y=relu_y)
        return geometry.from_last(dx, self.data_format)


class AveragePooling2D(Pooling2D):
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

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = geometry.to_last(self.check_input(x), self.data_format)
        y = ops.avg_pool2d_forward(x, **self.options(x.shape))
        if training:
            self._saved = x.shape
        return geometry.from_last(y, self.data_format)

    def backward(self, dy: Float32) -> Float32:
        shape = self.saved()
        dx = ops.avg_pool2d_backward(geometry.to_last(dy, self.data_format), shape, **self.options(shape))
        return geometry.from_last(dx, self.data_format)


class GlobalAveragePooling2D(Layer):
    """Average every channel over the whole image.

    y[n, c] = mean over h, w of x[n, h, w, c]

    Args:
        data_format: "channels_last" (None) or "channels_first".
        keepdims: True keeps H and W as axes of size 1.

    Shape:
        x: (N, H, W, C) float32 -> y: (N, C), or (N, 1, 1, C) with keepdims.

    Reference:
        Lin, Chen & Yan (2014), Network in network.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.GlobalAveragePooling2D()(np.arange(4.0).reshape(1, 2, 2, 1)).tolist()
        [[1.5]]
    """

    recordable: ClassVar[bool] = True

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **base: Any) -> None:
        super().__init__(**base)
        self.data_format = data_format_of(self.who, data_format)
        self.keepdims = checks.boolean(self.who, "keepdims", keepdims)

    def expected_shape(self) -> Shape | None:
        return (None, None, None, None)

    def shape_advice(self, shape: Sequence[int | None]) -> str:
        return "give the images a channel axis: x[..., None]" if len(shape) == 3 else ""

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        count = geometry.channels(input_shape, self.data_format)
        return geometry.image_shape((1, 1), count, self.data_format) if self.keepdims else (None, count)

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = geometry.to_last(self.check_input(x), self.data_format)
        if 0 in x.shape[1:]:
            checks.fail(self.who, "images of at least one pixel", x.shape)
        if training:
            self._saved = x.shape
        y = ops.global_average_pool2d_forward(x)
        if not self.keepdims:
            return y
        n, c = y.shape
        return y.reshape(n, 1, 1, c) if self.data_format == "channels_last" else y.reshape(n, c, 1, 1)

    def backward(self, dy: Float32) -> Float32:
        shape = self.saved()
        dx = ops.global_average_pool2d_backward(dy.reshape(shape[0], shape[3]), shape)
        return geometry.from_last(dx, self.data_format)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format, "keepdims": self.keepdims}
