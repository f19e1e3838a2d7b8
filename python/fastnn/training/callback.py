"""Callbacks: code that ``fit``, ``evaluate`` and ``predict`` call at fixed points, with Keras's names and meanings.

Between two calls the trainer runs as many steps as it can without Python. A callback that overrides a per-batch method
makes it run one step at a time; ``on_steps_end`` is called after every run of steps, however long, and costs nothing.
"""

from __future__ import annotations

from typing import Any

Logs = dict[str, float]

# The per-batch methods: overriding one makes the trainer go one step at a time.
BATCH_HOOKS = {
    "train": ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end"),
    "test": ("on_test_batch_begin", "on_test_batch_end"),
    "predict": ("on_predict_batch_begin", "on_predict_batch_end"),
}


class Callback:
    """Base class: override the methods you need. ``epoch`` and ``batch`` count from 0.

    ``logs`` holds, at the end of an epoch, loss and metrics of training and, with the prefix "val_", of validation; at
    the end of a batch, their averages over the epoch so far. Setting ``self.model.stop_training = True`` ends the
    training.

    Attributes:
        model: the model that is trained; None before ``fit``.
        params: dict with "verbose", "epochs" and "steps"; None before ``fit``.

    >>> from fastnn import callbacks
    >>> class Report(callbacks.Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print(f"after epoch {epoch + 1}: {logs['loss']:.2f}")
    >>> Report().on_epoch_end(0, {"loss": 0.5})  # fit(..., callbacks=[Report()]) calls it
    after epoch 1: 0.50
    """

    model: Any = None  # class attributes, for subclasses that do not call super().__init__()
    params: dict[str, Any] | None = None

    def set_model(self, model: Any) -> None:
        """Remember the model."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Remember what ``fit`` was called with."""
        self.params = params

    def wants_batches(self, phase: str) -> bool:
        """Return whether a per-batch method of "train", "test" or "predict" is overridden, and so must be called."""
        methods = ((getattr(self, name), getattr(Callback, name)) for name in BATCH_HOOKS[phase])
        return any(getattr(method, "__func__", method) is not default for method, default in methods)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called when ``fit`` begins."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called when ``fit`` ends."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called when an epoch begins."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called when an epoch ends, after its validation."""

    def on_steps_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after every run of one or more training steps; ``batch`` is the last of them."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a training step; one step at a time then."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a training step; one step at a time then."""
        self.on_batch_end(batch, logs)

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Older name of ``on_train_batch_begin``."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Older name of ``on_train_batch_end``."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called when ``evaluate``, or the validation of an epoch, begins."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called when ``evaluate``, or the validation of an epoch, ends."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch is evaluated."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch is evaluated."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called when ``predict`` begins."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called when ``predict`` ends."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch is predicted."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch is predicted."""
