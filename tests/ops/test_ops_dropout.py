"""Dropout, and the random numbers behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops_calls import Array, Generator, double, lanes, normal
from tolerances import assert_bits

from fastnn import ops, reference
from fastnn.reference.random import philox4x32

MASK = 0xFFFFFFFF


def numbers(n: int, seed: int, stream: int, step: int) -> Array:
    """Return the 16-bit numbers that decide about elements 0 ... n - 1, from the twin's Philox."""
    blocks = (n + 7) // 8
    counter = np.array([(b, 0, stream, step) for b in range(blocks)], np.uint64).reshape(blocks, 4)
    words = philox4x32(counter, (seed & MASK, seed >> 32))
    return np.stack([words & 0xFFFF, words >> 16], axis=-1).reshape(-1)[:n]


def kept(n: int, rate: float, seed: int = 0, stream: int = 0, step: int = 0) -> Array:
    """Return which of n ones the kernel keeps."""
    y, _ = ops.dropout_forward(np.ones(n, np.float32), rate, seed, stream, np.array([step], np.uint64))
    return y != 0


def test_philox_known_answers(isa: str) -> None:
    # Published with Random123 for a counter and a key of zeros: the words of block 0, low half first.
    words = (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    published = [half for word in words for half in (word & 0xFFFF, word >> 16)]
    np.testing.assert_array_equal(numbers(8, 0, 0, 0), published)
    for i, number in enumerate(published):
        assert kept(8, number / 65536)[i], "a number equal to the threshold is kept"
        assert not kept(8, (number + 1) / 65536)[i]


@pytest.mark.parametrize(
    ("seed", "stream", "step"),
    [
        (0, 0, 0),
        (1, 2, 3),
        (2**64 - 1, 2**32 - 1, 2**32 - 1),
        (0xA4093822299F31D0, 0x13198A2E, 0x03707344),
        (2**32, 0, 2**31),
    ],
)
def test_masks_are_those_of_philox(isa: str, seed: int, stream: int, step: int) -> None:
    n = 5003
    drawn = numbers(n, seed, stream, step)
    for threshold in (1, 100, 32768, 65535):
        np.testing.assert_array_equal(kept(n, threshold / 65536, seed, stream, step), drawn >= threshold)


def test_sizes_around_a_block(isa: str, rng: Generator) -> None:
    x = normal(rng, 400)
    whole, _ = ops.dropout_forward(x, 0.4, 9, 1, np.array([5], np.uint64))
    for n in (*range(2 * lanes() + 4), *range(120, 140), 255, 256, 257, 385):
        y, bits = ops.dropout_forward(x[:n], 0.4, 9, 1, np.array([5], np.uint64))
        assert_bits(y, whole[:n], "an element's fate does not depend on how many there are")
        np.testing.assert_array_equal(bits, np.packbits(numbers(n, 9, 1, 5) >= 26214, bitorder="little"))
        assert_bits(ops.dropout_backward(x[:n], bits, 0.4), whole[:n])
    shaped, _ = ops.dropout_forward(x.reshape(4, 5, 20), 0.4, 9, 1, np.array([5], np.uint64))
    assert_bits(shaped.reshape(-1), whole)


@pytest.mark.parametrize("rate", [0.0, 1e-6, 0.1, 0.25, 0.5, 0.9, 65535 / 65536, 0.9999999])
def test_values_are_scaled_exactly(isa: str, rng: Generator, rate: float) -> None:
    x, dy = normal(rng, 7, 191), normal(rng, 7, 191)
    counter, twin = np.array([11], np.uint64), np.array([11], np.uint64)
    y, bits = ops.dropout_forward(x, rate, 2**40 + 7, 3, counter)
    want, same = reference.dropout_forward(double(x), rate, 2**40 + 7, 3, twin)
    np.testing.assert_array_equal(bits, same)
    # A product of two float32 numbers is exact in float64, so that rounded to float32 it is the correctly rounded one.
    assert_bits(y, want.astype(np.float32))
    dwant = reference.dropout_backward(double(dy), same, rate)
    assert_bits(ops.dropout_backward(dy, bits, rate), dwant.astype(np.float32))
    if rate == 0:
        assert_bits(y, x)


def test_the_counter_counts_calls(isa: str) -> None:
    x, counter = np.ones(1000, np.float32), np.array([2**32 - 1], np.uint64)
    first, _ = ops.dropout_forward(x, 0.5, 1, 2, counter)
    assert counter.tolist() == [2**32]
    second, _ = ops.dropout_forward(x, 0.5, 1, 2, counter)
    assert counter.tolist() == [2**32 + 1]
    assert (first != second).any()
    np.testing.assert_array_equal(second != 0, kept(1000, 0.5, 1, 2, 0), "the step is the counter's low word")


def test_forward_and_backward_keep_the_same(isa: str, rng: Generator) -> None:
    counter, steps = np.array([0], np.uint64), []
    x = np.ones((37, 41), np.float32)
    for _ in range(3):
        steps.append(ops.dropout_forward(x, 0.3, 5, 6, counter))
    dy = normal(rng, 37, 41)
    for y, bits in steps:
        np.testing.assert_array_equal(ops.dropout_backward(dy, bits, 0.3) != 0, y != 0)


def test_backward_takes_any_bits(isa: str, rng: Generator) -> None:
    dy = normal(rng, 5, 211)
    bits = rng.integers(0, 256, (dy.size + 7) // 8, np.uint8)
    stays = np.unpackbits(bits, count=dy.size, bitorder="little").reshape(dy.shape).astype(bool)
    assert_bits(ops.dropout_backward(dy, bits, 0.75), np.where(stays, 4 * dy, 0))


def test_shares_and_independence(isa: str) -> None:
    n = 200_000
    masks = [kept(n, 0.3, seed, stream, step) for seed, stream, step in ((1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1))]
    for mask in masks:
        assert abs(mask.mean() - 0.7) < 5 * (0.21 / n) ** 0.5
        assert abs((mask[1:] & mask[:-1]).mean() - 0.49) < 5 * (0.25 / n) ** 0.5, "neighbors"
    for i in range(len(masks)):
        for j in range(i):
            assert abs((masks[i] & masks[j]).mean() - 0.49) < 5 * (0.25 / n) ** 0.5, (i, j)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_what_is_dropped_is_zero_whatever_it_was(isa: str, special: float) -> None:
    x = np.full(501, special, np.float32)
    y, bits = ops.dropout_forward(x, 0.5, 1, 2, np.array([3], np.uint64))
    keep = kept(501, 0.5, 1, 2, 3)
    np.testing.assert_array_equal(y, np.where(keep, special, 0.0))
    np.testing.assert_array_equal(ops.dropout_backward(x, bits, 0.5), y)
    assert 150 < keep.sum() < 350


X = np.zeros((3, 4), np.float32)
COUNTER = np.array([0], np.uint64)
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "counter dtype": (
        lambda: ops.dropout_forward(X, 0.5, 1, 2, np.array([0])),
        TypeError,
        "expected counter as an aligned",
    ),
    "counter size": (
        lambda: ops.dropout_forward(X, 0.5, 1, 2, np.zeros(2, np.uint64)),
        ValueError,
        "expected counter of 1 elements, got 2",
    ),
    "kept dtype": (lambda: ops.dropout_backward(X, np.zeros(2), 0.5), TypeError, "expected kept as an aligned"),
    "kept size": (
        lambda: ops.dropout_backward(X, np.zeros(1, np.uint8), 0.5),
        ValueError,
        "expected kept of 2 elements, got 1",
    ),
    "complex": (
        lambda: ops.dropout_forward(X * 1j, 0.5, 1, 2, COUNTER),
        TypeError,
        "dropout_forward: expected x of a real dtype .*, got dtype complex64; convert it first",
    ),
    "negative seed": (lambda: ops.dropout_forward(X, 0.5, -1, 2, COUNTER), TypeError, "dropout_forward"),
    "stream of 33 bits": (lambda: ops.dropout_forward(X, 0.5, 1, 2**32, COUNTER), TypeError, "dropout_forward"),
}


@pytest.mark.parametrize(("call", "error", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
    assert COUNTER[0] == 0
