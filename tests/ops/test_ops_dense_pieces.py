"""Rows times large weights on matrix tiles: both cut into pieces, and one or two rows by multiply-adds in the same order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops_calls import Array, Generator, normal
from piece_sums import STEP, add_products
from tolerances import assert_bits, bound

from fastnn import config, ops, reference
from fastnn.layers import Dense
from fastnn.models import Sequential

pytestmark = pytest.mark.skipif("amx" not in config.available_isas(), reason="needs matrix tiles")

# (rows, terms, columns): parts of tiles, bands, panels and steps; several blocks of bands and of steps; more rows than columns.
SHAPES = [
    *[(1, 1024, 1024), (2, 1037, 1041), (3, 65, 16400), (16, 16400, 65), (17, 1100, 1000), (32, 700, 1509)],
    *[(33, 1030, 1048), (48, 1024, 1056), (97, 2050, 515), (40, 16390, 66), (257, 1041, 1029), (600, 16389, 67)],
]
every_shape = pytest.mark.parametrize(("m", "k", "n"), SHAPES)
ALPHA = 0.3


def forward(x: Array, kernel: Array, *args: Any, isa: str = "amx", **options: Any) -> Array:
    config.set_isa(isa)
    result: Array = ops.dense_forward(x, kernel, *args, **options)
    return result


def twin(x: Array, kernel: Array) -> Array:
    """Return x kernel, rounded where the tiles round: chains of the first and the last 16 of 32 terms."""
    result = np.zeros((len(x), kernel.shape[1]), np.float32)
    for step in range(0, len(kernel), STEP):
        terms = slice(step, step + STEP)
        add_products(result, x[:, terms].T, kernel[terms], (range(16), range(16, 32)), rounded=False)
    return result


@every_shape
def test_the_order_of_a_sum(rng: Generator, m: int, k: int, n: int) -> None:
    x, kernel = normal(rng, m, k), normal(rng, k, n)
    some = sorted({0, m // 3, m // 2, m - 1})
    assert_bits(forward(x, kernel)[some], twin(x[some], kernel))


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@every_shape
def test_threads_do_not_change_it(rng: Generator, m: int, k: int, n: int, threads: int) -> None:
    x, kernel, bias = normal(rng, m, k), normal(rng, k, n), normal(rng, n)
    config.set_num_threads(1)
    alone = forward(x, kernel, bias, "relu")
    config.set_num_threads(threads)
    assert_bits(forward(x, kernel, bias, "relu"), alone)


@pytest.mark.parametrize(("k", "n"), [(1030, 1048), (16389, 67), (70, 15000)])
def test_a_row_is_the_same_in_every_batch(rng: Generator, threads: int, k: int, n: int) -> None:
    x, kernel = normal(rng, 291, k), normal(rng, k, n)
    batch = forward(x, kernel)
    for m in (1, 2, 3, 15, 16, 17, 31, 32, 33, 64, 129, 256, 290):
        assert_bits(forward(x[:m], kernel), batch[:m])
        assert_bits(forward(x[291 - m :], kernel), batch[291 - m :])


@pytest.mark.parametrize("spread", [0, 8, 20])
@every_shape
def test_it_is_as_exact_as_multiply_adds(rng: Generator, m: int, k: int, n: int, spread: int) -> None:
    """Within the bound of sums of products, and closer to the right result than a chain of multiply-adds is on average."""
    x, kernel = (
        normal(rng, *s) * np.exp2(rng.integers(-spread, spread + 1, s)).astype(np.float32) for s in ((m, k), (k, n))
    )
    right = x.astype(np.float64) @ kernel
    size = np.abs(x).astype(np.float64) @ np.abs(kernel)
    error = np.abs(forward(x, kernel) - right)
    assert (error <= bound("product", size, k)).all()
    assert (error / size).mean() < (np.abs(forward(x, kernel, isa="avx512") - right) / size).mean()


def test_pieces_lose_no_bit(rng: Generator) -> None:
    """A product with ones and zeros takes numbers over as they are, whatever their bits."""
    bits = rng.integers(0, 1 << 23, (64, 16400), np.uint32) | (rng.integers(90, 160, (64, 16400), np.uint32) << 23)
    numbers = bits.view(np.float32) * rng.choice([-1.0, 1.0], bits.shape).astype(np.float32)
    for rows in (64, 2, 1):
        assert_bits(forward(np.eye(rows, 64, dtype=np.float32), numbers), numbers[:rows])
        some = numbers[:rows, :1100].copy()
        assert_bits(forward(some, np.eye(1100, 1000, dtype=np.float32)), some[:, :1000])


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
@pytest.mark.parametrize("m", [1, 2, 45])
def test_bias_and_activation_change_no_bits(rng: Generator, activation: str, m: int) -> None:
    x, kernel, bias = normal(rng, m, 1030), normal(rng, 1030, 1045), normal(rng, 1045)
    for given in (None, bias):
        linear = forward(x, kernel, given)
        assert_bits(forward(x, kernel, given, activation, ALPHA), ops.activation_forward(linear, activation, ALPHA))
    assert_bits(linear, forward(x, kernel) + bias)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("m", [1, 2, 3, 40])
def test_what_is_no_number(rng: Generator, threads: int, m: int, bad: float) -> None:
    """It is where multiply-adds have it, with their bits beside it, and nowhere else."""
    x, kernel, bias = normal(rng, m, 1030), normal(rng, 1030, 1050), normal(rng, 1050)
    before = forward(x, kernel, bias)
    with_bad = kernel.copy()
    with_bad[1029, 1049] = with_bad[3, 70] = bad
    result, chains = forward(x, with_bad, bias), forward(x, with_bad, bias, isa="avx512")
    np.testing.assert_array_equal(result[:, [70, 1049]], chains[:, [70, 1049]])
    for first, last in ((64, 96), (1024, 1050)):
        assert_bits(result[:, first:last], chains[:, first:last])
    for first, last in ((0, 64), (96, 1024)):
        assert_bits(result[:, first:last], before[:, first:last])
    x[m - 1, 1000] = bad
    result, chains = forward(x, kernel, bias, "relu"), forward(x, kernel, bias, "relu", isa="avx512")
    assert_bits(result[m - 1], chains[m - 1])
    assert_bits(result[: m - 1], np.maximum(before[: m - 1], 0))


@pytest.mark.parametrize("scale", [2.0**-140, 1e-38, 1e-30, 1e-22, 1e-15, 1e15, 1e25, 1e38])
@pytest.mark.parametrize("m", [1, 3, 34])
def test_large_and_small_numbers(rng: Generator, m: int, scale: float) -> None:
    """What pieces could not hold is made by multiply-adds, with their bits: a matter of the row, or of a panel of weights."""
    x, kernel = normal(rng, m, 1030), normal(rng, 1030, 1050)
    before = forward(x, kernel)
    with np.errstate(under="ignore", over="ignore"):
        scaled, weights = (x * np.float32(scale)).astype(np.float32), kernel.copy()
        weights[:, 32:64] *= np.float32(scale)
    rows = x.copy()
    rows[m - 1] = scaled[m - 1]
    for a, b, panels in ((rows, kernel, False), (x, weights, True), (scaled, weights, True)):
        result, chains = forward(a, b), forward(a, b, isa="avx512")
        finite = np.isfinite(chains)
        np.testing.assert_array_equal(result[~finite], chains[~finite])
        error = np.abs(np.where(finite, result, 0) - np.where(finite, chains, 0))
        assert (error <= 1e-5 * np.abs(np.where(finite, chains, 0)).max(axis=1, keepdims=True) + 2.0**-126).all()
        if scale < 1e-18:
            assert_bits(*((result[:, 32:64], chains[:, 32:64]) if panels else (result[m - 1], chains[m - 1])))
        if a is rows:
            assert_bits(result[: m - 1], before[: m - 1])


def test_rows_and_weights_of_zero(rng: Generator) -> None:
    x, kernel = normal(rng, 35, 1030), normal(rng, 1030, 1050)
    before = forward(x, kernel)
    x[3], x[34] = 0, 0
    kernel[:, 64:128] = 0
    result = forward(x, kernel)
    assert not result[[3, 34]].any()
    assert not result[:, 64:128].any()
    others = [i for i in range(35) if i not in (3, 34)]
    assert_bits(result[others, :64], before[others, :64])
    assert_bits(result[others, 128:], before[others, 128:])


@pytest.mark.parametrize("m", [1, 2, 3])
def test_inputs_of_zero_may_be_left_out(rng: Generator, m: int) -> None:
    x, kernel, bias = normal(rng, m, 1100), normal(rng, 1100, 1000), normal(rng, 1000)
    for first, last in ((0, 70), (128, 160), (300, 333), (1090, 1100)):
        x[:, first:last] = 0
    want = forward(x, kernel, bias, "relu")
    assert_bits(forward(x, kernel, bias, "relu", skip_zeros=True), want)
    kernel[140] = np.nan
    if m < 3:
        assert_bits(forward(x, kernel, bias, "relu", skip_zeros=True), want)


def test_smaller_weights_and_other_products_are_made_by_multiply_adds(rng: Generator) -> None:
    for k, n in ((1024, 1023), (63, 17000), (17000, 63)):
        x, kernel = normal(rng, 40, k), normal(rng, k, n)
        assert_bits(forward(x, kernel), forward(x, kernel, isa="avx512"))
    x, kernel = normal(rng, 40, 1050), normal(rng, 1050, 1030)
    config.set_isa("amx")
    products = ops.gemm(x, kernel)
    config.set_isa("avx512")
    assert_bits(products, ops.gemm(x, kernel))


def test_a_layer_predicts_a_row_as_in_a_batch(rng: Generator, threads: int) -> None:
    model = Sequential([Dense(1500, activation="relu"), Dense(1100, activation="tanh"), Dense(10)])
    x = normal(rng, 70, 900)
    batch = model.predict(x, batch_size=70)
    for size in (1, 2, 9, 33, 64):
        assert_bits(model.predict(x, batch_size=size), batch)
    assert_bits(model.forward(x), batch)
