"""L-BFGS for full batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.optimizers.base import Optimizer, Product
from fastnn.optimizers.line_search import Point, line_search
from fastnn.parameter import Parameter, ParameterStore

NOISE = 1e-7  # of a loss, relative: float32 sums


class LBFGS(Optimizer):
    """The quasi-Newton method with limited memory: few, good steps, each with a line search over all samples.

    p = -H g, H being the inverse Hessian that the last `history` steps and changes of the gradient speak for;
    w += t p, t such that the loss falls and its slope flattens (strong Wolfe conditions), t = learning_rate tried first

    In `fit` an epoch is one step and evaluates the loss several times: give batch_size=len(x), and no layers that draw random
    numbers. The logs tell the loss after the step. By hand: `build(parameters)`, then `minimize(evaluate)`.

    Args:
        learning_rate: the step that is tried first, > 0.
        history: steps that are remembered, >= 1.
        max_evaluations: of the loss in a step, >= 2.
        armijo: least share of the fall that the slope promises, in (0, 1).
        curvature: largest share of the slope that may be left, in (armijo, 1).
        name: for the record.

    Reference:
        Liu & Nocedal (1989), On the limited memory BFGS method for large scale optimization.

    Example:
        >>> import numpy as np
        >>> x = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
        >>> model = fastnn.Sequential([fastnn.Input((1,)), fastnn.layers.Dense(1)])
        >>> model.compile(fastnn.optimizers.LBFGS(), "mse")
        >>> history = model.fit(x, 3 * x + 2, batch_size=20, epochs=6, verbose=0)
        >>> history.history["loss"][-1] < 1e-8
        True
    """

    full_batch: ClassVar[bool] = True

    def __init__(
        self,
        learning_rate: float = 1.0,
        history: int = 10,
        max_evaluations: int = 25,
        armijo: float = 1e-4,
        curvature: float = 0.9,
        name: str | None = None,
        **unknown: Any,
    ) -> None:
        valid = ("learning_rate", "name", *self.get_hyper_names())
        checks.unknown_arguments("LBFGS", unknown, valid)
        super().__init__(checks.number("LBFGS", "learning_rate", learning_rate, above=0.0), name=name)
        self.history = checks.integer("LBFGS", "history", history, 1, 10_000)
        self.max_evaluations = checks.integer("LBFGS", "max_evaluations", max_evaluations, 2)
        self.armijo = checks.number("LBFGS", "armijo", armijo, above=0.0, below=1.0)
        self.curvature = checks.number("LBFGS", "curvature", curvature, above=self.armijo, below=1.0)
        self._pairs = np.zeros(1, np.int64)  # remembered so far, over all steps since they were forgotten

    @classmethod
    def get_hyper_names(cls) -> tuple[str, ...]:
        return ("history", "max_evaluations", "armijo", "curvature")

    def get_config(self) -> dict[str, Any]:
        config = {name: getattr(self, name) for name in self.get_hyper_names()}
        return {"learning_rate": self.learning_rate, "name": self.name, **config}

    def new_slots(self, store: ParameterStore) -> dict[str, Float32]:
        self._pairs[0] = 0
        return {name: ops.zeros((self.history * store.size,)) for name in ("steps", "differences")}

    def state(self) -> dict[str, NDArray[Any]]:
        return {**super().state(), "pairs": self._pairs}

    def step(
        self, active: Callable[[Parameter], bool] | None = None, products: Mapping[Parameter, Product] | None = None
    ) -> None:
        """Refuse: a step has to look at the loss more than once."""
        fix = "use fit or train_on_batch, or optimizer.minimize(evaluate)"
        raise TypeError(checks.message("LBFGS", "a loss that can be evaluated", "step() by itself", fix))

    def minimize(self, evaluate: Callable[[], float], active: Callable[[Parameter], bool] | None = None) -> float:
        """Do one step and return the loss after it.

        Args:
            evaluate: returns the loss for the parameters as they are, and leaves its gradients in them.
            active: tells which parameters may change; None is all of them.
        """
        if self.store is None:
            checks.fail("LBFGS", "build(parameters) before minimize", "no parameters", "compile a built model")
        if not self.store.owns_all():
            self.build(ParameterStore(self.store.parameters))
        spans = [span for _, span in self._runs(active, {})]
        w, before = self.store.values, self.store.values.copy()
        try:
            value = self._minimized(evaluate, spans, before)
        except BaseException:
            w[...] = before
            raise
        ops.advance(self.iterations, 1)
        return value

    def _minimized(self, evaluate: Callable[[], float], spans: list[slice], before: Float32) -> float:
        assert self.store is not None
        w = self.store.values
        reached: dict[float, tuple[Float32, float]] = {}  # gradient and loss by step, of the latest evaluation only
        value, g = evaluate(), self._gradient(spans)
        direction, slope = self._direction(g)
        if not slope < 0:
            return value
        start = Point(0.0, value, slope)

        def at(step: float) -> Point:
            ops.add(before, direction, weights=[1.0, step], out=w)
            reached.clear()
            loss, gradient = evaluate(), self._gradient(spans)
            reached[step] = gradient, loss
            return Point(step, loss, _dot(gradient, direction))

        first = self.learning_rate * (1.0 if self._pairs[0] else min(1.0, 1.0 / float(np.abs(g).sum())))
        limits = {"armijo": self.armijo, "curvature": self.curvature, "noise": NOISE * abs(value)}
        found = line_search(at, start, first, most=self.max_evaluations, **limits)
        if found is None:  # the direction is of no use: begin anew from here
            self._pairs[0] = 0
            w[...] = before
            return evaluate()
        if found.step not in reached:
            at(found.step)
        gradient, loss = reached[found.step]
        self._remember(w - before, gradient - g)
        return loss

    def _gradient(self, spans: list[slice]) -> Float32:
        """Return a copy of the gradient, 0 where nothing may change."""
        assert self.store is not None
        g = np.zeros_like(self.store.grads)
        for span in spans:
            g[span] = self.store.grads[span]
        return g

    def _direction(self, g: Float32) -> tuple[Float32, float]:
        """Return -H g by the two loops over what is remembered, and its slope; -g where that does not go down."""
        count = min(int(self._pairs[0]), self.history)
        places = [(int(self._pairs[0]) - 1 - i) % self.history for i in range(count)]  # the latest first
        pairs = [(self._row("steps", i), self._row("differences", i)) for i in places]
        d, shares = -g, []
        for s, y in pairs:
            shares.append(_dot(s, d) / _dot(s, y))
            ops.add(d, y, weights=[1.0, -shares[-1]], out=d)
        if pairs:
            s, y = pairs[0]
            d *= np.float32(_dot(s, y) / _dot(y, y))
        for (s, y), share in zip(reversed(pairs), reversed(shares)):
            ops.add(d, s, weights=[1.0, share - _dot(y, d) / _dot(s, y)], out=d)
        slope = _dot(g, d)
        if pairs and not slope < 0:
            self._pairs[0] = 0
            return -g, -_dot(g, g)
        return d, slope

    def _remember(self, s: Float32, y: Float32) -> None:
        """Keep a step and the change of the gradient along it, if the curvature between them is positive."""
        if _dot(s, y) > 1e-10 * _dot(y, y):
            place = int(self._pairs[0]) % self.history
            self._row("steps", place)[...] = s
            self._row("differences", place)[...] = y
            self._pairs[0] += 1

    def _row(self, slot: str, place: int) -> Float32:
        size = self.slots[slot].size // self.history
        return self.slots[slot][place * size : (place + 1) * size]


def _dot(x: Float32, y: Float32) -> float:
    out = np.zeros(1)
    ops.dot(x, y, out)
    return float(out[0])
