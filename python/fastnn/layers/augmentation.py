"""Images turned, zoomed, moved, flipped and cut out at random, in training only."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastnn import checks, config, ops
from fastnn.checks import Float32
from fastnn.layers import spatial
from fastnn.layers.base import Layer
from fastnn.layers.core import data_format_of
from fastnn.layers.resizing import CenterCrop
from fastnn.names import Shape
from fastnn.ops import Pair

NUMBERS = 8  # random ones that every image gets
FILL_MODES = ("constant", "nearest", "reflect", "wrap", "mirror")

Range = tuple[float, float]


def factor_range(who: str, argument: str, factor: Any, lowest: float, highest: float) -> Range:
    """Return the range of a random factor from one number f, (-f, f), or from two."""
    if isinstance(factor, (tuple, list)):
        if len(factor) != 2:
            checks.fail(who, f"{argument} to be one number or two", checks.describe(factor))
        low, high = sorted(checks.number(who, argument, f, lowest, highest) for f in factor)
        return low, high
    size = abs(checks.number(who, argument, factor, lowest, highest))
    return max(-size, lowest), size


class RandomLayer(Layer):
    """What layers that change images at random share: a seed, and a counter of training passes. Not for use by itself.

    What happens to an image is a function of the seed, of how many training passes were made, and of its place in the batch.
    """

    recordable: ClassVar[bool] = True

    def __init__(self, seed: int | None, data_format: str | None, base: dict[str, Any]) -> None:
        super().__init__(**base)
        self.given_seed = None if seed is None else checks.integer(self.who, "seed", seed, 0, 2**63 - 1)
        self.seed = config.next_seed() if self.given_seed is None else self.given_seed
        self.counter = np.zeros(1, np.uint64)
        self.data_format = data_format_of(self.who, data_format)

    def expected_shape(self) -> Shape | None:
        return (None, None, None, None)

    def shape_advice(self, shape: Any) -> str:
        return spatial.channel_advice(shape, 2)

    def numbers(self, count: int) -> Float32:
        """Return random numbers in [0, 1) for so many images."""
        return ops.random_uniform((count, NUMBERS), self.seed, 0, self.counter)

    def settings(self) -> dict[str, Any]:
        """Return the arguments besides the seed: what the layer does, as plain data."""
        return {}

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.seed, repr(self.settings()))

    @property
    def counters(self) -> dict[str, Any]:
        return {"counter": self.counter}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.settings(), "seed": self.given_seed, "data_format": self.data_format}


class RandomMap(RandomLayer):
    """Layers whose pixels come from other places of the image. Not for use by itself."""

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        fill_mode: str,
        interpolation: str,
        seed: int | None,
        fill_value: float,
        data_format: str | None,
        base: dict[str, Any],
    ) -> None:
        super().__init__(seed, data_format, base)
        self.fill_mode = checks.one_of(self.who, "fill_mode", fill_mode, FILL_MODES)
        self.interpolation = checks.one_of(self.who, "interpolation", interpolation, ("bilinear", "nearest"))
        self.fill_value = checks.number(self.who, "fill_value", fill_value)

    def choices(self) -> dict[str, Any]:
        """Return the options of `ops.random_affine`."""
        raise TypeError(checks.message(self.who, "a layer class with a choices method", type(self).__name__))

    def _options(self) -> dict[str, Any]:
        return {"border": self.fill_mode, "bilinear": self.interpolation == "bilinear"}

    def forward(self, x: Any, training: bool = False) -> Float32:
        images = self.check_input(x)
        if not training or self.inference:
            return images
        images = spatial.to_last(images, self.data_format)
        size: Pair = images.shape[1:3]
        matrices = ops.random_affine(self.numbers(len(images)), size, size, **self.choices())
        self._saved = matrices, size
        y: Float32 = ops.affine2d_forward(images, matrices, size, value=self.fill_value, **self._options())
        return spatial.from_last(y, self.data_format)

    def backward(self, dy: Float32) -> Float32:
        if self.inference:
            return dy
        matrices, size = self.saved()
        dx = ops.affine2d_backward(spatial.to_last(dy, self.data_format), matrices, size, **self._options())
        return spatial.from_last(dx, self.data_format)

    def settings(self) -> dict[str, Any]:
        return {
            "fill_mode": self.fill_mode,
            "interpolation": self.interpolation,
            "fill_value": self.fill_value,
        }


class RandomFlip(RandomMap):
    """Flip images at random in training.

    training: y[n, h, w] = x[n, H - 1 - h, W - 1 - w], each axis by itself flipped with probability 1/2; otherwise y = x

    Args:
        mode: "horizontal" (left-right), "vertical" (up-down) or "horizontal_and_vertical".
        seed: integer >= 0; None draws one from the package's seed sequence.
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, H, W, C) float32, unchanged.

    Raises:
        ValueError: for inputs of another rank.

    Example:
        >>> import numpy as np
        >>> x = np.arange(2.0).reshape(1, 1, 2, 1)
        >>> sorted(fastnn.layers.RandomFlip("horizontal", seed=1)(x, training=True).ravel().tolist())
        [0.0, 1.0]
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        mode: str = "horizontal_and_vertical",
        seed: int | None = None,
        data_format: str | None = None,
        **base: Any,
    ) -> None:
        super().__init__("nearest", "nearest", seed, 0.0, data_format, base)
        self.mode = checks.one_of(self.who, "mode", mode, ("horizontal", "vertical", "horizontal_and_vertical"))

    def choices(self) -> dict[str, Any]:
        return {"flips": ("vertical" in self.mode, "horizontal" in self.mode)}

    def settings(self) -> dict[str, Any]:
        return {"mode": self.mode}


