"""No kernel touches memory beside its arrays. Run in processes of their own, because touching it ends them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fastnn import config

HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="protects pages with mprotect")


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(HERE), str(HERE.parent), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path, **variables}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("isa", config.available_isas())
def test_every_op_stays_inside_of_its_arrays(isa: str) -> None:
    done = python(str(HERE / "fenced_run.py"), isa)
    assert done.returncode == 0, f"{done.stdout[-200:]}\n{done.stderr[-2000:]}"
    assert done.stdout.count("\n") > 5000


@pytest.mark.parametrize("isa", config.available_isas())
def test_every_kind_of_cores_has_the_same_bits(isa: str) -> None:
    bits = set()
    for cores in config.known_cores():
        done = python(str(HERE / "cores_run.py"), isa, FASTNN_CORES=cores)
        assert done.returncode == 0, f"{cores}: {done.stderr[-2000:]}"
        assert len(done.stdout.split()) == 6
        bits.update(done.stdout.split())
    assert len(bits) == 1


SETUP = "import ctypes; import numpy as np; from fastnn import ops; from fenced_run import fenced_empty; f = np.dtype('f4');"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("x = fenced_empty((5,), f, True); ctypes.string_at(x.ctypes.data, 20)", 0),
        ("x = fenced_empty((5,), f, True); ctypes.string_at(x.ctypes.data + 20, 1)", -signal.SIGSEGV),
        ("x = fenced_empty((5,), f, False); ctypes.string_at(x.ctypes.data, 20)", 0),
        ("x = fenced_empty((5,), f, False); ctypes.string_at(x.ctypes.data - 1, 1)", -signal.SIGSEGV),
        ("x = fenced_empty((5,), f, True); ctypes.memset(x.ctypes.data + 20, 0, 1)", -signal.SIGSEGV),
        (  # a kernel that is sent one row too far
            "x = fenced_empty((5,), f, True); cell = np.array([x.ctypes.data], np.uint64);"
            "ops.gather_cells(cell, np.zeros(1, np.uint64), np.array([1]), 5, (), f)",
            -signal.SIGSEGV,
        ),
    ],
)
def test_the_fences_hold(code: str, status: int) -> None:
    assert python("-c", SETUP + code).returncode == status
