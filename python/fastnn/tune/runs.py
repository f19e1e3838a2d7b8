"""Trainings side by side: several models, each in a thread of its own, with the numbers they would have one after the other."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, config
from fastnn.training.callback import Callback

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")


def side_by_side(
    models: Iterator[Any], work: Callable[[int, Any], T], workers: int, done: Callable[[int, T], None]
) -> None:
    """Do work(i, model) for every model, up to `workers` at a time, and done(i, result) in the calling thread.

    Models are made one after the other in the calling thread, so that what they draw at random does not depend on the workers. The
    steps of a model run without the interpreter's lock, and give the same bits on any number of threads. After an error or Ctrl-C
    the trainings that have begun end at their next step.
    """
    from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait  # here: importing fastnn does without it

    running: dict[Future[T], tuple[int, Any]] = {}
    known: weakref.WeakSet[Any] = weakref.WeakSet()

    def collect() -> None:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            i, _ = running.pop(future)
            done(i, future.result())

    with ThreadPoolExecutor(workers, thread_name_prefix="fastnn") as pool:
        try:
            for i, model in enumerate(models):
                if model in known:
                    fix = "make the model inside of the function"
                    checks.fail("tune", "a new model for every training", f"'{model.name}' again", fix)
                known.add(model)
                running[pool.submit(work, i, model)] = i, model
                while len(running) >= workers:
                    collect()
            while running:
                collect()
        except BaseException:
            for future, (_, model) in running.items():
                if not future.cancel():
                    model.stop_training = True
            raise


def worker_count(who: str, workers: Any, jobs: int) -> int:
    """Return how many trainings run at a time: None is one per thread of fastnn."""
    count = config.num_threads() if workers is None else checks.integer(who, "workers", workers, 1)
    return max(1, min(count, jobs))


def built(who: str, model: Any, x: Any) -> Any:
    """Return a compiled model with parameters for these samples."""
    if not all(hasattr(model, name) for name in ("fit", "evaluate", "built", "optimizer")):
        checks.fail_type(who, "a function that returns a compiled model", checks.describe(model))
    if model.optimizer is None or not model.scores:
        checks.fail(who, "a compiled model with a loss", f"'{model.name}'", "call model.compile(...) in the function")
    if not model.built:
        model.build_for_some([(None, *x.shape[1:])])
    return model


def arrays_of(who: str, argument: str, value: Any) -> Any:
    """Return samples as arrays, within lists and dicts too."""
    if isinstance(value, Mapping):
        return {key: arrays_of(who, f"{argument}['{key}']", part) for key, part in value.items()}
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], np.ndarray):
        return [arrays_of(who, f"{argument}[{i}]", part) for i, part in enumerate(value)]
    array = checks.array(who, argument, value)
    if array.ndim == 0:
        checks.fail(who, f"{argument} with an axis of samples", "a number")
    return array


def rows_of(value: Any, rows: NDArray[np.int64]) -> Any:
    """Return some rows of arrays."""
    if isinstance(value, Mapping):
        return {key: rows_of(part, rows) for key, part in value.items()}
    return [rows_of(part, rows) for part in value] if isinstance(value, list) else value[rows]


def count_of(who: str, x: Any, **others: Any) -> int:
    """Return the number of samples, the same in all arrays."""
    lengths: dict[str, int] = {}

    def note(name: str, value: Any) -> None:
        parts = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
        if parts is None:
            lengths[name] = len(value)
        for key, part in parts or ():
            note(f"{name}[{key!r}]", part)

    for name, value in {"x": x, **others}.items():
        if value is not None:
            note(name, value)
    if len(set(lengths.values())) != 1:
        checks.fail(who, "arrays of the same length", ", ".join(f"{k} of {n}" for k, n in lengths.items()))
    return next(iter(lengths.values()))


def own_callbacks(who: str, callbacks: Any) -> list[Callback]:
    """Return callbacks for one of several trainings: what a function makes, or copies of those that are given."""
    if callable(callbacks) and not isinstance(callbacks, Callback):
        callbacks = callbacks()
    given = [callbacks] if isinstance(callbacks, Callback) else list(callbacks or [])
    if not all(isinstance(c, Callback) for c in given):
        checks.fail_type(who, "callbacks, or a function that makes them", checks.describe(callbacks))
    return [copy.deepcopy(c) for c in given]


def refuse_options(who: str, options: Mapping[str, Any], refused: Sequence[str]) -> None:
    """Raise for arguments of fit that have no place here."""
    for name in refused:
        if name in options:
            checks.fail_type(who, f"no argument {name} of fit", "one", "it is chosen for every training")
