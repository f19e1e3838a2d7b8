"""Every optimizer against Keras in float64, step by step, and some against PyTorch and Optax; L-BFGS; the numbers of schedules."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from cases_optim import (
    OPTIMIZER_SEEDS,
    OPTIMIZERS,
    RATES,
    SCHEDULE_SEEDS,
    SCHEDULES,
    optimizer_arguments,
    schedule_arguments,
)
from harness import BACKEND, LONG, QUICK, SHORT, keras, numpy_of, tensor
from numpy.typing import NDArray

from fastnn import optimizers
from fastnn.optimizers import schedules
from fastnn.parameter import Parameter

Array = NDArray[Any]
STEPS = 50
NAMES = {"kernel": (7, 5), "bias": (5,), "filters": (3, 4, 6), "embedding_kernel": (13, 1), "tall": (40, 3)}


def data(seed: int) -> tuple[dict[str, Array], list[list[Array]]]:
    """Return weights, and gradients of many sizes for every step; all are float32 numbers."""
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in NAMES.items()}
    return weights, [
        [(rng.normal(size=shape) * 10.0 ** rng.integers(-2, 1)).astype(np.float32) for shape in NAMES.values()]
        for _ in range(STEPS)
    ]


def made(module: Any, cls: str, arguments: dict[str, Any], parameters: list[Any]) -> Any:
    """Return an optimizer of ours or of Keras's, built."""
    arguments = dict(arguments)
    rate, excluded = arguments["learning_rate"], arguments.pop("excluded", {})
    if isinstance(rate, str):
        arguments["learning_rate"] = getattr(module.schedules, rate)(**RATES[rate])
    optimizer = getattr(module, cls)(**arguments)
    if "places" in excluded:
        optimizer.exclude_from_weight_decay(var_list=[parameters[i] for i in excluded["places"]])
    elif excluded:
        optimizer.exclude_from_weight_decay(**excluded)
    optimizer.build(parameters)
    return optimizer


def compare(
    cls: str, arguments: dict[str, Any], seed: int, theirs: Iterable[list[Array]], tolerance: float = SHORT
) -> tuple[Any, list[Parameter], list[float]]:
    """Check the weights after each of 50 steps against the peer's, relative to the largest of an array on the way.

    Where weights shrink, roundings of the larger ones remain.
    """
    weights, gradients = data(seed)
    parameters = [Parameter(n, w) for n, w in weights.items()]
    optimizer = made(optimizers, cls, arguments, parameters)
    sizes = [np.abs(w).max() for w in weights.values()]
    for step, (g, expected) in enumerate(zip(gradients, theirs, strict=True)):
        optimizer.apply(g, parameters)
        for i, (p, other) in enumerate(zip(parameters, expected, strict=True)):
            sizes[i] = max(sizes[i], np.abs(other).max())
            error = np.abs(p.value - other).max() / sizes[i]
            assert error <= tolerance, f"{cls}: {p.name} off by {error:.3g} after step {step}, {arguments}"
    return optimizer, parameters, sizes


def keras_steps(theirs: Any, variables: list[Any], gradients: list[list[Array]]) -> Iterable[list[Array]]:
    """Yield the weights after each step of an optimizer of Keras's, and leave the last in the variables."""
    if BACKEND != "jax":
        for g in gradients:
            theirs.apply([tensor(one) for one in g], variables)
            yield [numpy_of(v) for v in variables]
        return
    step = importlib.import_module("jax").jit(
        theirs.stateless_apply
    )  # each condition is compiled at every step without
    values, state = [v.value for v in variables], [v.value for v in theirs.variables]
    for g in gradients:
        values, state = step(state, [tensor(one) for one in g], values)
        yield [np.asarray(v) for v in values]
    for variable, value in zip([*variables, *theirs.variables], [*values, *state], strict=True):
        variable.assign(value)


def compare_with_keras(cls: str, arguments: dict[str, Any], seed: int, theirs_arguments: dict[str, Any]) -> None:
    """Check 50 steps, and the averages where there are some."""
    weights, gradients = data(seed)
    variables = [keras().Variable(w.astype(np.float64), dtype="float64", name=n) for n, w in weights.items()]
    theirs = made(keras().optimizers, cls, theirs_arguments, variables)

    # Any power is a product of roundings in Ftrl, and a centered RMSprop divides by the root of a difference.
    rough = arguments.get("learning_rate_power", -0.5) != -0.5 or arguments.get("centered")
    ours, parameters, sizes = compare(
        cls, arguments, seed, keras_steps(theirs, variables, gradients), (3 if rough else 1) * SHORT
    )
    ours.finalize_variable_values(parameters)
    theirs.finalize_variable_values(variables)
    for p, v, size in zip(parameters, variables, sizes):
        assert np.abs(p.value - numpy_of(v)).max() <= 3 * SHORT * size, f"average of {p.name}"


