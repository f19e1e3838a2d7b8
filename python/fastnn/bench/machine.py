"""What this machine is and what it can do at most: the roofs that kernels are measured against."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np

from fastnn import __version__, config, ops

BANDWIDTH_SIZES = {"32 kB": 32 << 10, "512 kB": 512 << 10, "8 MB": 8 << 20, "256 MB": 256 << 20}


@contextmanager
def using_threads(count: int) -> Iterator[bool]:
    """Let the kernels and NumPy's matrix products use so many threads inside of the block.

    Args:
        count: threads, >= 1.

    Returns:
        whether NumPy's were limited too; this takes the package threadpoolctl.

    Example:
        >>> from fastnn import config
        >>> from fastnn.bench.machine import using_threads
        >>> with using_threads(1):
        ...     config.num_threads()
        1
    """
    before = config.num_threads()
    config.set_num_threads(count)
    try:
        if find_spec("threadpoolctl"):
            from threadpoolctl import threadpool_limits

            with threadpool_limits(limits=count, user_api="blas"):
                yield True
        else:
            yield False
    finally:
        config.set_num_threads(before)


@contextmanager
def using_backend(name: str) -> Iterator[None]:
    """Compute with one backend, "native" or "numpy", inside of the block."""
    before = config.backend()
    config.set_backend(name)
    try:
        yield
    finally:
        config.set_backend(before)


def peak(seconds: float = 0.2) -> float:
    """Return the flop/s of multiply-adds in registers, with the threads and the instruction set in use."""
    return ops.measure_peak(config.num_threads(), seconds)


def bandwidth(nbytes: float, seconds: float = 0.05) -> float:
    """Return `fastnn.ops.bandwidth_roof`: the bytes/s of a triad over arrays of that size."""
    return ops.bandwidth_roof(nbytes, seconds)


def bandwidths() -> dict[str, float]:
    """Return the bandwidth of arrays of typical sizes of caches, and of far more."""
    return {name: bandwidth(size) for name, size in BANDWIDTH_SIZES.items()}


def describe() -> dict[str, Any]:
    """Return what a result depends on besides the program: processor, instruction set, threads, versions, NumPy's BLAS.

    Example:
        >>> from fastnn.bench.machine import describe
        >>> sorted(describe())[:3]
        ['architecture', 'available_isas', 'blas']
    """
    return {
        "processor": config.cpu_name(),
        "architecture": platform.machine(),
        "system": platform.platform(),
        "isa": config.isa(),
        "available_isas": config.available_isas(),
        "threads": config.num_threads(),
        "fastnn": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": _blas(),
    }


def _blas() -> list[dict[str, Any]]:
    """Return which library makes NumPy's matrix products, with how many threads; empty without threadpoolctl."""
    if not find_spec("threadpoolctl"):
        return []
    from threadpoolctl import threadpool_info

    wanted = ("internal_api", "version", "num_threads", "architecture")
    return [{k: pool.get(k) for k in wanted} for pool in threadpool_info() if pool.get("user_api") == "blas"]
