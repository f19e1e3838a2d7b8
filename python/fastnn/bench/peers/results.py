"""What a comparison with other libraries found: rounds, ratios and their intervals, as a table, JSON and Markdown."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from fastnn.bench.report import duration

OWN = ("fastnn.train_on_batch", "fastnn.fit")
MOVED = 0.05  # a round is dropped whose canary changed by more from its start to its end
FEWEST = 3  # quiet rounds that say more than all rounds do
WRONG = "computes something else"
RESAMPLES = 2000
MEGA = 1e6


@dataclass(frozen=True)
class Round:
    """A turn of every program: seconds per step, between two runs of the canary."""

    before: float
    after: float
    seconds: dict[str, float]

    @property
    def quiet(self) -> bool:
        """Whether the canary took nearly the same time before and after."""
        return abs(self.after / self.before - 1) <= MOVED


@dataclass(frozen=True)
class Ratio:
    """A median of ratios, one per round, with its bootstrap interval of 95 %."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


def bootstrap(values: list[float]) -> Ratio:
    """Return the median of values, and between which bounds 95 % of the medians of resamples are.

    Example:
        >>> from fastnn.bench.peers.results import bootstrap
        >>> str(bootstrap([2.0, 2.0, 2.0]))
        '2.00 [2.00, 2.00]'
    """
    chosen = np.random.default_rng(0).choice(values, (RESAMPLES, len(values)))
    low, high = np.quantile(np.median(chosen, 1), (0.025, 0.975))
    return Ratio(statistics.median(values), float(low), float(high))


