"""Adafactor: second moments of a matrix in the room of a row and a column."""

from __future__ import annotations

import math
from typing import ClassVar, Unpack

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.optimizers.arguments import CommonArguments
from fastnn.optimizers.base import Optimizer
from fastnn.optimizers.rate import LearningRate
from fastnn.parameter import ALIGN, ParameterStore


class Adafactor(Optimizer):
    """RMSprop whose means are kept for the rows and columns of the last two axes only, with steps relative to the weights.

    h = t^beta_2_decay in step t = 1, 2, ...; s = g^2 + epsilon_1
    row = (1 - h) row + h mean of s over the last axis, column likewise over the last but one; v = row column / mean of row
    (a vector keeps v = (1 - h) v + h s); u = g / sqrt(v)
    w -= max(epsilon_2, rms(w)) min(learning_rate, 1 / sqrt(t)) u / max(1, rms(u) / clip_threshold)

    Args:
        learning_rate: >= 0, or a schedule.
        beta_2_decay: exponent of h, < 0.
        epsilon_1: > 0, keeps v from 0.
        epsilon_2: > 0, the least size that weights count as.
        clip_threshold: > 0, the largest root mean square of u.
        relative_step: for the record: the step is at most 1 / sqrt(t) with or without it, as in Keras.
        weight_decay and all others: as in `Optimizer`.

    Reference:
        Shazeer & Stern (2018), Adafactor: adaptive learning rates with sublinear memory cost.

    Example:
        >>> fastnn.optimizers.Adafactor().beta_2_decay
        -0.8
    """

    recordable: ClassVar[bool] = True
    by_parameter: ClassVar[bool] = True

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        weight_decay: float | None = None,
        **common: Unpack[CommonArguments],
    ) -> None:
        super().__init__(learning_rate, weight_decay, **common)
        self.beta_2_decay = checks.number("Adafactor", "beta_2_decay", beta_2_decay, below=0.0)
        self.epsilon_1 = checks.number("Adafactor", "epsilon_1", epsilon_1, above=0.0)
        self.epsilon_2 = checks.number("Adafactor", "epsilon_2", epsilon_2, above=0.0)
        self.clip_threshold = checks.number("Adafactor", "clip_threshold", clip_threshold, above=0.0)
        self.relative_step = checks.boolean("Adafactor", "relative_step", relative_step)
        self._places: dict[str, tuple[slice, slice]] = {}  # of row and column, by parameter

    @classmethod
    def get_hyper_names(cls) -> tuple[str, ...]:
        return ("beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "relative_step")

    @property
    def takes_products(self) -> bool:
        return False

    def slot_values(self) -> dict[str, float]:
        return {"row": 0.0, "column": 0.0}

    def new_slots(self, store: ParameterStore) -> dict[str, Float32]:
        slots = super().new_slots(store)
        rows = columns = 0
        places = {}
        for p in store.parameters:
            matrix = len(p.shape) > 1
            row = math.prod(p.shape[:-1]) if matrix else 0
            column = math.prod((*p.shape[:-2], p.shape[-1])) if matrix else p.size
            places[p.name] = slice(rows, rows + row), slice(columns, columns + column)
            rows, columns = (-(-end // ALIGN) * ALIGN for end in (rows + row, columns + column))
        self._places = places
        return {**slots, "row": ops.zeros((rows,)), "column": ops.zeros((columns,))}

    def update(self, w: Float32, g: Float32, slots: dict[str, Float32]) -> None:
        row, column = self._places[self.parameter.name]
        options = self.options
        if options["factor"] is not None or options["limit"] < math.inf:
            g = ops.prepare_gradient(g, factor=options["factor"], limit=options["limit"])
        ops.adafactor_step(
            w,
            g,
            self.slots["row"][row] if len(self.parameter.shape) > 1 else None,
            self.slots["column"][column],
            self.lr,
            self.iterations,
            shape=self.parameter.shape,
            beta_2_decay=self.beta_2_decay,
            epsilon_1=self.epsilon_1,
            epsilon_2=self.epsilon_2,
            clip_threshold=self.clip_threshold,
            weight_decay=options["weight_decay"],
        )
