"""Examples and experiments of the course notes, each with the number or the behavior that the notes give for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from cases import Array
from gradcheck import normal
from tolerances import assert_bits, assert_close

import fastnn
from fastnn import Model, Sequential, activations, config, initializers, layers, losses, optimizers
from fastnn.layers import BatchNormalization, Conv2D, Dense, Dropout, Input

CORNERS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)


@pytest.fixture(autouse=True)
def _seed() -> None:
    config.set_seed(0)


def neuron(weights: Sequence[float], bias: float) -> Dense:
    """Return a neuron with given weights; it fires where its output is above 0."""
    layer = Dense(1)
    layer.build_for((None, len(weights)))
    layer.set_weights([np.reshape(weights, (-1, 1)), [bias]])
    return layer


def fires(layer: Dense, x: Array) -> list[int]:
    return [int(v > 0) for v in np.asarray(layer(x)).ravel()]


# ---------------------------------------------------------------- perceptrons

GATES = {
    "and": ((0.5, 0.5), -0.7, [0, 0, 0, 1]),
    "nand": ((-0.5, -0.5), 0.7, [1, 1, 1, 0]),
    "or": ((0.5, 0.5), -0.2, [0, 1, 1, 1]),
}


@pytest.mark.parametrize("name", GATES)
def test_gates(name: str) -> None:
    weights, bias, truth = GATES[name]
    assert fires(neuron(weights, bias), CORNERS) == truth


def test_not_and_the_threshold_of_a_bias() -> None:
    assert fires(neuron([-1.0], 0.5), np.array([[0.0], [1.0]])) == [1, 0]
    for threshold in (0.1, 20.0):
        sums = np.array([[threshold * 0.99], [threshold * 1.01]])
        assert fires(neuron([1.0], -threshold), sums) == [0, 1]


def test_exclusive_or_of_three_gates_and_never_of_one() -> None:
    nand, either, both = (neuron(*GATES[name][:2]) for name in ("nand", "or", "and"))
    hidden = np.array([fires(nand, CORNERS), fires(either, CORNERS)], np.float32).T
    assert fires(both, hidden) == [0, 1, 1, 0]
    truth = np.array([0, 1, 1, 0])
    rng = np.random.default_rng(0)
    best = max((np.array(fires(neuron(w[:2], w[2]), CORNERS)) == truth).mean() for w in rng.uniform(-2, 2, (500, 3)))
    assert best == 0.75


def test_a_net_with_a_hidden_layer_learns_exclusive_or() -> None:
    model = Sequential([Input((2,)), Dense(4, "tanh"), Dense(1, "sigmoid")])
    model.compile(optimizers.Adam(0.05), "binary_crossentropy", metrics=["accuracy"])
    y = np.array([[0.0], [1.0], [1.0], [0.0]])
    model.fit(CORNERS, y, batch_size=4, epochs=300, verbose=0)
    assert model.evaluate(CORNERS, y, verbose=0)[1] == 1.0


PERCEPTRON_X = np.array([[1, 3, 3], [1, 4, 31], [1, 1, 1], [1, 0, 2]], np.float32)
PERCEPTRON_Y = np.array([1, 1, -1, -1])


@pytest.mark.parametrize("last", [2, 3])
def test_the_given_weights_of_the_perceptron(last: int) -> None:
    x = PERCEPTRON_X.copy()
    x[3, 2] = last  # the notes print both
    layer = Dense(1, use_bias=False)
    layer.build_for((None, 3))
    layer.set_weights([np.array([[0.61], [-0.96], [0.02]])])
    assert np.sign(layer(x)).ravel().tolist() == [-1, -1, -1, 1]


def test_the_perceptron_program_reaches_no_errors() -> None:
    """sign outputs, w += lr X^T (y - out) / n, by the layer's own gradient; a few dozen passes from any start."""
    for start in np.random.default_rng(0).uniform(-1, 1, (40, 3, 1)):
        layer = Dense(1, use_bias=False)
        layer.build_for((None, 3))
        layer.set_weights([start])
        passes = 0
        while True:
            out = np.sign(layer.forward(PERCEPTRON_X, training=True)).ravel()
            if (out == PERCEPTRON_Y).all():
                break
            layer.backward(np.asarray(-(PERCEPTRON_Y - out).reshape(-1, 1) / 4, np.float32))
            layer.kernel.value[...] -= np.float32(0.11) * layer.kernel.gradient
            passes += 1
            assert passes <= 33


# ---------------------------------------------------------------- activations and losses


