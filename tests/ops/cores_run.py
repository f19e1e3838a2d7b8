"""Products, updates and convolutions that are made differently on different cores: python cores_run.py <isa> prints their bits.

Inputs lie flush against pages which must not be touched, as in fenced_run.py.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from fenced_run import fenced_empty
from ops_calls import Array

from fastnn import config, ops

# (m, n, k): short sums; rows of b that cross cache lines, or evict each other; columns of a that are far apart; neighbors of these.
PRODUCTS = (
    *((70, 100, 4), (33, 65, 16), (128, 48, 31), (129, 100, 127), (29, 40, 128), (45, 300, 129)),
    *(
        (96, 300, 512),
        (95, 300, 512),
        (131, 500, 333),
        (96, 304, 512),
        (48, 1024, 200),
        (47, 1024, 200),
        (100, 2048, 70),
    ),
    *((600, 140, 40), (513, 129, 20), (512, 129, 20), (600, 128, 40)),
)
# (rows, inputs, units) of a layer whose gradient is used where it is made.
UPDATES = (
    (40, 600, 100),
    (300, 140, 700),
    (40, 600, 140),
    (20, 512, 140),
    (40, 600, 64),
    (10, 600, 100),
    (130, 1024, 130),
)
CONVOLUTIONS = (
    (2, 9, 11, 64, 100, 1),
    (3, 8, 8, 40, 33, 1),
    (2, 7, 6, 5, 20, 3),
    (2, 6, 5, 3, 7, 5),
    (2, 19, 17, 32, 40, 3),
    (9, 20, 17, 32, 40, 3),
)
# The same with a pooling, whose gradient is made for every output: filters with gaps, few outputs of few values, runs of more
# rows than a block has. Made again and again: what a block writes outside of its scratch is seen by the next call.
POOLED = ((9, 40, 20, 24, 20, 3, (1, 2)), (3, 21, 140, 60, 20, 3, (1, 1)), (9, 54, 30, 1, 3, 5, (1, 1)))


def normal(random: np.random.Generator, shape: tuple[int, ...], at_end: bool) -> Array:
    x = fenced_empty(shape, np.dtype(np.float32), at_end)
    x[...] = random.standard_normal(shape, np.float32)
    return x


def results(at_end: bool) -> Iterator[Array]:
    random = np.random.default_rng(5)
    for m, n, k in PRODUCTS:
        for transpose_a, transpose_b in ((False, False), (True, False), (False, True)):
            a = normal(random, (k, m) if transpose_a else (m, k), at_end)
            b = normal(random, (n, k) if transpose_b else (k, n), at_end)
            bias = normal(random, (n,), at_end)
            c = ops.gemm(a, b, transpose_a=transpose_a, transpose_b=transpose_b, bias=bias, activation="relu")
            right = (a.T if transpose_a else a).astype(np.float64) @ (b.T if transpose_b else b) + bias
            assert np.abs(c - np.maximum(right, 0)).max() < 1e-4 * np.sqrt(k)
            yield c
    for rows, inputs, units in UPDATES:
        w, m, v = (normal(random, (inputs, units), at_end) for _ in range(3))
        v *= v
        product = normal(random, (rows, inputs), at_end), normal(random, (rows, units), at_end)
        rate, step = np.full(1, 0.01, np.float32), np.zeros(1, np.int64)
        ops.adam_step(w, w, m, v, None, rate, step, beta_1=0.9, beta_2=0.999, epsilon=1e-7, product=product)
        yield from (w, m, v)
        ops.sgd_step(w, w, rate, product=product)
        yield w
    # Every kind of number as the mean square of a gradient: square roots are correctly rounded however they are made.
    bits = random.integers(0, 0x7F800001, 300_007, np.uint32)
    bits[::7], bits[1::1000] = 0, 0x7FC00000
    v = bits.view(np.float32)
    w, m = random.standard_normal((2, v.size), np.float32)
    rate, step = np.full(1, 0.01, np.float32), np.zeros(1, np.int64)
    ops.adam_step(w, np.zeros_like(v), m, v, None, rate, step, beta_1=0.9, beta_2=0.999, epsilon=0.0)
    yield np.where(np.isnan(w), np.float32(0), w)
    for N, H, W, C, K, R in CONVOLUTIONS:
        x, kernel = normal(random, (N, H, W, C), at_end), normal(random, (R, R, C, K), at_end)
        for padding in (ops.NO_PADDING, ((R // 2, 1), (R // 2, 0))):
            y = ops.conv2d_forward(x, kernel, padding=padding)
            yield y
            yield ops.conv2d_backward_input(y, kernel, x.shape, padding=padding)
            gradient = np.empty_like(kernel)
            ops.conv2d_backward_filter(x, y, gradient, padding=padding)
            yield gradient
    for N, H, W, C, K, R, dilation in POOLED:
        x, kernel = normal(random, (N, H, W, C), at_end), normal(random, (R, R, C, K), at_end)
        how: dict[str, Any] = {"pool_size": (2, 2), "padding": ((R // 2, 1), (R // 2, 0)), "dilation": dilation}
        y, index = ops.max_pooled_conv2d_forward(x, kernel, **how)
        yield y
        for _ in range(4):
            gradient, bias = np.empty_like(kernel), np.empty(K, np.float32)
            ops.max_pooled_conv2d_backward_filter(x, y, index, None, gradient, bias, **how)
            yield from (gradient, bias)


if __name__ == "__main__":
    config.set_isa(sys.argv[1])
    for threads in (1, 2, 3):
        config.set_num_threads(threads)
        for at_end in (False, True):
            print(hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in results(at_end))).hexdigest())
