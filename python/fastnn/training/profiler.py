"""Models that time their steps part by part, and tell what memory these take, without being changed by it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, config, losses, ops
from fastnn.names import shape_text
from fastnn.profiling import Profile, Row
from fastnn.training import data
from fastnn.training.data import Samples
from fastnn.training.step import RUN_SECONDS
from fastnn.training.trainer import Trainer, exclusive

SECONDS = 0.3  # of timing, where the number of steps is not given
FEWEST_STEPS, MOST_STEPS = 5, 2000


class Profiled(Trainer):
    """A trainer that can be profiled."""

    def input_shapes(self) -> list[Any]:
        """Return the shape of every input, None for the batch size and for what is free."""
        raise self._missing("input_shapes")

    @exclusive
    def profile(self, x: Any = None, y: Any = None, batch_size: int | None = None, steps: int | None = None) -> Profile:
        """Return where the time of a step goes: a table of layers, forward and backward, loss, metrics, optimizer and data.

        Times, rates, and the share of what this machine can do: multiply-adds and bandwidth are measured for it. Steps run as in
        `fit`, with the threads in use. The model is as before, bit for bit: a training step is timed, then taken back.

        Args:
            x: samples to take the batches from, as in `fit`; None makes normal numbers that fit the model.
            y: targets; without them, or where no loss was compiled, the step is one of `predict`.
            batch_size: samples per step, None is 32; of fewer samples all.
            steps: how many to time; None is as many as fit in a fraction of a second.

        Returns:
            Profile: print it, or read `.rows`, `.seconds`, `.step_seconds`, `.to_dict()`.

        Raises:
            ValueError: for a model that is not built, arrays that do not fit, or parts written in Python: their steps are not
                recorded, and nothing is known of what is inside.

        Example:
            >>> model = fastnn.Sequential([fastnn.Input((8,)), fastnn.layers.Dense(4, name="only")])
            >>> model.compile("sgd", "mse")
            >>> sorted({row.name for row in model.profile(steps=3).rows})
            ['data', 'loss', 'only', 'optimizer']
        """
        rows = 32 if batch_size is None else checks.integer("profile", "batch_size", batch_size, 1)
        if steps is not None:
            checks.integer("profile", "steps", steps, 1)
        if x is None and y is not None:
            checks.fail("profile", "samples x with the targets y", "x=None")
        mode = self._mode(x, y)
        if x is None:
            arrays = self._example(mode, rows, np.random.default_rng(0))
        elif mode == "train":
            arrays = self._training_arrays(x, y, None, None)
        else:
            arrays = self._samples("profile", x), [], []
            data.some_samples("profile", arrays[0][0])
            self._built_for(arrays[0])
        self._check_recorded(mode)
        with self.unchanged():
            return self._timed(mode, arrays, min(rows, len(arrays[0][0])), steps)

    def buffer_bytes(self, batch_size: int = 32) -> int | None:
        """Return the memory that the buffers of a step take, as long as the model has recorded no larger one.

        The step is recorded without making its calls: nothing is computed or changed. It is a training step if a loss was
        compiled, else one of `predict`; None where it cannot be known: parts written in Python, inputs of unknown shape.

        Args:
            batch_size: samples per step.
        """
        mode = self._mode(None, None)
        if any(None in shape[1:] for shape in self.input_shapes()) or self._unrecorded(mode):
            return None
        checks.integer("buffer_bytes", "batch_size", batch_size, 1)
        with self.exclusively("buffer_bytes"), self.plan.preserved():
            self._point_feed(mode, self._example(mode, batch_size, None), batch_size)
            tape = ops.Tape(plan=True)
            with tape:
                self._compute(mode, batch_size)
                self._commit(mode, batch_size)
            return tape.bytes

    def _mode(self, x: Any, y: Any) -> str:
        """Return "train" where there is something to train with, else "predict"."""
        compiled = self.optimizer is not None and bool(self._scores)
        return "train" if y is not None or (x is None and compiled) else "predict"

    def _unrecorded(self, mode: str) -> str:
        """Return why a step is not recorded, "" if it is."""
        parts: list[Any] = list(self.leaf_layers)
        if mode == "train":
            parts += [self.optimizer, *(part for score in self._scores for part in (score.loss, *score.metrics))]
        if slow := self._python_parts(parts):
            return f"{', '.join(slow)} written in Python"
        if self.run_eagerly:
            return "run_eagerly=True"
        return "" if config.backend() == "native" else f"the backend '{config.backend()}'"

    def _check_recorded(self, mode: str) -> None:
        if why := self._unrecorded(mode):
            checks.fail("profile", "a model whose steps are recorded", why, "a Python profiler (cProfile) sees these")

    def _example(self, mode: str, rows: int, rng: np.random.Generator | None) -> Samples:
        """Return samples that fit the model: normal numbers (without rng zeros, which take no memory), and truth likewise."""
        x: list[Any] = []
        for shape in self.input_shapes():
            if None in shape[1:]:
                checks.fail("profile", "samples x for inputs of a free shape", shape_text(shape), "give x and y")
            size = (rows, *shape[1:])
            x.append(np.broadcast_to(np.float32(0), size) if rng is None else rng.standard_normal(size, np.float32))
        if mode == "predict":
            return x, [], []
        self._ready("profile", x)
        y: list[Any] = []
        for score, output in zip(self._scores, self.output_shapes):
            labels = isinstance(score.loss, losses.SparseCategoricalCrossentropy)
            size = (rows, *(output[1:-1] if labels else output[1:]))
            if rng is None:
                y.append(np.broadcast_to(np.int32(0) if labels else np.float32(0), size))
            elif labels:
                y.append(rng.integers(0, output[score.loss.axis], size))
            else:  # shares of 1, which every loss takes; of a single value there is but a number up to 1
                shares = rng.uniform(0.05, 1.0, size).astype(np.float32)
                y.append(
                    shares / (shares.sum(axis=score.loss.axis, keepdims=True) if output[score.loss.axis] != 1 else 1)
                )
        if rng is not None:
            y = [score.loss.prepare(part, shape) for score, part, shape in zip(self._scores, y, self.output_shapes)]
        return x, y, [None] * len(y)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Put back what a step changes: parameters, gradients, optimizer, metrics, counters, what layers keep for backward."""
        arrays: list[NDArray[Any]] = [self.store.values, self.store.grads, *(m.state for m in self._running())]
        for layer in self.leaf_layers:
            arrays += [*layer.counters.values(), *(p.value for p in layer.parameters if not p.learns)]
        if self.optimizer is not None:
            arrays += self.optimizer.state().values()
        before = [array.copy() for array in arrays]
        with self.plan.preserved():
            try:
                yield
            finally:
                for array, values in zip(arrays, before):
                    array[...] = values

    def _point_feed(self, mode: str, arrays: Samples, count: int, rng: np.random.Generator | None = None) -> None:
        """Let the feed give `count` samples from the start: with rng in a random order, as often as it takes."""
        n = len(arrays[0][0])
        order = None if rng is None else np.resize(rng.permutation(n), count).astype(np.int64)
        self._feed.load(*arrays, order)
        if mode == "predict":
            shapes = self.compute_output_shapes([part.shape for part in arrays[0]])
            self._feed.collect([shape[1:] for shape in shapes], count)

    def _timed(self, mode: str, arrays: Samples, rows: int, steps: int | None) -> Profile:
        """Time steps call by call and, in turn with them, steps as a whole."""
        self._point_feed(mode, arrays, rows)
        step = self._step(mode, rows)
        if step.tape is None:
            step.run(1)
        tape = step.tape
        assert tape is not None

        def timed(count: int) -> NDArray[np.float64]:
            self._point_feed(mode, arrays, 2 * count * rows, np.random.default_rng(0))
            return tape.profile(count)

        once = max(float(min(timed(1)[0, -1], timed(1)[0, -1])), 1e-7)
        wanted = steps or int(np.clip(SECONDS / 2 / once, FEWEST_STEPS, MOST_STEPS))
        at_a_time = int(np.clip(RUN_SECONDS / 2 / once, 1, wanted))  # Ctrl-C is looked for in between
        parts = [timed(min(at_a_time, wanted - done)) for done in range(0, wanted, at_a_time)]
        seconds, whole = _typical(np.concatenate(parts))
        return Profile(
            rows=tuple(_rows(tape.calls(), seconds)),
            mode=mode,
            batch_size=rows,
            steps=wanted,
            threads=config.num_threads(),
            step_seconds=whole,
            peak=ops.peak_roof(),
            buffer_bytes=tape.bytes,
        )


