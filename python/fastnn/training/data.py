"""Arrays for training: checks, splits, weights, and the feed that a recorded step gathers its batches from."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, config, ops
from fastnn.checks import Float32
from fastnn.training import splits


def inputs(who: str, x: Any, argument: str = "x") -> NDArray[Any]:
    """Return samples as a contiguous uint8 or float32 array (N, ...); other real dtypes become float32."""
    if x is None or (callable(x) and not hasattr(x, "__array__")):
        fix = "call the function: it is what it yields that has samples" if callable(x) else ""
        checks.fail_type(who, f"samples {argument}", checks.describe(x), fix)
    source = checks.array(who, argument, x)
    if source.ndim < 2:
        fix = "give one feature an axis, x.reshape(-1, 1), or one sample one of samples, x[None]"
        checks.fail(who, f"{argument} of shape (samples, ...)", f"shape {source.shape}", fix)
    if source.dtype.kind in "b" or source.dtype == np.uint8:
        return np.require(source, np.uint8, ["C", "A"])
    return checks.float32(who, argument, source)


def unwrapped(x: Any, fits: Callable[[NDArray[Any]], bool]) -> Any:
    """Return the array of a list of one array, if it fits; anything else as it is: a list may be the samples."""
    if isinstance(x, (list, tuple)) and len(x) == 1 and isinstance(x[0], np.ndarray) and fits(x[0]):
        return x[0]
    return x


def same_length(who: str, n: int, **others: Any) -> None:
    """Raise unless every array has n samples."""
    for name, other in others.items():
        if other is not None and len(other) != n:
            checks.fail(who, f"x and {name} of the same length", f"{n} and {len(other)} samples")


def some_samples(who: str, x: NDArray[Any]) -> None:
    """Raise if there are no samples."""
    if len(x) == 0:
        checks.fail(who, "at least one sample", f"x of shape {x.shape}")


def sample_weights(
    who: str,
    shape: Sequence[int],
    y: NDArray[Any],
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
) -> Float32 | None:
    """Return the weights of the losses from either argument (their product if both are given), or None.

    shape: of the losses, (N,) or (N, T, ...): a sample has one weight for all of its own, or one for each.
    Returns (N,), or (N, losses of a sample).
    """
    n, each = shape[0], math.prod(shape[1:])
    weights: Float32 | None = None
    if sample_weight is not None:
        weights = checks.float32(who, "sample_weight", sample_weight)
        if weights.shape not in {(n,), (n, 1), tuple(shape), (*shape, 1)}:
            rule = f"sample_weight of shape ({n},)" + (f" or {tuple(shape)}" if len(shape) > 1 else "")
            checks.fail(who, rule, weights.shape)
        if not np.isfinite(weights).all():
            checks.fail(who, "finite sample_weight", "NaN or infinity")
        weights = weights.reshape(n, -1)
    if class_weight is not None:
        by_class = _class_weights(who, y, class_weight)[:, None]
        weights = by_class if weights is None else weights * by_class
    if weights is None:
        return None
    return np.ascontiguousarray(weights[:, 0] if len(shape) == 1 else np.broadcast_to(weights, (n, each)))


def _class_weights(who: str, y: NDArray[Any], class_weight: Mapping[int, float]) -> Float32:
    whole = isinstance(class_weight, Mapping) and all(isinstance(k, numbers.Real) for k in class_weight)
    if not whole:
        fix = "write class_weight={0: 1.0, 1: 2.0}; balanced=True draws every class equally often"
        checks.fail_type(who, "class_weight as a dict of class number to weight", checks.describe(class_weight), fix)
    if y.ndim > 2 or (y.ndim == 2 and y.dtype == np.int32):
        checks.fail(who, "one class per sample for class_weight", f"y of shape {y.shape}", "give sample_weight instead")
    labels = y.reshape(len(y), -1)
    found = labels.argmax(1) if labels.shape[1] > 1 else labels[:, 0].astype(np.int64)
    table = {k: checks.number(who, f"class_weight[{k}]", v, 0.0) for k, v in class_weight.items()}
    return np.array([table.get(int(k), 1.0) for k in found], np.float32)


Parts = list[Any]  # one array per input or output; of weights, None where there are none
Samples = tuple[Parts, Parts, Parts]  # x, y, weights


def split(
    who: str, share: float, x: Parts, y: Parts, weights: Parts, rng: np.random.Generator | None = None
) -> tuple[Samples, Samples]:
    """Cut the last `share` of the samples off for validation, as Keras does: before any shuffling.

    With random numbers they are drawn instead, in the same share of every class of the only output.
    """
    n = len(x[0])
    at = int(n * (1.0 - share))
    if at == 0 or at == n:
        checks.fail(who, "validation_split that leaves samples on both sides", f"{share} of {n} samples")
    kept: Any = slice(0, at)
    out: Any = slice(at, None)
    if rng is not None:
        if len(y) != 1:
            checks.fail(who, "stratify for one output only", f"{len(y)} outputs", "give validation_data")
        kept, out = splits.share_of(n, n - at, rng, splits.classes_of(who, y[0]))

    def part(where: Any) -> Samples:
        x_part, y_part, w_part = ([None if a is None else a[where] for a in arrays] for arrays in (x, y, weights))
        return x_part, y_part, w_part

    return part(kept), part(out)


class Feed:
    """Where a step finds its batch: the addresses of the arrays, and the place of the batch, in cells that a tape reads.

    Arrays go by kind ("x", "y", "weights") and number: that of the input or output they are for.
    """

    def __init__(self) -> None:
        self.position = np.zeros(1, np.int64)
        self._order_cell = np.zeros(1, np.uint64)
        self._cells: dict[tuple[str, int], NDArray[np.uint64]] = {}
        self._arrays: dict[tuple[str, int], NDArray[Any] | None] = {}
        self._order: NDArray[np.int64] | None = None
        self._results: list[Float32] = []

    def load(
        self, x: Parts, y: Parts | None = None, weights: Parts | None = None, order: NDArray[np.int64] | None = None
    ) -> None:
        """Point to these arrays (contiguous, of equal length), and to the order to take their rows in; start at 0."""
        self._arrays = {("x", i): array for i, array in enumerate(x)}
        self._arrays |= {("y", i): array for i, array in enumerate(y or [])}
        self._arrays |= {("weights", i): array for i, array in enumerate(weights or [])}
        self._point()
        self.reorder(order)

    def cell(self, kind: str, i: int) -> NDArray[np.uint64]:
        """Return the cell with the address of an array; it is the same one for good, as tapes read it."""
        if (kind, i) not in self._cells:
            self._cells[kind, i] = np.zeros(1, np.uint64)
            self._point()
        return self._cells[kind, i]

    def place(self) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Return the cells with the place of the batch and with the address of the order."""
        return self.position, self._order_cell

    def _point(self) -> None:
        """Write the addresses of all arrays into the cells that were asked for, 0 where there is none."""
        for (kind, i), cell in self._cells.items():
            array = self._arrays.get((kind, i))
            if kind == "result" and i < len(self._results):
                array = self._results[i]
            cell[0] = 0 if array is None else array.ctypes.data

    def reorder(self, order: NDArray[np.int64] | None) -> None:
        """Take rows in this order (None: as they lie) from the start."""
        self._order = order
        self._order_cell[0] = 0 if order is None else order.ctypes.data
        self.position[0] = 0

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """Put everything back afterwards: a callback may use the model in the middle of an epoch."""
        arrays, order, results, place = self._arrays, self._order, self._results, int(self.position[0])
        try:
            yield
        finally:
            self._arrays, self._results = arrays, results
            self._point()
            self.reorder(order)
            self.position[0] = place

    def _samples(self) -> int:
        x = self._arrays["x", 0]
        return 0 if x is None else len(x)

    def collect(self, output_rows: Sequence[Sequence[int | None]], count: int | None = None) -> None:
        """Make room for `count` rows of each of these shapes; None: one per loaded sample."""
        count = self._samples() if count is None else count
        self._results = [np.empty((count, *(s or 0 for s in row)), np.float32) for row in output_rows]
        self._point()

    def store(self, outputs: Sequence[Float32]) -> None:
        """Put the outputs of the batch at their places."""
        rows = [out.shape[1:] for out in outputs]
        if [r.shape[1:] for r in self._results] != rows:  # a layer of the user's without compute_output_shape
            self.collect(rows)
        for i, out in enumerate(outputs):
            if config.backend() == "numpy":
                ops.store_rows(out, self._results[i], self.position)
            else:
                ops.store_cells(out, self.cell("result", i), self.position)

    def collected(self) -> list[Float32]:
        """Return the outputs of all samples."""
        return self._results

    def batch(self, kind: str, i: int, rows: int) -> Any:
        """Return the next `rows` rows of an array, None if it was not loaded; does not move on."""
        array = self._arrays.get((kind, i))
        if array is None:
            return None
        if config.backend() == "numpy":
            return ops.gather_rows(array, self._order, self.position, rows)
        ops.label("data")
        return ops.gather_cells(self.cell(kind, i), self._order_cell, self.position, rows, array.shape[1:], array.dtype)

    def key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured of the arrays: dtypes and shapes of a row."""
        return tuple((*name, None if a is None else (a.dtype.str, a.shape[1:])) for name, a in self._arrays.items())
