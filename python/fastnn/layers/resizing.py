"""Resizing and CenterCrop: images of one size from images of any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.layers import spatial, taps
from fastnn.layers.base import Layer
from fastnn.layers.core import data_format_of
from fastnn.names import Shape, shape_text
from fastnn.ops import Pair


class ToSize(Layer):
    """What layers that give images of one size share. Not for use by itself."""

    recordable: ClassVar[bool] = True

    def __init__(self, height: int, width: int, data_format: str | None, base: dict[str, Any]) -> None:
        super().__init__(**base)
        self.height = checks.integer(self.who, "height", height, 1)
        self.width = checks.integer(self.who, "width", width, 1)
        self.data_format = data_format_of(self.who, data_format)
        self.interpolation, self.antialias, self.fill_value = "bilinear", False, 0.0

    def expected_shape(self) -> Shape | None:
        count = None if self.input_shape is None else spatial.channels(self.input_shape, self.data_format)
        return spatial.batch_shape((None, None), count, self.data_format)

    def shape_advice(self, shape: Sequence[int | None]) -> str:
        return spatial.channel_advice(shape, 2)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if 0 in spatial.spatial(input_shape, self.data_format):
            checks.fail(self.who, "images of at least one pixel", f"input of shape {shape_text(input_shape)}")
        count = spatial.channels(input_shape, self.data_format)
        return spatial.batch_shape((self.height, self.width), count, self.data_format)

    def window(self, size: Pair) -> tuple[Pair, Pair]:
        """Return the offset and the size of the part of an image of this size that is resized; it may lie around the image."""
        return (0, 0), size

    def check_input(self, x: Any) -> Float32:
        array = super().check_input(x)
        self.compute_output_shape(array.shape)
        return array

    def resized(self, x: Float32) -> Float32:
        """Return x in the new size."""
        images = spatial.as_volumes(x, self.data_format)
        n, _, h, w, c = images.shape
        offset, size = self.window((h, w))
        if size != (h, w):
            images = ops.crop_pad(images, (0, *offset), (1, *size), self.fill_value)
        y = images.reshape(n, *size, c)
        if size != (self.height, self.width):
            rows, columns = (pair[0] for pair in self._taps(size))
            y = ops.resample2d(y, rows, columns)
        count = spatial.channels(x.shape, self.data_format)
        return y.reshape(x.shape[0], *spatial.batch_shape((self.height, self.width), count, self.data_format)[1:])

    def resized_backward(self, dy: Float32, shape: tuple[int, ...]) -> Float32:
        """Return the gradient of an input of this shape."""
        gradient = spatial.as_volumes(dy, self.data_format)
        n, _, p, q, c = gradient.shape
        h, w = (s or 0 for s in spatial.spatial(shape, self.data_format))
        offset, size = self.window((h, w))
        dx = gradient.reshape(n, p, q, c)
        if size != (p, q):
            rows, columns = (pair[1] for pair in self._taps(size))
            dx = ops.resample2d(dx, rows, columns)
        if size != (h, w):
            dx = ops.crop_pad(dx.reshape(n, 1, *size, c), (0, -offset[0], -offset[1]), (1, h, w))
        return dx.reshape(shape)

    def _taps(self, size: Pair) -> list[tuple[ops.Taps, ops.Taps]]:
        return [
            taps.resizing(self.interpolation, old, new, self.antialias)
            for old, new in zip(size, (self.height, self.width))
        ]

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self.check_input(x)
        if training:
            self._saved = x.shape
        return self.resized(x)

    def backward(self, dy: Float32) -> Float32:
        return self.resized_backward(dy, self.saved())

    def step_key(self) -> tuple[Any, ...]:
        settings = (self.height, self.width, self.interpolation, self.antialias, self.fill_value)
        return (*super().step_key(), *settings)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "height": self.height,
            "width": self.width,
            "data_format": self.data_format,
        }


class Resizing(ToSize):
    """Resize images of any size to one.

    nearest: each pixel is the one of the input that its center lies in; else a mean of those around (bilinear: of four).
    area: of all that lie in it, by their shares; of images that get smaller by whole factors that is average pooling.

    Args:
        height, width: of the output in pixels.
        interpolation: "bilinear", "nearest", "bicubic", "lanczos3", "lanczos5" or "area", for thumbnails; pixels are areas.
        crop_to_aspect_ratio: keep the ratio of sides, cut off what is too much.
        pad_to_aspect_ratio: keep the ratio of sides, put a border where there is too little.
        fill_mode: "constant", the only one there is.
        fill_value: of that border.
        antialias: average over more pixels where an image gets smaller.
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, H, W, C) float32 -> y: (N, height, width, C).

    Raises:
        ValueError: for images without pixels, or both of the ratio's ways.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.Resizing(1, 2)(np.arange(8.0).reshape(1, 2, 4, 1)).ravel().tolist()
        [2.5, 4.5]
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **base: Any,
    ) -> None:
        super().__init__(height, width, data_format, base)
        self.interpolation = checks.one_of(self.who, "interpolation", interpolation, (*taps.INTERPOLATIONS, taps.AREA))
        self.crop_to_aspect_ratio = checks.boolean(self.who, "crop_to_aspect_ratio", crop_to_aspect_ratio)
        self.pad_to_aspect_ratio = checks.boolean(self.who, "pad_to_aspect_ratio", pad_to_aspect_ratio)
        if self.crop_to_aspect_ratio and self.pad_to_aspect_ratio:
            checks.fail(self.who, "one of crop_to_aspect_ratio and pad_to_aspect_ratio", "both")
        self.fill_mode = checks.one_of(self.who, "fill_mode", fill_mode, ("constant",))
        self.fill_value = checks.number(self.who, "fill_value", fill_value)
        self.antialias = checks.boolean(self.who, "antialias", antialias)

    def window(self, size: Pair) -> tuple[Pair, Pair]:
        target = (self.height, self.width)
        if self.crop_to_aspect_ratio:
            return taps.cropped_to_ratio(size, target)
        if self.pad_to_aspect_ratio:
            return taps.padded_to_ratio(size, target)
        return (0, 0), size

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.crop_to_aspect_ratio, self.pad_to_aspect_ratio)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "interpolation": self.interpolation,
            "crop_to_aspect_ratio": self.crop_to_aspect_ratio,
            "pad_to_aspect_ratio": self.pad_to_aspect_ratio,
            "fill_mode": self.fill_mode,
            "fill_value": self.fill_value,
            "antialias": self.antialias,
        }


class CenterCrop(ToSize):
    """Cut the middle out of images; where an image is too small, resize what has the ratio of sides of the output.

    y[n, p, q, c] = x[n, p + (H - height) // 2, q + (W - width) // 2, c]

    Args:
        height, width: of the output in pixels.
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, H, W, C) float32 -> y: (N, height, width, C).

    Raises:
        ValueError: for images without pixels.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.CenterCrop(1, 2)(np.arange(12.0).reshape(1, 3, 4, 1)).ravel().tolist()
        [5.0, 6.0]
    """

    recordable: ClassVar[bool] = True

    def __init__(self, height: int, width: int, data_format: str | None = None, **base: Any) -> None:
        super().__init__(height, width, data_format, base)

    def fits(self, size: Pair) -> bool:
        """Return whether images of this size are at least as large as the output."""
        return size[0] >= self.height and size[1] >= self.width

    def window(self, size: Pair) -> tuple[Pair, Pair]:
        target = (self.height, self.width)
        if self.fits(size):
            return ((size[0] - self.height) // 2, (size[1] - self.width) // 2), target
        return taps.cropped_to_ratio(size, target)
