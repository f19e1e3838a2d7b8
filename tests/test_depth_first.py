"""Calls that a replay makes image by image, from kernel to kernel, have the bits of one call after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tolerances import assert_bits

import fastnn
from fastnn import _core, config, layers, ops

Tensor = Any
Build = Callable[[Tensor, int], Tensor]


@pytest.fixture(autouse=True)
def _always() -> Iterator[None]:
    """However small the arrays are."""
    before = _core.set_depth_first_bytes(0)
    yield
    _core.set_depth_first_bytes(before)


def conv(filters: int, size: int = 3, **options: Any) -> layers.Layer:
    return layers.Conv2D(filters, size, padding="same", **options)


def normalized(x: Tensor, **options: Any) -> Tensor:
    return layers.ReLU()(layers.BatchNormalization(**options)(x))


def residual(x: Tensor, filters: int) -> Tensor:
    """Shortcuts, strides on the way and beside it."""
    x = normalized(conv(filters)(x))
    for out, strides in ((filters, 1), (filters, 1), (2 * filters, 2), (2 * filters, 1)):
        h = normalized(conv(out, strides=strides)(x))
        h = layers.BatchNormalization()(conv(out)(h))
        if strides > 1:
            x = layers.BatchNormalization()(conv(out, 1, strides=strides)(x))
        x = layers.ReLU()(layers.add([h, x]))
    return x


def convolutions(x: Tensor, filters: int) -> Tensor:
    """Biases, activations of every kind of epilogue, and layers between them that are not cut."""
    for activation in ("relu", "tanh", "relu", "linear"):
        x = conv(filters, activation=activation)(x)
    x = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x))
    x = conv(filters + 2, 5, activation="elu")(layers.BatchNormalization(center=False)(x))
    return conv(filters)(layers.MaxPooling2D(2)(x))


def frozen(x: Tensor, filters: int) -> Tensor:
    """Normalizations that do not learn, or by their moving statistics."""
    x = conv(filters)(normalized(conv(filters)(x), scale=False))
    fixed = layers.BatchNormalization()
    fixed.trainable = False
    return conv(filters, dilation_rate=2)(layers.ReLU()(fixed(x)))


def grouped(x: Tensor, filters: int) -> Tensor:
    x = normalized(conv(2 * filters)(x))
    x = layers.add([x, conv(2 * filters, groups=2)(x), conv(2 * filters, (1, 4), dilation_rate=(1, 3))(x)])
    return conv(filters, strides=(2, 1), use_bias=False)(normalized(x))


def trained(build: Build, shape: tuple[int, int, int], batch: int, filters: int, run_eagerly: bool) -> list[Any]:
    config.set_seed(3)
    x_in = layers.Input(shape)
    y = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(build(x_in, filters)))
    model = fastnn.Model(x_in, y)
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=run_eagerly)
    rng = np.random.default_rng(5)
    x, labels = rng.normal(1, 2, (batch, *shape)).astype(np.float32), rng.integers(0, 3, batch)
    logs = [model.train_on_batch(x, labels) for _ in range(4)]
    return [np.array(weight) for weight in model.get_weights()] + [np.array(logs)]


def assert_replay_is_eager(build: Build, shape: tuple[int, int, int], batch: int, filters: int) -> None:
    eager = trained(build, shape, batch, filters, True)
    recorded = trained(build, shape, batch, filters, False)
    assert len(eager) == len(recorded)
    for a, b in zip(eager, recorded, strict=True):
        assert_bits(b, a)


@pytest.mark.parametrize("build", [residual, convolutions, frozen, grouped])
@pytest.mark.parametrize(
    ("shape", "batch", "filters"), [((12, 10, 3), 64, 3), ((7, 5, 1), 17, 5), ((9, 16, 2), 100, 16)]
)
def test_networks(isa: str, threads: int, build: Build, shape: tuple[int, int, int], batch: int, filters: int) -> None:
    assert_replay_is_eager(build, shape, batch, filters)


@pytest.mark.parametrize("batch", [1, 2, 15, 16, 31, 65, 128])
@pytest.mark.parametrize("filters", [1, 4, 33])
def test_batches(threads: int, batch: int, filters: int) -> None:
    assert_replay_is_eager(residual, (8, 6, 3), batch, filters)


@pytest.mark.parametrize("threads", [1, 2, 3, 5, 16])
def test_threads(threads: int) -> None:
    config.set_num_threads(threads)
    assert_replay_is_eager(residual, (8, 6, 3), 64, 4)


def test_predictions(isa: str, threads: int) -> None:
    config.set_seed(3)
    x_in = layers.Input((10, 7, 2))
    model = fastnn.Model(x_in, residual(x_in, 5))
    x = images((33, 10, 7, 2))
    assert_bits(model.predict(x, batch_size=33, verbose=0), model(x))


def test_images_larger_than_a_cache(threads: int) -> None:
    assert_replay_is_eager(residual, (96, 80, 3), 3, 8)


# ---------------------------------------------------------------- which calls


def images(shape: tuple[int, ...], seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def batch_norm(x: Any, kept: list[Any]) -> Any:
    """Return y; what backward passes need of the rest is kept, as in a training step."""
    channels = x.shape[-1]
    mean, variance = np.zeros(channels, np.float32), np.ones(channels, np.float32)
    y, *rest = ops.batch_norm_forward(x, None, None, mean, variance, momentum=0.9, epsilon=1e-3)
    kept += rest
    return y


def assert_replay_writes(tape: ops.Tape, *arrays: Any) -> None:
    """Check that a replay gives arrays the bits that they have from the calls."""
    kept = [array.copy() for array in arrays]
    for array in arrays:
        array[...] = np.nan
    tape.run(1, 1.0)
    for array, before in zip(arrays, kept, strict=True):
        assert_bits(array, before)


def test_statistics_go_with_what_is_in_front_of_them() -> None:
    x, w = images((16, 6, 6, 4)), images((3, 3, 4, 4), 1)
    same: dict[str, Any] = {"padding": ((1, 1), (1, 1))}
    rest: list[Any] = []
    with ops.Tape() as tape:
        a = ops.conv2d_forward(x, w, **same)
        b = batch_norm(a, rest)
        c = ops.conv2d_forward(b, w, **same)
        d = batch_norm(c, rest)
        e = ops.conv2d_forward(d, w, **same)
    assert tape.groups() == [[0, 1], [1, 2, 3], [3, 4]]
    assert_replay_writes(tape, a, b, c, d, e)


def test_sums_that_need_nothing_of_the_last_group_go_with_the_one_before(threads: int) -> None:
    x, w = images((16, 20, 20, 4)), images((3, 3, 4, 4), 1)
    rest: list[Any] = []
    with ops.Tape() as tape:
        a = ops.conv2d_forward(x, w)
        b = ops.conv2d_forward(x, images((3, 3, 4, 4), 2))
        c = batch_norm(a, rest)
        d = batch_norm(b, rest)  # its sums are read while b is at hand
        e = batch_norm(d, rest)  # not so here: d is made in the second group
    assert tape.groups() == [[0, 1, 2, 3], [2, 3, 4]]
    assert_replay_writes(tape, a, b, c, d, e)


def test_other_calls_and_other_batches_end_a_group() -> None:
    x, w = images((16, 6, 6, 4)), images((1, 1, 4, 4), 1)
    with ops.Tape() as tape:
        a = ops.conv2d_forward(x, w)
        b = ops.conv2d_forward(a, w)
        c = ops.conv2d_forward(b.reshape(32, 3, 6, 4), w)
        d = ops.conv2d_forward(c, w)
        e = ops.activation_forward(d, "tanh")
        ops.conv2d_forward(e, w)
    assert tape.groups() == [[0, 1], [2, 3]]


def test_memory_used_again_ends_a_group() -> None:
    """Half the images lie where all of those of an earlier call lay: what is written there is still to be read."""
    x, narrow, wide = images((16, 20, 20, 8)), images((1, 1, 8, 4), 1), images((1, 1, 4, 8), 2)
    with ops.Tape() as tape:
        a = ops.conv2d_forward(x, images((1, 1, 8, 8), 3))  # 8 channels
        b = ops.conv2d_forward(a, narrow)
        del a
        c = ops.conv2d_forward(b, images((1, 1, 4, 4), 4))  # into the memory of a
        d = ops.conv2d_forward(c, wide)
    assert tape.groups() != [[0, 1, 2, 3]]
    assert_replay_writes(tape, d)


def test_memory_of_the_same_images_does_not() -> None:
    x, w = images((16, 6, 6, 4)), images((1, 1, 4, 4), 1)
    with ops.Tape() as tape:
        y = x
        for _ in range(5):
            y = ops.conv2d_forward(y, w)  # from two arrays in turn
    assert tape.groups() == [[0, 1, 2, 3, 4]]
    assert_replay_writes(tape, y)


def test_scratch_and_small_arrays_do_not_end_a_group(threads: int) -> None:
    """They do not lie where an array of the group was."""
    x, w, gamma, beta = images((16, 20, 20, 4)), images((3, 3, 4, 4), 1), images((4,), 2), images((4,), 3)
    mean, variance = images((4,), 4), np.ones(4, np.float32)
    with ops.Tape() as tape:
        y = x
        for _ in range(3):
            y = ops.conv2d_forward(y, w, padding=((1, 1), (1, 1)))
            y, *_ = ops.batch_norm_inference(y, gamma, beta, mean, variance, epsilon=1e-3)
    assert tape.groups() == [[0, 1, 2, 3, 4, 5]]
    assert_replay_writes(tape, y)


def test_small_arrays_stay_call_by_call() -> None:
    _core.set_depth_first_bytes(1 << 30)
    x, w = images((16, 6, 6, 4)), images((1, 1, 4, 4), 1)
    with ops.Tape() as tape:
        ops.conv2d_forward(ops.conv2d_forward(x, w), w)
    assert tape.groups() == []


def test_every_call_has_its_time() -> None:
    x, w = images((64, 12, 12, 8)), images((3, 3, 8, 8), 1)
    rest: list[Any] = []
    with ops.Tape() as tape:
        rest.append(ops.conv2d_forward(x, w))
        y = batch_norm(rest[0], rest)
        ops.conv2d_forward(y, w)
    seconds = tape.profile(3)
    assert tape.groups() == [[0, 1], [1, 2]]
    assert seconds.shape == (3, 4)
    assert (seconds > 0).all()
