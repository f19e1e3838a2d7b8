"""Names and shapes as text."""

from __future__ import annotations

import re
from collections.abc import Sequence

Shape = tuple[int | None, ...]  # of a batch: the first entry, the batch size, is None

_given: dict[str, int] = {}


def unique_name(base: str) -> str:
    """Return base, base_1, base_2, ... counting through the process, as Keras does."""
    count = _given.get(base, 0)
    _given[base] = count + 1
    return f"{base}_{count}" if count else base


def clear_names() -> None:
    """Start counting anew."""
    _given.clear()


def snake_case(name: str) -> str:
    """Return 'max_pooling2d' for 'MaxPooling2D'."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def shape_text(shape: Sequence[int | None]) -> str:
    """Return a batch's shape with N for the batch size, such as (N, 28, 28)."""
    inner = ["N", *("?" if s is None else str(s) for s in shape[1:])]
    return f"({', '.join(inner)}{',' if len(inner) == 1 else ''})"
