"""Optimizers as books write them: `update(params, grads)` over dicts of arrays, in place.

    optimizer = numpy_style.Adam(lr=0.01)
    optimizer.update(params, grads)

Float32 arrays are updated by the fused kernels, all others in NumPy with the precision they have. Plain numbers in `params` are
replaced. The state of a parameter begins when its name is first seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, ops

Array = NDArray[Any]
State = dict[str, Array]


class _BookOptimizer:
    """What they share: a learning rate `lr`, and arrays by parameter."""

    def __init__(self, lr: float) -> None:
        self.lr = checks.number(self._who, "lr", lr, 0.0)

    @property
    def _who(self) -> str:
        return f"numpy_style.{type(self).__name__}"

    def update(self, params: MutableMapping[str, Any], grads: Mapping[str, Any]) -> None:
        """Change every parameter by its gradient.

        Args:
            params: arrays of float32 or float64, changed in place, or numbers, which are replaced.
            grads: a gradient of the same shape under every name of params.

        Raises:
            ValueError: for a missing gradient or another shape, before anything is changed; TypeError for other dtypes.
        """
        pairs = [(name, *self._checked(name, params[name], grads)) for name in params]
        lr = np.array([self.lr])
        self._begin()
        for name, w, g in pairs:
            fused = w.dtype == np.float32 and w.flags.c_contiguous and w.flags.aligned and w.dtype.isnative
            if fused:
                self._step(name, w.reshape(-1), np.ascontiguousarray(g).reshape(-1), lr.astype(np.float32), _same)
            else:
                self._step(name, w, g, lr, ops.twin_of)
            if not isinstance(params[name], np.ndarray):
                params[name] = w.item()

    def _checked(self, name: str, given: Any, grads: Mapping[str, Any]) -> tuple[Array, Array]:
        if name not in grads:
            checks.fail(self._who, f"a gradient for every parameter, also for {name!r}", f"those of {sorted(grads)}")
        w = given if isinstance(given, np.ndarray) else np.array(checks.number(self._who, name, given), np.float64)
        if w.dtype not in (np.float32, np.float64):
            checks.fail_type(self._who, f"{name!r} as a float32 or float64 array", f"dtype {w.dtype}")
        if not w.flags.writeable:
            checks.fail(self._who, f"{name!r} to be writeable", "a read-only array", "copy it")
        g = checks.array(self._who, f"gradient {name!r}", grads[name]).astype(w.dtype, copy=False)
        if g.shape != w.shape:
            checks.fail(self._who, f"a gradient of shape {w.shape} for {name!r}", g.shape)
        return w, g

    def _begin(self) -> None:
        """Do what comes once before the parameters of a step."""

    def _step(self, name: str, w: Array, g: Array, lr: Array, form: Callable[[Any], Any]) -> None:
        """Update one parameter; form(op) is what computes it."""
        raise NotImplementedError

    def _slot(self, slots: State, name: str, w: Array) -> Array:
        """Return the array of a parameter, zeros the first time, in the shape of w."""
        if name not in slots or slots[name].size != w.size or slots[name].dtype != w.dtype:
            slots[name] = np.zeros(w.shape, w.dtype)
        return slots[name].reshape(w.shape)


def _same(op: Any) -> Any:
    return op


class SGD(_BookOptimizer):
    """w -= lr g

    Args:
        lr: step size, >= 0.

    Example:
        >>> import numpy as np
        >>> params = {"W": np.array([1.0, 2.0])}
        >>> fastnn.optimizers.numpy_style.SGD(lr=0.5).update(params, {"W": np.array([1.0, 1.0])})
        >>> params["W"].tolist()
        [0.5, 1.5]
    """

    def __init__(self, lr: float = 0.01) -> None:
        super().__init__(lr)

    def _step(self, name: str, w: Array, g: Array, lr: Array, form: Callable[[Any], Any]) -> None:
        form(ops.sgd_step)(w, g, lr)


class Momentum(_BookOptimizer):
    """v = momentum v - lr g; w += v

    Args:
        lr: step size, >= 0.
        momentum: in [0, 1].

    Example:
        >>> import numpy as np
        >>> params, optimizer = {"W": np.array([1.0])}, fastnn.optimizers.numpy_style.Momentum(lr=0.5, momentum=0.5)
        >>> for _ in range(2):
        ...     optimizer.update(params, {"W": np.array([1.0])})
        >>> params["W"].tolist()
        [-0.25]
    """

    nesterov = False

    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        super().__init__(lr)
        self.momentum = checks.number(self._who, "momentum", momentum, 0.0, 1.0)
        self.v: State = {}

    def _step(self, name: str, w: Array, g: Array, lr: Array, form: Callable[[Any], Any]) -> None:
        v = self._slot(self.v, name, w)
        form(ops.momentum_step)(w, g, v, lr, momentum=self.momentum, nesterov=self.nesterov)


class Nesterov(Momentum):
    """w += momentum^2 v - (1 + momentum) lr g; v = momentum v - lr g

    Args:
        lr: step size, >= 0.
        momentum: in [0, 1].

    Example:
        >>> import numpy as np
        >>> params = {"W": np.array([1.0])}
        >>> fastnn.optimizers.numpy_style.Nesterov(lr=0.5, momentum=0.5).update(params, {"W": np.array([1.0])})
        >>> params["W"].tolist()
        [0.25]
    """

    nesterov = True


class AdaGrad(_BookOptimizer):
    """h += g^2; w -= lr g / (sqrt(h) + 1e-7), h being 0 at first

    Args:
        lr: step size, >= 0.

    Example:
        >>> import numpy as np
        >>> params = {"W": np.array([1.0])}
        >>> fastnn.optimizers.numpy_style.AdaGrad(lr=0.5).update(params, {"W": np.array([8.0])})
        >>> round(params["W"].item(), 6)
        0.5
    """

    epsilon = 1e-7

    def __init__(self, lr: float = 0.01) -> None:
        super().__init__(lr)
        self.h: State = {}

    def _step(self, name: str, w: Array, g: Array, lr: Array, form: Callable[[Any], Any]) -> None:
        h = self._slot(self.h, name, w)
        form(ops.adagrad_step)(w, g, h, lr, epsilon=self.epsilon, outside=True)


class RMSprop(_BookOptimizer):
    """h = decay_rate h + (1 - decay_rate) g^2; w -= lr g / (sqrt(h) + 1e-7)

    Args:
        lr: step size, >= 0.
        decay_rate: in [0, 1).

    Example:
        >>> import numpy as np
        >>> params = {"W": np.array([1.0])}
        >>> fastnn.optimizers.numpy_style.RMSprop(lr=0.5, decay_rate=0.75).update(params, {"W": np.array([8.0])})
        >>> round(params["W"].item(), 6)
        0.0
    """

    epsilon = 1e-7

    def __init__(self, lr: float = 0.01, decay_rate: float = 0.99) -> None:
        super().__init__(lr)
        self.decay_rate = checks.number(self._who, "decay_rate", decay_rate, 0.0, below=1.0)
        self.h: State = {}

    def _step(self, name: str, w: Array, g: Array, lr: Array, form: Callable[[Any], Any]) -> None:
        h = self._slot(self.h, name, w)
        options = {"rho": self.decay_rate, "momentum": 0.0, "epsilon": self.epsilon, "outside": True}
        form(ops.rmsprop_step)(w, g, h, None, None, lr, **options)


class Adam(_BookOptimizer):
    """m += (1 - beta1) (g - m); v += (1 - beta2) (g^2 - v)

    w -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + 1e-7) in step t = 1, 2, ...

    Args:
        lr: step size, >= 0.
        beta1, beta2: in [0, 1).

    Example:
        >>> import numpy as np
        >>> params = {"W": np.array([1.0])}
        >>> fastnn.optimizers.numpy_style.Adam(lr=0.5).update(params, {"W": np.array([8.0])})
        >>> round(params["W"].item(), 6)
        0.5
    """

    epsilon = 1e-7

    def __init__(self, lr: float = 0.001, beta1: float = 0.9, beta2: float = 0.999) -> None:
        super().__init__(lr)
        self.beta1 = checks.number(self._who, "beta1", beta1, 0.0, below=1.0)
        self.beta2 = checks.number(self._who, "beta2", beta2, 0.0, below=1.0)
        self.iter = 0
        self.m: State = {}
        self.v: State = {}

    def _begin(self) -> None:
        self.iter += 1

    def _step(self, name: str, w: Array, g: Array, lr: Array, form: Callable[[Any], Any]) -> None:
        m, v, done = self._slot(self.m, name, w), self._slot(self.v, name, w), np.array([self.iter - 1])
        options = {"beta_1": self.beta1, "beta_2": self.beta2, "epsilon": self.epsilon}
        form(ops.adam_step)(w, g, m, v, None, lr, done, **options)