def test_the_softmax_may_be_left_out_of_a_prediction() -> None:
    logits = 5 * normal(200, 7)
    p = activations.softmax(logits)
    np.testing.assert_array_equal(logits.argmax(-1), p.argmax(-1))
    assert_close(p.sum(-1), np.ones(200), 1e-6)
    assert_close(activations.softmax(logits + 100), p, 2e-5)


def test_the_gradient_of_softmax_and_cross_entropy_is_the_difference() -> None:
    """(p - t) / N, also where the softmax says 1 or 0: learning does not stop."""
    model = Sequential([Input((3,)), Dense(3, "softmax", use_bias=False)])
    model.set_weights([np.eye(3)])
    model.compile(optimizers.SGD(1.0), "categorical_crossentropy", run_eagerly=True)
    x, t = np.array([[80.0, 0, 0], [0.1, 0.2, 0.3]], np.float32), np.array([[0, 0, 1.0], [0, 1.0, 0]])
    p = activations.softmax(x)
    model.fit(x, t, batch_size=2, verbose=0)
    assert_close(np.eye(3) - model.get_weights()[0], x.T @ ((p - t) / 2), 1e-5)


def test_the_gradient_of_the_squared_error_shrinks_and_that_of_the_absolute_error_does_not() -> None:
    y, near, far = np.zeros((4, 1)), np.full((4, 1), 0.1, np.float32), np.full((4, 1), 10.0, np.float32)
    for loss, slopes in ((losses.MeanSquaredError(), (0.2 / 4, 20 / 4)), (losses.MeanAbsoluteError(), (1 / 4, 1 / 4))):
        for out, slope in zip((near, far), slopes):
            loss.forward(y, out)
            assert_close(loss.backward(), np.full((4, 1), slope), 1e-6)


def test_an_outlier_moves_the_absolute_error_less() -> None:
    x = np.linspace(0, 1, 20)[:, None]
    y = 2 * x
    y[-1] = 30.0
    slopes = {}
    for loss in ("mse", "mae"):
        model = Sequential([Input((1,)), Dense(1, use_bias=False)])
        model.set_weights([[[1.0]]])
        model.compile(optimizers.Adam(0.05), loss)
        model.fit(x, y, batch_size=20, epochs=400, verbose=0)
        slopes[loss] = float(model.get_weights()[0][0, 0])
    assert abs(slopes["mae"] - 2) < 0.2 < 1 < abs(slopes["mse"] - 2)


# ---------------------------------------------------------------- layers


def test_a_layer_of_neurons_is_a_product_of_matrices() -> None:
    x, w, b = np.array([[1.0, 0.5]]), np.array([[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]]), np.array([0.1, 0.2, 0.3])
    layer = Dense(3)
    layer.build_for((None, 2))
    layer.set_weights([w, b])
    assert_close(np.asarray(layer(x)), np.array([[0.3, 0.7, 1.1]]), 1e-6)


@pytest.mark.parametrize(("padding", "size"), [("valid", 2), (1, 4), (2, 6)])
def test_the_size_of_a_convolution(padding: Any, size: int) -> None:
    """(a + 2 d - b) / c + 1, with the numbers of the notes: 4 x 4 by 3 x 3 gives 2 x 2, padded by one 4 x 4."""
    x = np.arange(16.0).reshape(1, 4, 4, 1)
    layer = Conv2D(1, 3, padding=padding, use_bias=False, kernel_initializer="ones")
    y = np.asarray(layer(x))
    assert y.shape == (1, size, size, 1)
    if padding == "valid":
        assert y.ravel().tolist() == [45, 54, 81, 90]


def test_pooling_keeps_channels_and_cares_less_for_a_shift() -> None:
    x = normal(1, 16, 16, 3)
    smooth = sum(np.roll(x, i, axis=a) for i in range(3) for a in (1, 2)) / 6
    shifted = np.roll(smooth, 1, axis=2)
    pool = layers.MaxPooling2D(4)
    assert pool(smooth).shape == (1, 4, 4, 3)
    assert pool.count_params() == 0
    pooled = np.abs(pool(smooth) - pool(shifted)).mean() / np.abs(pool(smooth)).mean()
    raw = np.abs(smooth - shifted).mean() / np.abs(smooth).mean()
    assert pooled < raw


