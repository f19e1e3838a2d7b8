"""More numbers and examples of the course notes: inference with given weights, dropout's scale, losses, steps, regularizers."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest
from cases import Array
from gradcheck import normal
from tolerances import assert_bits, assert_close

from fastnn import Input, Sequential, activations, config, losses, metrics, optimizers, regularizers
from fastnn.datasets import digits
from fastnn.layers import BatchNormalization, Dense, Dropout
from fastnn.parameter import Parameter
from fastnn.utils import to_categorical


@pytest.fixture(autouse=True)
def _seed() -> None:
    config.set_seed(0)


def test_inference_with_weights_from_a_pickle_one_by_one_and_in_batches(tmp_path: Path) -> None:
    """Three layers, W1 to W3 and b1 to b3 in a dict, whatever its order; sigmoids and a softmax."""
    sizes = (64, 50, 100, 10)
    given = {f"b{i}": normal(n, seed=i) for i, n in enumerate(sizes[1:], 1)}
    given |= {f"W{i}": normal(*pair, seed=9 + i) for i, pair in enumerate(itertools.pairwise(sizes), 1)}
    (tmp_path / "sample_weight.pkl").write_bytes(pickle.dumps(given))
    network = pickle.loads((tmp_path / "sample_weight.pkl").read_bytes())  # noqa: S301
    model = Sequential([Input((64,)), Dense(50, "sigmoid"), Dense(100, "sigmoid"), Dense(10, "softmax")])
    model.load_weights(network)

    x, truth = digits.load_data()[1]
    x = x.reshape(len(x), -1)[:50] / 16.0
    a = x
    for i in (1, 2):
        a = 1 / (1 + np.exp(-(a @ given[f"W{i}"] + given[f"b{i}"])))
    expected = a @ given["W3"] + given["b3"]
    whole = model.predict(x, batch_size=20, verbose=0)
    single = np.concatenate([model.predict_on_batch(row[None]) for row in x])
    assert_close(whole, activations.softmax(expected), 1e-5)
    assert_close(single, whole, 1e-6)
    assert (single.argmax(1) == expected.argmax(1)).all()
    assert (model.predict_classes(x, verbose=0) == expected.argmax(1)).all()
    accuracy = metrics.SparseCategoricalAccuracy()
    accuracy.update_state(truth[:50], whole)
    assert accuracy.result() == pytest.approx((expected.argmax(1) == truth[:50]).mean())


def test_dropout_by_half_is_half_the_weight_afterwards() -> None:
    """A weight of 1 counts 0.5 after a training without scale: exactly what the scaled form has with a weight of 0.5."""
    x = normal(32, 8).astype(np.float32)
    layer = Dropout(0.5, seed=3)
    scaled = np.asarray(layer(x, training=True))
    mask = (scaled != 0).astype(np.float32)
    classic, inverted = np.full((8, 1), 1.0, np.float32), np.full((8, 1), 0.5, np.float32)
    np.testing.assert_array_equal(scaled, x * mask * 2)
    assert_bits((x * mask) @ classic, scaled @ inverted)  # in training
    assert_bits(x @ (classic * 0.5), np.asarray(layer(x)) @ inverted)  # afterwards


def test_batch_normalization_counts_what_is_not_trained(capsys: pytest.CaptureFixture[str]) -> None:
    Sequential([Input((784,)), Dense(300), BatchNormalization(), Dense(10)]).summary()
    text = capsys.readouterr().out
    assert "Total params: 239,710" in text
    assert "Trainable params: 239,110" in text
    assert "Non-trainable params: 600" in text


def test_sparse_and_one_hot_cross_entropy_are_the_same() -> None:
    p = activations.softmax(normal(50, 10))
    y = np.arange(50) * 7 % 10
    sparse = losses.SparseCategoricalCrossentropy(reduction="none")(y, p)
    assert_close(sparse, losses.CategoricalCrossentropy(reduction="none")(to_categorical(y, 10), p), 1e-7)
    by_name = losses.get("sparse_categorical_crossentropy")
    assert type(by_name) is type(losses.SparseCategoricalCrossentropy())


def test_reductions() -> None:
    """A loss per sample, their sum (the cost), their mean."""
    y, out = [[1.0], [1.0], [0.0]], [[1.0], [0.9997], [0.1192]]
    each = losses.MeanSquaredError(reduction="none")(y, out)
    np.testing.assert_allclose(each, [0.0, 9.0e-8, 0.01420864], rtol=1e-3, atol=1e-12)
    assert float(losses.MeanSquaredError(reduction="sum")(y, out)) == pytest.approx(float(each.sum()), rel=1e-6)
    assert float(losses.MeanSquaredError()(y, out)) == pytest.approx(float(each.mean()), rel=1e-6)


def test_twenty_epochs_of_a_hundred_batches_are_two_thousand_updates() -> None:
    model = Sequential([Input((3,)), Dense(1)])
    model.compile("sgd", "mse")
    model.fit(normal(10_000, 3), normal(10_000, 1), batch_size=100, epochs=20, verbose=0)
    assert model.optimizer is not None
    assert int(model.optimizer.iterations[0]) == 2000


def test_steps_of_adagrad_only_shrink() -> None:
    p, optimizer = Parameter("w", np.array([0.0])), optimizers.Adagrad(0.1)
    optimizer.build([p])
    places = [0.0]
    for _ in range(50):
        optimizer.apply([np.array([2.0])], [p])
        places.append(float(p.value[0]))
    steps = np.abs(np.diff(places))
    assert (np.diff(steps) < 0).all()
    expected = [0.1 * 2 / np.sqrt(0.1 + 4 * t + 1e-7) for t in range(1, 51)]
    assert_close(steps, np.array(expected), 2e-6)


def test_the_regularizers_of_the_examples() -> None:
    layer = Dense(
        64,
        kernel_regularizer=regularizers.L1L2(l1=1e-5, l2=1e-4),
        bias_regularizer=regularizers.L2(1e-4),
        activity_regularizer=regularizers.L2(1e-5),
    )
    model = Sequential([Input((5,)), layer])
    model.set_weights([normal(5, 64), normal(64, seed=1)])
    kernel, bias = (w.astype(np.float64) for w in model.get_weights())
    x = normal(3, 5).astype(np.float32)
    y = np.asarray(model(x), np.float64)
    want = [1e-5 * np.abs(kernel).sum() + 1e-4 * (kernel**2).sum(), 1e-4 * (bias**2).sum(), 1e-5 * (y**2).sum() / 3]
    np.testing.assert_allclose(model.losses, want, rtol=1e-5)


def test_weight_decay_spares_biases() -> None:
    """l2(0.01) on a kernel: a gradient of 2 * 0.01 * w besides the loss's; nothing for the bias."""

    def weights(regularizer: regularizers.Regularizer | None) -> list[Array]:
        config.set_seed(1)
        model = Sequential([Input((4,)), Dense(64, kernel_regularizer=regularizer, bias_initializer="ones")])
        start = model.get_weights()
        model.compile(optimizers.SGD(0.5), "mse")
        model.train_on_batch(normal(8, 4), normal(8, 64, seed=1))
        return [*start, *model.get_weights()]

    plain, decayed = weights(None), weights(regularizers.L2(0.01))
    assert_close(plain[2] - decayed[2], 0.5 * 2 * 0.01 * plain[0], 1e-6)
    assert_bits(plain[3], decayed[3])


