"""Metrics: numbers over batches, in buffers, so that a recorded step updates them too."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from fastnn import checks
from fastnn.custom import given_class
from fastnn.losses import (
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_hinge,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)
from fastnn.metrics.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from fastnn.metrics.base import Mean, MeanMetricWrapper, Metric, Sum
from fastnn.metrics.correlation import ConcordanceCorrelation, PearsonCorrelation
from fastnn.metrics.curves import (
    AUC,
    PrecisionAtRecall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
)
from fastnn.metrics.functions import (
    FUNCTIONS,
    binary_accuracy,
    categorical_accuracy,
    concordance_correlation,
    pearson_correlation,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from fastnn.metrics.iou import BinaryIoU, ConfusionMatrix, IoU, MeanIoU, OneHotIoU, OneHotMeanIoU
from fastnn.metrics.moments import R2Score
from fastnn.metrics.outcomes import (
    F1Score,
    FalseNegatives,
    FalsePositives,
    FBetaScore,
    Precision,
    Recall,
    TrueNegatives,
    TruePositives,
)
from fastnn.metrics.rows import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    KLDivergence,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Perplexity,
    Poisson,
    RootMeanSquaredError,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)
from fastnn.names import snake_case
from fastnn.registry import described

__all__ = [
    "AUC",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "BinaryIoU",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "ConcordanceCorrelation",
    "ConfusionMatrix",
    "CosineSimilarity",
    "F1Score",
    "FBetaScore",
    "FalseNegatives",
    "FalsePositives",
    "Hinge",
    "IoU",
    "KLDivergence",
    "LogCoshError",
    "Mean",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanIoU",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Metric",
    "OneHotIoU",
    "OneHotMeanIoU",
    "PearsonCorrelation",
    "Perplexity",
    "Poisson",
    "Precision",
    "PrecisionAtRecall",
    "R2Score",
    "Recall",
    "RecallAtPrecision",
    "RootMeanSquaredError",
    "SensitivityAtSpecificity",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "SpecificityAtSensitivity",
    "SquaredHinge",
    "Sum",
    "TopKCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "binary_accuracy",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_accuracy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "concordance_correlation",
    "deserialize",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "pearson_correlation",
    "poisson",
    "serialize",
    "sparse_categorical_accuracy",
    "sparse_categorical_crossentropy",
    "sparse_top_k_categorical_accuracy",
    "squared_hinge",
    "top_k_categorical_accuracy",
]

_CLASSES: dict[str, type[Metric]] = {
    name: value
    for name, value in list(globals().items())
    if inspect.isclass(value) and issubclass(value, Metric) and value is not Metric
}
_BY_NAME: dict[str, type[Metric]] = {snake_case(name): cls for name, cls in _CLASSES.items()}
_BY_NAME |= {cls.default_name: cls for cls in _CLASSES.values() if cls.default_name}
_ALIASES = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
    "rmse": "root_mean_squared_error",
    "bce": "binary_crossentropy",
    "kld": "kl_divergence",
}
ACCURACY = ("accuracy", "acc")
CROSSENTROPY = ("crossentropy", "ce")


def get(
    identifier: str | Mapping[str, Any] | Metric | type[Metric] | Callable[..., Any],
    *,
    labels: bool = False,
    columns: int | None = None,
) -> Metric:
    """Return a new metric from its name, its class, a function of (y_true, y_pred), or a dict as `serialize` gives it.

    A Metric is returned as it is. Of one of the functions of this module it is the mean, a class of this module where there is one.

    "accuracy" is the accuracy that fits: SparseCategoricalAccuracy for class numbers (`labels`), BinaryAccuracy for one column of
    predictions, else CategoricalAccuracy; "crossentropy" likewise. All keep the name that they were asked for by.
    """
    if isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Metric):
        return identifier()
    if inspect.isfunction(identifier) and identifier in FUNCTIONS:
        return FUNCTIONS[identifier](name=identifier.__name__)
    if inspect.isroutine(identifier) or isinstance(identifier, functools.partial):
        return MeanMetricWrapper(identifier)
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if not isinstance(identifier, str):
        fix = "give a name such as 'accuracy', a Metric, or a function of (y_true, y_pred)"
        checks.fail_type("metric", "a name or a Metric", checks.describe(identifier), fix)
    if identifier in ACCURACY:
        return _fitting(SparseCategoricalAccuracy, BinaryAccuracy, CategoricalAccuracy, labels, columns)(identifier)
    if identifier in CROSSENTROPY:
        fitting = _fitting(SparseCategoricalCrossentropy, BinaryCrossentropy, CategoricalCrossentropy, labels, columns)
        return fitting(identifier)
    key = identifier if identifier in _BY_NAME else snake_case(identifier)
    name = checks.one_of("metric", "name", key, [*_BY_NAME, *_ALIASES, *ACCURACY, *CROSSENTROPY])
    cls = _BY_NAME[_ALIASES.get(name, name)]
    missing = [
        p.name
        for p in inspect.signature(cls).parameters.values()
        if p.default is p.empty and p.kind is not p.VAR_KEYWORD
    ]
    if missing:
        checks.fail("metric", f"an object {cls.__name__}({missing[0]}=...)", repr(identifier), "it has no default")
    return cls(name=identifier)


def _fitting(
    sparse: type[Metric], binary: type[Metric], categorical: type[Metric], labels: bool, columns: int | None
) -> type[Metric]:
    return sparse if labels else binary if columns == 1 else categorical


def is_plain(metric: Metric) -> bool:
    """Return whether a metric is made of plain data, and no code of the user's."""
    return _CLASSES.get(type(metric).__name__) is type(metric) and type(metric) is not MeanMetricWrapper


def serialize(metric: Metric) -> dict[str, Any]:
    """Return the metric as plain data."""
    return {"class": type(metric).__name__, "config": metric.get_config()}


def deserialize(config: str | Mapping[str, Any], custom_objects: Mapping[str, type[Metric]] | None = None) -> Metric:
    """Return a new metric from its name or from what `serialize` returned.

    Args:
        config: the name, or a dict with "class_name" (or "class") and "config".
        custom_objects: your own classes by name.
    """
    if isinstance(config, str) and given_class(config, custom_objects) is None:
        return get(config)
    name, arguments = described("metrics.deserialize", config)
    cls = given_class(name, custom_objects) or _CLASSES[checks.one_of("metric", "class", name, sorted(_CLASSES))]
    made: Metric = cls.from_config(arguments)
    return made
