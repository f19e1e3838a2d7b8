"""Settings that recorded steps have captured: whether one of them may have changed.

A recorded step is found again by what it captured (`step_key`). Putting that together takes longer than a small step; so a model
that is given one batch after the other asks first whether any setting at all was changed since it last did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fastnn.custom import is_own

# Replaced at every change. An object and not a number: two threads that count at the same time may write the same number.
_latest: object = object()


def latest() -> object:
    """Return the mark of the latest change of any setting in the process: the same object as before if there was none."""
    return _latest


def changed() -> None:
    """Note that a setting was changed. To be called after the change, so that nobody takes the old value for the new one."""
    global _latest
    _latest = object()


class Settings:
    """An object whose attributes are settings: setting or deleting one is noted."""

    unwatched: ClassVar[frozenset[str]] = frozenset()  # attributes that no step captures

    if not TYPE_CHECKING:  # a type checker would take any attribute for a known one

        def __setattr__(self, name: str, value: Any) -> None:
            object.__setattr__(self, name, value)
            if name not in self.unwatched:
                changed()

        def __delattr__(self, name: str) -> None:
            object.__delattr__(self, name)
            changed()


def missing(obj: Any, name: str) -> Any:
    """Raise for an attribute that is not there: `__getattr__` of classes whose `__init__` sets a name."""
    fix = "" if "name" in vars(obj) else "; call super().__init__() at the start of __init__"
    raise AttributeError(f"'{type(obj).__name__}' object has no attribute '{name}'{fix}")


def noted(obj: object) -> bool:
    """Return whether all that a step captures of obj is noted when it changes; of a class of the user's nobody knows what it is."""
    return isinstance(obj, Settings) and not is_own(type(obj))
