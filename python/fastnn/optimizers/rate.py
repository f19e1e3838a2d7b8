"""Rate, the learning rate of an optimizer: one number, or a schedule whose next values wait in a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, ops, settings
from fastnn.checks import Float32
from fastnn.optimizers.schedules.base import LearningRateSchedule

LEAST, MOST = 64, 1024  # values of a schedule that are worked out at once

LearningRate = float | LearningRateSchedule | Callable[[], float]


class Rate:
    """The learning rate of the next step, in an array that the kernels read.

    A recorded step takes the rate from the table by the number of the step, so that a replay can do many steps with a rate of its
    own each; the table is filled from Python before.

    Args:
        who: the optimizer, for errors.
        given: a number >= 0, a schedule, or a function without arguments, which is asked before every step.
    """

    def __init__(self, who: str, given: Any) -> None:
        self.who = who
        self.value: Float32 = ops.zeros((1,))
        self.given: Any = None
        self._table: Float32 = ops.zeros((0,))
        self._first = np.zeros(1, np.int64)
        self._known = 0  # values of the table that hold
        self._since: object = None  # the mark of the settings when it was filled
        self.set(given)

    @property
    def scheduled(self) -> bool:
        """Whether it is anything but one number."""
        return self.given is not None

    def set(self, given: Any) -> None:
        """Take another number, schedule or function."""
        if not callable(given):
            number = checks.number(self.who, "learning_rate", given, 0.0)
            if self.scheduled:
                checks.fail_type(
                    self.who,
                    "a schedule or function as learning_rate, as it was made with one",
                    given,
                    "make the optimizer with a number to set numbers later",
                )
            self.value[0] = number
            return
        self.given, self._known = given, 0
        if not self._table.size:
            self._table = ops.zeros((MOST,))
        settings.changed()  # recorded steps look elsewhere from now on

    @contextmanager
    def instead(self, rate: float) -> Iterator[None]:
        """Let the steps in this block have another rate, whatever the schedule says."""
        before, given = float(self.value[0]), self.given
        try:
            if self.scheduled:
                self.given, self._known = (lambda: rate), 0
            else:
                self.value[0] = rate
            yield
        finally:
            self.given, self._known = given, 0
            self.value[0] = before

    def at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if not self.scheduled:
            return float(self.value[0])
        return float(self._computed(step, 1)[0])

    def ahead(self, counter: NDArray[np.int64], steps: int) -> int:
        """Make the rates of the next steps known; return for how many of `steps` they are, at least one."""
        if not self.scheduled:
            return steps
        now, latest = int(counter[0]), settings.latest()
        fixed = isinstance(self.given, LearningRateSchedule)
        left = int(self._first[0]) + self._known - now
        if not fixed or self._since is not latest or now < self._first[0] or left < 1:
            count = min(max(steps, LEAST), MOST) if fixed else 1
            self._known = 0
            self._table[:count] = self._computed(now, count)
            self._first[0], self._known, self._since, left = now, count, latest, count
        return min(steps, left)

    def take(self, counter: NDArray[np.int64]) -> None:
        """Bring the rate of this step to where the kernels read it."""
        if self.scheduled:
            ops.take_rate(self._table, self._first, counter, self.value)

    def _computed(self, first: int, count: int) -> NDArray[np.float64]:
        if isinstance(self.given, LearningRateSchedule):
            rates = self.given.values(first, count)
        else:
            rates = np.array([self.given()], np.float64)
        wrong = ~(np.isfinite(rates) & (rates >= 0))
        if wrong.any():
            place = int(np.argmax(wrong))
            rule = "finite learning rates >= 0 from its schedule"
            checks.fail(self.who, rule, f"{rates[place]} for step {first + place}")
        return rates
