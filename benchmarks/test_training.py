"""Every training step of `fastnn bench`: `fit` in C++ and in the NumPy twin, and the plain program, checked before it is timed."""

from __future__ import annotations

import functools

import pytest

from fastnn.bench import report, workloads

verified = functools.cache(workloads.verify)


@pytest.mark.parametrize("program", ["fastnn", "numpy", "plain"])
@pytest.mark.parametrize("workload", workloads.WORKLOADS, ids=lambda workload: workload.name)
def test_training(measure, peak, workload, program):
    verified(workload)
    flops = workloads.step_flops(workloads.build_model(workload), workload.batch)
    roof = report.Roof("peak", flops / peak, peak, flops)
    measure(workloads.programs(workload)[program], program, workload.name, roof, steps=workload.steps)
