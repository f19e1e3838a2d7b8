"""Masking."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.layers.base import Layer
from fastnn.names import Shape


class Masking(Layer):
    """Leave out the times at which all features are `mask_value`: they do not count in layers and losses behind.

    y = x, 0 where left out. The mask goes with the output through layers that treat each time by itself (Dense, activations,
    dropout, LayerNormalization, elementwise merges) to the loss: a mean is then that over what is left. It ends, with a warning,
    at other layers.

    Args:
        mask_value: what stands for "nothing there".

    Shape:
        (N, T, ..., D), unchanged; the mask is (N, T, ...).

    Example:
        >>> import numpy as np
        >>> layer = fastnn.layers.Masking(mask_value=-1.0)
        >>> x = np.array([[[1.0, -1.0], [-1.0, -1.0]]])
        >>> layer(x).tolist(), layer.compute_mask(x).tolist()
        ([[[1.0, -1.0], [0.0, 0.0]]], [[True, False]])
    """

    recordable: ClassVar[bool] = True
    supports_masking: ClassVar[bool] = True

    def __init__(self, mask_value: float = 0.0, **base: Any) -> None:
        super().__init__(**base)
        largest = float(np.finfo(np.float32).max)
        self.mask_value = checks.number(self.who, "mask_value", mask_value, -largest, largest)

    def expected_shape(self) -> Shape | None:
        return None

    def compute_mask(self, x: Any) -> NDArray[np.bool_]:
        """Return where there is something."""
        mask: NDArray[np.bool_] = ops.mask_rows(self.check_input(x), self.mask_value)[1] != 0
        return mask

    def forward(self, x: Any, training: bool = False) -> Float32:
        y, self.output_mask = ops.mask_rows(self.check_input(x), self.mask_value)
        if training:
            self._saved = self.output_mask
        return y

    def backward(self, dy: Float32) -> Float32:
        mask = self.saved()
        return ops.apply_keep(dy, mask.reshape(*mask.shape, 1), 1.0)

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.mask_value)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mask_value": self.mask_value}
