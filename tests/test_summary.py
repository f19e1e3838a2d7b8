"""What summary prints, and that it leaves the model alone."""

from __future__ import annotations

import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest
from tiny import assert_same, blobs, mlp, state
from tolerances import assert_bits

from fastnn import Model, Sequential, callbacks, config, layers
from fastnn.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, Input


def lines_of(model: Any, **options: Any) -> list[str]:
    """Return the summary's lines."""
    found: list[str] = []
    model.summary(print_fn=lambda text: found.extend(text.splitlines()), **options)
    return found


def cells(lines: list[str]) -> list[list[str]]:
    """Return the cells of the lines between the head and the totals."""
    marks = [i for i, line in enumerate(lines) if set(line) == {"="}]
    return [[cell.strip() for cell in line.split("   ") if cell] for line in lines[marks[1] + 1 : marks[2]]]


def nest() -> Model:
    """Return a model that calls a model of a frozen and of a learning part twice."""
    head = Sequential([Input((4,)), Dense(3, name="head_dense")], name="head")
    body = Sequential([Input((6,)), Dense(4, name="first"), BatchNormalization(name="norm"), head], name="body")
    body.get_layer("first").trainable = False
    a, b = Input((6,), name="a"), Input((6,), name="b")
    return Model([a, b], layers.Add(name="sum")([body(a), body(b)]), name="outer")


def test_nested_models_are_listed_when_asked_for() -> None:
    model = nest()
    assert [row[0] for row in cells(lines_of(model))] == [
        "a (InputLayer)", "b (InputLayer)", "body (Sequential)", "body (Sequential)", "sum (Add)"
    ]  # fmt: skip
    rows = cells(lines_of(model, expand_nested=True, show_trainable=True))
    assert rows == [
        ["a (InputLayer)", "(None, 6)", "0", "-", "-"],
        ["b (InputLayer)", "(None, 6)", "0", "-", "-"],
        ["body (Sequential)", "(None, 3)", "59", "Y", "a[0][0]"],
        ["| first (Dense)", "(None, 4)", "28", "N", "-"],
        ["| norm (BatchNormalization)", "(None, 4)", "16", "Y", "-"],
        ["| head (Sequential)", "(None, 3)", "15", "Y", "-"],
        ["|", "| head_dense (Dense)", "(None, 3)", "15", "Y", "-"],
        ["body (Sequential)", "(None, 3)", "(shared)", "Y", "b[0][0]"],
        ["sum (Add)", "(None, 3)", "0", "-", "body[0][0], body[1][0]"],
    ]
    text = "\n".join(lines_of(model))
    assert "\nTotal params: 59 (236 B)\nTrainable params: 23 (92 B)\nNon-trainable params: 36 (144 B)" in text


def test_a_graph_inside_of_a_row_shows_its_connections_when_it_is_listed() -> None:
    x = Input((3,), name="x")
    inner = Model(x, layers.Add(name="sum")([x, Dense(3, name="d")(x)]), name="inner")
    model = Sequential([Input((3,)), inner])
    assert "Connected to" not in lines_of(model)[2]
    found = lines_of(model, expand_nested=True)
    assert found[2].endswith("Connected to")
    assert cells(found)[-1] == ["| sum (Add)", "(None, 3)", "0", "x[0][0], d[0][0]"]


def test_a_range_of_layers() -> None:
    model = Sequential([Input((5, 5, 2)), Conv2D(3, 2, name="conv"), Flatten(name="flat"), Dense(2, name="out")])
    assert [row[0] for row in cells(lines_of(model, layer_range=("conv", "flat")))] == [
        "conv (Conv2D)",
        "flat (Flatten)",
    ]
    assert [row[0] for row in cells(lines_of(model, layer_range=["fl.*", "o+ut"]))] == ["flat (Flatten)", "out (Dense)"]
    assert "Total params: 125 " in "\n".join(lines_of(model, layer_range=("out", "out"))), "the totals are the model's"
    with pytest.raises(
        ValueError, match=r"expected layer_range of layers that are there, got 'con'; did you mean 'conv'"
    ):
        lines_of(model, layer_range=("con", "out"))
    with pytest.raises(TypeError, match="layer_range as two names"):
        lines_of(model, layer_range="conv")
    with pytest.raises(ValueError, match="regular expressions"):
        lines_of(model, layer_range=("(", "out"))


def test_widths() -> None:
    model = Sequential([Input((3,)), Dense(2, name="out")])
    narrow = lines_of(model)
    assert max(map(len, lines_of(model, line_length=70))) == 70
    found = lines_of(model, line_length=100, positions=[0.4, 0.7, 1.0])
    assert len(found[1]) == 100
    assert (found[2].index("Output"), found[2].index("Param")) == (40, 70)
    assert (lines_of(model, positions=[30, 60, 70])[4].index("(None"), len(found[4])) == (30, 71)
    assert len(lines_of(model, positions=[2, 3, 4])[1]) == len(narrow[1]), "no column is cut"
    with pytest.raises(ValueError, match="positions of 3 columns"):
        lines_of(model, positions=[0.5, 1.0])
    with pytest.raises(ValueError, match="positions that go up"):
        lines_of(model, positions=[0.5, 0.4, 1.0])


def test_what_forward_kept_stays_for_backward() -> None:
    """In layers that are called once, and in those that are called several times."""

    def make() -> Model:
        config.set_seed(4)
        a, b, shared = Input((5,)), Input((5,)), Dense(6, "relu")
        joined = Dropout(0.3, seed=1)(BatchNormalization()(layers.add([shared(a), shared(b)])))
        model = Model([a, b], Dense(2, "softmax")(joined))
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    x = [np.random.default_rng(i).random((7, 5), np.float32) for i in range(2)]
    watched, other = make(), make()
    for model in (watched, other):
        out = model.forward(x, training=True)
        if model is watched:
            model.summary(print_fn=lambda text: None)
            model.profile(steps=1)
            model.summary(print_fn=lambda text: None)
        model.backward(np.ones_like(out))
    assert_bits(watched.store.grads, other.store.grads)


def test_no_weights_are_copied() -> None:
    model = Sequential([Input((1000,)), Dense(2000), Dense(1000)])
    model.compile("adam", "mse")
    tracemalloc.start()
    try:
        model.summary(print_fn=lambda text: None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < model.count_params(), "a copy would be four times that, with the slots sixteen"


def test_while_another_thread_trains() -> None:
    x, y = blobs(40)
    model, other = mlp(), mlp()
    started, go_on = threading.Event(), threading.Event()

    def wait(epoch: int, logs: Any) -> None:
        started.set()
        go_on.wait(60)

    watch = callbacks.LambdaCallback(on_epoch_begin=wait)
    thread = threading.Thread(target=lambda: model.fit(x, y, epochs=1, callbacks=[watch], verbose=0))
    thread.start()
    try:
        assert started.wait(60)
        text = "\n".join(lines_of(model))
        with pytest.raises(RuntimeError, match="that no other thread trains"):
            model.profile()
    finally:
        go_on.set()
        thread.join()
    assert text.endswith("Buffers of a training step: not known while another thread trains the model")
    assert "Total params" in text
    other.fit(x, y, epochs=1, verbose=0)
    assert_same(state(model), state(other))
    assert "not known" not in "\n".join(lines_of(model))
