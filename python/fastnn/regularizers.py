"""Regularizers: what parameters or outputs add to the loss, with Keras's names: ``L2(1e-4)`` or, in a layer, ``"l2"``.

The penalty is part of the loss that is reported, as in Keras, and its gradient is added to that of the parameter, or of the layer's
output (`Model.backward`). Outputs are penalized as the mean over the samples of a batch.

Keras's L2 is l2 w^2, whose gradient is 2 l2 w. Where a book has half of w^2, half the factor is meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.recordable import is_recordable
from fastnn.registry import Registry
from fastnn.settings import Settings

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "OrthogonalRegularizer",
    "Regularizer",
    "deserialize",
    "get",
    "l1",
    "l1_l2",
    "l2",
    "orthogonal_regularizer",
    "serialize",
]


class Total:
    """Where the penalties of a batch are added up: a running mean [sum over samples, number of samples].

    Args:
        state: the two numbers.
        rows: samples of the batch.
    """

    def __init__(self, state: NDArray[np.float64], rows: int) -> None:
        self.state, self.rows = state, float(rows)
        self._count = self.rows

    def take_count(self) -> float:
        """Return how many samples this penalty adds: those of the batch for the first penalty, none for the others."""
        count, self._count = self._count, 0.0
        return count

    def add(self, value: float) -> None:
        """Add a penalty that was computed in Python."""
        self.state += self.rows * value, self.take_count()


class Regularizer(Settings):
    """Base class: a subclass defines ``__call__``, the penalty, and ``gradient``, its derivative; a model with it runs eagerly.

    Example:
        >>> import numpy as np
        >>> class Fourth(fastnn.regularizers.Regularizer):
        ...     def __call__(self, x):
        ...         return 0.5 * float((x**4).sum())
        ...     def gradient(self, x):
        ...         return 2 * x**3
        >>> layer = fastnn.layers.Dense(1, kernel_initializer="ones", kernel_regularizer=Fourth())
        >>> model = fastnn.Sequential([fastnn.Input((3,)), layer])
        >>> model.losses
        [1.5]
    """

    recordable: ClassVar[bool] = False

    def __call__(self, x: Any) -> float:
        """Return the penalty of x."""
        raise TypeError(checks.message(type(self).__name__, "a regularizer class with a __call__ method", "none"))

    def gradient(self, x: Any) -> Float32:
        """Return the derivative of the penalty by x."""
        raise TypeError(checks.message(type(self).__name__, "a regularizer class with a gradient method", "none"))

    def add_to(
        self,
        x: Float32,
        *,
        scale: float = 1.0,
        total: Total | None = None,
        dy: Float32 | None = None,
        out: Float32 | None = None,
        need_gradient: bool = False,
    ) -> Float32 | None:
        """Add scale times the penalty to the total; return dy (None: 0) + scale times its gradient, in out if that is given."""
        if total is not None:
            total.add(scale * float(self(x)))
        if not need_gradient:
            return None
        slope = checks.float32(type(self).__name__, "the gradient", self.gradient(x))
        if slope.shape != x.shape:
            checks.fail(type(self).__name__, f"a gradient of shape {x.shape}", slope.shape)
        dx: Float32 = scale * slope if dy is None else dy + scale * slope
        if out is None:
            return dx
        out[...] = dx
        return out

    def step_key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured."""
        return (id(self), repr(self.get_config()))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Regularizer:
        """Return a new regularizer from what `get_config` returned."""
        return cls(**config)


def _factor(who: str, name: str, value: Any) -> float:
    return checks.number(who, name, value, 0.0, float(np.finfo(np.float32).max))


class L1L2(Regularizer):
    """l1 times the sum of |x|, plus l2 times the sum of x^2. The derivative of |x| is 0 at 0.

    Args:
        l1, l2: factors, >= 0.

    Example:
        >>> import numpy as np
        >>> fastnn.regularizers.L1L2(l1=0.5, l2=1.0)(np.array([-1.0, 2.0]))
        6.5
        >>> fastnn.regularizers.L1L2(l1=0.5, l2=1.0).gradient(np.array([-1.0, 2.0])).tolist()
        [-2.5, 4.5]
    """

    recordable: ClassVar[bool] = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        who = type(self).__name__
        self.l1 = 0.0 if l1 is None else _factor(who, "l1", l1)
        self.l2 = 0.0 if l2 is None else _factor(who, "l2", l2)

    def __call__(self, x: Any) -> float:
        state = np.zeros(2)
        ops.penalty(ops.as_float32(type(self).__name__, "x", x), self.l1, self.l2, state=state)
        return float(state[0])

    def gradient(self, x: Any) -> Float32:
        x = ops.as_float32(type(self).__name__, "x", x)
        slope = ops.penalty(x, self.l1, self.l2, need_gradient=True)
        assert slope is not None  # it was asked for
        return slope

    def add_to(
        self,
        x: Float32,
        *,
        scale: float = 1.0,
        total: Total | None = None,
        dy: Float32 | None = None,
        out: Float32 | None = None,
        need_gradient: bool = False,
    ) -> Float32 | None:
        if not is_recordable(self):
            return super().add_to(x, scale=scale, total=total, dy=dy, out=out, need_gradient=need_gradient)
        state, rows, count = (None, 0.0, 0.0) if total is None else (total.state, total.rows, total.take_count())
        return ops.penalty(
            x,
            self.l1,
            self.l2,
            scale=scale,
            state=state,
            rows=rows,
            count=count,
            dy=dy,
            out=out,
            need_gradient=need_gradient,
        )

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}


