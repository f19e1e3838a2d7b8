"""Dropout and its kin, activity regularization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.layers.base import Layer
from fastnn.layers.core import data_format_of
from fastnn.layers.noise import RandomLayer
from fastnn.names import Shape
from fastnn.regularizers import L1L2

LEVELS = 65536  # rates are multiples of 1 / LEVELS


def noise_shape_of(who: str, noise_shape: Any) -> tuple[int | None, ...] | None:
    """Return the shape of decisions, None for that of the input, after checking it."""
    if noise_shape is None:
        return None
    if not isinstance(noise_shape, (tuple, list)):
        checks.fail_type(who, "noise_shape None or a tuple", checks.describe(noise_shape))
    return tuple(None if s is None else checks.integer(who, "each entry of noise_shape", s, 1) for s in noise_shape)


class Dropout(RandomLayer):
    """Set a random share of the values to 0 in training and scale the rest up, so that the mean stays.

    training: y = x / (1 - rate) with probability 1 - rate, else 0; otherwise y = x

    The mask is a function of the seed and of how many training passes were made, whatever the number of threads. The rate is
    rounded to a multiple of 1 / 65536.

    Args:
        rate: share that is dropped, in [0, 1].
        noise_shape: shape of the decisions, batch size included: 1 where all values along an axis share one, None or the input's
            size elsewhere. (None, 1, None) drops the same features at all times. None: one decision for each value.
        seed: integer >= 0; None draws one from the package's seed sequence.

    Shape:
        any, unchanged.

    Raises:
        ValueError: for an input that noise_shape does not fit.

    Reference:
        Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov (2014), Dropout.

    Example:
        >>> import numpy as np
        >>> layer = fastnn.layers.Dropout(0.5, seed=1)
        >>> sorted(set(layer(np.ones((4, 8)), training=True).ravel().tolist()))
        [0.0, 2.0]
        >>> float(layer(np.ones((4, 8))).min())
        1.0
    """

    recordable: ClassVar[bool] = True
    supports_masking: ClassVar[bool] = True

    def __init__(
        self, rate: float, noise_shape: Sequence[int | None] | None = None, seed: int | None = None, **base: Any
    ) -> None:
        super().__init__(seed, **base)
        self.rate = checks.number(self.who, "rate", rate, 0.0, 1.0)
        self.noise_shape = noise_shape_of(self.who, noise_shape)

    def decisions(self, shape: Sequence[int]) -> tuple[int, ...] | None:
        """Return the shape of the decisions for an input of this shape; None if each value has its own."""
        if self.noise_shape is None:
            return None
        found = tuple(own if size is None else size for size, own in zip(self.noise_shape, shape))
        if len(self.noise_shape) != len(shape) or any(size not in (1, own) for size, own in zip(found, shape)):
            fits = tuple("N" if s is None else s for s in self.noise_shape)
            checks.fail(self.who, f"an input that noise_shape {fits} fits", f"shape {tuple(shape)}", "write None or 1")
        return found

    def forward(self, x: Any, training: bool = False) -> Float32:
        given = self.check_input(x)
        if not training or self.inference:
            return given
        shape = self.decisions(given.shape)
        if shape is None:
            y, self._saved = ops.dropout_forward(given, self.rate, self.seed, 0, self.counter)
            return y
        self._saved = ops.random_keep(shape, self.rate, self.seed, 0, self.counter)
        return ops.apply_keep(given, self._saved, self._scale())

    def backward(self, dy: Float32) -> Float32:
        if self.inference:
            return dy
        saved = self.saved()
        if saved.dtype == np.uint8:
            return ops.dropout_backward(dy, saved, self.rate)
        return ops.apply_keep(dy, saved, self._scale())

    def _scale(self) -> float:
        return LEVELS / max(LEVELS - self._dropped(), 1)

    def _dropped(self) -> int:
        """Return the share that is dropped, as the kernels round it, in LEVELS."""
        return int(float(np.float32(self.rate)) * LEVELS + 0.5)

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.rate, self.noise_shape)

    def get_config(self) -> dict[str, Any]:
        shape = None if self.noise_shape is None else list(self.noise_shape)
        return {**super().get_config(), "rate": self.rate, "noise_shape": shape}


class _SpatialDropout(Dropout):
    """Dropout of whole channels of each sample."""

    rank: ClassVar[int]

    def __init__(self, rate: float, data_format: str | None, seed: int | None, **base: Any) -> None:
        super().__init__(rate, None, seed, **base)
        self.data_format = data_format_of(self.who, data_format)

    def expected_shape(self) -> Shape | None:
        return (None,) * self.rank

    def decisions(self, shape: Sequence[int]) -> tuple[int, ...] | None:
        ones = (1,) * (self.rank - 2)
        first = self.data_format == "channels_first"
        return (shape[0], shape[1], *ones) if first else (shape[0], *ones, shape[-1])

    def get_config(self) -> dict[str, Any]:
        settings = {name: value for name, value in super().get_config().items() if name != "noise_shape"}
        return settings if self.rank == 3 else {**settings, "data_format": self.data_format}


class SpatialDropout1D(_SpatialDropout):
    """Set a random share of the channels of each sequence to 0 in training and scale the rest up.

    Args:
        rate: share that is dropped, in [0, 1].
        seed: integer >= 0; None draws one from the package's seed sequence.

    Shape:
        (N, T, C), unchanged.

    Reference:
        Tompson, Goroshin, Jain, LeCun & Bregler (2015), Efficient object localization using convolutional networks.

    Example:
        >>> import numpy as np
        >>> y = fastnn.layers.SpatialDropout1D(0.5, seed=1)(np.ones((2, 5, 3)), training=True)
        >>> bool((y == y[:, :1]).all())
        True
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 3

    def __init__(self, rate: float, seed: int | None = None, **base: Any) -> None:
        super().__init__(rate, None, seed, **base)


