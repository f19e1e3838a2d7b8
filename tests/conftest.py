"""Fixtures for all tests: instruction sets, thread counts, random numbers, and settings put back after each test."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator

import numpy as np
import pytest

from fastnn import config


@pytest.fixture(autouse=True)
def _settings_as_before() -> Iterator[None]:
    """Put back what a test changed of the settings of the whole process."""
    backend, threads, isa = config.backend(), config.num_threads(), config.isa()
    yield
    config.set_backend(backend)
    config.set_num_threads(threads)
    config.set_isa(isa)


@pytest.fixture(params=config.available_isas())
def isa(request: pytest.FixtureRequest) -> str:
    """Run the test with the kernels of every instruction set of this machine."""
    name: str = request.param
    config.set_isa(name)
    return name


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> int:
    """Run the test with one thread and with two."""
    count: int = request.param
    config.set_num_threads(count)
    return count


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that are the same in every run; FASTNN_TEST_SEED=number gives others. A failure shows the seed."""
    seed = [int(os.environ.get("FASTNN_TEST_SEED", "0")), zlib.crc32(request.node.name.encode())]
    print(f"np.random.default_rng({seed})")
    return np.random.default_rng(seed)
