"""Running the steps of an epoch: over arrays, many steps at a time without Python, or batch by batch from a stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks
from fastnn.training import data, splits
from fastnn.training.callback_list import CallbackList
from fastnn.training.score import Logs
from fastnn.training.sources import Stream
from fastnn.training.stepping import Stepping

After = Callable[[int, Logs], None]


class Arrays:
    """Samples in arrays, checked, and how far training has come in them.

    Args:
        parts: x, y and weights as the feed takes them.
        batch_size: samples per step.
        steps: steps per epoch; None: all samples once.
        onward: whether an epoch of fewer or more steps goes on where the last one stopped; else it begins with the first sample,
            and ends with the last one.
    """

    def __init__(self, parts: data.Samples, batch_size: int, steps: int | None = None, onward: bool = True) -> None:
        self.parts, self.batch_size = parts, batch_size
        self.shuffle = False  # whether each pass over the samples has an order of its own
        self.classes: splits.Indices | None = None  # of the samples, if they are drawn so that each comes equally often
        self.count = len(parts[0][0])
        every = -(-self.count // batch_size)
        self.steps = every if steps is None else steps if onward else min(steps, every)
        self.begins_anew = steps is None or not onward
        self.at = 0  # the sample to go on with
        self.order: NDArray[np.int64] | None = None

    def balance(self, who: str) -> None:
        """Let every class of the only output come equally often."""
        if not self.shuffle:
            checks.fail(who, "shuffle=True with balanced=True", "shuffle=False")
        if len(self.parts[1]) != 1:
            checks.fail(who, "balanced for one output only", f"{len(self.parts[1])} outputs")
        self.classes = splits.classes_of(who, self.parts[1][0], "balanced")


class Runner(Stepping):
    """A model that can run epochs."""

    def __init__(self) -> None:
        super().__init__()
        self._trains_on: Arrays | None = None  # what fit goes through just now
        self._resumed: tuple[int, int, int] | None = (
            None  # epoch, batches done in it, place: where a training is to go on
        )

    def place(self) -> dict[str, int]:
        """Return how far the training has come in its arrays."""
        return {"at": 0 if self._trains_on is None else self._trains_on.at}

    def resume(self, epoch: int, batch: int, at: int) -> None:
        """Let the training that has begun go on in this epoch, after so many batches, at this place of its arrays."""
        self._resumed = epoch, batch, at
        source = self._trains_on
        if source is not None and source.shuffle and 0 < at < source.count:  # the order of the pass that had begun
            self.epochs_shuffled -= 1
            source.order = self._order(source)

    # --- arrays and streams, checked ---

    def _samples(self, who: str, x: Any) -> list[NDArray[Any]]:
        """Return what is given for the inputs, in order, after checking each array."""
        if len(self.input_structure) == 1:
            if not self.built and isinstance(x, Mapping):
                fix = "several inputs: call build with a dict of their shapes first"
                checks.fail(who, "an array for a model that is not built", "a dict", fix)
            if self.built:
                x = data.unwrapped(x, lambda array: array.ndim == self.input_ranks()[0])
            return [data.inputs(who, part) for part in self.input_structure.parts(who, "x", x)]
        parts = self.input_structure.parts(who, "x", x)
        names = [f"x['{name}']" for name in self.input_structure.names]
        samples = [data.inputs(who, part, name) for part, name in zip(parts, names)]
        for name, part in zip(names[1:], samples[1:]):
            data.same_length(who, len(samples[0]), **{name: part})
        return samples

    def input_ranks(self) -> list[int]:
        """Return the number of axes of every input."""
        raise self._missing("input_ranks")

    def _training_arrays(
        self, x: Any, y: Any, sample_weight: Any, class_weight: Any, who: str = "fit"
    ) -> tuple[Any, Any, Any]:
        """Return x, y and weights as the feed takes them, after all checks."""
        samples = self._samples(who, x)
        data.some_samples(who, samples[0])
        self._ready(who, samples)
        return samples, *self._truth(who, samples, y, sample_weight, class_weight)

    def _truth(
        self, who: str, x: list[NDArray[Any]], y: Any, sample_weight: Any, class_weight: Any = None
    ) -> tuple[Any, Any]:
        """Return truth and weights for every output."""
        if y is None:
            checks.fail(who, "targets y", "None")
        n = len(x[0])
        if len(self._scores) > 1 and class_weight is not None:
            checks.fail(who, "class_weight for one output only", f"{len(self._scores)} outputs", "give sample_weight")
        if len(self._scores) == 1:
            y = data.unwrapped(y, lambda array: array.ndim > 0 and len(array) == n != 1)
        truths = self.output_structure.parts(who, "y", y)
        single = sample_weight is None or len(self._scores) == 1 or isinstance(sample_weight, np.ndarray)
        given = (
            [sample_weight] * len(truths)
            if single
            else self.output_structure.parts(who, "sample_weight", sample_weight)
        )
        result, weights = [], []
        for score, shape, part, weight in zip(self._scores, self.output_shapes, truths, given):
            truth = score.loss.prepare(part, shape)
            data.same_length(who, n, y=truth)
            result.append(truth)
            weights.append(data.sample_weights(who, score.losses_shape(truth, shape), truth, weight, class_weight))
        return result, weights

    # --- epochs ---

    def _order(self, source: Arrays) -> NDArray[np.int64]:
        """Return the next pass's order of the samples."""
        seed = np.random.SeedSequence(self.shuffle_seed, spawn_key=(self.epochs_shuffled,))
        self.epochs_shuffled += 1
        rng = np.random.Generator(np.random.Philox(seed))
        return rng.permutation(source.count) if source.classes is None else splits.balanced(source.classes, rng)

    def _run_epoch(
        self, mode: str, source: Arrays | Stream, callbacks: CallbackList, after: After, class_weight: Any = None
    ) -> Logs:
        """Do an epoch's steps; `after(steps done, logs)` follows every run of one or more. Return loss and metrics."""
        self.refresh()
        _, done, at = (self._resumed if mode == "train" else None) or (0, 0, 0)
        if mode == "train":
            self._resumed = None
        if not done:  # else they go on, like all the rest
            self.reset_metrics()
        if isinstance(source, Stream):
            self._run_stream(mode, source, callbacks, after, class_weight, done)
        else:
            source.at = at or (0 if source.begins_anew else source.at)
            self._run_arrays(mode, source, callbacks, after, done)
        return self._logs()

    def _run_arrays(self, mode: str, source: Arrays, callbacks: CallbackList, after: After, done: int) -> None:
        while done < source.steps and not (mode == "train" and self.stop_training):
            if source.at in (0, source.count):
                source.at = 0
                source.order = self._order(source) if source.shuffle else None
            self._feed.load(*source.parts, source.order)
            self._feed.position[0] = source.at
            left = -(-(source.count - source.at) // source.batch_size)
            done = self._run(mode, source, callbacks, after, done, min(source.steps, done + left))

    def _run(
        self, mode: str, source: Arrays, callbacks: CallbackList, after: After, done: int = 0, steps: int | None = None
    ) -> int:
        """Do steps from `done` up to `steps`, as many at a time as callbacks allow; return how many are done.

        The step is looked up before every run, so that what a callback changes is honored by the next one.
        """
        one_by_one = callbacks.wants_batches(mode)
        begin, end = (getattr(callbacks, f"on_{mode}_batch_{when}") for when in ("begin", "end"))
        steps = source.steps if steps is None else steps
        if mode == "train" and self.optimizer is not None and self.optimizer.full_batch and source.steps > 1:
            who, got = type(self.optimizer).__name__, f"batch_size={source.batch_size} for {source.count}"
            checks.fail(who, "all samples in one batch", got, f"give batch_size={source.count}")
        while done < steps and not (mode == "train" and self.stop_training):
            left = source.count - int(self._feed.position[0])
            rows = min(source.batch_size, left)
            if one_by_one:
                begin(done)
            whole = min(left // rows, steps - done)
            done += self._advanced(mode, rows, 1 if one_by_one or rows < source.batch_size else whole)
            source.at = int(self._feed.position[0])
            self._after_run(mode, done, end if one_by_one else None, after)
        return done

    def _after_run(self, mode: str, done: int, end: Callable[[int, Logs], None] | None, after: After) -> None:
        logs = {} if mode == "predict" else self._logs()
        if end is not None:
            end(done - 1, logs)
        after(done, logs)

    def _run_stream(
        self, mode: str, stream: Stream, callbacks: CallbackList, after: After, class_weight: Any, skipped: int = 0
    ) -> list[Sequence[Any]]:
        """Do a step with every batch of the stream's epoch, but for the first; return the predictions, if these are wanted."""
        begin, end = (getattr(callbacks, f"on_{mode}_batch_{when}") for when in ("begin", "end"))
        results: list[Sequence[Any]] = []
        done = 0
        for done, (x, y, weights) in enumerate(stream.epoch(), 1):
            if done <= skipped:
                continue
            begin(done - 1)
            if mode == "predict":
                samples = self._samples(stream.who, x)
                data.some_samples(stream.who, samples[0])
                self._built_for(samples)
                self._feed.load(samples)
                self._feed.collect(self._result_rows(samples))
            else:
                samples, *truth = self._training_arrays(x, y, weights, class_weight, stream.who)
                self._feed.load(samples, *truth)
            self._advanced(mode, len(samples[0]), 1)
            if mode == "predict":
                results.append(self._feed.collected())
            self._after_run(mode, done, end, after)
            if mode == "train" and self.stop_training:
                break
        if not done:
            fix = "a generator can be used once: give steps, or an iterable that can start anew"
            checks.fail(stream.who, "at least one batch of samples", "an iterable without any", fix)
        return results

    def _result_rows(self, samples: Sequence[NDArray[Any]]) -> list[tuple[int | None, ...]]:
        """Return the shapes of the rows of all outputs."""
        known = self._output_rows.get(tuple(part.shape[1:] for part in samples))
        if known is not None:
            return list(known)
        return [shape[1:] for shape in self.compute_output_shapes([part.shape for part in samples])]
