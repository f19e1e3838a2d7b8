"""The check of an error text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest


def check(use: Callable[[], Any], error: type[Exception], text: str) -> None:
    """Check that this raises this error with this text; "..." stands for any text."""
    with pytest.raises(error) as raised:
        use()
    pattern = ".*".join(map(re.escape, text.split("...")))
    assert re.fullmatch(pattern, str(raised.value), re.DOTALL), f"{raised.value!s}\n does not match\n{text}"
