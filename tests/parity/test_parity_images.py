"""What layers for images and labels do with given random numbers, learned statistics and masks, against Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import LONG, SHORT, Array, assert_near, gradients, keras, normal, numpy_of, tensor

import fastnn
from fastnn import layers, ops


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("axis", [-1, 1, (1, 2), None], ids=str)
def test_normalization_adapts(axis: Any, invert: bool) -> None:
    x, data = normal(6, 4, 3), 3 * normal(50, 4, 3) + 2
    made = [package.layers.Normalization(axis=axis, invert=invert) for package in (fastnn, keras())]
    for layer in made:
        layer.adapt(data)
    ours, theirs = made
    assert_near(ours(x), numpy_of(theirs(tensor(x))), LONG, "output")


@pytest.mark.parametrize("factor", [0.5, 0.2])
@pytest.mark.parametrize("value_range", [(-1, 0.75), (0, 255)], ids=str)
def test_contrast(factor: float, value_range: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same factors do the same to images."""
    x, u = normal(3, 5, 6, 2), np.random.default_rng(13).uniform(0, 1, 3).astype(np.float32)
    theirs = keras().layers.RandomContrast(factor, value_range=value_range)
    chosen = {"contrast_factor": tensor((1 - factor + 2 * factor * u).reshape(3, 1, 1, 1))}
    monkeypatch.setattr(ops, "random_uniform", lambda *_: u)
    layer = layers.RandomContrast(factor, value_range=value_range)
    got = layer.forward(x, training=True)
    dy = normal(*got.shape, seed=1)

    def objective(values: list[Any]) -> tuple[Any, Any]:
        y = theirs.transform_images(values[0] + 0.0, chosen)
        return keras().ops.sum(y * tensor(dy)), y

    want, (slope,) = gradients(objective)([x])
    assert_near(got, numpy_of(want), SHORT, "output")
    dx = layer.backward(dy)
    assert dx is not None
    assert_near(dx, slope, SHORT, "gradient", 1.0)


def test_erased_places() -> None:
    """The same numbers choose the same rectangle."""
    rng = np.random.default_rng(14)
    layer = keras().layers.RandomErasing(scale=(0.1, 0.4), fill_value=0)
    u = rng.uniform(0, 1, (200, 8)).astype(np.float32)
    u[:, 4:6] = 0
    share = np.sqrt(0.1 + u[:, :2] * 0.3)
    starts = u[:, 2:4] * ([9, 7] - share * [9, 7])
    ends = starts + share * [9, 7]
    corners = [starts[:, 1], ends[:, 1], starts[:, 0], ends[:, 0]]
    want = numpy_of(layer._generate_batch_mask((200, 9, 7, 1), [tensor(np.asarray(c, np.float32)) for c in corners]))
    got = np.zeros((200, 9, 7, 1), bool)
    for i, (top, bottom, left, right) in enumerate(ops.random_rectangles(u, (9, 7), area=(0.1, 0.4))):
        got[i, top:bottom, left:right] = True
    assert (got == want).mean() > 0.999  # a corner within rounding of a pixel may fall on either side


@pytest.mark.parametrize("length", [1, 7])
def test_masks(length: int) -> None:
    ids: Array = np.random.default_rng(9).integers(0, 3, (6, length))
    ours, theirs = layers.Embedding(13, 5, mask_zero=True), keras().layers.Embedding(13, 5, mask_zero=True)
    np.testing.assert_array_equal(ours.compute_mask(ids), numpy_of(theirs.compute_mask(tensor(ids))))
    x = normal(6, length, 2) * (ids > 0)[..., None]
    mine, other = layers.Masking(), keras().layers.Masking()
    np.testing.assert_array_equal(mine.compute_mask(x), numpy_of(other.compute_mask(tensor(x))))
