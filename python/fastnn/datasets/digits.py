"""Digits: 1,797 handwritten digits of 8 x 8 pixels, in the package itself, so that a first example needs no download.

License: "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning Repository,
https://doi.org/10.24432/C50P49, under CC BY 4.0. ``digits.npz`` is its test set with every pixel and label unchanged,
stored as uint8 (the same 1,797 images that scikit-learn has as ``load_digits``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fastnn import checks
from fastnn.datasets import _files


def load_data(test_split: float = 0.2, seed: int = 0) -> tuple[_files.Split, _files.Split]:
    """Load the digits, shuffled and split so that each part has the same share of every digit.

    The result is a function of the two arguments alone: the same on every machine and with every version of NumPy.

    Args:
        test_split: share of each digit's images that goes to the test part (rounded per digit), 0 <= test_split < 1.
        seed: of the shuffle, an integer >= 0.

    Returns:
        ``((x_train, y_train), (x_test, y_test))``, all uint8: images of shape (N, 8, 8) with values 0..16, labels of
        shape (N,) with values 0..9.

    Raises:
        TypeError, ValueError: an argument is not a number, or out of range.

    >>> from fastnn.datasets import digits
    >>> (x_train, y_train), (x_test, y_test) = digits.load_data()
    >>> x_train.shape, y_train.shape, x_test.shape, y_test.shape
    ((1438, 8, 8), (1438,), (359, 8, 8), (359,))
    >>> int(x_train.max())
    16
    """
    test_split = checks.number("datasets.digits", "test_split", test_split, 0, below=1)
    seed = checks.integer("datasets.digits", "seed", seed, 0)
    with np.load(Path(__file__).with_name("digits.npz")) as arrays:
        x, y = arrays["x"], arrays["y"]
    # Sorting raw Philox numbers, not Generator.permutation: NumPy promises only the former to stay the same.
    order = np.argsort(np.random.Philox(seed).random_raw(len(y)), kind="stable")
    x, y = x[order], y[order]
    test = np.zeros(len(y), bool)
    for digit in range(10):
        members = np.flatnonzero(y == digit)
        test[members[: round(test_split * len(members))]] = True
    return (x[~test], y[~test]), (x[test], y[test])
