"""What the outputs of a model are scored by: losses, their weights, metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from fastnn import checks, losses, metrics, ops
from fastnn.checks import Float32
from fastnn.names import Shape
from fastnn.settings import Settings
from fastnn.structure import Structure

Logs = dict[str, float]


class Score(Settings):
    """What one output is scored by, and the running values.

    Args:
        loss: of this output.
        weight: of this loss in that of the model.
        wanted: its metrics, names or objects.
        prefix: of the names in logs: "" for the only output of a model, else the output's name and "_".
        weighted: those of its metrics that count every sample by its weight, names or objects.
    """

    def __init__(
        self, loss: losses.Loss, weight: float, wanted: Sequence[Any], prefix: str, weighted: Sequence[Any] = ()
    ) -> None:
        self.loss, self.weight, self.wanted, self.prefix = loss, weight, list(wanted), prefix
        self.weighted = list(weighted)
        self.tracker = metrics.Mean(f"{prefix}loss")
        self.metrics: list[metrics.Metric] = []  # the weighted ones last

    def find_metrics(self, output_shape: Shape | None) -> None:
        """Make the metrics, once the output's shape is known; until then only check their names."""
        labels = isinstance(self.loss, losses.SparseCategoricalCrossentropy)
        columns = None if output_shape is None else output_shape[self.loss.axis]
        found = [metrics.get(m, labels=labels, columns=columns) for m in (*self.wanted, *self.weighted)]
        if output_shape is not None:
            for metric in found:
                self._check_axis(metric, len(output_shape))
            self.metrics = found
        if columns is not None:
            for metric in found:
                metric.build(columns)

    def losses_shape(self, y: NDArray[Any], output_shape: Shape) -> tuple[int, ...]:
        """Return the shape of the losses of all samples; what the output's shape leaves open is as in the truth y."""
        wanted = self.loss.losses_shape(output_shape)
        given = y.shape if y.ndim < len(output_shape) else self.loss.losses_shape(y.shape)
        return tuple(size or (given[i] if i < len(given) else 1) for i, size in enumerate(wanted))

    @property
    def metric_names(self) -> list[str]:
        """The metrics' names in logs, but for numbers after those that are there twice."""
        asked = [*self.wanted, *self.weighted]
        again = [isinstance(m, str) and i >= len(self.wanted) and m in self.wanted for i, m in enumerate(asked)]
        return [
            self.prefix + ("weighted_" if twice else "") + metric.name for metric, twice in zip(self.metrics, again)
        ]

    def _check_axis(self, metric: metrics.Metric, rank: int) -> None:
        """Raise unless a metric looks along the loss's axis: rows of the output are cut, weighted and masked by that."""
        if metric.axis != -1 and metric.axis % rank != self.loss.axis % rank:
            rule = f"the metric '{metric.name}' along the loss's axis, {self.loss.axis}"
            checks.fail("compile", rule, f"axis={metric.axis}", "leave it at -1, which is the loss's")

    @property
    def running(self) -> list[metrics.Metric]:
        """The running loss and the metrics."""
        return [self.tracker, *self.metrics]

    def add(
        self,
        y: NDArray[Any],
        weights: Float32 | None,
        out: Float32,
        fused: bool,
        training: bool,
        gradient_scale: float = 1.0,
        mask: Float32 | None = None,
    ) -> Float32 | None:
        """Add a batch's output to loss and metrics; return the output's gradient (training only).

        fused: the output is before the activation that the loss takes over. gradient_scale: what the gradient is multiplied by.
        mask: 0 for rows of the output that do not count; a mean is that of the others.
        """
        ops.label("loss")
        flat = self.loss.rows(out)
        y = self.loss.truth_rows(y)
        weights = None if weights is None else weights.reshape(-1)
        plain, weighted = None, weights  # what counts in metrics
        if mask is not None:
            mask = _rows_of(mask, self.loss.losses_shape(out.shape), self.loss.axis % out.ndim)
            if self.metrics:
                plain, weighted = (ops.mask_weights(mask, w, rescale=False) for w in (None, weights))
        truth, weights = self.loss.counting(y, weights, mask)
        scale = self.loss.scale(len(flat))
        slope = scale * self.weight * gradient_scale
        if fused:
            y_pred, row_losses, dy = self.loss.evaluate_fused(truth, flat, weights, slope, training)
        else:
            y_pred = flat
            row_losses, dy = self.loss.evaluate(truth, flat, weights, slope, training)
        # With reduction="sum" a batch's loss is the sum of its samples', and an epoch's the mean of that over its samples.
        self.tracker.update_state(row_losses, scale=len(flat) * scale)
        ops.label("metrics")
        for i, metric in enumerate(self.metrics):
            counts = plain if i < len(self.wanted) else weighted
            truth, pred = (y, y_pred) if metric.axis == -1 else (self._whole(part, out.shape) for part in (y, y_pred))
            metric.update_state(truth, pred, **({} if counts is None else {"sample_weight": counts}))
        return None if dy is None else self.loss.from_rows(dy, out.shape)

    def _whole(self, rows: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
        """Return rows of predictions or targets as an output of this shape; class numbers as they are."""
        return self.loss.from_rows(rows, shape) if rows.ndim > 1 else rows

    def step_key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured."""
        return (id(self), self.weight, self.loss.step_key(), *(m.step_key() for m in self.metrics))


def _rows_of(mask: Float32, shape: Sequence[Any], axis: int) -> Float32:
    """Return the mask of every row of an output, `shape` of them along the axes but `axis`, from one that may be coarser."""
    if mask.ndim > axis or mask.shape != tuple(shape[: mask.ndim]):
        checks.fail("loss", f"a mask of shape {tuple(shape[:axis])}, or of its first axes", mask.shape)
    if mask.ndim < len(shape):
        mask = ops.broadcast(mask.reshape(*mask.shape, *[1] * (len(shape) - mask.ndim)), shape)
    return mask.reshape(-1)


def scores_of(structure: Structure, loss: Any, wanted: Any, loss_weights: Any, weighted: Any = None) -> list[Score]:
    """Return a score per output from the arguments of `compile`; none without a loss."""
    chosen = [] if loss is None else _losses(structure, loss)
    by_output = _metrics(structure, "metrics", wanted)
    by_output_weighted = _metrics(structure, "weighted_metrics", weighted)
    every = [*by_output, *by_output_weighted]
    objects = [id(m) for some in every for m in {id(m): m for m in some if isinstance(m, metrics.Metric)}.values()]
    if len(set(objects)) < len(objects):
        checks.fail("compile", "an object of its own for every output's metric", "the same one twice", "give names")
    weights = _weights(structure, loss_weights)
    single = len(structure) == 1
    return [
        Score(chosen[i], weights[i], by_output[i], "" if single else f"{name}_", by_output_weighted[i])
        for i, name in enumerate(structure.names)
        if chosen
    ]


def _only(structure: Structure, value: Any) -> Any:
    """Return the entry of a list of one where there is one output."""
    return value[0] if structure.kind == "one" and isinstance(value, (list, tuple)) and len(value) == 1 else value


def _losses(structure: Structure, loss: Any) -> list[losses.Loss]:
    several = isinstance(loss, (list, tuple, Mapping))
    given = structure.parts("compile", "loss", _only(structure, loss)) if several else [loss] * len(structure)
    result = [losses.get(one) for one in given]
    for one in result:
        if one.reduction == "none":
            checks.fail(
                "compile", "a loss that is one number", "reduction 'none'", "use 'sum_over_batch_size' or 'sum'"
            )
    return result


def _metrics(structure: Structure, argument: str, wanted: Any) -> list[list[Any]]:
    """Return the metrics wanted of every output."""
    if wanted is None:
        return [[] for _ in structure.names]
    if isinstance(wanted, str) or not isinstance(wanted, (Sequence, Mapping)):
        checks.fail_type("compile", f"{argument} as a list", checks.describe(wanted), f"write {argument}=['accuracy']")
    if isinstance(wanted, Mapping):
        others = [name for name in wanted if name not in structure.names]
        if others:
            keys = ", ".join(map(repr, structure.names))
            checks.fail(
                "compile",
                f"{argument} with keys among {keys}",
                repr(others[0]),
                checks.nearest(str(others[0]), structure.names),
            )
        wanted = dict.fromkeys(structure.names) | dict(wanted)
    elif structure.kind == "one":
        return [_own(wanted[0] if len(wanted) == 1 and isinstance(wanted[0], (list, tuple)) else wanted)]
    elif len(wanted) != len(structure):
        checks.fail(
            "compile",
            f"{argument} as a list of {len(structure)}, one entry per output, or a dict by name",
            f"a list of {len(wanted)}",
            "an entry is a metric, a list of metrics or None",
        )
    parts = structure.parts("compile", argument, wanted)
    return [[] if p is None else _own(p if isinstance(p, (list, tuple)) else [p]) for p in parts]


def _own(wanted: Sequence[Any]) -> list[Any]:
    """Return names as they are, for they wait for the output's shape, and metrics for functions and classes."""
    return [m if isinstance(m, str) else metrics.get(m) for m in wanted]


def _weights(structure: Structure, loss_weights: Any) -> list[float]:
    if loss_weights is None:
        return [1.0] * len(structure)
    given = structure.parts("compile", "loss_weights", _only(structure, loss_weights))
    if any(isinstance(w, str) for w in given):
        checks.fail_type("compile", "loss_weights to be numbers", loss_weights, "metrics are given as metrics=[...]")
    return [checks.number("compile", "loss_weights", w) for w in given]
