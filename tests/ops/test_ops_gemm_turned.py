"""Products of some rows with a transposed matrix, which are made as its rows by the others transposed."""

from __future__ import annotations

import pytest
from ops_calls import Array, Generator, double, normal
from tolerances import assert_bits, assert_close, bound

from fastnn import config, ops, reference


def check(a: Array, b: Array, threads: int) -> None:
    """Check a b^T against the twin, and bit by bit against the product with a copy of b^T, for both layouts of a."""
    config.set_num_threads(threads)
    got = ops.gemm(a, b, transpose_b=True)
    assert_bits(ops.gemm(a.T.copy(), b, transpose_a=True, transpose_b=True), got)
    config.set_num_threads(1)
    sizes = reference.gemm(abs(double(a)), abs(double(b)), transpose_b=True)
    assert_close(got, reference.gemm(double(a), double(b), transpose_b=True), bound("product", sizes, a.shape[1]))
    assert_bits(got, ops.gemm(a, b.T.copy()))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("m", [7, 8, 11, 14, 15, 16, 17, 24, 29, 32, 43, 48, 64, 100, 127, 128, 129])
def test_some_rows(isa: str, rng: Generator, m: int, threads: int) -> None:
    # Rows of a vector and less, panels and more; blocks of the sums; rows of b that evict each other; the last tiles low or narrow.
    for n, k in ((500, 784), (261, 391), (65, 300), (1031, 207), (75, 1024), (130, 2048)):
        check(normal(rng, m, k), normal(rng, n, k), threads)


@pytest.mark.parametrize("m", [12, 15, 32])
def test_a_row_is_the_same_in_every_batch(isa: str, rng: Generator, m: int) -> None:
    a, b = normal(rng, 128, 1024), normal(rng, 300, 1024)
    batch = ops.gemm(a, b, transpose_b=True)
    for first in range(0, 128 - m, 37):
        assert_bits(ops.gemm(a[first : first + m].copy(), b, transpose_b=True), batch[first : first + m])


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_is_no_number_stays_in_its_row_and_column(isa: str, rng: Generator, value: float) -> None:
    a, b = normal(rng, 32, 300), normal(rng, 200, 300)
    clean = ops.gemm(a, b, transpose_b=True)
    a[31, 299] = value
    b[199, 0] = value
    got = ops.gemm(a, b, transpose_b=True)
    assert_bits(got[:31, :199], clean[:31, :199])
    assert_bits(got, ops.gemm(a, b.T.copy()))
