"""Results of a benchmark: what was measured, as rows of a table, as JSON, as Markdown."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from fastnn.bench.timing import Timing

HEADINGS = ("fastnn", "NumPy twin", "plain NumPy", "rate", "of the roof")
WIDTHS = (46, 14, 17, 17, 15, 16)
PROGRAMS = {"numpy": "NumPy twin", "plain": "plain NumPy"}
NOISE = 0.1  # a share by which the peak may change from start to end on a quiet machine


@dataclass(frozen=True)
class Roof:
    """The least time a case can take on this machine, and what bounds it.

    Args:
        bound: "peak" (multiply-adds) or "memory".
        seconds: amount / limit.
        limit: flop/s or bytes/s that were measured.
        amount: flops or bytes of one call.
    """

    bound: str
    seconds: float
    limit: float
    amount: float


def roof(flops: float, nbytes: float, peak: float, bandwidth: float) -> Roof:
    """Return the higher of the two roofs: flops at the measured peak, or bytes at the measured bandwidth.

    Example:
        >>> from fastnn.bench.report import roof
        >>> roof(flops=100, nbytes=10, peak=50, bandwidth=10).bound
        'peak'
        >>> roof(flops=100, nbytes=50, peak=50, bandwidth=10).seconds
        5.0
    """
    compute = Roof("peak", flops / peak, peak, flops)
    memory = Roof("memory", nbytes / bandwidth, bandwidth, nbytes)
    return compute if compute.seconds >= memory.seconds else memory


@dataclass(frozen=True)
class Row:
    """One case: the timings of its programs ("fastnn", "numpy", perhaps "plain"), each of so many steps a call; its work."""

    group: str
    name: str
    timings: dict[str, Timing]
    steps: int
    roof: Roof
    flops: float = 0.0  # of one call or step, multiply-adds counted as two
    nbytes: float = 0.0  # that it reads and writes at least

    def seconds(self, program: str) -> float:
        """Return the median seconds of a kernel call, or of a training step."""
        return self.timings[program].median / self.steps

    def ratio(self, program: str) -> float:
        """Return how many times fastnn's time the program takes, of medians."""
        return self.seconds(program) / self.seconds("fastnn")

    @property
    def share(self) -> float:
        """Of the roof: least time possible / time."""
        return self.roof.seconds / self.seconds("fastnn")

    def cells(self) -> list[str]:
        """Return the table's cells."""
        own = f"{duration(self.seconds('fastnn'))} ±{self.timings['fastnn'].spread:.0%}"
        others = [f"{duration(self.seconds(p))} {self.ratio(p):6.2f}x" if p in self.timings else "-" for p in PROGRAMS]
        unit = "GFLOP/s" if self.roof.bound == "peak" else "GB/s"
        rate = f"{self.roof.amount / self.seconds('fastnn') / 1e9:.1f} {unit}"
        return [self.name, own, *others, rate, f"{self.share:.0%} of {self.roof.bound}"]

    def data(self) -> dict[str, Any]:
        """Return everything as plain data."""
        programs = {}
        for name, timing in self.timings.items():
            low, high = timing.quartiles
            programs[name] = {
                "median_s": self.seconds(name),
                "quartiles_s": [low / self.steps, high / self.steps],
                "samples_s": [sample / self.steps for sample in timing.samples],
                "calls_per_sample": timing.calls * self.steps,
            }
        return {
            "group": self.group,
            "name": self.name,
            "programs": programs,
            "ratios": {p: self.ratio(p) for p in PROGRAMS if p in self.timings},
            "roof": asdict(self.roof),
            "flops": self.flops,
            "bytes": self.nbytes,
            "share_of_roof": self.share,
        }


def duration(seconds: float) -> str:
    """Return a time with three digits and its unit.

    Example:
        >>> from fastnn.bench.report import duration
        >>> duration(0.00123), duration(4.5e-6)
        ('1.23 ms', '4.50 us')
    """
    unit, scale = next((u, s) for u, s in (("s", 1.0), ("ms", 1e-3), ("us", 0.0)) if seconds >= s)
    value = seconds / (scale or 1e-6)
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"


def line(cells: tuple[str, ...] | list[str]) -> str:
    """Return cells as a line of the terminal's table."""
    first, *rest = (
        cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(cells, WIDTHS))
    )
    return (first + "".join(rest)).rstrip()


@dataclass
class Report:
    """A run of the benchmark."""

    machine: dict[str, Any]
    date: str
    peak: float  # flop/s, measured before
    peak_after: float = 0.0
    rows: list[Row] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # results that were not equal, and so were not timed
    bandwidths: dict[str, float] = field(default_factory=dict)  # bytes/s of a triad by where its arrays fit

    def heading(self) -> str:
        """Return the machine in a few lines."""
        m = self.machine
        blas = ", ".join(f"{b['internal_api']} {b['version']}, threads: {b['num_threads']}" for b in m["blas"])
        return "\n".join(
            [
                f"{m['processor']} ({m['architecture']}), {m['isa']}, threads: {m['threads']}, {self.date}",
                f"fastnn {m['fastnn']}, Python {m['python']}, NumPy {m['numpy']} ({blas or 'threads of its BLAS not limited'})",
                f"measured multiply-add peak: {self.peak / 1e9:.0f} GFLOP/s",
            ]
        )

    def notes(self) -> list[str]:
        """Return what a reader must know: how to read it, where fastnn is slower, what was wrong, whether the machine was quiet."""
        notes = [
            "Medians, ± half the distance of the quartiles; x: time of the other program / fastnn's time, taken in turns.",
            "of the roof: least time at the measured multiply-add peak, or at a triad's bandwidth at that size, / fastnn's time;"
            " the triad also reads the lines it writes, uncounted, so a kernel that works in place may exceed 100 % of memory.",
        ]
        for program, title in PROGRAMS.items():
            slower = [f"{row.name} ({row.ratio(program):.2f}x)" for row in self.rows if self._loses(row, program)]
            if slower:
                notes.append(f"Slower than the {title}: {', '.join(slower)}.")
        if self.peak_after and abs(self.peak_after / self.peak - 1) > NOISE:
            notes.append(
                f"The machine was not quiet: its peak was {self.peak / 1e9:.0f} GFLOP/s at the start and "
                f"{self.peak_after / 1e9:.0f} at the end."
            )
        return notes + [f"WRONG, not timed: {text}" for text in self.wrong]

    @staticmethod
    def _loses(row: Row, program: str) -> bool:
        return program in row.timings and row.ratio(program) < 1

    def data(self) -> dict[str, Any]:
        """Return everything as plain data, for a JSON file."""
        return {
            "machine": self.machine,
            "date": self.date,
            "peak_flops": self.peak,
            "peak_flops_after": self.peak_after,
            "bandwidths": self.bandwidths,
            "results": [row.data() for row in self.rows],
            "wrong": self.wrong,
        }

    def markdown(self) -> str:
        """Return heading, a table per group, and notes."""
        parts = ["# fastnn benchmark", self.heading().replace("\n", "  \n")]
        for group in dict.fromkeys(row.group for row in self.rows):
            table = [f"| {group} | {' | '.join(HEADINGS)} |", "|---|" + "---:|" * len(HEADINGS)]
            table += [f"| {' | '.join(row.cells())} |" for row in self.rows if row.group == group]
            parts.append("\n".join(table))
        parts.append("\n".join(f"* {note}" for note in self.notes()))
        return "\n\n".join(parts) + "\n"
