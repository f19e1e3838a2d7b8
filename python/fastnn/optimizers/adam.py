"""Adam and AdamW."""

from __future__ import annotations

from typing import Any, ClassVar

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.optimizers.base import Optimizer


class Adam(Optimizer):
    """Momentum and RMSprop together, with correction of their start at 0.

    m += (g - m) (1 - beta_1); v += (g^2 - v) (1 - beta_2)
    w -= learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon) in step t = 1, 2, ...
    amsgrad: the largest v so far takes v's place in the last line

    Args:
        learning_rate: step size, >= 0.
        beta_1: decay of the first moment, in [0, 1).
        beta_2: decay of the second moment, in [0, 1).
        epsilon: > 0, "epsilon hat" of the paper's section 2.1.
        amsgrad: keep the largest second moment.
        weight_decay: None, or w -= learning_rate * weight_decay * w before every step.

    Reference:
        Kingma & Ba (2015), Adam: a method for stochastic optimization; Reddi, Kale & Kumar (2018) for amsgrad.

    Example:
        >>> fastnn.optimizers.Adam(learning_rate=0.01).beta_2
        0.999
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        weight_decay: float | None = None,
        name: str = "adam",
        **unknown: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, name, **unknown)
        cls = type(self).__name__
        self.beta_1 = checks.number(cls, "beta_1", beta_1, 0.0, below=1.0)
        self.beta_2 = checks.number(cls, "beta_2", beta_2, 0.0, below=1.0)
        self.epsilon = checks.number(cls, "epsilon", epsilon, above=0.0)
        self.amsgrad = checks.boolean(cls, "amsgrad", amsgrad)

    @classmethod
    def get_hyper_names(cls) -> tuple[str, ...]:
        return ("beta_1", "beta_2", "epsilon", "amsgrad")

    def slot_values(self) -> dict[str, float]:
        return {"momentum": 0.0, "velocity": 0.0, **({"velocity_hat": 0.0} if self.amsgrad else {})}

    def update(self, w: Float32, g: Float32, slots: dict[str, Float32]) -> None:
        ops.adam_step(
            w,
            g,
            slots["momentum"],
            slots["velocity"],
            slots.get("velocity_hat"),
            self.lr,
            self.iterations,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            weight_decay=self.decay,
            product=self.product,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay on.

    w -= learning_rate weight_decay w, then Adam's step

    Args:
        weight_decay: >= 0, 0.004 by default; `exclude_from_weight_decay` spares parameters (biases, say).
        learning_rate, beta_1, beta_2, epsilon, amsgrad: as in `Adam`.

    Reference:
        Loshchilov & Hutter (2019), Decoupled weight decay regularization.

    Example:
        >>> fastnn.optimizers.AdamW().weight_decay
        0.004
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        learning_rate: float = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        name: str = "adamw",
        **unknown: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, name, **unknown)
