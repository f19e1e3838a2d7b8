"""The learning rate of a training that follows a schedule, as a callback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn import checks
from fastnn.optimizers.schedules import LearningRateSchedule
from fastnn.training.callback import Callback, Logs


class ScheduledLearningRate(Callback):
    """Sets the learning rate by a schedule: at the beginning of every epoch, or for every step.

    Use: ``model.fit(..., callbacks=[ScheduledLearningRate(CosineDecay(0.1, decay_steps=20))])``: the rate falls in 20 epochs.

    Args:
        schedule: a `fastnn.optimizers.schedules` object; for epochs also a function of their number, counted from 0.
        unit: "epoch" (default), or "step": steps are counted from the optimizer's first; the training is as fast as without it.
        verbose: 1 prints the rate of every epoch; default 0.

    Raises:
        TypeError: no schedule. ValueError: an unknown unit.

    >>> from fastnn import callbacks, optimizers
    >>> callback = callbacks.ScheduledLearningRate(optimizers.schedules.StepDecay(0.5, every=2, factor=0.5))
    >>> [callback.schedule(epoch) for epoch in range(4)]
    [0.5, 0.5, 0.25, 0.25]
    """

    def __init__(self, schedule: Callable[[Any], Any], unit: str = "epoch", verbose: int = 0) -> None:
        super().__init__()
        if not callable(schedule):
            checks.fail_type("ScheduledLearningRate", "a schedule or a function", checks.describe(schedule))
        self.schedule = schedule
        self.unit = checks.one_of("ScheduledLearningRate", "unit", unit, ("epoch", "step"))
        if self.unit == "step" and not isinstance(schedule, LearningRateSchedule):
            rule = "a fastnn.optimizers.schedules object for unit='step'"
            checks.fail_type(
                "ScheduledLearningRate", rule, checks.describe(schedule), "derive a class from LearningRateSchedule"
            )
        self.verbose = verbose

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if self.unit == "step":
            self.model.optimizer.learning_rate = self.schedule

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = self.model.optimizer
        if self.unit == "epoch":
            optimizer.learning_rate = float(self.schedule(epoch))
        if self.verbose:
            print(f"Epoch {epoch + 1}: learning rate {optimizer.learning_rate:g}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = self.model.optimizer.learning_rate
