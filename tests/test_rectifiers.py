"""ReLU, PReLU, RReLU, Maxout and Softmax as layers: what the courses say of them, and in recorded steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import normal
from numpy.typing import NDArray
from tiny import assert_same, state
from tolerances import assert_bits, assert_close

from fastnn import Input, Model, Sequential, config, initializers
from fastnn.layers import Add, Conv2D, Dense, Flatten, LeakyReLU, Maxout, PReLU, ReLU, RReLU, Softmax

Array = NDArray[Any]

LAYERS = {
    "ReLU": lambda: ReLU(max_value=1.5, negative_slope=0.1, threshold=0.25),
    "PReLU": lambda: PReLU("he_uniform"),
    "PReLU by channel": lambda: PReLU("he_uniform", shared_axes=[1, 2]),
    "RReLU": lambda: RReLU(seed=4),
    "Maxout": lambda: Maxout(2),
    "Softmax": lambda: Softmax(axis=[1, 2]),
}


def fitted(layer: str, eager: bool, graph: bool, threads: int = 1) -> Any:
    """Return a model with this layer between convolutions, after some steps."""
    config.set_num_threads(threads)
    config.set_seed(3)
    x, y = normal(20, 6, 5, 2).astype(np.float32), normal(20, 3, seed=1).astype(np.float32)
    if graph:
        a = Input((6, 5, 2))
        b = Conv2D(4, 3, padding="same")(a)
        c = LAYERS[layer]()(b)
        d = Conv2D(4, 1)(c)
        model: Any = Model(a, Dense(3)(Flatten()(Add()([d, b]))))
    else:
        model = Sequential([Input((6, 5, 2)), Conv2D(4, 3), LAYERS[layer](), Flatten(), Dense(3)])
    model.compile("adam", "mse", run_eagerly=eager)
    model.fit(x, y, 6, 2, verbose=0)
    return model


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("graph", [False, True], ids=["sequential", "graph"])
def test_a_recorded_step_gives_the_bits_of_an_eager_one(layer: str, graph: bool) -> None:
    one = state(fitted(layer, True, graph))
    assert_same(one, state(fitted(layer, False, graph)))
    assert_same(one, state(fitted(layer, False, graph, 2)))


def test_maxout_of_the_course() -> None:
    assert Maxout(2)(np.array([[5.0, 7.0, -1.0, 1.0]])).tolist() == [[7.0, 1.0]]
    assert Maxout(2)(np.array([[1.0, 2.0, 4.0, 3.0]])).tolist() == [[2.0, 4.0]]
    layer = Maxout(2)
    layer.forward(np.array([[5.0, 7.0, 3.0, 3.0]]), training=True)
    assert layer.backward(np.array([[2.0, 5.0]])).tolist() == [[0.0, 2.0, 5.0, 0.0]]  # only to the (first) winner


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 17, 300])
def test_maxout_of_any_group_size(isa: str, size: int) -> None:
    x = normal(3, 2, 7 * size).astype(np.float32)
    layer = Maxout(size)
    y = layer.forward(x, training=True)
    groups = x.reshape(3, 2, 7, size)
    assert_bits(y, groups.max(-1))
    dy = normal(3, 2, 7, seed=1).astype(np.float32)
    expected = np.where(np.arange(size) == groups.argmax(-1)[..., None], dy[..., None], 0)
    assert_bits(layer.backward(dy), expected.reshape(x.shape).astype(np.float32))


def test_maxout_can_be_a_relu_and_any_convex_function() -> None:
    x = normal(50, 3).astype(np.float32)
    dense = Dense(8)
    dense.build_for((None, 3))
    kernel, bias = dense.get_weights()
    kernel[:, 1::2], bias[1::2] = 0, 0  # the second piece of every unit is 0
    dense.set_weights([kernel, bias])
    assert_bits(Maxout(2)(dense(x)), np.maximum(dense(x)[:, ::2], 0))

    line = np.linspace(-3, 3, 301, dtype=np.float32)[:, None]
    pieces = Dense(3, kernel_initializer="zeros")
    pieces.build_for((None, 1))
    pieces.set_weights([np.array([[-1.0, 0.0, 2.0]]), np.array([-1.0, 0.0, -2.0])])
    y = Maxout(3)(pieces(line))[:, 0]
    slopes = np.diff(y) / np.diff(line[:, 0])
    assert (np.diff(slopes) > -1e-4).all()  # convex
    assert {round(float(s)) for s in slopes[[0, 150, -1]]} == {-1, 0, 2}  # of three segments


def test_prelu_learns_its_slope() -> None:
    x = normal(200, 3).astype(np.float32)
    slopes = np.array([0.1, 0.5, -0.25], np.float32)
    model = Sequential([Input((3,)), PReLU()])
    model.compile("adam", "mse")
    model.optimizer.learning_rate = 0.05  # type: ignore[union-attr]
    model.fit(x, np.where(x > 0, x, slopes * x), epochs=40, verbose=0)
    assert_close(model.get_weights()[0], slopes, 0.01)


def test_prelu_shapes_and_errors() -> None:
    for axes, shape in ((None, (4, 5, 3)), ([1, 2], (1, 1, 3)), (2, (4, 1, 3)), ([1, 2, 3], (1, 1, 1))):
        layer = PReLU(initializers.Constant(0.5), shared_axes=axes)
        assert_close(layer(np.full((2, 4, 5, 3), -2.0)), np.full((2, 4, 5, 3), -1.0), 0)
        assert layer.alpha.shape == shape
    free = PReLU(shared_axes=[1])
    x = Input((None, 3))
    assert free(x).shape == (None, None, 3)
    assert free(normal(2, 7, 3)).shape == (2, 7, 3)
    with pytest.raises(ValueError, match=r"PReLU '.*': expected shared_axes from 1 to 1, got \[2\]"):
        PReLU(shared_axes=2)(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"expected known sizes along the axes that are not shared, got \(N, \?, 3\)"):
        PReLU()(x)


def test_rreelu_in_training_and_after(isa: str) -> None:
    x = np.full((50, 40), -1.0, np.float32)
    layer = RReLU(0.1, 0.3, seed=2)
    assert_close(layer(x), np.full(x.shape, -0.2), 1e-7)
    assert_bits(layer(x), layer(x))
    y = layer.forward(x, training=True)
    assert ((-y >= 0.1) & (-y <= 0.3)).all()
    assert len(np.unique(y)) > 1000  # differs by element
    assert_bits(layer.backward(np.ones_like(x)), -y)
    assert (layer.forward(x, training=True) != y).mean() > 0.99
    assert_bits(RReLU(0.1, 0.3, seed=2).forward(x, training=True), y)
    assert_close(RReLU(0.25, 0.25).forward(x, training=True), np.full(x.shape, -0.25), 1e-7)
    assert_close(RReLU()(x), np.full(x.shape, -(1 / 8 + 1 / 3) / 2), 1e-7)


def test_the_old_name_of_the_slope_works_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="LeakyReLU: alpha is now called negative_slope"):
        layer = LeakyReLU(alpha=0.1)
    assert layer.negative_slope == 0.1


def test_wrong_arguments() -> None:
    for call, error, text in (
        (lambda: RReLU(0.5, 0.25), ValueError, r"RReLU '.*': expected upper to be a finite number >= 0.5, got 0.25"),
        (lambda: Maxout(0), ValueError, "expected group_size to be an integer >= 1, got 0"),
        (lambda: Maxout(4)(np.zeros((2, 6))), ValueError, r"expected input of shape \(N, ..., a multiple of 4\), got"),
        (lambda: ReLU(max_value=-1.0), ValueError, "ReLU: expected max_value to be a finite number >= 0, got -1"),
        (lambda: ReLU(threshold=None), TypeError, "ReLU: expected threshold to be a finite number >= 0, got None"),
        (lambda: LeakyReLU(-0.1), ValueError, "LeakyReLU: expected negative_slope to be a finite number >= 0"),
        (lambda: PReLU(shared_axes=0), ValueError, "expected shared_axes to be an integer >= 1, got 0"),
        (
            lambda: Softmax(axis=0)(np.zeros((2, 3))),
            ValueError,
            "expected input with axis 0 besides that of the samples",
        ),
        (lambda: Softmax(axis="1"), TypeError, "Softmax: expected axis to be an integer, got '1'"),
    ):
        with pytest.raises(error, match=text):
            call()
