"""Lion and Ftrl."""

from __future__ import annotations

from typing import ClassVar, Unpack

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.optimizers.arguments import CommonArguments
from fastnn.optimizers.base import Optimizer
from fastnn.optimizers.rate import LearningRate


class Lion(Optimizer):
    """Steps of one size, in the direction of the sign of a mean of gradients.

    w -= learning_rate sign(beta_1 m + (1 - beta_1) g); m = beta_2 m + (1 - beta_2) g

    Args:
        learning_rate: step size, >= 0, or a schedule; three to ten times smaller than for Adam.
        beta_1: share of the old mean in the step, in (0, 1].
        beta_2: decay of the mean, in [0, 1].
        weight_decay and all others: as in `Optimizer`.

    Reference:
        Chen et al. (2023), Symbolic discovery of optimization algorithms.

    Example:
        >>> fastnn.optimizers.Lion().beta_2
        0.99
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        weight_decay: float | None = None,
        **common: Unpack[CommonArguments],
    ) -> None:
        super().__init__(learning_rate, weight_decay, **common)
        self.beta_1 = checks.number("Lion", "beta_1", beta_1, maximum=1.0, above=0.0)
        self.beta_2 = checks.number("Lion", "beta_2", beta_2, 0.0, 1.0)

    @classmethod
    def get_hyper_names(cls) -> tuple[str, ...]:
        return ("beta_1", "beta_2")

    def slot_values(self) -> dict[str, float]:
        return {"momentum": 0.0}

    def update(self, w: Float32, g: Float32, slots: dict[str, Float32]) -> None:
        ops.lion_step(w, g, slots["momentum"], self.lr, beta_1=self.beta_1, beta_2=self.beta_2, **self.options)


class Ftrl(Optimizer):
    """Follow the regularized leader: sparse weights, exactly 0 where l1_regularization_strength outweighs the gradients.

    p = -learning_rate_power; b = a + g^2; z += g + 2 l2_shrinkage w - (b^p - a^p) / learning_rate w; a = b
    w = (min(max(z, -l1), l1) - z) / (b^p / learning_rate + 2 l2 + beta / learning_rate)
    The initial weights have little to do with where it leads. A learning rate of 0 changes nothing.

    Args:
        learning_rate: step size, >= 0, or a schedule.
        learning_rate_power: <= 0; 0 is a constant learning rate.
        initial_accumulator_value: a before the first step, >= 0.
        l1_regularization_strength: l1 >= 0.
        l2_regularization_strength: l2 >= 0.
        l2_shrinkage_regularization_strength: l2_shrinkage >= 0, a penalty on the size that goes with the gradient.
        beta: >= 0.
        weight_decay and all others: as in `Optimizer`.

    Reference:
        McMahan et al. (2013), Ad click prediction: a view from the trenches.

    Example:
        >>> fastnn.optimizers.Ftrl(l1_regularization_strength=0.01).learning_rate_power
        -0.5
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        weight_decay: float | None = None,
        **common: Unpack[CommonArguments],
    ) -> None:
        super().__init__(learning_rate, weight_decay, **common)
        self.learning_rate_power = checks.number("Ftrl", "learning_rate_power", learning_rate_power, maximum=0.0)
        self.initial_accumulator_value = checks.number(
            "Ftrl", "initial_accumulator_value", initial_accumulator_value, 0.0
        )
        l1, l2, shrinkage = (
            checks.number("Ftrl", f"{name}_regularization_strength", value, 0.0)
            for name, value in (
                ("l1", l1_regularization_strength),
                ("l2", l2_regularization_strength),
                ("l2_shrinkage", l2_shrinkage_regularization_strength),
            )
        )
        self.l1_regularization_strength, self.l2_regularization_strength = l1, l2
        self.l2_shrinkage_regularization_strength = shrinkage
        self.beta = checks.number("Ftrl", "beta", beta, 0.0)

    @classmethod
    def get_hyper_names(cls) -> tuple[str, ...]:
        strengths = [f"{name}_regularization_strength" for name in ("l1", "l2", "l2_shrinkage")]
        return ("learning_rate_power", "initial_accumulator_value", *strengths, "beta")

    def slot_values(self) -> dict[str, float]:
        return {"accumulator": self.initial_accumulator_value, "linear": 0.0}

    def update(self, w: Float32, g: Float32, slots: dict[str, Float32]) -> None:
        ops.ftrl_step(
            w,
            g,
            slots["accumulator"],
            slots["linear"],
            self.lr,
            power=self.learning_rate_power,
            l1=self.l1_regularization_strength,
            l2=self.l2_regularization_strength,
            shrinkage=self.l2_shrinkage_regularization_strength,
            beta=self.beta,
            **self.options,
        )
