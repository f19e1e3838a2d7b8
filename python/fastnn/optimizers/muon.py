"""Muon: matrices move by the nearest orthogonal matrix to their momentum."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import numpy as np

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.optimizers.arguments import CommonArguments
from fastnn.optimizers.base import Optimizer
from fastnn.optimizers.rate import LearningRate
from fastnn.parameter import Parameter


class Muon(Optimizer):
    """Momentum whose direction is made nearly orthogonal, for matrices; AdamW for all other parameters.

    m = momentum m + g; u = g + momentum m with nesterov, else m; x = u / (|u| + 1e-7)
    ns_steps times: a = x x^T; x = muon_a x + (muon_b a + muon_c a a) x
    w -= learning_rate rms_rate sqrt(max(rows, columns)) x; without rms_rate w -= learning_rate x

    Args:
        learning_rate: step size, >= 0, or a schedule.
        adam_beta_1, adam_beta_2, epsilon: of the parameters that Adam moves, as in `Adam`.
        adam_weight_decay: theirs; None is none.
        weight_decay: that of the matrices; None is none.
        exclude_layers: regular expressions; parameters in whose name one of them is found are moved by Adam.
        exclude_embeddings: the same for names with "embedding".
        muon_a, muon_b, muon_c: of the iteration.
        adam_lr_ratio: learning rate of Adam divided by learning_rate, > 0.
        momentum: in [0, 1].
        ns_steps: iterations, >= 0.
        nesterov: look ahead along the momentum.
        rms_rate: size of the steps, >= 0, such that AdamW's learning rates fit; None leaves that of an orthogonal matrix.
        all others: as in `Optimizer`.

    Reference:
        Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks; Liu et al. (2025), Muon is scalable for LLM
        training, for rms_rate.

    Example:
        >>> fastnn.optimizers.Muon(exclude_layers=["classifier"]).ns_steps
        5
    """

    recordable: ClassVar[bool] = True
    by_parameter: ClassVar[bool] = True

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.7750,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1.0,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **common: Unpack[CommonArguments],
    ) -> None:
        super().__init__(learning_rate, weight_decay, **common)
        self.adam_beta_1 = checks.number("Muon", "adam_beta_1", adam_beta_1, 0.0, below=1.0)
        self.adam_beta_2 = checks.number("Muon", "adam_beta_2", adam_beta_2, 0.0, below=1.0)
        decay = adam_weight_decay
        self.adam_weight_decay = None if decay is None else checks.number("Muon", "adam_weight_decay", decay, 0.0)
        self.epsilon = checks.number("Muon", "epsilon", epsilon, above=0.0)
        self.exclude_layers = _patterns([] if exclude_layers is None else exclude_layers)
        self.exclude_embeddings = checks.boolean("Muon", "exclude_embeddings", exclude_embeddings)
        self.muon_a, self.muon_b, self.muon_c = (
            checks.number("Muon", name, value)
            for name, value in (("muon_a", muon_a), ("muon_b", muon_b), ("muon_c", muon_c))
        )
        self.adam_lr_ratio = checks.number("Muon", "adam_lr_ratio", adam_lr_ratio, above=0.0)
        self.momentum = checks.number("Muon", "momentum", momentum, 0.0, 1.0)
        self.ns_steps = checks.integer("Muon", "ns_steps", ns_steps, 0, 1000)
        self.nesterov = checks.boolean("Muon", "nesterov", nesterov)
        self.rms_rate = None if rms_rate is None else checks.number("Muon", "rms_rate", rms_rate, 0.0)
        self._adam_lr = ops.zeros((1,))

    @classmethod
    def get_hyper_names(cls) -> tuple[str, ...]:
        adam = ("adam_beta_1", "adam_beta_2", "adam_weight_decay", "epsilon", "exclude_layers", "exclude_embeddings")
        return (*adam, "muon_a", "muon_b", "muon_c", "adam_lr_ratio", "momentum", "ns_steps", "nesterov", "rms_rate")

    def slot_values(self) -> dict[str, float]:
        return {"momentum": 0.0, "velocity": 0.0}

    @property
    def takes_products(self) -> bool:
        return False

    def by_adam(self, parameter: Parameter) -> bool:
        """Return whether Adam moves a parameter."""
        name = parameter.name
        if len(parameter.shape) != 2 or (self.exclude_embeddings and "embedding" in name.lower()):
            return True
        return any(re.search(pattern, name) for pattern in self.exclude_layers)

    def decay_of(self, parameter: Parameter) -> float:
        return (self.adam_weight_decay if self.by_adam(parameter) else self.weight_decay) or 0.0

    def update(self, w: Float32, g: Float32, slots: dict[str, Float32]) -> None:
        if self.by_adam(self.parameter):
            self._adam_update(w, g, slots)
            return
        options = self.options
        u = ops.empty(self.parameter.shape)
        flat, factor, limit = u.reshape(-1), options["factor"], options["limit"]
        momentum, nesterov = self.momentum, self.nesterov
        ops.muon_momentum(g, slots["momentum"], flat, momentum=momentum, nesterov=nesterov, factor=factor, limit=limit)
        x = self.orthogonal(u).reshape(-1)
        scale = 1.0 if self.rms_rate is None else self.rms_rate * math.sqrt(max(self.parameter.shape))
        ops.sgd_step(w, x, self.lr, weight_decay=options["weight_decay"], factor=np.array([scale], np.float32))

    def _adam_update(self, w: Float32, g: Float32, slots: dict[str, Float32]) -> None:
        options, rate = self.options, self.lr
        if self.adam_lr_ratio != 1.0:
            rate = ops.add(self.lr, weights=[self.adam_lr_ratio], out=self._adam_lr)
            options["weight_decay"] /= self.adam_lr_ratio  # the decay goes with learning_rate itself
        moments: dict[str, Any] = {"beta_1": self.adam_beta_1, "beta_2": self.adam_beta_2, "epsilon": self.epsilon}
        ops.adam_step(w, g, slots["momentum"], slots["velocity"], None, rate, self.iterations, **moments, **options)

    def orthogonal(self, u: Float32) -> Float32:
        """Return a matrix near the orthogonal one that is nearest to u, by ns_steps steps of Newton and Schulz.

        A tall matrix is iterated on from its other side, which is the same as for its transpose: x x^T becomes x^T x.
        """
        square, factor = ops.empty((1,), np.dtype(np.float64)), ops.empty((1,))
        ops.dot(u, u, square)
        ops.inverse_norm(square, factor, epsilon=1e-7)
        x = ops.prepare_gradient(u, factor=factor)
        tall = u.shape[0] > u.shape[1]
        for _ in range(self.ns_steps):
            a = ops.gemm(x, x, transpose_a=True) if tall else ops.gemm(x, x, transpose_b=True)
            b = ops.add(a, ops.gemm(a, a), weights=[self.muon_b, self.muon_c])
            x = ops.add(x, ops.gemm(x, b) if tall else ops.gemm(b, x), weights=[self.muon_a, 1.0])
        return x


def _patterns(given: Sequence[str]) -> list[str]:
    """Return regular expressions after checking that they are."""
    if isinstance(given, str):
        checks.fail_type("Muon", "exclude_layers as a list of names", repr(given), f"write [{given!r}]")
    patterns = checks.several("Muon", "exclude_layers", given)
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, TypeError):
            checks.fail("Muon", "exclude_layers as names or regular expressions", repr(pattern))
    return patterns
