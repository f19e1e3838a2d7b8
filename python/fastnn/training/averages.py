"""SwapEMAWeights: validate, and save, with the averaged weights of the optimizer."""

from __future__ import annotations

from fastnn import checks
from fastnn.training.callback import Callback, Logs


class SwapEMAWeights(Callback):
    """Puts the moving average of the weights, which an optimizer with ``use_ema=True`` keeps, into the model to be evaluated.

    Put it before the callbacks that save: with ``swap_on_epoch`` they then save the averaged weights.

    Args:
        swap_on_epoch: swap at the end of every epoch, and back when the next one begins; default False: only while the model is
            evaluated or predicts.

    Raises:
        ValueError: the optimizer has no averages.

    >>> from fastnn import callbacks
    >>> callbacks.SwapEMAWeights(swap_on_epoch=True).swap_on_epoch
    True
    """

    def __init__(self, swap_on_epoch: bool = False) -> None:
        self.swap_on_epoch = checks.boolean("SwapEMAWeights", "swap_on_epoch", swap_on_epoch)

    def _swap(self, swapped: bool) -> None:
        """Exchange weights and averages unless they are as wanted."""
        optimizer = self.model.optimizer
        if optimizer.swapped != swapped:
            optimizer.swap_averages()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self.swap_on_epoch:
            self._swap(False)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.swap_on_epoch:
            self._swap(True)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._swap(True)

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._swap(False)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._swap(True)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._swap(False)
