"""Trainings with different hyperparameters, and which of them are the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastnn import checks
from fastnn.training.callbacks import Monitor
from fastnn.training.history import History
from fastnn.tune.runs import built, own_callbacks, refuse_options, side_by_side, worker_count


@dataclass(frozen=True)
class Trial:
    """One training: its parameters, its score (the objective after the last epoch), its history."""

    parameters: dict[str, Any]
    score: float
    history: History


def check_trials(who: str, build: Any, objective: str, fit: Mapping[str, Any]) -> None:
    """Raise unless build is a function, and the logs of such a fit can have the objective."""
    refuse_options(who, fit, ("x", "y"))
    if not callable(build) or hasattr(build, "fit"):
        checks.fail_type(who, "build to be a function that returns a compiled model", checks.describe(build))
    if not isinstance(objective, str):
        checks.fail_type(who, "objective to be a name in the logs", checks.describe(objective))
    if objective.startswith("val_") and fit.get("validation_data") is None and not fit.get("validation_split"):
        fix = "give validation_split=0.2, or another objective"
        checks.fail(who, f"validation_split or validation_data for the objective {objective!r}", "neither", fix)


def train_all(
    who: str,
    build: Callable[..., Any],
    parameters: Sequence[dict[str, Any]],
    x: Any,
    y: Any,
    objective: str,
    mode: str,
    callbacks: Any,
    workers: int | None,
    verbose: int,
    fit: Mapping[str, Any],
) -> tuple[list[Trial], list[int], Any]:
    """Train a model with each of these parameters, side by side where there are threads for them.

    Returns:
        the trials in the order of the parameters, their numbers from the best to the worst (those whose score is NaN last), and the
        model of the best.
    """
    sign, count = (-1.0 if Monitor(objective, mode).rising else 1.0), len(parameters)
    found: dict[int, Trial] = {}
    best: list[Any] = [None, math.inf, count]  # model, signed score, number

    def models() -> Iterator[Any]:
        for given in parameters:
            yield built(who, build(**given), x)

    def work(i: int, model: Any) -> tuple[History, Any]:
        return model.fit(x, y, callbacks=own_callbacks(who, callbacks), **{**fit, "verbose": 0}), model

    def done(i: int, result: tuple[History, Any]) -> None:
        history, model = result
        values = history.history.get(objective)
        if not values:
            fix = "give validation_split or validation_data" if objective.startswith("val_") else "name one of these"
            checks.fail(who, f"objective {objective!r} in the logs", ", ".join(history.history) or "nothing", fix)
        found[i] = Trial(parameters[i], float(values[-1]), history)
        signed = math.inf if math.isnan(values[-1]) else sign * values[-1]
        if best[0] is None or (signed, i) < (best[1], best[2]):
            best[:] = model, signed, i
        if verbose:
            print(f"trial {i + 1}/{count}: {objective}: {found[i].score:.4f}, {parameters[i]}")

    side_by_side(models(), work, worker_count(who, workers, count), done)

    def rank(i: int) -> tuple[bool, float, int]:
        score = found[i].score
        return math.isnan(score), 0.0 if math.isnan(score) else sign * score, i

    return [found[i] for i in range(count)], sorted(found, key=rank), best[0]
