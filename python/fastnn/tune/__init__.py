"""Finding hyperparameters."""

from fastnn.tune.lr_finder import LearningRateCurve, lr_finder

__all__ = ["LearningRateCurve", "lr_finder"]
