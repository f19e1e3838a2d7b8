"""Cross-validation: a model trained k times, each time validated on another part of the samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks
from fastnn.checks import Float32
from fastnn.training.history import History
from fastnn.training.splits import classes_of, generator, parts_of
from fastnn.tune.runs import (
    arrays_of,
    built,
    count_of,
    own_callbacks,
    refuse_options,
    rows_of,
    side_by_side,
    worker_count,
)

WHO = "cross_validate"


@dataclass(frozen=True)
class CrossValidation:
    """What k trainings gave; printed, a table.

    Attributes:
        scores: name -> loss or metric of every fold on the part it was not trained on, (k,).
        histories: what `fit` returned of every fold.
        folds: indices of the samples of every fold's part.
        predictions: for every sample that of the model which had not seen it; for several outputs a list or dict.
    """

    scores: dict[str, NDArray[np.float64]]
    histories: list[History]
    folds: list[NDArray[np.int64]]
    predictions: Any

    @property
    def mean(self) -> dict[str, float]:
        """The mean of every score over the folds."""
        return {name: float(values.mean()) for name, values in self.scores.items()}

    @property
    def std(self) -> dict[str, float]:
        """The standard deviation of every score over the folds (that of a sample: divided by k - 1)."""
        return {name: float(values.std(ddof=1)) for name, values in self.scores.items()}

    def __str__(self) -> str:
        width = max(len(name) for name in self.scores)
        lines = [f"{'fold':<6}" + "".join(f"  {name:>{max(width, 10)}}" for name in self.scores)]
        rows = [*enumerate(zip(*self.scores.values()), 1), ("mean", self.mean.values()), ("std", self.std.values())]
        lines += [f"{label!s:<6}" + "".join(f"  {v:>{max(width, 10)}.4f}" for v in values) for label, values in rows]
        return "\n".join(lines)


def cross_validate(
    model_fn: Callable[[], Any],
    x: Any,
    y: Any,
    k: int = 5,
    stratify: bool = False,
    shuffle: bool = True,
    sample_weight: Any = None,
    callbacks: Any = None,
    seed: int | None = None,
    workers: int | None = None,
    verbose: int = 0,
    **fit: Any,
) -> CrossValidation:
    """Train a new model k times, each time on all parts of the samples but one, and validate it on that one.

    The folds run side by side where there are threads for them, with the same numbers as one after the other.

    Args:
        model_fn: function that returns a new compiled model.
        x, y: samples and targets as `fit` takes them, arrays.
        k: number of parts, >= 2.
        stratify: each class in the same share of every part.
        shuffle: draw the parts at random; False cuts the samples as they lie (then without stratify).
        sample_weight: weight of every sample, (N,).
        callbacks: `fastnn.callbacks` objects, copied for every fold, or a function that makes them.
        seed: of the parts; None takes the next of the process (see `fastnn.config.set_seed`).
        workers: trainings at a time; None is the number of threads.
        verbose: 1 prints a line after every fold.
        **fit: further arguments of `fit`: epochs, batch_size, class_weight, ...

    Returns:
        CrossValidation: `.scores`, `.mean`, `.std`, `.predictions`; `print` it.

    Raises:
        ValueError: for arrays and arguments that do not fit.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(60, 2)).astype("float32")
        >>> def model_fn():
        ...     model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(1, "sigmoid")])
        ...     model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        ...     return model
        >>> result = fastnn.cross_validate(model_fn, x, x[:, 0] > 0, k=3, epochs=2)
        >>> sorted(result.mean), result.scores["accuracy"].shape
        (['accuracy', 'loss'], (3,))
    """
    refuse_options(WHO, fit, ("validation_data", "validation_split"))
    if not callable(model_fn) or hasattr(model_fn, "fit"):
        checks.fail_type(WHO, "model_fn to be a function that returns a compiled model", checks.describe(model_fn))
    x, y = arrays_of(WHO, "x", x), arrays_of(WHO, "y", y)
    weights = None if sample_weight is None else checks.float32(WHO, "sample_weight", sample_weight)
    n = count_of(WHO, x, y=y, sample_weight=weights)
    k = checks.integer(WHO, "k", k, 2)
    if k > n:
        checks.fail(WHO, f"at most as many folds as samples ({n})", k)
    folds = _folds(n, k, y, stratify, shuffle, seed)
    results: dict[int, tuple[History, dict[str, float], Any]] = {}

    def models() -> Iterator[Any]:
        for _ in folds:
            yield built(WHO, model_fn(), x)

    def work(i: int, model: Any) -> tuple[History, dict[str, float], Any]:
        rest, out = np.setdiff1d(np.arange(n), folds[i]), folds[i]
        parts = [[None if a is None else rows_of(a, rows) for a in (x, y, weights)] for rows in (rest, out)]
        (xt, yt, wt), (xv, yv, wv) = parts
        history = model.fit(
            xt, yt, sample_weight=wt, callbacks=own_callbacks(WHO, callbacks), **{"shuffle": True, **fit, "verbose": 0}
        )
        size = fit.get("validation_batch_size") or fit.get("batch_size")
        scores = model.evaluate(xv, yv, size, sample_weight=wv, verbose=0, return_dict=True)
        return history, scores, model.predict(xv, size, verbose=0)

    def done(i: int, result: tuple[History, dict[str, float], Any]) -> None:
        results[i] = result
        if verbose:
            print(f"fold {i + 1}/{k}: " + ", ".join(f"{name}: {value:.4f}" for name, value in result[1].items()))

    side_by_side(models(), work, worker_count(WHO, workers, k), done)
    every = [results[i] for i in range(k)]
    # By place: outputs without a name of their own are called otherwise in every model.
    columns = zip(every[0][1], zip(*(result[1].values() for result in every)))
    scores = {name: np.array(values) for name, values in columns if np.ndim(values[0]) == 0}
    return CrossValidation(scores, [r[0] for r in every], folds, _together([r[2] for r in every], folds, n))


def _folds(n: int, k: int, y: Any, stratify: bool, shuffle: bool, seed: int | None) -> list[NDArray[np.int64]]:
    """Return the indices of every part."""
    checks.boolean(WHO, "stratify", stratify)
    if not checks.boolean(WHO, "shuffle", shuffle):
        if stratify:
            checks.fail(WHO, "shuffle=True with stratify", "shuffle=False")
        return np.array_split(np.arange(n), k)
    classes = None
    if stratify:
        if not isinstance(y, np.ndarray):
            checks.fail(WHO, "stratify for one output only", "several")
        classes = classes_of(WHO, y)
    return parts_of(n, k, generator(seed), classes)


def _together(parts: list[Any], folds: list[NDArray[np.int64]], n: int) -> Any:
    """Return the rows of all parts in the order of the samples."""
    if isinstance(parts[0], dict):
        return {name: _together([part[name] for part in parts], folds, n) for name in parts[0]}
    if isinstance(parts[0], list):
        return [_together([part[i] for part in parts], folds, n) for i in range(len(parts[0]))]
    whole: Float32 = np.empty((n, *parts[0].shape[1:]), np.float32)
    for part, rows in zip(parts, folds):
        whole[rows] = part
    return whole