@pytest.mark.parametrize("seed", OPTIMIZER_SEEDS[: 4 if QUICK else None])
@pytest.mark.parametrize("cls", OPTIMIZERS)
def test_fifty_steps_of_keras(cls: str, seed: int) -> None:
    arguments = optimizer_arguments(cls, seed)
    compare_with_keras(cls, arguments, seed, arguments)


SAME_AS_TORCH: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "SGD": ("SGD", {}, {}),
    "SGD momentum": ("SGD", {"momentum": 0.9}, {"momentum": 0.9}),
    "SGD nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "nesterov": True}),
    "AdamW": ("AdamW", {"weight_decay": 0.1, "epsilon": 1e-20}, {"weight_decay": 0.1, "eps": 1e-20}),
    "Adamax": ("Adamax", {"epsilon": 1e-20}, {"eps": 1e-20}),
    "Adadelta": ("Adadelta", {"rho": 0.9, "epsilon": 1e-6}, {"rho": 0.9, "eps": 1e-6}),
    "Adagrad": ("Adagrad", {"initial_accumulator_value": 0.0, "epsilon": 1e-20}, {"eps": 1e-10}),
    "RMSprop": ("RMSprop", {"rho": 0.99, "epsilon": 1e-20}, {"alpha": 0.99, "eps": 1e-10}),
}


@pytest.mark.parametrize("name", SAME_AS_TORCH)
def test_fifty_steps_of_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    cls, ours, theirs = SAME_AS_TORCH[name]
    weights, gradients = data(3)
    tensors = [torch.tensor(w.astype(np.float64), requires_grad=True) for w in weights.values()]
    optimizer = getattr(torch.optim, cls)(tensors, lr=0.01, **theirs)

    def steps() -> Iterable[list[Array]]:
        for step in gradients:
            for t, g in zip(tensors, step, strict=True):
                t.grad = torch.tensor(g.astype(np.float64))
            optimizer.step()
            yield [t.detach().numpy() for t in tensors]

    compare(cls, {"learning_rate": 0.01, **ours}, 3, steps())


@pytest.mark.parametrize(("cls", "factory"), [("SGD", "sgd"), ("Lion", "lion"), ("Adamax", "adamax")])
def test_fifty_steps_of_optax(cls: str, factory: str) -> None:
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    weights, gradients = data(4)
    values = [jax.numpy.asarray(w) for w in weights.values()]
    arguments: dict[str, Any] = {"Lion": {"weight_decay": 0.0}, "Adamax": {"eps": 1e-7}}.get(cls, {})
    rule = getattr(optax, factory)(0.01, **arguments)

    def steps() -> Iterable[list[Array]]:
        now, state = values, rule.init(values)
        for step in gradients:
            changes, state = rule.update([jax.numpy.asarray(g) for g in step], state, now)
            now = optax.apply_updates(now, changes)
            yield [np.asarray(v) for v in now]

    # Optax computes in float32 here, so both have roundings.
    compare(cls, {"learning_rate": 0.01}, 4, steps(), 3 * SHORT)


# ---------------------------------------------------------------- L-BFGS


