"""Images whose contrast, brightness or parts change at random, in training only."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.layers import spatial
from fastnn.layers.augmentation import RandomLayer, Range, factor_range
from fastnn.names import Shape

NO_LIMIT = (-float("inf"), float("inf"))


def value_range_of(who: str, value_range: Any) -> Range:
    """Return (low, high) of the values of pixels."""
    if not isinstance(value_range, (tuple, list)) or len(value_range) != 2:
        checks.fail(who, "value_range of two numbers", checks.describe(value_range))
    low, high = sorted(checks.number(who, "value_range", v) for v in value_range)
    return low, high


class Adjusting(RandomLayer):
    """What RandomContrast and RandomBrightness share. Not for use by itself."""

    recordable: ClassVar[bool] = True
    keeps_mean: ClassVar[bool]  # whether the distance from the mean is scaled; else all values are moved
    value_range: Range

    def amounts(self) -> Range:
        """Return the range of the random factor or of what is added."""
        raise TypeError(checks.message(self.who, "a layer class with an amounts method", type(self).__name__))

    def _mean(self, x: Float32) -> Float32 | None:
        n, pixels, c = x.shape
        return ops.global_average_pool2d_forward(x.reshape(n, 1, pixels, c)) if self.keeps_mean else None

    def forward(self, x: Any, training: bool = False) -> Float32:
        images = self.check_input(x)
        if not training or self.inference:
            return images
        images = spatial.to_last(images, self.data_format)
        n, h, w, c = images.shape
        flat = images.reshape(n, h * w, c)
        u = ops.random_uniform((n,), self.seed, 0, self.counter)
        mean = self._mean(flat)
        self._saved = flat, mean, u, images.shape
        y = ops.adjust_forward(flat, mean, u, self.amounts(), self.value_range)
        return spatial.from_last(y.reshape(images.shape), self.data_format)

    def backward(self, dy: Float32) -> Float32:
        if self.inference:
            return dy
        flat, mean, u, shape = self.saved()
        dy = spatial.to_last(dy, self.data_format).reshape(flat.shape)
        dx = ops.adjust_backward(dy, flat, mean, u, self.amounts(), self.value_range)
        if self.keeps_mean:  # the map is its own transpose
            dx = ops.adjust_forward(dx, self._mean(dx), u, self.amounts(), NO_LIMIT)
        return spatial.from_last(dx.reshape(shape), self.data_format)


class RandomContrast(Adjusting):
    """Change the contrast of images at random in training.

    training: y = clip((x - mean) f + mean), mean of each channel of each image, f uniform in [1 - lower, 1 + upper);
    otherwise y = x

    Args:
        factor: (lower, upper), or one number for both, in [0, 1].
        value_range: the least and the greatest value of a pixel; what leaves it is clipped.
        seed: integer >= 0; None draws one from the package's seed sequence.
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, H, W, C) float32, unchanged.

    Raises:
        ValueError: for inputs of another rank, factors out of range.

    Reference:
        Howard (2013), Some improvements on deep convolutional neural network based image classification.

    Example:
        >>> import numpy as np
        >>> gray = fastnn.layers.RandomContrast(1.0, seed=3)(np.full((1, 2, 2, 1), 7.0), training=True)
        >>> gray.ravel().tolist()
        [7.0, 7.0, 7.0, 7.0]
    """

    recordable: ClassVar[bool] = True
    keeps_mean: ClassVar[bool] = True

    def __init__(
        self,
        factor: Any,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **base: Any,
    ) -> None:
        super().__init__(seed, data_format, base)
        pair = factor if isinstance(factor, (tuple, list)) else (factor, factor)
        if len(pair) != 2:
            checks.fail(self.who, "factor to be one number or two", checks.describe(factor))
        self.factor = tuple(checks.number(self.who, "factor", f, 0.0, 1.0) for f in pair)
        self.value_range = value_range_of(self.who, value_range)

    def amounts(self) -> Range:
        return 1 - self.factor[0], 1 + self.factor[1]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if 0 in spatial.spatial(input_shape, self.data_format):
            checks.fail(self.who, "images of at least one pixel", input_shape)
        return tuple(input_shape)

    def settings(self) -> dict[str, Any]:
        return {"factor": list(self.factor), "value_range": list(self.value_range)}


class RandomBrightness(Adjusting):
    """Make images brighter or darker at random in training.

    training: y = clip(x + f (high - low)), f uniform in the range of factor; otherwise y = x

    Args:
        factor: f for (-f, f), or (low, high), in [-1, 1].
        value_range: (low, high), the least and the greatest value of a pixel; what leaves it is clipped.
        seed: integer >= 0; None draws one from the package's seed sequence.
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, H, W, C) float32, unchanged.

    Raises:
        ValueError: for inputs of another rank, factors out of range.

    Example:
        >>> import numpy as np
        >>> lighter = fastnn.layers.RandomBrightness((0.5, 0.5), value_range=(0, 1))
        >>> lighter(np.array([0.25, 0.75]).reshape(1, 1, 2, 1), training=True).ravel().tolist()
        [0.75, 1.0]
    """

    recordable: ClassVar[bool] = True
    keeps_mean: ClassVar[bool] = False

    def __init__(
        self,
        factor: Any,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **base: Any,
    ) -> None:
        super().__init__(seed, data_format, base)
        self.factor = factor_range(self.who, "factor", factor, -1.0, 1.0)
        self.value_range = value_range_of(self.who, value_range)

    def amounts(self) -> Range:
        span = self.value_range[1] - self.value_range[0]
        return self.factor[0] * span, self.factor[1] * span

    def settings(self) -> dict[str, Any]:
        return {"factor": list(self.factor), "value_range": list(self.value_range)}


class Erasing(RandomLayer):
    """What RandomErasing and Cutout share: a rectangle of every image is overwritten. Not for use by itself."""

    recordable: ClassVar[bool] = True
    fill_value: float | list[float] | None
    value_range: Range

    def __init__(self, seed: int | None, data_format: str | None, base: dict[str, Any]) -> None:
        super().__init__(seed, data_format, base)
        self.noise_counter = np.zeros(1, np.uint64)

    @property
    def counters(self) -> dict[str, Any]:
        return {"counter": self.counter, "noise_counter": self.noise_counter}

    def choices(self) -> dict[str, Any]:
        """Return the options of `ops.random_rectangles`."""
        raise TypeError(checks.message(self.who, "a layer class with a choices method", type(self).__name__))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        count = spatial.channels(input_shape, self.data_format)
        if isinstance(self.fill_value, list) and count not in (None, len(self.fill_value)):
            checks.fail(self.who, f"{len(self.fill_value)} channels, as in fill_value", count)
        return tuple(input_shape)

    def forward(self, x: Any, training: bool = False) -> Float32:
        images = self.check_input(x)
        if not training or self.inference:
            return images
        images = spatial.to_last(images, self.data_format)
        n, h, w, c = images.shape
        rectangles = ops.random_rectangles(self.numbers(n), (h, w), **self.choices())
        self._saved = rectangles
        noise = None
        if self.fill_value is None:
            noise = ops.random_uniform(images.shape, self.seed, 1, self.noise_counter)
        value = np.clip(np.full(c, self.fill_value or 0.0, images.dtype), *self.value_range)
        y = ops.erase(images, rectangles, value, noise, limits=self.value_range)
        return spatial.from_last(y, self.data_format)

    def backward(self, dy: Float32) -> Float32:
        if self.inference:
            return dy
        rectangles = self.saved()
        dy = spatial.to_last(ops.as_float32(self.who, "dy", dy), self.data_format)
        nothing = np.zeros(dy.shape[-1], dy.dtype)
        return spatial.from_last(ops.erase(dy, rectangles, nothing), self.data_format)


class RandomErasing(Erasing):
    """Overwrite a random rectangle of images in training.

    training: with a probability uniform in the range of factor, a rectangle whose height and width are sqrt(s), sqrt(t) times the
    image's, s and t uniform in the range of scale, at a random place; otherwise y = x

    Args:
        factor: the probability: f for (0, f), or (low, high), in [0, 1].
        scale: the range of the rectangle's share: s for (0, s), or (low, high), in [0, 1].
        fill_value: what is written: a number, one per channel, or None: noise, uniform in value_range.
        value_range: the least and the greatest value of a pixel; fill_value is clipped to it.
        seed: integer >= 0; None draws one from the package's seed sequence.
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, H, W, C) float32, unchanged.

    Raises:
        ValueError: for inputs of another rank, factors out of range.

    Reference:
        Zhong, Zheng, Kang, Li & Yang (2020), Random erasing data augmentation.

    Example:
        >>> import numpy as np
        >>> layer = fastnn.layers.RandomErasing((1, 1), scale=(0.25, 0.25), fill_value=0)
        >>> float(layer(np.ones((1, 8, 8, 1)), training=True).sum())
        48.0
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        factor: Any = 1.0,
        scale: Any = (0.02, 0.33),
        fill_value: Any = None,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **base: Any,
    ) -> None:
        super().__init__(seed, data_format, base)
        self.factor = factor_range(self.who, "factor", factor, 0.0, 1.0)
        self.scale = factor_range(self.who, "scale", scale, 0.0, 1.0)
        self.value_range = value_range_of(self.who, value_range)
        if isinstance(fill_value, (tuple, list)):
            self.fill_value = [checks.number(self.who, "fill_value", v) for v in fill_value]
        else:
            self.fill_value = None if fill_value is None else checks.number(self.who, "fill_value", fill_value)

    def choices(self) -> dict[str, Any]:
        return {"area": self.scale, "chance": self.factor}

    def settings(self) -> dict[str, Any]:
        return {
            "factor": list(self.factor),
            "scale": list(self.scale),
            "fill_value": self.fill_value,
            "value_range": list(self.value_range),
        }


