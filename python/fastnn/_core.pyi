"""The extension module: kernels, called through fastnn.ops only."""

from typing import Any

__version__: str

def __getattr__(name: str) -> Any: ...
