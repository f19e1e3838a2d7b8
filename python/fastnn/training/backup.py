"""BackupAndRestore: a training that was cut off goes on where it stopped."""

from __future__ import annotations

import os
from typing import Any

from fastnn import checks
from fastnn.training.callback import Callback, Logs


class BackupAndRestore(Callback):
    """Saves the state of the training every epoch or so many batches; ``fit`` of the same model then goes on from there.

    Use: ``model.fit(x, y, epochs=100, callbacks=[..., BackupAndRestore("backup")])``. If the process ends in the middle, run
    the same program again: the model, compiled alike, takes up weights, optimizer, learning rate, the counters of dropout and the
    order of the samples, and ends with the same bits as without the interruption, if the data are the same arrays. Batches that
    come from elsewhere are skipped up to the place within the epoch. What other callbacks remember (how long EarlyStopping has
    waited) begins anew. Put it last, so that it saves what the others have changed.

    Args:
        backup_dir: folder of the backup; made if it does not exist. One for each training.
        save_freq: "epoch" (default), or an integer >= 1: after that many batches (then the training goes step by step).
        double_checkpoint: keep the last but one as well, for the case that the last one is damaged; default False.
        delete_checkpoint: remove the backup when the training has ended, not if Ctrl-C ended it; default True.

    Raises:
        OSError: the backup cannot be written or read. ValueError: it is of another model.

    >>> import os, tempfile
    >>> import numpy as np
    >>> from fastnn import callbacks
    >>> model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> folder = tempfile.mkdtemp()
    >>> backup = callbacks.BackupAndRestore(folder, delete_checkpoint=False)
    >>> history = model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=3, verbose=0, callbacks=[backup])
    >>> history = model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=5, verbose=0, callbacks=[backup])
    >>> history.epoch
    [3, 4]
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        who = "BackupAndRestore"
        if not isinstance(backup_dir, (str, os.PathLike)) or not os.fspath(backup_dir):
            checks.fail_type(who, "backup_dir to be a string or path", checks.describe(backup_dir))
        self.backup_dir = os.fspath(backup_dir)
        if isinstance(save_freq, str):
            self.save_freq: str | int = checks.one_of(who, "save_freq (if not an integer)", save_freq, ("epoch",))
        else:
            self.save_freq = checks.integer(who, "save_freq", save_freq, 1)
        self.double_checkpoint = checks.boolean(who, "double_checkpoint", double_checkpoint)
        self.delete_checkpoint = checks.boolean(who, "delete_checkpoint", delete_checkpoint)
        self._latest = os.path.join(self.backup_dir, "latest.fastnn")
        self._previous = os.path.join(self.backup_dir, "previous.fastnn")
        self._epoch = 0
        self._batches = 0  # since the last backup

    def wants_batches(self, phase: str) -> bool:
        return phase == "train" and self.save_freq != "epoch"

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._batches = 0
        paths = [path for path in (self._latest, self._previous) if os.path.exists(path)]
        for path in paths:
            try:
                self.model.load_backup(path)
            except (OSError, ValueError):
                if path == paths[-1]:
                    raise
            else:
                return

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            return
        self._batches += 1
        if self._batches >= int(self.save_freq):
            self._batches = 0
            self._save(self._epoch, batch + 1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch + 1, 0)

    def on_train_end(self, logs: Logs | None = None) -> None:
        if not self.delete_checkpoint or self.model.history.interrupted:
            return
        for path in (self._latest, self._previous):
            if os.path.exists(path):
                os.remove(path)
        if os.path.isdir(self.backup_dir) and not os.listdir(self.backup_dir):
            os.rmdir(self.backup_dir)

    def _save(self, epoch: int, batch: int) -> None:
        """Save the state: `batch` batches of epoch `epoch` are done."""
        os.makedirs(self.backup_dir, exist_ok=True)
        if self.double_checkpoint and os.path.exists(self._latest):
            os.replace(self._latest, self._previous)
        progress: dict[str, Any] = {"epoch": epoch, "batch": batch}
        self.model.save_backup(self._latest, progress)
