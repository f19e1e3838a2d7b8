"""Settings of the whole process: backend, threads, instruction set, seed.

Environment: ``FASTNN_ISA`` forces an instruction set, ``FASTNN_BACKEND`` a backend, ``OMP_NUM_THREADS`` limits the threads.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib.util import find_spec

import numpy as np

from fastnn import _core, checks, settings

BACKENDS = ("native", "numpy")

_backend = "native"
_seed: int | None = None
_drawn = 0


def backend() -> str:
    """Return the backend in use: "native" (C++ kernels) or "numpy" (the twin in `fastnn.reference`)."""
    return _backend


def set_backend(name: str) -> None:
    """Choose what computes: "native" for the C++ kernels, "numpy" for their NumPy twin.

    Args:
        name: "native" or "numpy".

    Raises:
        ValueError: for another name.

    Example:
        >>> import fastnn
        >>> fastnn.config.set_backend("numpy")
        >>> fastnn.config.backend()
        'numpy'
        >>> fastnn.config.set_backend("native")
    """
    global _backend
    _backend = checks.one_of("set_backend", "name", name, BACKENDS)
    settings.changed()


def num_threads() -> int:
    """Return how many threads the kernels may use."""
    return int(_core.num_threads())


def set_num_threads(count: int) -> None:
    """Set how many threads the kernels may use; results have the same bits for any number.

    Args:
        count: threads, >= 1. At start-up it is the number of processors this process may run on, or OMP_NUM_THREADS.

    Raises:
        ValueError: if count < 1.
    """
    _core.set_num_threads(checks.integer("set_num_threads", "count", count, 1, 1024))
    settings.changed()


def isa() -> str:
    """Return the instruction set whose kernels are in use: "baseline", "avx2", "avx512" or "amx"."""
    return str(_core.isa())


def available_isas() -> list[str]:
    """Return the instruction sets that were compiled in and that this machine runs, plainest first."""
    return list(_core.available_isas())


def set_isa(name: str) -> None:
    """Use the kernels compiled for one instruction set.

    Args:
        name: one of `available_isas()`.

    Raises:
        ValueError: if it was not compiled in or this machine does not run it.
    """
    checks.one_of("set_isa", "name", name, available_isas())
    _core.use_isa(name)
    settings.changed()


def cores() -> str:
    """Return the kind of cores that the kernels are tuned for: "intel" on processors made by Intel, else "generic".

    The environment variable FASTNN_CORES chooses another one when fastnn is imported. Results have the same bits with any.
    """
    return str(_core.cores())


def known_cores() -> list[str]:
    """Return the kinds of cores that there is a tuning for."""
    return list(_core.known_cores())


def set_seed(seed: int) -> None:
    """Make everything random that follows (initial weights, shuffling, dropout) a function of `seed`.

    Args:
        seed: integer, 0 <= seed < 2**63.

    Example:
        >>> import fastnn
        >>> fastnn.config.set_seed(7)
        >>> a = fastnn.initializers.GlorotUniform()((2, 3))
        >>> fastnn.config.set_seed(7)
        >>> bool((a == fastnn.initializers.GlorotUniform()((2, 3))).all())
        True
    """
    global _seed, _drawn
    _seed = checks.integer("set_seed", "seed", seed, 0, 2**63 - 1)
    _drawn = 0


def next_seed() -> int:
    """Return the next number of the seed sequence that `set_seed` started (else one the system drew), 0 <= n < 2**63."""
    global _seed, _drawn
    if _seed is None:
        _seed = int.from_bytes(os.urandom(8), "little") >> 1
    state = np.random.SeedSequence(_seed, spawn_key=(_drawn,)).generate_state(1, np.uint64)
    _drawn += 1
    return int(state[0] >> np.uint64(1))


def fingerprint() -> tuple[str, int, str]:
    """Return what a recorded step depends on besides its model: backend, threads, instruction set."""
    return _backend, num_threads(), isa()


def cpu_name() -> str:
    """Return the processor's name as the system gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


OPTIONAL_PACKAGES = {
    "matplotlib": "plot",
    "pooch": "data",
    "sklearn": "test",
    "pytest_benchmark": "bench",
    "threadpoolctl": "bench",
}


def show_config() -> None:
    """Print version, processor, instruction sets, threads and optional packages: what `describe` returns."""
    print(describe())


def describe() -> str:
    """Return a text about this installation: version, processor, instruction sets, threads, optional packages.

    Example:
        >>> import fastnn
        >>> fastnn.config.describe().splitlines()[0].split()[0]
        'fastnn'
    """
    packages = ", ".join(
        f"{name} {'yes' if find_spec(name) else f'no (pip install fastnn[{extra}])'}"
        for name, extra in OPTIONAL_PACKAGES.items()
    )
    return "\n".join(
        [
            f"fastnn {_core.__version__}, Python {platform.python_version()}, NumPy {np.__version__}, {sys.platform}",
            f"processor:        {cpu_name()} ({platform.machine()})",
            f"instruction sets: compiled {', '.join(_core.compiled_isas())}; "
            f"available {', '.join(available_isas())}; in use {isa()}",
            f"cores:            known {', '.join(known_cores())}; in use {cores()}",
            f"threads:          {num_threads()} (default {_core.default_num_threads()})",
            f"backend:          {_backend}",
            f"optional:         {packages}",
        ]
    )


def _read_environment() -> None:
    """Apply FASTNN_ISA, FASTNN_CORES and FASTNN_BACKEND; an unknown value is an error, never a silent fallback."""
    if name := os.environ.get("FASTNN_ISA"):
        checks.one_of("FASTNN_ISA", "the environment variable", name, available_isas())
        _core.use_isa(name)
    if name := os.environ.get("FASTNN_CORES"):
        checks.one_of("FASTNN_CORES", "the environment variable", name, known_cores())
        _core.use_cores(name)
    if name := os.environ.get("FASTNN_BACKEND"):
        checks.one_of("FASTNN_BACKEND", "the environment variable", name, BACKENDS)
        set_backend(name)


_read_environment()
