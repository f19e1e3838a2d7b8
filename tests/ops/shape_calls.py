"""Calls of the ops that crop, resize, look up and change images at random, as data; see ops_calls.py."""

from __future__ import annotations

from typing import Any

import numpy as np
from ops_calls import POOLS, Array, Call, Generator, Pooling, normal, uniform

from fastnn import ops
from fastnn.ops import Taps

BORDERS = ("constant", "nearest", "reflect", "mirror", "wrap")


def random_taps(rng: Generator, new: int, old: int) -> Taps:
    """Return a matrix with no, one or several entries in a row, some rows being copies of a column."""
    counts = rng.integers(0, min(old, 4) + 1, new)
    columns = [np.sort(rng.choice(old, count, replace=False)) for count in counts]
    weights = [np.ones(1) if len(c) == 1 else rng.standard_normal(len(c)) for c in columns]
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return Taps(start, np.concatenate(columns).astype(np.int32), np.concatenate(weights).astype(np.float32))


def random_ids(rng: Generator, shape: tuple[int, ...], rows: int) -> Array:
    """Return ids, some of them no row's number."""
    ids = rng.integers(0, rows, shape).astype(np.float32)
    ids.reshape(-1)[::7] = [[-1.0, rows, 0.5, np.nan, np.inf][i % 5] for i in range(len(ids.reshape(-1)[::7]))]
    return ids


def shape_calls(
    rng: Generator, n: int = 7, size: int = 23, channels: int = 37, pools: dict[str, Pooling] = POOLS
) -> dict[str, Call]:
    """Return cropping, padding, resizing, embeddings, unpooling."""
    volume, image = normal(rng, n, 3, size, size + 1, channels), normal(rng, n, size, size + 2, channels)
    rows, columns = random_taps(rng, size + 3, size), random_taps(rng, 2 * size, size + 2)
    vocabulary, width = 11 * size, 2 * channels
    ids, table = random_ids(rng, (n * size, 3), vocabulary), normal(rng, vocabulary, width)
    dy = normal(rng, *ids.shape, width)
    calls = {
        "crop_pad padded": Call("crop_pad", (volume, (-1, -2, -3), (6, size + 3, size + 8), 0.5)),
        "crop_pad cropped": Call("crop_pad", (volume, (1, 0, 1), (2, size, size - 1))),
        "crop_pad both": Call("crop_pad", (volume, (-1, 1, -2), (3, size - 1, size + 2))),
        "crop_pad nothing left": Call("crop_pad", (volume, (5, 0, size + 5), (2, size, size), -1.0)),
        "resample2d": Call("resample2d", (image, rows, columns)),
        "resample2d one channel": Call("resample2d", (normal(rng, 5 * n, size, size + 2, 1), rows, columns)),
        "embedding_forward": Call("embedding_forward", (ids, table)),
        "embedding_backward": Call("embedding_backward", (ids, dy, table), written=(2,)),
    }
    for label, (shape, options) in pools.items():
        x = normal(rng, *shape)
        _, index = ops.max_pool2d_forward(x, **options)
        calls[f"max_unpool2d_backward {label}"] = Call("max_unpool2d_backward", (normal(rng, *shape), index), options)
    return calls


AFFINE: dict[str, dict[str, Any]] = {
    "turned": {"angle": (-0.3, 0.4)},
    "zoomed": {"zoom_rows": (0.4, 1.7), "zoom_columns": (0.5, 2.0)},
    "zoomed alike": {"zoom_rows": (0.4, 1.7)},
    "moved": {"shift_rows": (-0.5, 0.75), "shift_columns": (-1.0, 1.0)},
    "flipped": {"flips": (True, True)},
    "everything": {
        "flips": (True, False),
        "angle": (-0.5, 0.5),
        "zoom_rows": (0.5, 2.0),
        "shift_rows": (-0.25, 0.25),
        "shift_columns": (0.0, 0.5),
    },
}


def augment_calls(rng: Generator, n: int = 11, size: int = 19, channels: int = 5) -> dict[str, Call]:
    """Return uniform numbers and what is made of them; affine maps with every border; rectangles; contrast and brightness."""
    image, counter = normal(rng, n, size, size + 3, channels), np.array([2**32 + 5], np.uint64)
    u, larger = uniform(rng, 0, 1, n, 8), (size + 4, size + 2)
    inside = max(size - 2, 1), max(size - 1, 1)
    m = ops.random_affine(u, (size, size + 3), larger, **AFFINE["everything"])
    dy, value = normal(rng, n, *larger, channels), normal(rng, channels)
    many = uniform(rng, 0, 1, 40 * n, 8)
    rectangles = ops.random_rectangles(u, (size, size + 3), area=(0.0, 0.9))
    flat, mean = image.reshape(n, size * (size + 3), channels), normal(rng, n, channels)
    calls = {
        "random_uniform": Call("random_uniform", ((n * size, 61), 2**40 + 3, 5, counter), written=(3,)),
        **{
            f"random_affine {label}": Call("random_affine", (many, (size, size + 3), larger), options)
            for label, options in AFFINE.items()
        },
        "random_affine crop": Call("random_affine", (many, (size, size + 3), inside), {"crop": True}),
        "random_rectangles area": Call(
            "random_rectangles", (many, (size, size + 3)), {"area": (0.02, 0.8), "chance": (0.25, 1.0)}
        ),
        "random_rectangles size": Call("random_rectangles", (many, (size, size + 3)), {"size": (3, 4)}),
        "erase": Call("erase", (image, rectangles, value)),
        "erase noise": Call("erase", (image, rectangles, value, np.abs(image)), {"limits": (-1.0, 3.0)}),
    }
    for border in BORDERS:
        for bilinear in (True, False):
            options: dict[str, Any] = {"border": border, "bilinear": bilinear}
            label = f"{border} {'bilinear' if bilinear else 'nearest'}"
            calls[f"affine2d_forward {label}"] = Call(
                "affine2d_forward", (image, m, larger), {**options, "value": 0.75}
            )
            calls[f"affine2d_backward {label}"] = Call("affine2d_backward", (dy, m, (size, size + 3)), options)
    for label, center in (("contrast", mean), ("brightness", None)):
        args = (center, u[:, 0].copy(), (0.25, 1.5), (-1.0, 0.875))
        calls[f"adjust_forward {label}"] = Call("adjust_forward", (flat, *args))
        calls[f"adjust_backward {label}"] = Call("adjust_backward", (normal(rng, *flat.shape), flat, *args))
    return calls