class RandomRotation(RandomMap):
    """Turn images at random about their center in training.

    training: by an angle of 2 pi f, f uniform in the range of factor; otherwise y = x

    Args:
        factor: share of a full turn: f for (-f, f), or (low, high), in [-1, 1].
        fill_mode: what lies beyond the border: "reflect" (d c b a | a b c d), "mirror" (d c b | a b c d), "nearest" (the border),
            "wrap" (the other side) or "constant".
        interpolation: "bilinear" or "nearest".
        seed: integer >= 0; None draws one from the package's seed sequence.
        fill_value: with fill_mode "constant".
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, H, W, C) float32, unchanged.

    Raises:
        ValueError: for inputs of another rank, factors out of range.

    Example:
        >>> import numpy as np
        >>> quarter = fastnn.layers.RandomRotation((0.25, 0.25))
        >>> quarter(np.arange(4.0).reshape(1, 2, 2, 1), training=True)[0, :, :, 0].tolist()
        [[1.0, 3.0], [0.0, 2.0]]
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **base: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, base)
        self.factor = factor_range(self.who, "factor", factor, -1.0, 1.0)

    def choices(self) -> dict[str, Any]:
        return {"angle": self.factor}

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "factor": list(self.factor)}


class RandomZoom(RandomMap):
    """Zoom images at random about their center in training.

    training: y(p) = x(center + (1 + f) (p - center)), f uniform in the range of the factor: f < 0 enlarges; otherwise y = x

    Args:
        height_factor: f for (-f, f), or (low, high), in (-1, 1].
        width_factor: the same for the width; None zooms both alike.
        fill_mode: what lies beyond the border: "reflect", "mirror", "nearest", "wrap" or "constant"; see RandomRotation.
        interpolation: "bilinear" or "nearest".
        seed: integer >= 0; None draws one from the package's seed sequence.
        fill_value: with fill_mode "constant".
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, H, W, C) float32, unchanged.

    Raises:
        ValueError: for inputs of another rank, factors out of range.

    Example:
        >>> import numpy as np
        >>> twice = fastnn.layers.RandomZoom((-0.5, -0.5), interpolation="nearest")
        >>> twice(np.arange(4.0).reshape(1, 1, 4, 1), training=True).ravel().tolist()
        [1.0, 1.0, 2.0, 2.0]
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **base: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, base)
        self.height_factor = self._range("height_factor", height_factor)
        self.width_factor = None if width_factor is None else self._range("width_factor", width_factor)

    def _range(self, argument: str, factor: Any) -> Range:
        found = factor_range(self.who, argument, factor, -1.0, 1.0)
        if found[0] == -1:
            checks.fail(self.who, f"{argument} > -1", factor, "an image cannot be enlarged without end")
        return found

    def choices(self) -> dict[str, Any]:
        rows, columns = (None if f is None else (1 + f[0], 1 + f[1]) for f in (self.height_factor, self.width_factor))
        return {"zoom_rows": rows, "zoom_columns": columns}

    def settings(self) -> dict[str, Any]:
        width = None if self.width_factor is None else list(self.width_factor)
        return {**super().settings(), "height_factor": list(self.height_factor), "width_factor": width}


