"""The largest value or the mean of every channel over a whole sequence, image or volume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.layers import spatial
from fastnn.layers.base import Layer
from fastnn.layers.core import data_format_of
from fastnn.names import Shape, shape_text


class GlobalPooling(Layer):
    """What the global pooling layers share. Not for use by itself."""

    rank: ClassVar[int]

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **base: Any) -> None:
        super().__init__(**base)
        self.data_format = data_format_of(self.who, data_format)
        self.keepdims = checks.boolean(self.who, "keepdims", keepdims)

    def expected_shape(self) -> Shape | None:
        return (None,) * (self.rank + 2)

    def shape_advice(self, shape: Sequence[int | None]) -> str:
        return spatial.channel_advice(shape, self.rank)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if 0 in spatial.spatial(input_shape, self.data_format):
            checks.fail(
                self.who,
                f"{spatial.NOUNS[self.rank]} of at least one element",
                f"input of shape {shape_text(input_shape)}",
            )
        count = spatial.channels(input_shape, self.data_format)
        return spatial.batch_shape((1,) * self.rank, count, self.data_format) if self.keepdims else (None, count)

    def rows(self, x: Any) -> tuple[Float32, tuple[int, ...]]:
        """Return x as images of one row (N, 1, elements, C), and its channels-last shape."""
        x = spatial.to_last(self.check_input(x), self.data_format)
        if 0 in x.shape[1:-1]:
            checks.fail(self.who, f"{spatial.NOUNS[self.rank]} of at least one element", x.shape)
        elements = 1
        for size in x.shape[1:-1]:
            elements *= size
        return x.reshape(x.shape[0], 1, elements, x.shape[-1]), x.shape

    def shaped(self, y: Float32) -> Float32:
        """Return the output from (N, C)."""
        if not self.keepdims:
            return y
        n, c = y.shape
        ones = (1,) * self.rank
        return y.reshape(n, *ones, c) if self.data_format == "channels_last" else y.reshape(n, c, *ones)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format, "keepdims": self.keepdims}


class GlobalMaxPooling(GlobalPooling):
    """Forward and backward of global max pooling. Not for use by itself."""

    recordable: ClassVar[bool] = True
    takes_relu: ClassVar[bool] = True

    @staticmethod
    def _options(elements: int) -> dict[str, Any]:
        return {"pool_size": (1, elements), "strides": (1, 1)}

    def forward(self, x: Any, training: bool = False) -> Float32:
        rows, shape = self.rows(x)
        y, index = ops.max_pool2d_forward(rows, **self._options(rows.shape[2]))
        if training:
            self._saved = index, rows.shape, shape, y
        return self.shaped(y.reshape(shape[0], shape[-1]))

    def backward(self, dy: Float32) -> Float32:
        index, rows, shape, y = self.saved()
        relu_y = y if self.relu_input else None
        dx = ops.max_pool2d_backward(dy.reshape(index.shape), index, rows, relu_y, **self._options(rows[2]))
        return spatial.from_last(dx.reshape(shape), self.data_format)


class GlobalAveragePooling(GlobalPooling):
    """Forward and backward of global average pooling. Not for use by itself."""

    recordable: ClassVar[bool] = True

    def forward(self, x: Any, training: bool = False) -> Float32:
        rows, shape = self.rows(x)
        if training:
            self._saved = rows.shape, shape
        return self.shaped(ops.global_average_pool2d_forward(rows))

    def backward(self, dy: Float32) -> Float32:
        rows, shape = self.saved()
        dx = ops.global_average_pool2d_backward(dy.reshape(rows[0], rows[3]), rows)
        return spatial.from_last(dx.reshape(shape), self.data_format)


class GlobalMaxPooling1D(GlobalMaxPooling):
    """Keep the largest value of every channel of a sequence.

    y[n, c] = max over t of x[n, t, c]

    Args:
        data_format: "channels_last" (None) or "channels_first".
        keepdims: True keeps T as an axis of size 1.

    Shape:
        x: (N, T, C) float32 -> y: (N, C), or (N, 1, C) with keepdims. Ties send the gradient to the first maximum.

    Raises:
        ValueError: for sequences of no elements.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.GlobalMaxPooling1D()(np.arange(6.0).reshape(1, 3, 2)).tolist()
        [[4.0, 5.0]]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 1


class GlobalMaxPooling2D(GlobalMaxPooling):
    """Keep the largest value of every channel of an image.

    y[n, c] = max over h, w of x[n, h, w, c]

    Args:
        data_format: "channels_last" (None) or "channels_first".
        keepdims: True keeps H and W as axes of size 1.

    Shape:
        x: (N, H, W, C) float32 -> y: (N, C), or (N, 1, 1, C) with keepdims. Ties send the gradient to the first maximum.

    Raises:
        ValueError: for images of no pixels.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.GlobalMaxPooling2D()(np.arange(8.0).reshape(1, 2, 2, 2)).tolist()
        [[6.0, 7.0]]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 2


class GlobalMaxPooling3D(GlobalMaxPooling):
    """Keep the largest value of every channel of a volume.

    y[n, c] = max over d, h, w of x[n, d, h, w, c]

    Args:
        data_format: "channels_last" (None) or "channels_first".
        keepdims: True keeps D, H and W as axes of size 1.

    Shape:
        x: (N, D, H, W, C) float32 -> y: (N, C), or (N, 1, 1, 1, C) with keepdims. Ties send the gradient to the first maximum.

    Raises:
        ValueError: for volumes of no elements.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.GlobalMaxPooling3D()(np.arange(8.0).reshape(1, 2, 2, 2, 1)).tolist()
        [[7.0]]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 3


class GlobalAveragePooling1D(GlobalAveragePooling):
    """Average every channel over the whole sequence.

    y[n, c] = mean over t of x[n, t, c]

    Args:
        data_format: "channels_last" (None) or "channels_first".
        keepdims: True keeps T as an axis of size 1.

    Shape:
        x: (N, T, C) float32 -> y: (N, C), or (N, 1, C) with keepdims.

    Raises:
        ValueError: for sequences of no elements.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.GlobalAveragePooling1D()(np.arange(6.0).reshape(1, 3, 2)).tolist()
        [[2.0, 3.0]]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 1


class GlobalAveragePooling2D(GlobalAveragePooling):
    """Average every channel over the whole image.

    y[n, c] = mean over h, w of x[n, h, w, c]

    Args:
        data_format: "channels_last" (None) or "channels_first".
        keepdims: True keeps H and W as axes of size 1.

    Shape:
        x: (N, H, W, C) float32 -> y: (N, C), or (N, 1, 1, C) with keepdims.

    Raises:
        ValueError: for images of no pixels.

    Reference:
        Lin, Chen & Yan (2014), Network in network.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.GlobalAveragePooling2D()(np.arange(4.0).reshape(1, 2, 2, 1)).tolist()
        [[1.5]]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 2


class GlobalAveragePooling3D(GlobalAveragePooling):
    """Average every channel over the whole volume.

    y[n, c] = mean over d, h, w of x[n, d, h, w, c]

    Args:
        data_format: "channels_last" (None) or "channels_first".
        keepdims: True keeps D, H and W as axes of size 1.

    Shape:
        x: (N, D, H, W, C) float32 -> y: (N, C), or (N, 1, 1, 1, C) with keepdims.

    Raises:
        ValueError: for volumes of no elements.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.GlobalAveragePooling3D()(np.arange(8.0).reshape(1, 2, 2, 2, 1)).tolist()
        [[3.5]]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 3