def test_batch_normalization_gives_mean_zero_and_variance_one() -> None:
    x = (5 + 3 * normal(200, 4)).astype(np.float32)
    layer = BatchNormalization(epsilon=1e-7)
    y = layer(x, training=True)
    assert_close(y.mean(0), np.zeros(4), 1e-5)
    assert_close(y.var(0), np.ones(4), 1e-4)
    assert np.abs(layer(x).mean(0)).min() > 1, "outside training by the moving statistics"


def test_dropout_takes_its_share_anew_each_time_and_scales_the_rest() -> None:
    x = np.ones((200, 100), np.float32)
    layer = Dropout(0.3)
    first, second = np.asarray(layer(x, training=True)), np.asarray(layer(x, training=True))
    share, deviation = (first == 0).mean(), np.sqrt(0.3 * 0.7 / x.size)
    assert abs(share - 0.3) < 3 * deviation
    assert (first != second).any()
    assert_close(first[first > 0], np.full((first > 0).sum(), 1 / 0.7), 1e-5)  # the rate counts in steps of 2^-16
    assert_bits(np.asarray(layer(x)), x)


def test_dropout_of_a_linear_neuron_is_the_mean_of_its_four_sub_networks() -> None:
    """Half the weights give exactly the mean of what the sub-networks give; behind a bend only nearly."""
    x, w = np.array([2.0, 3.0]), np.array([0.5, -1.5])
    masks = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    outs = masks * x @ w
    assert outs.mean() == x @ (w / 2)
    bent = np.maximum(outs, 0).mean()
    assert bent != max(x @ (w / 2), 0)


def test_a_residual_block_without_weights_is_the_identity() -> None:
    x = Input((5, 4, 3))
    h = Conv2D(3, 3, padding="same", kernel_initializer="zeros", activation="relu")(x)
    block = Model(x, x + Conv2D(3, 3, padding="same", kernel_initializer="zeros")(h))
    data = normal(2, 5, 4, 3).astype(np.float32)
    assert_bits(block.predict(data, verbose=0), data)


def test_a_net_of_relus_is_linear_within_a_region() -> None:
    model = Sequential([Input((4,)), Dense(16, "relu", bias_initializer="ones"), Dense(16, "relu"), Dense(3)])
    x, d = normal(1, 4), 1e-3 * normal(1, 4, seed=1)
    y = [np.asarray(model(x + k * d), np.float64) for k in (0, 1, 2)]
    assert_close(y[2] - y[1], y[1] - y[0], 3e-6)


# ---------------------------------------------------------------- initial values and gradients


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_equal_weights_stay_equal(value: float) -> None:
    model = Sequential([Input((3,)), Dense(5, "tanh", kernel_initializer=initializers.Constant(value)), Dense(1)])
    model.layers[1].set_weights([np.full((5, 1), 0.2), [0.0]])
    model.compile("adam", "mse")
    model.fit(normal(40, 3), normal(40, 1), epochs=5, verbose=0)
    kernel = model.get_weights()[0]
    assert (kernel != np.float32(value)).any()
    assert_bits(kernel, np.repeat(kernel[:, :1], 5, axis=1))


@pytest.mark.parametrize(("name", "factor"), [("he_normal", 2.0), ("lecun_normal", 1.0)])
def test_deviation_of_initial_values(name: str, factor: float) -> None:
    values = initializers.get(name)((1000, 500))  # type: ignore[misc]
    assert np.std(values) == pytest.approx(np.sqrt(factor / 1000), rel=0.02)


def spread(activation: str, deviation: float) -> list[float]:
    """Return the standard deviation of the outputs of five layers of 100, mean of five draws."""
    draws = []
    for seed in range(5):
        config.set_seed(seed)
        x: Any = np.random.default_rng(seed).standard_normal((1000, 100))
        found = []
        for _ in range(5):
            start = initializers.RandomNormal(stddev=deviation)
            x = np.asarray(Dense(100, activation, use_bias=False, kernel_initializer=start)(x))
            found.append(float(x.std()))
        draws.append(found)
    return list(np.mean(draws, axis=0))


@pytest.mark.parametrize(
    ("activation", "deviation", "first", "last"),
    [
        ("sigmoid", 1.0, 0.45, 0.45),
        ("sigmoid", 0.01, None, 0.0125),
        ("sigmoid", 0.1, None, 0.12),
        ("tanh", 0.1, 0.63, 0.32),
        ("relu", 0.01, 0.058, None),
        ("relu", 0.1, 0.58, 0.15),
        ("relu", np.sqrt(2 / 100), 0.83, 0.84),
    ],
)
def test_spread_of_activations_by_initial_values(
    activation: str, deviation: float, first: float | None, last: float | None
) -> None:
    found = spread(activation, deviation)
    if first is not None:
        assert found[0] == pytest.approx(first, rel=0.1)
    if last is not None:
        assert found[-1] == pytest.approx(last, rel=0.15)
    else:
        assert found[1] == pytest.approx(0.004, rel=0.2)
        assert found[2] == pytest.approx(0.0003, rel=0.2)


