"""`fastnn bench`: how fast the kernels and whole training steps are on this machine, against NumPy and against the machine's roofs.

`kernels` and `workloads` (training steps) are what is timed, `plain_numpy` the programs a course would write; `cases` checks and
runs a kernel, `timing` takes turns, `machine` measures the roofs, `report` prints. `peers` compares with other libraries, `sweeps`
times a step over sizes, `pictures` draws any of these.
"""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Callable

from fastnn import config
from fastnn.bench import cases, kernels, machine, report, timing, workloads
from fastnn.bench.cases import KernelCase
from fastnn.bench.report import Report, Row
from fastnn.bench.workloads import Workload

SECONDS = 0.5  # per case
QUICK_SECONDS = 0.15

Show = Callable[[str], object]


def select(text: str = "", quick: bool = False) -> list[KernelCase | Workload]:
    """Return the cases whose name contains a text.

    Args:
        text: part of a name; "" is in every name.
        quick: only a few cases that stand for the rest.

    Example:
        >>> from fastnn import bench
        >>> [case.name for case in bench.select("lenet_b64")]
        ['lenet_b64_adam']
    """
    everything: list[KernelCase | Workload] = [*kernels.kernel_cases(), *workloads.WORKLOADS]
    return [case for case in everything if text in case.name and (case.quick or not quick)]


def run(
    selected: list[KernelCase | Workload],
    *,
    threads: int | None = None,
    seconds: float = SECONDS,
    show: Show = print,
) -> Report:
    """Check and time cases, printing a line for each as it is done.

    Args:
        selected: what `select` returned.
        threads: for the kernels and NumPy's matrix products; None is what the kernels use now.
        seconds: of timing per case, roughly.
        show: is called with every line instead of print.

    Returns:
        the results; `Report.wrong` names cases whose results were not equal within tolerance, which are not timed.

    Example:
        >>> from fastnn import bench
        >>> lines = []
        >>> result = bench.run(bench.select("gemm_nn 64x64x64"), threads=1, seconds=0.01, show=lines.append)
        >>> result.rows[0].name, result.rows[0].seconds("fastnn") > 0
        ('gemm_nn 64x64x64', True)
    """
    with machine.using_threads(threads or config.num_threads()):
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        result = Report(machine.describe(), now, machine.peak())
        show(result.heading())
        group = ""
        for case in selected:
            title = "kernel" if isinstance(case, KernelCase) else "training step"
            if title != group:
                group = title
                show("\n" + report.line((title, *report.HEADINGS)))
            try:
                row = _measure(case, title, result.peak, seconds)
            except ArithmeticError as error:
                result.wrong.append(str(error))
                show(f"WRONG, not timed: {error}")
            else:
                result.rows.append(row)
                show(report.line(row.cells()))
        result.bandwidths = machine.bandwidths()
        result.peak_after = machine.peak()
    show("\n" + "\n".join(textwrap.fill(note, sum(report.WIDTHS), subsequent_indent="  ") for note in result.notes()))
    return result


def _measure(case: KernelCase | Workload, group: str, peak: float, seconds: float) -> Row:
    """Check one case, then time it."""
    if isinstance(case, KernelCase):
        cases.verify(case)
        roof = report.roof(case.flops, case.nbytes, peak, machine.bandwidth(case.nbytes))
        timings = timing.interleave(cases.programs(case), seconds)
        return Row(group, case.name, timings, 1, roof, case.flops, case.nbytes)
    workloads.verify(case)
    model = workloads.build_model(case)
    flops, nbytes = (count(model, case.batch) for count in (workloads.step_flops, workloads.step_bytes))
    roof = report.Roof("peak", flops / peak, peak, flops)
    timings = timing.interleave(workloads.programs(case), seconds)
    return Row(group, case.name, timings, case.steps, roof, flops, nbytes)
