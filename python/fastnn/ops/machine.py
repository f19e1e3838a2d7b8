"""The machine's roofs."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

from fastnn import _core, config
from fastnn.ops.base import (
    empty,
    zeros,
)

SMALLEST_TRIAD = 1 << 14  # bytes: less is the cost of a call, not of memory


def _best_rate(run: Callable[[int], None], amount: float, seconds: float) -> float:
    """Return the best amount per second of run(rounds), doubling rounds until one call takes a tenth of the time at that rate."""
    rounds, best, end = 1, 0.0, time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        run(rounds)
        now = time.perf_counter()
        best = max(best, amount * rounds / (now - start))
        if now >= end:
            return best
        if amount * rounds < best * seconds / 10:
            rounds *= 2


def measure_peak(threads: int = 1, seconds: float = 0.2) -> float:
    """Return the multiply-add peak in flop/s: independent chains in registers, with the instruction set in use."""
    out = empty((threads,))
    return _best_rate(
        lambda rounds: _core.multiply_add_probe(out, rounds, threads),
        float(_core.multiply_add_probe_flops() * threads),
        seconds,
    )


def measure_bandwidth(nbytes: int, threads: int = 1, seconds: float = 0.2) -> float:
    """Return the bytes/s of y = x + z / 2 over three arrays of nbytes together (12 bytes an element)."""
    n = max(nbytes // 12, 16)
    y, x, z = (zeros((n,)) for _ in range(3))
    return _best_rate(lambda rounds: _core.triad_probe(y, x, z, rounds, threads), 12.0 * n, seconds)


@lru_cache(maxsize=64)
def _bandwidth(size: int, threads: int, isa: str, seconds: float) -> float:
    return measure_bandwidth(size, threads, seconds)


def bandwidth_roof(nbytes: float, seconds: float = 0.05) -> float:
    """Return the bytes/s, reads and writes, of a triad over arrays of altogether that size, rounded up to a power of two.

    It is the better one of a single thread's, which is faster on small arrays, and that of all threads in use; measured once.
    """
    size = 1 << max(round(nbytes) - 1, SMALLEST_TRIAD - 1).bit_length()
    return max(_bandwidth(size, threads, config.isa(), seconds) for threads in {1, config.num_threads()})


@lru_cache(maxsize=64)
def _peak(threads: int, isa: str, seconds: float) -> float:
    return measure_peak(threads, seconds)


def peak_roof(seconds: float = 0.2) -> float:
    """Return the flop/s of multiply-adds in registers, with the threads and the instruction set in use; measured once.

    Not less than that of a single thread: others may wait for a processor.
    """
    return max(_peak(threads, config.isa(), seconds) for threads in {1, config.num_threads()})
