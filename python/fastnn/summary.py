"""The table of a model's layers, shapes and parameter counts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastnn import checks
from fastnn.layers.base import Layer

MARK = "  | "  # before the layers of a model inside of a model, once per level


@dataclass(frozen=True)
class Entry:
    """A line of the table: a call of a layer or of a model.

    Attributes:
        layer: or the model.
        shapes: of its outputs, as text.
        again: whether it was called before.
        sources: what it was called on, as text.
        inside: the lines of a model's own layers.
    """

    layer: Any
    shapes: str
    again: bool = False
    sources: str = ""
    inside: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Style:
    """What the table shows, and how wide it is.

    Args:
        line_length: columns of text; None fits the contents.
        positions: where each column ends: shares of line_length up to 1, or numbers of characters. A column is wider where its
            text is.
        expand_nested: list the layers of models inside of the model, too.
        show_trainable: add a column that says which layers learn: Y, N, or - for one without weights.
        layer_range: names of the first and of the last layer to list, or regular expressions for them.

    Raises:
        ValueError: for values out of range and layers that are not there; TypeError for other kinds of things.
    """

    line_length: int | None = None
    positions: Sequence[float] | None = None
    expand_nested: bool = False
    show_trainable: bool = False
    layer_range: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.line_length is not None:
            checks.integer("summary", "line_length", self.line_length, 1)
        checks.boolean("summary", "expand_nested", self.expand_nested)
        checks.boolean("summary", "show_trainable", self.show_trainable)
        if self.positions is not None:
            ends = [checks.number("summary", "positions", end, above=0.0) for end in self.positions]
            if ends != sorted(ends):
                checks.fail("summary", "positions that go up", list(self.positions))
        if self.layer_range is not None:
            some = self.layer_range
            if isinstance(some, str) or len(some) != 2 or not all(isinstance(name, str) for name in some):
                checks.fail_type("summary", "layer_range as two names", checks.describe(some))

    def table(self, entries: Sequence[Entry]) -> list[list[str]]:
        """Return the cells of the table, its head first."""
        entries = self._chosen(list(entries))
        connected = self._connected(entries)
        head = ["Layer (type)", "Output Shape", "Param #"]
        head += ["Trainable"] if self.show_trainable else []
        return [[*head, "Connected to"] if connected else head, *self._rows(entries, connected, "")]

    def _connected(self, entries: Iterable[Entry]) -> bool:
        return any(entry.sources or (self.expand_nested and self._connected(entry.inside)) for entry in entries)

    def _chosen(self, entries: list[Entry]) -> list[Entry]:
        if self.layer_range is None:
            return entries
        names = [entry.layer.name for entry in entries]
        places = []
        for pattern in self.layer_range:
            try:
                found = [i for i, name in enumerate(names) if name == pattern or re.fullmatch(pattern, name)]
            except re.error as error:
                checks.fail("summary", "layer_range of names or regular expressions", f"{pattern!r} ({error})")
            if not found:
                checks.fail(
                    "summary", "layer_range of layers that are there", repr(pattern), checks.nearest(pattern, names)
                )
            places.append(found)
        return entries[places[0][0] : places[1][-1] + 1]

    def _rows(self, entries: Iterable[Entry], connected: bool, mark: str) -> Iterator[list[str]]:
        for entry in entries:
            layer = entry.layer
            count = "(shared)" if entry.again else f"{layer.count_params():,}"
            row = [f"{mark}{layer.name} ({type(layer).__name__})", entry.shapes, count]
            if self.show_trainable:
                row.append("-" if not layer.count_params() else "Y" if layer.trainable else "N")
            yield [*row, entry.sources or "-"] if connected else row
            if self.expand_nested and not entry.again:
                yield from self._rows(entry.inside, connected, mark + MARK)

    def widths(self, table: Sequence[Sequence[str]]) -> list[int]:
        """Return how many characters each column takes."""
        widths = [max(map(len, column)) + 3 for column in zip(*table)]
        if self.positions is not None:
            if len(self.positions) < len(widths):
                checks.fail("summary", f"positions of {len(widths)} columns", len(self.positions))
            line = self.line_length or sum(widths)
            ends = [0, *(round(end * line) if end <= 1 else round(end) for end in self.positions)]
            widths = [max(width, ends[i + 1] - ends[i]) for i, width in enumerate(widths)]
        elif self.line_length is not None:
            widths[0] = max(widths[0], self.line_length - sum(widths[1:]))
        return widths


def summary_text(name: str, entries: Sequence[Entry], layers: Sequence[Layer], style: Style) -> str:
    """Return the table as text.

    Args:
        name: of the model.
        entries: its lines.
        layers: all that it is made of, each once.
        style: what it shows.
    """
    table = style.table(entries)
    widths = style.widths(table)
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
