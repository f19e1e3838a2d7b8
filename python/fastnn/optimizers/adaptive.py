"""Adagrad, RMSprop, Adadelta: every weight has a step size of its own."""

from __future__ import annotations

from typing import ClassVar, Unpack

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.optimizers.arguments import CommonArguments
from fastnn.optimizers.base import Optimizer
from fastnn.optimizers.rate import LearningRate


class Adagrad(Optimizer):
    """Divide every step by the root of all squared gradients so far.

    a += g^2; w -= learning_rate g / sqrt(a + epsilon)

    Args:
        learning_rate: step size, >= 0, or a schedule.
        initial_accumulator_value: a before the first step, >= 0 (the book's form is 0).
        epsilon: > 0.
        weight_decay and all others: as in `Optimizer`.

    Reference:
        Duchi, Hazan & Singer (2011), Adaptive subgradient methods for online learning and stochastic optimization.

    Example:
        >>> fastnn.optimizers.Adagrad().initial_accumulator_value
        0.1
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        **common: Unpack[CommonArguments],
    ) -> None:
        super().__init__(learning_rate, weight_decay, **common)
        self.initial_accumulator_value = checks.number(
            "Adagrad", "initial_accumulator_value", initial_accumulator_value, 0.0
        )
        self.epsilon = checks.number("Adagrad", "epsilon", epsilon, above=0.0)

    @classmethod
    def get_hyper_names(cls) -> tuple[str, ...]:
        return ("initial_accumulator_value", "epsilon")

    def slot_values(self) -> dict[str, float]:
        return {"accumulator": self.initial_accumulator_value}

    def update(self, w: Float32, g: Float32, slots: dict[str, Float32]) -> None:
        ops.adagrad_step(w, g, slots["accumulator"], self.lr, epsilon=self.epsilon, **self.options)


class RMSprop(Optimizer):
    """Divide every step by the root of a running mean of squared gradients.

    v = rho v + (1 - rho) g^2; w -= learning_rate g / sqrt(v + epsilon)
    centered: m = rho m + (1 - rho) g, and v - m^2 takes the place of v under the root
    momentum: u = momentum u + learning_rate g / sqrt(...); w -= u

    Args:
        learning_rate: step size, >= 0, or a schedule.
        rho: decay of the running means, in [0, 1).
        momentum: share of the last step that is kept, in [0, 1].
        epsilon: > 0.
        centered: estimate the variance instead of the second moment.
        weight_decay and all others: as in `Optimizer`.

    Reference:
        Tieleman & Hinton (2012), Lecture 6.5 of Neural networks for machine learning.

    Example:
        >>> fastnn.optimizers.RMSprop().rho
        0.9
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        weight_decay: float | None = None,
        **common: Unpack[CommonArguments],
    ) -> None:
        super().__init__(learning_rate, weight_decay, **common)
        self.rho = checks.number("RMSprop", "rho", rho, 0.0, below=1.0)
        self.momentum = checks.number("RMSprop", "momentum", momentum, 0.0, 1.0)
        self.epsilon = checks.number("RMSprop", "epsilon", epsilon, above=0.0)
        self.centered = checks.boolean("RMSprop", "centered", centered)

    @classmethod
    def get_hyper_names(cls) -> tuple[str, ...]:
        return ("rho", "momentum", "epsilon", "centered")

    def slot_values(self) -> dict[str, float]:
        slots = {"velocity": 0.0}
        if self.centered:
            slots["average_gradient"] = 0.0
        if self.momentum:
            slots["momentum"] = 0.0
        return slots

    def update(self, w: Float32, g: Float32, slots: dict[str, Float32]) -> None:
        ops.rmsprop_step(
            w,
            g,
            slots["velocity"],
            slots.get("average_gradient"),
            slots.get("momentum"),
            self.lr,
            rho=self.rho,
            momentum=self.momentum,
            epsilon=self.epsilon,
            **self.options,
        )


class Adadelta(Optimizer):
    """Adagrad with a fading memory, whose steps are of the size that earlier steps had.

    a = rho a + (1 - rho) g^2; u = g sqrt(d + epsilon) / sqrt(a + epsilon); d = rho d + (1 - rho) u^2; w -= learning_rate u

    Args:
        learning_rate: >= 0, or a schedule; 1 is the paper's form.
        rho: decay of both means, in [0, 1).
        epsilon: > 0.
        weight_decay and all others: as in `Optimizer`.

    Reference:
        Zeiler (2012), ADADELTA: an adaptive learning rate method.

    Example:
        >>> fastnn.optimizers.Adadelta().rho
        0.95
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        **common: Unpack[CommonArguments],
    ) -> None:
        super().__init__(learning_rate, weight_decay, **common)
        self.rho = checks.number("Adadelta", "rho", rho, 0.0, below=1.0)
        self.epsilon = checks.number("Adadelta", "epsilon", epsilon, above=0.0)

    @classmethod
    def get_hyper_names(cls) -> tuple[str, ...]:
        return ("rho", "epsilon")

    def slot_values(self) -> dict[str, float]:
        return {"accumulated_grad": 0.0, "accumulated_delta_var": 0.0}

    def update(self, w: Float32, g: Float32, slots: dict[str, Float32]) -> None:
        squares, steps = slots["accumulated_grad"], slots["accumulated_delta_var"]
        ops.adadelta_step(w, g, squares, steps, self.lr, rho=self.rho, epsilon=self.epsilon, **self.options)
