"""Graphs of layers: symbolic tensors, layers and names, odd graphs, summary, error texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from errors import check
from gradcheck import normal
from graphs import GRAPHS, ONE_ENDED, diamond, parts_of, several, shared, siamese
from tolerances import assert_bits, assert_close

import fastnn
from fastnn import Input, Model, Sequential, layers, names
from fastnn.layers import Conv2D, Dense, Flatten

every_graph = pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)


@pytest.fixture(autouse=True)
def _names_from_the_start() -> None:
    names.clear_names()


# ---------------------------------------------------------------- structure


def test_symbolic_tensors() -> None:
    x = Input((6, 5, 3), name="image")
    assert (x.shape, x.ndim, x.dtype, x.name) == ((None, 6, 5, 3), 4, "float32", "image")
    assert repr(x) == "<SymbolicTensor 'image' (N, 6, 5, 3)>"
    conv = Conv2D(4, 3, name="conv")
    y = conv(x)
    assert y.shape == (None, 4, 3, 4)
    assert conv.built
    assert conv.count_params() == 112
    assert conv.input == x
    assert conv.output == y
    assert conv.output != conv(x)  # another call
    assert conv.output == y  # the first one
    free = Dense(2)(Input((None, 3)))
    assert free.shape == (None, None, 2)


def test_layers_of_a_sequential_have_inputs_and_outputs() -> None:
    model = Sequential([Input((5,)), Dense(4), Dense(3)])
    first, second = model.layers
    assert first.output == second.input
    assert model.input == first.input
    assert model.output == second.output
    x = normal(3, 5)
    assert_bits(Model(model.input, first.output)(x), first(x))
    assert_bits(Model(second.input, model.output)(first(x)), model(x))  # from the middle on
    model.add(Dense(2))
    assert first.output == second.input
    model.build((None, 5))
    assert model.layers[2].input == second.output


@every_graph
def test_forward_predict_and_shapes_agree(make: Callable[[], Model]) -> None:
    model = make()
    x = [normal(3, *t.shape[1:], seed=i).astype(np.float32) for i, t in enumerate(model.inputs)]
    given = model.input_structure.whole(x)
    outputs = parts_of(model(given))
    for y, again, shape in zip(outputs, parts_of(model.predict(given, 2, verbose=0)), model.output_shapes, strict=True):
        assert_bits(again, y)
        assert (None, *y.shape[1:]) == shape
    whole = model.compute_output_shape(model.input_structure.whole([a.shape for a in x]))
    assert parts_of(whole) == model.output_shapes
    empty = model.predict(model.input_structure.whole([a[:0] for a in x]), verbose=0)
    assert [y.shape for y in parts_of(empty)] == [(0, *y.shape[1:]) for y in outputs]


def test_inputs_and_outputs_as_one_list_or_dict() -> None:
    a, b = Input((2,), name="a"), Input((3,), name="b")
    x, z = normal(4, 2), normal(4, 3)
    y = Dense(1, name="y")(layers.concatenate([a, b]))
    expected = Model([a, b], y)([x, z])
    for model in (Model((a, b), [y]), Model({"a": a, "b": b}, y), Model(inputs=[a, b], outputs={"y": y})):
        for given in ([x, z], (x, z), {"b": z, "a": x}):
            result = model.predict(given, verbose=0)
            assert_bits(result["y"] if isinstance(result, dict) else result, expected)
    both = Model({"one": a, "other": b}, {"sum": y, "b": b})
    result = both.predict({"other": z, "one": x}, verbose=0)
    assert list(result) == ["sum", "b"]
    assert_bits(result["b"], z.astype(np.float32))
    single = Model(a, Dense(1)(a))
    for given in (x, [x], {"a": x}, x.tolist()):
        assert single.predict(given, verbose=0).shape == (4, 1)


def test_odd_graphs() -> None:
    x, values = Input((3,)), normal(4, 3).astype(np.float32)
    assert_bits(Model(x, x).predict(values, verbose=0), values)
    twice = Model(x, layers.add([x, x]))
    assert_bits(twice(values), values + values)
    twice.forward(values, training=True)
    assert_bits(twice.backward(values), values + values)
    y = Dense(2)(x)
    both = Model(x, [y, y])
    assert both.output_names == ["dense", "dense_1"]
    first, second = both.predict(values, verbose=0)
    assert_bits(first, second)
    both.forward(values, training=True)
    both.backward([np.ones((4, 2), np.float32), np.ones((4, 2), np.float32)])
    assert_close(both.weights[1].gradient, [8.0, 8.0], 0)


def test_models_in_a_sequential() -> None:
    waiting = Sequential([Sequential([Dense(4, "relu"), Dense(3)]), Dense(2)])
    assert not waiting.built
    waiting.compile("sgd", "mse")
    waiting.fit(normal(6, 5), normal(6, 2), verbose=0)
    assert waiting.count_params() == 24 + 15 + 8
    assert [layer.name for layer in waiting.leaf_layers] == ["dense", "dense_1", "dense_2"]
    first = Sequential([waiting, Dense(1)])
    assert first.built  # its first part says the shape
    assert first.input_shape == (None, 5)
    added = Sequential([Input((5,))])
    added.add(waiting)
    added.add(Dense(1))
    assert added.output_shape == (None, 1)
    x = normal(3, 5)
    assert_bits(added(x), added.layers[1](waiting(x)))


def test_input_layers() -> None:
    layer = layers.InputLayer((3, 2), name="in")
    assert layer.output == layer.output
    x = normal(4, 3, 2).astype(np.float32)
    assert_bits(layer(x), x)
    again = layers.InputLayer.from_config(layer.get_config())
    assert again.output.shape == (None, 3, 2)
    model = Sequential([layer, Flatten()])
    assert model.input == layer.output
    assert model.layers[0].name == "flatten"
    check(lambda: layer(x[..., 0]), ValueError, "InputLayer 'in': expected input of shape (N, 3, 2), got (4, 3); ...")


class Other(Sequential):
    """A model of a user's with a forward of its own."""

    def forward(self, x: Any, training: bool = False) -> Any:
        return super().forward(x, training) + 1


