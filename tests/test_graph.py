"""Graphs of layers: gradients, shared layers, recorded steps, freezing, memory."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import Array, in_float64
from gradcheck import assert_gradient, normal
from graphs import GRAPHS, parts_of, residual, training_graph
from tiny import images
from tolerances import GRADIENT, assert_bits, assert_close

from fastnn import Input, Model, Sequential, config, layers, names
from fastnn.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten

every_graph = pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)


@pytest.fixture(autouse=True)
def _names_from_the_start() -> None:
    names.clear_names()


# ---------------------------------------------------------------- numbers


def prepared(make: Callable[[], Model], dtype: Any = np.float32) -> tuple[Model, list[Array], list[Array]]:
    """Return a model with random weights, inputs and gradients of its outputs."""
    names.clear_names()
    model = make()
    for i, p in enumerate(model.weights):
        values = normal(*p.shape, seed=20 + i) / np.sqrt(max(p.size // p.shape[-1], 1))
        p.assign(np.abs(values) + 0.5 if "variance" in p.name else values)
        if dtype is np.float64:
            p.value = p.value.astype(dtype)  # type: ignore[assignment]
            p.grad = None if p.grad is None else np.full(p.shape, np.nan)  # type: ignore[assignment]
    x = [normal(3, *t.shape[1:], seed=i).astype(dtype) for i, t in enumerate(model.inputs)]
    dy = [normal(3, *t.shape[1:], seed=90 + i).astype(dtype) for i, t in enumerate(model.outputs)]
    return model, x, dy


def passes(model: Model, x: list[Array], dy: list[Array]) -> dict[str, Array]:
    """Return outputs and all gradients by name."""
    outputs = parts_of(model.forward(model.input_structure.whole(x), training=True))
    dx = parts_of(model.backward(model.output_structure.whole(dy)))
    result = {f"output {i}": y for i, y in enumerate(outputs)} | {f"input {i}": d for i, d in enumerate(dx)}
    return result | {p.name: p.gradient.copy() for p in model.trainable_weights}


@every_graph
def test_gradients_are_the_slopes(make: Callable[[], Model]) -> None:
    model, x, dy = prepared(make, np.float64)
    with in_float64():
        found = passes(model, x, dy)

        def value() -> float:
            outputs = parts_of(model.forward(model.input_structure.whole(x), training=True))
            return float(sum(np.vdot(d, y) for d, y in zip(dy, outputs, strict=True)))

        for i in range(len(x)):

            def of_input(z: Array, i: int = i) -> float:
                kept, x[i] = x[i], z
                result = value()
                x[i] = kept
                return result

            assert_gradient(of_input, x[i], found[f"input {i}"])
        for p in model.trainable_weights:

            def of_parameter(z: Array, p: Any = p) -> float:
                kept, p.value = p.value, z
                result = value()
                p.value = kept
                return result

            assert_gradient(of_parameter, p.value, found[p.name])


@every_graph
def test_kernels_and_twin_agree(isa: str, threads: int, make: Callable[[], Model]) -> None:
    native = passes(*prepared(make))
    with in_float64():
        exact = passes(*prepared(make, np.float64))
    assert native.keys() == exact.keys()
    for name, value in exact.items():
        assert_close(native[name], value, 10 * GRADIENT * float(np.linalg.norm(value)), name)


@every_graph
def test_backward_twice_gives_the_same(make: Callable[[], Model]) -> None:
    model, x, dy = prepared(make)
    first = passes(model, x, dy)
    model.backward(model.output_structure.whole(dy))
    for p in model.trainable_weights:
        assert_bits(p.gradient, first[p.name], p.name)
    model.forget()
    with pytest.raises(ValueError, match=r"expected forward\(x, training=True\) before backward"):
        model.backward(model.output_structure.whole(dy))


def test_a_graph_in_a_row_is_a_sequential(isa: str) -> None:
    def trained(graph: bool) -> tuple[Any, ...]:
        config.set_seed(3)
        parts = [Conv2D(4, 3, activation="relu"), BatchNormalization(), Flatten(), Dropout(0.3), Dense(4, "softmax")]
        x = Input((9, 9, 2))
        model = Sequential([x, *parts])
        if graph:
            model = Model(x, model.layers[-1].output)
        model.shuffle_seed = 4
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        history = model.fit(*images(), 16, 3, verbose=0, validation_split=0.2).history
        return *history.values(), *model.get_weights(), model.predict(images()[0], verbose=0)

    for a, b in zip(trained(graph=False), trained(graph=True), strict=True):
        assert_bits(np.asarray(a), np.asarray(b))


def test_a_shared_layer_is_what_copies_with_tied_weights_are() -> None:
    x, dy = normal(6, 5), normal(6, 3)
    tied = Dense(5, "tanh")
    inside = Input((5,))
    one = Model(inside, Dense(3)(tied(tied(inside))))
    copies = Sequential([Input((5,)), Dense(5, "tanh"), Dense(5, "tanh"), Dense(3)])
    w, b, last, last_bias = one.get_weights()
    copies.set_weights([w, b, w, b, last, last_bias])
    assert_bits(one.forward(x, training=True), copies.forward(x, training=True))
    assert_bits(one.backward(dy), copies.backward(dy))
    gradients = [p.gradient for p in copies.weights]
    assert_bits(one.weights[0].gradient, gradients[2] + gradients[0])
    assert_bits(one.weights[1].gradient, gradients[3] + gradients[1])


class Doubled(layers.Layer):
    """A layer of a user's that keeps what it needs in an attribute of its own."""

    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight("factor", (1,), "ones")

    def forward(self, x: Any, training: bool = False) -> Any:
        self.kept = x
        return x * self.factor.value

    def backward(self, dy: Any) -> Any:
        self.factor.gradient[...] = (dy * self.kept).sum()
        return dy * self.factor.value