def test_gradients_vanish_behind_ten_sigmoids_and_not_behind_relus() -> None:
    ratios = {}
    for activation, start in (("sigmoid", "glorot_uniform"), ("relu", "he_normal")):
        hidden = [Dense(50, activation, kernel_initializer=start) for _ in range(10)]
        model = Sequential([Input((50,)), *hidden, Dense(5)])
        loss = losses.MeanSquaredError()
        loss.forward(normal(64, 5), model.forward(normal(64, 50, seed=1), training=True))
        model.backward(loss.backward())
        norms = [float(np.linalg.norm(p.gradient)) for p in model.weights if p.name.endswith("kernel")]
        ratios[activation] = norms[0] / norms[-2]
    assert ratios["sigmoid"] < 1e-3
    assert 0.1 < ratios["relu"] < 10


# ---------------------------------------------------------------- training


def test_a_step_of_gradient_descent_bit_for_bit() -> None:
    model = Sequential([Input((3,)), Dense(2)])
    x, y = normal(8, 3).astype(np.float32), normal(8, 2, seed=1).astype(np.float32)
    loss = losses.MeanSquaredError()
    loss.forward(y, model.forward(x, training=True))
    model.backward(loss.backward())
    expected = [p.numpy() - np.float32(0.1) * p.gradient for p in model.weights]
    optimizer = optimizers.SGD(0.1)
    optimizer.build(model.store)
    optimizer.step()
    for p, want in zip(model.weights, expected):
        assert_close(p.value, want, np.spacing(np.abs(want)) if p.size else 0.0)


@pytest.mark.parametrize("batch_size", [1, 7, 50])
def test_single_samples_batches_and_all_at_once(batch_size: int) -> None:
    x = normal(50, 4)
    y = x @ normal(4, 1, seed=1)
    model = Sequential([Input((4,)), Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(x, y, batch_size=batch_size, epochs=10, verbose=0).history["loss"]
    assert int(model.optimizer.iterations[0]) == 10 * -(-50 // batch_size)  # type: ignore[union-attr]
    assert history[-1] < history[0]


def test_the_same_net_with_numpy_only() -> None:
    """Two layers, sigmoid, squared error: equal weights give equal losses for twenty steps."""
    x, y = normal(32, 6).astype(np.float32), normal(32, 2, seed=1).astype(np.float32)
    model = Sequential([Input((6,)), Dense(8, "sigmoid"), Dense(2)])
    model.compile(optimizers.SGD(0.1), "mse")
    w1, b1, w2, b2 = (w.astype(np.float64) for w in model.get_weights())
    expected = []
    for _ in range(20):
        h = 1 / (1 + np.exp(-(x @ w1 + b1)))
        error = h @ w2 + b2 - y
        expected.append((error**2).mean())
        dout = 2 * error / error.size
        dh = dout @ w2.T * h * (1 - h)
        w2, b2 = w2 - 0.1 * h.T @ dout, b2 - 0.1 * dout.sum(0)
        w1, b1 = w1 - 0.1 * x.T @ dh, b1 - 0.1 * dh.sum(0)
    got = model.fit(x, y, batch_size=32, epochs=20, shuffle=False, verbose=0).history["loss"]
    assert_close(np.array(got), np.array(expected), 1e-5)


def test_a_learning_rate_that_is_too_large_kills_relus() -> None:
    x = normal(200, 5)
    y = (normal(200, 1, seed=1) > 0).astype(np.float32)

    def dead(rate: float) -> float:
        config.set_seed(0)
        model = fastnn.Sequential(
            [Input((5,)), Dense(30, "relu", kernel_initializer="he_normal", name="hidden"), Dense(1, "sigmoid")]
        )
        model.compile(optimizers.SGD(rate), "binary_crossentropy")
        model.fit(x, y, batch_size=20, epochs=5, verbose=0)
        hidden = Model(model.inputs, model.get_layer("hidden").output).predict(x, verbose=0)
        return float((hidden == 0).all(axis=0).mean())

    assert dead(0.01) == 0.0
    assert dead(10.0) > 0.5
