"""MaxUnpooling2D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.layers import spatial
from fastnn.layers.core import data_format_of
from fastnn.layers.merging import Merge
from fastnn.layers.pooling import MaxPooling2D
from fastnn.names import Shape


class MaxUnpooling2D(Merge):
    """Put values back where max pooling found the largest ones, zeros elsewhere.

    y[n, h, w, c] = sum of x[n, p, q, c] over the windows (p, q) whose first maximum in `image` is at (h, w)

    It is called on two tensors: what is to be put back, and the image that a MaxPooling2D of the same arguments was called on,
    which says where: ``MaxUnpooling2D(2)([code, image])``. The image gets no gradient from here: it only chooses places.

    Args:
        pool_size: as that of the pooling.
        strides: as that of the pooling; None means pool_size.
        padding: as that of the pooling.
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        [x: (N, P, Q, C), image: (N, H, W, C)] -> y: (N, H, W, C).

    Raises:
        ValueError: if pooling the image does not give the shape of x.

    Example:
        >>> import numpy as np
        >>> image = np.array([[1.0, 2.0], [4.0, 3.0]]).reshape(1, 2, 2, 1)
        >>> fastnn.layers.MaxUnpooling2D(2)([np.full((1, 1, 1, 1), 7.0), image])[0, :, :, 0].tolist()
        [[0.0, 0.0], [7.0, 0.0]]
    """

    recordable: ClassVar[bool] = True
    inputs_taken: ClassVar[int | None] = 2

    def __init__(
        self,
        pool_size: int | Sequence[int] = (2, 2),
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        self.pooling = MaxPooling2D(pool_size, strides, padding, name=self.name)
        self.data_format = data_format_of(self.who, data_format)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        values, image = input_shape
        if len(values) != 4 or len(image) != 4:
            checks.fail(self.who, "two inputs of shape (N, H, W, C)", self._texts(input_shape))
        last = [
            spatial.batch_shape(
                spatial.spatial(s, self.data_format), spatial.channels(s, self.data_format), "channels_last"
            )
            for s in input_shape
        ]
        pooled = self.pooling.compute_output_shape(last[1])
        if any(None not in pair and pair[0] != pair[1] for pair in zip(pooled[1:], last[0][1:])):
            checks.fail(self.who, "values of the shape that pooling the image gives", self._texts(input_shape))
        return (None, *image[1:])

    def forward(self, x: Any, training: bool = False) -> Float32:
        values, image = (spatial.to_last(part, self.data_format) for part in self.check_input(x))
        ((_, options),) = self.pooling.stages(image.shape)
        _, index = ops.max_pool2d_forward(image, **options)
        if training:
            self._saved = index, options
        return spatial.from_last(ops.max_pool2d_backward(values, index, image.shape, **options), self.data_format)

    def backward(self, dy: Float32) -> Any:
        index, options = self.saved()
        dx = ops.max_unpool2d_backward(spatial.to_last(dy, self.data_format), index, **options)
        none = ops.empty(dy.shape)
        ops.fill(none, 0.0)
        return [spatial.from_last(dx, self.data_format), none]

    def get_config(self) -> dict[str, Any]:
        mine = self.pooling.get_config()
        return {
            **super().get_config(),
            **{key: mine[key] for key in ("pool_size", "strides", "padding")},
            "data_format": self.data_format,
        }
