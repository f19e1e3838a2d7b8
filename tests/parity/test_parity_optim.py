"""Fifty steps of every optimizer against Keras in float64, and of some against PyTorch and Optax; values of the schedules."""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastnn import optimizers
from fastnn.optimizers import schedules
from fastnn.parameter import Parameter

pytestmark = pytest.mark.filterwarnings("default")  # other packages warn about each other

Array = NDArray[Any]
STEPS = 50
NAMES = {"kernel": (7, 5), "bias": (5,), "filters": (3, 4, 6), "embedding_kernel": (13, 1), "tall": (40, 3)}
CLASSES = (
    "SGD", "RMSprop", "Adam", "AdamW", "Adadelta", "Adagrad", "Adamax", "Adafactor", "Nadam", "Ftrl", "Lion", "Lamb", "Muon",
)  # fmt: skip
# What of every class is drawn at random: name -> choices.
CHOICES: dict[str, dict[str, list[Any]]] = {
    "SGD": {"momentum": [0.0, 0.9], "nesterov": [True, False]},
    "RMSprop": {"rho": [0.9, 0.99], "momentum": [0.0, 0.5], "centered": [True, False], "epsilon": [1e-7, 1e-3]},
    "Adam": {"beta_1": [0.9, 0.5], "beta_2": [0.999, 0.9], "amsgrad": [True, False], "epsilon": [1e-7, 1e-3]},
    "AdamW": {"beta_1": [0.9, 0.5], "beta_2": [0.999, 0.9], "amsgrad": [True, False], "weight_decay": [0.004, 0.1]},
    "Adadelta": {"rho": [0.95, 0.8], "epsilon": [1e-7, 1e-3]},
    "Adagrad": {"initial_accumulator_value": [0.1, 0.0, 1.0], "epsilon": [1e-7, 1e-3]},
    "Adamax": {"beta_1": [0.9, 0.5], "beta_2": [0.999, 0.9], "epsilon": [1e-7, 1e-3]},
    "Adafactor": {"beta_2_decay": [-0.8, -0.5], "epsilon_2": [1e-3, 0.1], "clip_threshold": [1.0, 0.5]},
    "Nadam": {"beta_1": [0.9, 0.5], "beta_2": [0.999, 0.9], "epsilon": [1e-7, 1e-3]},
    "Ftrl": {
        "learning_rate_power": [-0.5, -0.5, -0.6], "l1_regularization_strength": [0.0, 0.1],
        "l2_regularization_strength": [0.0, 0.1], "l2_shrinkage_regularization_strength": [0.0, 0.1], "beta": [0.0, 0.1],
    },
    "Lion": {"beta_1": [0.9, 0.5], "beta_2": [0.99, 0.9]},
    "Lamb": {"beta_1": [0.9, 0.5], "beta_2": [0.999, 0.9], "epsilon": [1e-7, 1e-3]},
    "Muon": {
        "momentum": [0.95, 0.5], "nesterov": [True, False], "ns_steps": [5, 2], "rms_rate": [0.2, None],
        "adam_lr_ratio": [1.0, 0.5], "adam_weight_decay": [0.004, None], "exclude_layers": [[], ["tall"]],
    },
}  # fmt: skip
COMMON: dict[str, list[Any]] = {
    "weight_decay": [None, None, 0.1],
    "clipping": [{}, {}, {"clipnorm": 0.5}, {"clipvalue": 0.3}, {"global_clipnorm": 0.7}],
    "ema": [{}, {}, {"use_ema": True, "ema_momentum": 0.8}, {"use_ema": True, "ema_overwrite_frequency": 7}],
    "loss_scale_factor": [None, None, 3.0],
    "gradient_accumulation_steps": [None, None, 3],
}


