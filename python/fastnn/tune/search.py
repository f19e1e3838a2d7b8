"""Search for hyperparameters: random ones from ranges, few epochs each, then narrower ranges around the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastnn import checks
from fastnn.training.splits import generator
from fastnn.tune.trials import Trial, check_trials, train_all

WHO = "random_search"


class Range:
    """A range that values are drawn from."""

    def draw(self, rng: np.random.Generator) -> Any:
        """Return a value at random."""
        raise TypeError(checks.message(type(self).__name__, "a range with a draw method", "none"))

    def narrowed(self, values: Sequence[Any]) -> Range:
        """Return the range that these values span."""
        raise TypeError(checks.message(type(self).__name__, "a range with a narrowed method", "none"))


@dataclass(frozen=True)
class Uniform(Range):
    """Numbers between low and high, each as likely.

    Example:
        >>> fastnn.tune.Uniform(0.0, 0.5).narrowed([0.1, 0.3])
        Uniform(low=0.1, high=0.3)
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        who = type(self).__name__
        low, high = checks.number(who, "low", self.low), checks.number(who, "high", self.high)
        if not low <= high:
            checks.fail(who, "low <= high", f"{low:g} and {high:g}")

    def draw(self, rng: np.random.Generator) -> Any:
        """Return a value at random."""
        return float(self.low + (self.high - self.low) * rng.random())

    def narrowed(self, values: Sequence[Any]) -> Uniform:
        """Return the range that these values span."""
        return type(self)(min(values), max(values))


@dataclass(frozen=True)
class LogUniform(Uniform):
    """Numbers between low and high > 0, each order of magnitude as likely: for learning rates and weight decays.

    Example:
        >>> fastnn.tune.LogUniform(1e-6, 1e-2).narrowed([1e-4, 1e-3])
        LogUniform(low=0.0001, high=0.001)
    """

    def __post_init__(self) -> None:
        checks.number(type(self).__name__, "low", self.low, above=0.0)
        super().__post_init__()

    def draw(self, rng: np.random.Generator) -> Any:
        """Return a value at random."""
        exponent = math.log(self.low) + (math.log(self.high) - math.log(self.low)) * rng.random()
        return float(min(max(math.exp(exponent), self.low), self.high))


@dataclass(frozen=True)
class Integer(Uniform):
    """Whole numbers from low to high, both included.

    Example:
        >>> fastnn.tune.Integer(8, 128).narrowed([16, 64])
        Integer(low=16, high=64)
    """

    def __post_init__(self) -> None:
        checks.integer(type(self).__name__, "low", self.low)
        checks.integer(type(self).__name__, "high", self.high)
        super().__post_init__()

    def draw(self, rng: np.random.Generator) -> Any:
        """Return a value at random."""
        return int(rng.integers(int(self.low), int(self.high) + 1))


@dataclass(frozen=True)
class Choice(Range):
    """One of several values.

    Example:
        >>> fastnn.tune.Choice(["relu", "tanh", "elu"]).narrowed(["elu", "relu", "elu"])
        Choice(values=['relu', 'elu'])
    """

    values: Sequence[Any]

    def __post_init__(self) -> None:
        if isinstance(self.values, str) or not len(self.values):
            checks.fail("Choice", "a list of at least one value", repr(self.values))

    def draw(self, rng: np.random.Generator) -> Any:
        """Return a value at random."""
        return self.values[int(rng.integers(len(self.values)))]

    def narrowed(self, values: Sequence[Any]) -> Choice:
        """Return the choice among those that occur."""
        return Choice([value for value in self.values if value in values])


@dataclass(frozen=True)
class SearchResult:
    """What a search gave; printed, a table of the best trials.

    Attributes:
        trials: the best first; those whose score is NaN last.
        space: the ranges that were searched.
        objective: the name in the logs that was looked at.
        model: that of the best trial, as it was at the end of its training.
    """

    trials: list[Trial]
    space: dict[str, Range]
    objective: str
    model: Any = field(repr=False)

    @property
    def best(self) -> Trial:
        """The trial with the best score."""
        return self.trials[0]

    @property
    def best_parameters(self) -> dict[str, Any]:
        """The parameters of the best trial."""
        return self.trials[0].parameters

    def narrow(self, keep: float = 0.2) -> dict[str, Range]:
        """Return narrower ranges: those that the best trials span.

        Args:
            keep: share of the trials, in (0, 1]; two of them at least.
        """
        share = checks.number("narrow", "keep", keep, above=0.0, maximum=1.0)
        count = min(len(self.trials), max(2, math.ceil(share * len(self.trials))))
        some = [trial.parameters for trial in self.trials[:count]]
        return {name: range_.narrowed([p[name] for p in some]) for name, range_ in self.space.items()}

    def __str__(self) -> str:
        names = list(self.space)
        rows = [["trial", self.objective, *names]]
        for i, trial in enumerate(self.trials[:20], 1):
            values = [trial.parameters[name] for name in names]
            rows.append(
                [str(i), f"{trial.score:.4f}", *(f"{v:.4g}" if isinstance(v, float) else str(v) for v in values)]
            )
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows)


