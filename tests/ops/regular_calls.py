"""Calls of the ops behind regularizers, constraints, normalization of rows and groups, noise and masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from ops_calls import Call, Generator, normal, uniform


def penalty_calls(rng: Generator, rows: int, cols: int) -> dict[str, Call]:
    """Return penalties and constraints."""
    x, dy, w = normal(rng, rows, cols), normal(rng, rows, cols), normal(rng, rows, cols)
    both = (x, 0.25, 0.125, np.array([3.0, 5.0]))
    added: dict[str, Any] = {"rows": 7, "count": 7}
    return {
        "penalty": Call("penalty", both, {"scale": 0.5, "rows": 2.0, "count": 3.0}, (3,)),
        "penalty gradient": Call("penalty", both[:3], {"scale": 0.5, "need_gradient": True}),
        "penalty both": Call("penalty", both, {**added, "dy": dy, "need_gradient": True}, (3,)),
        "clip_norms": Call("clip_norms", (w, (0,), 0.5, 2.0), written=(0,)),
        "clip_norms of rows": Call("clip_norms", (w, (-1,), 0.5, 2.0, 0.75), written=(0,)),
        "clip_negative": Call("clip_negative", (w,), written=(0,)),
    }


def row_norm_calls(rng: Generator, rows: int, cols: int) -> dict[str, Call]:
    """Return layer normalization with and without a mean, and of groups of channels."""
    x, dy, gamma, beta = normal(rng, rows, cols), normal(rng, rows, cols), normal(rng, cols), normal(rng, cols)
    mean, rstd = normal(rng, rows), uniform(rng, 0.5, 2.0, rows)
    sums = np.zeros(cols, np.float32), np.zeros(cols, np.float32)
    groups = next(g for g in (3, 2, 1) if cols % g == 0)
    image, above = (normal(rng, rows, 3, cols) for _ in (0, 1))
    tall, tall_above = (normal(rng, 2, 37, cols) for _ in (0, 1))
    means, rstds, epsilon = normal(rng, rows, groups), uniform(rng, 0.5, 2.0, rows, groups), {"epsilon": 0.125}
    return {
        "layer_norm_forward": Call("layer_norm_forward", (x, gamma, beta), epsilon),
        "layer_norm_forward of squares": Call("layer_norm_forward", (x, gamma, None), {**epsilon, "centered": False}),
        "layer_norm_backward": Call("layer_norm_backward", (x, dy, gamma, mean, rstd, *sums), written=(5, 6)),
        "layer_norm_backward of squares": Call(
            "layer_norm_backward", (x, dy, None, np.zeros_like(mean), rstd), {"centered": False}
        ),
        "group_norm_forward": Call("group_norm_forward", (image, gamma, beta, groups), epsilon),
        "group_norm_backward": Call("group_norm_backward", (image, above, gamma, means, rstds, *sums), written=(5, 6)),
        "group_norm_forward of many positions": Call("group_norm_forward", (tall, None, beta, groups), epsilon),
        "group_norm_backward of many positions": Call(
            "group_norm_backward", (tall, tall_above, None, normal(rng, 2, groups), uniform(rng, 0.5, 2.0, 2, groups))
        ),
    }


def noise_calls(rng: Generator, rows: int, cols: int) -> dict[str, Call]:
    """Return noise and masks."""
    x, counter = normal(rng, rows, cols), np.array([7], np.uint64)
    cube, bits = normal(rng, rows, 2, cols), (uniform(rng, 0, 1, rows, 1, cols) > 0.5).astype(np.float32)
    holes = x * (uniform(rng, 0, 1, rows, 1) > 0.5)
    mask, weights = bits.reshape(-1), uniform(rng, 0.0, 2.0, bits.size)
    key: Any = (2**40 + 1, 5, counter)
    return {
        "random_keep": Call("random_keep", ((rows, cols), 0.375, *key), written=(4,)),
        "apply_keep": Call("apply_keep", (cube, bits, 2.0, 0.5, -1.0)),
        "apply_keep per sample": Call("apply_keep", (cube, bits[:, :, :1], 2.0)),
        "apply_keep with gaps": Call("apply_keep", (cube, bits[:1, :, :1].repeat(2, 1), 2.0)),
        "apply_keep of all": Call("apply_keep", (cube, bits.repeat(2, 1), 2.0)),
        "gaussian_forward": Call("gaussian_forward", (x, 0.375, *key), written=(4,)),
        "gaussian_forward times": Call("gaussian_forward", (x, 0.375, *key), {"multiply": True}, (4,)),
        "gaussian_backward": Call("gaussian_backward", (x, 0.375, *key)),
        "mask_rows": Call("mask_rows", (holes, 0.0)),
        "mask_weights": Call("mask_weights", (mask, weights)),
        "mask_weights alone": Call("mask_weights", (mask,), {"rescale": False}),
    }


def regular_calls(rng: Generator, rows: int = 331, cols: int = 153) -> dict[str, Call]:
    """Return all of them."""
    return {
        label: call
        for make in (penalty_calls, row_norm_calls, noise_calls)
        for label, call in make(rng, rows, cols).items()
    }
