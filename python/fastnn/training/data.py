"""Arrays for training: checks, splits, weights, and the feed that a recorded step gathers its batches from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, config, ops
from fastnn.checks import Float32


def inputs(who: str, x: Any) -> NDArray[Any]:
    """Return samples as a contiguous uint8 or float32 array (N, ...); other real dtypes become float32."""
    source = checks.array(who, "x", x)
    if source.ndim < 2:
        checks.fail(
            who, "x of shape (samples, ...)", f"shape {source.shape}", "give one feature an axis: x.reshape(-1, 1)"
        )
    if source.dtype.kind in "b" or source.dtype == np.uint8:
        return np.require(source, np.uint8, ["C", "A"])
    return checks.float32(who, "x", source)


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
    who: str, n: int, y: NDArray[Any], sample_weight: Any = None, class_weight: Mapping[int, float] | None = None
) -> Float32 | None:
    """Return one weight per sample from either argument (their product if both are given), or None."""
    weights: Float32 | None = None
    if sample_weight is not None:
        weights = checks.float32(who, "sample_weight", sample_weight)
        if weights.shape == (n, 1):
            weights = weights[:, 0]
        if weights.shape != (n,):
            checks.fail(who, f"sample_weight of shape ({n},)", weights.shape)
        if not np.isfinite(weights).all():
            checks.fail(who, "finite sample_weight", "NaN or infinity")
    if class_weight is not None:
        by_class = _class_weights(who, y, class_weight)
        weights = by_class if weights is None else weights * by_class
    return None if weights is None else np.ascontiguousarray(weights)


def _class_weights(who: str, y: NDArray[Any], class_weight: Mapping[int, float]) -> Float32:
    if not isinstance(class_weight, Mapping):
        checks.fail_type(who, "class_weight as a dict of class number to weight", checks.describe(class_weight))
    if y.ndim > 2 or (y.ndim == 2 and y.dtype == np.int32):
        checks.fail(who, "one class per sample for class_weight", f"y of shape {y.shape}", "give sample_weight instead")
    labels = y.reshape(len(y), -1)
    numbers = labels.argmax(1) if labels.shape[1] > 1 else labels[:, 0].astype(np.int64)
    table = {k: checks.number(who, f"class_weight[{k}]", v, 0.0) for k, v in class_weight.items()}
    return np.array([table.get(int(k), 1.0) for k in numbers], np.float32)


def split(
    who: str, share: float, x: NDArray[Any], y: Any, weights: Any
) -> tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]:
    """Cut the last `share` of the samples off for validation, as Keras does: before any shuffling."""
    n = len(x)
    at = int(n * (1.0 - share))
    if at == 0 or at == n:
        checks.fail(who, "validation_split that leaves samples on both sides", f"{share} of {n} samples")

    def part(where: slice) -> tuple[Any, Any, Any]:
        return x[where], y[where], None if weights is None else weights[where]

    return part(slice(0, at)), part(slice(at, None))


class Feed:
    """Where a step finds its batch: the addresses of the arrays, and the place of the batch, in cells that a tape reads."""

    def __init__(self) -> None:
        self.position = np.zeros(1, np.int64)
        self._order_cell = np.zeros(1, np.uint64)
        self._cells = {name: np.zeros(1, np.uint64) for name in ("x", "y", "weights")}
        self._arrays: dict[str, NDArray[Any] | None] = {}
        self._order: NDArray[np.int64] | None = None
        self._result: Float32 | None = None
        self._result_cell = np.zeros(1, np.uint64)

    def load(
        self,
        x: NDArray[Any],
        y: NDArray[Any] | None = None,
        weights: Float32 | None = None,
        order: NDArray[np.int64] | None = None,
    ) -> None:
        """Point to these arrays (contiguous, of equal length), and to the order to take their rows in; start at 0."""
        self._arrays = {"x": x, "y": y, "weights": weights}
        for name, array in self._arrays.items():
            self._cells[name][0] = 0 if array is None else array.ctypes.data
        self.reorder(order)

    def reorder(self, order: NDArray[np.int64] | None) -> None:
        """Take rows in this order (None: as they lie) from the start."""
        self._order = order
        self._order_cell[0] = 0 if order is None else order.ctypes.data
        self.position[0] = 0

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """Put everything back afterwards: a callback may use the model in the middle of an epoch."""
        arrays, order, result, place = self._arrays, self._order, self._result, int(self.position[0])
        try:
            yield
        finally:
            self._arrays, self._result = arrays, result
            for name, array in arrays.items():
                self._cells[name][0] = 0 if array is None else array.ctypes.data
            self._result_cell[0] = 0 if result is None else result.ctypes.data
            self.reorder(order)
            self.position[0] = place

    def _samples(self) -> int:
        x = self._arrays["x"]
        return 0 if x is None else len(x)

    def collect(self, output_shape: Sequence[int | None]) -> None:
        """Make room for one output per loaded sample."""
        self._result = np.empty((self._samples(), *(s or 0 for s in output_shape[1:])), np.float32)
        self._result_cell[0] = self._result.ctypes.data

    def store(self, outputs: Float32) -> None:
        """Put the outputs of the batch at its place."""
        assert self._result is not None
        if self._result.shape[1:] != outputs.shape[1:]:  # a layer of the user's without compute_output_shape
            self.collect((None, *outputs.shape[1:]))
        if config.backend() == "numpy":
            ops.store_rows(outputs, self._result, self.position)
        else:
            ops.store_cells(outputs, self._result_cell, self.position)

    def collected(self) -> Float32:
        """Return the outputs of all samples."""
        assert self._result is not None
        return self._result

    def batch(self, name: str, rows: int) -> Any:
        """Return the next `rows` rows of an array, None if it was not loaded; does not move on."""
        array = self._arrays.get(name)
        if array is None:
            return None
        if config.backend() == "numpy":
            return ops.gather_rows(array, self._order, self.position, rows)
        return ops.gather_cells(self._cells[name], self._order_cell, self.position, rows, array.shape[1:], array.dtype)

    def key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured of the arrays: dtypes and shapes of a row."""
        return tuple(None if a is None else (a.dtype.name, a.shape[1:]) for a in self._arrays.values())
