"""The steps of a compiled model: forward, loss, backward, update, recorded under all that they capture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, config, ops, optimizers, settings
from fastnn.checks import Float32
from fastnn.custom import is_own
from fastnn.layers.base import Layer
from fastnn.layers.core import ActivatedLayer
from fastnn.parameter import Parameter
from fastnn.recordable import is_recordable, keeps_step
from fastnn.regularizers import Total
from fastnn.training.compiled import Compiled
from fastnn.training.step import Step


class Stepping(Compiled):
    """A compiled model that does steps: of training, of a gradient alone, of evaluation, of prediction."""

    def _fusing_layers(self) -> list[ActivatedLayer | None]:
        """Return for every output the last layer if the loss takes its softmax or sigmoid over, for a stable gradient."""
        result: list[ActivatedLayer | None] = []
        for i, score in enumerate(self._scores):
            may = not getattr(score.loss, "from_logits", False) and keeps_step(score.loss, unless="evaluate_fused")
            fuses = score.loss.fuses if may else None
            last = None if fuses is None else self.plan.last_layer(i)
            fits = isinstance(last, ActivatedLayer) and last.activation.kind == fuses and not last.activity_regularizer
            result.append(last if fits and keeps_step(last) else None)  # type: ignore[arg-type]
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
            and keeps_step(layer)
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
        """Return the step for batches of this many rows; that of the last time, if no setting has changed since."""
        if mode == "predict":  # with the last activation or, for classes, without: that is not noted
            return self._found_step(mode, rows)
        since = settings.latest()
        key = (mode, rows, self._feed.key(), id(self.store), self.run_eagerly)
        mark, step = self._steps.known.get(key, (None, None))
        if step is not None and mark == (since, self.optimizer):
            self._steps.last = step
            return step
        step = self._found_step(mode, rows)
        if self._noted(mode):
            self._steps.known[key] = (since, self.optimizer), step
        return step

    def _noted(self, mode: str) -> bool:
        """Return whether every change of what a step captures of the model's parts is noted."""
        parts: list[Any] = list(self.leaf_layers)
        parts += [layer.activation for layer in parts if isinstance(layer, ActivatedLayer)]
        parts += [p for layer in self.leaf_layers for p in (*layer.parameters, *layer.attached)]
        if mode != "predict":
            parts += [self.optimizer, *(score.loss for score in self._scores), *self._running(), *self._scores]
        return not is_own(type(self)) and all(map(settings.noted, parts))

    def _found_step(self, mode: str, rows: int) -> Step:
        """Return the step recorded under all that it captures, or a new one."""
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
