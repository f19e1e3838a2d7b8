"""Batches from anything that yields them: generators, data loaders, sequences of batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fastnn import checks

Batch = tuple[Any, Any, Any]  # x, y, weights; None where there are none


def is_stream(x: Any, y: Any = None) -> bool:
    """Return whether x yields batches, and is not itself the samples (an array, or arrays in a list or dict)."""
    if isinstance(x, (np.ndarray, Mapping, str, bytes)) or hasattr(x, "__array__") or hasattr(x, "dtype"):
        return False
    if isinstance(x, (list, tuple)):  # of batches, each (x, y) or (x, y, weights)
        return (
            y is None and len(x) > 0 and all(isinstance(p, tuple) and len(p) in (2, 3) and _has_arrays(p[0]) for p in x)
        )
    return hasattr(x, "__iter__") or (hasattr(x, "__getitem__") and hasattr(x, "__len__"))


def _has_arrays(value: Any) -> bool:
    """Return whether value is an array, or a list or dict of such: no list of numbers, which may be a sample."""
    if isinstance(value, Mapping):
        return True
    return any(map(_has_arrays, value)) if isinstance(value, (list, tuple)) else hasattr(value, "__array__")


def plain(value: Any) -> Any:
    """Return tensors of other packages as arrays, also within lists and dicts; anything else as it is."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain, value)) if type(value) in (list, tuple) else [plain(part) for part in value]
    if hasattr(value, "detach"):  # a tensor that may know its gradient, or lie elsewhere
        return np.asarray(value.detach().cpu())
    return np.asarray(value) if hasattr(value, "__array__") else value


class PyDataset:
    """Batches by their number, to subclass; any class with `__len__` and `__getitem__` does as well.

    Args:
        workers, use_multiprocessing, max_queue_size: taken as Keras has them; batches are made where they are used.

    Example:
        >>> import numpy as np
        >>> class Ones(fastnn.utils.PyDataset):
        ...     def __len__(self):
        ...         return 3
        ...     def __getitem__(self, i):
        ...         return np.ones((8, 2)), np.full((8, 1), i)
        >>> model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> len(model.fit(Ones(), epochs=2, verbose=0).epoch)
        2
    """

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        self.workers, self.use_multiprocessing, self.max_queue_size = workers, use_multiprocessing, max_queue_size

    def __len__(self) -> int:
        raise TypeError(checks.message(type(self).__name__, "a class with __len__, the number of batches", "none"))

    def __getitem__(self, index: int) -> Any:
        raise TypeError(checks.message(type(self).__name__, "a class with __getitem__, a batch (x, y)", "none"))

    @property
    def num_batches(self) -> int:
        """The number of batches."""
        return len(self)

    def on_epoch_end(self) -> None:
        """Be told that all batches were taken: to shuffle, for one."""


class Stream:
    """Batches of an epoch, one after the other.

    Args:
        who: the method, for errors.
        source: an iterator or generator; or what can be iterated over again and again; or what has `__len__` and
            `__getitem__(i)`, whose `on_epoch_end` is then called, if it has one.
        steps: batches per epoch; None: until the source has no more. With it the next epoch goes on where the last one stopped,
            and a source that can be iterated over again starts anew whenever it ends.
    """

    def __init__(self, who: str, source: Any, steps: int | None) -> None:
        self.who, self.source, self.steps = who, source, steps
        self.indexed = not hasattr(source, "__iter__")
        self.again = self.indexed or iter(source) is not source  # a generator is its own iterator
        self.ended = False  # a source that can not start anew has no more
        self.told = False  # that it ended in the middle of an epoch
        self.rows = 0  # of the first batch, once seen
        self._current: Iterator[Any] | None = None
        self._peeked: list[Any] = []

    def length(self) -> int | None:
        """Return the batches per epoch, None if nobody knows."""
        if self.steps is not None:
            return self.steps
        try:
            return len(self.source)
        except TypeError:
            return None

    def first(self) -> Batch:
        """Return the first batch, which the next epoch still begins with."""
        for item in self._items():
            self._peeked.append(item)
            batch = self._batch(item)
            part = batch[0]
            while isinstance(part, (list, tuple, Mapping)) and len(part):
                part = next(iter(part.values())) if isinstance(part, Mapping) else part[0]
            self.rows = len(part) if hasattr(part, "__len__") else 0
            return batch
        checks.fail(self.who, "at least one batch of samples", "an iterable without any")

    def epoch(self) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        if self.steps is None:
            for item in self._items():
                yield self._batch(item)
            self._finish()
            return
        done = 0
        while done < self.steps:
            before, fresh = done, self._current is None
            for item in self._items():
                yield self._batch(item)
                done += 1
                if done == self.steps:
                    return
            self._finish()
            if self.ended or (fresh and done == before):
                self.ended = self.told = True
                checks.warn(
                    f"{self.who}: the data ended after {done} of {self.steps} steps; give an iterable that can start anew"
                )
                return

    def _items(self) -> Iterator[Any]:
        """Yield what is left of the source's current pass, or of a new one."""
        if self._current is None and not self.ended:
            items = (self.source[i] for i in range(len(self.source))) if self.indexed else iter(self.source)
            self._current = itertools.chain(items)  # which can not be closed, as `items` is when this generator is left
        while self._peeked:
            yield self._peeked.pop(0)
        if self._current is not None:
            yield from self._current

    def _finish(self) -> None:
        """Begin a new pass next time, if there can be one."""
        self._current = None
        self.ended = not self.again
        if self.indexed and hasattr(self.source, "on_epoch_end"):
            self.source.on_epoch_end()

    def _batch(self, item: Any) -> Batch:
        """Return what the source yielded as (x, y, weights)."""
        if not isinstance(item, (tuple, list)):
            return plain(item), None, None
        if not 1 <= len(item) <= 3:
            checks.fail(self.who, "batches (x, y) or (x, y, sample_weight)", f"one of {len(item)} parts")
        x, y, weights = (*item, None, None)[:3]
        return plain(x), plain(y), plain(weights)
