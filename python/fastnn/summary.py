"""The table of a model's layers, shapes and parameter counts."""

from __future__ import annotations

from collections.abc import Sequence

from fastnn.layers.base import Layer
from fastnn.names import Shape


def summary_text(name: str, layers: Sequence[Layer], input_shape: Shape, line_length: int | None = None) -> str:
    """Return the table as text.

    Args:
        name: of the model.
        layers: in order.
        input_shape: of the first layer.
        line_length: columns of the table; None fits the contents.
    """
    rows = [("Layer (type)", "Output Shape", "Param #")]
    shape = input_shape
    for layer in layers:
        shape = layer.compute_output_shape(shape)
        rows.append((f"{layer.name} ({type(layer).__name__})", str(tuple(shape)), f"{layer.count_params():,}"))
    widths = [max(len(row[i]) for row in rows) + 3 for i in range(3)]
    if line_length is not None:
        widths[0] = max(widths[0], line_length - widths[1] - widths[2])
    width = sum(widths)
    lines = ["".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows]
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
            f"Total params: {total:,} ({_bytes(4 * total)})",
            f"Trainable params: {trainable:,} ({_bytes(4 * trainable)})",
            f"Non-trainable params: {total - trainable:,} ({_bytes(4 * (total - trainable))})",
        ]
    )


def _bytes(size: float) -> str:
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} GB"
