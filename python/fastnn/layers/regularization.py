"""Dropout."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastnn import checks, config, ops
from fastnn.checks import Float32
from fastnn.layers.base import Layer
from fastnn.names import Shape


class Dropout(Layer):
    """Set a random share of the values to 0 in training and scale the rest up, so that the mean stays.

    training: y = x / (1 - rate) with probability 1 - rate, else 0; otherwise y = x

    The mask is a function of the seed and of how many training passes were made, whatever the number of threads. The rate is
    rounded to a multiple of 1 / 65536.

    Args:
        rate: share that is dropped, in [0, 1].
        seed: integer >= 0; None draws one from the package's seed sequence.

    Shape:
        any, unchanged.

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

    def __init__(self, rate: float, seed: int | None = None, **base: Any) -> None:
        super().__init__(**base)
        self.rate = checks.number(self.who, "rate", rate, 0.0, 1.0)
        self.given_seed = None if seed is None else checks.integer(self.who, "seed", seed, 0, 2**63 - 1)
        self.seed = config.next_seed() if self.given_seed is None else self.given_seed
        self.counter = np.zeros(1, np.uint64)

    def expected_shape(self) -> Shape | None:
        return None

    def forward(self, x: Any, training: bool = False) -> Float32:
        x_checked = self.check_input(x)
        if not training:
            return x_checked
        y, used = ops.dropout_forward(x_checked, self.rate, self.seed, 0, self.counter)
        self._saved = used
        return y

    def backward(self, dy: Float32) -> Float32:
        return ops.dropout_backward(dy, self.rate, self.seed, 0, self.saved())

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.rate, self.seed)

    @property
    def counters(self) -> dict[str, Any]:
        return {"counter": self.counter}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.given_seed}