def test_a_shared_layer_of_the_users() -> None:
    x, twice = Input((2,)), Doubled()
    model = Model(x, twice(twice(x)))
    values, dy = normal(3, 2).astype(np.float32), normal(3, 2, seed=1).astype(np.float32)
    model.set_weights([[3.0]])
    model.forward(values, training=True)
    assert_close(model.backward(dy), 9 * dy, 1e-5)
    assert_close(model.weights[0].gradient, [6 * float((values * dy).sum())], 1e-4)


# ---------------------------------------------------------------- training


def trained(make: Callable[[], Model], **compiled: Any) -> list[Array]:
    config.set_seed(7)
    names.clear_names()
    model = make()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **compiled)
    x, y = images(43)
    history = model.fit(x, y, 16, 3, verbose=0, validation_data=(x[:9], y[:9])).history
    results = [*map(np.asarray, history.values()), *model.get_weights(), model.predict(x, 7, verbose=0)]
    results.append(np.asarray(model.evaluate(x, y, 10, verbose=0)))
    results.append(np.asarray([model.train_on_batch(x[:5], y[:5]) for _ in range(3)]))
    return [*results, *model.get_weights()]


def test_replayed_and_eager_steps_and_threads_give_the_same_bits(isa: str) -> None:
    config.set_num_threads(1)
    expected = trained(training_graph)
    for threads, eager in ((1, True), (2, False), (2, True)):
        config.set_num_threads(threads)
        for a, b in zip(trained(training_graph, run_eagerly=eager), expected, strict=True):
            assert_bits(a, b, f"{threads} threads, eager={eager}")


def test_the_last_activation_of_a_graph_is_left_to_the_loss() -> None:
    model = training_graph()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.train_on_batch(*images(8))
    (step,) = model._steps._steps.values()
    assert step.tape is not None
    assert "softmax_cross_entropy" in step.tape.names()
    assert "softmax_forward" not in step.tape.names()


