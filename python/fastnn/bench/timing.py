"""Timing several programs that do the same, fairly: round by round, one after the other, medians and quartiles."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Program = Callable[[int], object]  # runs what is timed so many times

SAMPLE_SECONDS = 0.004  # one sample is at least this long: far above the clock's resolution
SETTLE_SECONDS = 0.005  # a look at whether threads still run
MAX_LOOKS = 60
MIN_ROUNDS, MAX_ROUNDS = 5, 60


@dataclass(frozen=True)
class Timing:
    """Seconds per call, of each sample."""

    samples: list[float]
    calls: int  # that each sample is the mean of

    @property
    def median(self) -> float:
        """Half of the samples took longer."""
        return statistics.median(self.samples)

    @property
    def quartiles(self) -> tuple[float, float]:
        """A quarter of the samples was faster than the first, a quarter slower than the second."""
        low, _, high = statistics.quantiles(self.samples, n=4, method="inclusive")
        return low, high

    @property
    def spread(self) -> float:
        """Half the distance of the quartiles, as a share of the median."""
        low, high = self.quartiles
        return (high - low) / 2 / self.median


def _sample(program: Program, calls: int) -> float:
    """Return the seconds of one run of so many calls."""
    start = time.perf_counter()
    program(calls)
    return time.perf_counter() - start


def _calibrate(program: Program) -> tuple[int, float]:
    """Warm up; return how many calls make a sample, and its seconds."""
    calls = 1
    # The faster of two: the first may be slow because it is the first, and either because something else ran.
    while (seconds := min(_sample(program, calls), _sample(program, calls))) < SAMPLE_SECONDS:
        calls *= 2 if seconds > SAMPLE_SECONDS / 4 else 4
    return calls, seconds


def settle() -> None:
    """Sleep until no thread of this process runs: those of a BLAS spin for 0.1 s after their work, in the next program's way."""
    for _ in range(MAX_LOOKS):
        before = time.process_time()
        time.sleep(SETTLE_SECONDS)
        if time.process_time() - before < SETTLE_SECONDS / 10:
            return


def interleave(programs: Mapping[str, Program], seconds: float = 0.5) -> dict[str, Timing]:
    """Time programs in turns: each round takes one sample of every program, so that all see the same machine.

    Args:
        programs: by name; each takes the number of calls to make.
        seconds: to spend on samples altogether, roughly: there are at least MIN_ROUNDS rounds and at most MAX_ROUNDS.

    Returns:
        the timing of each program, by name.

    Example:
        >>> from fastnn.bench.timing import interleave
        >>> def loop(calls):
        ...     for _ in range(calls):
        ...         sum(range(100))
        >>> timings = interleave({"a": loop, "b": loop}, seconds=0.02)
        >>> timings["a"].median > 0, len(timings["a"].samples) == len(timings["b"].samples)
        (True, True)
    """
    plans = {name: _calibrate(program) for name, program in programs.items()}
    rounds = int(seconds / sum(length for _, length in plans.values()))
    samples: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(min(max(rounds, MIN_ROUNDS), MAX_ROUNDS)):
        for name, program in programs.items():
            settle()
            calls = plans[name][0]
            samples[name].append(_sample(program, calls) / calls)
    return {name: Timing(samples[name], plans[name][0]) for name in programs}
