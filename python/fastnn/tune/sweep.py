"""sweep: one hyperparameter, several values, a training for each: such as the coefficient of L2, chosen by validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks
from fastnn.figures import axes_for
from fastnn.tune.trials import Trial, check_trials, train_all

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WHO = "sweep"


@dataclass(frozen=True)
class Sweep:
    """What a sweep gave; printed, a table.

    Attributes:
        parameter: its name.
        trials: one for each value, in their order.
        objective: the name in the logs that was looked at.
        ranking: the trials' numbers, the best first, those whose score is NaN last.
        model: that of the best value, as it was at the end of its training.
    """

    parameter: str
    trials: list[Trial]
    objective: str
    ranking: list[int]
    model: Any = field(repr=False)

    @property
    def values(self) -> list[Any]:
        """The values that were tried."""
        return [trial.parameters[self.parameter] for trial in self.trials]

    @property
    def best(self) -> Any:
        """The value whose objective was the best."""
        return self.values[self.ranking[0]]

    @property
    def scores(self) -> NDArray[np.float64]:
        """The objective after the last epoch, for each value, shape (n,)."""
        return np.array([trial.score for trial in self.trials])

    @property
    def training(self) -> NDArray[np.float64]:
        """The same quantity in training: that of val_loss is loss, shape (n,)."""
        name = self.objective.removeprefix("val_")
        return np.array([trial.history.history[name][-1] for trial in self.trials])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the objective over the values, and the same quantity in training; needs matplotlib.

        Where training is good and validation is not, the model overfits; where neither is, it underfits.

        Args:
            ax: matplotlib Axes to draw into; None makes a new figure.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        ax = axes_for(WHO, ax)
        places, name = range(len(self.trials)), self.objective.removeprefix("val_")
        ax.plot(places, self.training, "o-", label="training")
        if name != self.objective:
            ax.plot(places, self.scores, "s--", label="validation")
        ax.axvline(self.ranking[0], linestyle=":", color="gray", label=f"best: {_text(self.best)}")
        ax.set_xticks(places, [_text(value) for value in self.values], rotation=45 if len(places) > 8 else 0)
        ax.set(xlabel=self.parameter, ylabel=name.replace("_", " "))
        ax.legend()
        return ax

    def __str__(self) -> str:
        columns = {self.objective.removeprefix("val_"): self.training, self.objective: self.scores}
        rows = [[self.parameter, *columns]]
        rows += [
            [_text(value), *(f"{score[i]:.4f}" for score in columns.values())] for i, value in enumerate(self.values)
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows)


def sweep(
    build: Callable[..., Any],
    parameter: str,
    values: Sequence[Any],
    x: Any,
    y: Any = None,
    objective: str = "val_loss",
    mode: str = "auto",
    callbacks: Any = None,
    workers: int | None = None,
    verbose: int = 0,
    **fit: Any,
) -> Sweep:
    """Train a model for each of some values of a hyperparameter, and say which is the best.

    A loss has the penalties of regularizers in it: choose their coefficients by a metric, such as "val_accuracy".
    The trainings run side by side where there are threads for them, with the same numbers as one after the other.

    Args:
        build: function that takes the parameter by its name and returns a compiled model.
        parameter: the name.
        values: at least one, such as [0, 1e-5, 1e-4, 1e-3] for the coefficient of L2.
        x, y: samples and targets as `fit` takes them.
        objective: name in the logs; its value after the last epoch counts.
        mode: "min", "max" or "auto", as in EarlyStopping.
        callbacks: `fastnn.callbacks` objects, copied for every training, or a function that makes them.
        workers: trainings at a time; None is the number of threads.
        verbose: 1 prints a line after every training.
        **fit: further arguments of `fit`: epochs, batch_size, validation_split or validation_data, ...

    Returns:
        Sweep: `.best`, `.scores`, `.training`, `.model`, `.plot()`; `print` it.

    Raises:
        ValueError: for no values, arrays and arguments that do not fit, and an objective that is not in the logs.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(60, 2)).astype("float32")
        >>> def build(l2):
        ...     penalty = fastnn.regularizers.L2(l2)
        ...     model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(1, kernel_regularizer=penalty)])
        ...     model.compile("sgd", "mse", metrics=["mae"])
        ...     return model
        >>> fit = {"validation_split": 0.2, "epochs": 20}
        >>> result = fastnn.tune.sweep(build, "l2", [0.0, 0.01, 10.0], x, x.sum(1), "val_mae", **fit)
        >>> result.values, result.best < 1
        ([0.0, 0.01, 10.0], True)
    """
    check_trials(WHO, build, objective, fit)
    if not isinstance(parameter, str) or not parameter.isidentifier():
        checks.fail_type(WHO, "parameter as the name of an argument of build", checks.describe(parameter))
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__") or not len(values):
        checks.fail_type(WHO, "values as a list of at least one", checks.describe(values))
    given = [{parameter: value} for value in values]
    trials, ranking, model = train_all(WHO, build, given, x, y, objective, mode, callbacks, workers, verbose, fit)
    return Sweep(parameter, trials, objective, ranking, model)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (float, np.floating)) else str(value)
