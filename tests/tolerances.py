"""How far a float32 kernel may be from its float64 twin: one table, each entry with its reason.

An error is at most ROUNDINGS[family] * sqrt(terms) * u * scale + SMALLEST, element by element. `scale` is the size of the
numbers that were rounded on the way (of a sum: the sum of absolute values), `terms` how many of them were added up: rounding
errors of random sign grow with the square root of their number.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

U = 2.0**-24  # one rounding to float32 is off by at most u times the number: half a unit in the last place
SMALLEST = 2.0**-126  # the smallest normal float32; the kernels may write 0 for anything below

ROUNDINGS = {
    # A product and its partial sum are rounded for each term: the bound of the design for sums of products.
    "product": 2.0,
    # The same without the products.
    "sum": 2.0,
    # A sum, then the reciprocal of the count and the product with it.
    "mean": 3.0,
    # Nothing is rounded, or once and exactly as the twin rounds to float32.
    "exact": 0.0,
    # One rounding.
    "rounded": 1.0,
    # A short formula of +, -, *, / and sqrt, without cancellation: one rounding each.
    "formula": 4.0,
    # x times a gate within [0, 1], computed to a few roundings of 1; relative accuracy is lost where the gate is nearly 0.
    "gate": 4.0,
    # The slope of such a function: gate + x gate', where the two may cancel.
    "gate slope": 8.0,
    # exp and log to 3 ulp (6 roundings), the division or product after it, and the argument's rounding (in `scale`).
    "softmax": 8.0,
    # The difference from a mean, scaled: the mean, the reciprocal deviation and the formula around them.
    "norm": 6.0,
    # An optimizer's formula at each step; errors of the slots decay, those of the weights add up over the steps (`terms`).
    "optimizer": 4.0,
}

# exp, log, tanh, sigmoid and their kin, in units in the last place of the result: the bound of the design.
ELEMENTARY_ULPS = 3.0

# A gradient against the slope of the twin's function: |error| <= GRADIENT times the gradient's norm, the bound of the design.
GRADIENT = 1e-5

# Sums in float64 against each other in another order.
DOUBLE = 1e-13


def bound(family: str, scale: ArrayLike, terms: float = 1) -> Array:
    """Return the largest error that is allowed, element by element."""
    return np.asarray(
        ROUNDINGS[family] * math.sqrt(max(terms, 1)) * U * np.abs(np.asarray(scale, np.float64)) + SMALLEST
    )


def ulp(x: ArrayLike) -> Array:
    """Return the distance between float32 numbers at x."""
    exponent = np.floor(np.log2(np.maximum(np.abs(np.asarray(x, np.float64)), SMALLEST)))
    return np.asarray(2.0 ** (exponent - 23))


def elementary(expected: ArrayLike) -> Array:
    """Return the largest error that is allowed of exp, log, tanh, sigmoid and their kin."""
    return ELEMENTARY_ULPS * ulp(expected) + SMALLEST


def assert_close(got: Array, expected: Array, limit: ArrayLike, what: str = "") -> None:
    """Check |got - expected| <= limit where expected is finite, and that got is the same infinity or NaN elsewhere."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, f"{what}: shape {got.shape} instead of {expected.shape}"
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(got[~finite], expected[~finite], err_msg=what)
    with np.errstate(invalid="ignore"):
        error = np.where(finite, np.abs(got.astype(np.float64) - expected), 0.0)
    excess = ~(error <= limit)
    if excess.any():
        share = np.where(excess, error / np.broadcast_to(np.maximum(limit, SMALLEST), error.shape), 0.0)
        at = np.unravel_index(int(np.argmax(np.nan_to_num(share, nan=np.inf))), error.shape)
        raise AssertionError(
            f"{what}: {int(excess.sum())} of {excess.size} elements too far off; worst at {tuple(map(int, at))}: "
            f"{got[at]!r} instead of {expected[at]!r}, {share[at]:.3g} times the bound"
        )


def assert_bits(got: Array, expected: Array, what: str = "") -> None:
    """Check that two arrays are the same, bit by bit."""
    assert got.dtype == expected.dtype, f"{what}: {got.dtype} instead of {expected.dtype}"
    np.testing.assert_array_equal(
        np.ascontiguousarray(got).view(np.uint8), np.ascontiguousarray(expected).view(np.uint8), err_msg=what
    )


def assert_gradient(dx: Array, slope: float, v: Array, what: str = "") -> None:
    """Check that the float32 gradient dx gives this slope along v."""
    claimed = float(np.vdot(dx.astype(np.float64), v))
    limit = GRADIENT * float(np.linalg.norm(dx.astype(np.float64)) * np.linalg.norm(v)) + SMALLEST
    assert abs(claimed - slope) <= limit, f"{what}: gradient says {claimed}, the function rises by {slope}"
