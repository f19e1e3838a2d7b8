"""Sequential: structure, building, names, summary, weights, frozen and shared layers, error texts."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from gradcheck import normal
from tolerances import assert_bits

import fastnn
from fastnn import Sequential, layers, names
from fastnn.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D


@pytest.fixture(autouse=True)
def _names_from_the_start() -> None:
    names.clear_names()


def small(**last: Any) -> Sequential:
    return Sequential([Input((3,)), Dense(4, activation="tanh"), Dense(2, **last)])


# ---------------------------------------------------------------- building


def test_four_ways_to_build_the_same() -> None:
    by_list = Sequential([Input((6, 4)), Flatten(), Dense(5, "relu"), Dense(2)])
    by_add = Sequential()
    for layer in (Input(shape=(6, 4)), Flatten(), Dense(5, "relu"), Dense(2)):
        by_add.add(layer)
    by_shape = Sequential([Flatten(input_shape=(6, 4)), Dense(5, "relu"), Dense(2)])
    by_build = Sequential([Flatten(), Dense(5, "relu"), Dense(2)])
    assert not by_build.built
    by_build.build((None, 6, 4))
    x = normal(3, 6, 4)
    expected = by_list.predict(x, verbose=0)
    for model in (by_add, by_shape, by_build):
        assert model.built
        assert model.input_shape == (None, 6, 4)
        assert model.output_shape == (None, 2)
        assert model.count_params() == 24 * 5 + 5 + 5 * 2 + 2
        assert [p.shape for p in model.weights] == [(24, 5), (5,), (5, 2), (2,)]
        model.set_weights(by_list.get_weights())
        assert_bits(model.predict(x, verbose=0), expected)


def test_a_call_builds() -> None:
    for use in (
        lambda m: m(np.ones((2, 7))),
        lambda m: m.forward(np.ones((2, 7), np.float32), training=True),
        lambda m: m.predict(np.ones((2, 7)), verbose=0),
    ):
        model = Sequential([Dense(3)])
        assert use(model).shape == (2, 3)
        assert model.count_params() == 24


def test_batch_size_in_the_shape_does_not_matter() -> None:
    model = Sequential([Dense(3)])
    model.build((32, 7))
    assert model.input_shape == (None, 7)
    for n in (0, 1, 5):
        assert model.predict(np.ones((n, 7)), verbose=0).shape == (n, 3)


def test_add_and_pop_keep_weights() -> None:
    model = small()
    kept = model.get_weights()
    model.add(Dense(6))
    assert model.output_shape == (None, 6)
    assert len(model.weights) == 6
    for w, old in zip(model.get_weights(), kept, strict=False):
        assert_bits(w, old)
    last = model.pop()
    assert last.name == "dense_2"
    assert model.output_shape == (None, 2)
    assert [p.name for p in model.weights] == [f"{a}/{b}" for a in ("dense", "dense_1") for b in ("kernel", "bias")]
    x = normal(3, 3)
    assert_bits(model(x), small_forward(kept, x))
    with pytest.raises(ValueError, match="expected a layer to pop, got none"):
        Sequential().pop()


def small_forward(weights: list[Any], x: Any) -> Any:
    again = small()
    again.set_weights(weights)
    return again(x)


def test_training_goes_on_after_add() -> None:
    model = Sequential([Input((3,)), Dense(4)])
    model.compile("adam", "mse")
    model.fit(normal(8, 3), normal(8, 4), verbose=0)
    model.add(Dense(2))
    before = model.get_weights()
    model.fit(normal(8, 3), normal(8, 2), verbose=0)
    assert all(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


# ---------------------------------------------------------------- names


def test_names_count_up_by_class() -> None:
    model = Sequential([Input((8, 8, 1)), Conv2D(2, 3), MaxPooling2D(), BatchNormalization(), Flatten(), Dense(2)])
    assert model.name == "sequential"
    assert Sequential().name == "sequential_1"
    found = [layer.name for layer in model.layers]
    assert found == ["conv2d", "max_pooling2d", "batch_normalization", "flatten", "dense"]
    assert Dense(3).name == "dense_1"
    assert Dense(3, name="mine").name == "mine"
    assert repr(model) == "<Sequential 'sequential', 5 layers, built>"
    assert repr(Sequential(name="my model")) == "<Sequential 'my model', 0 layers, not built>"
    assert [p.name for p in model.weights][:3] == ["conv2d/kernel", "conv2d/bias", "batch_normalization/gamma"]


def test_get_layer() -> None:
    model = Sequential([Input((3,)), Dense(4, name="first"), Dense(2, name="second")])
    assert model.get_layer("second") is model.layers[1]
    assert model.get_layer(index=0) is model.layers[0]
    assert model.get_layer(index=-1) is model.layers[1]
    with pytest.raises(ValueError, match=r"get_layer: expected name to be one of .* got 'frist'; did you mean 'first'"):
        model.get_layer("frist")
    with pytest.raises(ValueError, match="get_layer: expected index to be an integer >= -2 and <= 1, got 2"):
        model.get_layer(index=2)
    for wrong in ({}, {"name": "first", "index": 0}):
        with pytest.raises(ValueError, match="expected either name or index"):
            model.get_layer(**wrong)


# ---------------------------------------------------------------- summary


def summary(model: Sequential, **options: Any) -> str:
    lines: list[str] = []
    model.summary(print_fn=lines.append, **options)
    return "\n".join(lines)


def rows(text: str) -> list[tuple[str, str, int]]:
    """Return (name and class, output shape, parameters) of every layer in a summary."""
    found = re.findall(r"^(\w+ \(\w+\)) +(\(.*?\)) +([\d,]+)$", text, re.MULTILINE)
    return [(layer, shape, int(count.replace(",", ""))) for layer, shape, count in found]


def test_summary_of_the_multi_output_perceptron(capsys: pytest.CaptureFixture[str]) -> None:
    model = Sequential([Flatten(input_shape=(28, 28)), Dense(units=10, activation="softmax")])
    model.summary()
    text = capsys.readouterr().out
    assert rows(text) == [("flatten (Flatten)", "(None, 784)", 0), ("dense (Dense)", "(None, 10)", 7850)]
    assert 'Model: "sequential"' in text
    assert "Total params: 7,850 (30.66 KB)" in text
    assert "Trainable params: 7,850" in text
    assert "Non-trainable params: 0 (0 B)" in text


def test_summary_of_the_deep_network() -> None:
    units = (300, 200, 100)
    hidden = [Dense(units=n, activation="relu") for n in units]
    model = Sequential([Flatten(input_shape=(28, 28)), *hidden, Dense(units=10, activation="softmax")])
    text = summary(model)
    assert [count for *_, count in rows(text)] == [0, 235_500, 60_200, 20_100, 1_010]
    assert [layer.split()[0] for layer, *_ in rows(text)] == ["flatten", "dense", "dense_1", "dense_2", "dense_3"]
    assert "Total params: 316,810 (1.21 MB)" in text
    assert "Trainable params: 316,810" in text
    assert model.count_params() == 316_810


def test_summary_counts_what_is_not_trained() -> None:
    model = Sequential([Input((5, 4, 3)), Conv2D(6, (3, 2)), BatchNormalization(), Dropout(0.5), Flatten(), Dense(2)])
    convolution, norm, dense = 3 * 2 * 3 * 6 + 6, 6, 3 * 3 * 6 * 2 + 2
    text = summary(model, line_length=90)
    assert [count for *_, count in rows(text)] == [convolution, 4 * norm, 0, 0, dense]
    assert next(shape for _, shape, _ in rows(text)) == "(None, 3, 3, 6)"
    assert f"Trainable params: {convolution + 2 * norm + dense}" in text
    assert f"Non-trainable params: {2 * norm}" in text
    assert max(len(line) for line in text.splitlines()) == 90
    model.layers[0].trainable = False
    assert f"Non-trainable params: {2 * norm + convolution}" in summary(model)


# ---------------------------------------------------------------- weights


def test_weights_are_copies_and_set_together() -> None:
    model = small()
    weights = model.get_weights()
    assert [w.shape for w in weights] == [(3, 4), (4,), (4, 2), (2,)]
    weights[0][...] = 99
    assert not np.any(model.get_weights()[0] == 99)
    kept = model.get_weights()
    for wrong in (kept[:-1], [*kept[:-1], np.zeros(3)], [*kept[:-1], np.zeros(2, np.complex64)]):
        with pytest.raises((ValueError, TypeError)):
            model.set_weights(wrong)
        for w, old in zip(model.get_weights(), kept, strict=True):
            assert_bits(w, old)
    model.set_weights([w.astype(np.float64) + 1 for w in kept])
    np.testing.assert_array_equal(model.get_weights()[2], kept[2] + np.float32(1))


def test_kinds_of_weights() -> None:
    model = Sequential([Input((4,)), Dense(3, name="d"), BatchNormalization(name="b"), Dense(2, name="e")])
    model.layers[0].trainable = False
    assert [p.name for p in model.trainable_weights] == ["b/gamma", "b/beta", "e/kernel", "e/bias"]
    assert [p.name for p in model.non_trainable_weights] == ["d/kernel", "d/bias", "b/moving_mean", "b/moving_variance"]
    assert model.trainable
    model.trainable = False
    assert model.trainable_weights == []
    assert not model.trainable
    with pytest.raises(TypeError, match="expected trainable to be True or False"):
        model.trainable = 1  # type: ignore[assignment]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_frozen_layers_keep_their_bits(optimizer: str, run_eagerly: bool) -> None:
    model = Sequential([Input((5,)), Dense(4), BatchNormalization(), Dense(3, "tanh"), Dense(2)])
    model.compile(optimizer, "mse", run_eagerly=run_eagerly)
    x, y = normal(20, 5), normal(20, 2)

    def changed() -> list[bool]:
        before = model.get_weights()
        model.fit(x, y, batch_size=8, verbose=0)
        return [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]

    assert all(changed()[2:])  # the bias before a normalization has no gradient but roundings
    model.layers[0].trainable = model.layers[1].trainable = False
    assert changed() == [False] * 6 + [True] * 4
    model.layers[2].trainable = False
    assert changed() == [False] * 8 + [True] * 2
    model.trainable = False
    assert changed() == [False] * 10
    model.layers[2].trainable = True
    assert changed() == [False] * 6 + [True] * 2 + [False] * 2
    model.trainable = True
    assert all(changed()[2:])


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_a_frozen_parameter_keeps_its_bits(run_eagerly: bool) -> None:
    model = small()
    model.compile("sgd", "mse", run_eagerly=run_eagerly)
    model.fit(normal(8, 3), normal(8, 2), verbose=0)
    kernel = model.layers[0].parameters[0]
    before = kernel.numpy()
    kernel.trainable = False
    assert kernel not in model.trainable_weights
    model.fit(normal(8, 3), normal(8, 2), verbose=0)
    assert_bits(kernel.numpy(), before)
    kernel.trainable = True
    model.fit(normal(8, 3), normal(8, 2), verbose=0)
    assert not np.array_equal(kernel.numpy(), before)


# ---------------------------------------------------------------- shared layers


def shared_pair() -> tuple[Sequential, Sequential]:
    common = Dense(4, activation="tanh", name="common")
    return Sequential([Input((3,)), common, Dense(2)]), Sequential([Input((3,)), common, Dense(5)])


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_layer_shared_by_two_models(optimizer: str) -> None:
    fastnn.config.set_seed(3)
    one, other = shared_pair()
    fastnn.config.set_seed(3)
    plain_one, plain_other = shared_pair()
    x, y, z = normal(12, 3), normal(12, 2), normal(12, 5)
    for model in (one, other):
        model.compile(optimizer, "mse")
    for model in (plain_one, plain_other):
        model.compile(optimizer, "mse", run_eagerly=True)
    for first, second in ((one, other), (plain_one, plain_other)):
        for _ in range(3):
            before = first.layers[0].get_weights()
            first.fit(x, y, shuffle=False, verbose=0)
            middle = second.layers[0].get_weights()
            assert not np.array_equal(before[0], middle[0])  # the other model sees what this one learned
            second.fit(x, z, shuffle=False, verbose=0)
            assert not np.array_equal(middle[0], first.layers[0].get_weights()[0])
    for a, b in ((one, plain_one), (other, plain_other)):
        for w, v in zip(a.get_weights(), b.get_weights(), strict=True):
            assert_bits(w, v)


def test_layer_shared_by_two_models_in_a_loop_by_hand() -> None:
    one, other = shared_pair()
    optimizer, loss = fastnn.optimizers.SGD(0.1), fastnn.losses.MeanSquaredError()
    optimizer.build(one.store)
    other.compile("sgd", "mse")
    other.fit(normal(4, 3), normal(4, 5), verbose=0)  # takes the shared parameters into its store
    before = one.get_weights()
    loss.forward(normal(4, 2), one.forward(normal(4, 3), training=True))
    one.backward(loss.backward())
    optimizer.build(one.store)
    optimizer.step()
    assert all(not np.array_equal(a, b) for a, b in zip(before, one.get_weights(), strict=True))


# ---------------------------------------------------------------- errors


def test_a_layer_that_does_not_fit_names_itself_and_both_shapes() -> None:
    with pytest.raises(ValueError) as error:
        Sequential([Input((28, 28)), MaxPooling2D(name="pool"), Dense(3)])
    assert str(error.value) == (
        "MaxPooling2D 'pool': expected input of shape (N, ?, ?, ?), got (N, 28, 28); "
        "give the images a channel axis: x[..., None]"
    )
    with pytest.raises(ValueError, match=r"Conv2D 'c': expected images at least as large as the window \(5, 3\)"):
        Sequential([Input((4, 9, 1)), Conv2D(2, (5, 3), name="c")])
    with pytest.raises(ValueError, match=r"Reshape 'r': expected samples of 6 values, got shape \(N, 7\)"):
        Sequential([Input((7,)), layers.Reshape((2, 3), name="r")])


def test_input_that_does_not_fit_names_the_layer_and_both_shapes() -> None:
    model = Sequential([Input((784,)), Dense(10, name="dense_1")])
    model.compile("sgd", "mse")
    x, y = np.zeros((32, 28, 28), np.float32), np.zeros((32, 10))
    expected = r"Dense 'dense_1': expected input of shape \(N, 784\), got \((N|32), 28, 28\); add Flatten\(\) before it"
    for use in (
        lambda: model(x),
        lambda: model.predict(x, verbose=0),
        lambda: model.fit(x, y, verbose=0),
        lambda: model.evaluate(x, y, verbose=0),
        lambda: model.train_on_batch(x, y),
    ):
        with pytest.raises(ValueError, match=expected):
            use()


def test_unbuilt_model_says_how_to_build() -> None:
    model = Sequential([Dense(3)], name="m")
    for use in (
        model.summary,
        model.get_weights,
        model.count_params,
        lambda: model.weights,
        lambda: model.store,
        lambda: model.output_shape,
        lambda: model.trainable_weights,
        lambda: model.non_trainable_weights,
        lambda: model.set_weights([]),
    ):
        with pytest.raises(
            ValueError, match=r"Sequential 'm': expected a built model, .* call build\(\(None, \.\.\.\)\)"
        ):
            use()
    with pytest.raises(ValueError, match="Sequential 'm': expected an input shape, got none"):
        model.build()
    with pytest.raises(ValueError, match="expected at least one layer, got none; add layers first"):
        Sequential().build((None, 3))
    with pytest.raises(ValueError, match="expected at least one layer"):
        Sequential().predict(np.zeros((2, 3)))


def test_what_is_no_layer_is_refused() -> None:
    with pytest.raises(TypeError, match=r"expected layers, got .*; make an object of the class: Dense\(10\)"):
        Sequential([Dense])
    with pytest.raises(TypeError, match=r"Sequential '.*': expected layers, got 'relu' \(str\)"):
        Sequential().add("relu")  # type: ignore[arg-type]
    layer = Dense(3, name="twice")
    with pytest.raises(ValueError, match="expected layers of different names, got two named 'twice'"):
        Sequential([layer, layer])
    with pytest.raises(ValueError, match="got two named 'twice'; give name="):
        Sequential([layer, Dense(4, name="twice")])
    with pytest.raises(ValueError, match="expected Input as the first layer only"):
        Sequential([Dense(3), Input((3,))])


@pytest.mark.parametrize("wrong", [Dense(3), 5])
def test_layers_must_be_a_list(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"Sequential '.*': expected "):
        Sequential(wrong)


@pytest.mark.parametrize("wrong", [3, "784", (None, "3"), (None, 3.5), (None, -1)])
def test_build_refuses_what_is_no_shape(wrong: Any) -> None:
    model = Sequential([Flatten(), Dense(2)])
    with pytest.raises((TypeError, ValueError), match=r"\w+( '.*')?: expected "):
        model.build(wrong)


@pytest.mark.parametrize("wrong", [784, "784", (3.5,), (-1,), (0,), None])
def test_input_refuses_what_is_no_shape(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="Input: expected shape"):
        Input(wrong)
    if wrong is not None:
        with pytest.raises((TypeError, ValueError), match="Dense: expected input_shape"):
            Dense(3, input_shape=wrong)
