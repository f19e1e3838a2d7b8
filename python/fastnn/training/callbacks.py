"""The callbacks that come with the package: stopping, checkpoints, guards."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from typing import Any

from fastnn import checks
from fastnn.training.callback import Callback, Logs

# Metrics of which more is better; the names that Keras and scikit-learn users give them.
_MORE_IS_BETTER = (
    "acc", "accuracy", "auc", "precision", "recall", "sensitivity", "specificity", "f1", "f1_score", "fbeta_score",
    "iou", "r2", "r2_score", "cosine_similarity", "correlation", "true_positives",
    "true_negatives",
)  # fmt: skip


class Monitor(Callback):
    """A callback that compares one entry of the logs with its best value so far."""

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        who = type(self).__name__
        if not isinstance(monitor, str):
            checks.fail_type(who, "monitor to be the name of a loss or metric", checks.describe(monitor))
        self.monitor = monitor
        self.mode = checks.one_of(who, "mode", mode, ("auto", "min", "max"))
        self.min_delta = abs(checks.number(who, "min_delta", min_delta))
        self.best: float | None = None
        name = re.sub(r"_\d+$", "", monitor).lower()  # a second Accuracy() is called accuracy_1
        self.rising = mode == "max" or (mode == "auto" and name.endswith(_MORE_IS_BETTER))
        self._sign = 1 if self.rising else -1
        self._warned = False

    def _is_better(self, value: float, reference: float | None) -> bool:
        """Return whether a value is better than another by more than min_delta; NaN never is."""
        if math.isnan(value):
            return False
        return reference is None or self._sign * value - self.min_delta > self._sign * reference

    def _current(self, logs: Logs) -> float | None:
        """Return the monitored value, or None, with a warning the first time, if there is none."""
        value = logs.get(self.monitor)
        if value is None and not self._warned:
            self._warned = True
            have = ", ".join(logs) or "nothing"
            fix = "pass validation data to fit" if self.monitor.startswith("val_") else "add the metric to compile"
            fix = f"monitor one of these, or {fix}"
            checks.warn(checks.message(type(self).__name__, f"{self.monitor!r} in the logs", have, fix))
        return value


class EarlyStopping(Monitor):
    """Stops the training when a quantity has not improved for ``patience`` epochs.

    Use: ``model.fit(..., validation_split=0.1, callbacks=[EarlyStopping(patience=3, restore_best_weights=True)])``.

    Args:
        monitor: name in the logs; default "val_loss".
        min_delta: the least change that counts as an improvement; default 0. The sign is ignored.
        patience: integer >= 0; epochs without improvement before the training stops; default 0.
        verbose: 1 prints when it stops and restores; default 0.
        mode: "min", "max", or "auto" (default): "max" if the name ends in acc, accuracy, auc, precision, recall,
            sensitivity, specificity, f1, f1_score, fbeta_score, iou, r2, r2_score, cosine_similarity, correlation,
            true_positives or true_negatives (a number after it, as in auc_1, is ignored), otherwise "min".
        baseline: value that must be beaten for the waiting to start anew; default None.
        restore_best_weights: at the end of the training, stopped early or not, set the weights of the best epoch (of
            all epochs, even if none beats ``baseline``); default False.
        start_from_epoch: integer >= 0; epochs before this one are not looked at; default 0.

    Attributes:
        best, best_epoch: the best value and its epoch. stopped_epoch: where the training stopped; 0 if it did not.

    >>> from types import SimpleNamespace
    >>> from fastnn import callbacks
    >>> stopping = callbacks.EarlyStopping(monitor="loss", patience=1)
    >>> stopping.set_model(SimpleNamespace(stop_training=False))
    >>> stopping.on_train_begin()
    >>> for epoch, loss in enumerate([0.5, 0.4, 0.45]):
    ...     stopping.on_epoch_end(epoch, {"loss": loss})
    >>> stopping.model.stop_training, stopping.best, stopping.best_epoch
    (True, 0.4, 1)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        who = "EarlyStopping"
        self.patience = checks.integer(who, "patience", patience, 0)
        self.verbose = verbose
        self.baseline = None if baseline is None else checks.number(who, "baseline", baseline)
        self.restore_best_weights = checks.boolean(who, "restore_best_weights", restore_best_weights)
        self.start_from_epoch = checks.integer(who, "start_from_epoch", start_from_epoch, 0)
        self._reset()

    def _reset(self) -> None:
        """Forget the last training."""
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best = None
        self.best_weights: list[Any] | None = None
        self._warned = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        current = self._current(logs or {})
        if current is None or epoch < self.start_from_epoch:
            return
        improved = self._is_better(current, self.best)
        # The first epoch that is looked at counts as the best so far even if its value is NaN.
        if improved or (self.restore_best_weights and self.best_weights is None):
            self.best_epoch = epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
        self.wait += 1
        if improved:
            self.best = current
            if self.baseline is None or self._is_better(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch > 0 and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                print(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)


class ModelCheckpoint(Monitor):
    """Saves the model, or its weights, after every epoch or every so many batches.

    Use: ``model.fit(..., callbacks=[ModelCheckpoint("best.fastnn", save_best_only=True)])``.

    Args:
        filepath: where to; placeholders are filled in: {epoch:02d} and {batch} (both from 1) and all logs,
            {val_loss:.2f}. Folders that do not exist are made.
        monitor: name in the logs, for ``save_best_only``; default "val_loss".
        verbose: 1 prints what is saved, and why; default 0.
        save_best_only: save only when ``monitor`` is better than ever; where the logs lack it nothing is saved (with a
            warning the first time), so that the best model is never overwritten by an unknown one; default False.
        save_weights_only: call ``model.save_weights`` instead of ``model.save``; default False.
        mode: "min", "max" or "auto" (default), as in EarlyStopping.
        save_freq: "epoch" (default), or an integer >= 1: after that many batches (then the training goes step by step).
        initial_value_threshold: value that must be beaten before the first save with ``save_best_only``; default None.

    Raises:
        ValueError: ``filepath`` has a placeholder that the logs lack, or a wrong format.
        OSError: the file cannot be written.

    >>> from types import SimpleNamespace
    >>> from fastnn import callbacks
    >>> saving = callbacks.ModelCheckpoint("model-{epoch:02d}-{loss:.2f}.fastnn")
    >>> saving.set_model(SimpleNamespace(save=print))
    >>> saving.on_epoch_end(0, {"loss": 0.5})
    model-01-0.50.fastnn
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        who = "ModelCheckpoint"
        if not isinstance(filepath, (str, os.PathLike)):
            checks.fail_type(who, "filepath to be a string or path", checks.describe(filepath))
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = checks.boolean(who, "save_best_only", save_best_only)
        self.save_weights_only = checks.boolean(who, "save_weights_only", save_weights_only)
        if isinstance(save_freq, str):
            self.save_freq: str | int = checks.one_of(who, "save_freq (if not an integer)", save_freq, ("epoch",))
        else:
            self.save_freq = checks.integer(who, "save_freq", save_freq, 1)
        threshold = initial_value_threshold
        self.best = None if threshold is None else checks.number(who, "initial_value_threshold", threshold)
        self._epoch = 0
        self._batches = 0  # since the last save, over the ends of epochs

    def wants_batches(self, phase: str) -> bool:
        return phase == "train" and self.save_freq != "epoch"

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._warned = False

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            return
        self._batches += 1
        if self._batches >= int(self.save_freq):
            self._batches = 0
            self._save(self._epoch, logs or {}, batch=batch + 1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, logs or {})

    def _save(self, epoch: int, logs: Logs, **position: int) -> None:
        """Save the model if it is to be saved now."""
        if self.save_best_only and not self._is_best(epoch, logs):
            return
        path = self._path({**logs, **position, "epoch": epoch + 1})
        if self.verbose:
            print(f"Epoch {epoch + 1}: saving model to {path}")
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)
        if self.save_best_only:
            self.best = logs[self.monitor]  # now that it is saved

    def _is_best(self, epoch: int, logs: Logs) -> bool:
        """Return whether the monitored value is the best so far."""
        current = self._current(logs)
        if current is None:
            return False
        better = self._is_better(current, self.best)
        before = "" if self.best is None else f" from {self.best:.5f}"
        if self.verbose:
            what = f"improved{before} to {current:.5f}" if better else f"did not improve{before}"
            print(f"Epoch {epoch + 1}: {self.monitor} {what}")
        return better

    def _path(self, names: dict[str, Any]) -> str:
        """Return the file path with its placeholders filled in."""
        try:
            return self.filepath.format(**names)
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            rule = f"placeholders of filepath among {', '.join(sorted(names))}, with number formats"
            checks.fail("ModelCheckpoint", rule, f"{self.filepath!r} ({type(error).__name__}: {error})")


class LambdaCallback(Callback):
    """A callback made of functions.

    Args:
        on_epoch_begin, on_epoch_end: functions of (epoch, logs).
        on_train_begin, on_train_end: functions of (logs).
        on_train_batch_begin, on_train_batch_end: functions of (batch, logs); the training then goes step by step.
        hooks: functions for the other methods of Callback, by name.

    Raises:
        TypeError: an unknown name, or not a function.

    >>> from fastnn import callbacks
    >>> report = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"]))
    >>> report.on_epoch_end(0, {"loss": 0.5})
    0 0.5
    """

    def __init__(
        self,
        on_epoch_begin: Callable[[int, Logs], Any] | None = None,
        on_epoch_end: Callable[[int, Logs], Any] | None = None,
        on_train_begin: Callable[[Logs], Any] | None = None,
        on_train_end: Callable[[Logs], Any] | None = None,
        on_train_batch_begin: Callable[[int, Logs], Any] | None = None,
        on_train_batch_end: Callable[[int, Logs], Any] | None = None,
        **hooks: Callable[..., Any] | None,
    ) -> None:
        given: dict[str, Callable[..., Any] | None] = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
        }
        valid = [name for name in vars(Callback) if name.startswith("on_")]
        checks.unknown_arguments("LambdaCallback", [name for name in hooks if name not in valid], valid)
        for name, function in {**given, **hooks}.items():
            if function is None:
                continue
            if not callable(function):
                checks.fail_type("LambdaCallback", f"{name} to be a function", checks.describe(function))
            setattr(self, name, function)


class TerminateOnNaN(Callback):
    """Stops the training when the loss is NaN or infinite, and prints after which batch.

    It looks after every run of steps, so it does not slow the training down: the loss, an average over the epoch so
    far, stays NaN once it is. The batch that it prints is the last of the run.

    Args:
        raise_error: raise RuntimeError instead, so that no callback's `on_train_end` is called: the file of a BackupAndRestore, for
            one, stays.

    >>> from types import SimpleNamespace
    >>> from fastnn import callbacks
    >>> guard = callbacks.TerminateOnNaN()
    >>> guard.set_model(SimpleNamespace(stop_training=False))
    >>> guard.on_steps_end(7, {"loss": float("nan")})
    Batch 7: Invalid loss, terminating training
    >>> guard.model.stop_training
    True
    """

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = checks.boolean(type(self).__name__, "raise_error", raise_error)

    def on_steps_end(self, batch: int, logs: Logs | None = None) -> None:
        self._check(f"Batch {batch}", logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._check(f"Epoch {epoch + 1}", logs)

    def _check(self, where: str, logs: Logs | None) -> None:
        """Stop the training, with a message the first time, if the loss is not finite."""
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss) and not self.model.stop_training:
            if self.raise_error:
                raise RuntimeError(checks.message(type(self).__name__, "a finite loss", f"{loss} ({where})"))
            print(f"{where}: Invalid loss, terminating training")
            self.model.stop_training = True