def random_search(
    build: Callable[..., Any],
    space: Mapping[str, Any],
    x: Any,
    y: Any = None,
    trials: int = 100,
    objective: str = "val_loss",
    mode: str = "auto",
    callbacks: Any = None,
    seed: int | None = None,
    workers: int | None = None,
    verbose: int = 0,
    **fit: Any,
) -> SearchResult:
    """Train models with random hyperparameters and rank them; `narrow` of the result gives the ranges of the next search.

    Trials run side by side where there are threads for them, with the same numbers as one after the other.

    Args:
        build: function that takes the parameters by name and returns a compiled model.
        space: name -> range: `LogUniform`, `Uniform`, `Integer` or `Choice` of `fastnn.tune`; a list is a choice.
        x, y: samples and targets as `fit` takes them.
        trials: how many.
        objective: name in the logs; its value after the last epoch is a trial's score.
        mode: "min", "max" or "auto", as in EarlyStopping.
        callbacks: `fastnn.callbacks` objects, copied for every trial, or a function that makes them.
        seed: of the draws; None takes the next of the process (see `fastnn.config.set_seed`).
        workers: trainings at a time; None is the number of threads.
        verbose: 1 prints a line after every trial.
        **fit: further arguments of `fit`: epochs (few), batch_size, validation_split or validation_data, ...

    Returns:
        SearchResult: `.best_parameters`, `.trials`, `.model`, `.narrow()`; `print` it.

    Raises:
        ValueError: for ranges, arrays and arguments that do not fit, and an objective that is not in the logs.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(60, 2)).astype("float32")
        >>> def build(rate, units):
        ...     layers = [fastnn.Input((2,)), fastnn.layers.Dense(units, "relu"), fastnn.layers.Dense(1)]
        ...     model = fastnn.Sequential(layers)
        ...     model.compile(fastnn.optimizers.Adam(rate), "mse")
        ...     return model
        >>> space = {"rate": fastnn.tune.LogUniform(1e-4, 1e-1), "units": [4, 8]}
        >>> result = fastnn.random_search(build, space, x, x.sum(1), trials=4, validation_split=0.2, seed=1)
        >>> len(result.trials), sorted(result.best_parameters)
        (4, ['rate', 'units'])
        >>> narrower = result.narrow(keep=0.5)
        >>> narrower["rate"].low >= 1e-4
        True
    """
    ranges = _ranges(space)
    check_trials(WHO, build, objective, fit)
    drawn = _draws(ranges, checks.integer(WHO, "trials", trials, 1), seed)
    done, order, best = train_all(WHO, build, drawn, x, y, objective, mode, callbacks, workers, verbose, fit)
    return SearchResult([done[i] for i in order], ranges, objective, best)


def _ranges(space: Any) -> dict[str, Range]:
    """Return the ranges by name; a list is a choice."""
    if not isinstance(space, Mapping) or not space:
        checks.fail_type(WHO, "space as a dict of name to range", checks.describe(space))
    result: dict[str, Range] = {}
    for name, given in space.items():
        range_ = Choice(given) if isinstance(given, list) else given
        if not isinstance(range_, Range):
            fix = "use LogUniform, Uniform, Integer or Choice of fastnn.tune"
            checks.fail_type(WHO, f"a range for {name!r}", checks.describe(given), fix)
        result[str(name)] = range_
    return result


def _draws(ranges: Mapping[str, Range], count: int, seed: int | None) -> list[dict[str, Any]]:
    """Return the parameters of every trial: those of the first ones do not depend on how many there are."""
    rng = generator(seed)
    return [{name: range_.draw(rng) for name, range_ in ranges.items()} for _ in range(count)]
