"""What a model is compiled to: loss, metrics, optimizer."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from fastnn import checks, config, ops, optimizers
from fastnn.checks import Float32
from fastnn.layers.base import Layer
from fastnn.metrics import Mean, Metric
from fastnn.names import Shape
from fastnn.parameter import ParameterStore
from fastnn.plan import Plan
from fastnn.structure import Structure
from fastnn.training import data
from fastnn.training.history import History
from fastnn.training.last_layer import mismatches
from fastnn.training.score import Logs, Score, scores_of
from fastnn.training.step import Steps

IGNORED_ARGUMENTS = (
    "jit_compile",
    "steps_per_execution",
    "auto_scale_loss",
)  # of Keras's compile: nothing to choose here


class Compiled:
    """A model's way to be trained: what `compile` chose, and one step of each kind. A model adds layers, forward and backward."""

    name: str
    built: bool
    input_structure: Structure
    output_structure: Structure

    def __init__(self) -> None:
        self.optimizer: optimizers.Optimizer | None = None
        self.loss: Any = None
        self.run_eagerly = False
        self.stop_training = False
        self.history: History | None = None
        self._scores: list[Score] = []  # one per output
        self._penalty = Mean("penalty")  # of parameters and outputs, part of the loss
        self._feed = data.Feed()
        self._steps = Steps()
        self._lock = threading.RLock()
        self._output_rows: dict[Any, list[tuple[int, ...]]] = {}  # by shapes of the inputs' rows, once seen
        self._depth = 0  # calls of fit, evaluate, predict within each other, through callbacks
        self._trained_by: int | None = None  # thread that runs fit
        self._told_eager = False
        self._told_mismatch = False
        self.shuffle_seed = config.next_seed()
        self.epochs_shuffled = 0

    # --- what the model gives ---

    def _missing(self, what: str) -> TypeError:
        return TypeError(checks.message(self.name, f"a model class with {what}", type(self).__name__))

    @property
    def leaf_layers(self) -> list[Layer]:
        """All layers that compute, each once."""
        raise self._missing("leaf_layers")

    @property
    def plan(self) -> Plan:
        """The calls of the layers."""
        raise self._missing("a plan")

    def forward_parts(self, x: Sequence[Any], training: bool = False) -> list[Float32]:
        """Return the model's outputs for a batch of each input."""
        raise self._missing("forward_parts")

    def backward_parts(self, dy: Sequence[Float32]) -> None:
        """Write the gradients of all parameters, given those of the outputs."""
        raise self._missing("backward_parts")

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Make the parameters."""

    def build_for_some(self, shapes: Sequence[Sequence[int | None]]) -> None:
        """Make the parameters for inputs of shapes that nobody declared."""
        raise self._missing("build_for_some")

    @property
    def store(self) -> ParameterStore:
        """The flat values and gradients of all parameters that have a gradient."""
        raise self._missing("a store")

    @property
    def output_shapes(self) -> list[Shape]:
        """Shape of every output, None for the batch size."""
        raise self._missing("output_shapes")

    def compute_output_shapes(self, shapes: Sequence[Sequence[int | None]]) -> list[Shape]:
        """Return the outputs' shapes for the inputs'."""
        raise self._missing("compute_output_shapes")

    def check_shapes(self, shapes: Sequence[Sequence[int | None]]) -> None:
        """Raise unless every layer takes what the ones before make of inputs of these shapes."""

    def refresh(self) -> None:
        """Bring the flat store up to date before use."""

    def forget(self) -> None:
        """Let every layer go of what forward kept."""
        for layer in self.leaf_layers:
            layer.forget()

    # --- compile ---

    def compile(
        self,
        optimizer: str | optimizers.Optimizer = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        **other: Any,
    ) -> None:
        """Choose how to train.

        Args:
            optimizer: name or Optimizer.
            loss: name or Loss; for several outputs one for all, or a list or a dict by the outputs' names.
            loss_weights: what the losses of several outputs are multiplied with before they are added up; a list or a dict.
            metrics: names or Metrics; "accuracy" becomes the one that fits the loss. For several outputs a list of an entry per
                output (a metric, a list of them or None), or a dict by the outputs' names.
            weighted_metrics: metrics in which every sample counts by its weight; given as metrics are.
            run_eagerly: call every layer from Python in every step instead of replaying a recording; for debugging.
            **other: jit_compile, steps_per_execution and auto_scale_loss are accepted and have no meaning here.

        Raises:
            ValueError: for unknown names; TypeError for unknown arguments.

        Warns:
            UserWarning: if the last layer's activation and the loss do not fit, such as a cross-entropy of what is no probability.
        """
        checks.unknown_arguments(
            "compile",
            set(other) - set(IGNORED_ARGUMENTS),
            ("optimizer", "loss", "loss_weights", "metrics", "weighted_metrics", "run_eagerly", *IGNORED_ARGUMENTS),
        )
        scores = scores_of(self.output_structure, loss, metrics, loss_weights, weighted_metrics)
        for score in scores:
            score.find_metrics(None)
        self.optimizer = optimizers.get(optimizer)
        self.run_eagerly = checks.boolean("compile", "run_eagerly", run_eagerly)
        self._scores = scores
        self.loss = self.output_structure.whole([score.loss for score in scores]) if scores else None
        self._steps.clear()
        self._told_mismatch = False
        if self.built:
            self._find_metrics()
            self._tell_mismatches()
            self.optimizer.build(self.store)

    def _find_metrics(self) -> None:
        for score, shape in zip(self._scores, self.output_shapes):
            score.find_metrics(shape)

    def _tell_mismatches(self) -> None:
        """Warn, once, of last layers whose activation does not fit the loss."""
        self._told_mismatch = True
        for text in mismatches(self.plan, self._scores, self.output_shapes):
            checks.warn(f"compile: {text}")

    def _ready(self, who: str, x: Sequence[NDArray[Any]]) -> None:
        """Check that there is something to train, and build it for x if that has not been done."""
        if self.optimizer is None or not self._scores:
            checks.fail(
                who, "a compiled model with a loss", "none", "call model.compile(optimizer='sgd', loss='mse') first"
            )
        self._built_for(x)
        if any(score.metrics == [] and (score.wanted or score.weighted) for score in self._scores):
            self._find_metrics()
        if not self._told_mismatch:
            self._tell_mismatches()
        self.optimizer.build(self.store)

    def _built_for(self, x: Sequence[NDArray[Any]]) -> None:
        if not self.built:
            self.build_for_some([(None, *x[0].shape[1:])])
        self.check_shapes([part.shape for part in x])
        self.plan.check_values(x)
        self.refresh()

    @property
    def metrics(self) -> list[Metric]:
        """The metrics, once the model is built."""
        return [metric for score in self._scores for metric in score.metrics]

    @property
    def scores(self) -> list[Score]:
        """What every output is scored by; none before `compile` was given a loss."""
        return self._scores

    @property
    def metrics_names(self) -> list[str]:
        """The keys of logs: "loss", for several outputs that of each, the metrics."""
        single = len(self._scores) == 1
        names = ["loss", *([] if single else [score.tracker.name for score in self._scores])]
        for name in (name for score in self._scores for name in score.metric_names):
            again = sum(
                known == name or (known.startswith(f"{name}_") and known[len(name) + 1 :].isdigit()) for known in names
            )
            names.append(f"{name}_{again}" if again else name)
        return names

    @contextmanager
    def exclusively(self, who: str) -> Iterator[None]:
        """Keep other threads off the model, and leave the feed (and, within fit, the metrics) as they were.

        Raises:
            RuntimeError: if another thread trains the model: its weights change all the time, and waiting could take hours.
        """
        with self._alone(who), self._feed.borrowed():
            nested = [(m.state, m.state.copy()) for m in self._running()] if self._depth else []
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                ops.stop_recording()
                for state, before in nested:
                    state[...] = before

    @contextmanager
    def _alone(self, who: str) -> Iterator[None]:
        """Wait for what other threads do with the model, unless it is to train it: that could have begun while this one waited."""
        while True:
            if self._trained_by not in (None, threading.get_ident()):
                got = f"'{self.name}', which one does"
                raise RuntimeError(checks.message(who, "a model that no other thread trains", got, "wait for its fit"))
            if self._lock.acquire(timeout=0.05):
                break
        try:
            yield
        finally:
            self._lock.release()

    def _running(self) -> list[Metric]:
        return [*(metric for score in self._scores for metric in score.running), self._penalty]

    def reset_metrics(self) -> None:
        """Forget what losses and metrics have seen."""
        for metric in self._running():
            metric.reset_state()

    def _logs(self, prefix: str = "") -> Logs:
        """Return the loss, penalties included; for several outputs that of each, without; the metrics."""
        losses = [score.tracker.result() for score in self._scores]
        values = [sum(score.weight * loss for score, loss in zip(self._scores, losses)) + self._penalty.result()]
        if len(losses) > 1:
            values += losses
        values += [metric.result() for score in self._scores for metric in score.metrics]
        return {prefix + name: value for name, value in zip(self.metrics_names, values)}
