"""Learning rates that change from step to step, each to be given to an optimizer as its `learning_rate`."""

from fastnn.optimizers.schedules.base import LearningRateSchedule, deserialize, serialize
from fastnn.optimizers.schedules.decay import (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
    StepDecay,
)
from fastnn.optimizers.schedules.rising import CyclicalLearningRate, OneCycle, WarmUp

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "CyclicalLearningRate",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "OneCycle",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "StepDecay",
    "WarmUp",
    "deserialize",
    "serialize",
]
