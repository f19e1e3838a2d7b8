"""Ops run on one thread here unless a test says otherwise; test_ops_contract.py proves that threads change no bits."""

from __future__ import annotations

import pytest

from fastnn import config


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    config.set_num_threads(1)
