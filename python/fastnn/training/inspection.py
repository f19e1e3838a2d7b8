"""What goes on inside of a model for a batch: the outputs of its layers, how many are stuck, and the gradients' lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, ops
from fastnn.activations import Activation
from fastnn.checks import Float32
from fastnn.layers.core import ActivatedLayer
from fastnn.plan import Plan
from fastnn.training.profiler import Profiled

FAR = 1e6  # where a bounded activation has come to its ends
MARGIN = 0.1  # of the range between the ends: what is closer to one of them is stuck there


@dataclass(frozen=True)
class ActivationRow:
    """The outputs of a layer for a batch.

    dead: share of the units that are 0 for every sample. saturated: share of the values within a tenth of the range from an end of
    a bounded activation, such as below 0.1 or above 0.9 behind a sigmoid. Both are None where that means nothing.
    """

    layer: str
    activation: str
    shape: tuple[int, ...]
    mean: float
    std: float
    dead: float | None
    saturated: float | None


@dataclass(frozen=True)
class ActivationCheck:
    """What `check_activations` found; printed, a table.

    Attributes:
        rows: one per call of a layer, in the order of the calls.
    """

    rows: tuple[ActivationRow, ...]

    def __str__(self) -> str:
        table: list[tuple[str, ...]] = [("layer", "activation", "shape", "mean", "std", "dead", "saturated")]
        for row in self.rows:
            shares = ("-" if share is None else f"{share:.1%}" for share in (row.dead, row.saturated))
            table.append((row.layer, row.activation, str(row.shape), f"{row.mean:.3g}", f"{row.std:.3g}", *shares))
        widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip() for line in table)


class Inspected(Profiled):
    """A model that shows what goes on inside of it."""

    def layer_outputs(self, x: Any, layers: Sequence[str] | None = None) -> dict[str, Float32]:
        """Return what every layer makes of a batch, as in `predict`, in the order of the calls.

        Models inside of the model are laid open. The second call of a layer is called "name (2)", and so on.

        Args:
            x: samples as `predict` takes them; all of them go through at once.
            layers: names of the layers that are wanted; None is all.

        Raises:
            ValueError: for a model that is not built, unknown names, and samples that do not fit.

        Example:
            >>> import numpy as np
            >>> model = fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(4, name="hidden"), fastnn.layers.Dense(2)])
            >>> model.layer_outputs(np.ones((5, 3)), ["hidden"])["hidden"].shape
            (5, 4)
        """
        return {name: out for name, (_, out) in self._outputs_by_call("layer_outputs", x, layers).items()}

    def check_activations(self, x: Any, layers: Sequence[str] | None = None) -> ActivationCheck:
        """Return means and deviations of what the layers make of a batch, and how many units are dead or saturated.

        Dead relus come from bad initial values or a learning rate that is too large; saturated sigmoids stop the gradient.

        Args:
            x: samples as `predict` takes them; the more there are, the surer it is that a unit is dead.
            layers: names of the layers that are wanted; None is all.

        Example:
            >>> import numpy as np
            >>> model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(4, "relu", name="hidden")])
            >>> model.set_weights([np.array([[1, 1, -1, -1], [1, 1, -1, -1]]), np.zeros(4)])
            >>> print(model.check_activations(np.ones((3, 2))))
            layer   activation  shape   mean  std  dead   saturated
            hidden  relu        (3, 4)  1     1    50.0%  -
        """
        found = self._outputs_by_call("check_activations", x, layers)
        return ActivationCheck(tuple(_row(name, layer, out) for name, (layer, out) in found.items()))

    def gradient_norms(self, x: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
        """Return the length of the gradient of every layer that learns, for one batch, as in training; nothing is changed.

        The gradient of a layer is that of the loss, penalties included, by all its parameters that learn.

        Args:
            x, y, sample_weight: as `fit` takes them; all samples go through at once.

        Raises:
            ValueError: for a model that is not compiled, and for samples that do not fit.

        Example:
            >>> import numpy as np
            >>> model = fastnn.Sequential([fastnn.Input((1,)), fastnn.layers.Dense(1, name="only")])
            >>> model.set_weights([np.array([[2.0]]), np.array([0.0])])
            >>> model.compile("sgd", "mse")
            >>> round(model.gradient_norms([[1.0]], [[0.0]])["only"], 4)
            5.6569
        """
        with self.exclusively("gradient_norms"):
            arrays = self._training_arrays(x, y, sample_weight, None, "gradient_norms")
            with self.unchanged():
                self.reset_metrics()
                self._feed.load(*arrays)
                self._scored(len(arrays[0][0]), True)
                assert self.optimizer is not None  # _training_arrays has seen to it
                scale = self.optimizer.scale_loss(1.0)
                learning = [layer for layer in self.leaf_layers if layer.trainable_weights]
                return {
                    layer.name: float(np.sqrt(sum(_square(p.gradient) for p in layer.trainable_weights))) / scale
                    for layer in learning
                }

    def _outputs_by_call(
        self, who: str, x: Any, layers: Sequence[str] | None
    ) -> dict[str, tuple[Any, NDArray[np.float32]]]:
        """Return (layer, output) of every call that is wanted, by its name."""
        calls = self.plan.as_written()
        wanted = None
        if layers is not None:
            if isinstance(layers, str):
                checks.fail_type(who, "layers as a list of names", repr(layers), f"write [{layers!r}]")
            known = [layer.name for layer in self.leaf_layers]
            wanted = {checks.one_of(who, "layers", name, known) for name in layers}
        arrays = [ops.as_float32(who, "x", part) for part in self.input_structure.parts(who, "x", x)]
        with self.exclusively(who), self.plan.preserved():
            self.refresh()
            # With every value an output, no two calls are made as one.
            outputs = Plan(self.plan.inputs, [call.output for call in calls], calls, self.plan.size).forward(
                arrays, False
            )
        found: dict[str, tuple[Any, Float32]] = {}
        times: dict[str, int] = {}
        for call, out in zip(calls, outputs):
            name = call.layer.name
            times[name] = times.get(name, 0) + 1
            if wanted is None or name in wanted:
                found[name if times[name] == 1 else f"{name} ({times[name]})"] = call.layer, out.copy()
        return found


def _square(gradient: Float32) -> float:
    return float(np.sum(np.square(gradient, dtype=np.float64)))


def _row(name: str, layer: Any, out: Float32) -> ActivationRow:
    """Return what there is to say of a layer's output."""
    activation = layer.activation if isinstance(layer, ActivatedLayer) else None
    bends = activation is not None and activation.kind != "linear"
    units = 1 if getattr(layer, "data_format", "") == "channels_first" else out.ndim - 1
    dead = None
    if bends and out.size:
        dead = float((out == 0).all(axis=tuple(a for a in range(out.ndim) if a != units)).mean())
    ends = None if activation is None or not out.size else _ends(activation, out.ndim)
    values = out.astype(np.float64)
    with np.errstate(invalid="ignore"):  # of infinities there is no deviation
        mean, std = (float(values.mean()), float(values.std())) if out.size else (0.0, 0.0)
    kind = "" if activation is None else activation.name
    return ActivationRow(name, kind, out.shape, mean, std, dead, None if ends is None else _saturated(values, *ends))


def _ends(activation: Activation, rank: int) -> tuple[float, float] | None:
    """Return the least and the greatest value of an activation that has such, and None of others and of a whole row's."""
    if activation.kind == "linear":
        return None
    with np.errstate(all="ignore"):
        low, high = (float(activation.forward(np.full((1,) * rank, far, np.float32)).item()) for far in (-FAR, FAR))
    return (low, high) if low < high < FAR / 2 and low > -FAR / 2 else None


def _saturated(values: NDArray[np.float64], low: float, high: float) -> float:
    margin = MARGIN * (high - low)
    return float(((values < low + margin) | (values > high - margin)).mean())
