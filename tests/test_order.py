"""The order in which a plan makes its calls: convolutions of one value side by side, all else as it was written."""

from __future__ import annotations

from typing import Any

import numpy as np
from tolerances import assert_bits

import fastnn
from fastnn import ops
from fastnn.layers import Add, BatchNormalization, Concatenate, Conv2D, Dense, GlobalAveragePooling2D, ReLU


def names(model: fastnn.Model) -> list[str]:
    return [call.layer.name for call in model.plan.calls]


def conv(name: str, filters: int = 3, **options: Any) -> Conv2D:
    return Conv2D(filters, 3, padding="same", name=name, **options)


def block(x: Any, kind: type[Conv2D] = Conv2D) -> Any:
    """With a convolution in its shortcut, as residual networks have where the image shrinks."""
    h = ReLU(name="relu")(BatchNormalization(name="bn1")(conv("first", strides=2)(x)))
    h = BatchNormalization(name="bn2")(conv("second")(h))
    shortcut = BatchNormalization(name="bn3")(kind(3, 1, strides=2, name="shortcut")(x))
    return ReLU(name="out")(Add(name="add")([h, shortcut]))


def test_convolutions_of_one_value_are_side_by_side() -> None:
    x = fastnn.Input((6, 4, 2))
    model = fastnn.Model(x, block(conv("stem")(x)))
    assert names(model) == ["stem", "first", "shortcut", "bn1", "relu", "second", "bn2", "bn3", "add", "out"]


def test_other_calls_stay_where_they_are() -> None:
    x = fastnn.Input((6, 4, 2))
    a = conv("a")(x)
    b = conv("b")(a)
    c = ReLU(name="c")(a)
    d = conv("d")(a)
    e = conv("e", 2)(x)
    model = fastnn.Model(x, Concatenate(name="all")([a, b, c, d, e]))
    assert names(model) == ["a", "e", "b", "d", "c", "all"]


def test_layers_that_are_called_again_stay() -> None:
    x = fastnn.Input((6, 4, 2))
    again = conv("again", 2)
    a = again(x)
    b = again(ReLU(name="b")(a))
    c = conv("c", 2)(x)
    d = again(x)
    model = fastnn.Model(x, Add(name="sum")([b, c, d]))
    assert names(model) == ["again", "b", "again", "c", "again", "sum"]


class Own(Conv2D):
    """A layer of the user's."""


def test_layers_of_the_users_stay() -> None:
    x = fastnn.Input((6, 4, 2))
    model = fastnn.Model(x, block(x, Own))
    assert names(model).index("shortcut") == names(model).index("bn3") - 1


def test_what_users_see_is_in_the_order_they_wrote() -> None:
    x = fastnn.Input((6, 4, 2), name="x")
    inner_x = fastnn.Input((6, 4, 2))
    inner = fastnn.Model(inner_x, block(inner_x))
    model = fastnn.Model(x, inner(x))
    written = ["first", "bn1", "relu", "second", "bn2", "shortcut", "bn3", "add", "out"]
    assert [call.layer.name for call in model.plan.as_written()] == written
    assert list(model.layer_outputs(np.ones((2, 6, 4, 2), np.float32))) == written
    kernels = [weight.name for weight in model.weights if weight.name.endswith("kernel")]
    assert kernels == ["first/kernel", "second/kernel", "shortcut/kernel"]


def test_the_sum_with_a_shortcut_is_the_normalizations() -> None:
    """What the other branch gives is there by then, although it was written later."""
    x = fastnn.Input((6, 4, 3))
    h = BatchNormalization()(conv("a", use_bias=False)(x))
    y = ReLU()(Add()([h, Conv2D(3, 1, name="b")(x)]))
    model = fastnn.Model(x, Dense(2)(GlobalAveragePooling2D()(y)))
    assert len(model.plan.held_chains()) == 1


def test_outputs_are_those_of_the_calls_as_written() -> None:
    x = fastnn.Input((6, 4, 2))
    model = fastnn.Model(x, block(x))
    images = np.random.default_rng(0).normal(size=(5, 6, 4, 2)).astype(np.float32)
    layers = {layer.name: layer for layer in model.layers}

    def run(*path: str, x: Any) -> Any:
        for name in path:
            x = layers[name].forward(x, False)
        return x

    main = run("first", "bn1", "relu", "second", "bn2", x=images)
    expected = run("out", x=ops.add(main, run("shortcut", "bn3", x=images)))
    assert_bits(model.predict(images, verbose=0), expected)
