"""check_gradients: what every layer says of its gradients against the slopes of what it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, ops
from fastnn.layers.base import Layer
from fastnn.parameter import Parameter
from fastnn.training.profiler import Profiled
from fastnn.training.stepping import Stepping

Array = NDArray[Any]

STEP = 1e-5  # of a central difference in float64
DIRECTIONS = 3
NOISE = 1e-2  # relative to the largest value


@dataclass(frozen=True)
class GradientRow:
    """One gradient: of which layer, with respect to what, its length, and how far it is from the slopes.

    error: |claimed - slope| relative to the larger of the two, at worst over the directions; None if there are no slopes.
    """

    layer: str
    of: str
    shape: tuple[int, ...]
    norm: float
    error: float | None


@dataclass(frozen=True)
class GradientCheck:
    """What `check_gradients` found; printed, a table.

    Attributes:
        rows: one per gradient.
        tolerance: what the errors are compared with.
    """

    rows: tuple[GradientRow, ...]
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether every error is within the tolerance."""
        return all(row.error is None or row.error <= self.tolerance for row in self.rows)

    def __str__(self) -> str:
        head = ("layer", "gradient of", "shape", "|gradient|", "error", "")
        table = [head]
        for row in self.rows:
            error = "-" if row.error is None else f"{row.error:.1e}"
            mark = "" if row.error is None else "ok" if row.error <= self.tolerance else "WRONG"
            table.append((row.layer, row.of, str(row.shape), f"{row.norm:.3e}", error, mark))
        widths = [max(len(line[i]) for line in table) for i in range(len(head))]
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip() for line in table)


class GradientChecked(Stepping):
    """A model that can check its gradients."""

    def check_gradients(
        self, x: Any = None, y: Any = None, batch_size: int = 4, tolerance: float = 1e-3, seed: int = 0
    ) -> GradientCheck:
        """Compare the gradients of every layer, of the loss and of the whole model with finite differences.

        The gradients are those that training uses, in float32 by the kernels; the slopes are central differences of the NumPy twin
        in float64, along the gradient and along random directions. Nothing is changed. Do not train other models meanwhile: the
        process computes by the twin.

        Args:
            x, y: samples and targets; None makes some that fit. A few are enough.
            batch_size: how many of them are used.
            tolerance: of the relative errors.
            seed: of the directions.

        Returns:
            GradientCheck: `.ok`, `.rows`; `print` it.

        Raises:
            ValueError: for samples and targets that do not fit.

        Example:
            >>> model = fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(2, "tanh"), fastnn.layers.Dense(1)])
            >>> model.compile("sgd", "mse")
            >>> model.check_gradients().ok
            True
        """
        count = checks.integer("check_gradients", "batch_size", batch_size, 1)
        limit = checks.number("check_gradients", "tolerance", tolerance, above=0.0)
        rng = np.random.default_rng(checks.integer("check_gradients", "seed", seed, 0))
        assert isinstance(self, Profiled)
        with self.exclusively("check_gradients"):
            samples, truths, weights = self._samples_to_check(x, y, count, rng)
            with self.unchanged():
                rows = [row for layer in _called(self, samples) for row in _of_layer(layer, rng)]
                rows += _of_model(self, samples, truths, weights, rng)
        return GradientCheck(tuple(rows), limit)

    def _samples_to_check(self, x: Any, y: Any, count: int, rng: np.random.Generator) -> Any:
        assert isinstance(self, Profiled)
        if x is None:
            if y is not None:
                checks.fail("check_gradients", "x with y", "y only")
            return self._example("train", count, rng)
        parts = self._training_arrays(x, y, None, None, "check_gradients")
        return [[None if a is None else a[:count] for a in arrays] for arrays in parts]


@dataclass
class _Called:
    """A layer, and what it was called with in a forward pass."""

    layer: Layer
    x: Any


def _called(model: Any, samples: Sequence[Array]) -> list[_Called]:
    """Return the layers with the values that they get, each at its first call."""
    found: dict[int, _Called] = {}
    for layer in model.leaf_layers:

        def forward(x: Any, training: bool = False, layer: Layer = layer) -> Any:
            found.setdefault(id(layer), _Called(layer, x))
            return type(layer).forward(layer, x, training)

        vars(layer)["forward"] = forward
    try:
        with _counters_kept(model.leaf_layers):
            model.forward_parts(samples, True)
    finally:
        for layer in model.leaf_layers:
            del vars(layer)["forward"]
    return list(found.values())


@contextmanager
def _counters_kept(layers: Sequence[Layer]) -> Iterator[None]:
    """Put random counters and moving statistics back, so that every pass draws the same numbers."""
    arrays: list[Array] = []
    for layer in layers:
        arrays += [*layer.counters.values(), *(p.value for p in layer.parameters if not p.learns)]
    before = [a.copy() for a in arrays]
    try:
        yield
    finally:
        for array, values in zip(arrays, before):
            array[...] = values


