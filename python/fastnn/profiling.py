"""The table that `model.profile` returns: where the time of a step goes, part by part, beside what the machine could do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

HEAD = ("Part", "Phase", "Time", "Share", "GFLOP/s", "GB/s", "Of roof", "Roof")


@dataclass(frozen=True)
class Row:
    """A part of a step.

    Attributes:
        name: of the layer, or "data", "loss", "metrics", "optimizer".
        phase: "forward" or "backward" for a layer, else "".
        kernels: that it calls, in order.
        seconds: that it takes.
        flops: of its products and convolutions, a multiply-add being two, also where zeros let it leave some out, or where a
            filter's gradient needs fewer than one for each tap: then it may be above the peak.
        bytes: of the arrays that it reads and writes, each call's once.
        bound_seconds: that the machine needs at least: for every call the flops at the measured peak or the bytes at the measured
            bandwidth for arrays of that size, whichever takes longer; added up.
        roof: "compute" or "memory", what sets most of that bound.
    """

    name: str
    phase: str
    kernels: tuple[str, ...]
    seconds: float
    flops: float
    bytes: float
    bound_seconds: float
    roof: str

    @property
    def flops_per_second(self) -> float:
        """Rate of the products and convolutions."""
        return self.flops / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_second(self) -> float:
        """Rate of reading and writing."""
        return self.bytes / self.seconds if self.seconds else 0.0

    @property
    def roof_share(self) -> float:
        """Share of what the machine can do: 1 where the part takes no longer than its bound."""
        return self.bound_seconds / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Profile:
    """Where the time of a step goes. Print it for the table.

    Attributes:
        rows: the parts, in the order they run.
        mode: "train" or "predict".
        batch_size: samples of a step.
        steps: that were timed.
        threads: that the kernels used.
        step_seconds: of a step that runs without any clock inside.
        peak: multiply-adds measured, flop/s.
        buffer_bytes: memory that the step's buffers lie in.

    Example:
        >>> model = fastnn.Sequential([fastnn.Input((8,)), fastnn.layers.Dense(4, name="only")])
        >>> model.compile("sgd", "mse")
        >>> profile = model.profile(batch_size=16)
        >>> [(row.name, row.phase) for row in profile.rows if row.flops]
        [('only', 'forward'), ('only', 'backward')]
        >>> profile.rows[1].flops == 2 * 16 * 8 * 4
        True
    """

    rows: tuple[Row, ...]
    mode: str
    batch_size: int
    steps: int
    threads: int
    step_seconds: float
    peak: float
    buffer_bytes: int

    @property
    def seconds(self) -> float:
        """The sum over the rows."""
        return sum(row.seconds for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, the rates of the rows included."""
        rates = ("flops_per_second", "bytes_per_second", "roof_share")
        rows = [{**asdict(row), **{rate: getattr(row, rate) for rate in rates}} for row in self.rows]
        return {
            **asdict(self),
            "rows": [{**row, "kernels": list(row["kernels"])} for row in rows],
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        total = self.seconds or 1.0
        cells = [HEAD, *(_cells(row, total) for row in self.rows)]
        lines = _aligned(cells)
        width = max(map(len, lines))
        kind = "training step" if self.mode == "train" else "prediction"
        return "\n".join(
            [
                f"Profile of a {kind}: batch size {self.batch_size}, {self.threads} threads, {self.steps} steps timed",
                "=" * width,
                lines[0],
                "=" * width,
                *lines[1:],
                "=" * width,
                f"Sum of the parts: {_time(self.seconds)}; step measured whole: {_time(self.step_seconds)}",
                f"Products: {sum(row.flops for row in self.rows) / total / 1e9:.1f} GFLOP/s of the step, "
                f"peak measured {self.peak / 1e9:.1f}",
            ]
        )

    __repr__ = __str__


def _cells(row: Row, total: float) -> Sequence[str]:
    return (
        row.name,
        row.phase,
        _time(row.seconds),
        f"{row.seconds / total:.1%}",
        f"{row.flops_per_second / 1e9:.1f}" if row.flops else "-",
        f"{row.bytes_per_second / 1e9:.1f}",
        f"{row.roof_share:.0%}",
        row.roof,
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines: names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    sides: list[Callable[[str, int], str]] = [str.ljust, str.ljust, *[str.rjust] * 5, str.ljust]
    return ["   ".join(side(cell, w) for side, cell, w in zip(sides, row, widths)).rstrip() for row in rows]


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} us" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms"