class RandomTranslation(RandomMap):
    """Move images at random in training.

    training: y[n, h, w] = x[n, h - f H, w - g W], f and g uniform in the ranges of the factors; otherwise y = x

    Args:
        height_factor: share of the height, downwards: f for (-f, f), or (low, high), in [-1, 1].
        width_factor: share of the width, to the right.
        fill_mode: what lies beyond the border: "reflect", "mirror", "nearest", "wrap" or "constant"; see RandomRotation.
        interpolation: "bilinear" or "nearest".
        seed: integer >= 0; None draws one from the package's seed sequence.
        fill_value: with fill_mode "constant".
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, H, W, C) float32, unchanged.

    Raises:
        ValueError: for inputs of another rank, factors out of range.

    Example:
        >>> import numpy as np
        >>> right = fastnn.layers.RandomTranslation(0, (0.25, 0.25), fill_mode="constant", fill_value=9)
        >>> right(np.arange(4.0).reshape(1, 1, 4, 1), training=True).ravel().tolist()
        [9.0, 0.0, 1.0, 2.0]
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **base: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, base)
        self.height_factor = factor_range(self.who, "height_factor", height_factor, -1.0, 1.0)
        self.width_factor = factor_range(self.who, "width_factor", width_factor, -1.0, 1.0)

    def choices(self) -> dict[str, Any]:
        return {"shift_rows": self.height_factor, "shift_columns": self.width_factor}

    def settings(self) -> dict[str, Any]:
        factors = {"height_factor": list(self.height_factor), "width_factor": list(self.width_factor)}
        return {**super().settings(), **factors}


class RandomCrop(CenterCrop):
    """Cut a part out of images, at a random place in training, in the middle otherwise.

    training: y[n, p, q, c] = x[n, p + top, q + left, c], top and left uniform. Images that are too small are resized as by
    CenterCrop.

    Args:
        height, width: of the output in pixels.
        seed: integer >= 0; None draws one from the package's seed sequence.
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, H, W, C) float32 -> y: (N, height, width, C).

    Raises:
        ValueError: for images without pixels.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.RandomCrop(24, 24)(np.ones((2, 32, 32, 3)), training=True).shape
        (2, 24, 24, 3)
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self, height: int, width: int, seed: int | None = None, data_format: str | None = None, **base: Any
    ) -> None:
        super().__init__(height, width, data_format, **base)
        self.given_seed = None if seed is None else checks.integer(self.who, "seed", seed, 0, 2**63 - 1)
        self.seed = config.next_seed() if self.given_seed is None else self.given_seed
        self.counter = np.zeros(1, np.uint64)

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self.check_input(x)
        size: Any = spatial.spatial(x.shape, self.data_format)
        if not training or self.inference or not self.fits(size):
            return super().forward(x, training)
        images, target = spatial.to_last(x, self.data_format), (self.height, self.width)
        u = ops.random_uniform((len(images), NUMBERS), self.seed, 0, self.counter)
        matrices = ops.random_affine(u, size, target, crop=True)
        self._saved = matrices, size
        y = ops.affine2d_forward(images, matrices, target, bilinear=False)
        return spatial.from_last(y, self.data_format)

    def backward(self, dy: Float32) -> Float32:
        if len(self.saved()) != 2:
            return super().backward(dy)
        matrices, size = self.saved()
        dx = ops.affine2d_backward(spatial.to_last(dy, self.data_format), matrices, size, bilinear=False)
        return spatial.from_last(dx, self.data_format)

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.seed)

    @property
    def counters(self) -> dict[str, Any]:
        return {"counter": self.counter}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.given_seed}
