"""Callbacks that change the learning rate from epoch to epoch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fastnn import checks
from fastnn.training.callback import Callback, Logs
from fastnn.training.callbacks import Monitor


class ReduceLROnPlateau(Monitor):
    """Multiplies the learning rate by a factor when a quantity has not improved for ``patience`` epochs.

    The learning rate is in the logs of every epoch, as "learning_rate".

    Args:
        monitor: name in the logs; default "val_loss".
        factor: in [0, 1); what the learning rate is multiplied by; default 0.1.
        patience: integer >= 0; epochs without improvement before that; default 10.
        verbose: 1 prints the new learning rate; default 0.
        mode: "min", "max" or "auto" (default), as in EarlyStopping.
        min_delta: the least change that counts as an improvement; default 1e-4. The sign is ignored.
        cooldown: integer >= 0; epochs after a reduction in which nothing is counted; default 0.
        min_lr: the learning rate never gets below; default 0.

    >>> from types import SimpleNamespace
    >>> from fastnn import callbacks, optimizers
    >>> plateau = callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=2)
    >>> plateau.set_model(SimpleNamespace(optimizer=optimizers.SGD(0.5)))
    >>> plateau.on_train_begin()
    >>> for epoch, loss in enumerate([1.0, 1.0, 1.0]):
    ...     plateau.on_epoch_end(epoch, {"loss": loss})
    >>> plateau.model.optimizer.learning_rate
    0.25
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        who = "ReduceLROnPlateau"
        self.factor = checks.number(who, "factor", factor, 0.0, below=1.0)
        self.patience = checks.integer(who, "patience", patience, 0)
        self.verbose = verbose
        self.cooldown = checks.integer(who, "cooldown", cooldown, 0)
        self.min_lr = checks.number(who, "min_lr", min_lr, 0.0)
        self.wait = self.cooldown_counter = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.wait = self.cooldown_counter = 0
        self.best = None
        self._warned = False

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = {} if logs is None else logs
        logs["learning_rate"] = self.model.optimizer.learning_rate
        current = self._current(logs)
        if current is None:
            return
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.wait = 0
        if self._is_better(current, self.best):
            self.best, self.wait = current, 0
        elif self.cooldown_counter <= 0:
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch)

    def _reduce(self, epoch: int) -> None:
        """Make the learning rate smaller, unless it is as small as it may get."""
        before = self.model.optimizer.learning_rate
        if before > self.min_lr:
            rate = max(before * self.factor, self.min_lr)
            self.model.optimizer.learning_rate = rate
            if self.verbose:
                print(f"Epoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {rate}.")
            self.cooldown_counter, self.wait = self.cooldown, 0


class LearningRateScheduler(Callback):
    """Sets the learning rate at the beginning of every epoch.

    The learning rate is in the logs of every epoch, as "learning_rate".

    Args:
        schedule: function of (epoch, learning rate so far), or of (epoch), that returns the learning rate; also a schedule object.
        verbose: 1 prints it; default 0.

    Raises:
        TypeError: for what is no function, and if it returns no number.

    >>> from types import SimpleNamespace
    >>> from fastnn import callbacks, optimizers
    >>> halve = callbacks.LearningRateScheduler(lambda epoch, rate: rate if epoch < 2 else rate / 2)
    >>> halve.set_model(SimpleNamespace(optimizer=optimizers.SGD(0.5)))
    >>> for epoch in range(4):
    ...     halve.on_epoch_begin(epoch)
    >>> halve.model.optimizer.learning_rate
    0.125
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        if not callable(schedule):
            checks.fail_type("LearningRateScheduler", "schedule to be a function", checks.describe(schedule))
        self.schedule = schedule
        self.verbose = verbose
        self._takes_rate = _takes_two(schedule)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = self.model.optimizer
        given = self.schedule(epoch, optimizer.learning_rate) if self._takes_rate else self.schedule(epoch)
        rate = given.item() if hasattr(given, "item") else given
        optimizer.learning_rate = checks.number("LearningRateScheduler", "what schedule returns", rate, 0.0)
        if self.verbose:
            print(f"Epoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = self.model.optimizer.learning_rate


def _takes_two(function: Callable[..., Any]) -> bool:
    """Return whether a function can be called with two arguments."""
    try:
        inspect.signature(function).bind(0, 0.0)
    except TypeError:
        return False
    except ValueError:  # no signature is known
        return True
    return True
