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
from cases_norms import NORMS
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
    fewer, more = (2, 9, 8, 7)[: len(shape)], (2, 9, 8, 7, 3, 1)[: len(shape) + 2]
    return LayerCase(cls, arguments, shape, (fewer, more), label)


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


def windows(cls: str, label: str, shape: Shape, wrong: Shape, **arguments: Any) -> LayerCase:
    return LayerCase(cls, arguments, shape, (wrong, (2, *wrong), (2, 9)), label)


SEQUENCE, VOLUME = (2, 9, 4), (2, 4, 5, 6, 3)  # batches of other channels
WINDOWS = [
    windows("Conv1D", "plain", (9, 3), SEQUENCE, filters=5, kernel_size=4),
    windows("Conv1D", "causal", (8, 2), SEQUENCE, filters=3, kernel_size=3, padding="causal", dilation_rate=2),
    windows("Conv1D", "same", (7, 4), (2, 9, 3), filters=6, kernel_size=3, strides=2, padding="same", groups=2),
    windows(
        "Conv1D", "steps of padding", (5, 3), SEQUENCE, filters=2, kernel_size=2, padding=((1, 2),), use_bias=False
    ),
    windows("Conv1D", "first", (3, 8), (2, 4, 8), filters=4, kernel_size=3, activation="relu", padding=1, **FIRST),
    windows(
        "Conv2D", "groups of one", (6, 5, 3), (2, 6, 5, 2), filters=3, kernel_size=(3, 2), groups=3, strides=(2, 1)
    ),
    windows("Conv3D", "plain", (5, 4, 6, 2), VOLUME, filters=3, kernel_size=(3, 2, 4)),
    windows(
        "Conv3D", "same", (4, 5, 3, 2), VOLUME, filters=4, kernel_size=(2, 3, 2), strides=(2, 1, 3), padding="same"
    ),
    windows(
        "Conv3D",
        "everything",
        (6, 5, 7, 4),
        VOLUME,
        filters=2,
        kernel_size=(3, 2, 3),
        padding=((2, 0), (1, 1), (0, 2)),
        dilation_rate=(2, 1, 2),
        groups=2,
        activation="tanh",
    ),
    windows("Conv3D", "slices apart", (3, 4, 5, 2), VOLUME, filters=3, kernel_size=(1, 3, 2), activation="relu"),
    windows("Conv3D", "first", (2, 3, 4, 5), (2, 3, 4, 4, 5), filters=3, kernel_size=2, use_bias=False, **FIRST),
    windows("Conv1DTranspose", "plain", (5, 3), SEQUENCE, filters=2, kernel_size=4, strides=3, activation="relu"),
    windows("Conv1DTranspose", "same", (4, 3), SEQUENCE, filters=3, kernel_size=3, strides=2, padding="same"),
    windows("Conv2DTranspose", "plain", (4, 3, 5), (2, 4, 3, 2), filters=3, kernel_size=(3, 2), activation="elu"),
    windows(
        "Conv2DTranspose",
        "output padding",
        (3, 4, 2),
        (2, 3, 4, 3),
        filters=3,
        kernel_size=(3, 4),
        strides=(2, 3),
        padding="same",
        output_padding=(1, 0),
    ),
    windows(
        "Conv2DTranspose",
        "gaps",
        (3, 2, 2),
        (2, 3, 2, 3),
        filters=3,
        kernel_size=(2, 1),
        strides=(3, 2),
        padding="same",
    ),
    windows("Conv2DTranspose", "dilated", (4, 3, 2), (2, 4, 3, 5), filters=2, kernel_size=3, dilation_rate=(2, 1)),
    windows(
        "Conv2DTranspose", "cut", (4, 3, 2), (2, 4, 3, 5), filters=2, kernel_size=4, strides=2, padding=((1, 2), (0, 1))
    ),
    windows("Conv2DTranspose", "first", (3, 4, 2), (2, 4, 4, 2), filters=5, kernel_size=2, use_bias=False, **FIRST),
    windows("Conv3DTranspose", "plain", (2, 3, 2, 3), (*VOLUME[:4], 2), filters=2, kernel_size=(2, 3, 2), strides=2),
    windows(
        "Conv3DTranspose",
        "same",
        (3, 2, 4, 2),
        VOLUME,
        filters=3,
        kernel_size=3,
        strides=(1, 3, 2),
        padding="same",
        activation="sigmoid",
    ),
    windows("DepthwiseConv1D", "plain", (7, 3), SEQUENCE, kernel_size=3, strides=2),
    windows("DepthwiseConv1D", "multiplied", (7, 3), SEQUENCE, kernel_size=2, depth_multiplier=2, padding="same"),
    windows("DepthwiseConv2D", "plain", (6, 7, 5), (2, 6, 7, 4), kernel_size=(3, 2), activation="relu"),
    windows("DepthwiseConv2D", "one channel", (5, 4, 1), (2, 5, 4, 2), kernel_size=3, depth_multiplier=3),
    windows(
        "DepthwiseConv2D",
        "multiplied",
        (7, 6, 3),
        (2, 7, 6, 2),
        kernel_size=(2, 3),
        strides=(2, 3),
        depth_multiplier=2,
        padding="same",
        activation="gelu",
    ),
    windows("DepthwiseConv2D", "dilated", (8, 9, 4), (2, 8, 9, 3), kernel_size=3, dilation_rate=(1, 2), padding=(1, 2)),
    windows("DepthwiseConv2D", "first", (3, 6, 5), (2, 4, 6, 5), kernel_size=2, use_bias=False, **FIRST),
    windows("SeparableConv1D", "plain", (8, 3), SEQUENCE, filters=4, kernel_size=3, depth_multiplier=2),
    windows("SeparableConv2D", "plain", (6, 7, 3), (2, 6, 7, 2), filters=5, kernel_size=(3, 2), activation="relu"),
    windows(
        "SeparableConv2D",
        "everything",
        (3, 7, 6),
        (2, 2, 7, 6),
        filters=4,
        kernel_size=(2, 3),
        strides=(2, 1),
        depth_multiplier=3,
        padding="same",
        activation="softplus",
        use_bias=False,
        **FIRST,
    ),
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
    pool("GlobalAveragePooling1D", "default", (7, 3)),
    pool("GlobalAveragePooling3D", "keepdims, channels first", (3, 2, 5, 4), keepdims=True, **FIRST),
    *(
        case
        for cls in ("MaxPooling", "AveragePooling")
        for case in (
            pool(f"{cls}1D", "default", (9, 3)),
            pool(f"{cls}1D", "overlapping, channels first", (3, 10), pool_size=3, strides=2, **FIRST),
            pool(f"{cls}1D", "same", (8, 2), pool_size=3, strides=2, padding="same"),
            pool(f"{cls}3D", "default", (5, 4, 6, 3)),
            pool(f"{cls}3D", "overlapping", (5, 4, 6, 2), pool_size=(2, 3, 1), strides=(1, 2, 3)),
            pool(f"{cls}3D", "same", (4, 5, 4, 2), pool_size=(3, 2, 2), strides=(3, 2, 1), padding="same"),
            pool(f"{cls}3D", "channels first", (2, 4, 3, 6), pool_size=(2, 1, 3), **FIRST),
        )
    ),
    pool("GlobalMaxPooling1D", "channels first", (3, 7), **FIRST),
    pool("GlobalMaxPooling2D", "default", (5, 4, 3)),
    pool("GlobalMaxPooling2D", "keepdims", (19, 17, 2), keepdims=True),
    pool("GlobalMaxPooling3D", "keepdims, channels first", (3, 2, 4, 5), keepdims=True, **FIRST),
]

