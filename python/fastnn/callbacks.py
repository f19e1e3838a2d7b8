"""Callbacks: what happens between the steps and epochs of `fit`."""

from fastnn.training.callback import Callback
from fastnn.training.callback_list import CallbackList
from fastnn.training.callbacks import (
    EarlyStopping,
    LambdaCallback,
    ModelCheckpoint,
    TerminateOnNaN,
)
from fastnn.training.history import CSVLogger, History
from fastnn.training.rates import ScheduledLearningRate

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "ModelCheckpoint",
    "ScheduledLearningRate",
    "TerminateOnNaN",
]