@dataclass
class Comparison:
    """One workload in all programs.

    Args:
        name: of the workload.
        flops: of the products in one step.
        nbytes: that a step reads and writes at least.
        rounds: all, also those that are not used.
        memory: by program: the most that was resident, and what was after the imports, in bytes.
        failures: by program that was not timed to the end: why.
        unsettled: programs whose warm-up did not come to rest.
    """

    name: str
    flops: float
    nbytes: float
    rounds: list[Round] = field(default_factory=list)
    memory: dict[str, dict[str, int]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    unsettled: list[str] = field(default_factory=list)

    @property
    def noisy(self) -> bool:
        """Whether too few rounds were quiet, so that all are used."""
        return sum(r.quiet for r in self.rounds) < min(FEWEST, len(self.rounds))

    @property
    def used(self) -> list[Round]:
        """The rounds that count."""
        return self.rounds if self.noisy else [r for r in self.rounds if r.quiet]

    @property
    def programs(self) -> list[str]:
        """What was timed in every round."""
        timed = self.rounds[-1].seconds if self.rounds else {}
        return [name for name in timed if name not in self.failures]

    @property
    def wrong(self) -> bool:
        """Whether a program computed something else, or one of fastnn's failed."""
        return any(name in OWN or why.startswith(WRONG) for name, why in self.failures.items())

    def seconds(self, program: str) -> list[float]:
        """Return a program's seconds per step, round by round."""
        return [r.seconds[program] for r in self.used]

    def median(self, program: str) -> float:
        """Return the median seconds of a step."""
        return statistics.median(self.seconds(program))

    def ratio(self, program: str, own: str = OWN[0]) -> Ratio:
        """Return how many times the time of fastnn's a program takes."""
        return bootstrap([r.seconds[program] / r.seconds[own] for r in self.used])

    @property
    def best_peer(self) -> str | None:
        """The fastest of the other libraries' programs."""
        peers = [name for name in self.programs if name not in OWN]
        return min(peers, key=self.median, default=None)

    def data(self, peak: float) -> dict[str, Any]:
        """Return everything as plain data."""
        programs = {}
        for name in self.programs:
            programs[name] = {
                "median_s": self.median(name),
                "minimum_s": min(self.seconds(name)),
                "share_of_peak": self.flops / peak / self.median(name),
                "ratios": {own: asdict(self.ratio(name, own)) for own in OWN if own in self.programs},
                "memory": self.memory.get(name, {}),
            }
        return {
            "name": self.name,
            "flops": self.flops,
            "bytes": self.nbytes,
            "programs": programs,
            "best_peer": self.best_peer,
            "rounds": [{**asdict(r), "quiet": r.quiet} for r in self.rounds],
            "noisy": self.noisy,
            "failures": self.failures,
            "unsettled": self.unsettled,
        }

    def cells(self, peak: float) -> list[list[str]]:
        """Return a line of cells for each program."""
        lines = []
        for name in self.programs:
            ratios = [str(self.ratio(name, own)) if own in self.programs and own != name else "-" for own in OWN]
            least = min(self.seconds(name)) / min(self.seconds(OWN[0])) if OWN[0] in self.programs else 0.0
            share = f"{self.flops / peak / self.median(name):.0%}"
            ratios.append(f"{least:.2f}" if least else "-")
            used = self.memory.get(name)
            memory = [f"{used['peak_bytes'] / MEGA:.0f} MB", f"{_grown(used) / MEGA:.0f} MB"] if used else ["-", "-"]
            lines.append(
                [name, duration(self.median(name)), duration(min(self.seconds(name))), *ratios, share, *memory]
            )
        return lines

    def summary(self, peak: float) -> list[str]:
        """Return the cells of the short table."""
        times = [duration(self.median(own)) if own in self.programs else "-" for own in OWN]
        share = f"{self.flops / peak / self.median(OWN[0]):.0%}" if OWN[0] in self.programs else "-"
        best = self.best_peer
        if best is None:
            return [self.name, *times, share, "-", "-", "-"]
        ratios = [str(self.ratio(best, own)) if own in self.programs else "-" for own in OWN]
        return [self.name, *times, share, f"{best} {duration(self.median(best))}", *ratios]

    def notes(self) -> list[str]:
        """Return what a reader must know about these numbers."""
        dropped = len(self.rounds) - len(self.used)
        notes = [f"rounds: {len(self.used)} used, {dropped} dropped"] if self.rounds else ["not timed"]
        if self.rounds and self.noisy:
            notes.append(f"NOISY: only {sum(r.quiet for r in self.rounds)} quiet, so all were used")
        if self.unsettled:
            notes.append(f"still changing after the warm-up: {', '.join(self.unsettled)}")
        return notes + [f"{name} FAILED: {why}" for name, why in self.failures.items()]


def _grown(memory: dict[str, int]) -> int:
    return max(memory["peak_bytes"] - memory["imported_bytes"], 0)


PROGRAM_HEADINGS = (
    "program", "median", "minimum", "time / train_on_batch's", "time / fit's", "of minima", "of peak",
    "peak memory", "over imports",
)  # fmt: skip
PROGRAM_WIDTHS = (24, 10, 10, 25, 25, 11, 9, 13, 14)
SUMMARY_HEADINGS = (
    "one training step", "train_on_batch", "fit", "of peak", "best peer", "best peer / train_on_batch", "best peer / fit",
)  # fmt: skip


@dataclass
class PeersReport:
    """A run against other libraries."""

    machine: dict[str, Any]
    date: str
    peak: float  # flop/s
    versions: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    bandwidths: dict[str, float] = field(default_factory=dict)  # bytes/s, by the size of the arrays
    peak_after: float = 0.0

    def heading(self) -> str:
        """Return machine and versions in a few lines."""
        m = self.machine
        versions = {"python": m["python"], "numpy": m["numpy"], "fastnn": m["fastnn"], **self.versions}
        return "\n".join(
            [
                f"{m['processor']} ({m['architecture']}), {m['isa']}, threads: {m['threads']}, {self.date}",
                ", ".join(f"{name} {version}" for name, version in versions.items()) + ", float32",
                f"measured multiply-add peak: {self.peak / 1e9:.0f} GFLOP/s",
            ]
        )

    def notes(self) -> list[str]:
        """Return how to read it, and every loss."""
        notes = [
            "Each program in its own process on the same processors, taking turns; ratios are taken in each round: other time / "
            "fastnn's time, median and bootstrap interval of 95 %; above 1 fastnn is faster.",
            "of minima: least time / train_on_batch's least time, which others on the processors disturb the least.",
            f"Rounds whose canary moved by more than {MOVED:.0%} are dropped.",
            "fit shuffles and copies batches, the others train on one batch that is ready.",
        ]
        for own in OWN:
            slower = [
                f"{c.name} ({c.best_peer} {c.ratio(c.best_peer, own).median:.2f})"
                for c in self.comparisons
                if c.best_peer and own in c.programs and c.ratio(c.best_peer, own).median < 1
            ]
            if slower:
                notes.append(f"SLOWER than the best peer, {own}: {', '.join(slower)}.")
        if self.peak_after and abs(self.peak_after / self.peak - 1) > MOVED:
            ends = f"{self.peak / 1e9:.0f} GFLOP/s at the start and {self.peak_after / 1e9:.0f} at the end"
            notes.append(f"The machine was not quiet: its peak was {ends}.")
        return notes + self.skipped

    def data(self) -> dict[str, Any]:
        """Return everything as plain data, for a JSON file."""
        return {
            "machine": self.machine,
            "date": self.date,
            "versions": self.versions,
            "peak_flops": self.peak,
            "peak_flops_after": self.peak_after,
            "bandwidths": self.bandwidths,
            "skipped": self.skipped,
            "results": [comparison.data(self.peak) for comparison in self.comparisons],
        }

    def block(self, comparison: Comparison) -> str:
        """Return what the terminal shows of a workload."""
        rows = [(comparison.name, *PROGRAM_HEADINGS[1:]), *comparison.cells(self.peak)]
        lines = []
        for first, *rest in rows:
            cells = [cell.rjust(width) for cell, width in zip(rest, PROGRAM_WIDTHS[1:])]
            lines.append(first.ljust(PROGRAM_WIDTHS[0]) + "".join(cells))
        return "\n".join([*lines, *(f"  {note}" for note in comparison.notes())])

    def markdown(self) -> str:
        """Return heading, the short table, a table of everything, and notes."""
        short = _table(SUMMARY_HEADINGS, [c.summary(self.peak) for c in self.comparisons])
        parts = ["# fastnn and its peers", self.heading().replace("\n", "  \n"), short]
        parts.append("\n".join(f"* {note}" for note in self.notes()))
        for c in self.comparisons:
            parts += [f"## {c.name}", _table(PROGRAM_HEADINGS, c.cells(self.peak)), "; ".join(c.notes()) + "."]
        return "\n\n".join(parts) + "\n"


def _table(headings: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(headings)} |", "|---|" + "---:|" * (len(headings) - 1)]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])