def _of_layer(called: _Called, rng: np.random.Generator) -> Iterator[GradientRow]:
    """Yield the rows of a layer by itself: of sum(dy * layer(x)), for random dy, by what it learns and by x."""
    layer, several = called.layer, called.layer.takes_list
    plain = [part.copy() for part in called.x] if several else [called.x.copy()]
    # A little noise, for slopes are not defined where values are equal, as the zeros of a relu are to a maximum.
    x = [
        (part + NOISE * (np.abs(part).max(initial=1e-3)) * rng.standard_normal(part.shape)).astype(part.dtype)
        for part in plain
    ]
    try:
        with _counters_kept([layer]):
            out = layer.forward(x if several else x[0], True)
    except ValueError:  # its inputs are whole numbers
        x = plain
        with _counters_kept([layer]):
            out = layer.forward(x if several else x[0], True)
    dy = rng.standard_normal(out.shape).astype(np.float32)
    with _counters_kept([layer]):
        layer.forward(x if several else x[0], True)
        given: Any = layer.backward(dy)
    dx = given if several else [given]
    doubles = [part.astype(np.float64) for part in x]

    def value() -> float:
        with _counters_kept([layer]):
            y = layer.forward(doubles if several else doubles[0], True)
        return float((np.asarray(y, np.float64) * dy).sum())

    learning = layer.trainable_weights
    claimed = [p.gradient.astype(np.float64) for p in learning]
    with _double_parameters([layer]):
        for p, gradient in zip(learning, claimed):
            yield _row(layer.name, p.name.rpartition("/")[2], p.value, gradient, value, rng)
        for i, (part, gradient) in enumerate(zip(doubles, dx)):
            name = f"input {i}" if several else "input"
            if gradient is None or x is plain:
                yield GradientRow(layer.name, name, part.shape, 0.0, None)
            else:
                yield _row(layer.name, name, part, gradient.astype(np.float64), value, rng)


def _of_model(
    model: Any, samples: list[Array], truths: list[Array], weights: list[Any], rng: np.random.Generator
) -> Iterator[GradientRow]:
    """Yield the row of the loss by all that the model learns."""
    rows = len(samples[0])

    def loss(x: list[Array], y: list[Array]) -> float:
        model.reset_metrics()
        model._feed.load(x, y, weights)
        with _counters_kept(model.leaf_layers):
            model._scored(rows, True)
        return float(model._logs()["loss"])

    loss(samples, truths)
    learning = [p for layer in model.leaf_layers for p in layer.trainable_weights]
    claimed = [p.gradient.astype(np.float64) for p in learning]
    x = [part.astype(np.float64) for part in samples]
    y = [part.astype(np.float64) if part.dtype == np.float32 else part for part in truths]
    if not learning:
        return
    with _double_parameters(model.leaf_layers):
        flat = np.concatenate([p.value.reshape(-1) for p in learning])
        bounds = np.cumsum([0, *(p.size for p in learning)])

        def value() -> float:
            for p, start, stop in zip(learning, bounds, bounds[1:]):
                p.value[...] = flat[start:stop].reshape(p.shape)
            return loss(x, y)

        yield _row("whole model", "all that learns", flat, np.concatenate([g.reshape(-1) for g in claimed]), value, rng)


@contextmanager
def _double_parameters(layers: Sequence[Layer]) -> Iterator[None]:
    """Let the twin compute in float64, with parameters and gradients of their own."""
    every: list[Parameter] = [p for layer in layers for p in layer.parameters]
    before = [(p.value, p.grad) for p in every]
    with ops.in_doubles():
        for p in every:
            vars(p)["value"] = p.value.astype(np.float64)
            vars(p)["grad"] = None if p.grad is None else np.zeros(p.shape)
        try:
            yield
        finally:
            for p, (value, grad) in zip(every, before):
                vars(p)["value"], vars(p)["grad"] = value, grad


def _row(
    layer: str, of: str, at: Array, gradient: Array, value: Callable[[], float], rng: np.random.Generator
) -> GradientRow:
    """Return the row of a gradient: `value` is a function of the array `at`, which is changed and put back."""
    norm, start = float(np.linalg.norm(gradient)), at.copy()
    if not np.isfinite(norm):
        return GradientRow(layer, of, at.shape, norm, np.inf)
    directions = [rng.standard_normal(at.shape) for _ in range(DIRECTIONS)] + ([gradient] if norm > 0 else [])
    floor = 1e-6 * (1.0 + abs(value()))  # slopes below are noise
    error = 0.0
    for direction in directions if at.size else []:
        v = direction / np.linalg.norm(direction)
        values = []
        for sign in (1.0, -1.0):
            at[...] = start + sign * STEP * v
            values.append(value())
        at[...] = start
        slope, claimed = (values[0] - values[1]) / (2 * STEP), float(np.vdot(gradient, v))
        usual = norm / np.sqrt(at.size)  # what a gradient of this length has along a random direction
        error = np.maximum(error, abs(claimed - slope) / max(abs(claimed), abs(slope), usual, floor))
    return GradientRow(layer, of, at.shape, norm, float(error) if np.isfinite(error) else np.inf)