class Cutout(Erasing):
    """Overwrite a square around a random pixel of every image in training.

    training: y = fill_value for the pixels of the square that there are; otherwise y = x

    Args:
        size: of the square in pixels, or (rows, columns).
        fill_value: what is written.
        seed: integer >= 0; None draws one from the package's seed sequence.
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, H, W, C) float32, unchanged.

    Raises:
        ValueError: for inputs of another rank.

    Reference:
        DeVries & Taylor (2017), Improved regularization of convolutional neural networks with cutout.

    Example:
        >>> import numpy as np
        >>> y = fastnn.layers.Cutout(2, seed=1)(np.ones((1, 4, 4, 1)), training=True)
        >>> 12 <= y.sum() <= 15
        np.True_
    """

    recordable: ClassVar[bool] = True
    value_range: Range = NO_LIMIT

    def __init__(
        self, size: Any, fill_value: float = 0.0, seed: int | None = None, data_format: str | None = None, **base: Any
    ) -> None:
        super().__init__(seed, data_format, base)
        self.size = checks.pair(self.who, "size", size)
        self.fill_value = checks.number(self.who, "fill_value", fill_value)

    def choices(self) -> dict[str, Any]:
        return {"size": self.size}

    def settings(self) -> dict[str, Any]:
        return {"size": list(self.size), "fill_value": self.fill_value}
