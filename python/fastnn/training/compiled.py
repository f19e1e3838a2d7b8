"""What a model is compiled to: loss, metrics, optimizer, and the steps that are recorded from them."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, config, losses, metrics, ops, optimizers
from fastnn.checks import Float32
from fastnn.layers.base import Layer
from fastnn.layers.core import ActivatedLayer
from fastnn.names import Shape
from fastnn.parameter import ParameterStore
from fastnn.recordable import is_recordable
from fastnn.training import data
from fastnn.training.callback_list import CallbackList
from fastnn.training.history import History
from fastnn.training.step import Step, Steps

Logs = dict[str, float]

IGNORED_ARGUMENTS = (
    "jit_compile",
    "steps_per_execution",
    "auto_scale_loss",
)  # of Keras's compile: nothing to choose here


class Compiled:
    """A model's way to be trained: what `compile` chose, and one step of each kind. A model adds layers, forward and backward."""

    name: str
    layers: list[Layer]
    built: bool

    def __init__(self) -> None:
        self.optimizer: optimizers.Optimizer | None = None
        self.loss: losses.Loss | None = None
        self.run_eagerly = False
        self.stop_training = False
        self.history: History | None = None
        self.metrics: list[metrics.Metric] = []
        self._wanted_metrics: list[str | metrics.Metric] = []
        self._loss_tracker = metrics.Mean("loss")
        self._feed = data.Feed()
        self._steps = Steps()
        self._lock = threading.RLock()
        self._output_rows: dict[tuple[int, ...], tuple[int, ...]] = {}  # by shape of an input row, once seen
        self._depth = 0  # calls of fit, evaluate, predict within each other, through callbacks
        self._trained_by: int | None = None  # thread that runs fit
        self._told_eager = False
        self.shuffle_seed = config.next_seed()
        self.epochs_shuffled = 0

    # --- what the model gives ---

    def forward(self, x: Any, training: bool = False) -> Float32:
        """Return the model's output for a batch."""
        raise TypeError(checks.message(self.name, "a model class with a forward method", type(self).__name__))

    def backward(self, dy: Float32, input_gradient: bool = True) -> Float32 | None:
        """Write all gradients, given that of the output."""
        raise TypeError(checks.message(self.name, "a model class with a backward method", type(self).__name__))

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Make the parameters."""

    @property
    def store(self) -> ParameterStore:
        """The flat values and gradients of all parameters that have a gradient."""
        raise TypeError(checks.message(self.name, "a model class with a store", type(self).__name__))

    @property
    def output_shape(self) -> Shape:
        """Shape of the output, None for the batch size."""
        raise TypeError(checks.message(self.name, "a model class with an output_shape", type(self).__name__))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Shape:
        """Return the output's shape for an input's."""
        raise TypeError(checks.message(self.name, "a model class with compute_output_shape", type(self).__name__))

    def check_shape(self, input_shape: Sequence[int | None]) -> None:
        """Raise unless every layer takes what the one before makes of an input of this shape."""

    def refresh(self) -> None:
        """Bring the flat store up to date before use."""

    def forget(self) -> None:
        """Let every layer go of what forward kept."""
        for layer in self.layers:
            layer.forget()

    # --- compile ---

    def compile(
        self,
        optimizer: str | optimizers.Optimizer = "rmsprop",
        loss: str | losses.Loss | None = None,
        metrics: Sequence[Any] | None = None,
        run_eagerly: bool = False,
        **other: Any,
    ) -> None:
        """Choose how to train.

        Args:
            optimizer: name or Optimizer.
            loss: name or Loss.
            metrics: names or Metrics; "accuracy" becomes the one that fits the loss.
            run_eagerly: call every layer from Python in every step instead of replaying a recording; for debugging.
            **other: jit_compile, steps_per_execution and auto_scale_loss are accepted and have no meaning here.

        Raises:
            ValueError: for unknown names; TypeError for unknown arguments.
        """
        checks.unknown_arguments(
            "compile",
            set(other) - set(IGNORED_ARGUMENTS),
            ("optimizer", "loss", "metrics", "run_eagerly", *IGNORED_ARGUMENTS),
        )
        if isinstance(metrics, str) or not isinstance(metrics, (Sequence, type(None))):
            checks.fail_type("compile", "metrics as a list", checks.describe(metrics), "write metrics=['accuracy']")
        self.optimizer = optimizers.get(optimizer)
        self.loss = None if loss is None else losses.get(loss)
        if self.loss is not None and self.loss.reduction == "none":
            checks.fail(
                "compile", "a loss that is one number", "reduction='none'", "use 'sum_over_batch_size' or 'sum'"
            )
        self._wanted_metrics = list(metrics or [])
        self.metrics = []
        self.run_eagerly = checks.boolean("compile", "run_eagerly", run_eagerly)
        self._steps.clear()
        self._find_metrics(check_only=not self.built)
        if self.built:
            self.optimizer.build(self.store)

    def _find_metrics(self, check_only: bool = False) -> None:
        labels = isinstance(self.loss, losses.SparseCategoricalCrossentropy)
        columns = None if check_only else self.output_shape[-1]
        found = [metrics.get(m, labels=labels, columns=columns) for m in self._wanted_metrics]
        if not check_only:
            self.metrics = found

    def _ready(self, who: str, x: NDArray[Any]) -> None:
        """Check that there is something to train, and build it for x if that has not been done."""
        if self.optimizer is None or self.loss is None:
            checks.fail(
                who, "a compiled model with a loss", "none", "call model.compile(optimizer='sgd', loss='mse') first"
            )
        self._built_for(x)
        if self.metrics == [] and self._wanted_metrics:
            self._find_metrics()
        self.optimizer.build(self.store)

    def _built_for(self, x: NDArray[Any]) -> None:
        if not self.built:
            self.build((None, *x.shape[1:]))
        self.check_shape(x.shape)
        self.refresh()

    @property
    def wanted_metrics(self) -> list[str | metrics.Metric]:
        """The metrics as `compile` was given them."""
        return self._wanted_metrics

    @property
    def metrics_names(self) -> list[str]:
        """The keys of logs: "loss" and the metrics."""
        return ["loss", *(m.name for m in self.metrics)]

    @contextmanager
    def exclusively(self, who: str) -> Iterator[None]:
        """Keep other threads off the model, and leave the feed (and, within fit, the metrics) as they were.

        Raises:
            RuntimeError: if another thread trains the model: its weights change all the time, and waiting could take hours.
        """
        if self._trained_by not in (None, threading.get_ident()):
            raise RuntimeError(
                checks.message(
                    who, "a model that no other thread trains", f"'{self.name}', which one does", "wait for its fit"
                )
            )
        with self._lock, self._feed.borrowed():
            nested = [(m.state, m.state.copy()) for m in (self._loss_tracker, *self.metrics)] if self._depth else []
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                ops.stop_recording()
                for state, before in nested:
                    state[...] = before

    def reset_metrics(self) -> None:
        """Forget what loss and metrics have seen."""
        for metric in (self._loss_tracker, *self.metrics):
            metric.reset_state()

    def _logs(self, prefix: str = "") -> Logs:
        return {prefix + m.name: m.result() for m in (self._loss_tracker, *self.metrics)}

    # --- steps ---

    def _fusing_layer(self) -> ActivatedLayer | None:
        """Return the last layer if the loss takes over its activation: softmax or sigmoid, for a stable gradient."""
        last = self.layers[-1]
        loss = self.loss
        if (
            loss is None
            or loss.fuses is None
            or getattr(loss, "from_logits", False)
            or not isinstance(last, ActivatedLayer)
        ):
            return None
        return last if last.activation.kind == loss.fuses else None

    def _score(self, rows: int, training: bool) -> Float32 | None:
        """Run the next batch forward, add it to loss and metrics, return the gradient of the output (training only)."""
        assert self.loss is not None  # _ready has seen to it
        x, y, weights = (self._feed.batch(name, rows) for name in ("x", "y", "weights"))
        fusing = self._fusing_layer()
        out = self.forward(x, training)
        flat = out.reshape(-1, out.shape[-1])
        y = y.reshape(-1) if y.dtype == np.int32 else y.reshape(flat.shape)
        weights = None if weights is None else weights.reshape(-1)
        scale = self.loss.scale(len(flat))
        if fusing is not None:
            y_pred, row_losses, dy = self.loss.evaluate_fused(y, flat, weights, scale, training)
        else:
            y_pred = flat
            row_losses, dy = self.loss.evaluate(y, flat, weights, scale, training)
        # With reduction="sum" a batch's loss is the sum of its samples', and an epoch's the mean of that over its samples.
        self._loss_tracker.update_state(row_losses, scale=len(flat) * scale)
        for metric in self.metrics:
            metric.update_state(y, y_pred)
        return None if dy is None else dy.reshape(out.shape)

    def _scored(self, rows: int, training: bool) -> Float32 | None:
        """Do `_score` with the last activation left to the loss where it takes it over; in training go on backward."""
        fusing = self._fusing_layer()
        if fusing is not None:
            fusing.skip_activation = True
        try:
            dy = self._score(rows, training)
            if dy is not None:
                self.backward(dy, input_gradient=False)
        finally:
            if fusing is not None:
                fusing.skip_activation = False
        return dy

    def _compute(self, mode: str, rows: int) -> None:
        """Do the part of a step that can be taken back."""
        if mode == "predict":
            self._feed.store(self.forward(self._feed.batch("x", rows)))
        else:
            self._scored(rows, mode == "train")

    def _commit(self, mode: str, rows: int) -> None:
        """Do the rest of a step: update the parameters, go on to the next batch."""
        if mode == "train":
            assert self.optimizer is not None  # _ready has seen to it
            active = {id(p) for layer in self.layers for p in layer.trainable_weights}
            self.optimizer.step(lambda p: id(p) in active)
            self.forget()
        ops.advance(self._feed.position, rows)

    def _step(self, mode: str, rows: int) -> Step:
        """Return the step for batches of this many rows, recorded under all that it captures."""
        parts: list[Any] = list(self.layers)
        if mode != "predict":
            parts += [self.loss, *self.metrics]
        if mode == "train":
            parts.append(self.optimizer)
        record = config.backend() == "native" and not self.run_eagerly and not self._python_parts(parts)
        key = (
            mode,
            rows,
            self._feed.key(),
            id(self.store),
            config.fingerprint(),
            record,
            *(p.step_key() for p in parts),
        )
        return self._steps.get(key, lambda: self._new_step(mode, rows, record))

    def _python_parts(self, parts: Sequence[Any]) -> list[str]:
        """Return the classes among the model, its parts and their activations that compute in Python."""
        activations = [layer.activation for layer in self.layers if isinstance(layer, ActivatedLayer)]
        return [type(p).__name__ for p in (self, *parts, *activations) if not is_recordable(p)]

    def _new_step(self, mode: str, rows: int, record: bool) -> Step:
        guarded: list[NDArray[Any]] = [self._loss_tracker.state, *(m.state for m in self.metrics)]
        for layer in self.layers:
            guarded += [*layer.counters.values(), *(p.value for p in layer.parameters if not p.learns)]
        return Step(lambda: self._compute(mode, rows), lambda: self._commit(mode, rows), guarded, record)

    def _tell_if_eager(self, verbose: int | str) -> None:
        """Say once that a part written in Python makes every step go through Python."""
        slow = self._python_parts([*self.layers, self.loss, *self.metrics, self.optimizer])
        if slow and verbose and not self._told_eager and not self.run_eagerly:
            self._told_eager = True
            warnings.warn(
                f"fit: {', '.join(slow)} is written in Python, so every step runs through Python", stacklevel=3
            )

    def _run(
        self, mode: str, n: int, batch_size: int, callbacks: CallbackList, after: Callable[[int, Logs], None]
    ) -> None:
        """Do the steps over n samples, as many at a time as callbacks allow; `after(steps done, logs)` follows every run.

        The step is looked up before every run, so that what a callback changes is honored by the next one.
        """
        one_by_one = callbacks.wants_batches(mode)
        begin, end = (getattr(callbacks, f"on_{mode}_batch_{when}") for when in ("begin", "end"))
        done, steps = 0, -(-n // batch_size)
        while done < steps and not (mode == "train" and self.stop_training):
            rows = min(batch_size, n - done * batch_size)
            if one_by_one:
                begin(done)
            done += self._step(mode, rows).run(1 if one_by_one or rows < batch_size else n // batch_size - done)
            logs = {} if mode == "predict" else self._logs()
            if one_by_one:
                end(done - 1, logs)
            after(done, logs)
