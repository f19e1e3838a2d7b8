"""Constraints: what parameters are brought to after every update, with Keras's names: ``MaxNorm(3)`` or ``"non_neg"``.

`axis` names the axes over which a norm is taken: 0, the default, for the columns of a Dense kernel, the weights of one unit;
(0, 1, 2) for the filters of Conv2D.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.recordable import is_recordable
from fastnn.registry import Registry
from fastnn.settings import Settings

__all__ = [
    "Constraint",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "UnitNorm",
    "deserialize",
    "get",
    "max_norm",
    "min_max_norm",
    "non_neg",
    "serialize",
    "unit_norm",
]


class Constraint(Settings):
    """Base class: a subclass defines ``__call__``, which returns the weights as they shall be; a model with it runs eagerly.

    Example:
        >>> import numpy as np
        >>> class Symmetric(fastnn.constraints.Constraint):
        ...     def __call__(self, w):
        ...         return (w + w.T) / 2
        >>> Symmetric()(np.array([[1.0, 2.0], [4.0, 1.0]])).tolist()
        [[1.0, 3.0], [3.0, 1.0]]
    """

    recordable: ClassVar[bool] = False

    def __call__(self, w: Any) -> Float32:
        """Return new weights from w."""
        raise TypeError(checks.message(type(self).__name__, "a constraint class with a __call__ method", "none"))

    def project(self, w: Float32) -> None:
        """Change w in place."""
        new = checks.float32(type(self).__name__, "the result", self(w))
        if new.shape != w.shape:
            checks.fail(type(self).__name__, f"a result of shape {w.shape}", new.shape)
        w[...] = new

    def step_key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured."""
        return (id(self), repr(self.get_config()))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Constraint:
        """Return a new constraint from what `get_config` returned."""
        return cls(**config)


class _Native(Constraint):
    """A constraint that a kernel applies, written in `_apply`; subclasses that compute in Python go the way of the base."""

    def _apply(self, w: Float32) -> None:
        raise NotImplementedError

    def __call__(self, w: Any) -> Float32:
        result: Float32 = checks.float32(type(self).__name__, "w", w).copy()
        self._apply(result)
        return result

    def project(self, w: Float32) -> None:
        if is_recordable(self):
            self._apply(w)
        else:
            super().project(w)


Axes = int | Sequence[int]


class _Norm(_Native):
    """A constraint on norms, taken over some axes."""

    def __init__(self, axis: Axes) -> None:
        who = type(self).__name__
        several = isinstance(axis, (list, tuple))
        self.axis: int | list[int] = (
            [checks.integer(who, "axis", a) for a in axis] if several else checks.integer(who, "axis", axis)  # type: ignore[union-attr]
        )

    def _clip(self, w: Float32, low: float, high: float, rate: float = 1.0) -> None:
        ops.clip_norms(w, self.axis if isinstance(self.axis, list) else [self.axis], low, high, rate)


class MaxNorm(_Norm):
    """Scale down what has a norm above `max_value`.

    Args:
        max_value: >= 0.
        axis: over which the norm is taken, or a list of axes.

    Reference:
        Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov (2014), Dropout.

    Example:
        >>> import numpy as np
        >>> fastnn.constraints.MaxNorm(1.0)(np.array([[3.0, 0.5], [4.0, 0.0]])).round(6).tolist()
        [[0.6000000238418579, 0.5], [0.800000011920929, 0.0]]
    """

    recordable: ClassVar[bool] = True

    def __init__(self, max_value: float = 2, axis: Axes = 0) -> None:
        super().__init__(axis)
        self.max_value = checks.number("MaxNorm", "max_value", max_value, 0.0)

    def _apply(self, w: Float32) -> None:
        self._clip(w, 0.0, self.max_value)

    def get_config(self) -> dict[str, Any]:
        return {"max_value": self.max_value, "axis": self.axis}


class NonNeg(_Native):
    """Set negative values to 0.

    Example:
        >>> import numpy as np
        >>> fastnn.constraints.NonNeg()(np.array([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """

    recordable: ClassVar[bool] = True

    def _apply(self, w: Float32) -> None:
        ops.clip_negative(w)


class UnitNorm(_Norm):
    """Scale to norm 1.

    Args:
        axis: over which the norm is taken, or a list of axes.

    Example:
        >>> import numpy as np
        >>> fastnn.constraints.UnitNorm()(np.array([[3.0], [4.0]])).round(6).tolist()
        [[0.6000000238418579], [0.800000011920929]]
    """

    recordable: ClassVar[bool] = True

    def __init__(self, axis: Axes = 0) -> None:
        super().__init__(axis)

    def _apply(self, w: Float32) -> None:
        self._clip(w, 1.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {"axis": self.axis}


class MinMaxNorm(_Norm):
    """Bring norms into [min_value, max_value], or `rate` of the way there at each update.

    Args:
        min_value, max_value: 0 <= min_value <= max_value.
        rate: in [0, 1]; 1 is all the way.
        axis: over which the norm is taken, or a list of axes.

    Example:
        >>> import numpy as np
        >>> fastnn.constraints.MinMaxNorm(0.5, 1.0, rate=0.5)(np.array([[3.0], [0.0]])).tolist()
        [[2.0], [0.0]]
    """

    recordable: ClassVar[bool] = True

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axes = 0) -> None:
        super().__init__(axis)
        self.min_value = checks.number("MinMaxNorm", "min_value", min_value, 0.0)
        self.max_value = checks.number("MinMaxNorm", "max_value", max_value, self.min_value)
        self.rate = checks.number("MinMaxNorm", "rate", rate, 0.0, 1.0)

    def _apply(self, w: Float32) -> None:
        self._clip(w, self.min_value, self.max_value, self.rate)

    def get_config(self) -> dict[str, Any]:
        return {"min_value": self.min_value, "max_value": self.max_value, "rate": self.rate, "axis": self.axis}


max_norm, min_max_norm, non_neg, unit_norm = MaxNorm, MinMaxNorm, NonNeg, UnitNorm  # as Keras calls them as well

_registry: Registry[Constraint] = Registry(
    "constraints", "a constraint", Constraint, (MaxNorm, MinMaxNorm, NonNeg, UnitNorm), {}
)


def serialize(constraint: Constraint | None) -> dict[str, Any] | None:
    """Return ``{"class_name": ..., "config": ...}``, from which ``deserialize`` makes an equal constraint; None for None.

    >>> from fastnn import constraints
    >>> constraints.serialize(constraints.UnitNorm(1))
    {'class_name': 'UnitNorm', 'config': {'axis': 1}}
    """
    return _registry.serialize(constraint)


def deserialize(
    config: str | Mapping[str, Any], custom_objects: Mapping[str, type[Constraint]] | None = None
) -> Constraint:
    """Return a new constraint from its name or from what ``serialize`` returned; custom_objects: further classes by name.

    Raises:
        TypeError, ValueError: not such a name or dict; says which names are near.

    >>> from fastnn import constraints
    >>> constraints.deserialize("max_norm").max_value
    2.0
    """
    return _registry.deserialize(config, custom_objects)


def get(identifier: Any) -> Constraint | None:
    """Return the constraint that an argument of a layer means: a name, plain data, an object, a class or None.

    >>> from fastnn import constraints
    >>> type(constraints.get("non_neg")).__name__
    'NonNeg'
    """
    return _registry.get(identifier)
