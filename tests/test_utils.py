"""normalize: vectors of length 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import normal
from tolerances import assert_close

from fastnn.utils import normalize


@pytest.mark.parametrize("order", [1, 2, 3, 0.5, np.inf])
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_lengths_are_one_and_directions_stay(axis: int, order: float) -> None:
    x = normal(4, 5, 3)
    y = normalize(x, axis, order)
    assert y.dtype == np.float32
    length = (
        (np.abs(x) ** order).sum(axis, keepdims=True) ** (1 / order)
        if order < np.inf
        else np.abs(x).max(axis, keepdims=True)
    )
    assert_close(y, x / length, 1e-6)


def test_zeros_and_the_ends_of_the_range() -> None:
    assert normalize([[0.0, 0.0], [0.0, 2.0]]).tolist() == [[0, 0], [0, 1]]
    assert_close(normalize(np.array([[3e200, 4e200], [3e-200, 4e-200]])), np.array([[0.6, 0.8]] * 2), 1e-6)
    assert normalize([3, 4]).tolist() == normalize([3.0, 4.0]).tolist()
    assert normalize(5.0).tolist() == [1.0]
    assert normalize(np.zeros((0, 3))).shape == (0, 3)
    assert normalize(np.zeros((3, 0))).shape == (3, 0)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (([[1.0]], 2), ValueError, "normalize: expected axis to be an integer >= -2 and <= 1, got 2"),
        (([[1.0]], 0, 0), ValueError, "normalize: expected order to be a finite number > 0"),
        (([[1.0]], 0, "l2"), TypeError, "normalize: expected order"),
        ((["a"],), TypeError, "normalize: expected x of a real dtype"),
    ],
)
def test_errors(arguments: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        normalize(*arguments)
