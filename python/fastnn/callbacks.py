"""Callbacks: what happens between the steps and epochs of `fit`."""

from fastnn.training.averages import SwapEMAWeights
from fastnn.training.backup import BackupAndRestore
from fastnn.training.callback import Callback
from fastnn.training.callback_list import CallbackList
from fastnn.training.callbacks import (
    EarlyStopping,
    LambdaCallback,
    ModelCheckpoint,
    TerminateOnNaN,
)
from fastnn.training.events import TensorBoard
from fastnn.training.history import CSVLogger, History
from fastnn.training.learning_rate import LearningRateScheduler, ReduceLROnPlateau
from fastnn.training.progress import ProgbarLogger
from fastnn.training.rates import ScheduledLearningRate
from fastnn.training.remote import RemoteMonitor

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "RemoteMonitor",
    "ScheduledLearningRate",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
]
