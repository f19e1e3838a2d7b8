"""The checks that all other tests rely on notice what they have to."""

from __future__ import annotations

import numpy as np
import pytest
from ops_calls import Array
from tolerances import SMALLEST, U, assert_bits, assert_close, assert_gradient, bound, elementary, ulp

EXPECTED = np.array([1.0, np.nan, np.inf, -np.inf, 0.0, 1e-300])
CLOSE = np.array([1 + 2 * U, np.nan, np.inf, -np.inf, -0.0, 0.0], np.float32)


def changed(at: int, value: float) -> Array:
    x = CLOSE.copy()
    x[at] = value
    return x


def test_close_numbers_pass() -> None:
    assert_close(CLOSE, EXPECTED, bound("rounded", 2.0))
    assert_close(CLOSE[:0], EXPECTED[:0], 0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        changed(0, 1 + 4 * U), changed(0, np.nan), changed(0, np.inf), changed(1, 1.0), changed(2, -np.inf),
        changed(2, 3e38), changed(3, np.nan), changed(4, 2 * SMALLEST), CLOSE[:5], CLOSE[:, None],
    ],
)  # fmt: skip
def test_other_numbers_do_not_pass(wrong: Array) -> None:
    with pytest.raises(AssertionError):
        assert_close(wrong, EXPECTED, np.where(EXPECTED == 0, SMALLEST, 2 * U))


@pytest.mark.parametrize(
    "wrong", [changed(0, 1.0), changed(4, 0.0), changed(1, 0.0), CLOSE.astype(np.float64), CLOSE[:5]]
)
def test_bits_must_be_the_same(wrong: Array) -> None:
    assert_bits(CLOSE[::2], CLOSE[::2].copy())
    with pytest.raises(AssertionError):
        assert_bits(wrong, CLOSE)


@pytest.mark.parametrize("factor", [-1.0, 1.0001, 0.0, np.nan])
def test_a_wrong_gradient_is_noticed(factor: float) -> None:
    dx, v = np.array([3.0, 4.0], np.float32), np.array([1.0, 0.5])
    assert_gradient(dx, 5.0, v)
    with pytest.raises(AssertionError):
        assert_gradient(np.float32(factor) * dx, 5.0, v)


def test_units_in_the_last_place() -> None:
    for x in (1.0, 1.5, 0.1, 3e38, 1e-37, 2.0**-126):
        assert ulp(x) == np.spacing(np.float32(x))
        assert ulp(-x) == ulp(x)
    assert ulp(0.0) == 2.0**-149
    assert elementary(1.0) == 3 * 2.0**-23 + SMALLEST
