"""What both benchmarks share: the measured peak, and how a program of `fastnn.bench` is timed."""

from __future__ import annotations

import pytest

from fastnn.bench import machine


@pytest.fixture(scope="session")
def peak():
    """flop/s of multiply-adds in registers, with the threads and instruction set in use."""
    return machine.peak()


@pytest.fixture
def measure(benchmark):
    """Time some calls of a program, each of so many steps, and note what share of its roof it reaches."""

    def run(program, name, case, roof, calls=1, steps=1):
        benchmark.group = f"{case} ({calls * steps} times)"
        benchmark.name = name
        benchmark(program, calls)
        if benchmark.stats is not None:  # None with --benchmark-disable
            seconds = benchmark.stats.stats.median / (calls * steps)
            benchmark.extra_info |= {"seconds": seconds, f"share of {roof.bound}": roof.seconds / seconds}

    return run