def test_a_model_with_its_own_forward_is_no_layer() -> None:
    model = Other([Input((3,)), Dense(2)])
    check(
        lambda: model(Input((3,))),
        TypeError,
        "Other 'sequential': expected a model that computes what its layers do...",
    )


def test_layers_and_names() -> None:
    model = diamond()
    assert [layer.name for layer in model.layers] == ["x", "dense", "dense_1", "dense_2", "add", "out"]
    assert model.get_layer("add") is model.layers[4]
    assert model.get_layer(index=-1).name == "out"
    assert (model.input_names, model.output_names, model.name) == (["x"], ["out"], "functional")
    assert [p.name for p in model.weights][:2] == ["dense/kernel", "dense/bias"]
    assert isinstance(Sequential(), Model)
    assert repr(model) == "<Model 'functional', 6 layers>"
    assert [layer.name for layer in siamese().leaf_layers] == ["dense_4", "dense_3", "dense_5", "multiply", "out"]


def test_summary() -> None:
    lines: list[str] = []
    model = shared()
    model.layers[1].trainable = False
    model.summary(print_fn=lambda text: lines.extend(text.splitlines()))
    rows = {tuple(line.split("   ")[0].split()) for line in lines}
    assert ("dense", "(Dense)") in rows
    assert lines[2].split() == ["Layer", "(type)", "Output", "Shape", "Param", "#", "Connected", "to"]
    assert [line for line in lines if "(shared)" in line]
    assert [line for line in lines if line.endswith("batch_normalization[0][0], batch_normalization[1][0]")]
    norm, out = 4 * 5, 5 * 3 + 3
    text = "\n".join(lines)
    assert f"\nTotal params: {30 + norm + out}" in text
    assert f"\nTrainable params: {norm // 2 + out}" in text
    assert f"\nNon-trainable params: {30 + norm // 2}" in text
    assert model.count_params() == 30 + norm + out
    x = Input((3,))
    Model(x, Dense(2)(x)).summary(print_fn=lines.append)
    assert "Connected to" not in lines[-1]


# ---------------------------------------------------------------- error texts


