"""Arguments of optimizers and schedules, drawn at random for the comparison with Keras and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Arguments = dict[str, Any]
Draw = Callable[[np.random.Generator], Any]

OPTIMIZER_SEEDS = range(12)
BETAS: dict[str, list[Any]] = {"beta_1": [0.9, 0.5], "beta_2": [0.999, 0.9]}
EPSILONS = [1e-7, 1e-3]
# What of every class is drawn: name -> choices.
OPTIMIZERS: dict[str, dict[str, list[Any]]] = {
    "SGD": {"momentum": [0.0, 0.9, 0.5], "nesterov": [True, False]},
    "RMSprop": {"rho": [0.9, 0.99], "momentum": [0.0, 0.5], "centered": [True, False], "epsilon": EPSILONS},
    "Adam": {**BETAS, "amsgrad": [True, False], "epsilon": EPSILONS},
    "AdamW": {**BETAS, "amsgrad": [True, False], "epsilon": EPSILONS},
    "Adadelta": {"rho": [0.95, 0.8], "epsilon": EPSILONS},
    "Adagrad": {"initial_accumulator_value": [0.1, 0.0, 1.0], "epsilon": EPSILONS},
    "Adamax": {**BETAS, "epsilon": EPSILONS},
    "Adafactor": {
        "beta_2_decay": [-0.8, -0.5], "epsilon_1": [1e-30, 1e-4], "epsilon_2": [1e-3, 0.1], "clip_threshold": [1.0, 0.5],
        "relative_step": [True, False],
    },
    "Nadam": {**BETAS, "epsilon": EPSILONS},
    "Ftrl": {
        "learning_rate_power": [-0.5, -0.5, -0.6], "initial_accumulator_value": [0.1, 0.5],
        "l1_regularization_strength": [0.0, 0.1], "l2_regularization_strength": [0.0, 0.1],
        "l2_shrinkage_regularization_strength": [0.0, 0.1], "beta": [0.0, 0.1],
    },
    "Lion": {"beta_1": [0.9, 0.5], "beta_2": [0.99, 0.9]},
    "Lamb": {**BETAS, "epsilon": EPSILONS},
    "Muon": {
        "momentum": [0.95, 0.5], "nesterov": [True, False], "ns_steps": [5, 2], "rms_rate": [0.2, None], "epsilon": EPSILONS,
        "adam_lr_ratio": [1.0, 0.5], "adam_weight_decay": [0.004, None], "exclude_layers": [[], ["tall"]],
        "exclude_embeddings": [True, False], "adam_beta_1": [0.9, 0.5], "adam_beta_2": [0.999, 0.9],
        "muon_a": [3.4445, 2.0], "muon_b": [-4.775, -1.5], "muon_c": [2.0315, 0.5],
    },
}  # fmt: skip
COMMON: dict[str, list[Any]] = {
    "learning_rate": [0.01, 0.1, "ExponentialDecay", "CosineDecay"],
    "weight_decay": [None, 0.1, 0.03],
    "clipping": [{}, {"clipnorm": 0.5}, {"clipvalue": 0.3}, {"global_clipnorm": 0.7}],
    "ema": [{}, {"use_ema": True, "ema_momentum": 0.8}, {"use_ema": True, "ema_overwrite_frequency": 7}],
    "loss_scale_factor": [None, None, 3.0],
    "gradient_accumulation_steps": [None, None, 3],
    "excluded": [{}, {"var_names": ["bias", "all$"]}, {"places": [0, 2]}],
}
RATES: dict[str, Arguments] = {
    "ExponentialDecay": {"initial_learning_rate": 0.05, "decay_steps": 9, "decay_rate": 0.7},
    # Never 0, where Keras's Ftrl makes NaN.
    "CosineDecay": {
        "initial_learning_rate": 0.01,
        "decay_steps": 30,
        "alpha": 0.1,
        "warmup_target": 0.08,
        "warmup_steps": 8,
    },
}


def optimizer_arguments(cls: str, seed: int) -> Arguments:
    """Return random arguments of an optimizer, and what is "excluded" from its weight decay.

    A learning rate that is the name of a schedule stands for that of RATES.
    """

    def draw(name: str, options: list[Any]) -> Any:
        order = np.random.default_rng([*cls.encode(), *name.encode()]).permutation(len(OPTIMIZER_SEEDS))
        return options[int(order[seed]) % len(options)]  # each as often as the others

    result = {name: draw(name, options) for name, options in {**OPTIMIZERS[cls], **COMMON}.items()}
    result |= result.pop("clipping")
    # Averages are taken per update here, per call in Keras: the same without accumulation.
    averages = result.pop("ema")
    result |= averages if result["gradient_accumulation_steps"] is None else {}
    if cls == "AdamW":
        result["weight_decay"] = draw("weight_decay", [0.004, 0.1])
    if not result.get("momentum", True):
        result.pop("nesterov", None)
    if cls == "Muon" and result["muon_a"] != 3.4445:  # the coefficients go together
        result |= {"muon_b": -1.5, "muon_c": 0.5}
    elif cls == "Muon":
        result |= {"muon_b": -4.775, "muon_c": 2.0315}
    return result


# ---------------------------------------------------------------- schedules

SCHEDULE_SEEDS = range(12)


def uniform(low: float, high: float) -> Draw:
    return lambda rng: round(float(rng.uniform(low, high)), 4)


def whole(low: int, high: int) -> Draw:
    return lambda rng: int(rng.integers(low, high + 1))


def one_of(*values: Any) -> Draw:
    return lambda rng: values[int(rng.integers(len(values)))]


RATE, SPAN = uniform(0.001, 0.5), whole(3, 120)
SCHEDULES: dict[str, dict[str, Draw]] = {
    "ExponentialDecay": {
        "initial_learning_rate": RATE, "decay_steps": SPAN, "decay_rate": uniform(0.3, 1.1), "staircase": one_of(False, True),
    },
    "InverseTimeDecay": {
        "initial_learning_rate": RATE, "decay_steps": SPAN, "decay_rate": uniform(0.1, 3.0), "staircase": one_of(False, True),
    },
    "PolynomialDecay": {
        "initial_learning_rate": RATE, "decay_steps": SPAN, "end_learning_rate": uniform(0.0, 0.01), "power": uniform(0.3, 3.0),
        "cycle": one_of(False, True),
    },
    "CosineDecay": {
        "initial_learning_rate": RATE, "decay_steps": SPAN, "alpha": uniform(0.0, 0.5),
        "warmup_target": one_of(None, 0.6, 0.05), "warmup_steps": whole(0, 50),
    },
    "CosineDecayRestarts": {
        "initial_learning_rate": RATE, "first_decay_steps": SPAN, "t_mul": one_of(1.0, 1.3, 2.0), "m_mul": uniform(0.5, 1.0),
        "alpha": uniform(0.0, 0.5),
    },
    "PiecewiseConstantDecay": {
        "boundaries": lambda rng: sorted(int(v) for v in rng.choice(150, 3, replace=False)),
        "values": lambda rng: [round(float(v), 4) for v in rng.uniform(0.001, 0.5, 4)],
    },
    # Not in Keras: against PyTorch's.
    "OneCycle": {
        "max_learning_rate": RATE, "total_steps": whole(30, 201), "pct_start": uniform(0.1, 0.8),
        "anneal_strategy": one_of("cos", "linear"), "div_factor": uniform(2, 50), "final_div_factor": uniform(10, 1e4),
    },
    "CyclicalLearningRate": {
        "initial_learning_rate": uniform(0.001, 0.1), "maximal_learning_rate": uniform(0.2, 1.0), "step_size": whole(2, 40),
        "mode": one_of("triangular", "triangular2", "exp_range"), "gamma": uniform(0.97, 1.0),
    },
    "StepDecay": {"initial_learning_rate": RATE, "every": SPAN, "factor": uniform(0.1, 0.9)},
    "WarmUp": {"schedule": RATE, "warmup_steps": whole(1, 60), "start_learning_rate": uniform(0.0001, 0.001)},
}  # fmt: skip


def schedule_arguments(cls: str, seed: int) -> Arguments:
    """Return random arguments of a schedule."""
    rng = np.random.default_rng([seed, *cls.encode()])
    return {name: draw(rng) for name, draw in SCHEDULES[cls].items()}
