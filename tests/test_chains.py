"""Calls that one kernel makes: the same as one after the other, and only where nobody can tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import layers, ops
from fastnn.chains import NormalizationChain

Tensor = Any
Build = Callable[[Tensor], Tensor]
LABELS = 3


def normalized(x: Tensor, filters: int = 6, **options: Any) -> Tensor:
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
    return layers.BatchNormalization(**options)(x)


def plain(x: Tensor) -> Tensor:
    return layers.ReLU()(normalized(x))


def identity(x: Tensor) -> Tensor:
    x = plain(x)
    return layers.ReLU()(layers.add([x, normalized(x)]))


def residual_last(x: Tensor) -> Tensor:
    x = plain(x)
    return layers.Activation("relu")(layers.add([normalized(x), x]))


def two_norms(x: Tensor) -> Tensor:
    return layers.ReLU()(layers.add([normalized(plain(x), 5), normalized(x, 5)]))


def without_parameters(x: Tensor) -> Tensor:
    x = plain(x)
    return layers.ReLU()(layers.add([x, normalized(x, center=False, scale=False)]))


def frozen(x: Tensor) -> Tensor:
    x = plain(x)
    return layers.ReLU()(layers.add([x, normalized(x, trainable=False)]))


def read_early(x: Tensor) -> Tensor:
    """The shortcut is read by another layer between the normalization and the sum."""
    x = plain(x)
    y = normalized(x)
    z = layers.MaxPooling2D(1)(x)
    return layers.add([layers.ReLU()(layers.add([x, y])), z])


def sixteen(x: Tensor) -> Tensor:
    """As many channels as a vector has lanes."""
    x = layers.ReLU()(normalized(x, 16))
    return layers.ReLU()(layers.add([x, normalized(x, 16)]))


CHAINS: dict[str, tuple[Build, int]] = {
    "sixteen": (sixteen, 2),
    "plain": (plain, 1),
    "identity": (identity, 2),
    "residual_last": (residual_last, 2),
    "two_norms": (two_norms, 2),
    "without_parameters": (without_parameters, 2),
    "frozen": (frozen, 2),
    "read_early": (read_early, 2),
}


def model_of(build: Build, seed: int = 3) -> fastnn.Model:
    fastnn.utils.set_random_seed(seed)
    x = fastnn.Input((7, 5, 6))
    y = layers.Dense(LABELS, activation="softmax")(layers.GlobalAveragePooling2D()(build(x)))
    model = fastnn.Model(x, y)
    model.compile(fastnn.optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy")
    return model


def samples(n: int = 20) -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    return rng.standard_normal((n, 7, 5, 6), np.float32), rng.integers(0, LABELS, n)


def trained(model: fastnn.Model) -> list[Any]:
    x, y = samples()
    model.fit(x, y, 8, epochs=3, verbose=0, shuffle=False)
    return [*model.get_weights(), model.predict(x, verbose=0)]


def kernels(model: fastnn.Model) -> list[str]:
    """Return the kernels of a recorded training step."""
    x, y = samples()
    model.train_on_batch(x, y)
    return list(model._steps.last.tape.names())  # type: ignore[union-attr]


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("eager", [False, True])
def test_same_bits_as_one_after_the_other(name: str, eager: bool) -> None:
    build, count = CHAINS[name]
    chained, separate = model_of(build), model_of(build)
    assert len(chained.plan._chains) == count
    separate.plan._chains = []
    chained.run_eagerly = separate.run_eagerly = eager
    for a, b in zip(trained(chained), trained(separate)):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_chains_are_made_by_one_kernel(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fastnn.config.num_threads()
    fastnn.config.set_num_threads(threads)
    try:
        names = kernels(model_of(identity))
    finally:
        fastnn.config.set_num_threads(before)
    assert names.count("batch_norm_forward") == 2
    assert "activation_forward" not in names
    assert "activation_backward" not in names
    assert "add" not in names  # of the two gradients of the shortcut


def check_against_the_twin(model: fastnn.Model, x: Any, y: Any) -> None:
    native = [model.predict(x, verbose=0), model.evaluate(x, y, verbose=0)]
    fastnn.config.set_backend("numpy")
    try:
        twin = [model.predict(x, verbose=0), model.evaluate(x, y, verbose=0)]
    finally:
        fastnn.config.set_backend("native")
    for a, b in zip(native, twin):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_twin_makes_chains_as_well() -> None:
    check_against_the_twin(model_of(identity), *samples())


def test_what_others_read_is_no_chain() -> None:
    x = fastnn.Input((7, 5, 6))
    norm = normalized(x)
    relu = layers.ReLU()(norm)
    assert len(fastnn.Model(x, relu).plan._chains) == 1
    assert not fastnn.Model(x, [relu, norm]).plan._chains
    assert not fastnn.Model(x, [relu, layers.MaxPooling2D(1)(norm)]).plan._chains
    total = layers.add([x, norm])
    assert not fastnn.Model(x, [layers.ReLU()(total), total]).plan._chains


def test_layers_called_twice_are_no_chain() -> None:
    x = fastnn.Input((7, 5, 6))
    relu = layers.ReLU()
    model = fastnn.Model(x, relu(layers.BatchNormalization()(relu(layers.BatchNormalization()(x)))))
    assert not model.plan._chains


def test_a_class_of_the_users_is_no_chain() -> None:
    class Louder(layers.BatchNormalization):
        recordable = True

        def forward(self, x: Any, training: bool = False) -> Any:
            return ops.add(super().forward(x, training), np.full(x.shape, 5, np.float32))

    x = fastnn.Input((4,))
    assert not fastnn.Model(x, layers.ReLU()(Louder()(x))).plan._chains


def test_other_activations_go_their_way() -> None:
    """The activation of a layer may be changed between two steps."""
    x = fastnn.Input((4,))
    after = layers.Activation("relu")
    model = fastnn.Model(x, after(layers.BatchNormalization()(x)))
    given = np.array([[-1.0, 2.0, -3.0, 4.0]], np.float32)
    assert model.predict(given, verbose=0).min() == 0
    after.activation = fastnn.activations.get("linear")
    assert model.predict(given, verbose=0).min() < -2


def test_shortcuts_that_are_repeated_go_their_way() -> None:
    x = fastnn.Input((6, 4))
    row = layers.Dense(4)(layers.Flatten()(x))
    y = layers.ReLU()(layers.add([row, layers.BatchNormalization()(x)]))
    model = fastnn.Model(x, y)
    (chain,) = model.plan._chains
    assert chain == NormalizationChain((2, 3, 4), 0, chain.output, chain.inputs[1])
    given = np.random.default_rng(1).standard_normal((3, 6, 4), np.float32)
    assert model.predict(given, verbose=0).shape == (3, 6, 4)


def test_channels_first_go_their_way() -> None:
    x = fastnn.Input((4, 3))
    model = fastnn.Model(x, layers.ReLU()(layers.BatchNormalization(axis=1)(x)))
    given = np.random.default_rng(1).standard_normal((3, 4, 3), np.float32)
    expected = np.maximum(given / np.sqrt(np.float32(1 + 1e-3)), 0)
    np.testing.assert_allclose(model.predict(given, verbose=0), expected, rtol=1e-6)


# ---------------------------------------------------------------- convolution and max pooling


def lenet_like(x: Tensor) -> Tensor:
    x = layers.MaxPooling2D(2)(layers.Conv2D(5, 3, padding="same", activation="relu")(x))
    return layers.Flatten()(layers.MaxPooling2D((3, 2))(layers.Conv2D(7, (1, 2), activation="tanh")(x)))


def behind_a_relu(x: Tensor) -> Tensor:
    """The convolution below leaves its relu's derivative to the one that is pooled."""
    x = layers.Conv2D(5, 3, padding="same", activation="relu")(x)
    return layers.GlobalAveragePooling2D()(layers.MaxPooling2D(2)(layers.Conv2D(6, 3, padding="same")(x)))


