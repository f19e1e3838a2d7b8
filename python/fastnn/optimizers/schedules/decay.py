"""Schedules that let the learning rate fall, in Keras's terms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastnn import checks
from fastnn.optimizers.schedules.base import LearningRateSchedule, Steps, falling_cosine, numbers, positive_steps, ramp


class ExponentialDecay(LearningRateSchedule):
    """initial_learning_rate decay_rate^(step / decay_steps), with staircase the exponent's whole part only.

    Args:
        initial_learning_rate: rate of step 0, >= 0.
        decay_steps: steps in which the rate falls by the factor decay_rate, > 0.
        decay_rate: >= 0.
        staircase: fall every decay_steps steps at once.
        name: for the record.

    Example:
        >>> fastnn.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)(20)
        0.025
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        who = "ExponentialDecay"
        self.initial_learning_rate = checks.number(who, "initial_learning_rate", initial_learning_rate, 0.0)
        self.decay_steps = positive_steps(who, "decay_steps", decay_steps)
        self.decay_rate = checks.number(who, "decay_rate", decay_rate, 0.0)
        self.staircase = checks.boolean(who, "staircase", staircase)
        self.name = name

    def rate(self, step: Steps) -> Steps:
        share = step / self.decay_steps
        result: Steps = self.initial_learning_rate * self.decay_rate ** (np.floor(share) if self.staircase else share)
        return result


class InverseTimeDecay(LearningRateSchedule):
    """initial_learning_rate / (1 + decay_rate step / decay_steps), with staircase of the fraction's whole part only.

    Args:
        initial_learning_rate: rate of step 0, >= 0.
        decay_steps: > 0.
        decay_rate: >= 0.
        staircase: fall every decay_steps steps at once.
        name: for the record.

    Example:
        >>> fastnn.optimizers.schedules.InverseTimeDecay(0.1, 10, 0.5)(20)
        0.05
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        who = "InverseTimeDecay"
        self.initial_learning_rate = checks.number(who, "initial_learning_rate", initial_learning_rate, 0.0)
        self.decay_steps = positive_steps(who, "decay_steps", decay_steps)
        self.decay_rate = checks.number(who, "decay_rate", decay_rate, 0.0)
        self.staircase = checks.boolean(who, "staircase", staircase)
        self.name = name

    def rate(self, step: Steps) -> Steps:
        share = step / self.decay_steps
        result: Steps = self.initial_learning_rate / (
            1 + self.decay_rate * (np.floor(share) if self.staircase else share)
        )
        return result


class PolynomialDecay(LearningRateSchedule):
    """end + (initial - end) (1 - p)^power, p = min(step, decay_steps) / decay_steps.

    With cycle p = step / (decay_steps multiple), multiple being the least >= 1 for which p <= 1: up again after every decay_steps.

    Args:
        initial_learning_rate: rate of step 0, >= 0.
        decay_steps: > 0.
        end_learning_rate: rate from step decay_steps on, >= 0.
        power: > 0.
        cycle: go on after decay_steps.
        name: for the record.

    Example:
        >>> fastnn.optimizers.schedules.PolynomialDecay(0.5, 10, 0.25)(5)
        0.375
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        who = "PolynomialDecay"
        self.initial_learning_rate = checks.number(who, "initial_learning_rate", initial_learning_rate, 0.0)
        self.decay_steps = positive_steps(who, "decay_steps", decay_steps)
        self.end_learning_rate = checks.number(who, "end_learning_rate", end_learning_rate, 0.0)
        self.power = checks.number(who, "power", power, above=0.0)
        self.cycle = checks.boolean(who, "cycle", cycle)
        self.name = name

    def rate(self, step: Steps) -> Steps:
        share = step / self.decay_steps
        share = share / np.maximum(np.ceil(share), 1.0) if self.cycle else np.minimum(share, 1.0)
        return ramp(self.end_learning_rate, self.initial_learning_rate, (1 - share) ** self.power)


class PiecewiseConstantDecay(LearningRateSchedule):
    """values[0] up to step boundaries[0] (included), values[1] up to boundaries[1], ..., the last value after the last boundary.

    Args:
        boundaries: steps, rising.
        values: rates >= 0, one more than boundaries.
        name: for the record.

    Example:
        >>> fastnn.optimizers.schedules.PiecewiseConstantDecay([10, 20], [0.1, 0.01, 0.001])(11)
        0.01
    """

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant") -> None:
        who = "PiecewiseConstantDecay"
        self.boundaries, rates = numbers(who, "boundaries", boundaries), numbers(who, "values", values)
        if len(rates) != len(self.boundaries) + 1:
            checks.fail(who, f"{len(self.boundaries) + 1} values, one more than boundaries", len(rates))
        if any(a >= b for a, b in zip(self.boundaries, self.boundaries[1:])):
            checks.fail(who, "boundaries that rise", self.boundaries)
        if min(rates) < 0:
            checks.fail(who, "values >= 0", rates)
        self.levels = tuple(rates)
        self.name = name

    def rate(self, step: Steps) -> Steps:
        return np.array(self.levels)[np.searchsorted(self.boundaries, step, side="left")]

    def get_config(self) -> dict[str, object]:
        return {"boundaries": self.boundaries, "values": list(self.levels), "name": self.name}