class SpatialDropout2D(_SpatialDropout):
    """Set a random share of the channels of each image to 0 in training and scale the rest up.

    Args:
        rate: share that is dropped, in [0, 1].
        data_format: "channels_last" (None) or "channels_first".
        seed: integer >= 0; None draws one from the package's seed sequence.

    Shape:
        (N, H, W, C), unchanged.

    Reference:
        Tompson, Goroshin, Jain, LeCun & Bregler (2015), Efficient object localization using convolutional networks.

    Example:
        >>> import numpy as np
        >>> y = fastnn.layers.SpatialDropout2D(0.5, seed=1)(np.ones((2, 5, 4, 3)), training=True)
        >>> bool((y == y[:, :1, :1]).all())
        True
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 4

    def __init__(self, rate: float, data_format: str | None = None, seed: int | None = None, **base: Any) -> None:
        super().__init__(rate, data_format, seed, **base)


class SpatialDropout3D(_SpatialDropout):
    """Set a random share of the channels of each volume to 0 in training and scale the rest up.

    Args:
        rate: share that is dropped, in [0, 1].
        data_format: "channels_last" (None) or "channels_first".
        seed: integer >= 0; None draws one from the package's seed sequence.

    Shape:
        (N, D, H, W, C), unchanged.

    Reference:
        Tompson, Goroshin, Jain, LeCun & Bregler (2015), Efficient object localization using convolutional networks.

    Example:
        >>> import numpy as np
        >>> y = fastnn.layers.SpatialDropout3D(0.5, seed=1)(np.ones((2, 5, 4, 2, 3)), training=True)
        >>> bool((y == y[:, :1, :1, :1]).all())
        True
    """

    recordable: ClassVar[bool] = True
    rank: ClassVar[int] = 5

    def __init__(self, rate: float, data_format: str | None = None, seed: int | None = None, **base: Any) -> None:
        super().__init__(rate, data_format, seed, **base)


class AlphaDropout(Dropout):
    """Set a random share of the values to selu's limit in training, and keep mean 0 and variance 1.

    training: y = a x + b with probability 1 - rate, else a s + b; s = -1.7580993 is where selu ends,
    a = ((1 - rate) (1 + rate s^2))^(-1/2), b = -a s rate; otherwise y = x

    Args:
        rate: share that is dropped, in [0, 1).
        noise_shape: shape of the decisions, as for `Dropout`.
        seed: integer >= 0; None draws one from the package's seed sequence.

    Shape:
        any, unchanged.

    Reference:
        Klambauer, Unterthiner, Mayr & Hochreiter (2017), Self-normalizing neural networks.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(1).standard_normal((1000, 100))
        >>> y = fastnn.layers.AlphaDropout(0.3, seed=1)(x, training=True)
        >>> print(f"{abs(y.mean()):.1f} {y.std():.1f}")
        0.0 1.0
    """

    recordable: ClassVar[bool] = True
    LIMIT: ClassVar[float] = -1.6732632423543772 * 1.0507009873554805

    def __init__(
        self, rate: float, noise_shape: Sequence[int | None] | None = None, seed: int | None = None, **base: Any
    ) -> None:
        super().__init__(rate, noise_shape, seed, **base)
        checks.number(self.who, "rate", rate, 0.0, 1 - 1 / LEVELS)  # something has to be kept

    def _scale(self) -> float:
        rate = self._dropped() / LEVELS
        return float(((1 - rate) * (1 + rate * self.LIMIT**2)) ** -0.5)

    def forward(self, x: Any, training: bool = False) -> Float32:
        given = self.check_input(x)
        if not training or self.inference:
            return given
        shape, a = self.decisions(given.shape), self._scale()
        self._saved = ops.random_keep(given.shape if shape is None else shape, self.rate, self.seed, 0, self.counter)
        b = -a * self.LIMIT * self._dropped() / LEVELS
        return ops.apply_keep(given, self._saved, a, b, a * self.LIMIT + b)

    def backward(self, dy: Float32) -> Float32:
        if self.inference:
            return dy
        return ops.apply_keep(dy, self.saved(), self._scale())


class ActivityRegularization(Layer):
    """Hand the values on, and add a penalty on them to the loss: their L1L2, divided by the batch size.

    Args:
        l1: factor of the sum of absolute values, >= 0.
        l2: factor of the sum of squares, >= 0.

    Shape:
        any, unchanged.

    Example:
        >>> import numpy as np
        >>> model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.ActivityRegularization(l1=0.5)])
        >>> model(np.array([[1.0, -3.0]])).tolist(), model.losses
        ([[1.0, -3.0]], [2.0])
    """

    recordable: ClassVar[bool] = True
    supports_masking: ClassVar[bool] = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **base: Any) -> None:
        if base.pop("activity_regularizer", None) is not None:
            checks.fail_type(type(self).__name__, "l1 and l2", "activity_regularizer", "it has one from these")
        super().__init__(activity_regularizer=L1L2(l1, l2), **base)
        self.l1, self.l2 = float(l1 or 0.0), float(l2 or 0.0)

    def expected_shape(self) -> Shape | None:
        return None

    def forward(self, x: Any, training: bool = False) -> Float32:
        given = self.check_input(x)
        if training:
            self._saved = given.shape
        return given

    def backward(self, dy: Float32) -> Float32:
        return ops.as_float32(self.who, "dy", dy).reshape(self.saved())

    def get_config(self) -> dict[str, Any]:
        config = {name: value for name, value in super().get_config().items() if name != "activity_regularizer"}
        return {**config, "l1": self.l1, "l2": self.l2}
