"""How many parameter values may be made while a file is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastnn import checks

MOST_WEIGHTS = 2**48  # more than any memory holds, few enough to count their bytes
_budget: list[int] = []  # values that may still be made, innermost last


@contextmanager
def weight_budget(values: int) -> Iterator[None]:
    """Refuse to make more than this many parameter values: a file cannot declare more than it holds."""
    _budget.append(values)
    try:
        yield
    finally:
        _budget.pop()


def spend_weights(who: str, count: int) -> None:
    """Count parameter values against the budget before their memory is taken."""
    if count > MOST_WEIGHTS:
        checks.fail(who, f"at most {MOST_WEIGHTS} weights in an array", count, "use fewer units, or smaller windows")
    if not _budget:
        return
    if count > _budget[-1]:
        checks.fail(who, f"at most {_budget[-1]} more weights, what the file holds", count, "the file is damaged")
    _budget[-1] -= count
