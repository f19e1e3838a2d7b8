"""UpSampling of sequences, images and volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.layers import spatial, taps
from fastnn.layers.base import Layer
from fastnn.layers.core import data_format_of
from fastnn.names import Shape


class UpSampling(Layer):
    """What the upsampling layers share. Not for use by itself."""

    recordable: ClassVar[bool] = True
    rank: ClassVar[int]

    def __init__(
        self,
        size: int | Sequence[int] = 2,
        data_format: str | None = None,
        interpolation: str = "nearest",
        align_corners: bool = False,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        self.size = spatial.sizes_of(self.who, "size", size, self.rank)
        self.data_format = data_format_of(self.who, data_format)
        self.interpolation = checks.one_of(self.who, "interpolation", interpolation, taps.INTERPOLATIONS)
        self.align_corners = checks.boolean(self.who, "align_corners", align_corners)
        if self.align_corners and interpolation == "nearest":
            checks.fail(self.who, "align_corners with an interpolation between pixels", "'nearest'", "try 'bilinear'")

    def expected_shape(self) -> Shape | None:
        return (None,) * (self.rank + 2)

    def shape_advice(self, shape: Sequence[int | None]) -> str:
        return spatial.channel_advice(shape, self.rank)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = [
            None if n is None else n * factor
            for n, factor in zip(spatial.spatial(input_shape, self.data_format), self.size)
        ]
        return spatial.batch_shape(sizes, spatial.channels(input_shape, self.data_format), self.data_format)

    def resized(self, x: Float32, sizes: Sequence[int], back: bool) -> Float32:
        """Return x (N, D, H, W, C) with these sizes times the factors, or from there back to these sizes by the transpose."""
        factors = (1,) * (3 - self.rank) + self.size
        pairs = [
            taps.resizing(self.interpolation, n, n * factor, align_corners=self.align_corners)
            for n, factor in zip(sizes, factors)
        ]
        depth, rows, columns = (pair[int(back)] for pair in pairs)
        n, d, h, w, c = x.shape
        images = ops.resample2d(x.reshape(n * d, h, w, c), rows, columns)
        if factors[0] == 1:
            return images
        _, p, q, _ = images.shape
        return ops.resample2d(images.reshape(n, d, 1, p * q * c), depth, taps.identity())

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self.check_input(x)
        if training:
            self._saved = x.shape
        volumes = spatial.as_volumes(x, self.data_format)
        sizes = spatial.spatial(x.shape, self.data_format)
        larger = [(n or 0) * factor for n, factor in zip(sizes, self.size)]
        count = spatial.channels(x.shape, self.data_format)
        y = self.resized(volumes, volumes.shape[1:4], back=False)
        return y.reshape(x.shape[0], *spatial.batch_shape(larger, count, self.data_format)[1:])

    def backward(self, dy: Float32) -> Float32:
        shape = self.saved()
        sizes = (1,) * (3 - self.rank) + tuple(n or 0 for n in spatial.spatial(shape, self.data_format))
        return self.resized(spatial.as_volumes(dy, self.data_format), sizes, back=True).reshape(shape)

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "size": list(self.size), "data_format": self.data_format}
        if self.rank != 2:
            return config
        return {**config, "interpolation": self.interpolation, "align_corners": self.align_corners}


class UpSampling1D(UpSampling):
    """Repeat every element of a sequence.

    y[n, t, c] = x[n, t // size, c]

    Args:
        size: how often, >= 1.
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, T, C) float32 -> y: (N, T size, C).

    Raises:
        ValueError: for inputs of another rank.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.UpSampling1D(2)(np.arange(2.0).reshape(1, 2, 1)).ravel().tolist()
        [0.0, 0.0, 1.0, 1.0]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 1

    def __init__(self, size: int | Sequence[int] = 2, data_format: str | None = None, **base: Any) -> None:
        super().__init__(size, data_format, **base)


class UpSampling2D(UpSampling):
    """Make images larger.

    nearest: y[n, p, q, c] = x[n, p // rows, q // columns, c]; the others are means of the pixels around. Nearest is also called
    average unpooling: AveragePooling2D of the same size gives x again. That of a maximum is `MaxUnpooling2D`.

    Args:
        size: factors of rows and columns, >= 1.
        data_format: "channels_last" (None) or "channels_first".
        interpolation: "nearest", "bilinear", "bicubic", "lanczos3" or "lanczos5"; pixels are areas, so that the center of pixel p
            lies at (p + 1/2) / rows - 1/2 of the input.
        align_corners: instead the centers of the corners lie on those of the input's corners, at p (H - 1) / (H rows - 1).

    Shape:
        x: (N, H, W, C) float32 -> y: (N, H rows, W columns, C).

    Raises:
        ValueError: for inputs of another rank.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.UpSampling2D((1, 2), interpolation="bilinear")(np.arange(2.0).reshape(1, 1, 2, 1)).ravel().tolist()
        [0.0, 0.25, 0.75, 1.0]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 2


class UpSampling3D(UpSampling):
    """Repeat every element of a volume along its axes.

    y[n, o, p, q, c] = x[n, o // depth, p // rows, q // columns, c]

    Args:
        size: how often in depth, rows and columns, >= 1.
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, D, H, W, C) float32 -> y: (N, D depth, H rows, W columns, C).

    Raises:
        ValueError: for inputs of another rank.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.UpSampling3D((2, 1, 1))(np.arange(2.0).reshape(1, 1, 1, 2, 1)).ravel().tolist()
        [0.0, 1.0, 0.0, 1.0]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 3

    def __init__(self, size: int | Sequence[int] = 2, data_format: str | None = None, **base: Any) -> None:
        super().__init__(size, data_format, **base)
