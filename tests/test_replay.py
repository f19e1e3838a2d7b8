"""A recorded step is the eager step, bit for bit, whatever the model, the threads and the instruction set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest
from cases import FIRST, ObjectCase, every_optimizer
from gradcheck import normal
from tiny import Array, X, Y, assert_same, blobs, cnn, images, line, mlp, state, train
from tolerances import assert_bits

from fastnn import Sequential, callbacks, config, layers, losses, metrics, ops, optimizers
from fastnn.layers import Activation, Dense, Dropout, Input

Make = Callable[..., Sequential]


def assert_replay_is_eager(make: Make, x: Any, y: Any, **options: Any) -> None:
    with mock.patch.object(ops, "advance", wraps=ops.advance) as eager_steps:
        eager = train(make(run_eagerly=True), x, y, **options)
    with mock.patch.object(ops, "advance", wraps=ops.advance) as recorded_steps:
        recorded = train(make(run_eagerly=False), x, y, **options)
    assert recorded_steps.call_count < eager_steps.call_count / 2, "nothing was replayed"
    assert_same(recorded, eager)


# ---------------------------------------------------------------- every kind of model


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_models(isa: str, threads: int, kind: str) -> None:
    make, data = (mlp, blobs(71)) if kind == "mlp" else (cnn, images(47))
    assert_replay_is_eager(make, *data)


@every_optimizer
def test_optimizers(case: ObjectCase) -> None:
    assert_replay_is_eager(lambda **options: mlp(case.make(), **options), *blobs(71))


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("cls", ["Sparse", "Categorical", "Binary", "MeanSquaredError", "MeanAbsoluteError"])
def test_losses_and_metrics(cls: str, from_logits: bool) -> None:
    x, labels = blobs(71)
    y = labels if cls == "Sparse" else np.eye(3)[labels]
    activation = {"Sparse": "softmax", "Categorical": "softmax", "Binary": "sigmoid"}.get(cls, "tanh")
    name = {"Sparse": "SparseCategoricalCrossentropy", "Categorical": "CategoricalCrossentropy"}.get(cls, cls)
    options = {} if cls.startswith("Mean") else {"from_logits": from_logits}
    loss = getattr(losses, "BinaryCrossentropy" if cls == "Binary" else name)
    other = [] if cls == "Sparse" else ["mae", metrics.BinaryAccuracy(threshold=0.3)]

    def make(**compiled: Any) -> Sequential:
        config.set_seed(3)
        model = Sequential([Input((5,)), Dense(3, activation=None if from_logits else activation)])
        model.compile("adam", loss(**options), metrics=["accuracy", *other], **compiled)
        return model

    assert_replay_is_eager(make, x, y)


def test_every_layer_in_one_model(isa: str) -> None:
    def make(**compiled: Any) -> Sequential:
        config.set_seed(4)
        parts = [
            layers.Conv2D(4, (3, 2), data_format="channels_first", groups=2, activation="gelu"),
            layers.BatchNormalization(axis=1),
            layers.AveragePooling2D((2, 1), strides=(1, 2), padding="same", **FIRST),
            layers.LeakyReLU(0.1),
            layers.MaxPooling2D((1, 2), **FIRST),
            Activation("softplus"),
            layers.Flatten("channels_first"),
            layers.Reshape((4, -1)),
            Dense(3, "silu"),
            layers.ELU(0.5),
            Dropout(0.3),
            layers.BatchNormalization(trainable=False),
            layers.ReLU(0.05),
            layers.Softmax(),
            layers.Reshape((2, 2, 3)),
            layers.GlobalAveragePooling2D(keepdims=True),
            layers.Flatten(),
            Dense(3, activation="softmax"),
        ]
        model = Sequential([Input((2, 4, 9)), *parts])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["acc"], **compiled)
        return model

    shape = make().output_shape
    assert shape == (None, 3)
    assert_replay_is_eager(make, normal(47, 2, 4, 9), np.arange(47) % 3)


def test_outputs_with_more_axes() -> None:
    def make(**compiled: Any) -> Sequential:
        config.set_seed(4)
        model = Sequential([Input((4, 5)), Dense(7, "relu"), Dense(3, "softmax")])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **compiled)
        return model

    x, y = normal(47, 4, 5), np.arange(47 * 4).reshape(47, 4) % 3
    assert_replay_is_eager(make, x, y, sample_weight=np.arange(40) / 9)


@pytest.mark.parametrize("options", [{"shuffle": False}, {"sample_weight": np.arange(64) / 9}, {"batch_size": 1}])
def test_ways_to_fit(options: dict[str, Any]) -> None:
    assert_replay_is_eager(mlp, *blobs(71), **options)


# ---------------------------------------------------------------- threads, instruction sets


def large(kind: str) -> tuple[Make, Array, Array]:
    """Return a model and data whose steps are worth sharing among threads."""
    if kind == "mlp":
        x, y = blobs(150)
        return lambda **options: mlp(hidden=700, **options), x, y
    x, y = images(70, size=16)
    return lambda **options: cnn(size=16, filters=12, **options), x, y


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_threads_do_not_change_a_training(isa: str, kind: str) -> None:
    make, x, y = large(kind)
    config.set_num_threads(1)
    alone = train(make(), x, y, epochs=2, batch_size=32)
    for count in (2, 3):
        config.set_num_threads(count)
        assert_same(train(make(), x, y, epochs=2, batch_size=32), alone)


@pytest.mark.skipif("avx512" not in config.available_isas(), reason="needs two instruction sets that have FMA")
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_the_width_of_a_vector_does_not_change_a_training(kind: str) -> None:
    make, x, y = large(kind)
    runs = []
    for name in ("avx2", "avx512"):
        config.set_isa(name)
        runs.append(train(make(), x, y, epochs=2, batch_size=32))
    assert_same(*runs)


def test_backends_agree() -> None:
    x, y = images(47)
    native = train(cnn(), x, y, epochs=2)
    config.set_backend("numpy")
    twin = train(cnn(), x, y, epochs=2)
    assert native.keys() == twin.keys()
    for name, value in native.items():
        np.testing.assert_allclose(value, twin[name], rtol=2e-3, atol=2e-3, err_msg=name)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 16, 33, 47, 100])
def test_predictions_do_not_depend_on_the_batch_size(isa: str, threads: int, batch_size: int) -> None:
    x, y = images(47)
    model = cnn()
    model.fit(x[:16], y[:16], verbose=0)
    expected = np.concatenate([model.forward(x[i : i + 1]) for i in range(47)])
    assert_bits(model.predict(x, batch_size, verbose=0), expected)
    turned = model.predict(x[::-1], batch_size, verbose=0)
    assert_bits(np.ascontiguousarray(turned[::-1]), expected)


# ---------------------------------------------------------------- what changes between steps


def set_rate(model: Sequential) -> None:
    assert model.optimizer is not None
    model.optimizer.learning_rate *= 0.3


def set_hyper(name: str, value: Any) -> Callable[[Sequential], None]:
    return lambda model: setattr(model.optimizer, name, value)


def set_layer(index: int, name: str, value: Any) -> Callable[[Sequential], None]:
    return lambda model: setattr(model.layers[index], name, value)


def set_iterations(model: Sequential) -> None:
    assert model.optimizer is not None
    model.optimizer.iterations[0] = 0


def set_activation(model: Sequential) -> None:
    model.layers[0].activation = layers.Activation("tanh").activation  # type: ignore[attr-defined]


def spare(model: Sequential) -> None:
    assert model.optimizer is not None
    model.optimizer.exclude_from_weight_decay(var_names=["bias"])


CHANGES: dict[str, Callable[[Sequential], None]] = {
    "learning rate": set_rate,
    "weight decay": set_hyper("weight_decay", 0.3),
    "beta_1": set_hyper("beta_1", 0.5),
    "excluded from decay": spare,
    "step counter": set_iterations,
    "frozen": set_layer(0, "trainable", False),
    "frozen parameter": lambda model: setattr(model.layers[2].parameters[0], "trainable", False),
    "dropout": set_layer(1, "rate", 0.6),
    "seed of dropout": set_layer(1, "seed", 99),
    "activation": set_activation,
    "weights": lambda model: model.set_weights([w * 0.5 for w in model.get_weights()]),
    "reduction": lambda model: setattr(model.loss, "reduction", "sum"),
    "logits": lambda model: setattr(model.loss, "from_logits", True),
    "momentum of a normalization": set_layer(3, "momentum", 0.2),
    "epsilon of a normalization": set_layer(3, "epsilon", 0.5),
    "frozen normalization": set_layer(3, "trainable", False),
    "threads": lambda model: config.set_num_threads(1),
    "instruction set": lambda model: config.set_isa("baseline"),
}


def changeable(run_eagerly: bool) -> Sequential:
    config.set_seed(5)
    parts = [Dense(16, "relu"), Dropout(0.2), Dense(8), layers.BatchNormalization(), Dense(3, activation="softmax")]
    model = Sequential([Input((5,)), *parts])
    model.compile("adamw", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=run_eagerly)
    return model


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("when", ["the end of an epoch", "between"])
def test_changes_between_steps_are_honored(when: str, change: Callable[[Sequential], None]) -> None:
    x, y = blobs(71)

    def run(run_eagerly: bool, change: Callable[[Sequential], None] | None) -> dict[str, Array]:
        isa, count = config.isa(), config.num_threads()
        model = changeable(run_eagerly)
        steps = 4 if when == "the end of an epoch" else 6

        def hook(index: int, logs: Any) -> None:
            if change and model.optimizer and model.optimizer.iterations[0] == steps:
                change(model)

        name = "on_epoch_end" if when == "the end of an epoch" else "on_train_batch_end"
        watch = callbacks.LambdaCallback(**{name: hook})  # type: ignore[arg-type]
        result = train(model, x, y, epochs=3, callbacks=[watch])
        config.set_isa(isa)
        config.set_num_threads(count)
        return result

    eager, recorded = run(True, change), run(False, change)
    assert_same(recorded, eager)
    if change not in (CHANGES["threads"], CHANGES["instruction set"]):
        unchanged = run(False, None)
        assert any(not np.array_equal(recorded[name], unchanged[name]) for name in recorded)


def test_new_arrays_in_every_call() -> None:
    recorded, eager = mlp(), mlp(run_eagerly=True)
    for i in range(8):
        n = (33, 64, 33, 16)[i % 4]
        x, y = normal(n, 5, seed=i).astype(np.float32), np.arange(n) % 3
        w = None if i % 3 else np.arange(n) / n
        for model in (recorded, eager):
            model.fit(x.copy(), y.copy(), 16, sample_weight=w, verbose=0)
            model.evaluate(x.copy(), y.copy(), verbose=0)
            model.train_on_batch(x[: i + 1].copy(), y[: i + 1].copy())
        assert_bits(recorded.predict(x.copy(), verbose=0), eager.predict(x, verbose=0))
    assert_same(state(recorded), state(eager))


def test_uint8_and_float32_data_in_turn() -> None:
    recorded, eager = cnn(), cnn(run_eagerly=True)
    x, y = images(33)
    for kind in (np.uint8, np.float32, np.uint8, np.float64):
        for model in (recorded, eager):
            model.fit(x.astype(kind), y, 16, validation_data=(x[:5].astype(np.float32), y[:5]), verbose=0)
    assert_same(state(recorded), state(eager))


def test_many_batch_sizes_do_not_pile_up_memory() -> None:
    model, (x, _) = mlp(), blobs(200)
    expected = model.predict(x, verbose=0)
    sizes = []
    for batch_size in range(1, 60):
        assert_bits(model.predict(x, batch_size, verbose=0), expected)
        sizes.append(model._steps.bytes())
    assert max(sizes) <= 16 * 2**20


def test_two_models_in_turn_do_not_disturb_each_other() -> None:
    x, y = blobs(64)
    pixels, corners = images(40)
    together = mlp(), cnn()
    for _ in range(4):
        together[0].train_on_batch(x[:32], y[:32])
        together[1].fit(pixels, corners, 16, verbose=0)
        together[0].fit(x, y, 16, verbose=0)
        together[1].predict(pixels, verbose=0)
    one, other = mlp(), cnn()
    for _ in range(4):
        one.train_on_batch(x[:32], y[:32])
        one.fit(x, y, 16, verbose=0)
    for _ in range(4):
        other.fit(pixels, corners, 16, verbose=0)
    assert_same(state(together[0]), state(one))
    assert_same(state(together[1]), state(other))


def test_an_error_while_recording_leaves_a_model_that_works() -> None:
    model = line()
    model.compile("sgd", "mse", metrics=["sparse_categorical_accuracy"])  # wants labels: fails inside of the first step
    before = state(model)
    with pytest.raises(ValueError, match="sparse_categorical_accuracy"):
        model.fit(X, Y, 4, verbose=0)
    assert not ops.recording()
    assert_same(state(model), before)
    model.compile(optimizers.SGD(), "mse")
    model.fit(X, Y, 4, shuffle=False, verbose=0)
    plain = line(run_eagerly=True)
    plain.fit(X, Y, 4, shuffle=False, verbose=0)
    assert_same(state(model), state(plain))
