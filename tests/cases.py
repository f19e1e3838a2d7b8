"""One case or more of every public layer, loss, optimizer, metric and initializer, for the contract tests.

Arguments and shapes are asymmetric, so that a swapped pair shows. A public class without a case fails the contract tests.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import pytest
from gradcheck import normal
from numpy.typing import NDArray

from fastnn import config, initializers, layers, losses, metrics, ops, optimizers

Array = NDArray[Any]
Shape = tuple[int, ...]
Arguments = dict[str, Any]


def public_classes(module: ModuleType, base: type) -> list[str]:
    """Return the names of the public classes of a module that derive from base, without base."""
    everything = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return sorted(
        name
        for name, value in everything.items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base and value.__name__ == name
    )


@contextmanager
def in_float64() -> Iterator[None]:
    """Let the twin compute what layers and losses do inside, in float64: the oracle of the contract tests."""
    before = config.backend()
    config.set_backend("numpy")
    try:
        with mock.patch.object(ops, "as_float32", lambda who, name, x: np.asarray(x, np.float64)):
            yield
    finally:
        config.set_backend(before)


# ---------------------------------------------------------------- layers


@dataclass(frozen=True)
class LayerCase:
    """A layer: its class and arguments, the shape of a sample, and shapes of batches that it refuses once built."""

    cls: str
    arguments: Arguments
    shape: Shape
    wrong: tuple[Shape, ...] = ()
    label: str = ""

    def __str__(self) -> str:
        return "-".join(filter(None, (self.cls, self.label)))

    def make(self) -> layers.Layer:
        """Return a new layer, built, with random parameters: none that is 0 or 1."""
        layer: layers.Layer = getattr(layers, self.cls)(**self.arguments)
        layer.build_for((None, *self.shape))
        for i, p in enumerate(layer.parameters):
            inputs = int(np.prod(p.shape[:-1])) if len(p.shape) > 1 else 1
            values = normal(*p.shape, seed=20 + i) / np.sqrt(inputs)  # outputs of size 1: no saturated activation
            p.assign(np.abs(values) + 0.5 if "variance" in p.name else values)
        return layer

    def batch(self, n: int = 3, seed: int = 0) -> Array:
        """Return n float32 samples."""
        return normal(n, *self.shape, seed=seed).astype(np.float32)


def conv(label: str, shape: Shape, wrong: Shape = (2, 9, 8), **arguments: Any) -> LayerCase:
    return LayerCase("Conv2D", arguments, shape, (wrong,), label)


def pool(cls: str, label: str, shape: Shape, **arguments: Any) -> LayerCase:
    return LayerCase(cls, arguments, shape, ((2, 9, 8), (2, 9, 8, 3, 1)), label)


FIRST = {"data_format": "channels_first"}

DENSE = [
    LayerCase("Dense", {"units": 5, "activation": "tanh"}, (7,), ((2, 8), (2, 7, 1), (2, 1, 7), (2,)), "tanh"),
    LayerCase("Dense", {"units": 1}, (1,), ((2, 3), (3,)), "one by one"),
    LayerCase("Dense", {"units": 17, "use_bias": False, "activation": "gelu"}, (3,), ((2, 4),), "no bias, gelu"),
    LayerCase("Dense", {"units": 3, "activation": "softmax"}, (33,), ((2, 34),), "softmax"),
    LayerCase("Dense", {"units": 2, "activation": "silu"}, (3, 4, 5), ((2, 3, 4, 6), (2, 5)), "axes between"),
    LayerCase("Flatten", {}, (3, 2, 5)),
    LayerCase("Flatten", FIRST, (3, 2, 5), label="channels first"),
    LayerCase("Flatten", {}, (4,), label="flat already"),
    LayerCase("Reshape", {"target_shape": (5, -1, 2)}, (3, 10), ((2, 3, 11),)),
    LayerCase("Reshape", {"target_shape": [6]}, (2, 3), ((2, 2, 4), (2, 5)), "to a row"),
]

CONVOLUTIONS = [
    conv("plain", (7, 9, 3), filters=5, kernel_size=(3, 2)),
    conv("same", (6, 5, 2), (2, 6, 5, 3), filters=3, kernel_size=(2, 3), padding="same", activation="elu"),
    conv("strided", (9, 8, 3), filters=4, kernel_size=(3, 2), strides=(2, 3), padding="same", activation="softplus"),
    conv("pixels of padding", (5, 4, 2), filters=3, kernel_size=2, padding=((1, 0), (2, 1)), use_bias=False),
    conv("dilated", (9, 7, 2), filters=3, kernel_size=(3, 2), dilation_rate=(2, 3), activation="relu"),
    conv("groups", (5, 6, 4), filters=6, kernel_size=(2, 3), groups=2, padding=(1, 0), activation="gelu_tanh"),
    conv("depthwise", (5, 4, 3), filters=6, kernel_size=3, groups=3, padding="same"),
    conv("one pixel", (1, 1, 1), (2, 1, 1, 2), filters=1, kernel_size=1),
    conv("channels first", (3, 6, 5), (2, 4, 6, 5), filters=4, kernel_size=(2, 3), strides=(1, 2), **FIRST),
]

POOLING = [
    pool("MaxPooling2D", "default", (7, 9, 3)),
    pool("MaxPooling2D", "overlapping", (7, 8, 3), pool_size=(3, 2), strides=(1, 3)),
    pool("MaxPooling2D", "same", (7, 5, 2), pool_size=(2, 3), strides=(3, 2), padding="same"),
    pool("MaxPooling2D", "channels first", (3, 6, 5), pool_size=(2, 3), **FIRST),
    pool("AveragePooling2D", "default", (7, 9, 3)),
    pool("AveragePooling2D", "overlapping", (7, 8, 3), pool_size=(3, 2), strides=(1, 3)),
    pool("AveragePooling2D", "same", (7, 5, 2), pool_size=(2, 3), strides=(3, 2), padding="same"),
    pool("AveragePooling2D", "channels first", (3, 6, 5), pool_size=(2, 3), **FIRST),
    pool("GlobalAveragePooling2D", "default", (5, 4, 3)),
    pool("GlobalAveragePooling2D", "keepdims, channels first", (3, 5, 4), keepdims=True, **FIRST),
    pool("GlobalAveragePooling2D", "keepdims", (1, 4, 3), keepdims=True),
]

OTHERS = [
    LayerCase("Activation", {"activation": "sigmoid"}, (5, 3)),
    LayerCase("Activation", {"activation": "swish"}, (7,), label="swish"),
    LayerCase("ReLU", {}, (4, 5)),
    LayerCase("ReLU", {"negative_slope": 0.125}, (7,), label="slope"),
    LayerCase("ReLU", {"max_value": 1.0, "negative_slope": 0.25, "threshold": 0.125}, (7, 3), label="clipped"),
    LayerCase("ReLU", {"max_value": 6.0}, (7,), label="six"),
    LayerCase("LeakyReLU", {"negative_slope": 0.2}, (3, 2, 4)),
    LayerCase("ELU", {"alpha": 0.7}, (9,)),
    LayerCase("Softmax", {}, (3, 7)),
    LayerCase("Softmax", {"axis": 1}, (3, 4, 2), ((2,),), label="axis"),
    LayerCase("Softmax", {"axis": [-1, 1]}, (3, 4, 2), ((2,),), label="axes"),
    LayerCase("PReLU", {}, (5, 3), ((2, 5, 4), (2, 5), (2, 5, 3, 1))),
    LayerCase("PReLU", {"shared_axes": [1, 2]}, (4, 5, 3), ((2, 4, 5, 2), (2, 3)), "by channel"),
    LayerCase("PReLU", {"shared_axes": 2}, (4, 5, 3), ((2, 3, 5, 3), (2, 4, 5)), "shared in the middle"),
    LayerCase("PReLU", {"shared_axes": [1, 3]}, (4, 5, 3), ((2, 4, 4, 3),), "shared around"),
    LayerCase("PReLU", {"trainable": False}, (4,), ((2, 3),), "frozen"),
    LayerCase("RReLU", {"lower": 0.1, "upper": 0.6, "seed": 3}, (6, 5)),
    LayerCase("Maxout", {"group_size": 3}, (2, 12), ((2, 2, 11), (2,))),
    LayerCase("Maxout", {}, (6,), ((2, 3),), "pairs"),
    LayerCase("BatchNormalization", {"momentum": 0.8, "epsilon": 0.01}, (6,), ((2, 5), (2, 6, 6))),
    LayerCase("BatchNormalization", {"axis": 1, "scale": False}, (3, 4, 5), ((2, 4, 4, 5), (2, 3)), "axis, no scale"),
    LayerCase("BatchNormalization", {"center": False, "epsilon": 0.1}, (4, 2, 3), ((2, 4, 2, 4),), "no center"),
    LayerCase("BatchNormalization", {"axis": 2, "trainable": False}, (4, 3, 2), ((2, 4, 5, 2),), "frozen"),
    LayerCase("Dropout", {"rate": 0.3, "seed": 5}, (6, 5)),
    LayerCase("Dropout", {"rate": 0.0, "seed": 5}, (7,), label="nothing"),
]


@dataclass(frozen=True)
class MergeCase:
    """A layer of several inputs: its class and arguments, the shapes of a sample of each, and lists of shapes that it refuses."""

    cls: str
    arguments: Arguments
    shapes: tuple[Shape, ...]
    wrong: tuple[tuple[Shape, ...], ...] = ()
    label: str = ""

    def __str__(self) -> str:
        return "-".join(filter(None, (self.cls, self.label)))

    def make(self) -> layers.Layer:
        """Return a new layer."""
        layer: layers.Layer = getattr(layers, self.cls)(**self.arguments)
        return layer

    def batch(self, n: int = 3) -> list[Array]:
        """Return n float32 samples of each input."""
        return [normal(n, *shape, seed=i).astype(np.float32) for i, shape in enumerate(self.shapes)]


def elementwise(cls: str) -> list[MergeCase]:
    """Return cases of a layer that takes any number of inputs of any shapes that fit each other."""
    same = (3, 2, 5)
    mixed = ((4, 1, 3), (1, 2, 3), (3,), (4, 2, 1))
    wrong = (((3, 2), (3, 4)), ((2, 2), (3,)), ((3, 1, 2), (2, 3, 2)))
    return [
        MergeCase(cls, {}, (same, same, same), wrong),
        MergeCase(cls, {}, mixed, wrong, "of other ranks and sizes"),
        MergeCase(cls, {}, ((7,),), label="of one"),
        MergeCase(cls, {}, ((3,),) * 19, label="of many"),
    ]


MERGES = [
    *(case for cls in ("Add", "Average", "Multiply", "Maximum", "Minimum") for case in elementwise(cls)),
    MergeCase("Subtract", {}, ((3, 5), (3, 5)), (((3,), (4,)), ((3,), (3,), (3,)), ((3,),))),
    MergeCase("Subtract", {}, ((1, 5), (4, 1)), label="repeated"),
    MergeCase("Concatenate", {}, ((3, 2), (3, 5), (3, 1)), (((3, 2), (4, 2)), ((3, 2), (3,)))),
    MergeCase("Concatenate", {"axis": 1}, ((2, 3), (5, 3)), (((3, 2), (3, 4)), ((3,), (3, 3))), "axis 1"),
    MergeCase("Concatenate", {"axis": -2}, ((2, 3, 4),) * 11, label="of many"),
    MergeCase("Dot", {"axes": 1}, ((5,), (5,)), (((5,), (4,)), ((5,),), ((5,), (5,), (5,)), ((5, 1, 1), (5, 1, 1)))),
    MergeCase("Dot", {"axes": (2, 1)}, ((4, 5), (5, 3)), (((5, 4), (5, 3)),), "matrices"),
    MergeCase("Dot", {"axes": (1, -1), "normalize": True}, ((5, 4), (3, 5)), label="cosines"),
    MergeCase("Dot", {"axes": [-1, 2], "normalize": True}, ((17,), (2, 17)), label="vector and matrix"),
]
every_merge = pytest.mark.parametrize("case", MERGES, ids=str)

LAYERS = [*DENSE, *CONVOLUTIONS, *POOLING, *OTHERS]
every_layer = pytest.mark.parametrize("case", LAYERS, ids=str)


# ---------------------------------------------------------------- losses


@dataclass(frozen=True)
class LossCase:
    """A loss with truth and predictions: values that no clipping touches."""

    cls: str
    arguments: Arguments
    truth: str  # "labels", "shares", "bits", "counts" or "values"
    label: str = ""
    shape: Shape = (5, 3)

    def __str__(self) -> str:
        return "-".join(filter(None, (self.cls, self.label)))

    def make(self, **more: Any) -> losses.Loss:
        """Return a new loss."""
        loss: losses.Loss = getattr(losses, self.cls)(**{**self.arguments, **more})
        return loss

    def y_true(self) -> Array:
        """Return the truth: class numbers, one-hot rows mixed with others, 0 and 1, or numbers."""
        rng = np.random.default_rng(3)
        if self.truth == "labels":
            return rng.integers(0, self.shape[-1], self.shape[:-1])
        if self.truth == "shares":
            shares = np.eye(self.shape[-1], dtype=np.float32)[rng.integers(0, self.shape[-1], self.shape[:-1])]
            shares[0] = 1 / self.shape[-1]
            return shares
        if self.truth == "bits":
            return rng.integers(0, 2, self.shape).astype(np.float32)
        if self.truth == "counts":
            return rng.integers(0, 5, self.shape).astype(np.float32)
        return normal(*self.shape, seed=4).astype(np.float32)

    def counted(self) -> int:
        """Return how many losses a mean is divided by."""
        rows = int(np.prod(self.make().losses_shape(self.shape)))  # type: ignore[arg-type]
        ignored = self.arguments.get("ignore_class")
        return rows if ignored is None else int((self.y_true() != ignored).sum())

    def y_pred(self) -> Array:
        """Return predictions: logits or numbers as they come, otherwise probabilities."""
        values = normal(*self.shape, seed=5)
        if self.truth != "values" and not self.arguments.get("from_logits"):
            values = 1 / (1 + np.exp(-values))
        if self.truth in ("labels", "shares") and not self.arguments.get("from_logits"):
            values /= values.sum(-1, keepdims=True)
        return values.astype(np.float32)


LOGITS = {"from_logits": True}

LOSSES = [
    LossCase("MeanSquaredError", {}, "values"),
    LossCase("MeanSquaredError", {}, "values", "axes between", (2, 4, 3)),
    LossCase("MeanAbsoluteError", {}, "values"),
    LossCase("MeanAbsolutePercentageError", {}, "values"),
    LossCase("MeanSquaredLogarithmicError", {}, "counts"),
    LossCase("HalfSumSquares", {}, "values"),
    LossCase("Huber", {"delta": 0.75}, "values"),
    LossCase("LogCosh", {}, "values"),
    LossCase("CosineSimilarity", {}, "values"),
    LossCase("CosineSimilarity", {"axis": 1}, "values", "axis", (3, 5, 4)),
    LossCase("Hinge", {}, "bits"),
    LossCase("Hinge", {}, "values", "signed"),
    LossCase("SquaredHinge", {}, "bits"),
    LossCase("CategoricalHinge", {}, "shares"),
    LossCase("KLDivergence", {}, "shares"),
    LossCase("Poisson", {}, "counts"),
    LossCase("BinaryCrossentropy", {}, "bits"),
    LossCase("BinaryCrossentropy", LOGITS, "bits", "logits"),
    LossCase("BinaryCrossentropy", {"label_smoothing": 0.2}, "bits", "smooth"),
    LossCase("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.2, "axis": 1}, "bits", "axis", (3, 2, 4)),
    LossCase("BinaryFocalCrossentropy", {}, "bits"),
    LossCase(
        "BinaryFocalCrossentropy", {"apply_class_balancing": True, "alpha": 0.3, "gamma": 1.5}, "bits", "balanced"
    ),
    LossCase("BinaryFocalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, "bits", "logits"),
    LossCase("CategoricalFocalCrossentropy", {"alpha": 0.5, "gamma": 1.5, "label_smoothing": 0.1}, "shares"),
    LossCase("CategoricalFocalCrossentropy", LOGITS, "shares", "logits"),
    LossCase("CategoricalCrossentropy", {}, "shares"),
    LossCase("CategoricalCrossentropy", {"label_smoothing": 0.3}, "shares", "smooth"),
    LossCase("CategoricalCrossentropy", {**LOGITS, "axis": -1, "label_smoothing": 0.3}, "shares", "smooth logits"),
    LossCase("CategoricalCrossentropy", {"axis": 1}, "shares", "axis", (3, 4, 5)),
    LossCase("SparseCategoricalCrossentropy", {"ignore_class": 0}, "labels", "one ignored", (8, 3)),
    LossCase("SparseCategoricalCrossentropy", {**LOGITS, "ignore_class": 0}, "labels", "ignored, logits", (2, 4, 3)),
    LossCase("CategoricalCrossentropy", LOGITS, "shares", "logits"),
    LossCase("SparseCategoricalCrossentropy", {}, "labels"),
    LossCase("SparseCategoricalCrossentropy", LOGITS, "labels", "logits"),
    LossCase("SparseCategoricalCrossentropy", LOGITS, "labels", "logits, axes between", (2, 4, 3)),
]
every_loss = pytest.mark.parametrize("case", LOSSES, ids=str)


# ---------------------------------------------------------------- optimizers, metrics, initializers


@dataclass(frozen=True)
class ObjectCase:
    """An object made of plain arguments; `extra` is what its test needs besides."""

    module: ModuleType
    cls: str
    arguments: Arguments
    label: str = ""
    extra: Any = field(default=None, compare=False)

    def __str__(self) -> str:
        return "-".join(filter(None, (self.cls, self.label)))

    def make(self) -> Any:
        """Return a new object."""
        return getattr(self.module, self.cls)(**self.arguments)


def optimizer(cls: str, label: str = "", **arguments: Any) -> ObjectCase:
    return ObjectCase(optimizers, cls, arguments, label)


OPTIMIZERS = [
    optimizer("SGD", learning_rate=0.2, weight_decay=0.1),
    optimizer("SGD", "momentum", learning_rate=0.05, momentum=0.8),
    optimizer("SGD", "nesterov", learning_rate=0.05, momentum=0.7, nesterov=True, weight_decay=0.02),
    optimizer("Adagrad", learning_rate=0.1, initial_accumulator_value=0.05, epsilon=1e-5),
    optimizer("RMSprop", learning_rate=0.01, rho=0.8, epsilon=1e-4),
    optimizer("RMSprop", "centered, momentum", learning_rate=0.005, momentum=0.6, centered=True, weight_decay=0.1),
    optimizer("Adam", learning_rate=0.02, beta_1=0.8, beta_2=0.95, epsilon=1e-5),
    optimizer("Adam", "amsgrad", learning_rate=0.02, amsgrad=True),
    optimizer("AdamW", learning_rate=0.02, weight_decay=0.05),
]
every_optimizer = pytest.mark.parametrize("case", OPTIMIZERS, ids=str)

_ROWS = [[0.1, 0.7, 0.2], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6], [0.3, 0.4, 0.3], [0.5, 0.25, 0.25]]
_ONE_HOT = np.eye(3)[[1, 0, 0, 1, 2]]


def metric(cls: str, y_true: Any, y_pred: Any, value: float, label: str = "", **arguments: Any) -> ObjectCase:
    return ObjectCase(metrics, cls, arguments, label, (y_true, y_pred, value))


# What each is for these samples, counted by hand.
METRICS = [
    metric("Mean", [1.0, 2.0, 4.0, -2.0, 0.0], None, 1.0, name="average"),
    metric("SparseCategoricalAccuracy", [1, 0, 0, 1, 2], _ROWS, 3 / 5, name="hits"),
    metric("CategoricalAccuracy", _ONE_HOT, _ROWS, 3 / 5),
    metric("BinaryAccuracy", [[1], [0], [1], [0], [0]], [[0.9], [0.4], [0.3], [0.5], [0.6]], 3 / 5),
    metric(
        "BinaryAccuracy", [[1], [0], [1], [0], [0]], [[0.9], [0.4], [0.3], [0.5], [0.6]], 2 / 5, "0.2", threshold=0.2
    ),
    metric("MeanSquaredError", _ONE_HOT, _ONE_HOT + 0.5, 0.25),
    metric("MeanAbsoluteError", _ONE_HOT, _ONE_HOT - 0.75, 0.75),
]
every_metric = pytest.mark.parametrize("case", METRICS, ids=str)


def initializer(cls: str, **arguments: Any) -> ObjectCase:
    return ObjectCase(initializers, cls, arguments)


INITIALIZERS = [
    initializer("Zeros"),
    initializer("Ones"),
    initializer("Constant", value=-1.5),
    initializer("Identity", gain=0.5),
    initializer("RandomUniform", minval=-0.5, maxval=0.25, seed=1),
    initializer("RandomNormal", mean=0.5, stddev=0.1, seed=2),
    initializer("TruncatedNormal", mean=-0.5, stddev=0.2, seed=3),
    initializer("VarianceScaling", scale=2.0, mode="fan_out", distribution="uniform", seed=4),
    initializer("Orthogonal", gain=2.0, seed=5),
    *(
        initializer(name, seed=6)
        for name in ("GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform", "LecunNormal")
    ),
]
every_initializer = pytest.mark.parametrize("case", INITIALIZERS, ids=str)
