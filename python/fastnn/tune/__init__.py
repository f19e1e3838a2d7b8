"""Finding hyperparameters: learning rates, cross-validation, random search, sweeps; what a learning curve says."""

from fastnn.tune.diagnosis import Diagnosis, diagnose
from fastnn.tune.folds import CrossValidation, cross_validate
from fastnn.tune.lr_finder import LearningRateCurve, lr_finder
from fastnn.tune.search import Choice, Integer, LogUniform, Range, SearchResult, Uniform, random_search
from fastnn.tune.sweep import Sweep, sweep
from fastnn.tune.trials import Trial

__all__ = [
    "Choice",
    "CrossValidation",
    "Diagnosis",
    "Integer",
    "LearningRateCurve",
    "LogUniform",
    "Range",
    "SearchResult",
    "Sweep",
    "Trial",
    "Uniform",
    "cross_validate",
    "diagnose",
    "lr_finder",
    "random_search",
    "sweep",
]