class L1(L1L2):
    """l1 times the sum of |x|: makes many values 0.

    Args:
        l1: factor, >= 0.

    Example:
        >>> import numpy as np
        >>> fastnn.regularizers.L1(0.5)(np.array([-1.0, 2.0]))
        1.5
    """

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=0.01 if l1 is None else l1)

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1}


class L2(L1L2):
    """l2 times the sum of x^2, whose gradient is 2 l2 x: makes values small, also called weight decay.

    Args:
        l2: factor, >= 0.

    Example:
        >>> import numpy as np
        >>> fastnn.regularizers.L2(0.5)(np.array([-1.0, 2.0]))
        2.5
    """

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=0.01 if l2 is None else l2)

    def get_config(self) -> dict[str, Any]:
        return {"l2": self.l2}


class OrthogonalRegularizer(Regularizer):
    """factor times the mean of |cosine| over all pairs of rows (or columns) of a matrix: 0 if they are orthogonal.

    Args:
        factor: >= 0.
        mode: "rows" or "columns".

    Raises:
        ValueError: for anything but a matrix.

    Example:
        >>> import numpy as np
        >>> fastnn.regularizers.OrthogonalRegularizer(0.5)(np.array([[1.0, 0.0], [3.0, 4.0]]))
        0.30000001192092896
    """

    recordable: ClassVar[bool] = True
    unwatched: ClassVar[frozenset[str]] = frozenset({"_pairs"})

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        who = type(self).__name__
        self.factor = _factor(who, "factor", factor)
        self.mode = checks.one_of(who, "mode", mode, ("rows", "columns"))
        self._pairs: dict[int, Float32] = {}

    def _rows(self, x: Any) -> Float32:
        x = ops.as_float32(type(self).__name__, "x", x)
        if x.ndim != 2:
            checks.fail(type(self).__name__, "a matrix", f"shape {x.shape}", "use another regularizer for such weights")
        return x if self.mode == "rows" else ops.permute(x, (1, 0))

    def _cosines(self, unit: Float32) -> tuple[Float32, float]:
        """Return the products of all pairs of rows, 0 for a row with itself, and the share of each in the penalty."""
        n = len(unit)
        mask = self._pairs.setdefault(n, np.ones((n, n), np.float32) - np.eye(n, dtype=np.float32))
        return ops.multiply(ops.gemm(unit, unit, transpose_b=True), mask), self.factor / max(n * (n - 1), 1)

    def __call__(self, x: Any) -> float:
        cosines, share = self._cosines(ops.unit_norm_forward(self._rows(x))[0])
        state = np.zeros(2)
        ops.penalty(cosines, share, 0.0, state=state)
        return float(state[0])

    def gradient(self, x: Any) -> Float32:
        slope = self.add_to(ops.as_float32(type(self).__name__, "x", x), need_gradient=True)
        assert slope is not None  # it was asked for
        return slope

    def add_to(
        self,
        x: Float32,
        *,
        scale: float = 1.0,
        total: Total | None = None,
        dy: Float32 | None = None,
        out: Float32 | None = None,
        need_gradient: bool = False,
    ) -> Float32 | None:
        if not is_recordable(self):
            return super().add_to(x, scale=scale, total=total, dy=dy, out=out, need_gradient=need_gradient)
        unit, r = ops.unit_norm_forward(self._rows(x))
        cosines, share = self._cosines(unit)
        if total is not None:
            ops.penalty(cosines, share, 0.0, scale=scale, state=total.state, rows=total.rows, count=total.take_count())
        if not need_gradient:
            return None
        signs = ops.penalty(cosines, share, 0.0, scale=2 * scale, need_gradient=True)  # every pair stands there twice
        assert signs is not None  # it was asked for
        slope = ops.unit_norm_backward(ops.gemm(signs, unit), unit, r)
        if self.mode == "columns":
            slope = ops.permute(slope, (1, 0))
        return ops.add(slope, out=out) if dy is None else ops.add(dy, slope, out=out)

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor, "mode": self.mode}


l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer  # as Keras calls them as well

_registry: Registry[Regularizer] = Registry(
    "regularizers",
    "a regularizer",
    Regularizer,
    (L1, L2, L1L2, OrthogonalRegularizer),
    {"l1_l2": L1L2, "l1l2": L1L2},
)


def serialize(regularizer: Regularizer | None) -> dict[str, Any] | None:
    """Return ``{"class_name": ..., "config": ...}``, from which ``deserialize`` makes an equal regularizer; None for None.

    >>> from fastnn import regularizers
    >>> regularizers.serialize(regularizers.L2(0.5))
    {'class_name': 'L2', 'config': {'l2': 0.5}}
    """
    return _registry.serialize(regularizer)


def deserialize(
    config: str | Mapping[str, Any], custom_objects: Mapping[str, type[Regularizer]] | None = None
) -> Regularizer:
    """Return a new regularizer from its name or from what ``serialize`` returned; custom_objects: further classes by name.

    Raises:
        TypeError, ValueError: not such a name or dict; says which names are near.

    >>> from fastnn import regularizers
    >>> regularizers.deserialize("l1").get_config()
    {'l1': 0.01}
    """
    return _registry.deserialize(config, custom_objects)


def get(identifier: Any) -> Regularizer | None:
    """Return the regularizer that an argument of a layer means: a name, plain data, an object, a class or None.

    >>> from fastnn import regularizers
    >>> regularizers.get("l2").l2
    0.01
    """
    return _registry.get(identifier)
