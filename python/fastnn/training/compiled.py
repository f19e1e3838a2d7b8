"""What a model is compiled to: loss, metrics, optimizer, and the steps that are recorded from them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, config, ops, optimizers
from fastnn.checks import Float32
from fastnn.layers.base import Layer
from fastnn.layers.core import ActivatedLayer
from fastnn.metrics import Mean, Metric
from fastnn.names import Shape
from fastnn.parameter import Parameter, ParameterStore
from fastnn.plan import Plan
from fastnn.recordable import is_recordable
from fastnn.regularizers import Total
from fastnn.structure import Structure
from fastnn.training import data
from fastnn.training.history import History
from fastnn.training.last_layer import mismatches
from fastnn.training.score import Logs, Score, scores_of
from fastnn.training.step import Step, Steps

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

    # --- steps ---

    def _fusing_layers(self) -> list[ActivatedLayer | None]:
        """Return for every output the last layer if the loss takes its softmax or sigmoid over, for a stable gradient."""
        result: list[ActivatedLayer | None] = []
        for i, score in enumerate(self._scores):
            fuses = None if getattr(score.loss, "from_logits", False) else score.loss.fuses
            last = None if fuses is None else self.plan.last_layer(i)
            fits = isinstance(last, ActivatedLayer) and last.activation.kind == fuses and not last.activity_regularizer
            result.append(last if fits else None)  # type: ignore[arg-type]
        return result

    def _scored(self, rows: int, training: bool) -> None:
        """Run the next batch forward, add it to losses and metrics; in training go on backward."""
        fusing = self._fusing_layers()
        for layer in fusing:
            if layer is not None:
                layer.skip_activation = True
        self.plan.total = Total(self._penalty.state, rows)
        try:
            outputs = self.forward_parts(self._batches("x", len(self.input_structure), rows), training)
            gradients: list[Float32] = []
            masks, self.plan.output_masks = self.plan.output_masks or [None] * len(outputs), []
            gradient_scale = self.optimizer.scale_loss(1.0) if self.optimizer is not None else 1.0
            for i, score in enumerate(self._scores):
                y, weights = self._feed.batch("y", i, rows), self._feed.batch("weights", i, rows)
                dy = score.add(y, weights, outputs[i], fusing[i] is not None, training, gradient_scale, masks[i])
                if dy is not None:
                    gradients.append(dy)
            del outputs, masks, y, weights, dy  # while a step is recorded, later calls get their memory
            if training:
                leaving = self._leaving_products()
                for leaf in self.leaf_layers:
                    leaf.product, leaf.keep_product = None, leaf in leaving
                self.backward_parts(gradients)
            else:
                self.plan.penalize_weights()
        finally:
            self.plan.total = None
            for layer in fusing:
                if layer is not None:
                    layer.skip_activation = False
            for leaf in self.leaf_layers:
                leaf.keep_product = False

    def _leaving_products(self) -> list[Layer]:
        """Return the layers whose kernel's gradient is left to the optimizer: in a recorded step, if nobody adds to it."""
        if not ops.recording() or self.optimizer is None or not self.optimizer.takes_products:
            return []
        return [
            layer
            for layer in self.leaf_layers
            if layer.leaves_product
            and layer.trainable_weights
            and layer.weights[0].regularizer is None  # whose gradient is added to the stored one
            and is_recordable(layer)
            and not self.plan.is_shared(layer)
        ]

    def _batches(self, kind: str, count: int, rows: int) -> list[Any]:
        return [self._feed.batch(kind, i, rows) for i in range(count)]

    def _compute(self, mode: str, rows: int) -> None:
        """Do the part of a step that can be taken back."""
        if mode == "predict":
            outputs = self.forward_parts(self._batches("x", len(self.input_structure), rows))
            ops.label("data")
            self._feed.store(outputs)
        else:
            self._scored(rows, mode in ("train", "gradient"))

    def _commit(self, mode: str, rows: int) -> None:
        """Do the rest of a step: update the parameters, go on to the next batch."""
        if mode == "train":
            assert self.optimizer is not None  # _ready has seen to it
            ops.label("optimizer")
            active = {id(p) for layer in self.leaf_layers for p in layer.trainable_weights}
            self.optimizer.step(lambda p: id(p) in active, self._products())
            self.forget()
        ops.label("data")
        if mode != "gradient":
            ops.advance(self._feed.position, rows)

    def _products(self) -> dict[Parameter, tuple[Float32, Float32]]:
        """Return what layers left to the optimizer, by their kernels, and mark those gradients as not computed."""
        products = {layer.weights[0]: layer.product for layer in self.leaf_layers if layer.product is not None}
        for layer in self.leaf_layers:
            layer.product = None
        if not ops.planning():
            for kernel in products:
                kernel.gradient.fill(np.nan)  # who looks at it sees no number of another step
        return products

    def _step(self, mode: str, rows: int) -> Step:
        """Return the step for batches of this many rows, recorded under all that it captures."""
        parts: list[Any] = list(self.leaf_layers)
        if mode == "train":
            parts.append(self.optimizer)
        scores = [] if mode == "predict" else self._scores
        scoring = [part for score in scores for part in (score.loss, *score.metrics)]
        record = config.backend() == "native" and not self.run_eagerly and not self._python_parts([*parts, *scoring])
        key = (
            mode,
            rows,
            self._feed.key(),
            id(self.store),
            config.fingerprint(),
            record,
            *(p.step_key() for p in [*parts, *scores]),
        )
        return self._steps.get(key, lambda: self._new_step(mode, rows, record))

    def _advanced(self, mode: str, rows: int, steps: int) -> int:
        """Do up to `steps` steps, at least one; return how many."""
        if mode == "train" and self.optimizer is not None and self.optimizer.full_batch:
            self._minimize(self.optimizer, rows)
            return 1
        return self._step(mode, rows).run(self._prepared(mode, steps))

    def _minimize(self, optimizer: optimizers.Optimizer, rows: int) -> None:
        """Do one step of an optimizer that evaluates the loss of the batch as often as it wants."""

        def evaluate() -> float:
            self.reset_metrics()
            self._step("gradient", rows).run(1)
            return self._logs()["loss"]

        active = {id(p) for layer in self.leaf_layers for p in layer.trainable_weights}
        optimizer.minimize(evaluate, lambda p: id(p) in active)
        self.forget()
        ops.advance(self._feed.position, rows)

    def _prepared(self, mode: str, steps: int) -> int:
        """Let the optimizer make ready for some steps; return how many of them may be done at once."""
        return self.optimizer.prepare(steps) if mode == "train" and self.optimizer is not None else steps

    def _python_parts(self, parts: Sequence[Any]) -> list[str]:
        """Return the classes among the model, its parts and what belongs to its layers that compute in Python."""
        more = [layer.activation for layer in self.leaf_layers if isinstance(layer, ActivatedLayer)]
        attached = [part for layer in self.leaf_layers for part in layer.attached]
        return [type(p).__name__ for p in (self, *parts, *more, *attached) if not is_recordable(p)]

    def _new_step(self, mode: str, rows: int, record: bool) -> Step:
        guarded: list[NDArray[Any]] = [metric.state for metric in self._running()]
        for layer in self.leaf_layers:
            guarded += [*layer.counters.values(), *(p.value for p in layer.parameters if not p.learns)]
        arena = self._steps.arena if record else None
        return Step(lambda: self._compute(mode, rows), lambda: self._commit(mode, rows), guarded, arena)

    def _tell_if_eager(self, verbose: int | str) -> None:
        """Say once that a part written in Python makes every step go through Python."""
        if not verbose or self._told_eager or self.run_eagerly:
            return
        losses = [score.loss for score in self._scores]
        slow = dict.fromkeys(self._python_parts([*self.leaf_layers, *losses, *self.metrics, self.optimizer]))
        if slow:
            self._told_eager = True
            checks.warn(f"fit: {', '.join(slow)} is written in Python, so every step runs through Python")
