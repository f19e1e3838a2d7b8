"""Single batches: train_on_batch, test_on_batch, predict_on_batch; the way round Python for batches like an earlier one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastnn import ops, settings
from fastnn.checks import Float32
from fastnn.layers.base import Layer
from fastnn.metrics import Metric
from fastnn.training.score import Score
from fastnn.training.trainer import Trainer

FLOAT32_MAX = float(np.finfo(np.float32).max)
CONVERTED = {("float64", "float32"), ("int64", "int32"), ("uint8", "int32"), ("int32", "int32")}  # by `ops.Replay`
Limits = tuple[float, float] | None
T = TypeVar("T")


class Shortcut:
    """A recorded step for batches like one there was: valid as long as no setting has changed since.

    Args:
        replay: the step, and what its arrays have to be like.
        since: `settings.latest()` from before the step was looked up.
        optimizer: of the model then.
        running: what a training or test step adds to, the loss first; empty for predictions.
        weight: of the loss.
        penalty: of parameters and outputs, part of the loss; None if there is none.
        shape: of the predictions, for a step that makes them.
    """

    def __init__(
        self,
        replay: ops.Replay,
        since: object,
        optimizer: object,
        running: Sequence[Metric] = (),
        weight: float = 1.0,
        penalty: Metric | None = None,
        shape: tuple[int, ...] = (),
    ) -> None:
        self.replay, self.since, self.optimizer = replay, since, optimizer
        self.running, self.weight, self.penalty, self.shape = list(running), weight, penalty, shape

    def score(self, arrays: Sequence[Any]) -> list[float] | None:
        """Do the step; return the loss and the metrics, or None if it was not done."""
        for metric in self.running:
            metric.reset_state()
        if self.penalty is not None:
            self.penalty.reset_state()
        if not self.replay.run(*arrays):
            return None
        values = [metric.result() for metric in self.running]
        values[0] *= self.weight
        if self.penalty is not None:
            values[0] += self.penalty.result()
        return values

    def predict(self, arrays: Sequence[Any]) -> Float32 | None:
        """Do the step; return the predictions, or None if it was not done."""
        out = np.empty(self.shape, np.float32)
        return out if self.replay.run(*arrays, out) else None


class BatchTrainer(Trainer):
    """The training methods that take one batch."""

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Do one step on these samples; return their loss, or [loss, metrics...], before the step."""
        return self._on_batch("train", x, y, sample_weight, class_weight, return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Return the loss, or [loss, metrics...], of these samples."""
        return self._on_batch("test", x, y, sample_weight, None, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs for these samples."""
        if self._shortcut("predict", x) is not None:
            outputs = self._by_shortcut("predict", Shortcut.predict, (x,))
            if outputs is not None:
                return outputs
        with self.exclusively("predict_on_batch"):
            since = settings.latest()
            samples = self._samples("predict", x)
            result = self.predict(self.input_structure.whole(samples), batch_size=max(len(samples[0]), 1), verbose=0)
            if type(result) is np.ndarray and len(result):
                pairs = [("x", x, samples[0], None), ("result", result, result, None)]
                self._keep_shortcut("predict", pairs, since, shape=result.shape)
            return result

    def _on_batch(
        self, mode: str, x: Any, y: Any, sample_weight: Any, class_weight: Mapping[int, float] | None, return_dict: bool
    ) -> Any:
        if class_weight is None and self._shortcut(mode, x) is not None:
            arrays = (x, y) if sample_weight is None else (x, y, sample_weight)
            values = self._by_shortcut(mode, Shortcut.score, arrays)
            if values is not None:
                return self._result(values, return_dict)
        with self.exclusively(f"{mode}_on_batch"):
            since = settings.latest()
            samples, truths, weights = self._training_arrays(x, y, sample_weight, class_weight)
            self.reset_metrics()
            self._feed.load(samples, truths, weights)
            self._advanced(mode, len(samples[0]), 1)
            if class_weight is None and len(self._scores) == 1:
                limits = self._scores[0].loss.limits(self.output_shapes[0])
                pairs = [("x", x, samples[0], None), ("y", y, truths[0], limits)]
                if sample_weight is not None:
                    pairs.append(("weights", sample_weight, weights[0], (-FLOAT32_MAX, FLOAT32_MAX)))
                self._keep_shortcut(mode, pairs, since, self._scores[0])
            return self._result(list(self._logs().values()), return_dict)

    def _shortcut(self, mode: str, x: Any) -> Shortcut | None:
        """Return what is known of batches like x, if it still holds and the model is not in use."""
        if type(x) is not np.ndarray or self._trained_by is not None or self._depth:
            return None
        found: Shortcut | None = self._steps.shortcuts.get((mode, x.shape))
        if found is None or found.since is not settings.latest() or found.optimizer is not self.optimizer:
            return None
        return None if self.run_eagerly or not self.built else found

    def _by_shortcut(
        self, mode: str, how: Callable[[Shortcut, Sequence[Any]], T | None], arrays: Sequence[Any]
    ) -> T | None:
        """Do the step that is known for such arrays, if it still is once no other thread uses the model; else return None."""
        with self._lock:
            shortcut = self._shortcut(mode, arrays[0])
            if shortcut is None:
                return None
            self._prepared(mode, 1)
            self._depth += 1  # a signal's handler that uses the model puts everything back
            try:
                return how(shortcut, arrays)
            finally:
                self._depth -= 1

    def _keep_shortcut(
        self,
        mode: str,
        pairs: Sequence[tuple[str, Any, NDArray[Any], Limits]],
        since: object,
        score: Score | None = None,
        shape: tuple[int, ...] = (),
    ) -> None:
        """Make a shortcut of the step that was just done, if nothing can escape it.

        pairs: kind in the feed, array as it was given, as the step took it, limits of its values.
        """
        tape = None if self._steps.last is None else self._steps.last.tape
        if (
            tape is None
            or self._depth > 1
            or not self._has_shortcuts(mode)
            or not all(_alike(*pair[1:3]) for pair in pairs)
        ):
            return
        replay = ops.Replay(tape, *self._feed.place())
        for kind, given, taken, limits in pairs:
            replay.add(self._feed.cell(kind, 0), given, taken.dtype, limits)
        running, weight = ((), 1.0) if score is None else (score.running, score.weight)
        penalty = self._penalty if self._penalty.state[1] and score is not None else None
        shortcut = Shortcut(replay, since, self.optimizer, running, weight, penalty, shape)
        self._steps.shortcuts[mode, pairs[0][1].shape] = shortcut

    def _has_shortcuts(self, mode: str) -> bool:
        """Return whether a batch needs no look from Python, and every change of what its step captures is noted."""
        if mode == "train" and self.optimizer is not None and self.optimizer.full_batch:
            return False
        if len(self.input_structure) != 1 or self.input_structure.kind != "one" or self.output_structure.kind != "one":
            return False
        if any(type(layer).check_values is not Layer.check_values for layer in self.leaf_layers):
            return False  # they look at every batch
        return self._noted(mode)


def _alike(given: Any, taken: NDArray[Any]) -> bool:
    """Return whether `taken` has the values of `given` in their order, in a dtype that `ops.Replay` makes of it."""
    if type(given) is not np.ndarray or not (given.flags.c_contiguous and given.flags.aligned):
        return False
    pair = (given.dtype.name, taken.dtype.name)
    return given.dtype.isnative and given.size == taken.size and (pair in CONVERTED or pair[0] == pair[1])
