"""Pooling of sequences, images and volumes: values, places of ties, shapes in graphs, training, error texts."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from errors import check
from gradcheck import normal
from tolerances import assert_bits, assert_close

from fastnn import Model, layers
from fastnn.layers import Dense, Flatten, Input

Array = np.ndarray[Any, Any]


def windows(x: Array, size: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """Yield the place of every complete window of a channels-last x, and the window."""
    places = [range((n - w) // s + 1) for n, w, s in zip(x.shape[1:-1], size, strides)]
    for place in itertools.product(*places):
        yield (
            place,
            x[(slice(None), *(slice(p * s, p * s + w) for p, s, w in zip(place, strides, size)), slice(None))],
        )


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_every_window_by_itself(isa: str, rank: int) -> None:
    shape, size, strides = (2, *(7, 5, 6)[:rank], 3), (3, 2, 2)[:rank], (2, 1, 3)[:rank]
    x = normal(*shape, seed=1).astype(np.float32)
    largest = getattr(layers, f"MaxPooling{rank}D")(size, strides)(x)
    mean = getattr(layers, f"AveragePooling{rank}D")(size, strides)(x)
    axes = tuple(range(1, rank + 1))
    for place, window in windows(x, size, strides):
        assert_bits(largest[(slice(None), *place)], window.max(axes))
        np.testing.assert_allclose(mean[(slice(None), *place)], window.mean(axes), rtol=1e-5, atol=1e-6)


def test_the_first_of_equal_values_gets_the_gradient() -> None:
    """First in the order of memory: front before top before left."""
    layer = layers.MaxPooling3D(2)
    x = np.zeros((1, 2, 2, 2, 1), np.float32)
    for first in [(0, 0, 0), (0, 1, 0), (1, 0, 1)]:
        x[...] = 0
        for place in itertools.product((0, 1), repeat=3):
            x[(0, *place, 0)] = place >= first
        layer.forward(x, training=True)
        dx = layer.backward(np.ones((1, 1, 1, 1, 1), np.float32))
        assert dx.sum() == 1
        assert dx[(0, *first, 0)] == 1


def test_a_nan_wins_everywhere() -> None:
    x = np.zeros((1, 4, 4, 4, 1), np.float32)
    x[0, 1, 2, 3, 0] = np.nan
    y = layers.MaxPooling3D(2)(x)
    assert np.isnan(y[0, 0, 1, 1, 0])
    assert np.isnan(y).sum() == 1
    assert np.isnan(layers.GlobalMaxPooling3D()(x)).all()


def test_same_padding_counts_what_is_there() -> None:
    x = np.arange(1.0, 6.0).reshape(1, 5, 1)
    assert layers.AveragePooling1D(2, padding="same")(x).ravel().tolist() == [1.5, 3.5, 5.0]
    assert layers.MaxPooling1D(2, padding="same")(-x).ravel().tolist() == [-1.0, -3.0, -5.0]


def test_short_names_are_the_same_classes() -> None:
    for d in (1, 2, 3):
        for short, long in (("Max", "Max"), ("Avg", "Average")):
            assert getattr(layers, f"{short}Pool{d}D") is getattr(layers, f"{long}Pooling{d}D")
            assert getattr(layers, f"Global{short}Pool{d}D") is getattr(layers, f"Global{long}Pooling{d}D")


def test_shapes_in_a_graph_with_free_sizes() -> None:
    sequence = Input((None, 3))
    assert layers.MaxPooling1D(2)(sequence).shape == (None, None, 3)
    assert layers.GlobalMaxPooling1D()(sequence).shape == (None, 3)
    volume = Input((8, None, 6, 2))
    assert layers.AveragePooling3D((2, 3, 4), padding="same")(volume).shape == (None, 4, None, 2, 2)
    assert layers.GlobalAveragePooling3D(keepdims=True)(volume).shape == (None, 1, 1, 1, 2)


@pytest.mark.parametrize("rank", [1, 3])
def test_recorded_training_is_eager_training(rank: int) -> None:
    def model(run_eagerly: bool) -> Any:
        x = Input((6,) * rank + (2,))
        hidden = getattr(layers, f"MaxPooling{rank}D")(2)(Dense(3, activation="relu", kernel_initializer="ones")(x))
        hidden = getattr(layers, f"AveragePooling{rank}D")(2, strides=1, padding="same")(hidden)
        both = layers.Concatenate()(
            [Flatten()(hidden), getattr(layers, f"GlobalMaxPooling{rank}D")()(hidden)],
        )
        net = Model(x, Dense(1, kernel_initializer="ones")(both))
        net.compile("sgd", "mse", run_eagerly=run_eagerly)
        return net

    x, y = normal(24, *(6,) * rank, 2, seed=3) / 6**rank, normal(24, 1, seed=4)
    fast, slow = model(False), model(True)
    fast.fit(x, y, epochs=3, batch_size=8, shuffle=False, verbose=0)
    slow.fit(x, y, epochs=3, batch_size=8, shuffle=False, verbose=0)
    for p, q in zip(fast.weights, slow.weights):
        assert_bits(p.value, q.value)


def test_unpooling_puts_values_back_where_they_were() -> None:
    x = np.abs(normal(3, 6, 8, 2)).astype(np.float32)
    pooled = layers.MaxPooling2D(2)(x)
    back = layers.MaxUnpooling2D(2)([pooled, x])
    assert ((back == x) | (back == 0)).all()
    assert (back != 0).sum() == pooled.size
    assert_bits(layers.MaxPooling2D(2)(back), pooled)


def test_a_small_shift_changes_pooled_images_less() -> None:
    """Of smooth images: what pooling is for."""
    wave = np.sin(np.linspace(0, 9, 40))
    x = (wave[:, None] * wave[None, :])[None, :, :, None]
    moved = np.roll(x, 1, axis=2)
    raw = np.abs(moved - x).mean() / np.abs(x).mean()
    for pool in (layers.MaxPooling2D(4), layers.GlobalMaxPooling2D()):
        before, after = pool(x), pool(moved)
        assert np.abs(after - before).mean() / np.abs(before).mean() < raw


def test_ways_to_make_images_smaller_agree_on_shapes() -> None:
    x = np.ones((2, 13, 9, 3))
    expected = (2, 7, 5, 3)
    for layer in (
        layers.Conv2D(3, 3, strides=2, padding="same"),
        layers.MaxPooling2D(2, padding="same"),
        layers.AveragePooling2D(2, padding="same"),
        layers.Resizing(7, 5, antialias=True),
        layers.Resizing(7, 5, "area"),
    ):
        assert layer(x).shape == expected


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_thumbnails_by_area_are_average_pooling(isa: str, factor: int) -> None:
    x = normal(2, 12, 24, 3).astype(np.float32)
    small = np.asarray(layers.Resizing(12 // factor, 24 // factor, "area")(x))
    assert_close(small, np.asarray(layers.AveragePooling2D(factor)(x)), 1e-6)


@pytest.mark.parametrize(("old", "new"), [(7, 3), (5, 4), (3, 7), (1, 4), (6, 6)])
def test_an_area_is_the_mean_of_what_lies_in_it(old: int, new: int) -> None:
    """Every pixel cut into as many parts as the new row has pixels, which are then made of whole parts."""
    x = normal(1, old, 1, 1).astype(np.float32)
    parts = np.repeat(x.ravel().astype(np.float64), new).reshape(new, old)
    assert_close(np.asarray(layers.Resizing(new, 1, "area")(x)).ravel(), parts.mean(axis=1), 1e-6)


@pytest.mark.parametrize("size", [2, (3, 1)])
def test_average_unpooling_is_undone_by_average_pooling(size: Any) -> None:
    x = normal(2, 3, 4, 5).astype(np.float32)
    back = layers.AveragePooling2D(size)(layers.UpSampling2D(size)(x))
    assert_close(np.asarray(back), x, 1e-6)


def test_error_texts() -> None:
    def at(layer: Any, *shape: int) -> Any:
        return lambda: layer(np.zeros(shape))

    sequence = layers.MaxPooling1D(4, name="p")
    check(
        at(sequence, 2, 3, 1),
        ValueError,
        "MaxPooling1D 'p': expected sequences at least as large as the window (4,), got input of shape (N, 3, 1); ...",
    )
    check(
        at(layers.AveragePooling3D(2, name="p"), 2, 3, 4, 5),
        ValueError,
        "AveragePooling3D 'p': expected input of shape ..., got (N, 3, 4, 5); give the volumes a channel axis: x[..., None]",
    )
    check(
        at(layers.GlobalMaxPooling2D(name="p"), 2, 0, 4, 5),
        ValueError,
        "GlobalMaxPooling2D 'p': expected images of at least one element, got input of shape (N, 0, 4, 5)",
    )
    check(
        lambda: layers.MaxPooling3D((2, 2), name="p"),
        ValueError,
        "MaxPooling3D 'p': expected pool_size to be one integer or three, got (2, 2) (tuple)",
    )
    check(
        lambda: layers.MaxPooling1D(0, name="p"),
        ValueError,
        "MaxPooling1D 'p': expected pool_size to be an integer >= 1, got 0",
    )


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_relu_before_a_maximum_is_taken_along(rank: int, data_format: str) -> None:
    x = np.maximum(normal(3, *(6, 5, 4)[:rank], 4, seed=rank) - 0.8, 0).astype(np.float32)
    for make in (
        lambda: getattr(layers, f"MaxPooling{rank}D")(2, padding="same", data_format=data_format),
        lambda: getattr(layers, f"GlobalMaxPooling{rank}D")(data_format=data_format),
    ):
        layer = make()
        dy = normal(*layer.forward(x, training=True).shape, seed=5).astype(np.float32)
        alone = layer.backward(dy) * (x > 0)
        layer.relu_input = True
        np.testing.assert_array_equal(layer.backward(dy), alone)
        assert (layer.backward(dy) != 0).any()