OTHERS = [
    LayerCase("Activation", {"activation": "sigmoid"}, (5, 3)),
    LayerCase("Activation", {"activation": "swish"}, (7,), label="swish"),
    LayerCase("Identity", {}, (4, 3)),
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
    LayerCase(
        "PReLU",
        {"alpha_initializer": "he_uniform", "alpha_regularizer": "l2", "alpha_constraint": "non_neg"},
        (5,),
        ((2, 4),),
        "regularized",
    ),
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


from cases_shapes import SHAPES, UNPOOLING  # noqa: E402 - it is built on what stands above

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
    *UNPOOLING,
]
every_merge = pytest.mark.parametrize("case", MERGES, ids=str)

LAYERS = [*DENSE, *CONVOLUTIONS, *WINDOWS, *POOLING, *OTHERS, *(LayerCase(*case) for case in NORMS), *SHAPES]
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
    optimizer("Adadelta", learning_rate=0.9, rho=0.8, epsilon=1e-3),
    optimizer("Adafactor", learning_rate=0.1, beta_2_decay=-0.7, clip_threshold=0.8, weight_decay=0.1),
    optimizer("Adamax", learning_rate=0.03, beta_1=0.8, beta_2=0.95, epsilon=1e-5),
    optimizer("Ftrl", learning_rate=0.2, initial_accumulator_value=0.05, l1_regularization_strength=0.001, beta=0.1),
    optimizer("Ftrl", "power", learning_rate=0.1, learning_rate_power=-0.7, l2_regularization_strength=0.01),
    optimizer("Lamb", learning_rate=0.05, beta_1=0.8, weight_decay=0.02),
    optimizer("Lion", learning_rate=0.01, beta_1=0.8, beta_2=0.95, weight_decay=0.05),
    optimizer("Muon", learning_rate=0.05, momentum=0.8, weight_decay=0.1, exclude_layers=["b/"]),
    optimizer("Muon", "without scale", learning_rate=0.02, rms_rate=None, nesterov=False, ns_steps=3),
    optimizer("Nadam", learning_rate=0.02, beta_1=0.8, beta_2=0.95, epsilon=1e-5),
    optimizer("SGD", "clipnorm", learning_rate=0.1, momentum=0.5, clipnorm=0.7),
    optimizer("Adam", "global_clipnorm", learning_rate=0.02, global_clipnorm=0.7, loss_scale_factor=64.0),
    optimizer("RMSprop", "clipvalue", learning_rate=0.01, clipvalue=0.3),
]
every_optimizer = pytest.mark.parametrize("case", OPTIMIZERS, ids=str)

