"""Names for the objects of a family, and plain data for them: what `get`, `serialize` and `deserialize` of a module do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, Self, TypeVar

from fastnn import checks
from fastnn.custom import get_custom_objects, name_of
from fastnn.names import snake_case


class Configured(Protocol):
    """An object that is made again from plain data."""

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return a new object with these arguments."""


T = TypeVar("T", bound=Configured)


def described(who: str, data: Any) -> tuple[str, Mapping[str, Any]]:
    """Return the class's name and the arguments that plain data stands for: a name alone, or a dict with both."""
    if isinstance(data, str):
        data = {"class_name": data}
    name = data.get("class_name", data.get("class")) if isinstance(data, Mapping) else None
    if not isinstance(name, str):
        checks.fail_type(who, "a name or a dict with 'class_name'", checks.describe(data))
    arguments = data.get("config") or {}
    if not isinstance(arguments, Mapping):
        checks.fail_type(who, "'config' to be a dict", checks.describe(arguments))
    return name, arguments


class Registry(Generic[T]):
    """The classes of a family by name, in both spellings: L1L2 and l1_l2.

    Args:
        module: name of the module whose functions these are, for messages.
        what: an object of the family, such as "a regularizer".
        base: the class that all derive from.
        classes: those of the package.
        aliases: further names.
    """

    def __init__(
        self, module: str, what: str, base: type[T], classes: Sequence[type[T]], aliases: Mapping[str, type[T]]
    ) -> None:
        self._module, self._what, self._base = module, what, base
        self._names = {name: cls for cls in classes for name in (cls.__name__, snake_case(cls.__name__))} | dict(
            aliases
        )

    def serialize(self, obj: T | None) -> dict[str, Any] | None:
        """Return {"class_name": ..., "config": ...}, None for None."""
        if obj is None:
            return None
        if not isinstance(obj, self._base):
            fix = f"write a subclass of {self._base.__name__}"
            checks.fail_type(f"{self._module}.serialize", self._what, checks.describe(obj), fix)
        return {"class_name": name_of(type(obj)), "config": obj.get_config()}

    def deserialize(self, config: str | Mapping[str, Any], custom_objects: Mapping[str, type[T]] | None = None) -> T:
        """Return a new object from a name or from what `serialize` returned."""
        who = f"{self._module}.deserialize"
        name, arguments = described(who, config)
        names = {**self._names, **get_custom_objects(), **(custom_objects or {})}
        if name not in names:
            checks.fail(who, f"the name of {self._what}", repr(name), checks.nearest(name, names))
        made: T = names[name].from_config(arguments)
        return made

    def get(self, identifier: Any) -> T | None:
        """Return what an argument of a layer means: a name, plain data, an object, a class or None."""
        if identifier is None or isinstance(identifier, self._base):
            return identifier
        if isinstance(identifier, (str, Mapping)):
            return self.deserialize(identifier)
        if isinstance(identifier, type) and issubclass(identifier, self._base):
            return identifier()
        fix = f"give a name, or an object of a subclass of {self._base.__name__}"
        checks.fail_type(f"{self._module}.get", self._what, checks.describe(identifier), fix)
