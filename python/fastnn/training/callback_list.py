"""Several callbacks as one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastnn import checks
from fastnn.training.callback import Callback, Logs
from fastnn.training.history import History


class CallbackList(Callback):
    """Several callbacks as one: each of its methods calls that of every callback, in order, with one logs dict for all.

    What a callback writes into ``logs`` the later ones see, and ``History`` records.

    Args:
        callbacks: the callbacks; None for none.
        add_history: append a ``History`` unless there is one; default False.
        model: passed to ``set_model`` unless None.
        params: passed to ``set_params`` unless there are none.

    Raises:
        TypeError: one of them is not a Callback.

    >>> from fastnn import callbacks
    >>> both = callbacks.CallbackList([callbacks.LambdaCallback(on_train_begin=print), callbacks.Callback()])
    >>> both.on_train_begin()
    {}
    >>> both.wants_batches("train")
    False
    """

    def __init__(
        self,
        callbacks: Iterable[Callback] | Callback | None = None,
        add_history: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        self.callbacks: list[Callback] = []
        if isinstance(callbacks, Callback):
            callbacks = [callbacks]
        if callbacks is not None and not isinstance(callbacks, Iterable):
            checks.fail_type("callbacks", "a list of Callback objects", checks.describe(callbacks))
        for callback in callbacks or []:
            self.append(callback)
        if add_history and not any(isinstance(callback, History) for callback in self.callbacks):
            self.append(History())
        if model is not None:
            self.set_model(model)
        if params:
            self.set_params(params)

    def append(self, callback: Callback) -> None:
        """Add a callback at the end."""
        if not isinstance(callback, Callback):
            fix = "make an object of the class: EarlyStopping()" if isinstance(callback, type) else "subclass Callback"
            checks.fail_type("callbacks", "Callback objects", checks.describe(callback), fix)
        self.callbacks.append(callback)

    def set_model(self, model: Any) -> None:
        """Give the model to every callback."""
        self.model = model
        for callback in self.callbacks:
            callback.set_model(model)

    def set_params(self, params: dict[str, Any]) -> None:
        """Give the parameters of ``fit`` to every callback."""
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    def wants_batches(self, phase: str) -> bool:
        """Return whether any callback needs the per-batch methods of "train", "test" or "predict"."""
        return any(callback.wants_batches(phase) for callback in self.callbacks)

    def _call(self, hook: str, logs: Logs | None, *position: int) -> None:
        """Call one method of every callback."""
        logs = {} if logs is None else logs
        for callback in self.callbacks:
            getattr(callback, hook)(*position, logs)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._call("on_train_begin", logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._call("on_train_end", logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._call("on_epoch_begin", logs, epoch)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._call("on_epoch_end", logs, epoch)

    def on_steps_end(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_steps_end", logs, batch)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_train_batch_begin", logs, batch)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_train_batch_end", logs, batch)

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_batch_begin", logs, batch)

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_batch_end", logs, batch)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._call("on_test_begin", logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._call("on_test_end", logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_test_batch_begin", logs, batch)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_test_batch_end", logs, batch)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._call("on_predict_begin", logs)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._call("on_predict_end", logs)

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_predict_batch_begin", logs, batch)

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_predict_batch_end", logs, batch)
