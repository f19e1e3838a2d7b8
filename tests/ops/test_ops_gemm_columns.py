"""Products of few columns, which are made as their columns: rows of the result are lanes, whatever its layout."""

from __future__ import annotations

import numpy as np
import pytest
from ops_calls import ALPHA, Array, Generator, double, normal
from tolerances import assert_bits, assert_close, bound

from fastnn import config, ops, reference

LAYOUTS = [(False, False), (False, True), (True, False), (True, True)]


def stored(x: Array, transposed: bool) -> Array:
    return x.T.copy() if transposed else x


def check(a: Array, b: Array, threads: int, layouts: list[tuple[bool, bool]] = LAYOUTS) -> None:
    """Check a b against the twin, and bit by bit against the same columns of a wide product, in every layout."""
    k, n = b.shape
    config.set_num_threads(1)
    want = ops.gemm(a, np.concatenate([b, np.ones((k, 40), np.float32)], axis=1))[:, :n]
    sizes = reference.gemm(abs(double(a)), abs(double(b)))
    assert_close(want, reference.gemm(double(a), double(b)), bound("product", sizes, k))
    config.set_num_threads(threads)
    for ta, tb in layouts:
        got = ops.gemm(stored(a, ta), stored(b, tb), transpose_a=ta, transpose_b=tb)
        assert_bits(got, want)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 13, 14, 15])
def test_few_columns(isa: str, rng: Generator, n: int, threads: int) -> None:
    # Rows of a vector and less, of a block and more; sums of no vector, of no multiple of four; rows that evict each other.
    for m, k in (
        (7, 30),
        (16, 5),
        (33, 17),
        (64, 16),
        (65, 15),
        (101, 127),
        (257, 31),
        (300, 1024),
        (1000, 33),
        (97, 2051),
    ):
        check(normal(rng, m, k), normal(rng, k, n), threads)


@pytest.mark.parametrize(("m", "k"), [(5003, 840), (70_001, 61), (20_011, 210)])
def test_more_than_the_caches_hold(isa: str, rng: Generator, m: int, k: int) -> None:
    for n in (1, 4, 10, 20):
        check(normal(rng, m, k), normal(rng, k, n), 2, [(False, False), (True, False)])


@pytest.mark.parametrize("activation", ["linear", "relu", "sigmoid", "leaky_relu", "softplus"])
@pytest.mark.parametrize("m", [16, 100, 515])
def test_bias_and_activation(isa: str, rng: Generator, m: int, activation: str) -> None:
    for n, k in ((1, 20), (3, 33), (10, 100)):
        a, b, bias = normal(rng, m, k), normal(rng, k, n), normal(rng, n)
        wide = (
            np.concatenate([b, np.ones((k, 40), np.float32)], axis=1),
            np.concatenate([bias, np.ones(40, np.float32)]),
        )
        want = ops.gemm(a, wide[0], bias=wide[1], activation=activation, alpha=ALPHA)[:, :n]
        assert_bits(ops.gemm(a, b, bias=bias, activation=activation, alpha=ALPHA), want)
        assert_bits(ops.gemm(a, b.T.copy(), transpose_b=True, bias=bias, activation=activation, alpha=ALPHA), want)


def test_a_row_is_the_same_in_every_batch(isa: str, rng: Generator) -> None:
    a, b, bias = normal(rng, 300, 130), normal(rng, 130, 10), normal(rng, 10)
    batch = ops.gemm(a, b, bias=bias, activation="tanh")
    for first, count in ((0, 1), (3, 2), (7, 5), (20, 15), (40, 16), (100, 81), (1, 299)):
        assert_bits(
            ops.gemm(a[first : first + count].copy(), b, bias=bias, activation="tanh"), batch[first : first + count]
        )


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize(("ta", "tb"), LAYOUTS)
def test_what_is_no_number_stays_in_its_row_and_column(
    isa: str, rng: Generator, ta: bool, tb: bool, value: float
) -> None:
    a, b = normal(rng, 97, 50), normal(rng, 50, 5)
    clean = ops.gemm(stored(a, ta), stored(b, tb), transpose_a=ta, transpose_b=tb)
    a[96, 49] = value
    b[0, 4] = value
    got = ops.gemm(stored(a, ta), stored(b, tb), transpose_a=ta, transpose_b=tb)
    assert_bits(got[:96, :4], clean[:96, :4])
    assert not np.isfinite(got[96]).any()
    assert not np.isfinite(got[:, 4]).any()
