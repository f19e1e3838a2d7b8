"""The arguments that all optimizers have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np

from fastnn import checks

CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")
_told_of_jit = False


class CommonArguments(TypedDict, total=False):
    """What `Optimizer` takes besides learning_rate and weight_decay."""

    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    loss_scale_factor: float | None
    gradient_accumulation_steps: int | None
    name: str | None
    jit_compile: Any


DEFAULTS: dict[str, Any] = {
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}


def checked(who: str, given: Mapping[str, Any], hyper_names: tuple[str, ...]) -> dict[str, Any]:
    """Return all common arguments but the name, those that are not given by default.

    Raises:
        TypeError: for unknown ones; ValueError for values out of range, and for more than one kind of clipping.
    """
    valid = ("learning_rate", "weight_decay", "name", "jit_compile", *DEFAULTS, *hyper_names)
    checks.unknown_arguments(who, [name for name in given if name not in valid or name in hyper_names], valid)
    if given.get("jit_compile") is not None:
        _tell_of_jit(who)
    result = DEFAULTS | {name: value for name, value in given.items() if name in DEFAULTS}
    for name in (*CLIPPING, "loss_scale_factor"):
        if result[name] is not None:
            result[name] = checks.number(who, name, result[name], above=0.0)
    clipping = [name for name in CLIPPING if result[name] is not None]
    if len(clipping) > 1:
        checks.fail(who, f"one of {', '.join(CLIPPING)}", " and ".join(clipping), "choose how to clip gradients")
    result["use_ema"] = checks.boolean(who, "use_ema", result["use_ema"])
    result["ema_momentum"] = checks.number(who, "ema_momentum", result["ema_momentum"], 0.0, 1.0)
    for name, least in (("ema_overwrite_frequency", 1), ("gradient_accumulation_steps", 2)):
        if result[name] is not None:
            result[name] = checks.integer(who, name, result[name], least, np.iinfo(np.int32).max)
    return result


def _tell_of_jit(who: str) -> None:
    """Say once that an argument of older Keras versions has no meaning."""
    global _told_of_jit
    if not _told_of_jit:
        _told_of_jit = True
        checks.warn(f"{who}: jit_compile has no meaning here and is ignored: steps are compiled already")
