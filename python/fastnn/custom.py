"""Classes of the user's by name, for what files describe: given for a while, or registered for good."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from fastnn import checks

T = TypeVar("T")

_registered: dict[str, Any] = {}
_given: ContextVar[Mapping[str, Any] | None] = ContextVar("given", default=None)


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[T], T]:
    """Let files find a class: a decorator, as in Keras.

    Args:
        package: first part of the name in files, "package>name".
        name: second part; None is the class's own name.

    Raises:
        ValueError: if another class has that name already.

    Example:
        >>> import fastnn
        >>> @fastnn.utils.register_keras_serializable("examples")
        ... class Twice(fastnn.layers.Layer):
        ...     def forward(self, x, training=False):
        ...         return 2 * x
        >>> model = fastnn.Sequential([fastnn.Input((3,)), Twice()])
        >>> type(fastnn.models.model_from_json(model.to_json()).layers[0]).__name__
        'Twice'
    """

    def decorate(cls: T) -> T:
        full = f"{package}>{name or getattr(cls, '__name__', '')}"
        known = _registered.setdefault(full, cls)
        same = (getattr(known, key, None) == getattr(cls, key, None) for key in ("__module__", "__qualname__"))
        if known is not cls and not all(same):  # the same again is a module that was loaded anew
            checks.fail("register_keras_serializable", "a name that is not taken", repr(full), "give another name=")
        _registered[full] = cls
        return cls

    return decorate


@contextmanager
def custom_object_scope(custom_objects: Mapping[str, Any] | None) -> Iterator[None]:
    """Let files that are read inside of a `with` find classes by name.

    Args:
        custom_objects: classes by name; None for none.

    Example:
        >>> import fastnn
        >>> class Mine(fastnn.layers.Dense):
        ...     pass
        >>> text = fastnn.Sequential([fastnn.Input((3,)), Mine(2)]).to_json()
        >>> with fastnn.utils.custom_object_scope({"Mine": Mine}):
        ...     fastnn.models.model_from_json(text).count_params()
        8
    """
    if custom_objects is not None and not isinstance(custom_objects, Mapping):
        fix = "write custom_objects={'Name': Name}"
        checks.fail_type("custom_objects", "a dict of classes by name", checks.describe(custom_objects), fix)
    token = _given.set({**(_given.get() or {}), **(custom_objects or {})})
    try:
        yield
    finally:
        _given.reset(token)


def get_custom_objects() -> dict[str, Any]:
    """Return what is registered or given now, by name."""
    return {**_registered, **(_given.get() or {})}


def given_class(name: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the class of the user's that plain data means by a name, None if it is one of the package's."""
    return {**get_custom_objects(), **(custom_objects or {})}.get(name)


def is_own(cls: type) -> bool:
    """Return whether a class is the user's, of which nobody knows what it does."""
    return not cls.__module__.startswith("fastnn.")


def name_of(cls: type) -> str:
    """Return the name of a class in files: the one it is registered under, else its own."""
    return next((name for name, known in _registered.items() if known is cls), cls.__name__)
