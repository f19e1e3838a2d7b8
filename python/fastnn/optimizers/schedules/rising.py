"""Schedules in which the learning rate rises as well: warm-up, cycles, one cycle."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import checks
from fastnn.optimizers.schedules.base import (
    LearningRateSchedule,
    Steps,
    described,
    falling_cosine,
    positive_steps,
    ramp,
    restored,
)

CYCLE_MODES = ("triangular", "triangular2", "exp_range")


class WarmUp(LearningRateSchedule):
    """Straight from start_learning_rate to the learning rate of another schedule, which then follows from its step 0 on.

    start + (schedule(0) - start) step / warmup_steps, then schedule(step - warmup_steps)

    Args:
        schedule: what follows: a schedule or a number.
        warmup_steps: >= 1.
        start_learning_rate: rate of step 0, >= 0.
        name: for the record.

    Reference:
        Goyal et al. (2017), Accurate, large minibatch SGD: training ImageNet in 1 hour.

    Example:
        >>> warm = fastnn.optimizers.schedules.WarmUp(0.5, warmup_steps=4)
        >>> warm(0), warm(1), warm(4), warm(100)
        (0.0, 0.125, 0.5, 0.5)
    """

    def __init__(
        self,
        schedule: LearningRateSchedule | float,
        warmup_steps: int,
        start_learning_rate: float = 0.0,
        name: str = "WarmUp",
    ) -> None:
        scheduled = isinstance(schedule, LearningRateSchedule)
        self.schedule = schedule if scheduled else checks.number("WarmUp", "schedule", schedule, 0.0)
        self.warmup_steps = checks.integer("WarmUp", "warmup_steps", warmup_steps, 1)
        self.start_learning_rate = checks.number("WarmUp", "start_learning_rate", start_learning_rate, 0.0)
        self.name = name

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return config | {"schedule": described(self.schedule)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LearningRateSchedule:
        return cls(**{**config, "schedule": restored(config["schedule"])})

    def rate(self, step: Steps) -> Steps:
        later = np.maximum(step - self.warmup_steps, 0.0)
        if isinstance(self.schedule, LearningRateSchedule):
            whole = np.array([self.schedule(float(s)) for s in later.ravel()], np.float64).reshape(later.shape)
        else:
            whole = np.full(later.shape, self.schedule)
        share = np.minimum(step / self.warmup_steps, 1.0)
        return np.where(share < 1.0, ramp(self.start_learning_rate, whole, share), whole)  # type: ignore[arg-type]


class CyclicalLearningRate(LearningRateSchedule):
    """Up and down between two rates, in straight lines.

    base + (maximal - base) s max(0, 1 - |time / step_size - 2 cycle + 1|), cycle = floor(1 + time / (2 step_size)), time the step;
    s = 1 ("triangular"), 2^(1 - cycle) ("triangular2"), gamma^time ("exp_range")

    Args:
        initial_learning_rate: the lower rate, >= 0, that of step 0.
        maximal_learning_rate: the upper rate, >= 0.
        step_size: steps of half a cycle, > 0.
        mode: "triangular", "triangular2" or "exp_range".
        gamma: for "exp_range", in (0, 1].
        name: for the record.

    Reference:
        Smith (2017), Cyclical learning rates for training neural networks.

    Example:
        >>> cycle = fastnn.optimizers.schedules.CyclicalLearningRate(0.25, 0.75, step_size=4, mode="triangular2")
        >>> cycle(0), cycle(4), cycle(8), cycle(12)
        (0.25, 0.75, 0.25, 0.5)
    """

    def __init__(
        self,
        initial_learning_rate: float,
        maximal_learning_rate: float,
        step_size: float,
        mode: str = "triangular",
        gamma: float = 1.0,
        name: str = "CyclicalLearningRate",
    ) -> None:
        who = "CyclicalLearningRate"
        self.initial_learning_rate = checks.number(who, "initial_learning_rate", initial_learning_rate, 0.0)
        self.maximal_learning_rate = checks.number(who, "maximal_learning_rate", maximal_learning_rate, 0.0)
        self.step_size = positive_steps(who, "step_size", step_size)
        self.mode = checks.one_of(who, "mode", mode, CYCLE_MODES)
        self.gamma = checks.number(who, "gamma", gamma, maximum=1.0, above=0.0)
        self.name = name

    def rate(self, step: Steps) -> Steps:
        cycle = np.floor(1 + step / (2 * self.step_size))
        height = np.maximum(0.0, 1 - np.abs(step / self.step_size - 2 * cycle + 1))
        if self.mode == "triangular2":
            height = height * 2.0 ** (1 - cycle)
        elif self.mode == "exp_range":
            height = height * self.gamma**step
        return ramp(self.initial_learning_rate, self.maximal_learning_rate, height)


class OneCycle(LearningRateSchedule):
    """Up from max / div_factor to max, then down to max / div_factor / final_div_factor, in half waves or straight lines.

    The rise ends at step pct_start total_steps - 1, the fall at step total_steps - 1, where the rate stays.

    Args:
        max_learning_rate: the highest rate, >= 0.
        total_steps: >= 2.
        pct_start: share of the steps in which it rises, in (0, 1).
        anneal_strategy: "cos" or "linear".
        div_factor: > 0.
        final_div_factor: > 0.
        name: for the record.

    Reference:
        Smith & Topin (2019), Super-convergence: very fast training of neural networks using large learning rates.

    Example:
        >>> cycle = fastnn.optimizers.schedules.OneCycle(0.5, total_steps=11, pct_start=4 / 11, div_factor=2)
        >>> cycle(0), cycle(3)
        (0.25, 0.5)
    """

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: int,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        name: str = "OneCycle",
    ) -> None:
        self.max_learning_rate = checks.number("OneCycle", "max_learning_rate", max_learning_rate, 0.0)
        self.total_steps = checks.integer("OneCycle", "total_steps", total_steps, 2)
        self.pct_start = checks.number("OneCycle", "pct_start", pct_start, above=0.0, below=1.0)
        self.anneal_strategy = checks.one_of("OneCycle", "anneal_strategy", anneal_strategy, ("cos", "linear"))
        self.div_factor = checks.number("OneCycle", "div_factor", div_factor, above=0.0)
        self.final_div_factor = checks.number("OneCycle", "final_div_factor", final_div_factor, above=0.0)
        self.name = name

    def rate(self, step: Steps) -> Steps:
        last = self.total_steps - 1
        top = min(max(self.pct_start * self.total_steps - 1, 0.0), last - 1e-9)
        start = self.max_learning_rate / self.div_factor
        rise = np.clip(step / top, 0.0, 1.0) if top > 0 else np.ones_like(step)
        fall = np.clip((step - top) / (last - top), 0.0, 1.0)
        return np.where(
            step < top,
            self._way(start, self.max_learning_rate, rise),
            self._way(self.max_learning_rate, start / self.final_div_factor, fall),
        )

    def _way(self, start: float, end: float, share: Steps) -> Steps:
        return ramp(start, end, share if self.anneal_strategy == "linear" else 1 - falling_cosine(share))
