"""Adam and its kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Unpack

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.optimizers.arguments import CommonArguments
from fastnn.optimizers.base import Optimizer
from fastnn.optimizers.rate import LearningRate


class Adam(Optimizer):
    """Momentum and RMSprop together, with correction of their start at 0.

    m += (g - m) (1 - beta_1); v += (g^2 - v) (1 - beta_2)
    w -= learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon) in step t = 1, 2, ...
    amsgrad: the largest v so far takes v's place in the last line

    Args:
        learning_rate: step size, >= 0, or a schedule.
        beta_1: decay of the first moment, in [0, 1).
        beta_2: decay of the second moment, in [0, 1).
        epsilon: > 0, "epsilon hat" of the paper's section 2.1.
        amsgrad: keep the largest second moment.
        weight_decay and all others: as in `Optimizer`.

    Reference:
        Kingma & Ba (2015), Adam: a method for stochastic optimization; Reddi, Kale & Kumar (2018) for amsgrad.

    Example:
        >>> fastnn.optimizers.Adam(learning_rate=0.01).beta_2
        0.999
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        weight_decay: float | None = None,
        **common: Unpack[CommonArguments],
    ) -> None:
        super().__init__(learning_rate, weight_decay, **common)
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
            **self.options,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay on.

    w -= learning_rate weight_decay w, then Adam's step

    Args:
        learning_rate, beta_1, beta_2, epsilon, amsgrad: as in `Adam`.
        weight_decay: >= 0, 0.004 by default; `exclude_from_weight_decay` spares parameters (biases, say).

    Reference:
        Loshchilov & Hutter (2019), Decoupled weight decay regularization.

    Example:
        >>> fastnn.optimizers.AdamW().weight_decay
        0.004
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **common: Unpack[CommonArguments],
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, **common)


class _Moments(Optimizer):
    """What optimizers share that keep the means of the gradient and of another number of its size."""

    second: ClassVar[str] = "velocity"

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        **common: Unpack[CommonArguments],
    ) -> None:
        super().__init__(learning_rate, weight_decay, **common)
        cls = type(self).__name__
        self.beta_1 = checks.number(cls, "beta_1", beta_1, 0.0, below=1.0)
        self.beta_2 = checks.number(cls, "beta_2", beta_2, 0.0, below=1.0)
        self.epsilon = checks.number(cls, "epsilon", epsilon, above=0.0)

    @classmethod
    def get_hyper_names(cls) -> tuple[str, ...]:
        return ("beta_1", "beta_2", "epsilon")

    def slot_values(self) -> dict[str, float]:
        return {"momentum": 0.0, self.second: 0.0}

    def update(self, w: Float32, g: Float32, slots: dict[str, Float32]) -> None:
        self.kernel()(
            w,
            g,
            slots["momentum"],
            slots[self.second],
            self.lr,
            self.iterations,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            **self.options,
        )

    def kernel(self) -> Callable[..., None]:
        """Return the op that does the step."""
        raise TypeError(checks.message(type(self).__name__, "an optimizer class with a kernel", "none"))


class Adamax(_Moments):
    """Adam with the largest gradient so far, which fades, in the place of the root of the second moment.

    m += (g - m) (1 - beta_1); u = max(beta_2 u, |g|); w -= learning_rate / (1 - beta_1^t) m / (u + epsilon) in step t = 1, 2, ...

    Args:
        learning_rate: step size, >= 0, or a schedule.
        beta_1: decay of the first moment, in [0, 1).
        beta_2: decay of the largest gradient, in [0, 1).
        epsilon: > 0.
        weight_decay and all others: as in `Optimizer`.

    Reference:
        Kingma & Ba (2015), Adam: a method for stochastic optimization, section 7.

    Example:
        >>> fastnn.optimizers.Adamax().beta_1
        0.9
    """

    recordable: ClassVar[bool] = True
    second: ClassVar[str] = "norm"

    def kernel(self) -> Callable[..., None]:
        return ops.adamax_step


class Nadam(_Moments):
    """Adam with Nesterov momentum, whose momentum grows with the steps.

    m += (g - m) (1 - beta_1); v += (g^2 - v) (1 - beta_2); b(t) = beta_1 (1 - 0.96^t / 2), B(t) = b(1) ... b(t)
    w -= learning_rate (b(t+1) / (1 - B(t+1)) m + (1 - b(t)) / (1 - B(t)) g) / (sqrt(v / (1 - beta_2^t)) + epsilon)

    Args:
        learning_rate: step size, >= 0, or a schedule.
        beta_1: decay of the first moment, in [0, 1).
        beta_2: decay of the second moment, in [0, 1).
        epsilon: > 0.
        weight_decay and all others: as in `Optimizer`.

    Reference:
        Dozat (2015), Incorporating Nesterov momentum into Adam.

    Example:
        >>> fastnn.optimizers.Nadam().beta_2
        0.999
    """

    recordable: ClassVar[bool] = True

    def kernel(self) -> Callable[..., None]:
        return ops.nadam_step


class Lamb(_Moments):
    """Adam's direction with a step as long as learning_rate times the norm of the parameter, for large batches.

    m, v as in `Adam`; u = m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon); w -= learning_rate |w| / |u| u
    The ratio of the norms is 1 where one of them is 0.

    Args:
        learning_rate: step size, >= 0, or a schedule.
        beta_1: decay of the first moment, in [0, 1).
        beta_2: decay of the second moment, in [0, 1).
        epsilon: > 0.
        weight_decay and all others: as in `Optimizer`.

    Reference:
        You et al. (2020), Large batch optimization for deep learning: training BERT in 76 minutes.

    Example:
        >>> fastnn.optimizers.Lamb().epsilon
        1e-07
    """

    recordable: ClassVar[bool] = True
    by_parameter: ClassVar[bool] = True

    def kernel(self) -> Callable[..., None]:
        return ops.lamb_step
