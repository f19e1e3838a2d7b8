"""Every kernel of `fastnn bench`, in C++, in the NumPy twin and in plain NumPy, checked before it is timed."""

from __future__ import annotations

import functools

import pytest

from fastnn.bench import cases, machine, report
from fastnn.bench.kernels import kernel_cases

verified = functools.cache(cases.verify)


def calls(case):
    """Return how many calls take about a millisecond on a usual core: starting threads for a single one may cost more than it."""
    return max(1, round(1e-3 / max(case.flops / 1e11, case.nbytes / 2e10)))


@pytest.mark.parametrize("program", ["fastnn", "numpy", "plain"])
@pytest.mark.parametrize("case", kernel_cases(), ids=lambda case: case.name)
def test_kernel(measure, peak, case, program):
    verified(case)
    programs = cases.programs(case)
    if program not in programs:
        pytest.skip("no plain program")
    roof = report.roof(case.flops, case.nbytes, peak, machine.bandwidth(case.nbytes))
    measure(programs[program], program, case.name, roof, calls(case))
