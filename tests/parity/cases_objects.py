"""Options of activations, losses, metrics, regularizers, constraints and initializers, drawn for the comparison with Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from cases_layers import NAMED
from harness import Arguments, Array, normal

Options = dict[str, Sequence[Any]]
FLAGS = [False, True]

# ---------------------------------------------------------------- activations

ACTIVATIONS: list[tuple[str, Arguments]] = [
    *((name, {}) for name in NAMED),
    ("relu", {"negative_slope": 0.25}),
    ("relu", {"max_value": 1.25}),
    ("relu", {"negative_slope": 0.25, "max_value": 1.25, "threshold": 0.5}),
    ("relu", {"negative_slope": 0.1, "threshold": 0.3}),
    ("leaky_relu", {"negative_slope": 0.4}),
    ("elu", {"alpha": 0.6}),
    ("celu", {"alpha": 1.7}),
    ("gelu", {"approximate": True}),
    ("soft_shrink", {"threshold": 0.3}),
    ("hard_shrink", {"threshold": 0.8}),
    ("squareplus", {"b": 1.5}),
    ("softmax", {"axis": 1}),
    ("softmax", {"axis": (1, 2)}),
    ("log_softmax", {"axis": -2}),
]
# Names of torch.nn.functional.
TORCH_ACTIVATIONS = {
    "relu": "relu", "relu6": "relu6", "leaky_relu": "leaky_relu", "elu": "elu", "selu": "selu", "celu": "celu",
    "sigmoid": "sigmoid", "hard_sigmoid": "hardsigmoid", "tanh": "tanh", "hard_tanh": "hardtanh", "gelu": "gelu",
    "softplus": "softplus", "softsign": "softsign", "silu": "silu", "mish": "mish", "hard_silu": "hardswish",
    "log_sigmoid": "logsigmoid", "tanh_shrink": "tanhshrink", "soft_shrink": "softshrink", "hard_shrink": "hardshrink",
    "gelu_tanh": "gelu",
}  # fmt: skip

# ---------------------------------------------------------------- losses

SMOOTHED: Options = {"from_logits": FLAGS, "label_smoothing": [0.0, 0.2]}
FOCAL: Options = {**SMOOTHED, "alpha": [0.25, 0.6], "gamma": [0.0, 1.5, 2.0]}
LOSSES: dict[str, Options] = {
    "MeanSquaredError": {},
    "MeanAbsoluteError": {},
    "MeanAbsolutePercentageError": {},
    "MeanSquaredLogarithmicError": {},
    "Huber": {"delta": [0.3, 1.0, 2.5]},
    "LogCosh": {},
    "CosineSimilarity": {"axis": [-1, 1]},
    "Hinge": {},
    "SquaredHinge": {},
    "CategoricalHinge": {},
    "KLDivergence": {},
    "Poisson": {},
    "BinaryCrossentropy": {**SMOOTHED, "axis": [-1, 1]},
    "BinaryFocalCrossentropy": {**FOCAL, "apply_class_balancing": FLAGS, "axis": [-1, 1]},
    "CategoricalCrossentropy": {**SMOOTHED, "axis": [-1, 1]},
    "CategoricalFocalCrossentropy": {**FOCAL, "axis": [-1, 1]},
    "SparseCategoricalCrossentropy": {"from_logits": FLAGS, "ignore_class": [None, 1, -1], "axis": [-1, 1]},
}
REDUCTIONS = ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none"]


def loss_arguments(count: int) -> list[tuple[str, Arguments, int]]:
    """Return (class, arguments, seed): `count` of every class, drawn from its choices."""
    rng = np.random.default_rng(7)
    found = []
    for cls, choices in LOSSES.items():
        for seed in range(count):
            arguments = {name: values[rng.integers(len(values))] for name, values in choices.items()}
            if cls.startswith("Categorical") and arguments.get("label_smoothing"):
                arguments[
                    "axis"
                ] = -1  # Keras shares the rest among as many classes as the last axis has places, whichever is theirs
            found.append((cls, {**arguments, "reduction": REDUCTIONS[seed % len(REDUCTIONS)]}, seed))
    return found


def loss_data(cls: str, arguments: Arguments, shape: tuple[int, ...], seed: int) -> tuple[Array, Array]:
    """Return a truth and predictions that such a loss is made for."""
    rng = np.random.default_rng(seed)
    values, axis = normal(*shape, seed=seed), arguments.get("axis", -1)
    shares = 1 / (1 + np.exp(-values))
    if cls.startswith(("Categorical", "Sparse", "KL")):
        shares = shares / shares.sum(axis, keepdims=True)  # Keras divides by the sum
    if cls.startswith("Sparse"):
        labels = rng.integers(0, shape[axis], np.delete(shape, axis))
        ignored = arguments.get("ignore_class")
        if ignored is not None:
            labels[rng.random(labels.shape) < 0.3] = ignored
        return labels, values if arguments.get("from_logits") else shares
    if cls.startswith("Categorical"):
        truth = np.moveaxis(np.eye(shape[axis])[rng.integers(0, shape[axis], np.delete(shape, axis))], -1, axis)
        plain = cls == "CategoricalHinge" or arguments.get("from_logits")
        return truth.astype(np.float32), values if plain else shares
    if cls.startswith("Binary"):
        return (rng.random(shape) > 0.5).astype(np.float32), values if arguments.get("from_logits") else shares
    if cls == "KLDivergence":
        return shares[::-1].copy(), shares
    if cls in ("Poisson", "MeanSquaredLogarithmicError"):
        return rng.integers(0, 5, shape).astype(np.float32), np.abs(values) + np.float32(0.1)
    if cls in ("Hinge", "SquaredHinge"):
        truth = rng.integers(0, 2, shape).astype(np.float32)
        return (truth if seed % 2 else 2 * truth - 1), values
    return normal(*shape, seed=seed + 100), values


# ---------------------------------------------------------------- metrics

# Kind of samples, options. The kinds are made by `metric_batch` or, where a loss has the name, by `loss_data`.
THRESHOLDS: Options = {"thresholds": [None, 0.3, [0.2, 0.5, 0.8]]}
CHOSEN: Options = {"thresholds": [None, 0.3], "top_k": [None, 2], "class_id": [None, 1]}
AT: Options = {"num_thresholds": [1, 50, 200], "class_id": [None, 1]}
OVERLAP: Options = {"num_classes": [4], "ignore_class": [None, 1], "axis": [-1], "sparse_y_pred": FLAGS}
METRICS: dict[str, tuple[str, Options]] = {
    "Accuracy": ("labels", {}),
    "BinaryAccuracy": ("bits", {"threshold": [0.5, 0.2]}),
    "CategoricalAccuracy": ("one hot", {}),
    "SparseCategoricalAccuracy": ("classes", {}),
    "TopKCategoricalAccuracy": ("one hot", {"k": [1, 2, 3]}),
    "SparseTopKCategoricalAccuracy": ("classes", {"k": [1, 2, 3]}),
    "MeanSquaredError": ("loss", {}),
    "RootMeanSquaredError": ("numbers", {}),
    "MeanAbsoluteError": ("loss", {}),
    "MeanAbsolutePercentageError": ("loss", {}),
    "MeanSquaredLogarithmicError": ("loss", {}),
    "LogCoshError": ("numbers", {}),
    "CosineSimilarity": ("loss", {"axis": [-1]}),
    "PearsonCorrelation": ("numbers", {"axis": [-1, 1]}),
    "ConcordanceCorrelation": ("numbers", {"axis": [-1, 1]}),
    "R2Score": (
        "column",  # Keras's adjusted score counts every number as a sample
        {"class_aggregation": ["uniform_average", "variance_weighted_average", None], "num_regressors": [0, 2]},
    ),
    "Hinge": ("loss", {}),
    "SquaredHinge": ("loss", {}),
    "CategoricalHinge": ("loss", {}),
    "KLDivergence": ("loss", {}),
    "Poisson": ("loss", {}),
    "BinaryCrossentropy": ("loss", SMOOTHED),
    "CategoricalCrossentropy": ("loss", SMOOTHED),
    "SparseCategoricalCrossentropy": ("loss", {"from_logits": FLAGS, "ignore_class": [None, 1]}),
    "TruePositives": ("bits", THRESHOLDS),
    "TrueNegatives": ("bits", THRESHOLDS),
    "FalsePositives": ("bits", THRESHOLDS),
    "FalseNegatives": ("bits", THRESHOLDS),
    "Precision": ("bits", CHOSEN),
    "Recall": ("bits", CHOSEN),
    "F1Score": ("one hot", {"average": [None, "micro", "macro", "weighted"], "threshold": [None, 0.3]}),
    "FBetaScore": (
        "one hot",
        {"average": [None, "micro", "macro", "weighted"], "threshold": [None, 0.3], "beta": [1.0, 0.5, 2.0]},
    ),
    "AUC": (
        "bits",
        {
            "num_thresholds": [200, 11],
            "curve": ["ROC", "PR"],
            "summation_method": ["interpolation", "minoring", "majoring"],
            "thresholds": [None, [0.2, 0.35, 0.7]],
            "multi_label": FLAGS,
            "num_labels": [None, 4],
            "label_weights": [None, [0.5, 1.0, 2.0, 0.1]],
            "from_logits": FLAGS,
        },
    ),
    "SensitivityAtSpecificity": ("bits", {"specificity": [0.3, 0.7], **AT}),
    "SpecificityAtSensitivity": ("bits", {"sensitivity": [0.3, 0.7], **AT}),
    "PrecisionAtRecall": ("bits", {"recall": [0.3, 0.7], **AT}),
    "RecallAtPrecision": ("bits", {"precision": [0.3, 0.7], **AT}),
    "IoU": ("classes of pixels", {**OVERLAP, "target_class_ids": [[0, 2], [1], [0, 1, 2, 3]], "sparse_y_true": FLAGS}),
    "BinaryIoU": ("bit", {"target_class_ids": [[0, 1], [1], [0]], "threshold": [0.5, 0.2]}),
    "MeanIoU": ("classes of pixels", {**OVERLAP, "sparse_y_true": FLAGS}),
    "OneHotIoU": ("one hot of pixels", {**OVERLAP, "target_class_ids": [[0, 2], [1]]}),
    "OneHotMeanIoU": ("one hot of pixels", OVERLAP),
    "Mean": ("values", {}),
    "Sum": ("values", {}),
}


def metric_allowed(arguments: Arguments) -> bool:
    """Tell whether Keras takes the options together."""
    if arguments.get("top_k") and arguments.get("thresholds"):
        return False
    labels = arguments.get("multi_label")
    return labels is None or (labels or not (arguments["num_labels"] or arguments["label_weights"]))


def metric_batch(cls: str, kind: str, arguments: Arguments, n: int, seed: int) -> tuple[Any, ...]:
    """Return y_true and y_pred of n samples, or values alone."""
    rng = np.random.default_rng([seed, n])
    if kind == "loss":
        return loss_data(cls, arguments, (n, 4), seed)
    if kind == "values":
        return (normal(n, seed=seed),)
    scores = normal(n, 4, seed=seed)
    shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    labels = rng.integers(0, 4, n)
    if kind in ("numbers", "column"):
        columns = slice(0, 1 if kind == "column" else 4)
        return normal(n, 4, seed=seed + 1)[:, columns], scores[:, columns]
    if kind == "labels":
        return rng.integers(0, 3, (n, 2)), rng.integers(0, 3, (n, 2))
    if kind in ("bit", "bits"):
        scores = scores[:, :1] if kind == "bit" else scores
        bits = rng.integers(0, 2, scores.shape).astype(np.float32)
        return bits, scores if arguments.get("from_logits") else 1 / (1 + np.exp(-scores - bits))
    if kind == "classes":
        return labels, shares
    one_hot = np.eye(4, dtype=np.float32)[labels]
    if kind == "one hot":
        return one_hot, shares
    truth = labels if arguments.get("sparse_y_true", False) else one_hot
    return truth, rng.integers(0, 4, n) if arguments["sparse_y_pred"] else shares


# ---------------------------------------------------------------- what belongs to weights

REGULARIZERS: list[tuple[str, Arguments]] = [
    ("L1", {}),
    ("L1", {"l1": 0.3}),
    ("L2", {}),
    ("L2", {"l2": 0.2}),
    ("L1L2", {}),
    ("L1L2", {"l1": 1e-5, "l2": 1e-4}),
    ("OrthogonalRegularizer", {"factor": 0.5}),
    ("OrthogonalRegularizer", {"factor": 0.1, "mode": "columns"}),
]
CONSTRAINTS: list[tuple[str, Arguments]] = [
    ("MaxNorm", {}),
    ("MaxNorm", {"max_value": 1.0, "axis": 1}),
    ("MaxNorm", {"max_value": 1.0, "axis": [0, 1, 2]}),
    ("NonNeg", {}),
    ("UnitNorm", {}),
    ("UnitNorm", {"axis": [1, 3]}),
    ("MinMaxNorm", {}),
    ("MinMaxNorm", {"min_value": 0.5, "max_value": 0.8, "rate": 0.3, "axis": [0, 2]}),
]
# The same numbers on both sides.
FIXED_INITIALIZERS: list[tuple[str, Arguments]] = [
    ("Zeros", {}),
    ("Ones", {}),
    ("Constant", {}),
    ("Constant", {"value": -1.25}),
    ("Identity", {}),
    ("Identity", {"gain": 0.5}),
]
# The same numbers, of shapes of their own.
WINDOWS = ("boxcar", "hann", "hamming", "blackman", "nuttall", "blackmanharris", "flattop", "bartlett", "cosine")
FOURIER_INITIALIZERS: list[Arguments] = [
    {},
    {"side": "imag"},
    {"window": None},
    {"window": None, "side": "imag"},
    {"window": np.linspace(0.5, -2.0, 16).tolist(), "scaling": "spectrum"},
    *({"window": window, "periodic": periodic, "scaling": scaling}
      for window in WINDOWS for periodic, scaling in ((False, "density"), (True, "spectrum"), (True, None))),
]  # fmt: skip
# The same mean, deviation and limits of other numbers.
RANDOM_INITIALIZERS: list[tuple[str, Arguments]] = [
    *(
        (name, axes)
        for name in ("GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform", "LecunNormal")
        for axes in ({}, {"input_axes": [1], "output_axes": [0]})
    ),
    ("RandomNormal", {}),
    ("RandomNormal", {"mean": 0.5, "stddev": 0.2}),
    ("RandomUniform", {}),
    ("RandomUniform", {"minval": -0.1, "maxval": 0.4}),
    ("TruncatedNormal", {}),
    ("TruncatedNormal", {"mean": -0.5, "stddev": 0.2}),
    ("VarianceScaling", {}),
    ("VarianceScaling", {"scale": 2.0, "mode": "fan_out", "distribution": "uniform"}),
    ("VarianceScaling", {"scale": 0.5, "mode": "fan_avg", "distribution": "untruncated_normal"}),
    ("VarianceScaling", {"mode": "fan_out", "input_axes": [0], "output_axes": [-1, -2]}),
    ("Orthogonal", {}),
    ("Orthogonal", {"gain": 1.5}),
]
