"""Gradients of values that several layers read: a convolution adds its own to those of the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import layers, ops
from fastnn.layers.convolution import Convolution

Tensor = Any
Build = Callable[[Tensor], Tensor]


def conv(filters: int = 4, **options: Any) -> layers.Layer:
    return layers.Conv2D(filters, 3, padding="same", **options)


def shortcut(x: Tensor) -> Tensor:
    h = conv(activation="relu")(x)
    return layers.add([conv(activation="tanh")(h), h])


def strided(x: Tensor) -> Tensor:
    h = conv(5, activation="relu")(x)
    return layers.add([conv(strides=2)(h), layers.Conv2D(4, 1, strides=2)(h)])


def three_readers(x: Tensor) -> Tensor:
    h = conv(activation="relu")(x)
    return layers.add([conv()(h), layers.MaxPooling2D(1)(h), conv()(h), h])


def normalized(x: Tensor) -> Tensor:
    h = layers.ReLU()(layers.BatchNormalization()(conv()(x)))
    h = layers.ReLU()(layers.add([layers.BatchNormalization()(conv()(h)), h]))
    return layers.add([conv()(h), layers.AveragePooling2D(3, 1, padding="same")(h), h])


def sum_of_one_gradient(x: Tensor) -> Tensor:
    """The sum gives one array to both: that of h is added to while the dense layer's product still needs it."""
    h, u = conv(activation="relu")(x), conv(activation="relu")(x)
    return layers.add([layers.concatenate([conv(2)(h), conv(2)(h)]), layers.add([layers.Dense(4)(u), h])])


def without_a_relu(x: Tensor) -> Tensor:
    h = conv(activation="tanh")(x)
    return layers.add([conv()(h), h, h])


def grouped(x: Tensor) -> Tensor:
    h = conv(activation="relu")(x)
    return layers.add([conv(groups=2)(h), conv()(h), layers.DepthwiseConv2D(3, padding="same")(h)])


def called_twice(x: Tensor) -> Tensor:
    layer, h = conv(activation="relu"), conv(activation="relu")(x)
    return layers.add([layer(layer(h)), h])


def pooled_behind(x: Tensor) -> Tensor:
    """The first reader is one kernel with the pooling behind it, which does not add."""
    h = conv(activation="relu")(x)
    return layers.concatenate([layers.Flatten()(layers.MaxPooling2D(2)(conv()(h))), layers.Flatten()(conv()(h))])


def sequence(x: Tensor) -> Tensor:
    h = layers.Conv1D(4, 3, padding="same", activation="relu")(layers.Reshape((30, 3))(x))
    return layers.add([layers.Conv1D(4, 5, padding="causal")(h), layers.Conv1D(4, 1)(h), h])


def residual(x: Tensor) -> Tensor:
    for _ in range(3):
        h = layers.BatchNormalization()(conv()(layers.ReLU()(layers.BatchNormalization()(conv()(x)))))
        x = layers.ReLU()(layers.add([h, layers.Conv2D(4, 1)(x)]))
    return x


GRAPHS: dict[str, Build] = {
    build.__name__: build
    for build in (
        shortcut,
        strided,
        three_readers,
        normalized,
        sum_of_one_gradient,
        without_a_relu,
        grouped,
        called_twice,
        pooled_behind,
        sequence,
        residual,
    )
}
every_graph = pytest.mark.parametrize("name", GRAPHS)


def model_of(build: Build) -> fastnn.Model:
    fastnn.utils.set_random_seed(3)
    x = fastnn.Input((6, 5, 3))
    model = fastnn.Model(x, layers.Dense(3)(layers.Flatten()(build(x))))
    model.compile(fastnn.optimizers.SGD(0.005, momentum=0.9), "mse")
    return model


def samples(n: int = 10) -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    return rng.standard_normal((n, 6, 5, 3), np.float32), rng.standard_normal((n, 3), np.float32)


def trained(build: Build, eager: bool = False) -> list[Any]:
    model = model_of(build)
    model.run_eagerly = eager
    x, y = samples()
    model.fit(x, y, 5, epochs=2, verbose=0, shuffle=False)
    return list(model.get_weights())


