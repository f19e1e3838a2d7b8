"""LearningRateSchedule, the base: a learning rate for every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks
from fastnn.custom import get_custom_objects, is_own, name_of
from fastnn.figures import axes_for
from fastnn.settings import Settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Steps = NDArray[np.float64]
_KNOWN: dict[str, type[LearningRateSchedule]] = {}  # fastnn's own, by name


class LearningRateSchedule(Settings):
    """A learning rate for every step, counted from 0; given to an optimizer as its `learning_rate`.

    A subclass writes either `rate`, for an array of steps at once, or `__call__`, for one step; the latter has to return the same
    for the same step.

    Example:
        >>> class Halving(fastnn.optimizers.schedules.LearningRateSchedule):
        ...     def __call__(self, step):
        ...         return 0.1 / (1 + step)
        >>> optimizer = fastnn.optimizers.SGD(learning_rate=Halving())
        >>> optimizer.learning_rate
        0.1
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not is_own(cls):
            _KNOWN[cls.__name__] = cls

    def rate(self, step: Steps) -> Steps:
        """Return the rates of these steps, in float64."""
        cls = type(self).__name__
        raise TypeError(checks.message(cls, "a schedule with a method rate(steps) or __call__(step)", "none of them"))

    def __call__(self, step: Any) -> Any:
        """Return the rate of a step, a number >= 0, or those of an array of steps."""
        steps = checks.array(type(self).__name__, "step", step).astype(np.float64)
        rates = self.rate(steps)
        return float(rates) if steps.ndim == 0 else rates

    def values(self, first: int, count: int) -> Steps:
        """Return the rates of `count` steps from step `first` on."""
        steps = range(first, first + count)
        if type(self).__call__ is LearningRateSchedule.__call__:
            return self.rate(np.array(steps, np.float64))
        return np.array([float(self(step)) for step in steps], np.float64)

    def plot(self, steps: int, ax: Axes | None = None) -> Axes:
        """Draw the learning rates of the first steps; needs matplotlib.

        Args:
            steps: how many, >= 1.
            ax: matplotlib Axes to draw into; None makes a new figure.

        Raises:
            ImportError: if matplotlib is not installed.

        Example:
            >>> ax = fastnn.optimizers.schedules.CosineDecay(0.1, 100).plot(120)
            >>> ax.get_ylabel()
            'learning rate'
        """
        cls = type(self).__name__
        count = checks.integer(cls, "steps", steps, 1)
        ax = axes_for(cls, ax)
        ax.plot(np.arange(count), self.values(0, count), label=cls)
        ax.set(xlabel="step", ylabel="learning rate", title=cls)
        return ax

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this schedule again: its public attributes, unless overridden."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LearningRateSchedule:
        """Return a new schedule from what `get_config` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items() if name != "name")
        return f"{type(self).__name__}({arguments})"


def serialize(learning_rate_schedule: LearningRateSchedule) -> dict[str, Any]:
    """Return a schedule as plain data."""
    schedule = learning_rate_schedule
    return {"class_name": name_of(type(schedule)), "config": schedule.get_config()}


def deserialize(
    config: Mapping[str, Any], custom_objects: Mapping[str, type[LearningRateSchedule]] | None = None
) -> LearningRateSchedule:
    """Return a new schedule from what `serialize` returned; custom_objects: classes of your own by name."""
    known = _KNOWN | get_custom_objects() | dict(custom_objects or {})
    cls = known[checks.one_of("schedule", "class_name", config.get("class_name"), sorted(known))]
    schedule: LearningRateSchedule = cls.from_config(dict(config["config"]))
    return schedule


def described(rate: LearningRateSchedule | float) -> Any:
    """Return a learning rate as plain data: a number as it is."""
    return serialize(rate) if isinstance(rate, LearningRateSchedule) else rate


def restored(rate: Any) -> Any:
    """Return what `described` was given."""
    return deserialize(rate) if isinstance(rate, Mapping) else rate


def ramp(start: float, end: float, share: Steps) -> Steps:
    """Return what lies at these shares of the straight way from start to end."""
    return start + (end - start) * share


def falling_cosine(share: Steps) -> Steps:
    """Return half a wave of the cosine, from 1 at share 0 to 0 at share 1."""
    return 0.5 * (1.0 + np.cos(np.pi * share))


def positive_steps(who: str, name: str, value: Any) -> float:
    """Return a number of steps > 0."""
    return checks.number(who, name, value, above=0.0)


def numbers(who: str, name: str, values: Sequence[Any]) -> list[float]:
    """Return a list of finite numbers."""
    if isinstance(values, str) or not hasattr(values, "__len__"):
        checks.fail_type(who, f"{name} as a list of numbers", checks.describe(values))
    return [checks.number(who, name, value) for value in values]
