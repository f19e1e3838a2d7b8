"""What `import fastnn` costs and brings along, and what it reads of the environment."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from typing import Any

import pytest

LIMIT = 0.060  # seconds on top of what the dependencies cost
SLACK = 2  # for slow and busy machines
ROUNDS = 7


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh process, warnings being errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def seconds(modules: str) -> float:
    """Return the processor's time, which other programs change less than the clock's."""
    code = f"import time; t = time.process_time(); import {modules}; print(time.process_time() - t)"
    done = python(code)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_import_costs_little(record_property: Any) -> None:
    dependencies = "numpy, safetensors, safetensors.numpy, tqdm"
    seconds("fastnn")  # writes the byte code, fills the file cache
    pairs = [(seconds(dependencies), seconds("fastnn")) for _ in range(ROUNDS)]
    base, ours = (statistics.median(times) for times in zip(*pairs, strict=True))
    record_property("seconds", ours)
    print(f"import fastnn {1000 * ours:.0f} ms, NumPy, safetensors and tqdm alone {1000 * base:.0f} ms")
    assert ours - base <= SLACK * LIMIT


def test_import_brings_along_only_what_it_needs() -> None:
    done = python("import sys, numpy; a = set(sys.modules); import fastnn; print(*sorted(set(sys.modules) - a))")
    assert done.returncode == 0, done.stderr
    brought = done.stdout.split()
    tops = {name.split(".")[0] for name in brought}
    assert not tops & {"matplotlib", "argparse", "sklearn", "pooch", "pandas", "torch", "tensorflow", "IPython"}
    ours = {name for name in brought if name.startswith("fastnn.")}
    assert not ours & {"fastnn.plotting", "fastnn.cli", "fastnn.demo", "fastnn.bench"}


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts the threads of the process in /proc")
def test_import_starts_no_thread() -> None:
    code = """
import os
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy, safetensors.numpy
before = len(os.listdir("/proc/self/task"))
import fastnn
print(len(os.listdir("/proc/self/task")) - before)
"""
    done = python(code, OPENBLAS_NUM_THREADS="1")
    assert done.stdout.strip() == "0", done.stderr


def test_environment() -> None:
    show = "import fastnn; c = fastnn.config; print(c.isa(), c.backend(), c.num_threads(), c.cores())"
    assert python(show, FASTNN_ISA="baseline").stdout.split()[0] == "baseline"
    assert python(show, FASTNN_BACKEND="numpy").stdout.split()[1] == "numpy"
    assert python(show, OMP_NUM_THREADS="1").stdout.split()[2] == "1"
    assert python(show, FASTNN_CORES="generic").stdout.split()[3] == "generic"
    assert python(show, FASTNN_ISA="", FASTNN_CORES="", FASTNN_BACKEND="").returncode == 0
    for name, value, text in (
        ("FASTNN_ISA", "avx1024", "ValueError: FASTNN_ISA: expected the environment variable to be one of 'baseline'"),
        ("FASTNN_CORES", "z80", "ValueError: FASTNN_CORES: expected the environment variable to be one of 'generic'"),
        (
            "FASTNN_BACKEND",
            "cuda",
            "ValueError: FASTNN_BACKEND: expected the environment variable to be one of 'native', 'numpy'",
        ),
    ):
        done = python(show, **{name: value})
        assert done.returncode == 1
        assert done.stderr.strip().splitlines()[-1].startswith(text)
        assert repr(value) in done.stderr