@pytest.mark.parametrize(("start", "learns"), [(0.01, False), ("xavier", True), ("he", True)])
def test_small_initial_values_do_not_learn_digits(start: float | str, learns: bool) -> None:
    """Four layers of 100 relus: with a deviation of 0.01 the loss stays near ln 10 = 2.303."""
    (x, y), _ = digits.load_data()
    layers = [Dense(100, "relu", kernel_initializer=start) for _ in range(4)]
    model = Sequential([Input((64,)), *layers, Dense(10, "softmax", kernel_initializer=start)])
    model.compile(optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    loss = model.fit(x.reshape(len(x), -1) / 16.0, y, batch_size=128, epochs=40, verbose=0).history["loss"][-1]
    if learns:
        assert loss < 2.0
    else:
        assert loss == pytest.approx(np.log(10), abs=0.01)


# ---------------------------------------------------------------- losses and nets compared


def test_cross_entropy_learns_digits_faster_than_the_squared_error() -> None:
    (x, y), _ = digits.load_data()
    epochs = {}
    for loss in ("categorical_crossentropy", "mse"):
        config.set_seed(0)
        model = Sequential([Input((64,)), Dense(30, "sigmoid"), Dense(10, "softmax")])
        model.compile(optimizers.SGD(0.5), loss, metrics=["accuracy"])
        fitted = model.fit(x.reshape(len(x), -1) / 16.0, to_categorical(y, 10), epochs=30, verbose=0)
        epochs[loss] = int(np.argmax(np.array([*fitted.history["accuracy"], 1.0]) > 0.9))
    assert epochs["categorical_crossentropy"] < 10 < epochs["mse"]


def test_a_linear_layer_with_hinge_loss_is_a_support_vector_machine() -> None:
    """Breast cancer, standardized: within two points of scikit-learn's machine."""
    load = pytest.importorskip("sklearn.datasets").load_breast_cancer
    machine = pytest.importorskip("sklearn.svm").LinearSVC(loss="hinge", max_iter=100_000, random_state=0)
    x, y = load(return_X_y=True)
    x, y = (x - x.mean(0)) / x.std(0), 2 * y - 1
    held_out = np.arange(len(x)) % 4 == 0
    model = Sequential([Input((30,)), Dense(1, kernel_regularizer=regularizers.L2(0.01))])
    model.compile(optimizers.Adam(0.01), "hinge")
    model.fit(x[~held_out], y[~held_out], epochs=60, verbose=0)
    ours = 2 * model.predict_classes(x[held_out], verbose=0, threshold=0) - 1
    theirs = machine.fit(x[~held_out], y[~held_out]).score(x[held_out], y[held_out])
    assert (ours == y[held_out]).mean() == pytest.approx(theirs, abs=0.02)


def test_the_error_of_a_fitted_function_falls_with_the_width() -> None:
    """One hidden layer comes as close to a function as it has units for."""
    x = np.linspace(-1, 1, 200)[:, None]
    errors = []
    for width in (1, 3, 12, 50):
        config.set_seed(0)
        hidden = Dense(width, "tanh", kernel_initializer=10.0, bias_initializer=5.0)
        model = Sequential([Input((1,)), hidden, Dense(1)])
        model.compile(optimizers.Adam(0.02), "mse")
        errors.append(model.fit(x, np.sin(12 * x), batch_size=200, epochs=1000, verbose=0).history["loss"][-1])
    assert errors[0] > errors[1] > 20 * errors[2] > 40 * errors[3]


def test_accuracy_is_that_of_another_package() -> None:
    score = pytest.importorskip("sklearn.metrics").accuracy_score
    y, p = np.arange(101) * 3 % 4, normal(101, 4)
    metric = metrics.SparseCategoricalAccuracy()
    metric.update_state(y, p)
    assert metric.result() == pytest.approx(score(y, p.argmax(1)))


def test_batch_normalization_is_noisier_in_smaller_batches() -> None:
    """How far the output in training is from that in use, once the moving statistics are those of all samples."""
    x = (2 + 3 * normal(4096, 3)).astype(np.float32)
    layer = BatchNormalization(momentum=0.0)
    layer(x, training=True)
    rest, noise = np.asarray(layer(x)), []
    layer.momentum = 1.0  # the moving statistics stay
    for size in (4, 32, 256):
        parts = [np.asarray(layer(part, training=True)) for part in np.split(x, len(x) // size)]
        noise.append(float(np.abs(np.concatenate(parts) - rest).mean()))
    assert noise[0] > 2 * noise[1] > 4 * noise[2] > 0


def test_shifted_sigmoids_add_up_to_a_softplus_and_nearly_to_a_relu() -> None:
    """sum over i >= 1 of sigmoid(x + 1/2 - i) is about log(1 + exp(x)), which far from 0 is max(x, 0)."""
    x = np.linspace(-8, 8, 81)
    total = sum(activations.sigmoid(x + 0.5 - i).astype(np.float64) for i in range(1, 60))
    assert_close(total, activations.softplus(x), 0.02)
    far = np.abs(x) > 4
    assert_close(total[far], activations.relu(x[far]), 0.05)
