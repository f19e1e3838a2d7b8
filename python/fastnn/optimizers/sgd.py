"""SGD: plain, with momentum, with Nesterov momentum."""

from __future__ import annotations

from typing import ClassVar, Unpack

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.optimizers.arguments import CommonArguments
from fastnn.optimizers.base import Optimizer
from fastnn.optimizers.rate import LearningRate


class SGD(Optimizer):
    """Step against the gradient, with momentum if wanted.

    plain:    w -= learning_rate g
    momentum: v = momentum v - learning_rate g; w += v
    nesterov: v = momentum v - learning_rate g; w += momentum v - learning_rate g

    Args:
        learning_rate: step size, >= 0, or a schedule.
        momentum: share of the last step that is kept, in [0, 1].
        nesterov: look ahead along the momentum.
        weight_decay and all others: as in `Optimizer`.

    Reference:
        Sutskever, Martens, Dahl & Hinton (2013), On the importance of initialization and momentum in deep learning.

    Example:
        >>> fastnn.optimizers.SGD(0.1, momentum=0.9).momentum
        0.9
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        **common: Unpack[CommonArguments],
    ) -> None:
        super().__init__(learning_rate, weight_decay, **common)
        self.momentum = checks.number("SGD", "momentum", momentum, 0.0, 1.0)
        self.nesterov = checks.boolean("SGD", "nesterov", nesterov)
        if self.nesterov and not self.momentum:
            checks.warn("SGD: nesterov=True changes nothing without momentum; give momentum=0.9")

    @classmethod
    def get_hyper_names(cls) -> tuple[str, ...]:
        return ("momentum", "nesterov")

    def slot_values(self) -> dict[str, float]:
        return {"momentum": 0.0} if self.momentum else {}

    def update(self, w: Float32, g: Float32, slots: dict[str, Float32]) -> None:
        if not self.momentum:
            ops.sgd_step(w, g, self.lr, **self.options)
            return
        ops.momentum_step(
            w,
            g,
            slots["momentum"],
            self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            **self.options,
        )