@every_graph
def test_the_sum_of_all(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    adding = trained(GRAPHS[name])
    monkeypatch.setattr(Convolution, "adds_onto", lambda self: False)
    for a, b in zip(adding, trained(GRAPHS[name])):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


@every_graph
def test_as_the_twin(name: str) -> None:
    native = trained(GRAPHS[name])
    fastnn.config.set_backend("numpy")
    try:
        twin = trained(GRAPHS[name])
    finally:
        fastnn.config.set_backend("native")
    for a, b in zip(native, twin):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


@every_graph
def test_eager_and_recorded_have_the_same_bits(name: str) -> None:
    for a, b in zip(trained(GRAPHS[name]), trained(GRAPHS[name], eager=True)):
        assert np.array_equal(a, b)


def test_a_copy_has_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a gradient may be changed where it lies is a question of time only."""
    in_place = trained(normalized)
    monkeypatch.setattr(ops, "is_alone", lambda arrays, i: False)
    for a, b in zip(in_place, trained(normalized)):
        assert np.array_equal(a, b)


def test_gradients_of_outputs_are_not_changed() -> None:
    x = fastnn.Input((6, 5, 3))
    h = conv(activation="relu")(x)
    model = fastnn.Model(x, [h, conv()(h), h])
    outputs = model.plan.forward([samples()[0]], training=True)
    given = [np.ones_like(y) for y in outputs]
    model.plan.backward(given, input_gradients=True)
    for gradient in given:
        assert (gradient == 1).all()


def test_no_pass_is_made_for_sums_alone() -> None:
    model = model_of(residual)
    x, y = samples()
    model.train_on_batch(x, y)
    calls = model._steps.last.tape.calls()  # type: ignore[union-attr]
    backward = [call.kernel for call in calls if call.label.endswith("/backward")]
    assert "add" not in backward
    assert "activation_backward" not in backward  # the last relu, behind which there is none, is its normalization's


class Twice(layers.Conv2D):
    """A layer of the user's, which knows nothing of what its base is asked for."""

    recordable = True

    def backward(self, dy: Any) -> Any:
        dx = super().backward(dy)
        return ops.add(dx, dx)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_layers_of_the_users_give_their_own_gradient_alone(activation: str) -> None:
    def gradients(kind: type[layers.Conv2D], factor: float) -> list[Any]:
        fastnn.utils.set_random_seed(3)
        x = fastnn.Input((6, 5, 3))
        h = conv(activation=activation)(x)
        model = fastnn.Model(x, [kind(4, 3, padding="same")(h), layers.MaxPooling2D(1)(h)])
        outputs = model.plan.forward([samples()[0]], training=True)
        rng = np.random.default_rng(7)
        given = [rng.standard_normal(y.shape, np.float32) for y in outputs]
        given[0] *= np.float32(factor)
        return model.plan.backward(given, input_gradients=True)

    (own,), (plain,) = gradients(Twice, 1), gradients(layers.Conv2D, 2)
    np.testing.assert_allclose(own, plain, rtol=1e-5, atol=1e-5)


class Shifted(layers.Conv2D):
    """Its activation's derivative is to be taken of all that comes from above, and of one more."""

    recordable = True

    def backward(self, dy: Any) -> Any:
        return super().backward(ops.add(dy, np.ones_like(dy)))


def test_the_derivative_of_a_relu_of_the_users_stays_there() -> None:
    def gradient(kind: type[layers.Conv2D], more: float) -> Any:
        fastnn.utils.set_random_seed(3)
        x = fastnn.Input((6, 5, 3))
        h = kind(4, 3, padding="same", activation="relu")(x)
        model = fastnn.Model(x, conv(4)(h) if more == 0 else [conv(4)(h), layers.MaxPooling2D(1)(h)])
        outputs = model.plan.forward([samples()[0]], training=True)
        given = [np.random.default_rng(7).standard_normal(outputs[0].shape, np.float32)]
        given += [np.full_like(y, more) for y in outputs[1:]]
        return model.plan.backward(given, input_gradients=True)[0]

    np.testing.assert_allclose(gradient(Shifted, 0), gradient(layers.Conv2D, 1), rtol=1e-5, atol=1e-5)


def test_an_array_that_others_see_is_not_alone() -> None:
    arrays: list[Any] = [np.ones(3, np.float32), np.ones((2, 3), np.float32)[:, 1:], np.ones(3), None]
    assert ops.is_alone(arrays, 0)
    kept = arrays[0]
    assert not ops.is_alone(arrays, 0)
    del kept
    arrays[0] = arrays[0].reshape(1, 3)
    assert ops.is_alone(arrays, 0)
    base = arrays[0].base
    assert not ops.is_alone(arrays, 0)
    del base
    assert ops.is_alone(arrays, 0)
    for other in (1, 2, 3):  # rows with gaps, of another dtype, none
        assert not ops.is_alone(arrays, other)


def test_memory_of_others_is_not_alone() -> None:
    arrays: list[Any] = [
        ops.empty((2, 3)),
        np.frombuffer(bytearray(24), np.float32),
        np.from_dlpack(np.ones(3, np.float32)),
    ]
    arrays += [np.frombuffer(bytearray(24), np.float32).reshape(2, 3), ops.empty((6,)).reshape(2, 3)]
    assert [ops.is_alone(arrays, i) for i in range(5)] == [True, False, False, False, True]