def short_rows(x: Tensor) -> Tensor:
    return layers.GlobalAveragePooling2D()(layers.MaxPooling2D(2)(layers.Conv2D(6, 2, activation="sigmoid")(x)))


def frozen_convolution(x: Tensor) -> Tensor:
    x = layers.Conv2D(5, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D(2)(layers.Conv2D(4, 3, padding="same", activation="relu", trainable=False)(x))
    return layers.GlobalAveragePooling2D()(x)


def without_bias(x: Tensor) -> Tensor:
    return layers.GlobalAveragePooling2D()(
        layers.MaxPooling2D(2)(layers.Conv2D(4, 3, strides=(1, 2), use_bias=False)(x))
    )


def sequences(x: Tensor) -> Tensor:
    x = layers.Reshape((54, 6))(x)
    x = layers.MaxPooling1D(3)(layers.Conv1D(7, 5, padding="causal", activation="relu")(x))
    return layers.Flatten()(layers.MaxPooling1D(2)(layers.Conv1D(4, 3, dilation_rate=2, activation="tanh")(x)))


POOLED: dict[str, tuple[Build, int]] = {
    "sequences": (sequences, 2),
    "lenet_like": (lenet_like, 2),
    "behind_a_relu": (behind_a_relu, 1),
    "short_rows": (short_rows, 1),
    "frozen_convolution": (frozen_convolution, 1),
    "without_bias": (without_bias, 1),
}


def pooled_model(build: Build) -> fastnn.Model:
    fastnn.utils.set_random_seed(3)
    x = fastnn.Input((9, 12, 3))
    model = fastnn.Model(x, layers.Dense(LABELS)(build(x)))
    loss = fastnn.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(fastnn.optimizers.SGD(0.05, momentum=0.9), loss)
    return model


def images(n: int = 20) -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    return rng.standard_normal((n, 9, 12, 3), np.float32), rng.integers(0, LABELS, n)


@pytest.mark.parametrize("name", POOLED)
def test_recorded_and_eager_pooled_convolutions_have_the_same_bits(name: str) -> None:
    build, count = POOLED[name]
    results = []
    for eager in (False, True):
        model, (x, y) = pooled_model(build), images()
        assert len(model.plan._chains) == count
        model.run_eagerly = eager
        model.fit(x, y, 8, epochs=3, verbose=0, shuffle=False)
        results.append([*model.get_weights(), model.predict(x, verbose=0)])
    for a, b in zip(*results):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("name", POOLED)
def test_pooled_convolutions_are_as_one_after_the_other(name: str) -> None:
    """Forward to the bit; gradients are sums in another order, without the pixels that are in no window."""
    build, _ = POOLED[name]
    chained, separate = pooled_model(build), pooled_model(build)
    separate.plan._chains = []
    x, y = images()
    assert np.array_equal(chained.predict(x, verbose=0), separate.predict(x, verbose=0))
    for model in (chained, separate):
        model.fit(x, y, 8, epochs=3, verbose=0, shuffle=False)
    for a, b in zip(chained.get_weights(), separate.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_pooled_convolution_is_one_kernel(threads: int) -> None:
    before, (x, y) = fastnn.config.num_threads(), images()
    fastnn.config.set_num_threads(threads)
    try:
        model = pooled_model(behind_a_relu)
        model.train_on_batch(x, y)
        names = list(model._steps.last.tape.names())  # type: ignore[union-attr]
    finally:
        fastnn.config.set_num_threads(before)
    assert [name for name in names if "pool" in name] == [
        "max_pooled_conv2d_forward",
        "max_pooled_conv2d_backward_filter",
        "max_pooled_conv2d_backward_input",
    ]
    assert "activation_backward" not in names  # it is taken where dx is made


def test_the_twin_makes_pooled_convolutions_as_well() -> None:
    check_against_the_twin(pooled_model(lenet_like), *images())


POOLINGS_APART: dict[str, Callable[[], Any]] = {
    "overlapping": lambda: layers.MaxPooling2D(3, 2),
    "same": lambda: layers.MaxPooling2D(2, padding="same"),
    "channels first": lambda: layers.MaxPooling2D(2, data_format="channels_first"),
    "penalized": lambda: layers.MaxPooling2D(2, activity_regularizer="l2"),
    "average": lambda: layers.AveragePooling2D(2),
    "large": lambda: layers.MaxPooling2D((3, 100)),
}


@pytest.mark.parametrize("name", POOLINGS_APART)
def test_other_poolings_go_their_way(name: str) -> None:
    x = fastnn.Input((9, 204, 3))
    model = fastnn.Model(x, POOLINGS_APART[name]()(layers.Conv2D(4, 3, padding="same", activation="relu")(x)))
    assert not model.plan.held_chains()
    given = np.random.default_rng(1).standard_normal((2, 9, 204, 3), np.float32)
    assert model.predict(given, verbose=0).shape[1:] == model.output_shape[1:]


def test_other_convolutions_go_their_way() -> None:
    x = fastnn.Input((9, 12, 3))

    class Louder(layers.Conv2D):
        pass

    for convolution in (
        Louder(4, 3),
        layers.Conv2D(4, 3, activation="softmax"),
        layers.Conv2D(4, 3, activation="gelu"),
        layers.Conv2D(4, 3, activity_regularizer="l2"),
        layers.DepthwiseConv2D(3),
    ):
        model = fastnn.Model(x, layers.MaxPooling2D(2)(convolution(x)))
        assert not model.plan.held_chains()


def test_a_convolution_that_others_read_is_made() -> None:
    x = fastnn.Input((9, 12, 3))
    y = layers.Conv2D(4, 3)(x)
    pooled = layers.MaxPooling2D(2)(y)
    assert len(fastnn.Model(x, pooled).plan._chains) == 1
    assert not fastnn.Model(x, [pooled, y]).plan._chains
    assert not fastnn.Model(x, [pooled, layers.Flatten()(y)]).plan._chains
    twice = layers.Conv2D(3, 3, padding="same")
    assert not fastnn.Model(x, layers.MaxPooling2D(1)(twice(layers.MaxPooling2D(1)(twice(x))))).plan._chains


def test_activations_may_change_between_steps() -> None:
    x = fastnn.Input((9, 12, 3))
    convolution = layers.Conv2D(4, 3, activation="relu")
    model = fastnn.Model(x, layers.MaxPooling2D(2)(convolution(x)))
    given = images()[0]
    assert model.predict(given, verbose=0).min() == 0
    convolution.activation = fastnn.activations.get("gelu")
    assert model.predict(given, verbose=0).min() < 0
