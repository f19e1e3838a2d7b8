"""Which parameters learn faster or slower than the others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from fastnn import checks, settings
from fastnn.parameter import Parameter


class RateFactors:
    """Factors of the learning rate by names of parameters, or by regular expressions that are found in them; the last one holds.

    Args:
        who: the optimizer, for errors.
    """

    def __init__(self, who: str) -> None:
        self.who = who
        self.rules: list[tuple[str, float]] = []  # regular expression, factor

    def add(self, factor: Any, names: Iterable[str], patterns: Iterable[str]) -> None:
        """Give more parameters a factor."""
        number = checks.number(self.who, "factor", factor, 0.0)
        if isinstance(patterns, str):
            checks.fail_type(self.who, "var_names as a list", repr(patterns), f"write [{patterns!r}]")
        patterns = [*(f"^{re.escape(name)}$" for name in names), *patterns]
        if not patterns:
            checks.fail(self.who, "var_list or var_names with a factor of the learning rate", "neither")
        for pattern in patterns:
            try:
                re.compile(pattern)
            except (re.error, TypeError):
                checks.fail(self.who, "var_names as parts of names or regular expressions", repr(pattern))
        self.rules += [(pattern, number) for pattern in patterns]
        settings.changed()

    def of(self, parameter: Parameter) -> float:
        """Return what the learning rate of a parameter is multiplied by."""
        return next((factor for pattern, factor in reversed(self.rules) if re.search(pattern, parameter.name)), 1.0)

    def key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured."""
        return tuple(self.rules)

    def as_data(self) -> dict[str, Any]:
        """Return them as plain data, nothing if there are none."""
        return {"rate_factors": [list(rule) for rule in self.rules]} if self.rules else {}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Take what `as_data` told."""
        for pattern, factor in data.get("rate_factors", ()):
            self.add(factor, (), [str(pattern)])
