"""The Keras programs of the course notes, with only their import lines changed, and the numbers that go with them."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from tolerances import assert_close

import fastnn
import fastnn as keras
from fastnn import activations, layers, losses, names, optimizers
from fastnn.datasets import digits
from fastnn.layers import Dense, Flatten
from fastnn.models import Sequential
from fastnn.utils import to_categorical

Split = tuple[np.ndarray, np.ndarray]


@pytest.fixture(autouse=True)
def _first_program_of_a_process() -> None:
    names.clear_names()
    fastnn.config.set_seed(0)


@pytest.fixture(scope="module")
def data() -> tuple[Split, Split]:
    """Return training and validation data: real digits, enlarged to 28 x 28 pixels."""
    (x, y), (x_valid, y_valid) = digits.load_data()

    def enlarged(images: np.ndarray) -> np.ndarray:
        return np.pad(np.kron(images, np.ones((1, 3, 3))), ((0, 0), (2, 2), (2, 2))) / 16.0

    return (enlarged(x[:1000]), y[:1000]), (enlarged(x_valid), y_valid)


def parameters(text: str) -> list[int]:
    return [int(n.replace(",", "")) for n in re.findall(r"\) +([\d,]+)$", text, re.MULTILINE)]


# ---------------------------------------------------------------- programs


def test_three_inputs_and_two_outputs(capsys: pytest.CaptureFixture[str]) -> None:
    vocabulary_size = 10000
    num_tags = 100
    num_departments = 4

    title = keras.Input(shape=(vocabulary_size,), name="title")
    text_body = keras.Input(shape=(vocabulary_size,), name="text_body")
    tags = keras.Input(shape=(num_tags,), name="tags")
    features = layers.Concatenate()([title, text_body, tags])

    features = layers.Dense(64, activation="relu")(features)
    priority = layers.Dense(1, activation="sigmoid",
                            name="priority")(features)  # fmt: skip
    department = layers.Dense(
        num_departments, activation="softmax", name="department")(features)  # fmt: skip

    model = keras.Model(inputs=[title, text_body, tags],
                        outputs=[priority, department])  # fmt: skip

    model.summary()
    text = capsys.readouterr().out
    assert features.shape == (None, 64)
    assert "(None, 20100)" in text
    assert "title[0][0], text_body[0][0], tags[0][0]" in text
    assert "Total params: 1,286,789" in text

    rng = np.random.default_rng(0)
    x = [rng.integers(0, 2, (32, width)) for width in (vocabulary_size, vocabulary_size, num_tags)]
    y = [rng.random((32, 1)), to_categorical(np.arange(32) % num_departments)]
    model.compile(
        optimizer="rmsprop",
        loss=["mean_squared_error", "categorical_crossentropy"],
        metrics=[["mean_absolute_error"], ["accuracy"]],
    )
    history = model.fit(x, y, epochs=3, verbose=0).history
    assert set(history) == {
        "loss", "priority_loss", "department_loss", "priority_mean_absolute_error", "department_accuracy",
    }  # fmt: skip
    assert [out.shape for out in model.predict(x, verbose=0)] == [(32, 1), (32, 4)]


def test_multi_output_perceptron(data: tuple[Split, Split], capsys: pytest.CaptureFixture[str]) -> None:
    (x_train, y_train), (x_valid, y_valid) = data
    model = Sequential([
        Flatten(input_shape=x_train.shape[1:]),
        Dense(units=10, activation='softmax')
    ])  # fmt: skip

    model.summary()
    # Compile
    model.compile(loss='sparse_categorical_crossentropy', optimizer='sgd',
    metrics= ['accuracy'])  # fmt: skip
    # Train
    train = model.fit(x_train, y_train, epochs=20, validation_data=(x_valid,
    y_valid))  # fmt: skip

    text = capsys.readouterr().out
    assert 'Model: "sequential"' in text
    assert re.search(r"flatten \(Flatten\) +\(None, 784\) +0\n", text)
    assert re.search(r"dense \(Dense\) +\(None, 10\) +7,850\n", text)
    for line in ("Total params: 7,850", "Trainable params: 7,850", "Non-trainable params: 0"):
        assert line in text
    assert text.count("Epoch ") == 20
    assert list(train.history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert train.history["val_accuracy"][-1] > 0.85


def test_multi_layer_perceptron(data: tuple[Split, Split], capsys: pytest.CaptureFixture[str]) -> None:
    (x_train, y_train), (x_valid, y_valid) = data
    model = Sequential([
        Flatten(input_shape=x_train.shape[1:]),
        Dense(units=300, activation='relu'),
        Dense(units=200, activation='relu'),
        Dense(units=100, activation='relu'),
        Dense(units=10, activation='softmax')
    ])  # fmt: skip
    model.summary()
    text = capsys.readouterr().out
    assert parameters(text) == [0, 235_500, 60_200, 20_100, 1_010]
    found = re.findall(r"^(\w+) \((?:Flatten|Dense)\)", text, re.MULTILINE)
    assert found == ["flatten", "dense", "dense_1", "dense_2", "dense_3"]
    assert "Total params: 316,810" in text
    assert "Non-trainable params: 0" in text

    model.compile(loss='sparse_categorical_crossentropy', optimizer='sgd', metrics=
    ['accuracy'])  # fmt: skip
    train = model.fit(x_train, y_train, epochs=20, validation_data=(x_valid, y_valid))
    assert len(train.history["val_loss"]) == 20
    assert train.history["val_accuracy"][-1] > 0.9


def test_ways_to_choose_an_optimizer_and_a_loss(data: tuple[Split, Split]) -> None:
    (x_train, y_train), (x_valid, y_valid) = data
    loss = keras.losses.SparseCategoricalCrossentropy()
    opt = keras.optimizers.Adam(learning_rate=0.01)
    for chosen, rate in (('sgd', 0.01), (opt, 0.01), (keras.optimizers.SGD(learning_rate=0.01), 0.01)):  # fmt: skip
        model = Sequential([Flatten(input_shape=x_train.shape[1:]), Dense(units=10, activation="softmax")])
        model.compile(loss='sparse_categorical_crossentropy',
              optimizer= chosen,
              metrics= ['accuracy'])  # fmt: skip
        assert model.optimizer is not None
        assert model.optimizer.learning_rate == pytest.approx(rate, rel=1e-6)
        train = model.fit(x_train, y_train, epochs=3, verbose=0)
        assert train.history["loss"][-1] < train.history["loss"][0]
        by_name = model.evaluate(x_valid, y_valid, verbose=0)
        model.compile(loss=loss, optimizer=chosen, metrics=["accuracy"])
        assert model.evaluate(x_valid, y_valid, verbose=0) == by_name


def test_modelling_style_with_add_and_build(capsys: pytest.CaptureFixture[str]) -> None:
    model = keras.Sequential(name="my_example_model")
    model.add(layers.Dense(64, activation="relu", name="my_first_layer"))
    model.add(layers.Dense(10, activation="softmax", name="my_last_layer"))
    model.build((None, 3))
    model.summary()
    text = capsys.readouterr().out
    assert 'Model: "my_example_model"' in text
    assert parameters(text) == [(3 + 1) * 64, (64 + 1) * 10]
    assert "my_first_layer (Dense)" in text
    assert "my_last_layer (Dense)" in text
    assert "Total params: 906" in text


def test_modelling_style_with_input(capsys: pytest.CaptureFixture[str]) -> None:
    model = keras.Sequential()
    model.add(keras.Input(shape=(3,)))
    model.add(layers.Dense(64, activation="relu"))
    model.add(layers.Dense(10, activation="softmax"))
    model.summary()
    text = capsys.readouterr().out
    assert parameters(text) == [256, 650]
    assert "Total params: 906" in text


def test_defaults_that_the_notes_print() -> None:
    dense = layers.Dense(64)
    assert (dense.activation.name, dense.use_bias) == ("linear", True)
    assert type(dense.kernel_initializer) is fastnn.initializers.GlorotUniform
    assert type(dense.bias_initializer) is fastnn.initializers.Zeros
    defaults = {
        "SGD": {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False, "weight_decay": None},
        "Adagrad": {"learning_rate": 0.001, "initial_accumulator_value": 0.1, "epsilon": 1e-7},
        "RMSprop": {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False},
        "Adam": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False},
    }
    for name, expected in defaults.items():
        settings = getattr(optimizers, name)().get_config()
        for argument, value in expected.items():
            assert settings[argument] == (pytest.approx(value, rel=1e-6) if value else value), (name, argument)


# ---------------------------------------------------------------- numbers

SCORES = [0.09, 0.07, 0.08, 0.08, 0.09, 0.10, 0.10, 0.21, 0.10, 0.09]  # they add up to 1.01


@pytest.mark.parametrize(("y", "yhat", "loss"), [(1, 1, 0.0), (1, 0.9997, 9.0e-8), (0, 0.1192, 0.01420864)])
def test_squared_error(y: float, yhat: float, loss: float) -> None:
    # 0.9997 as a float32 is off by 1e-8, which is 1e-4 of its distance from 1.
    assert float(losses.MeanSquaredError()([[y]], [[yhat]])) == pytest.approx(loss, rel=1e-3 if y else 1e-6, abs=1e-12)


@pytest.mark.parametrize(("y", "yhat", "loss"), [(1, 0.9997, 3.000450e-4), (0, 0.1192, 0.12692469)])
def test_binary_cross_entropy(y: float, yhat: float, loss: float) -> None:
    assert float(losses.BinaryCrossentropy()([[y]], [[yhat]])) == pytest.approx(loss, rel=1e-4)
    logit = math.log(yhat / (1 - yhat))
    assert float(losses.BinaryCrossentropy(from_logits=True)([[y]], [[logit]])) == pytest.approx(loss, rel=1e-6)


def test_binary_cross_entropy_is_finite_at_the_ends() -> None:
    each = losses.binary_crossentropy([[0.0], [1.0], [1.0], [0.0]], [[0.0], [1.0], [0.0], [1.0]])
    assert np.isfinite(each).all()
    np.testing.assert_allclose(each[:2], 0, atol=2e-7)
    assert (each[2:] > 15).all()


def test_cross_entropy_of_ten_classes() -> None:
    assert float(losses.CategoricalCrossentropy()(to_categorical([7], 10), [SCORES])) == pytest.approx(1.5606, abs=5e-5)
    sparse = float(losses.SparseCategoricalCrossentropy()([7], [SCORES]))
    assert sparse == pytest.approx(-math.log(0.21), rel=1e-6)
    assert np.argmax(SCORES) == 7


def test_softmax_of_large_numbers() -> None:
    p = activations.softmax(np.array([1010.0, 1000.0, 990.0]))
    np.testing.assert_allclose(p, [0.99995460, 4.5398e-05, 2.0611e-09], rtol=1e-4)
    assert p.sum() == pytest.approx(1, abs=1e-6)
    assert_close(activations.softmax(np.array([10.0, 0.0, -10.0])), p, 1e-7)  # only differences matter


def test_sigmoid_tanh_relu() -> None:
    z = np.arange(-7, 7, 0.1)
    assert z.shape == (140,)
    assert_close(activations.sigmoid(z), 1.0 / (1.0 + np.exp(-z)), 1e-6)
    assert activations.sigmoid(np.array([0.0]))[0] == 0.5
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(activations.sigmoid(np.array([-1000.0, 1000.0])), [0, 1])
        np.testing.assert_array_equal(activations.tanh(np.array([-1000.0, 1000.0])), [-1, 1])
    assert_close(activations.tanh(z), (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)), 1e-6)
    assert activations.elu(np.array([-1.0]))[0] == pytest.approx(math.exp(-1) - 1, rel=1e-6)
    assert layers.LeakyReLU(0.01)(np.array([[-1.0]]))[0, 0] == pytest.approx(-0.01, rel=1e-6)
    relu = layers.ReLU()
    relu.forward(np.array([[-1.0, 0.0, 2.0]]), training=True)
    np.testing.assert_array_equal(relu.backward(np.ones((1, 3), np.float32)), [[0, 0, 1]])


# ---------------------------------------------------------------- networks worked out by hand


def network(first: list[list[float]], second: list[list[float]]) -> Sequential:
    """Return a network with two hidden units, sigmoids and no biases."""
    model = Sequential(
        [
            keras.Input(shape=(2,)),
            Dense(2, activation="sigmoid", use_bias=False),
            Dense(len(second[0]), activation="sigmoid", use_bias=False),
        ]
    )
    model.set_weights([np.array(first), np.array(second)])
    return model


def test_backpropagation_by_hand_with_two_outputs() -> None:
    """0.5, 0.3 -> targets 0.23, -0.07; where the notes misprint, the numbers here are recomputed."""
    model = network([[0.2, -0.4], [0.5, 0.6]], [[0.1, -0.5], [-0.3, 0.8]])
    x, y = [[0.5, 0.3]], [[0.23, -0.07]]
    assert_close(model.layers[0](x), np.array([[0.5622, 0.4950]]), 5e-5)
    out = model.forward(x, training=True)
    assert_close(out, np.array([[0.4769, 0.5287]]), 5e-5)
    loss = losses.MeanSquaredError()  # of two outputs it is half the sum of squares, the error of the notes
    assert float(loss.forward(y, out)) == pytest.approx(0.20971, abs=5e-6)
    model.backward(loss.backward())
    first, second = (p.gradient for p in model.weights)
    assert_close(second, np.array([[0.0346, 0.0839], [0.0305, 0.0738]]), 6e-5)
    assert_close(first, np.array([[-0.008421, 0.012607], [-0.005053, 0.007564]]), 1e-6)


def test_backpropagation_by_hand_with_one_output() -> None:
    """0.35, 0.9 -> target 0.5, learning rate 1 on half the squared error."""
    model = network([[0.1, 0.4], [0.8, 0.6]], [[0.3], [0.9]])
    model.compile(optimizer=keras.optimizers.SGD(learning_rate=0.5), loss="mse")
    x, y = [[0.35, 0.9]], [[0.5]]
    assert_close(model.layers[0](x), np.array([[0.680267, 0.663739]]), 1e-6)
    assert float(model.predict(x, verbose=0)[0, 0]) == pytest.approx(0.690283, abs=1e-6)
    cost = [model.train_on_batch(x, y) / 2 for _ in range(101)]
    for step, value in {0: 0.018104, 1: 0.016565, 2: 0.015127, 10: 0.0069, 100: 2.9e-7}.items():
        assert cost[step] == pytest.approx(value, rel=2e-2 if step >= 10 else 5e-5), step
    model.set_weights([np.array([[0.1, 0.4], [0.8, 0.6]]), np.array([[0.3], [0.9]])])
    model.train_on_batch(x, y)
    first, second = model.get_weights()
    assert_close(first, np.array([[0.09907093, 0.39713992], [0.79761096, 0.59264552]]), 1e-6)
    assert_close(second, np.array([[0.27232597], [0.87299836]]), 1e-6)