class StepDecay(LearningRateSchedule):
    """initial_learning_rate factor^(step // every): a fall at once every so many steps.

    Args:
        initial_learning_rate: rate of step 0, >= 0.
        every: steps between two falls, >= 1.
        factor: what is left of the rate, >= 0.
        name: for the record.

    Example:
        >>> fastnn.optimizers.schedules.StepDecay(0.4, every=10, factor=0.5)(25)
        0.1
    """

    def __init__(self, initial_learning_rate: float, every: int, factor: float = 0.1, name: str = "StepDecay") -> None:
        self.initial_learning_rate = checks.number("StepDecay", "initial_learning_rate", initial_learning_rate, 0.0)
        self.every = checks.integer("StepDecay", "every", every, 1)
        self.factor = checks.number("StepDecay", "factor", factor, 0.0)
        self.name = name

    def rate(self, step: Steps) -> Steps:
        result: Steps = self.initial_learning_rate * self.factor ** np.floor(step / self.every)
        return result


class CosineDecay(LearningRateSchedule):
    """Half a wave of the cosine, after a straight warm-up if wanted.

    warm-up: from initial_learning_rate to warmup_target in warmup_steps steps
    top ((1 - alpha) (1 + cos(pi p)) / 2 + alpha), p = min(step, decay_steps) / decay_steps counted from the end of the warm-up,
    top = warmup_target, or initial_learning_rate without a warm-up

    Args:
        initial_learning_rate: rate of step 0, >= 0.
        decay_steps: steps of the fall, > 0.
        alpha: share of the top that is left at the end, in [0, 1].
        name: for the record.
        warmup_target: rate at the end of the warm-up; None is no warm-up.
        warmup_steps: >= 0.

    Reference:
        Loshchilov & Hutter (2017), SGDR: stochastic gradient descent with warm restarts.

    Example:
        >>> schedule = fastnn.optimizers.schedules.CosineDecay(0.0, 100, warmup_target=0.5, warmup_steps=10)
        >>> schedule(5), schedule(10), schedule(110)
        (0.25, 0.5, 0.0)
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        who = "CosineDecay"
        self.initial_learning_rate = checks.number(who, "initial_learning_rate", initial_learning_rate, 0.0)
        self.decay_steps = positive_steps(who, "decay_steps", decay_steps)
        self.alpha = checks.number(who, "alpha", alpha, 0.0, 1.0)
        self.name = name
        self.warmup_target = None if warmup_target is None else checks.number(who, "warmup_target", warmup_target, 0.0)
        self.warmup_steps = checks.integer(who, "warmup_steps", warmup_steps, 0)

    def rate(self, step: Steps) -> Steps:
        top, warm = self.initial_learning_rate, 0
        if self.warmup_target is not None:
            top, warm = self.warmup_target, self.warmup_steps
        share = np.minimum((step - warm) / self.decay_steps, 1.0)
        falling = top * ((1 - self.alpha) * falling_cosine(share) + self.alpha)
        return np.where(step < warm, ramp(self.initial_learning_rate, top, step / max(warm, 1)), falling)


class CosineDecayRestarts(LearningRateSchedule):
    """Half waves of the cosine one after the other, each t_mul times as long and m_mul times as high as the one before.

    initial_learning_rate ((1 - alpha) m_mul^i (1 + cos(pi p)) / 2 + alpha) in wave i, p being the share of it that is over

    Args:
        initial_learning_rate: rate of step 0, >= 0.
        first_decay_steps: steps of the first wave, > 0.
        t_mul: >= 1.
        m_mul: >= 0.
        alpha: share of initial_learning_rate at the end of a wave, in [0, 1].
        name: for the record.

    Reference:
        Loshchilov & Hutter (2017), SGDR: stochastic gradient descent with warm restarts.

    Example:
        >>> schedule = fastnn.optimizers.schedules.CosineDecayRestarts(0.5, 10)
        >>> schedule(0), schedule(5), schedule(10), schedule(20)
        (0.5, 0.25, 0.5, 0.25)
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        who = "CosineDecayRestarts"
        self.initial_learning_rate = checks.number(who, "initial_learning_rate", initial_learning_rate, 0.0)
        self.first_decay_steps = positive_steps(who, "first_decay_steps", first_decay_steps)
        self.t_mul = checks.number(who, "t_mul", t_mul, 1.0)
        self.m_mul = checks.number(who, "m_mul", m_mul, 0.0)
        self.alpha = checks.number(who, "alpha", alpha, 0.0, 1.0)
        self.name = name

    def rate(self, step: Steps) -> Steps:
        wave, share = self._place(step / self.first_decay_steps)
        height = self.m_mul**wave
        result: Steps = self.initial_learning_rate * ((1 - self.alpha) * height * falling_cosine(share) + self.alpha)
        return result

    def _place(self, time: Steps) -> tuple[Steps, Steps]:
        """Return the number of the wave, and how much of it is over; time is counted in first waves."""
        if self.t_mul == 1.0:
            wave = np.floor(time)
            return wave, time - wave
        growth = self.t_mul - 1
        # The logarithm may be off by a rounding: the wave is the one that has begun and has not ended.
        wave = np.floor(np.log1p(time * growth) / np.log(self.t_mul))
        wave = wave + (time >= (self.t_mul ** (wave + 1) - 1) / growth)
        wave = wave - (time < (self.t_mul**wave - 1) / growth)
        return wave, (time - (self.t_mul**wave - 1) / growth) / self.t_mul**wave
