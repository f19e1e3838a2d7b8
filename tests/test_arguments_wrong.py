"""Whatever an argument is given: an object that works, or an error in the one pattern; never one from the inside."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import INITIALIZERS, LAYERS, LOSSES, METRICS, OPTIMIZERS, LayerCase, ObjectCase

from fastnn import constraints, layers, losses, optimizers, regularizers
from fastnn.layers.base import BASE_ARGUMENTS
from fastnn.optimizers.arguments import DEFAULTS
from fastnn.parameter import Parameter

WRONG: list[Any] = [
    object(), "nonsense", "", b"x", -1, 0, 3.5, True, None, float("nan"), float("inf"), -(10**30), 10**30, 2**31, 1e38, 1j, [], {},
    (1, 2, 3, 4, 5), ["a"], [None], [[1]], ("a", 1), set(), np.zeros((2, 2)), np.float64("nan"),
]  # fmt: skip
PATTERN = re.compile(r".+: expected .+, got .+", re.DOTALL)
# Sizes of what is made: a large one is right, and takes the memory that it says.
SIZES = {"units", "filters", "n", "num_thresholds", "num_classes", "input_dim", "output_dim", "size", "padding", "height", "width",
         "pool_size", "num_labels", "depth_multiplier", "kernel_size", "target_shape", "cropping", "strides"}  # fmt: skip
MANY = 10**4


def attempt(what: str, value: Any, use: Callable[[], Any]) -> Any:
    """Return what `use` returns; None if it raised in the one pattern."""
    try:
        with np.errstate(all="ignore"):
            return use()
    except (TypeError, ValueError) as error:
        if not PATTERN.match(str(error)):
            pytest.fail(f"{what}={value!r}: {type(error).__name__}: {error}")
    return None


def arguments_of(cls: type) -> list[str]:
    parameters = inspect.signature(cls).parameters.values()
    return [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]


def is_large(argument: str, value: Any) -> bool:
    return argument in SIZES and isinstance(value, (int, float)) and value > MANY


FIRST_OF_LAYERS = list({case.cls: case for case in reversed(LAYERS)}.values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", FIRST_OF_LAYERS, ids=lambda case: case.cls)
def test_layers(case: LayerCase) -> None:
    cls = getattr(layers, case.cls)
    weights = [f"{w}_{kind}" for w in cls.weight_names for kind in ("regularizer", "constraint")]
    x = case.batch()
    for argument in dict.fromkeys((*arguments_of(cls), *BASE_ARGUMENTS, *weights)):
        for value in WRONG:
            what = f"{case.cls}: {argument}"
            layer = attempt(what, value, lambda: cls(**{**case.arguments, argument: value}))  # noqa: B023
            if layer is None:
                continue
            attempt(what, value, layer.get_config)
            attempt(what, value, lambda: layer.compute_output_shape((None, *case.shape)))  # noqa: B023
            if not is_large(argument, value):
                y = attempt(what, value, lambda: layer(x, training=True))  # noqa: B023
                if y is not None:
                    attempt(what, value, lambda: layer.backward(np.ones_like(y)))  # noqa: B023


def use_optimizer(optimizer: Any) -> None:
    parameter = Parameter("layer/kernel", np.ones((3, 2), np.float32))
    optimizer.build([parameter])
    optimizer.step()


def plain(module: Any, *names: str) -> list[ObjectCase]:
    return [ObjectCase(module, name, {}) for name in names]


SCHEDULES = {
    "ExponentialDecay": {"decay_steps": 9, "decay_rate": 0.9}, "InverseTimeDecay": {"decay_steps": 9, "decay_rate": 0.9},
    "PolynomialDecay": {"decay_steps": 9}, "CosineDecay": {"decay_steps": 9}, "CosineDecayRestarts": {"first_decay_steps": 9},
}  # fmt: skip
OBJECTS: list[tuple[Any, Callable[[Any], Any]]] = [
    *((case, use_optimizer) for case in OPTIMIZERS),
    *((case, lambda made: made((3, 2))) for case in INITIALIZERS),
    *((case, lambda made: made.result()) for case in METRICS),
    *((ObjectCase(losses, case.cls, case.arguments), lambda made: made.step_key()) for case in LOSSES),
    *((case, lambda made: made(np.ones((3, 2), np.float32)))
      for case in (*plain(regularizers, "L1", "L2", "L1L2", "OrthogonalRegularizer"),
                   *plain(constraints, "MaxNorm", "NonNeg", "UnitNorm", "MinMaxNorm"))),
    *((ObjectCase(optimizers.schedules, name, {"initial_learning_rate": 0.1, **arguments}), lambda made: made(5))
      for name, arguments in SCHEDULES.items()),
]  # fmt: skip
FIRST_OF_OBJECTS = {(case.module.__name__, case.cls): (case, use) for case, use in reversed(OBJECTS)}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("case", "use"), FIRST_OF_OBJECTS.values(), ids=lambda v: getattr(v, "cls", ""))
def test_objects(case: ObjectCase, use: Callable[[Any], Any]) -> None:
    cls = getattr(case.module, case.cls)
    more = (*DEFAULTS, "name") if case.module is optimizers else ()
    for argument in dict.fromkeys((*arguments_of(cls), *more)):
        for value in WRONG:
            if is_large(argument, value) and value < 10**29:
                continue
            what = f"{case.cls}: {argument}"
            made = attempt(what, value, lambda: cls(**{**case.arguments, argument: value}))  # noqa: B023
            if made is not None:
                attempt(what, value, getattr(made, "get_config", dict))
                attempt(what, value, lambda: use(made))  # noqa: B023