def test_an_activation_that_is_read_elsewhere_is_not() -> None:
    x = Input((9, 9, 2))
    y = Dense(4, "softmax")(Flatten()(x))
    model = Model(x, [y, Dense(1)(y)])
    model.compile("sgd", ["sparse_categorical_crossentropy", "mse"])
    images_, labels = images(8)
    model.train_on_batch(images_, [labels, labels])
    (step,) = model._steps._steps.values()
    assert step.tape is not None
    assert "softmax_forward" in step.tape.names()
    assert "softmax_cross_entropy" not in step.tape.names()


def test_nor_is_that_of_a_layer_that_is_called_twice() -> None:
    x = Input((5,))
    twice = Dense(5, "softmax")
    for y in (twice(twice(x)), [twice(x), twice(Dense(5)(x))]):
        model = Model(x, y)
        assert model.plan.last_layer(0) is None
    outer = Model(x, Sequential([Dense(4), Dense(3, "softmax", name="last")])(x))
    last = outer.plan.last_layer(0)
    assert last is not None
    assert last.name == "last"  # inside of another model


def test_frozen_layers_do_not_change_a_bit_and_cost_nothing_below() -> None:
    model = residual()
    model.compile("adam", "mse")
    x, y = normal(6, 6, 5, 2), normal(6, 3)

    def products() -> int:
        model.train_on_batch(x, y)
        tape = next(reversed(model._steps._steps.values())).tape
        assert tape is not None
        return sum(name.startswith("conv2d_backward") for name in tape.names())

    convolutions = 6
    assert products() == 2 * convolutions - 1  # no gradient of the images
    for layer in model.layers[:-1]:
        layer.trainable = False
    before = model.get_weights()
    assert products() == 0
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert changed == [False] * (len(before) - 2) + [True] * 2
    model.get_layer("conv2d_5").trainable = True  # the last projection
    assert products() == 1


def test_a_model_learns_with_a_part_of_another_one() -> None:
    x, labels = images(60)
    base = training_graph()
    base.compile("adam", "sparse_categorical_crossentropy")
    base.fit(x, labels, epochs=2, verbose=0)
    features = Model(base.inputs, base.layers[-2].output)
    expected = features.predict(x, verbose=0)
    features.trainable = False
    head = Sequential([features, Dense(4, "softmax")])
    head.compile("adam", "sparse_categorical_crossentropy")
    before = features.get_weights()
    first = head.evaluate(x, labels, verbose=0)
    head.fit(x, labels, epochs=5, verbose=0)
    assert head.evaluate(x, labels, verbose=0) < first
    for a, b in zip(before, features.get_weights(), strict=True):
        assert_bits(a, b)
    assert_bits(features.predict(x, verbose=0), expected)


def test_a_graph_goes_away_with_its_last_user() -> None:
    gc.disable()
    try:
        model = training_graph()
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(*images(8), verbose=0)
        gone = weakref.ref(model), weakref.ref(model.layers[1]), weakref.ref(model.inputs[0].node)
        del model
        assert [r() for r in gone] == [None, None, None]
    finally:
        gc.enable()


def test_buffers_of_a_graph_are_used_again() -> None:
    """A step of training needs what forward keeps and a few gradients, one of predicting a few values."""
    blocks, n = 12, 64
    x = Input((8, 8, 16))
    y = x
    for _ in range(blocks):
        y = layers.add([y, Conv2D(16, 3, padding=1, activation="relu")(y)])
    model = Model(x, y)
    model.compile("sgd", "mse")
    images_ = normal(n, 8, 8, 16).astype(np.float32)
    one = images_.nbytes
    model.predict(images_, n, verbose=0)
    assert model._steps.bytes() < 6 * one
    model._steps.clear()
    model.train_on_batch(images_, images_)
    assert model._steps.bytes() < (2 * blocks + 8) * one  # of every block: what the convolution gave, and the sum
