"""Products that sum over rows on matrix tiles: float32 from three bfloat16 pieces of each factor."""

from __future__ import annotations

import numpy as np
import pytest
from ops_calls import Array, Generator, normal
from piece_sums import STEP, add_products
from tolerances import assert_bits, bound

from fastnn import config, ops

pytestmark = pytest.mark.skipif("amx" not in config.available_isas(), reason="needs matrix tiles")

# (k, m, n): one block and one step; edges of both, of all lengths; several groups of columns.
SHAPES = [
    *[(32, 128, 96), (33, 129, 97), (64, 160, 128), (100, 131, 300), (63, 144, 113), (95, 145, 112), (300, 128, 1100)],
    *[(257, 200, 700), (1000, 128, 101)],
]


def product(a: Array, b: Array, isa: str = "amx") -> Array:
    config.set_isa(isa)
    result: Array = ops.gemm(a, b, transpose_a=True)
    return result


def twin(a: Array, b: Array) -> Array:
    """Return a^T b, rounded where the tiles round: chains of the first and the last 16 of 32 rows."""
    result = np.zeros((a.shape[1], b.shape[1]), np.float32)
    for step in range(0, len(a), STEP):
        add_products(result, a[step : step + STEP], b[step : step + STEP], (range(16), range(16, 32)))
    return result


@pytest.mark.parametrize(("k", "m", "n"), SHAPES)
def test_the_order_of_a_sum(rng: Generator, k: int, m: int, n: int) -> None:
    a, b = normal(rng, k, m), normal(rng, k, n)
    assert_bits(product(a, b), twin(a, b))


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize(("k", "m", "n"), SHAPES)
def test_threads_do_not_change_it(rng: Generator, k: int, m: int, n: int, threads: int) -> None:
    a, b = normal(rng, k, m), normal(rng, k, n)
    config.set_num_threads(1)
    alone = product(a, b)
    config.set_num_threads(threads)
    assert_bits(product(a, b), alone)


@pytest.mark.parametrize("spread", [0, 8, 20])
@pytest.mark.parametrize(("k", "m", "n"), SHAPES)
def test_it_is_as_exact_as_multiply_adds(rng: Generator, k: int, m: int, n: int, spread: int) -> None:
    """Within the bound of sums of products, and closer to the right result than a chain of multiply-adds is on average."""
    a, b = (
        normal(rng, *s) * np.exp2(rng.integers(-spread, spread + 1, s)).astype(np.float32) for s in ((k, m), (k, n))
    )
    right = a.T.astype(np.float64) @ b
    size = np.abs(a.T).astype(np.float64) @ np.abs(b)
    error = np.abs(product(a, b) - right)
    assert (error <= bound("product", size, k)).all()
    assert (error / size).mean() < (np.abs(product(a, b, "avx512") - right) / size).mean()


def test_pieces_lose_no_bit(rng: Generator) -> None:
    """A product with ones and zeros takes numbers over as they are, whatever their bits."""
    bits = rng.integers(0, 1 << 23, (64, 200), np.uint32) | (rng.integers(90, 160, (64, 200), np.uint32) << 23)
    a = bits.view(np.float32) * rng.choice([-1.0, 1.0], (64, 200)).astype(np.float32)
    b = np.eye(64, 128, dtype=np.float32)
    assert_bits(product(a, b)[:, :64], a.T.copy())
    assert not product(a, b)[:, 64:].any()
    c = product(np.eye(64, 128, dtype=np.float32), a)
    assert_bits(c[:64], a)


@pytest.mark.parametrize("scale", [2.0**-140, 1e-38, 1e-30, 1e-15, 1e15, 1e25, 1e37])
@pytest.mark.parametrize("both", [False, True])
def test_large_and_small_numbers(rng: Generator, scale: float, both: bool) -> None:
    """What pieces could not hold is made by multiply-adds, with their bits."""
    with np.errstate(under="ignore", over="ignore"):
        a = (normal(rng, 70, 140) * scale).astype(np.float32)
        b = (normal(rng, 70, 130) * (scale if both else 1)).astype(np.float32)
    result, chains = product(a, b), product(a, b, "avx512")
    if not 1e-18 < scale < 1e18:
        assert_bits(result, chains)
    np.testing.assert_allclose(
        result, chains, rtol=1e-4, atol=1e-4 * np.abs(chains[np.isfinite(chains)]).max(initial=0)
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_what_is_no_number(rng: Generator, bad: float, side: int) -> None:
    """It is where multiply-adds have it, and nowhere else; blocks without it are as they were."""
    a, b = normal(rng, 70, 170), normal(rng, 70, 1500)
    before = product(a, b)
    (a, b)[side][13, 150] = bad
    result, chains = product(a, b), product(a, b, "avx512")
    np.testing.assert_array_equal(np.isfinite(result), np.isfinite(chains))
    np.testing.assert_array_equal(result[~np.isfinite(result)], chains[~np.isfinite(chains)])
    np.testing.assert_allclose(result[np.isfinite(result)], chains[np.isfinite(chains)], rtol=1e-4, atol=1e-4)
    if side == 0:
        assert_bits(result[:128], before[:128])
        assert_bits(result[150], chains[150])


def test_small_and_few_products_are_made_by_multiply_adds(rng: Generator) -> None:
    for k, m, n in ((31, 128, 96), (32, 127, 96), (32, 128, 95), (5000, 128, 96)):
        a, b = normal(rng, k, m), normal(rng, k, n)
        assert_bits(product(a, b), product(a, b, "avx512"))


def test_rows_of_a_batch_do_not_meet(rng: Generator) -> None:
    """Products of rows, not over them, have the bits that they have without matrix tiles."""
    x, w = normal(rng, 256, 600), normal(rng, 600, 500)
    for transpose in (False, True):
        right = w.T.copy() if transpose else w
        config.set_isa("amx")
        tiles = ops.gemm(x, right, transpose_b=transpose)
        config.set_isa("avx512")
        assert_bits(tiles, ops.gemm(x, right, transpose_b=transpose))
