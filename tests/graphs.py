"""Small graphs: what residual, shared, nested, and several-ended models look like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn import Input, Model, Sequential, layers
from fastnn.layers import (
    Activation,
    Average,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Dense,
    Dot,
    Dropout,
    GlobalAveragePooling2D,
    Maximum,
    Multiply,
    ReLU,
    Reshape,
    Subtract,
)


def chain() -> Model:
    x = Input((5,), name="x")
    return Model(x, Dense(3, name="out")(Dense(4, "tanh")(x)))


def diamond() -> Model:
    """One tensor read three times, its gradients added up."""
    x = Input((5,), name="x")
    h = Dense(4, "tanh")(x)
    joined = layers.add([Dense(4, "sigmoid")(h), h, Dense(4)(h)])
    return Model(x, Dense(3, name="out")(joined))


def residual() -> Model:
    """Two residual blocks with batch normalization, one with a projection."""
    x = Input((6, 5, 2), name="x")
    y = Conv2D(3, 3, padding=1)(x)
    for stride in (1, 2):
        z = BatchNormalization(momentum=0.8)(Conv2D(3, 3, strides=stride, padding=1, use_bias=False)(y))
        z = Conv2D(3, 3, padding=1)(Activation("tanh")(z))
        y = layers.add([z, y if stride == 1 else Conv2D(3, 1, strides=2)(y)])
        y = Activation("silu")(y)
    return Model(x, Dense(3, name="out")(GlobalAveragePooling2D()(y)))


def concatenation() -> Model:
    x = Input((5,), name="x")
    parts = [Dense(units, "tanh")(x) for units in (1, 3, 2)]
    return Model(x, Dense(3, name="out")(Concatenate()([*parts, x])))


def shared() -> Model:
    """A layer called three times, on its own output too; one that normalizes, called twice."""
    x = Input((5,), name="x")
    again, norm = Dense(5, "tanh"), BatchNormalization(momentum=0.8)
    y = again(again(x))
    y = layers.subtract([norm(y), norm(again(y))])
    return Model(x, Dense(3, name="out")(y))


def shared_over_relu() -> Model:
    """A layer that reads two relus: their derivatives may be taken with its own."""
    x = Input((5,), name="x")
    again = Dense(4)
    y = layers.subtract([again(Dense(6, "relu")(x)), again(Dense(6, "relu")(x))])
    return Model(x, Dense(3, name="out")(y))


def inferring() -> Model:
    """Calls that run as in inference, of a model and of layers, some of which are called in training, too."""
    x = Input((5,), name="x")
    norm, rectifier = BatchNormalization(momentum=1.0), layers.RReLU()
    random = [layers.GaussianNoise(1.0), layers.GaussianDropout(0.5), layers.AlphaDropout(0.5), Dropout(0.5)]
    base = Sequential([Input((5,)), Dense(6, "tanh"), norm, rectifier, *random], name="base")
    y = layers.add([base(x, training=False), norm(Dense(6, "tanh")(x))])
    y = layers.add([ReLU()(BatchNormalization(momentum=0.5)(y, training=False)), rectifier(y, training=False)])
    return Model(x, Dense(3, name="out")(y))


def siamese() -> Model:
    """A model called twice, with a layer of its own that is called outside too."""
    inner = Dense(4, "tanh")
    tower = Sequential([Input((5,)), Dense(4, "sigmoid"), inner], name="tower")
    x = Input((5,), name="x")
    a = tower(x)
    b = tower(Dense(5, "tanh")(x))
    return Model(x, Dense(3, name="out")(Multiply()([a, b, inner(b)])))


def gates() -> Model:
    """Broadcasting, extrema, dot products."""
    x = Input((3, 4), name="x")
    h = Dense(4, "tanh")(x)
    gate = Reshape((3, 1))(Dense(1, "sigmoid")(x))
    y = Multiply()([h, gate])
    y = Maximum()([y, Dense(4)(x), Average()([h, x])])
    y = Subtract()([y, Dense(4)(x)])
    z = Dot(axes=(2, 2), normalize=True)([y, h])
    return Model(x, Dense(3, name="out")(Reshape((9,))(z)))


def several() -> Model:
    """Two inputs, three outputs, one of them on the way to another."""
    a, b = Input((5,), name="a"), Input((3,), name="b")
    h = Concatenate()([Dense(4, "tanh")(a), b])
    first = Dense(3, "softmax", name="first")(h)
    second = Dense(2, name="second")(Concatenate()([h, first]))
    return Model([a, b], [first, second, Dense(1, "sigmoid", name="third")(h)])


def nested() -> Model:
    """A model of several ends inside of a model, inside of a Sequential's last layers."""
    inner = several()
    x = Input((5,), name="x")
    first, second, third = inner([x, Dense(3)(x)])
    body = Model(x, Concatenate()([first, second, third]), name="body")
    y = Input((5,), name="y")
    return Model(y, Sequential([body, Dense(3, name="out")], name="all")(y))


ONE_ENDED: dict[str, Callable[[], Model]] = {
    f.__name__: f
    for f in (chain, diamond, residual, concatenation, shared, shared_over_relu, inferring, siamese, gates, nested)
}
GRAPHS: dict[str, Callable[[], Model]] = {**ONE_ENDED, "several": several}


def training_graph() -> Model:
    """A graph for classification with everything that changes in training: dropout, moving statistics, a shared layer."""
    x = Input((9, 9, 2), name="x")
    y = ReLU()(BatchNormalization(momentum=0.9)(Conv2D(4, 3, padding=1)(x)))
    again = Conv2D(4, 3, padding=1, activation="relu")
    y = layers.add([again(y), Dropout(0.2)(again(again(y))), y])
    y = Concatenate()([GlobalAveragePooling2D()(y), GlobalAveragePooling2D()(Conv2D(3, 2, strides=2)(y))])
    return Model(x, Dense(4, activation="softmax", name="out")(y))


def parts_of(x: Any) -> list[Any]:
    """Return what a model gave as a list."""
    return list(x.values()) if isinstance(x, dict) else x if isinstance(x, list) else [x]
