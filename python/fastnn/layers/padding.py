"""Borders around sequences, images and volumes: ZeroPadding and Cropping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.layers import spatial
from fastnn.layers.base import Layer
from fastnn.layers.core import data_format_of
from fastnn.names import Shape, shape_text

Triple = tuple[int, int, int]


class Bordered(Layer):
    """What padding and cropping share: a border on every side. Not for use by itself."""

    recordable: ClassVar[bool] = True
    rank: ClassVar[int]
    argument: ClassVar[str]
    sign: ClassVar[int]  # 1: the border is added; -1: taken away

    def __init__(self, border: Any, data_format: str | None, base: dict[str, Any]) -> None:
        super().__init__(**base)
        self.border = spatial.borders(self.who, self.argument, border, self.rank)
        self.data_format = data_format_of(self.who, data_format)

    def expected_shape(self) -> Shape | None:
        return (None,) * (self.rank + 2)

    def shape_advice(self, shape: Sequence[int | None]) -> str:
        return spatial.channel_advice(shape, self.rank)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = [
            None if size is None else size + self.sign * sum(pads)
            for size, pads in zip(spatial.spatial(input_shape, self.data_format), self.border)
        ]
        if self.sign < 0 and any(s is not None and s < 1 for s in sizes):
            checks.fail(
                self.who,
                f"{spatial.NOUNS[self.rank]} larger than what is cut off, {self.border}",
                f"input of shape {shape_text(input_shape)}",
            )
        return spatial.batch_shape(sizes, spatial.channels(input_shape, self.data_format), self.data_format)

    def moved(self, x: Float32, sign: int) -> Float32:
        """Return x with the border added (1) or taken away (-1)."""
        volumes = spatial.as_volumes(x, self.data_format)
        border = ((0, 0),) * (3 - self.rank) + self.border
        offset = tuple(-sign * before for before, _ in border)
        size = tuple(n + sign * sum(pads) for n, pads in zip(volumes.shape[1:4], border))
        y = ops.crop_pad(volumes, offset, size)  # type: ignore[arg-type]
        inner = size[3 - self.rank :]
        last = self.data_format == "channels_last"
        return y.reshape(x.shape[0], *inner, x.shape[-1]) if last else y.reshape(*x.shape[:2], *inner)

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self.check_input(x)
        if training:
            self._saved = True
        return self.moved(x, self.sign)

    def backward(self, dy: Float32) -> Float32:
        self.saved()
        return self.moved(dy, -self.sign)

    def get_config(self) -> dict[str, Any]:
        border = [list(pads) for pads in self.border]
        return {
            **super().get_config(),
            self.argument: border[0] if self.rank == 1 else border,
            "data_format": self.data_format,
        }


class ZeroPadding1D(Bordered):
    """Put zeros in front of sequences and behind them.

    y[n, t, c] = x[n, t - before, c], 0 outside

    Args:
        padding: how many: one number for both ends, or (before, behind).
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, T, C) float32 -> y: (N, T + before + behind, C).

    Raises:
        ValueError: for inputs of another rank.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.ZeroPadding1D((1, 2))(np.ones((1, 2, 1))).ravel().tolist()
        [0.0, 1.0, 1.0, 0.0, 0.0]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 1
    argument: ClassVar[str] = "padding"
    sign: ClassVar[int] = 1

    def __init__(self, padding: Any = 1, data_format: str | None = None, **base: Any) -> None:
        super().__init__(padding, data_format, base)


class ZeroPadding2D(Bordered):
    """Put zeros around images.

    y[n, h, w, c] = x[n, h - top, w - left, c], 0 outside

    Args:
        padding: pixels: one number for all sides, (rows, columns), or ((top, bottom), (left, right)).
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, H, W, C) float32 -> y: (N, H + top + bottom, W + left + right, C).

    Raises:
        ValueError: for inputs of another rank.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.ZeroPadding2D(((0, 1), (2, 0)))(np.ones((1, 1, 1, 1)))[0, :, :, 0].tolist()
        [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 2
    argument: ClassVar[str] = "padding"
    sign: ClassVar[int] = 1

    def __init__(self, padding: Any = (1, 1), data_format: str | None = None, **base: Any) -> None:
        super().__init__(padding, data_format, base)


class ZeroPadding3D(Bordered):
    """Put zeros around volumes.

    y[n, d, h, w, c] = x[n, d - front, h - top, w - left, c], 0 outside

    Args:
        padding: one number for all sides, (depth, rows, columns), or three pairs (before, behind).
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, D, H, W, C) float32 -> y: (N, D + ..., H + ..., W + ..., C).

    Raises:
        ValueError: for inputs of another rank.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.ZeroPadding3D((1, 0, 0))(np.ones((1, 1, 1, 1, 1))).ravel().tolist()
        [0.0, 1.0, 0.0]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 3
    argument: ClassVar[str] = "padding"
    sign: ClassVar[int] = 1

    def __init__(self, padding: Any = (1, 1, 1), data_format: str | None = None, **base: Any) -> None:
        super().__init__(padding, data_format, base)


class Cropping1D(Bordered):
    """Cut off the ends of sequences.

    y[n, t, c] = x[n, t + before, c]

    Args:
        cropping: how many: one number for both ends, or (before, behind).
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, T, C) float32 -> y: (N, T - before - behind, C).

    Raises:
        ValueError: if nothing is left.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.Cropping1D((1, 2))(np.arange(5.0).reshape(1, 5, 1)).ravel().tolist()
        [1.0, 2.0]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 1
    argument: ClassVar[str] = "cropping"
    sign: ClassVar[int] = -1

    def __init__(self, cropping: Any = (1, 1), data_format: str | None = None, **base: Any) -> None:
        super().__init__(cropping, data_format, base)


class Cropping2D(Bordered):
    """Cut off the border of images.

    y[n, h, w, c] = x[n, h + top, w + left, c]

    Args:
        cropping: pixels: one number for all sides, (rows, columns), or ((top, bottom), (left, right)).
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, H, W, C) float32 -> y: (N, H - top - bottom, W - left - right, C).

    Raises:
        ValueError: if nothing is left.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.Cropping2D(1)(np.arange(9.0).reshape(1, 3, 3, 1)).ravel().tolist()
        [4.0]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 2
    argument: ClassVar[str] = "cropping"
    sign: ClassVar[int] = -1

    def __init__(self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **base: Any) -> None:
        super().__init__(cropping, data_format, base)


class Cropping3D(Bordered):
    """Cut off the border of volumes.

    y[n, d, h, w, c] = x[n, d + front, h + top, w + left, c]

    Args:
        cropping: one number for all sides, (depth, rows, columns), or three pairs (before, behind).
        data_format: "channels_last" (None) or "channels_first".

    Shape:
        x: (N, D, H, W, C) float32 -> y: (N, D - ..., H - ..., W - ..., C).

    Raises:
        ValueError: if nothing is left.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.Cropping3D(((1, 0), (0, 0), (0, 0)))(np.arange(3.0).reshape(1, 3, 1, 1, 1)).ravel().tolist()
        [1.0, 2.0]
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 3
    argument: ClassVar[str] = "cropping"
    sign: ClassVar[int] = -1

    def __init__(self, cropping: Any = ((1, 1), (1, 1), (1, 1)), data_format: str | None = None, **base: Any) -> None:
        super().__init__(cropping, data_format, base)
