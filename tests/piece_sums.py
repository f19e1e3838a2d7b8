"""Sums of products as matrix tiles make them: float32 from three bfloat16 pieces of each factor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

PAIRS = ((0, 2), (0, 1), (1, 1), (1, 0), (2, 0), (0, 0))
STEP = 32


def pieces_of(x: Array, rounded: bool = True) -> list[Array]:
    """Return three arrays of eight significant bits each, whose sum is x; rounded to nearest, or cut off."""
    pieces, rest = [], x
    for last in (not rounded, not rounded, True):
        bits = rest.view(np.uint32)
        piece = ((bits if last else bits + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)
        pieces.append(piece)
        rest = rest - piece
    assert not rest.any()
    return pieces


def add_products(result: Array, a: Array, b: Array, chains: tuple[range, range], rounded: bool = True) -> None:
    """Add a^T b to the result, for at most 32 rows: of each pair of pieces two chains of 16, begun anew; then their sums.

    rounded: the pieces of b are, too.
    """
    padded_a, padded_b = (np.pad(x, ((0, STEP - len(x)), (0, 0))) for x in (a, b))
    left, right = pieces_of(padded_a), pieces_of(padded_b, rounded)
    for i, j in PAIRS:
        sums = np.zeros((2, *result.shape), np.float32)
        for chain, rows in enumerate(chains):
            for row in rows:
                sums[chain] += left[i][row, :, None] * right[j][row]  # the product of two pieces is exact
        result += sums[0] + sums[1]
