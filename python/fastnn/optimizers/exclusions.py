"""Which parameters are spared from weight decay."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from fastnn import checks, settings
from fastnn.parameter import Parameter


class Exclusions:
    """Parameters by their names, and by regular expressions that are found in their names.

    Args:
        who: the optimizer, for errors.
    """

    def __init__(self, who: str) -> None:
        self.who = who
        self.names: list[str] = []
        self.patterns: list[str] = []

    def add(self, names: Iterable[str], patterns: Iterable[str]) -> None:
        """Spare more of them."""
        patterns = list(patterns)
        for pattern in patterns:
            try:
                re.compile(pattern)
            except (re.error, TypeError):
                checks.fail(self.who, "var_names as parts of names or regular expressions", repr(pattern))
        self.names += names
        self.patterns += patterns
        settings.changed()

    def spare(self, parameter: Parameter) -> bool:
        """Return whether a parameter is spared."""
        return parameter.name in self.names or any(re.search(p, parameter.name) for p in self.patterns)

    def key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured."""
        return tuple(self.names), tuple(self.patterns)

    def as_data(self) -> dict[str, list[str]]:
        """Return them as plain data, nothing if there are none."""
        found = {"undecayed": self.names, "undecayed_patterns": self.patterns}
        return {name: list(values) for name, values in found.items() if values}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Spare what `as_data` told."""
        self.add(map(str, data.get("undecayed", ())), map(str, data.get("undecayed_patterns", ())))
