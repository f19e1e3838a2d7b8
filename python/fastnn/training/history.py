"""The records of a training run: ``History``, which ``fit`` returns, and ``CSVLogger``, which writes a file."""

from __future__ import annotations

import csv
import os
from typing import Any

from fastnn import checks
from fastnn.training.callback import Callback, Logs


class History(Callback):
    """Records loss and metrics at the end of every epoch; ``fit`` adds one and returns it.

    Attributes:
        history: name -> list of values, one for each epoch that had the name ("loss", "accuracy", "val_loss", ...).
        epoch: the indices of the epochs of the last ``fit``, from 0 (or ``initial_epoch``).
        params: what ``fit`` was called with: "verbose", "epochs", "steps".
        interrupted: whether Ctrl-C ended the last ``fit``.

    >>> from fastnn import callbacks
    >>> history = callbacks.History()
    >>> history.on_train_begin()
    >>> for epoch, loss in enumerate([0.5, 0.25]):
    ...     history.on_epoch_end(epoch, {"loss": loss})
    >>> history.epoch, history.history
    ([0, 1], {'loss': [0.5, 0.25]})
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.interrupted = False

    def set_model(self, model: Any) -> None:
        """Do not keep the model: it keeps its history, and the two together would outlive their last user."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class CSVLogger(Callback):
    """Writes a line with epoch, loss and metrics to a CSV file at the end of every epoch.

    The columns are those of the first epoch, sorted, plus "val_" columns, since validation may begin later; a value
    that an epoch lacks is written as NA. The file is complete after every epoch, so a run that is killed leaves its
    lines.

    Args:
        filename: the file; folders that do not exist are made.
        separator: one character between two values; default ",".
        append: keep the lines of an existing file, whose columns are then used; default False: the file is overwritten.

    Raises:
        ValueError: the logs have a name for which an appended file has no column.
        OSError: the file cannot be written.

    >>> import os, tempfile
    >>> from fastnn import callbacks
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = callbacks.CSVLogger(os.path.join(folder, "log.csv"))
    ...     log.on_train_begin()
    ...     log.on_epoch_end(0, {"loss": 0.5, "val_loss": 0.75})
    ...     with open(log.filename) as file:
    ...         print(file.read().strip())
    epoch,loss,val_loss
    0,0.5,0.75
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        if not isinstance(filename, (str, os.PathLike)):
            checks.fail_type("CSVLogger", "filename to be a string or path", checks.describe(filename))
        if not isinstance(separator, str) or len(separator) != 1 or separator in '"\r\n':
            checks.fail("CSVLogger", "separator to be one character, no quote or newline", repr(separator))
        self.filename = os.fspath(filename)
        self.separator = separator
        self.append = checks.boolean("CSVLogger", "append", append)
        self._columns: list[str] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        os.makedirs(os.path.dirname(self.filename) or ".", exist_ok=True)
        with open(self.filename, "a+" if self.append else "w+", newline="", encoding="utf-8") as stream:
            stream.seek(0)
            self._columns = next(csv.reader(stream, delimiter=self.separator), [])

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = logs or {}
        header = not self._columns
        if header:
            names = sorted(logs)
            if not any(name.startswith("val_") for name in names):
                names += [f"val_{name}" for name in names]
            self._columns = ["epoch", *names]
        elif self.append:
            self._check_columns(logs)
        row: dict[str, Any] = {**logs, "epoch": epoch}
        # Opened for each line: nothing is left open if the training ends with an exception.
        with open(self.filename, "a", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, delimiter=self.separator)
            if header:
                writer.writerow(self._columns)
            writer.writerow([row.get(name, "NA") for name in self._columns])

    def _check_columns(self, logs: Logs) -> None:
        """Raise if the logs have a name that the file that is appended to has no column for."""
        new = [name for name in logs if name not in self._columns]
        if new:
            rule = f"the columns of {self.filename}: {', '.join(self._columns)}"
            checks.fail("CSVLogger", rule, f"also {', '.join(new)}", "use another file, or append=False")
