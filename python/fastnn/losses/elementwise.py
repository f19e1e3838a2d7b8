"""ElementLoss, the base of losses that are a mean or a sum of a function of one prediction and one target."""

from __future__ import annotations

from typing import Any, ClassVar

from fastnn import ops
from fastnn.checks import Float32
from fastnn.losses.base import Evaluated, Loss, Truth


class ElementLoss(Loss):
    """A loss made by the kernel `elementwise_loss`; a subclass says which one, and may have parameters."""

    recordable: ClassVar[bool] = True
    kind: ClassVar[str]
    sums: ClassVar[bool] = False  # whether a row is added up instead of averaged

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: str | None = None
    ) -> None:
        super().__init__(name, reduction, dtype)

    def numbers(self) -> dict[str, Any]:
        """Return what the kernel takes besides arrays."""
        return {}

    def evaluate(
        self, y_true: Truth, y_pred: Float32, weights: Float32 | None, scale: float, need_gradient: bool = True
    ) -> Evaluated:
        return ops.elementwise_loss(
            self.kind,
            y_pred,
            y_true,
            weights,
            scale=scale,
            need_gradient=need_gradient,
            sum_rows=self.sums,
            **self.numbers(),
        )