def bowl(n: int, seed: int) -> tuple[Callable[[Any], tuple[Any, Any]], Array]:
    """Return a function with its gradient, convex and not quadratic, and where to begin."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(2 * n, n)).astype(np.float32).astype(np.float64)
    b = rng.normal(size=2 * n)

    def value(x: Any) -> tuple[Any, Any]:
        r = a @ np.asarray(x, np.float64) - b
        return float(np.sqrt(1 + r * r).sum()), a.T @ (r / np.sqrt(1 + r * r))

    return value, rng.normal(size=n).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("history", [3, 10])
def test_lbfgs_of_torch_and_scipy(seed: int, history: int) -> None:
    """The first steps where the first try is taken by both, and the minimum that both find."""
    torch, optimize = pytest.importorskip("torch"), pytest.importorskip("scipy.optimize")
    value, start = bowl(8, seed)
    p = Parameter("x", start)
    # So wide conditions that the length that is tried first is taken: the path is then that of a fixed length.
    ours = optimizers.LBFGS(history=history, learning_rate=0.2, armijo=1e-10, curvature=1 - 1e-10)
    ours.build([p])

    def evaluate() -> float:
        loss, slope = value(p.value)
        p.gradient[...] = slope
        return float(loss)

    x = torch.tensor(start.astype(np.float64), requires_grad=True)
    theirs = torch.optim.LBFGS([x], lr=0.2, max_iter=1, history_size=history)

    def closure() -> Any:
        loss, slope = value(x.detach().numpy())
        x.grad = torch.tensor(slope)
        return torch.tensor(loss)

    for step in range(12):
        ours.minimize(evaluate)
        theirs.step(closure)
        error = np.abs(p.value - x.detach().numpy()).max() / np.abs(start).max()
        # A curvature is a ratio of small differences.
        assert error <= (LONG if step else SHORT), f"step {step}: {error}"
    lowest = optimize.minimize(value, start, jac=True, method="L-BFGS-B", tol=1e-12)
    search = optimizers.LBFGS(history=history)
    search.build([p])
    for _ in range(40):
        search.minimize(evaluate)
    assert evaluate() == pytest.approx(lowest.fun, rel=SHORT)
    np.testing.assert_allclose(p.value, lowest.x, atol=1e-3)  # the root of a rounding of the value


# ---------------------------------------------------------------- schedules

OWN = ("OneCycle", "CyclicalLearningRate", "StepDecay", "WarmUp")


@pytest.mark.parametrize("seed", SCHEDULE_SEEDS)
@pytest.mark.parametrize("cls", [cls for cls in SCHEDULES if cls not in OWN])
def test_schedule_of_keras(cls: str, seed: int) -> None:
    arguments = schedule_arguments(cls, seed)
    ours = getattr(schedules, cls)(**arguments)
    theirs = getattr(keras().optimizers.schedules, cls)(**arguments)
    # Conditions are compiled at every step without; a polynomial's end is off by a rounding with, and the root of that is NaN.
    compiled = BACKEND == "jax" and cls != "PolynomialDecay"
    rate = importlib.import_module("jax").jit(theirs) if compiled else theirs
    expected = np.array([float(rate(step)) for step in range(201)])
    # Keras computes a number of restarts, and where that begins, in float32.
    np.testing.assert_allclose(ours.values(0, 201), expected, rtol=SHORT, atol=SHORT * expected.max())
    assert set(ours.get_config()) == set(theirs.get_config())


def scheduler(torch: Any, optimizer: Any, cls: str, a: dict[str, Any]) -> Any:
    """Return PyTorch's counterpart of a schedule that Keras does not have."""
    kinds = torch.optim.lr_scheduler
    if cls == "OneCycle":
        names = ("total_steps", "pct_start", "anneal_strategy", "div_factor", "final_div_factor")
        return kinds.OneCycleLR(optimizer, a["max_learning_rate"], **{name: a[name] for name in names})
    if cls == "CyclicalLearningRate":
        low, high = a["initial_learning_rate"], a["maximal_learning_rate"]
        return kinds.CyclicLR(
            optimizer, low, high, a["step_size"], mode=a["mode"], gamma=a["gamma"], cycle_momentum=False
        )
    if cls == "StepDecay":
        return kinds.StepLR(optimizer, a["every"], a["factor"])
    share = a["start_learning_rate"] / a["schedule"]
    return kinds.LinearLR(optimizer, share, 1.0, a["warmup_steps"])


@pytest.mark.parametrize("seed", SCHEDULE_SEEDS)
@pytest.mark.parametrize("cls", OWN)
def test_schedule_of_torch(cls: str, seed: int) -> None:
    torch = pytest.importorskip("torch")
    arguments = schedule_arguments(cls, seed)
    first = arguments.get("schedule", arguments.get("initial_learning_rate", 1.0))
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=first)
    theirs, expected = scheduler(torch, optimizer, cls, arguments), []
    count = min(201, arguments.get("total_steps", 201))
    for step in range(count):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step + 1 < count:
            theirs.step()
    np.testing.assert_allclose(getattr(schedules, cls)(**arguments).values(0, count), expected, rtol=1e-9)


def test_signatures_of_keras() -> None:
    """Every argument of Keras is taken under its name, with its default."""
    for cls in OPTIMIZERS:
        theirs, ours = (getattr(module, cls)().get_config() for module in (keras().optimizers, optimizers))
        for name, value in theirs.items():
            if name != "name":
                default = pytest.approx(value, rel=1e-6) if isinstance(value, float) else value
                assert ours[name] == default, f"{cls}({name})"
