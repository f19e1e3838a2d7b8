"""Matrix products, column sums, the fully connected layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import STEP
from ops_calls import ALPHA, Array, Generator, double, lanes, normal
from tolerances import assert_bits, assert_close, assert_gradient, bound

from fastnn import config, ops, reference

TRANSPOSES = [(False, False), (True, False), (False, True), (True, True)]


def assert_product(a: Array, b: Array, ta: bool = False, tb: bool = False, bias: Array | None = None) -> None:
    """Check op(a) op(b) + bias against the twin."""
    got = ops.gemm(a, b, transpose_a=ta, transpose_b=tb, bias=bias)
    expected = reference.gemm(double(a), double(b), transpose_a=ta, transpose_b=tb, bias=double(bias))
    sizes = reference.gemm(abs(double(a)), abs(double(b)), transpose_a=ta, transpose_b=tb)
    scale = sizes if bias is None else sizes + abs(double(bias))
    terms = a.shape[0 if ta else 1] + (bias is not None)
    assert_close(got, expected, bound("product", scale, terms), f"{a.shape} {b.shape} {ta} {tb}")


def operands(rng: Generator, m: int, n: int, k: int, ta: bool, tb: bool) -> tuple[Array, Array]:
    return normal(rng, *((k, m) if ta else (m, k))), normal(rng, *((n, k) if tb else (k, n)))


@pytest.mark.parametrize(("ta", "tb"), TRANSPOSES)
def test_small_products(isa: str, rng: Generator, ta: bool, tb: bool) -> None:
    width = lanes()
    for m in range(18):
        for n in (0, 1, width - 1, width, width + 1, 2 * width - 1, 2 * width, 2 * width + 1, 37):
            for k in (0, 1, 2, 5, 13):
                assert_product(*operands(rng, m, n, k, ta, tb), ta, tb)


@pytest.mark.parametrize(("ta", "tb"), TRANSPOSES)
@pytest.mark.parametrize("k", [511, 512, 513, 1024, 1025, 1100, 2049])
def test_long_sums(isa: str, rng: Generator, ta: bool, tb: bool, k: int) -> None:
    for m, n in ((1, 5), (7, 33), (19, 67)):
        assert_product(*operands(rng, m, n, k, ta, tb), ta, tb, normal(rng, n))


@pytest.mark.parametrize(("ta", "tb"), TRANSPOSES)
@pytest.mark.parametrize("vectors", [12, 24, 25, 51])
def test_wide_products(isa: str, rng: Generator, ta: bool, tb: bool, vectors: int) -> None:
    for m, extra, k in ((3, 1, 9), (17, -1, 31), (2, 0, 1030)):
        assert_product(*operands(rng, m, vectors * lanes() + extra, k, ta, tb), ta, tb)


@pytest.mark.parametrize(("ta", "tb"), TRANSPOSES)
@pytest.mark.parametrize(("m", "k"), [(31, 256), (256, 61), (113, 40), (300, 23), (29, 1024), (1031, 17)])
def test_products_with_packed_operands(isa: str, rng: Generator, ta: bool, tb: bool, m: int, k: int) -> None:
    for n in (5, 9 * lanes() + 3):
        assert_product(*operands(rng, m, n, k, ta, tb), ta, tb)


@pytest.mark.parametrize(("ta", "tb"), TRANSPOSES)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_columns_shared_out(isa: str, rng: Generator, ta: bool, tb: bool, threads: int) -> None:
    # Wide enough that each thread copies columns of its own; rows a multiple of 256 apart are copied too.
    panels = 2 * lanes()
    for m, n, k in ((120, 24 * panels + 3, 400), (256, 49 * panels - 5, 390)):
        a, b = operands(rng, m, n, k, ta, tb)
        bias = normal(rng, n)
        expected = ops.gemm(a, b, transpose_a=ta, transpose_b=tb, bias=bias, activation="relu")
        assert_product(a, b, ta, tb, bias)
        config.set_num_threads(threads)
        assert_bits(ops.gemm(a, b, transpose_a=ta, transpose_b=tb, bias=bias, activation="relu"), expected)
        assert_product(a, b, ta, tb, bias)
        config.set_num_threads(1)


@pytest.mark.parametrize("threads", [2, 3, 4, 5])
@pytest.mark.parametrize("m", [1, 2, 6, 14, 15, 33, 48, 49, 97, 256, 257])
def test_rows_of_b_shared_out(isa: str, rng: Generator, m: int, threads: int) -> None:
    # A pipeline: a thread takes some terms of all sums, after the one that takes those before. More threads than processors wait.
    for n, k in ((131, 300), (300, 391), (517, 131)):
        a, b = operands(rng, m, n, k, False, False)
        bias = normal(rng, n)
        expected = {f: ops.gemm(a, b, bias=bias, activation=f) for f in ("linear", "relu", "tanh")}
        assert_product(a, b, bias=bias)
        config.set_num_threads(threads)
        for _ in range(5):
            for activation, product in expected.items():
                assert_bits(ops.gemm(a, b, bias=bias, activation=activation), product)
        config.set_num_threads(1)


@pytest.mark.parametrize("m", [*range(1, 8), 13, 14, 15, 16, 17])
def test_few_rows(isa: str, rng: Generator, m: int) -> None:
    # Widths around those of the wide tiles (up to eight vectors and a rest), and around a square of a transposed copy.
    width = lanes()
    for n in (7, 8, 9, 15, 16, 17, 4 * width - 1, 4 * width, 6 * width + 1, 8 * width, 8 * width + 3, 17 * width + 5):
        for ta, tb in TRANSPOSES:
            for k in (1, 7, 8, 9, 130):
                assert_product(*operands(rng, m, n, k, ta, tb), ta, tb)


@pytest.mark.parametrize(("ta", "tb"), TRANSPOSES)
@pytest.mark.parametrize("m", [1, 4, 7, 14])
def test_few_rows_of_a_large_matrix(isa: str, rng: Generator, ta: bool, tb: bool, m: int) -> None:
    # b of more than 2^21 numbers; with 1024 terms its transposed rows are a power of two apart.
    for n, k in ((2053, 1029), (2056, 1024)):
        assert_product(*operands(rng, m, n, k, ta, tb), ta, tb, normal(rng, n))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("rows", "inputs", "units"),
    [
        (1, 500, 300),
        (1, 37, 5),
        (1, 3, 2),
        (1, 130, 512),
        (1, 70, 1024),
        (2, 45, 90),
        (9, 33, 40),
        (64, 130, 70),
        (130, 300, 100),
        (32, 301, 203),
        (15, 517, 1024),
    ],
)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99, 1.0])
def test_behind_units_that_are_off_there_is_no_gradient(
    isa: str, rng: Generator, rows: int, inputs: int, units: int, share: float, threads: int
) -> None:
    config.set_num_threads(threads)
    x, kernel, dy = normal(rng, rows, inputs), normal(rng, inputs, units), normal(rng, rows, units)
    x = np.where(rng.random(x.shape) < share, np.float32(0), abs(x))
    x[0, 0], x[-1, -1], x[0, -1] = -1.0, -0.0, np.nan
    plain = ops.dense_backward(x, kernel, dy, None)
    got = ops.dense_backward(x, kernel, dy, None, relu_input=True)
    assert plain is not None
    assert got is not None
    assert_bits(got, np.where(x > 0, plain, np.float32(0)))
    dy[0, 0] = np.nan
    got = ops.dense_backward(x, kernel, dy, None, relu_input=True)
    assert got is not None
    assert np.isnan(got[0]).sum() == (x[0] > 0).sum()


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 2, 3, 4])
@pytest.mark.parametrize(("inputs", "units"), [(784, 500), (300, 130), (9, 64), (1, 200), (50, 63), (2100, 1030)])
@pytest.mark.parametrize("share", [0.0, 0.12, 0.5, 1.0])
def test_inputs_of_zero_may_be_left_out(
    isa: str, rng: Generator, rows: int, inputs: int, units: int, share: float, threads: int
) -> None:
    config.set_num_threads(threads)
    x, kernel, bias = normal(rng, rows, inputs), normal(rng, inputs, units), normal(rng, units)
    x[:, rng.random(inputs) < share] = 0.0
    x[0, rng.random(inputs) < share] = -0.0
    for activation in ("linear", "relu", "tanh"):
        want = ops.dense_forward(x, kernel, bias, activation)
        assert_bits(ops.dense_forward(x, kernel, bias, activation, skip_zeros=True), want)


def test_what_is_not_zero_is_never_left_out(isa: str, rng: Generator) -> None:
    x, kernel = np.zeros((1, 200), np.float32), normal(rng, 200, 160)
    x[0, 150] = 1e-30
    kernel[150, 7], kernel[20, 9] = np.inf, np.nan
    y = ops.dense_forward(x, kernel, skip_zeros=True)
    assert np.flatnonzero(~np.isfinite(y)).tolist() == [7]
    assert np.flatnonzero(~np.isfinite(ops.dense_forward(x, kernel))).tolist() == [7, 9]


@pytest.mark.parametrize("n", [2053, 2064])
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("m", [4, 6, 14, 17, 49, 130])
def test_rows_by_a_large_matrix(isa: str, rng: Generator, ta: bool, n: int, m: int) -> None:
    # Copied or not: by the number of rows, and whether those of b begin on cache lines. 1024 terms: rows of a collide in the cache.
    a, b = operands(rng, m, n, 1024, ta, False)
    bias = normal(rng, n)
    assert_product(a, b, ta, bias=bias)
    expected = ops.gemm(a, b, transpose_a=ta, bias=bias, activation="relu")
    for threads in (2, 3):
        config.set_num_threads(threads)
        assert_bits(ops.gemm(a, b, transpose_a=ta, bias=bias, activation="relu"), expected)
    config.set_num_threads(1)
    row = ops.gemm(a[:, 3:4].copy() if ta else a[3:4], b, transpose_a=ta, bias=bias, activation="relu")
    assert_bits(row, expected[3:4])


@pytest.mark.parametrize(("ta", "tb"), TRANSPOSES)
@pytest.mark.parametrize("k", [127, 128, 129, 383, 384, 385, 769])
def test_borders_of_blocks(isa: str, rng: Generator, ta: bool, tb: bool, k: int) -> None:
    for m, n in ((29, 37), (150, 33 * lanes() + 1)):
        assert_product(*operands(rng, m, n, k, ta, tb), ta, tb, normal(rng, n))


@pytest.mark.parametrize(("n", "k"), [(5, 9), (300, 19), (70, 130), (83, 512), (259, 400), (2051, 1030)])
@pytest.mark.parametrize("tb", [False, True])
def test_a_row_is_the_same_in_every_batch(isa: str, rng: Generator, n: int, k: int, tb: bool) -> None:
    # Each of these heights is cut in another way.
    a, b = operands(rng, 131, n, k, False, tb)
    batch = ops.gemm(a, b, transpose_b=tb)
    for m in (1, 2, 3, 4, 5, 7, 9, 14, 15, 16, 17, 40, 64, 65, 113):
        assert_bits(ops.gemm(a[:m], b, transpose_b=tb), batch[:m])
        assert_bits(ops.gemm(a[:m].T.copy(), b, transpose_a=True, transpose_b=tb), batch[:m])


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (7, 21, 5), (29, 70, 530), (3, 19, 0), (0, 4, 3), (2, 0, 3)])
def test_bias_and_activation_change_no_bits(isa: str, rng: Generator, activation: str, m: int, n: int, k: int) -> None:
    a, b, bias = normal(rng, m, k), normal(rng, k, n), normal(rng, n)
    for given in (None, bias):
        linear = ops.gemm(a, b, bias=given)
        fused = ops.gemm(a, b, bias=given, activation=activation, alpha=ALPHA)
        assert_bits(fused, ops.activation_forward(linear, activation, ALPHA))
        assert_bits(ops.dense_forward(a, b, given, activation, ALPHA), fused)
    if k == 0:
        np.testing.assert_array_equal(linear, np.broadcast_to(bias, (m, n)))


def test_sums_are_taken_in_order(isa: str, rng: Generator) -> None:
    # Numbers of 11 bits have exact products, so each step of the chain rounds once, with or without a fused multiply-add.
    m, n, k = 5, 37, 1100
    a, b = (rng.integers(-1024, 1024, shape).astype(np.float32) for shape in ((m, k), (k, n)))
    expected = np.zeros((m, n), np.float32)
    for p in range(k):
        expected += np.outer(a[:, p], b[p])
    assert np.abs(expected).max() > 2**24  # otherwise nothing is rounded
    assert_bits(ops.gemm(a, b), expected)
    assert_bits(ops.gemm(a.T.copy(), b.T.copy(), transpose_a=True, transpose_b=True), expected)


@pytest.mark.parametrize(("m", "n", "k"), [(17, 37, 19), (130, 70, 257), (29, 300, 1030)])
@pytest.mark.parametrize("tb", [False, True])
def test_a_row_does_not_see_the_others(isa: str, rng: Generator, m: int, n: int, k: int, tb: bool) -> None:
    a, b = operands(rng, m, n, k, False, tb)
    options: dict[str, Any] = {"transpose_b": tb, "bias": normal(rng, n), "activation": "tanh"}
    batch = ops.gemm(a, b, **options)
    a_t = ops.gemm(a.T.copy(), b, transpose_a=True, **options)
    assert_bits(a_t, batch)
    for i in range(0, m, 1 if m < 20 else 7):
        assert_bits(ops.gemm(a[i : i + 1], b, **options)[0], batch[i])
    assert_bits(ops.gemm(a[3:16], b, **options), batch[3:16])


@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_special_values_stay_in_their_row_and_column(isa: str, rng: Generator, special: float) -> None:
    a, b = normal(rng, 31, 67), normal(rng, 67, 43)
    clean = ops.gemm(a, b)
    a[13, 5] = special
    b[7, 41] = special
    c = ops.gemm(a, b)
    others = np.ones(c.shape, bool)
    others[13], others[:, 41] = False, False
    np.testing.assert_array_equal(c[others], clean[others])
    assert not np.isfinite(c[~others]).any()
    if np.isinf(special):
        expected = np.sign(b[5]) * special
        np.testing.assert_array_equal(np.delete(c[13], 41), np.delete(expected, 41))


def test_overflow_is_infinite(isa: str) -> None:
    a = np.full((1, 2), 3e38, np.float32)
    assert ops.gemm(a, np.ones((2, 1), np.float32))[0, 0] == np.inf


def test_strided_and_converted_operands(isa: str, rng: Generator) -> None:
    a, b = normal(rng, 13, 17), normal(rng, 17, 11)
    expected = ops.gemm(a, b)
    big = np.zeros((13, 34), np.float32)
    big[:, ::2] = a
    for same in (np.asfortranarray(a), big[:, ::2], a[::-1].copy()[::-1], a.astype(np.float64), a.astype(">f4")):
        assert_bits(ops.gemm(same, b), expected)
    whole = rng.integers(-9, 9, (13, 17))
    assert_bits(ops.gemm(whole, b), ops.gemm(whole.astype(np.float32), b))
    assert_bits(ops.gemm(a.astype(np.float16), b), ops.gemm(a.astype(np.float16).astype(np.float32), b))


@pytest.mark.parametrize("rows", [0, 1, 2, 63, 64, 65, 129, 2047, 2048, 2049, 4001])
def test_column_sums(isa: str, rng: Generator, rows: int) -> None:
    width = lanes()
    for cols in (0, 1, width - 1, width, width + 1, 37, 3 * width, 8 * width - 1, 8 * width, 8 * width + 1):
        x = normal(rng, rows, cols)
        expected, sizes = reference.column_sums(double(x)), reference.column_sums(abs(double(x)))
        assert_close(ops.column_sums(x), expected, bound("sum", sizes, rows), f"{rows} x {cols}")


def test_column_sums_are_taken_in_order(isa: str, rng: Generator) -> None:
    # Whole numbers up to 2^24 are exact; beyond, each step rounds. A chunk of 64 rows is one chain.
    x = rng.integers(2**22, 2**23, (150, 203)).astype(np.float32)
    expected = np.zeros(203, np.float32)
    for first in range(0, 150, 64):
        part = np.zeros(203, np.float32)
        for row in x[first : first + 64]:
            part += row
        expected += part
    assert_bits(ops.column_sums(x), expected)


def test_column_sums_keep_growing(isa: str) -> None:
    # One float32 sum would stop at 2^24; the chunks stay below it.
    rows = 2**24 + 2**20
    assert ops.column_sums(np.ones((rows, 1), np.float32))[0] == rows


DENSE = [(0, 3, 2), (1, 1, 1), (5, 7, 3), (17, 37, 19), (130, 65, 33), (1100, 20, 9)]


@pytest.mark.parametrize(("n", "d", "k"), DENSE)
def test_dense_backward(isa: str, rng: Generator, n: int, d: int, k: int) -> None:
    x, kernel, dy = normal(rng, n, d), normal(rng, d, k), normal(rng, n, k)
    dkernel, dbias = np.full((d, k), np.nan, np.float32), np.full(k, np.nan, np.float32)
    dx = ops.dense_backward(x, kernel, dy, dkernel, dbias)
    wide = [double(v) for v in (x, kernel, dy)]
    size = [abs(v) for v in wide]
    assert dx is not None
    assert_close(dx, wide[2] @ wide[1].T, bound("product", size[2] @ size[1].T, k))
    assert_close(dkernel, wide[0].T @ wide[2], bound("product", size[0].T @ size[2], n))
    assert_close(dbias, wide[2].sum(0), bound("sum", size[2].sum(0), n))


@pytest.mark.parametrize(("n", "d", "k"), DENSE[1:])
def test_dense_backward_is_the_slope(isa: str, rng: Generator, n: int, d: int, k: int) -> None:
    x, kernel, bias, dy = normal(rng, n, d), normal(rng, d, k), normal(rng, k), normal(rng, n, k)
    dkernel, dbias = np.empty((d, k), np.float32), np.empty(k, np.float32)
    dx = ops.dense_backward(x, kernel, dy, dkernel, dbias)
    arguments = [double(v) for v in (x, kernel, bias)]
    for i, gradient in enumerate((dx, dkernel, dbias)):
        assert gradient is not None
        v = rng.standard_normal(gradient.shape)

        def at(step: float, i: int = i, v: Array = v) -> float:
            moved = [a + step * v if j == i else a for j, a in enumerate(arguments)]
            return float(np.vdot(double(dy), reference.dense_forward(*moved)))

        assert_gradient(gradient, (at(STEP) - at(-STEP)) / (2 * STEP), v)


def test_dense_backward_writes_what_is_wanted(isa: str, rng: Generator) -> None:
    x, kernel, dy = normal(rng, 9, 5), normal(rng, 5, 7), normal(rng, 9, 7)
    store = np.full(35 + 7, np.nan, np.float32)
    assert ops.dense_backward(x, kernel, dy, store[:35].reshape(5, 7), need_dx=False) is None
    assert np.isfinite(store[:35]).all()
    assert np.isnan(store[35:]).all()
    dkernel, dbias = store[:35].copy(), store[35:]
    assert ops.dense_backward(x, kernel, dy, None, dbias, need_dx=False) is None
    assert_bits(store[:35], dkernel)
    assert_bits(dbias, ops.column_sums(dy))


A, B = np.zeros((3, 4), np.float32), np.zeros((4, 5), np.float32)
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "inner sizes": (
        lambda: ops.gemm(A, A),
        ValueError,
        r"gemm: expected matrices that fit, got \(3, 4\) times \(3, 4\)",
    ),
    "inner sizes transposed": (
        lambda: ops.gemm(A, B, transpose_b=True),
        ValueError,
        "gemm: expected matrices that fit",
    ),
    "rank of a": (lambda: ops.gemm(A[0], B), ValueError, r"gemm: expected a of rank 2, got shape \(4,\)"),
    "rank of b": (lambda: ops.gemm(A, B[None]), ValueError, r"gemm: expected b of rank 2, got shape \(1, 4, 5\)"),
    "complex": (lambda: ops.gemm(A * 1j, B), TypeError, "gemm: expected a of a real dtype .*, got dtype complex64; "),
    "strings": (lambda: ops.gemm(A.astype(str), B), TypeError, "gemm: expected a of a real dtype .*, got dtype <U"),
    "objects": (
        lambda: ops.gemm(A, B.astype(object)),
        TypeError,
        "gemm: expected b of a real dtype .*, got dtype object",
    ),
    "masked": (
        lambda: ops.gemm(np.ma.array(A), B),
        TypeError,
        "gemm: expected a to be a plain array, got a masked array",
    ),
    "too large": (
        lambda: ops.gemm(np.full((3, 4), 1e300), B),
        ValueError,
        "gemm: expected a within the range of float32 .*, got larger values; scale the data",
    ),
    "bias size": (lambda: ops.gemm(A, B, bias=A[0]), ValueError, "expected bias of 5 elements, got 4"),
    "bias dtype": (lambda: ops.gemm(A, B, bias=np.zeros(5)), TypeError, "expected bias"),
    "activation": (
        lambda: ops.gemm(A, B, activation="rely"),
        ValueError,
        "expected the name of an activation, got 'rely'",
    ),
    "column_sums": (lambda: ops.column_sums(A[0]), ValueError, r"column_sums: expected x of rank 2, got shape \(4,\)"),
    "dense x": (
        lambda: ops.dense_forward(A, A),
        ValueError,
        r"dense_forward: expected x of shape \(N, 3\), got \(3, 4\)",
    ),
    "dense rank": (lambda: ops.dense_forward(A[0], B), ValueError, "dense_forward: expected x of rank 2"),
    "dense kernel": (lambda: ops.dense_forward(A, B.astype(np.float64)), TypeError, "expected .* C-contiguous array"),
    "dense dy": (
        lambda: ops.dense_backward(A, B, A, None),
        ValueError,
        r"dense_backward: expected dy of shape \(3, 5\), got \(3, 4\)",
    ),
    "dkernel size": (lambda: ops.dense_backward(A, B, A @ B, A), ValueError, "expected .*, got"),
    "dbias size": (lambda: ops.dense_backward(A, B, A @ B, None, A[0]), ValueError, "expected .*, got"),
}


@pytest.mark.parametrize(("call", "error", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_read_only_results_are_refused() -> None:
    dkernel = np.zeros((4, 5), np.float32)
    dkernel.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        ops.dense_backward(A, B, A @ B, dkernel)


@pytest.mark.parametrize("m", [5, 7, 9, 15, 17, 23])
def test_both_transposed_on_several_threads(isa: str, rng: Generator, m: int) -> None:
    # Every thread copies rows of a, in tiles lower than a vector is wide, and must stay in its part of the scratch memory.
    for n, k in ((500, 784), (1031, 207), (130, 2048)):
        a, b = operands(rng, m, n, k, True, True)
        config.set_num_threads(1)
        expected = ops.gemm(a.T.copy(), b.T.copy())
        for threads in (2, 3):
            config.set_num_threads(threads)
            for _ in range(20):
                assert_bits(ops.gemm(a, b, transpose_a=True, transpose_b=True), expected)
    config.set_num_threads(1)