_ROWS = [[0.1, 0.7, 0.2], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6], [0.3, 0.4, 0.3], [0.5, 0.25, 0.25]]
_ONE_HOT = np.eye(3)[[1, 0, 0, 1, 2]]


def metric(cls: str, y_true: Any, y_pred: Any, value: float, label: str = "", **arguments: Any) -> ObjectCase:
    return ObjectCase(metrics, cls, arguments, label, (y_true, y_pred, value))


_YES, _SAID = [[1], [0], [1], [0], [0]], [[0.9], [0.4], [0.3], [0.5], [0.6]]
_T, _P = [[1.0, 0.5], [0.0, 2.0], [3.0, 1.0]], [[0.5, 0.5], [1.0, 4.0], [3.0, 0.0]]
_SIGNS, _MARGINS = [[1], [-1], [1], [-1]], [[0.5], [0.25], [2.0], [-0.5]]  # hinges 0.5, 1.25, 0, 0.5
_LINES, _OTHERS = [[0, 1, 2], [0, 1, 2], [1, 1, 1], [0, 1, 2]], [[2, 4, 6], [3, 2, 1], [0, 1, 5], [1, 1, 2]]
_MAP, _SEEN = [0, 1, 1, 2, 2], [0, 1, 2, 2, 2]  # overlaps 1, 1/2, 2/3
_LOG = np.log

