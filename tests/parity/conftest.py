"""Comparison with Keras and PyTorch: left out, and counted, where they are not installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import harness
import pytest

HERE = Path(__file__).parent
_left_out: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE not in item.path.parents or not getattr(item.getparent(pytest.Module).obj, "NEEDS_PEER", True):
            continue
        item.add_marker(pytest.mark.filterwarnings("default"))  # other packages warn about each other
        if not harness.available():
            _left_out.append(item.nodeid)
            item.add_marker(pytest.mark.skip(reason="needs keras, and jax or torch: pip install 'fastnn[parity]'"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _left_out:
        terminalreporter.write_line(
            f"{len(_left_out)} comparisons with Keras and PyTorch were left out: pip install 'fastnn[parity]' runs them"
        )


@pytest.fixture(autouse=True)
def _peer_in_float64() -> Iterator[None]:
    with harness.in_float64():
        yield
