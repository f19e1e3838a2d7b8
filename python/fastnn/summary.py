"""The table of a model's layers, shapes and parameter counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fastnn.layers.base import Layer


def summary_text(
    name: str, rows: Iterable[Sequence[str]], layers: Sequence[Layer], line_length: int | None = None
) -> str:
    """Return the table as text.

    Args:
        name: of the model.
        rows: of cells, the head first.
        layers: all of them, each once.
        line_length: columns of the table; None fits the contents.
    """
    table = [list(row) for row in rows]
    widths = [max(map(len, column)) + 3 for column in zip(*table)]
    if line_length is not None:
        widths[0] = max(widths[0], line_length - sum(widths[1:]))
    width = sum(widths)
    lines = ["".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in table]
    trainable = sum(p.size for layer in layers for p in layer.trainable_weights)
    total = sum(layer.count_params() for layer in layers)
    return "\n".join(
        [
            f'Model: "{name}"',
            "=" * width,
            lines[0],
            "=" * width,
            *lines[1:],
            "=" * width,
            f"Total params: {total:,} ({bytes_text(4 * total)})",
            f"Trainable params: {trainable:,} ({bytes_text(4 * trainable)})",
            f"Non-trainable params: {total - trainable:,} ({bytes_text(4 * (total - trainable))})",
        ]
    )


def bytes_text(size: float) -> str:
    """Return a number of bytes in the unit that suits it."""
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} GB"
