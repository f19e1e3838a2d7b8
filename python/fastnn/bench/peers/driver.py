"""Lets one worker run at a time, round by round, and keeps what they took."""

from __future__ import annotations

import datetime
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from fastnn import ops
from fastnn.bench import machine, workloads
from fastnn.bench.peers import fastnn_steps, network
from fastnn.bench.peers.process import WORKER, Process, WorkerError
from fastnn.bench.peers.results import OWN, WRONG, Comparison, PeersReport, Round
from fastnn.bench.peers.worker import PROGRAMS
from fastnn.bench.workloads import Workload
from fastnn.checks import Float32

SETTLED = 0.02  # two successive medians of the warm-up differ by less
MAX_LOOKS = 8
PAUSE = 0.02  # seconds between turns, in which the threads of the one before stop spinning
BUILD_TIMEOUT, RUN_TIMEOUT = 600.0, 120.0
# Of what is expected, in norm: the first loss, a step's change of a weight, later losses. Rounding is far below, except where two
# values in a pooling window are nearly equal; libraries also differ in where Adam adds its epsilon and a decay its share.
LOSS_TOLERANCE, STEP_TOLERANCE, LATER_TOLERANCE = 1e-4, 0.02, 0.05

Show = Callable[[str], object]


@dataclass(frozen=True)
class Settings:
    """How to compare.

    Args:
        threads: of every program, each on its own processor.
        rounds: that must be quiet; at most twice as many are run.
        seconds: of a turn.
        programs: names in `PROGRAMS`.
        commands: by program, what starts its worker if not the usual one.
        build_timeout: seconds that imports, compilation and the first calls may take.
        run_timeout: seconds that a turn may take.
    """

    threads: int
    rounds: int = 15
    seconds: float = 0.3
    programs: Sequence[str] = tuple(PROGRAMS)
    commands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    build_timeout: float = BUILD_TIMEOUT
    run_timeout: float = RUN_TIMEOUT


def compare(selected: Sequence[Workload], settings: Settings, show: Show = print) -> PeersReport:
    """Train workloads in fastnn and in the other libraries that are installed, in turns.

    Args:
        selected: workloads.
        settings: how.
        show: is called with what is to be printed, as it is known.

    Returns:
        everything that was measured.

    Raises:
        ValueError: if there are fewer processors than threads.

    Example:
        >>> from fastnn.bench import workloads
        >>> from fastnn.bench.peers import Settings, compare
        >>> settings = Settings(threads=1, rounds=1, seconds=0.01, programs=["fastnn.train_on_batch"])
        >>> report = compare([workloads.get("mlp500_b1_sgd")], settings, show=lambda text: None)
        >>> report.comparisons[0].programs
        ['fastnn.train_on_batch']
    """
    with pinned(settings.threads) as cores, machine.using_threads(settings.threads):
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        report = PeersReport(machine.describe(), now, machine.peak())
        names = [name for name in settings.programs if _installed(name, settings, report.skipped)]
        canary = Canary()
        for workload in selected:
            comparison = _measure(workload, names, cores, settings, canary, report.versions)
            if not report.comparisons:
                show("\n".join([report.heading(), *report.skipped]))
            report.comparisons.append(comparison)
            report.peak = max(report.peak, machine.peak())  # the best of many looks: others only make it lower
            show("\n" + report.block(comparison))
        report.bandwidths = machine.bandwidths()
        report.peak_after = machine.peak()
    show("\n" + "\n".join(report.notes()))
    return report


@contextmanager
def pinned(threads: int) -> Iterator[list[int]]:
    """Keep this process on as many processors as there are threads; yield their numbers."""
    allowed = sorted(os.sched_getaffinity(0))
    if threads > len(allowed):
        raise ValueError(f"bench: expected at most {len(allowed)} threads, one per processor, got {threads}")
    os.sched_setaffinity(0, allowed[:threads])
    try:
        yield allowed[:threads]
    finally:
        os.sched_setaffinity(0, allowed)


def _installed(name: str, settings: Settings, skipped: list[str]) -> bool:
    """Return whether a program can be run; if not, note it."""
    package = PROGRAMS[name][2]
    if name in settings.commands or find_spec(package):
        return True
    skipped.append(f"{name} skipped: {package} is not installed (pip install {package}).")
    return False


class Canary:
    """The same work every time, products and sums on all threads: how much of the machine is ours."""

    def __init__(self, seconds: float = 0.01) -> None:
        rng = np.random.default_rng(0)
        a, b = (rng.standard_normal((192, 192), np.float32) for _ in range(2))
        x, y = (rng.standard_normal(1 << 17, np.float32) for _ in range(2))
        self._tape, self._kept = ops.Tape(), (a, b, x, y)
        with machine.using_backend("native"), self._tape:
            ops.gemm(a, b)
            ops.add(x, y)
        self._calls = 1
        self._calls = max(round(seconds / min(self.seconds() for _ in range(20))), 1)

    def seconds(self) -> float:
        """Do the work; return how long it took."""
        start = time.perf_counter()
        self._tape.run(self._calls, 1e9)
        return time.perf_counter() - start


