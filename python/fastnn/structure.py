"""How the inputs or outputs of a model are given: as one thing, as a list, or as a dict by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastnn import checks

KINDS = ("one", "list", "dict")


@dataclass(frozen=True)
class Structure:
    """One thing, a list or a dict, of things that have names.

    Args:
        kind: "one", "list" or "dict".
        names: of the things, in order; the keys of a dict.

    Example:
        >>> from fastnn.structure import Structure
        >>> Structure("list", ("a", "b")).parts("example", "x", {"b": 2, "a": 1})
        [1, 2]
        >>> Structure("dict", ("a", "b")).whole([1, 2])
        {'a': 1, 'b': 2}
    """

    kind: str
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def whole(self, parts: Sequence[Any]) -> Any:
        """Return the parts as one thing, list or dict."""
        if self.kind == "one":
            return parts[0]
        return dict(zip(self.names, parts)) if self.kind == "dict" else list(parts)

    def parts(self, who: str, argument: str, value: Any) -> list[Any]:
        """Return the parts in order; a dict by name will always do, a list for several, anything else for one."""
        count = len(self.names)
        if isinstance(value, Mapping):
            unknown = [str(name) for name in value if name not in self.names]
            missing = [name for name in self.names if name not in value]
            if unknown or missing:
                got = ", ".join(map(repr, map(str, value))) or "an empty dict"
                fix = checks.nearest(unknown[0], self.names) if unknown else ""
                checks.fail(who, f"{argument} with the keys {', '.join(map(repr, self.names))}", got, fix)
            return [value[name] for name in self.names]
        if self.kind == "one":
            return [value]
        rule = f"{argument} as a list of {count} or a dict with the keys {', '.join(map(repr, self.names))}"
        if not isinstance(value, (list, tuple)):
            checks.fail_type(who, rule, checks.describe(value))
        if len(value) != count:
            checks.fail(who, rule, f"{len(value)}")
        return list(value)