def test_shapes_are_checked_before_anything_is_computed() -> None:
    x = Input((28, 28, 3))
    for use, text in (
        (
            lambda: (Dense(3, name="d")(Input((2,))), Conv2D(3, 3, name="c")(Input((4, 4)))),
            "Conv2D 'c': ...(N, 4, 4)...",
        ),
        (
            lambda: Conv2D(3, 30, name="c")(x),
            "Conv2D 'c': expected images at least as large as the window...(N, 28, 28, 3)...",
        ),
        (lambda: layers.Add(name="a")([x, Input((28, 28, 4))]), "Add 'a': ...(N, 28, 28, 3) and (N, 28, 28, 4)..."),
    ):
        check(use, ValueError, text)
    dense = Dense(3, name="d")
    dense(Input((7,)))
    check(lambda: dense(Input((8,))), ValueError, "Dense 'd': expected input of shape (N, 7), got (N, 8); ...")
    model = diamond()
    check(
        lambda: model.predict(np.ones((3, 6)), verbose=0),
        ValueError,
        "Dense 'dense': expected input of shape (N, 5), got ...",
    )
    check(lambda: model(Input((6,))), ValueError, "Dense 'dense': expected input of shape (N, 5), got (N, 6); ...")


def test_wrong_graphs() -> None:
    x, other = Input((3,), name="x"), Input((3,), name="other")
    y = Dense(2, name="d")(x)
    both = layers.add([x, other])
    cases: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (
            lambda: Model(x, both),
            ValueError,
            "Model 'functional...': expected inputs from which the outputs can be computed, got outputs "
            "that also need 'other'; put it among the inputs",
        ),
        (
            lambda: Model(),
            TypeError,
            "Model 'functional...': expected inputs and outputs, got none; write Model(inputs, outputs)...",
        ),
        (lambda: Model(x, []), ValueError, "...expected at least one of outputs, got none"),
        (
            lambda: Model(x, np.ones(3)),
            TypeError,
            "...expected outputs to be symbolic tensors, got ndarray of shape (3,)...Input...",
        ),
        (lambda: Model([x, x], y), ValueError, "...expected inputs that differ, got one of them twice"),
        (
            lambda: Model(x, Dense(2, name="d")(y)),
            ValueError,
            "...expected layers of different names, got two named 'd'; give name=",
        ),
        (
            lambda: Dense(3)([x, other]),
            TypeError,
            "Dense 'dense...': expected one tensor, got a list of 2; put Concatenate or Add before it",
        ),
        (
            lambda: Model(x, y, name="a/b"),
            ValueError,
            "Model: expected name to be a non-empty string without '/', got 'a/b'",
        ),
        (
            lambda: Dense(3, name="new").output,
            ValueError,
            "Dense 'new': expected a layer that was called on a symbolic tensor, got no such call...",
        ),
        (
            lambda: Sequential([Dense(2), layers.Add()]),
            ValueError,
            "Sequential...: expected layers of one input, got <Add 'add...'>; write a graph...",
        ),
        (
            lambda: Sequential([several()]),
            ValueError,
            "Sequential...: expected models of one input and one output, got <Model...>; write a graph...",
        ),
        (lambda: Sequential([y]), ValueError, "Sequential...: expected Input as the first layer only..."),
        (lambda: Input(3), TypeError, "Input: expected shape to be a tuple...(3,)..."),
        (
            lambda: several()([x]),
            ValueError,
            "Model...: expected x as a list of 2 or a dict with the keys 'a', 'b', got 1",
        ),
        (
            lambda: several()({"a": x, "c": x}),
            ValueError,
            "Model...: expected x with the keys 'a', 'b', got 'a', 'c'; ...",
        ),
    ]
    for use, error, text in cases:
        check(use, error, text)


@pytest.mark.parametrize("make", ONE_ENDED.values(), ids=ONE_ENDED)
def test_public_path(make: Callable[[], Model]) -> None:
    model = make()
    assert isinstance(model, fastnn.models.Model)
    model.compile("sgd", "mse")
    x = normal(9, *model.input_shape[1:])
    assert model.fit(x, normal(9, 3), epochs=2, verbose=0).history["loss"][1] > 0
