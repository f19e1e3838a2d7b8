"""Whole curves rather than points: a training step over batch sizes, or over widths of layers, with one and with more threads."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fastnn import config
from fastnn.bench import machine, timing, workloads
from fastnn.bench.report import duration
from fastnn.bench.timing import Program
from fastnn.bench.workloads import Workload

BATCHES = tuple(2**i for i in range(9))
WIDTHS = tuple(range(8, 513, 8))
WIDTH_BATCH = 64
DIP = 0.9  # a point is a dip if its rate is below so much of that of both its neighbors
SLOWER = 1.02  # more threads are slower if they take more than so many times the time of one

Show = Callable[[str], object]


@dataclass(frozen=True)
class Point:
    """A step of one network at one size: the median and the least seconds by number of threads."""

    curve: str
    size: int
    flops: float
    medians: dict[int, float]
    minima: dict[int, float]

    def rate(self, threads: int) -> float:
        """Return flop/s, of the least time: that of a moment without others on the processors."""
        return self.flops / self.minima[threads]


@dataclass
class Sweep:
    """A run over sizes."""

    kind: str
    machine: dict[str, Any]
    date: str
    threads: list[int]
    peaks: dict[int, float]  # flop/s by threads
    points: list[Point] = field(default_factory=list)

    @property
    def curves(self) -> dict[str, list[Point]]:
        """The points by curve, in order of size."""
        names = dict.fromkeys(point.curve for point in self.points)
        return {name: [point for point in self.points if point.curve == name] for name in names}

    def dips(self, threads: int) -> list[Point]:
        """Return the points that are slower than the sizes on both of their sides."""
        found = []
        for points in self.curves.values():
            for before, point, after in zip(points, points[1:], points[2:]):
                if point.rate(threads) < DIP * min(before.rate(threads), after.rate(threads)):
                    found.append(point)
        return found

    def slower(self) -> list[tuple[Point, int]]:
        """Return where more threads take longer than one, and how many threads."""
        pairs = [
            (point, threads) for point in self.points for threads in self.threads if threads > 1 and 1 in point.minima
        ]
        return [(point, threads) for point, threads in pairs if point.minima[threads] > SLOWER * point.minima[1]]

    def heading(self) -> str:
        """Return the machine in a few lines."""
        m = self.machine
        peaks = ", ".join(f"{rate / 1e9:.0f} with {threads}" for threads, rate in self.peaks.items())
        return (
            f"{m['processor']} ({m['architecture']}), {m['isa']}, {self.date}\n"
            f"fastnn {m['fastnn']}, Python {m['python']}; measured multiply-add peak in GFLOP/s by threads: {peaks}"
        )

    def notes(self) -> list[str]:
        """Return whether the curves are smooth, and whether more threads are ever slower."""
        notes = ["Seconds of a step of train_on_batch, median; rates and comparisons are of the least time."]
        for threads in self.threads:
            dips = [f"{point.curve} {point.size}" for point in self.dips(threads)]
            text = ", ".join(dips) if dips else "none"
            notes.append(f"Sizes at less than {DIP:.0%} of the rate of both neighbors, threads {threads}: {text}.")
        if 1 in self.threads and len(self.threads) > 1:
            slow = [
                f"{point.curve} {point.size} ({threads} threads {point.minima[threads] / point.minima[1]:.2f}x)"
                for point, threads in self.slower()
            ]
            notes.append(f"More threads slower than one: {', '.join(slow) if slow else 'never'}.")
        return notes

    def cells(self, point: Point) -> list[str]:
        """Return the cells of a row."""
        result = [f"{point.curve} {point.size}"]
        for threads in self.threads:
            share = point.rate(threads) / self.peaks[threads]
            result += [duration(point.medians[threads]), f"{point.rate(threads) / 1e9:.1f} GFLOP/s", f"{share:.0%}"]
        return result

    def headings(self) -> list[str]:
        """Return the titles of the columns."""
        result = [f"step, {self.kind}"]
        for threads in self.threads:
            result += [f"median, threads {threads}", "rate", "of peak"]
        return result

    def data(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "kind": self.kind,
            "machine": self.machine,
            "date": self.date,
            "threads": self.threads,
            "peaks_flops": self.peaks,
            "points": [asdict(point) for point in self.points],
            "dips": {threads: [[p.curve, p.size] for p in self.dips(threads)] for threads in self.threads},
            "slower_than_one_thread": [[p.curve, p.size, threads] for p, threads in self.slower()],
        }

    def markdown(self) -> str:
        """Return heading, table and notes."""
        headings = self.headings()
        table = [f"| {' | '.join(headings)} |", "|---|" + "---:|" * (len(headings) - 1)]
        table += [f"| {' | '.join(self.cells(point))} |" for point in self.points]
        notes = "\n".join(f"* {note}" for note in self.notes())
        heading = self.heading().replace("\n", "  \n")
        return "\n\n".join([f"# fastnn over {self.kind} sizes", heading, "\n".join(table), notes]) + "\n"


def networks(kind: str, quick: bool = False) -> list[tuple[str, int, Workload]]:
    """Return the curve, the size and the workload of every point."""
    if kind == "batch":
        found = [
            (name, batch, replace(workloads.get(base), batch=batch))
            for name, base in (("mlp500", "mlp500_b10_sgd"), ("lenet", "lenet_b64_adam"))
            for batch in BATCHES
        ]
    else:
        found = [
            ("mlp", width, Workload(f"mlp{width}", workloads.mlp(width, width), (784,), WIDTH_BATCH, "adam", 1))
            for width in WIDTHS
        ]
    return found[:: 8 if quick else 1]


def run(
    kind: str,
    *,
    threads: Sequence[int] | None = None,
    seconds: float | None = None,
    quick: bool = False,
    show: Show = print,
) -> Sweep:
    """Time `train_on_batch` over sizes, every size with each number of threads, in turns.

    Args:
        kind: "batch" or "width".
        threads: numbers of threads; None is 1 and, where there are more processors, all.
        seconds: per size; None is 0.4.
        quick: every eighth size only.
        show: is called with every line.

    Example:
        >>> from fastnn.bench import sweeps
        >>> sweep = sweeps.run("batch", threads=[1], seconds=0.01, quick=True, show=lambda line: None)
        >>> sweep.points[0].curve, sweep.points[0].size
        ('mlp500', 1)
    """
    counts = sorted(set(threads or (1, config.num_threads())))
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    peaks = {}
    for count in counts:
        with machine.using_threads(count):
            peaks[count] = machine.peak()
    sweep = Sweep(kind, machine.describe(), now, counts, peaks)
    show(sweep.heading() + "\n\n" + _line(sweep.headings()))
    for curve, size, workload in networks(kind, quick):
        timings = timing.interleave({str(n): _step(workload, n) for n in counts}, seconds or 0.4)
        medians = {n: timings[str(n)].median for n in counts}
        minima = {n: min(timings[str(n)].samples) for n in counts}
        flops = workloads.step_flops(workloads.build_model(workload), size if kind == "batch" else WIDTH_BATCH)
        sweep.points.append(Point(curve, size, flops, medians, minima))
        show(_line(sweep.cells(sweep.points[-1])))
    show("\n" + "\n".join(sweep.notes()))
    return sweep


def _step(workload: Workload, threads: int) -> Program:
    """Return a program that does steps of a workload with so many threads."""
    model = workloads.build_model(workload)
    assert model.optimizer is not None
    model.optimizer.learning_rate = workloads.LEARNING_RATE
    x, y = workloads.data(workload, workload.batch)

    def run(calls: int) -> None:
        before = config.num_threads()
        config.set_num_threads(threads)
        try:
            for _ in range(calls):
                model.train_on_batch(x, y)
        finally:
            config.set_num_threads(before)

    return run


def _line(cells: Sequence[str]) -> str:
    first, *rest = cells
    return first.ljust(14) + "".join(cell.rjust(19 if i % 3 == 0 else 14) for i, cell in enumerate(rest))