# What each is for these samples, counted by hand.
METRICS = [
    metric("Mean", [1.0, 2.0, 4.0, -2.0, 0.0], None, 1.0, name="average"),
    metric("Sum", [1.0, 2.0, 4.0, -2.5, 0.0], None, 4.5),
    metric("Accuracy", [[1], [2], [3], [4], [5]], [[1], [2], [0], [4], [6]], 3 / 5),
    metric("SparseCategoricalAccuracy", [1, 0, 0, 1, 2], _ROWS, 3 / 5, name="hits"),
    metric("CategoricalAccuracy", _ONE_HOT, _ROWS, 3 / 5),
    metric("BinaryAccuracy", _YES, _SAID, 3 / 5),
    metric("BinaryAccuracy", _YES, _SAID, 2 / 5, "0.2", threshold=0.2),
    metric("TopKCategoricalAccuracy", _ONE_HOT, _ROWS, 1.0, k=2),
    metric("TopKCategoricalAccuracy", [1, 0, 0, 1, 2], _ROWS, 1.0, "of labels"),
    metric("SparseTopKCategoricalAccuracy", [1, 0, 0, 1, 2], _ROWS, 3 / 5, k=1),
    metric("MeanSquaredError", _ONE_HOT, _ONE_HOT + 0.5, 0.25),
    metric("RootMeanSquaredError", _ONE_HOT, _ONE_HOT + 0.5, 0.5),
    metric("MeanAbsoluteError", _ONE_HOT, _ONE_HOT - 0.75, 0.75),
    metric("MeanAbsolutePercentageError", [[1.0, 2.0], [4.0, -2.0]], [[0.5, 2.0], [5.0, -4.0]], 175 / 4),
    metric("MeanSquaredLogarithmicError", [[0.0], [1.0]], [[1.0], [1.0]], _LOG(2) ** 2 / 2),
    metric("LogCoshError", _T, _T + np.array([[1.0, -1.0]] * 3), _LOG(np.cosh(1.0)), name="error"),
    metric("CosineSimilarity", [[3.0, 4.0], [1.0, 0.0]], [[3.0, 4.0], [1.0, 1.0]], (1 + 0.5**0.5) / 2),
    metric("PearsonCorrelation", _LINES, _OTHERS, (1 - 1 + 0 + 0.75**0.5) / 4),
    metric("ConcordanceCorrelation", _LINES, _OTHERS, (8 / 37 - 4 / 7 + 0 + 2 / 3) / 4),
    metric("R2Score", [[1], [4], [3]], [[2], [4], [4]], 1 - 2 / (14 / 3)),
    metric("R2Score", [[1], [4], [3]], [[2], [4], [4]], 1 - 3 / 7 * 2, "adjusted", num_regressors=1),
    metric("Hinge", _SIGNS, _MARGINS, 2.25 / 4),
    metric("Hinge", [[1], [0], [1], [0]], _MARGINS, 2.25 / 4, "of 0 and 1"),
    metric("SquaredHinge", _SIGNS, _MARGINS, (0.25 + 1.5625 + 0.25) / 4),
    metric("CategoricalHinge", _ONE_HOT, _ROWS, (0.5 + 0.7 + 1.4 + 0.9 + 1.25) / 5),
    metric("Poisson", [[0.0], [1.0]], [[2.0], [1.0]], 1.5),
    metric("KLDivergence", [[0.5, 0.5]], [[0.25, 0.75]], 0.5 * _LOG(2) + 0.5 * _LOG(2 / 3)),
    metric("BinaryCrossentropy", [[1], [0]], [[0.75], [0.5]], -(_LOG(0.75) + _LOG(0.5)) / 2),
    metric("BinaryCrossentropy", [[1], [0]], [[0.0], [0.0]], _LOG(2), "logits", from_logits=True),
    metric("BinaryCrossentropy", [[1]], [[0.75]], -0.9 * _LOG(0.75) - 0.1 * _LOG(0.25), "smooth", label_smoothing=0.2),
    metric("CategoricalCrossentropy", _ONE_HOT, _ROWS, -_LOG([0.7, 0.6, 0.2, 0.4, 0.25]).mean()),
    metric("CategoricalCrossentropy", [[0, 1]], [[0.0, _LOG(3)]], _LOG(4 / 3), "logits", from_logits=True),
    metric(
        "CategoricalCrossentropy", [[0, 1]], [[0.5, 0.25]], 0.1 * _LOG(2) + 0.9 * _LOG(4), "smooth", label_smoothing=0.2
    ),
    metric("SparseCategoricalCrossentropy", [1, 0, 0, 1, 2], _ROWS, -_LOG([0.7, 0.6, 0.2, 0.4, 0.25]).mean()),
    metric(
        "SparseCategoricalCrossentropy", [1, 0, 0, 1, 2], _ROWS, -_LOG([0.7, 0.4, 0.25]).mean(), "0", ignore_class=0
    ),
    metric("Perplexity", [0, 1, 1], [[0.25, 0.75], [0.75, 0.25], [0.5, 0.5]], 2.0 ** (5 / 3)),
    metric("Perplexity", [0, 1, 0], [[0.25, 0.75], [0.9, 0.1], [0.25, 0.75]], 4.0, "masked", mask_token_id=1),
    metric("TruePositives", _YES, _SAID, 1),
    metric("FalsePositives", _YES, _SAID, 2, thresholds=0.45),
    metric("TrueNegatives", _YES, _SAID, 2),
    metric("FalseNegatives", _YES, _SAID, 1),
    metric("Precision", _YES, _SAID, 1 / 2),
    metric("Precision", _ONE_HOT, _ROWS, 4 / 10, "top 2", top_k=2),
    metric("Precision", [1, 0, 0, 1, 2], _ROWS, 2 / 2, "class 1", class_id=1, thresholds=0.35),
    metric("Recall", _YES, _SAID, 1 / 2),
    metric("Recall", _ONE_HOT, _ROWS, 1 / 2, "class 0", top_k=1, class_id=0),
    metric("F1Score", _ONE_HOT, _ROWS, 3 / 5, average="micro"),
    metric(
        "FBetaScore", [[1], [1], [1], [0], [0]], _SAID, 5 / (5 + 4 * 2 + 2), average="macro", beta=2.0, threshold=0.45
    ),
    metric("AUC", [0, 0, 1, 1], [0.0, 0.5, 0.3, 0.9], 0.75, num_thresholds=3),
    metric("AUC", _YES, _SAID, 0.5, "all", num_thresholds=1001),
    metric("AUC", _ONE_HOT, _ROWS, (4 / 6 + 1 + 1 / 2) / 3, "labels", multi_label=True, num_labels=3),
    metric("SensitivityAtSpecificity", _YES, _SAID, 1 / 2, specificity=0.6),
    metric("SpecificityAtSensitivity", _YES, _SAID, 1.0, sensitivity=0.5),
    metric("PrecisionAtRecall", _YES, _SAID, 1.0, recall=0.5),
    metric("RecallAtPrecision", _YES, _SAID, 1 / 2, precision=0.5),
    metric("IoU", _MAP, _SEEN, 5 / 6, num_classes=3, target_class_ids=[0, 2]),
    metric("BinaryIoU", _YES, _SAID, 1 / 4, threshold=0.45),
    metric("MeanIoU", _MAP, _SEEN, (1 + 1 / 2 + 2 / 3) / 3, num_classes=3),
    metric("MeanIoU", _MAP, _SEEN, 1.0, "without class 1", num_classes=3, ignore_class=1),
    metric("OneHotIoU", _ONE_HOT, _ROWS, 1 / 3, num_classes=3, target_class_ids=[0]),
    metric("OneHotMeanIoU", _ONE_HOT, _ROWS, (1 / 3 + 1 / 1) / 3, num_classes=3),
]
every_metric = pytest.mark.parametrize("case", METRICS, ids=str)


def initializer(cls: str, **arguments: Any) -> ObjectCase:
    return ObjectCase(initializers, cls, arguments)


INITIALIZERS = [
    ObjectCase(initializers, "STFT", {"side": "imag", "window": "hamming"}, extra=(7, 1, 4)),  # the kernel's only shape
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
        for name in (
            "GlorotUniform",
            "GlorotNormal",
            "HeUniform",
            "HeNormal",
            "LecunUniform",
            "LecunNormal",
            "Xavier",
            "He",
        )
    ),
]
every_initializer = pytest.mark.parametrize("case", INITIALIZERS, ids=str)
