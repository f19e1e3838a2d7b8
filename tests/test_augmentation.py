"""Layers that prepare images and change them at random: what they do, when, and that it can be repeated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import Array
from cases_shapes import RANDOM
from errors import check
from gradcheck import normal
from tolerances import assert_bits

from fastnn import Input, Model, Sequential, config, layers
from fastnn.layers import Conv2D, Dense, GlobalAveragePooling2D

every_random = pytest.mark.parametrize("case", RANDOM, ids=str)


def images(n: int = 6, shape: tuple[int, ...] = (8, 7, 2)) -> Array:
    return normal(n, *shape, seed=4).astype(np.float32)


@every_random
def test_training_only(case: Any) -> None:
    layer, x = case.make(), case.batch(6)
    first, later = layer.forward(x), layer.forward(x)
    assert_bits(first, later)
    assert layer.counter[0] == 0
    if case.cls != "RandomCrop":
        assert_bits(first, x)


@every_random
def test_passes_differ_and_can_be_repeated(isa: str, case: Any) -> None:
    if case.label == "too small":
        return
    layer, x = case.make(), case.batch(9)
    passes = [layer.forward(x, training=True) for _ in range(3)]
    assert not np.array_equal(passes[0], passes[1])
    assert not np.array_equal(passes[1], passes[2])
    for counter in layer.counters.values():
        counter[...] = 1
    assert_bits(layer.forward(x, training=True), passes[1])
    again = case.make()
    config.set_num_threads(2)
    assert_bits(again.forward(x, training=True), passes[0])
    other = type(layer)(**{**case.arguments, "seed": 12})
    assert not np.array_equal(other.forward(x, training=True), passes[0])


@every_random
def test_recorded_training_is_eager_training(case: Any, threads: int) -> None:
    first = case.arguments.get("data_format") == "channels_first"

    def train(run_eagerly: bool) -> Any:
        config.set_seed(3)
        layout = {"data_format": "channels_first"} if first else {}
        net = Sequential(
            [
                Input(case.shape),
                Conv2D(case.shape[0 if first else -1], 3, padding="same", **layout),
                getattr(layers, case.cls)(**case.arguments),
                GlobalAveragePooling2D(**layout),
                Dense(1),
            ]
        )
        net.compile("sgd", "mse", run_eagerly=run_eagerly)
        net.fit(case.batch(20), normal(20, 1), epochs=3, batch_size=6, verbose=0, shuffle=False)
        return net

    fast, slow = train(False), train(True)
    for p, q in zip(fast.weights, slow.weights):
        assert_bits(p.value, q.value)


def test_a_changed_factor_changes_the_recorded_step() -> None:
    layer = layers.RandomBrightness((0.25, 0.25), value_range=(0, 1))
    net = Model(x := Input((2, 2, 1)), GlobalAveragePooling2D()(layer(x)))
    net.compile("sgd", "mse")
    x_data, y = np.full((8, 2, 2, 1), 0.5), np.full((8, 1), 0.75)
    losses = []
    for factor in (0.25, 0.5, 0.25):
        layer.factor = (factor, factor)
        losses.append(net.fit(x_data, y, epochs=1, batch_size=4, verbose=0).history["loss"][0])
    assert losses == [0.0, 0.0625, 0.0]


@pytest.mark.parametrize("name", ["RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomCrop"])
def test_values_stay_in_their_range(name: str) -> None:
    arguments: dict[str, tuple[Any, ...]] = {
        "RandomRotation": (0.5,),
        "RandomZoom": (0.6,),
        "RandomTranslation": (0.7, 0.7),
        "RandomCrop": (5, 5),
    }
    x = np.random.default_rng(3).uniform(0, 1, (50, 9, 8, 3)).astype(np.float32)
    y = getattr(layers, name)(*arguments.get(name, ()), seed=1)(x, training=True)
    assert y.min() >= 0
    assert y.max() <= np.float32(1 + 1e-6)
    for layer in (layers.RandomContrast(1.0, (0, 1)), layers.RandomBrightness(1.0, (0, 1)), layers.RandomErasing(1.0)):
        z = layer(x, training=True)
        assert z.min() >= 0
        assert z.max() <= (255 if isinstance(layer, layers.RandomErasing) else 1)


# ---------------------------------------------------------------- what each does


def test_flips() -> None:
    x = images(200)
    up, side = x[:, ::-1], x[:, :, ::-1]
    both = layers.RandomFlip(seed=1)(x, training=True)
    kinds = [x, up, side, up[:, :, ::-1]]
    counts = [sum(np.array_equal(y, kind[i]) for i, y in enumerate(both)) for kind in kinds]
    assert sum(counts) == 200
    assert min(counts) > 25
    for mode, kind in (("horizontal", side), ("vertical", up)):
        y = layers.RandomFlip(mode, seed=1)(x, training=True)
        same = [np.array_equal(y[i], x[i]) for i in range(200)]
        assert 70 < sum(same) < 130
        assert all(s or np.array_equal(y[i], kind[i]) for i, s in enumerate(same))


def test_crops_keep_their_pixels() -> None:
    x = np.broadcast_to(np.arange(9 * 8.0).reshape(1, 9, 8, 1), (60, 9, 8, 1))
    y = layers.RandomCrop(4, 5, seed=2)(x, training=True)
    places = {(int(part[0, 0, 0]) // 8, int(part[0, 0, 0]) % 8) for part in y}
    assert {p for p, _ in places} == set(range(6))
    assert {q for _, q in places} == set(range(4))
    for part in y:
        top, left = divmod(int(part[0, 0, 0]), 8)
        np.testing.assert_array_equal(part[..., 0], x[0, top : top + 4, left : left + 5, 0])
    whole = layers.RandomCrop(9, 8, seed=2)(x, training=True)
    np.testing.assert_array_equal(whole, x)


def test_in_use_a_random_crop_is_the_middle() -> None:
    x = images(3, (9, 8, 2))
    assert_bits(layers.RandomCrop(4, 5)(x), layers.CenterCrop(4, 5)(x))
    assert_bits(layers.RandomCrop(4, 5)(x), np.ascontiguousarray(x[:, 2:6, 1:6]))


def test_contrast_keeps_the_mean_and_brightness_the_differences() -> None:
    x = images()
    wide = {"value_range": (-100, 100), "seed": 3}
    y = layers.RandomContrast(0.5, **wide)(x, training=True)
    np.testing.assert_allclose(y.mean((1, 2)), x.mean((1, 2)), atol=1e-5)
    ratio = y.std((1, 2)) / x.std((1, 2))
    np.testing.assert_allclose(ratio, np.repeat(ratio[:, :1], 2, 1), rtol=1e-4)
    assert ((ratio > 0.5) & (ratio < 1.5)).all()
    assert ratio.std() > 0.1
    z = layers.RandomBrightness(0.01, **wide)(x, training=True) - x
    np.testing.assert_allclose(z, np.broadcast_to(z[:, :1, :1, :1], z.shape), atol=1e-5)
    assert (np.abs(z) <= 2).all()


def test_erased_rectangles() -> None:
    x = np.ones((300, 10, 12, 2))
    y = layers.RandomErasing((0.5, 0.5), (0.1, 0.3), fill_value=-1, value_range=(-1, 1), seed=5)(x, training=True)
    holes = y[..., 0] < 0
    assert 110 < holes.any((1, 2)).sum() < 190
    for hole in holes[holes.any((1, 2))]:
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        assert hole.sum() == len(rows) * len(columns)
        assert rows[-1] - rows[0] + 1 == len(rows) <= 6
    noise = layers.RandomErasing((1, 1), (0.5, 0.5), value_range=(2, 3), seed=5)(x, training=True)
    erased = noise[noise != 1]
    assert erased.min() >= 2
    assert erased.max() <= 3
    assert erased.std() == pytest.approx(np.sqrt(1 / 12), rel=0.05)
    squares = layers.Cutout(4, fill_value=0.0, seed=1)(x, training=True)
    assert {4 * 4} >= {int((1 - s[..., 0]).sum()) for s in squares if (1 - s[2:-2, 2:-2, 0]).sum() == 16}
    assert all(4 <= (1 - s[..., 0]).sum() <= 16 for s in squares)


# ---------------------------------------------------------------- fixed ones


def test_resizing_of_free_sizes() -> None:
    x = Input((None, None, 3))
    y = layers.Resizing(4, 5)(x)
    assert y.shape == (None, 4, 5, 3)
    net = Model(x, y)
    for size in ((8, 10), (3, 3), (4, 5)):
        image = np.full((2, *size, 3), 0.5)
        np.testing.assert_allclose(net(image), 0.5, rtol=1e-6)


def test_sizes_that_stay_change_nothing() -> None:
    x = images()
    for method in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"):
        assert_bits(layers.Resizing(8, 7, method)(x), x)
        assert_bits(layers.UpSampling2D(1, interpolation=method)(x), x)


def test_ratios_of_sides() -> None:
    x = np.arange(24.0).reshape(1, 4, 6, 1)
    assert_bits(
        layers.Resizing(4, 4, crop_to_aspect_ratio=True)(x), np.ascontiguousarray(x[:, :, 1:5]).astype(np.float32)
    )
    padded = layers.Resizing(6, 6, "nearest", pad_to_aspect_ratio=True, fill_value=-1)(x)
    assert (padded[:, [0, -1]] == -1).all()
    np.testing.assert_array_equal(padded[:, 1:-1], x)


def test_adapting() -> None:
    x = normal(50, 4, 3, seed=8) * 3 + 5
    for axis, rest in ((-1, (0, 1)), (1, (0, 2)), ((1, 2), (0,)), (None, (0, 1, 2))):
        layer = layers.Normalization(axis=axis)
        layer.adapt(x)
        y = layer(x)
        np.testing.assert_allclose(y.mean(rest), 0, atol=1e-5)
        np.testing.assert_allclose(y.std(rest), 1, atol=1e-5)
        back = layers.Normalization(axis=axis, invert=True)
        back.adapt(x)
        np.testing.assert_allclose(back(y), x, rtol=1e-5, atol=1e-5)
        parts = layers.Normalization(axis=axis)
        parts.adapt(iter([x[:7], x[7:8], x[8:]]))
        for p, q in zip(parts.get_weights(), layer.get_weights()):
            np.testing.assert_allclose(p, q, rtol=1e-5)


def test_adapting_again_reaches_the_recorded_step() -> None:
    layer = layers.Normalization()
    net = Sequential([Input((3,)), layer])
    net.compile("sgd", "mse")
    x = normal(20, 3)
    for scale in (1.0, 5.0):
        layer.adapt(x * scale)
        np.testing.assert_allclose(net.predict(x * scale, batch_size=4, verbose=0).std(0), 1, rtol=1e-5)


def test_constant_features() -> None:
    layer = layers.Normalization()
    layer.adapt(np.full((5, 2), 3.0))
    assert layer([[3.0, 3.0]]).tolist() == [[0.0, 0.0]]
    assert np.isfinite(layer([[4.0, 2.0]])).all()


def test_error_texts() -> None:
    zero = np.zeros
    for use, text in (
        (lambda: layers.RandomZoom(-1.0, name="r"), "RandomZoom 'r': expected height_factor > -1, got -1.0; ..."),
        (lambda: layers.RandomRotation(1.5, name="r"), "RandomRotation 'r': expected factor to be ...<= 1, got 1.5"),
        (lambda: layers.RandomFlip("sideways", name="r"), "RandomFlip 'r': expected mode to be one of ..."),
        (
            lambda: layers.RandomTranslation(0.1, 0.1, fill_mode="mirrored", name="r"),
            "RandomTranslation 'r': expected fill_mode to be one of ...did you mean 'mirror'?",
        ),
        (
            lambda: layers.RandomErasing(fill_value=[1, 2], name="r")(zero((1, 2, 2, 3))),
            "RandomErasing 'r': expected 2 channels, as in fill_value, got 3",
        ),
        (
            lambda: layers.Resizing(2, 2, name="r")(zero((1, 0, 3, 1))),
            "Resizing 'r': expected images of at least one pixel, got input of shape (N, 0, 3, 1)",
        ),
        (
            lambda: layers.Resizing(2, 2, crop_to_aspect_ratio=True, pad_to_aspect_ratio=True, name="r"),
            "Resizing 'r': expected one of crop_to_aspect_ratio and pad_to_aspect_ratio, got both",
        ),
        (
            lambda: layers.Cropping2D(2, name="r")(zero((1, 4, 5, 1))),
            "Cropping2D 'r': expected images larger than what is cut off, ((2, 2), (2, 2)), got input of shape (N, 4, 5, 1)",
        ),
        (
            lambda: layers.ZeroPadding3D((1, 2), name="r"),
            "ZeroPadding3D 'r': expected padding to be one integer or three, got (1, 2) (tuple)",
        ),
        (
            lambda: layers.Permute((1, 3), name="r"),
            "Permute 'r': expected dims that name each of 1..2 once, got (1, 3)",
        ),
        (
            lambda: layers.Rescaling([1, 2], name="r")(zero((1, 3))),
            "Rescaling 'r': expected 2 channels, one per scale, got input of shape (N, 3)",
        ),
        (
            lambda: layers.Normalization(mean=1.0, name="r"),
            "Normalization 'r': expected mean and variance, or neither, got mean=1.0, variance=None",
        ),
        (
            lambda: layers.Normalization(mean=[1.0, 2.0], variance=[1.0, 1.0], name="r")(zero((1, 3))),
            "Normalization 'r': expected mean and variance of shape (3,), got (2,)",
        ),
        (
            lambda: layers.Normalization(axis=0, name="r")(zero((1, 3))),
            "Normalization 'r': expected axis of inputs of rank 2, not the samples', got 0",
        ),
        (
            lambda: layers.Normalization(name="r").adapt(zero((0, 3))),
            "Normalization 'r': expected data of at least one sample, got none",
        ),
    ):
        check(use, ValueError, text)
    given = layers.Normalization(mean=0.0, variance=1.0, name="r")
    check(
        lambda: given.adapt(zero((2, 3))),
        TypeError,
        "Normalization 'r': expected no adapt, got given mean and variance; leave them out",
    )