@pytest.fixture(scope="module")
def keras() -> Any:
    """Keras with float64 variables: its own float32 roundings are as large as what is looked for."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    module = pytest.importorskip("keras")
    before = module.config.floatx()
    if module.config.backend() == "jax":
        importlib.import_module("jax").config.update("jax_enable_x64", True)
    module.config.set_floatx("float64")
    yield module
    module.config.set_floatx(before)


def chosen(cls: str, seed: int) -> dict[str, Any]:
    """Return random arguments."""
    rng = np.random.default_rng([seed, *cls.encode()])

    def draw(options: list[Any]) -> Any:
        return options[int(rng.integers(len(options)))]

    result = {name: draw(options) for name, options in {**CHOICES[cls], "learning_rate": [0.01, 0.1]}.items()}
    common = {name: draw(options) for name, options in COMMON.items()}
    result |= common.pop("clipping")
    # Averages are taken per update here, per call in Keras: the same without accumulation.
    averages = common.pop("ema")
    result |= averages if common["gradient_accumulation_steps"] is None else {}
    if cls == "AdamW":
        del common["weight_decay"]
    if not result.get("momentum", True):
        result.pop("nesterov", None)
    return result | common


def data(seed: int) -> tuple[dict[str, Array], list[list[Array]]]:
    """Return weights, and gradients of many sizes for every step; all are float32 numbers."""
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in NAMES.items()}
    return weights, [
        [(rng.normal(size=shape) * 10.0 ** rng.integers(-2, 1)).astype(np.float32) for shape in NAMES.values()]
        for _ in range(STEPS)
    ]


def run(cls: str, arguments: dict[str, Any], seed: int) -> list[Array]:
    weights, gradients = data(seed)
    parameters, optimizer = [Parameter(n, w) for n, w in weights.items()], getattr(optimizers, cls)(**arguments)
    optimizer.build(parameters)
    for g in gradients:
        optimizer.apply(g, parameters)
    return [p.numpy() for p in parameters]


def assert_near(got: list[Array], expected: list[Array], seed: int, tolerance: float = 1e-6) -> None:
    """Check against the size of the weights on the way: where they shrink, roundings of the larger ones remain."""
    for one, other, start in zip(got, expected, data(seed)[0].values(), strict=True):
        size = max(np.abs(other).max(), np.abs(start).max())
        assert np.abs(one - other).max() / size <= tolerance


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("cls", CLASSES)
def test_fifty_steps_of_keras(keras: Any, cls: str, seed: int) -> None:
    arguments = chosen(cls, seed)
    print(cls, arguments)
    weights, gradients = data(seed)
    variables = [keras.Variable(w.astype(np.float64), dtype="float64", name=n) for n, w in weights.items()]
    theirs = getattr(keras.optimizers, cls)(**arguments)
    theirs.build(variables)
    for g in gradients:
        theirs.apply([keras.ops.convert_to_tensor(one.astype(np.float64)) for one in g], variables)
    # A sum that comes out near 0 decides by its sign in Lion, and any power is a product of roundings in Ftrl.
    tolerance = 3e-6 if arguments.get("learning_rate_power", -0.5) != -0.5 else 1e-6
    assert_near(run(cls, arguments, seed), [keras.ops.convert_to_numpy(v) for v in variables], seed, tolerance)


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
    for step in gradients:
        for tensor, g in zip(tensors, step, strict=True):
            tensor.grad = torch.tensor(g.astype(np.float64))
        optimizer.step()
    assert_near(run(cls, {"learning_rate": 0.01, **ours}, 3), [t.detach().numpy() for t in tensors], 3)


@pytest.mark.parametrize(("cls", "factory"), [("SGD", "sgd"), ("Lion", "lion"), ("Adamax", "adamax")])
def test_fifty_steps_of_optax(cls: str, factory: str) -> None:
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    weights, gradients = data(4)
    values = [jax.numpy.asarray(w) for w in weights.values()]
    arguments: dict[str, Any] = {"Lion": {"weight_decay": 0.0}, "Adamax": {"eps": 1e-7}}.get(cls, {})
    rule = getattr(optax, factory)(0.01, **arguments)
    state = rule.init(values)
    for step in gradients:
        changes, state = rule.update([jax.numpy.asarray(g) for g in step], state, values)
        values = optax.apply_updates(values, changes)
    # Optax computes in float32 here, so both have roundings.
    assert_near(run(cls, {"learning_rate": 0.01}, 4), [np.asarray(v) for v in values], 4, 3e-6)


KERAS_SCHEDULES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("ExponentialDecay", (0.1, 30, 0.7), {}),
    ("ExponentialDecay", (0.1, 30, 0.7), {"staircase": True}),
    ("PiecewiseConstantDecay", ([10, 50, 51], [0.1, 0.05, 0.02, 0.01]), {}),
    ("PolynomialDecay", (0.1, 40, 0.01), {"power": 1.5}),
    ("PolynomialDecay", (0.1, 40, 0.01), {"power": 0.5, "cycle": True}),
    ("InverseTimeDecay", (0.1, 30, 0.7), {}),
    ("InverseTimeDecay", (0.1, 30, 0.7), {"staircase": True}),
    ("CosineDecay", (0.1, 60), {"alpha": 0.1}),
    ("CosineDecay", (0.01, 60), {"warmup_target": 0.2, "warmup_steps": 25}),
    ("CosineDecayRestarts", (0.1, 13), {"t_mul": 1.7, "m_mul": 0.8, "alpha": 0.05}),
    ("CosineDecayRestarts", (0.1, 13), {"t_mul": 1.0}),
]


@pytest.mark.parametrize("case", KERAS_SCHEDULES, ids=lambda case: f"{case[0]} {case[2]}")
def test_values_of_keras_schedules(keras: Any, case: tuple[str, tuple[Any, ...], dict[str, Any]]) -> None:
    cls, positional, named = case
    ours = getattr(schedules, cls)(*positional, **named)
    theirs = getattr(keras.optimizers.schedules, cls)(*positional, **named)
    expected = [float(theirs(step)) for step in range(150)]
    np.testing.assert_allclose(ours.values(0, 150), expected, rtol=1e-6, atol=1e-7)
    assert set(ours.get_config()) == set(theirs.get_config())


def test_one_cycle_is_that_of_torch() -> None:
    torch = pytest.importorskip("torch")
    for strategy in ("cos", "linear"):
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        theirs = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.4, 50, pct_start=0.3, anneal_strategy=strategy, div_factor=10, final_div_factor=100
        )
        expected = []
        for _ in range(50):
            expected.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if len(expected) < 50:
                theirs.step()
        ours = schedules.OneCycle(0.4, 50, 0.3, strategy, div_factor=10, final_div_factor=100)
        np.testing.assert_allclose(ours.values(0, 50), expected, rtol=1e-9)


def test_signatures_of_keras(keras: Any) -> None:
    """Every argument of Keras is taken under its name, with its default."""
    for cls in CLASSES:
        theirs, ours = (getattr(module, cls)().get_config() for module in (keras.optimizers, optimizers))
        for name, value in theirs.items():
            if name != "name":
                default = pytest.approx(value, rel=1e-6) if isinstance(value, float) else value
                assert ours[name] == default, f"{cls}({name})"
