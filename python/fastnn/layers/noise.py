"""GaussianNoise and GaussianDropout, and the base of all layers that draw numbers."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from fastnn import checks, config, ops
from fastnn.checks import Float32
from fastnn.layers.base import Layer
from fastnn.names import Shape


class RandomLayer(Layer):
    """A layer that draws numbers: functions of its seed and of how many training passes were made, on any number of threads."""

    def __init__(self, seed: int | None, **base: Any) -> None:
        super().__init__(**base)
        self.given_seed = None if seed is None else checks.integer(self.who, "seed", seed, 0, 2**63 - 1)
        self.seed = config.next_seed() if self.given_seed is None else self.given_seed
        self.counter = np.zeros(1, np.uint64)

    def expected_shape(self) -> Shape | None:
        return None

    @property
    def counters(self) -> dict[str, Any]:
        return {"counter": self.counter}

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.seed)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.given_seed}


class GaussianDropout(RandomLayer):
    """Multiply by normal noise of mean 1 in training.

    training: y = x (1 + z sqrt(rate / (1 - rate))), z normal; otherwise y = x

    Args:
        rate: in [0, 1); the noise has the variance that `Dropout` with this rate has.
        seed: integer >= 0; None draws one from the package's seed sequence.

    Shape:
        any, unchanged.

    Reference:
        Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov (2014), Dropout.

    Example:
        >>> import numpy as np
        >>> y = fastnn.layers.GaussianDropout(0.5, seed=1)(np.ones((1000, 100)), training=True)
        >>> print(f"{y.mean():.1f} {y.std():.1f}")
        1.0 1.0
    """

    recordable: ClassVar[bool] = True
    supports_masking: ClassVar[bool] = True

    def __init__(self, rate: float, seed: int | None = None, **base: Any) -> None:
        super().__init__(seed, **base)
        self.rate = checks.number(self.who, "rate", rate, 0.0, 1 - 2.0**-24)

    @property
    def stddev(self) -> float:
        """The deviation of the noise."""
        return math.sqrt(self.rate / (1 - self.rate))

    def forward(self, x: Any, training: bool = False) -> Float32:
        given = self.check_input(x)
        if not training or self.inference:
            return given
        y, self._saved = ops.gaussian_forward(given, self.stddev, self.seed, 0, self.counter, multiply=True)
        return y

    def backward(self, dy: Float32) -> Float32:
        if self.inference:
            return dy
        return ops.gaussian_backward(dy, self.stddev, self.seed, 0, self.saved())

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.rate)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}


class GaussianNoise(RandomLayer):
    """Add normal noise of mean 0 in training.

    training: y = x + stddev z, z normal; otherwise y = x

    Args:
        stddev: deviation of the noise, >= 0.
        seed: integer >= 0; None draws one from the package's seed sequence.

    Shape:
        any, unchanged.

    Example:
        >>> import numpy as np
        >>> y = fastnn.layers.GaussianNoise(0.5, seed=1)(np.ones((1000, 100)), training=True)
        >>> print(f"{y.mean():.1f} {y.std():.1f}")
        1.0 0.5
    """

    recordable: ClassVar[bool] = True
    supports_masking: ClassVar[bool] = True

    def __init__(self, stddev: float, seed: int | None = None, **base: Any) -> None:
        super().__init__(seed, **base)
        self.stddev = checks.number(self.who, "stddev", stddev, 0.0, float(np.finfo(np.float32).max))

    def forward(self, x: Any, training: bool = False) -> Float32:
        given = self.check_input(x)
        if not training or self.inference:
            return given
        y, self._saved = ops.gaussian_forward(given, self.stddev, self.seed, 0, self.counter)
        return y

    def backward(self, dy: Float32) -> Float32:
        if self.inference:
            return dy
        self.saved()
        return ops.as_float32(self.who, "dy", dy)

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.stddev)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stddev": self.stddev}