@dataclass
class Runner:
    """A program that is ready to be timed: its worker, steps per call, calls per turn."""

    process: Process
    steps: int
    calls: int = 1

    def seconds(self, timeout: float) -> float:
        """Let it run once and return the seconds of a step."""
        answer = self.process.ask({"do": "run", "calls": self.calls}, timeout)
        return float(answer["seconds"]) / self.calls / self.steps

    def warm_up(self, seconds: float, timeout: float) -> bool:
        """Choose how many calls a turn has; run until two medians are alike, and return whether they were."""
        call = min(self.seconds(timeout) for _ in range(2)) * self.steps
        self.calls = max(round(seconds / 3 / call), 1)
        last, settled = float("inf"), False
        for _ in range(MAX_LOOKS):
            median = statistics.median(self.seconds(timeout) for _ in range(3))
            settled = abs(median / last - 1) < SETTLED
            last = median
            if settled:
                break
        self.calls = max(round(seconds / (last * self.steps)), 1)
        return settled


def _measure(
    workload: Workload,
    names: Sequence[str],
    cores: Sequence[int],
    settings: Settings,
    canary: Canary,
    versions: dict[str, str],
) -> Comparison:
    """Start a worker for each program, check it, time them in turns, ask for their memory."""
    model = workloads.build_model(workload)
    flops, nbytes = (count(model, workload.batch) for count in (workloads.step_flops, workloads.step_bytes))
    result = Comparison(workload.name, flops, nbytes)
    images = len(workload.input_shape) == 3
    names = [name for name in names if images or PROGRAMS[name][3] != "channels_last"]
    check = Check(workload)
    timeout = settings.run_timeout
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        runners: dict[str, Runner] = {}
        for name in names:
            process = stack.enter_context(Process(settings.commands.get(name, WORKER), cores))
            with _noting(result.failures, name, process):
                runner = _prepare(name, process, check, folder, settings, versions)
                if not runner.warm_up(settings.seconds, timeout):
                    result.unsettled.append(name)
                runners[name] = runner
        for _ in range(2 * settings.rounds):
            alive = {name: runner for name, runner in runners.items() if name not in result.failures}
            if not alive or sum(r.quiet for r in result.rounds) >= settings.rounds:
                break
            before, seconds = canary.seconds(), {}
            for name, runner in alive.items():
                time.sleep(PAUSE)
                with _noting(result.failures, name, runner.process):
                    seconds[name] = runner.seconds(timeout)
            time.sleep(PAUSE)
            result.rounds.append(Round(before, canary.seconds(), seconds))
        for name, runner in runners.items():
            if name not in result.failures:
                with _noting(result.failures, name, runner.process):
                    result.memory[name] = runner.process.ask({"do": "memory"}, timeout)
    return result


@contextmanager
def _noting(failures: dict[str, str], name: str, process: Process) -> Iterator[None]:
    """Note an error of a worker and end it; the others go on."""
    try:
        yield
    except WorkerError as error:
        failures[name] = str(error)
        process.close()


def _prepare(
    name: str, process: Process, check: Check, folder: Path, settings: Settings, versions: dict[str, str]
) -> Runner:
    """Let a worker build its network and, unless it is fastnn's, show that it computes the same."""
    timeout = settings.build_timeout
    request = {
        "program": name,
        "threads": settings.threads,
        "network": check.network.data(),
        "workload": check.workload_data(),
    }
    built = process.ask({"do": "build", **request}, timeout)
    versions |= built["versions"]
    if name not in OWN:
        file = str(folder / f"{name}.npz")
        check.write(file)
        check.compare(process.ask({"do": "check", "file": file}, timeout)["losses"], file)
        check.write(file)
        process.ask({"do": "start", "file": file, "learning_rate": workloads.LEARNING_RATE}, timeout)
        os.remove(file)
        process.ask({"do": "run", "calls": 1}, timeout)  # which may compile
    return Runner(process, built["steps_per_call"])


class Check:
    """What every library must compute for a workload: the loss, a step of gradient descent, the losses of more steps."""

    def __init__(self, workload: Workload) -> None:
        self.workload, self.network = workload, network.describe(workload)
        self.start, self.after, self.losses, self.trained = fastnn_steps.expected(workload)

    def workload_data(self) -> dict[str, Any]:
        """Return the workload as what JSON can say."""
        return {"name": self.workload.name, "batch": self.workload.batch, "steps": self.workload.steps}

    def write(self, file: str) -> None:
        """Write weights and a batch to a file."""
        x, y = workloads.data(self.workload, self.workload.batch)
        weights = {f"w{i}": w for i, w in enumerate(self.start)}
        rate, steps = fastnn_steps.CHECK_RATE, fastnn_steps.CHECKED_STEPS
        np.savez(file, x=x, y=y, rate=rate, steps=steps, **weights)  # type: ignore[arg-type]

    def compare(self, losses: list[float], file: str) -> None:
        """Compare a library's losses, and the weights after its step.

        Raises:
            WorkerError: if one is off by more than may be rounding.
        """
        for i, (loss, right) in enumerate(zip(losses, self.losses, strict=True)):
            if not abs(loss - right) <= (LATER_TOLERANCE if i else LOSS_TOLERANCE) * max(right, 0.1):
                raise WorkerError(f"{WRONG}: loss {i + 1} is {loss:.6g}, fastnn's is {right:.6g}")
        with np.load(file) as stored:
            weights: list[Float32] = [stored[f"w{i}"] for i in range(len(self.start))]
        for i, (got, before, after) in enumerate(zip(weights, self.start, self.after)):
            size = np.linalg.norm(after - before)
            error = np.linalg.norm(got - after) if got.shape == after.shape else np.inf
            if self.trained[i] and not error <= STEP_TOLERANCE * size + 1e-6 * np.linalg.norm(before):
                raise WorkerError(f"{WRONG}: the step of weight {i} is off by {error / size:.2g} of it")
