"""Optimizer, the base: slots beside the flat parameters, a learning rate in a buffer, one kernel call per run of parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.parameter import Parameter, ParameterStore
from fastnn.settings import Settings

Product = tuple[Float32, Float32]


class Optimizer(Settings):
    """Changes parameters by their gradients. A subclass names its slots and writes `update` for one stretch of the flat arrays.

    Args:
        learning_rate: step size, >= 0; may be changed at any time.
        weight_decay: None, or the share of the learning rate by which weights shrink before every step
            (w -= learning_rate * weight_decay * w).
        name: for the record.

    Example:
        >>> import numpy as np
        >>> class SignSGD(fastnn.optimizers.Optimizer):
        ...     def update(self, w, g, slots):
        ...         w -= self.learning_rate * np.sign(g)
        >>> model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(1)])
        >>> model.compile(optimizer=SignSGD(0.1), loss="mse")
        >>> history = model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
        >>> int(model.optimizer.iterations[0])
        1
    """

    recordable: ClassVar[bool] = False
    unwatched: ClassVar[frozenset[str]] = frozenset(
        {"learning_rate", "_decay", "_product"}
    )  # the first is read from a buffer

    def __init__(
        self, learning_rate: float = 0.01, weight_decay: float | None = None, name: str | None = None, **unknown: Any
    ) -> None:
        cls = type(self).__name__
        checks.unknown_arguments(cls, unknown, ("learning_rate", "weight_decay", "name", *self.get_hyper_names()))
        self.name = name or cls.lower()
        self._learning_rate = ops.zeros((1,))
        self.learning_rate = learning_rate
        self.weight_decay = None if weight_decay is None else checks.number(cls, "weight_decay", weight_decay, 0.0)
        self._undecayed: list[str] = []
        self.iterations = np.zeros(1, np.int64)
        self.slots: dict[str, Float32] = {}
        self.store: ParameterStore | None = None

    # --- to override ---

    def slot_values(self) -> dict[str, float]:
        """Return the slots this optimizer keeps for every parameter, with their initial values."""
        return {}

    def update(self, w: Float32, g: Float32, slots: dict[str, Float32]) -> None:
        """Change w in place by its gradient g; slots are the matching stretches of the slot arrays."""
        raise TypeError(checks.message(type(self).__name__, "an optimizer class with an update method", "none"))

    @classmethod
    def get_hyper_names(cls) -> tuple[str, ...]:
        """Return the names of the arguments besides learning_rate, weight_decay and name; they are attributes as well."""
        return ()

    # --- for use ---

    @property
    def learning_rate(self) -> float:
        """The step size of the next step."""
        return float(self._learning_rate[0])

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate[0] = checks.number(type(self).__name__, "learning_rate", value, 0.0)

    @property
    def lr(self) -> Float32:
        """The learning rate as the array that the kernels read."""
        return self._learning_rate

    @property
    def product(self) -> Product | None:
        """Two arrays x, dy where the gradient of the stretch being updated is their product x^T dy, which is not stored."""
        return self._product

    @property
    def decay(self) -> float:
        """Weight decay of the stretch being updated, 0 for none."""
        return self._decay

    def exclude_from_weight_decay(self, var_list: Iterable[Parameter] = (), var_names: Iterable[str] = ()) -> None:
        """Spare parameters, given themselves or by a part of their names, from weight decay."""
        self._undecayed += [p.name for p in var_list] + list(var_names)

    def build(self, parameters: ParameterStore | Iterable[Parameter]) -> None:
        """Make the slots for a model's parameters; kept when the same layout is built again.

        Args:
            parameters: a store (`model.store`) or the parameters themselves.
        """
        store = parameters if isinstance(parameters, ParameterStore) else ParameterStore(list(parameters))
        if self.store is store:
            return
        same = self.store is not None and [p.shape for p in self.store.parameters] == [
            p.shape for p in store.parameters
        ]
        self.store = store
        if not same:
            self.iterations[0] = 0
            self.slots = {name: ops.zeros((store.size,)) for name in self.slot_values()}
            for name, value in self.slot_values().items():
                self.slots[name][...] = value

    def setting(self, parameter: Parameter) -> float | None:
        """Return the weight decay of a parameter, None to leave it alone."""
        if not parameter.trainable:
            return None
        if self.weight_decay and not any(name in parameter.name for name in self._undecayed):
            return self.weight_decay
        return 0.0

    def step(
        self, active: Callable[[Parameter], bool] | None = None, products: Mapping[Parameter, Product] | None = None
    ) -> None:
        """Update parameters from their gradients, as one step.

        Args:
            active: tells which; None is all of them.
            products: (x, dy) of parameters whose gradient x^T dy has not been computed; an optimizer that is recordable does that
                in its own pass.
        """
        products = products or {}
        if self.store is None:
            checks.fail(type(self).__name__, "build(parameters) before step", "no parameters", "compile a built model")
        if not self.store.owns_all():  # another model has taken a shared layer's parameters into its store
            self.build(ParameterStore(self.store.parameters))

        def kind(p: Parameter) -> tuple[float, Parameter | None] | None:
            decay = self.setting(p) if active is None or active(p) else None
            return None if decay is None else (decay, p if p in products else None)

        for (decay, parameter), span in self.store.runs(kind):
            if parameter is not None:  # without what fills its last cache line
                span = slice(span.start, span.start + parameter.size)
                ops.label(parameter.name.rpartition("/")[0], "backward")
            self._decay, self._product = decay, None if parameter is None else products[parameter]
            slots = {name: slot[span] for name, slot in self.slots.items()}
            self.update(self.store.values[span], self.store.grads[span], slots)
            ops.label("optimizer")
        self._product = None
        for p in self.store.parameters:
            if p.constraint is not None and p.trainable and (active is None or active(p)):
                p.constraint.project(p.value)
        ops.advance(self.iterations, 1)

    def step_key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured of this optimizer's settings."""
        hyper = tuple(getattr(self, name) for name in self.get_hyper_names())
        return (id(self), self.weight_decay, tuple(self._undecayed), *hyper)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this optimizer again."""
        hyper = {name: getattr(self, name) for name in self.get_hyper_names()}
        return {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay, "name": self.name, **hyper}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Optimizer:
        """Return a new optimizer from what `get_config` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items() if k != "name")
        return f"{type(self).__name__}({arguments})"

    _decay = 0.0
    _product: Product | None = None