def _typical(times: NDArray[np.float64]) -> tuple[list[float], float]:
    """Return the seconds of every call and of a whole step, from rows of both: the medians of the faster half of the steps.

    Where other processes take the processor in between, a whole step is hit more often than a call.
    """
    half = -(-len(times) // 2)
    by_call, whole = times[:, :-1], np.sort(times[:, -1])
    fastest = by_call[np.argsort(by_call.sum(axis=1), kind="stable")[:half]]
    return list(np.median(fastest, axis=0)), float(np.median(whole[:half]))


def _rows(calls: Sequence[ops.Call], seconds: Sequence[float]) -> Iterator[Row]:
    """Yield a row per label, in the order of the first call under it."""
    by_label: dict[str, list[int]] = {}
    for i, call in enumerate(calls):
        by_label.setdefault(call.label, []).append(i)
    for label, places in by_label.items():
        name, _, phase = label.partition("/")
        mine = [calls[i] for i in places]
        compute = [call.flops / ops.peak_roof() for call in mine]
        memory = [call.bytes / ops.bandwidth_roof(call.bytes) for call in mine]
        bounds = [max(pair) for pair in zip(compute, memory)]
        by_compute = sum(bound for bound, flops in zip(bounds, compute) if bound == flops)
        yield Row(
            name=name,
            phase=phase,
            kernels=tuple(call.kernel for call in mine),
            seconds=float(sum(seconds[i] for i in places)),
            flops=sum(call.flops for call in mine),
            bytes=sum(call.bytes for call in mine),
            bound_seconds=sum(bounds),
            roof="compute" if by_compute > sum(bounds) / 2 else "memory",
        )
