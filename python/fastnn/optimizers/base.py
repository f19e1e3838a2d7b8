"""Optimizer, the base: slots beside the flat parameters, one kernel call per run of parameters, and what goes around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, ops
from fastnn.checks import Float32
from fastnn.optimizers import arguments
from fastnn.optimizers.clipping import gradient_factors
from fastnn.optimizers.exclusions import Exclusions
from fastnn.optimizers.rate import Rate
from fastnn.optimizers.rate_factors import RateFactors
from fastnn.optimizers.schedules.base import LearningRateSchedule, described, restored
from fastnn.parameter import Parameter, ParameterStore
from fastnn.recordable import is_recordable, keeps_step
from fastnn.settings import Settings, missing

Product = tuple[Float32, Float32]
AVERAGE, ACCUMULATED = "average", "accumulated"  # slots that every optimizer may have


class Options(TypedDict):
    """What the kernels of all optimizers take besides."""

    weight_decay: float
    product: Product | None
    factor: Float32 | None
    limit: float


class Optimizer(Settings):
    """Changes parameters by their gradients. A subclass names its slots and writes `update` for one stretch of the flat arrays.

    A step: the gradients of gradient_accumulation_steps calls are averaged, clipped, the weights decay, then `update`; at last the
    weights are averaged.

    Args:
        learning_rate: step size, >= 0, which may be changed at any time; or a schedule (`fastnn.optimizers.schedules`), or a
            function without arguments, which is then called before every step.
        weight_decay: None, or the share of the learning rate by which weights shrink before every step
            (w -= learning_rate * weight_decay * w).
        clipnorm: None, or the norm > 0 that the gradient of every parameter is brought down to.
        clipvalue: None, or the size > 0 that every number of the gradients is brought down to.
        global_clipnorm: None, or the norm > 0 that all gradients together are brought down to. Only one kind of clipping.
        use_ema: keep a moving average of the weights; at the end of `fit` it takes their place.
        ema_momentum: average = ema_momentum average + (1 - ema_momentum) w after every step, in [0, 1]; the first is w itself.
        ema_overwrite_frequency: None, or after how many steps, >= 1, the average takes the place of the weights.
        loss_scale_factor: None, or a number > 0: the loss is multiplied by it, and the gradients are divided by it.
        gradient_accumulation_steps: None, or of how many calls, >= 2, the gradients' mean makes a step. `iterations` counts steps,
            schedules count calls.
        name: for the record.
        jit_compile: accepted, and ignored with a warning: there is nothing to choose.

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
    by_parameter: ClassVar[bool] = False  # update is called for every parameter by itself, and finds it in `parameter`
    full_batch: ClassVar[bool] = False  # a step looks at the loss of all samples more than once
    unwatched: ClassVar[frozenset[str]] = frozenset(
        {"learning_rate", "_decay", "_own_rate", "_product", "_factor", "_limit", "_parameter", "swapped"}
    )  # the first is read from a buffer, the others are those of the stretch being updated

    if not TYPE_CHECKING:  # a type checker would take any attribute for a known one
        __getattr__ = missing

    def __init__(self, learning_rate: Any = 0.01, weight_decay: float | None = None, **common: Any) -> None:
        cls = type(self).__name__
        chosen = arguments.checked(cls, common, self.get_hyper_names())
        self.clipnorm: float | None = chosen["clipnorm"]
        self.clipvalue: float | None = chosen["clipvalue"]
        self.global_clipnorm: float | None = chosen["global_clipnorm"]
        self.use_ema: bool = chosen["use_ema"]
        self.ema_momentum: float = chosen["ema_momentum"]
        self.ema_overwrite_frequency: int | None = chosen["ema_overwrite_frequency"]
        self.loss_scale_factor: float | None = chosen["loss_scale_factor"]
        self.gradient_accumulation_steps: int | None = chosen["gradient_accumulation_steps"]
        self.name = checks.name(cls, common.get("name")) or cls.lower()
        self.weight_decay = None if weight_decay is None else checks.number(cls, "weight_decay", weight_decay, 0.0)
        self._rate = Rate(cls, learning_rate)
        self.swapped = False  # whether parameters and averages are in each other's place
        self.exclusions = Exclusions(cls)  # from weight decay
        self.rate_factors = RateFactors(cls)
        self.iterations = np.zeros(1, np.int64)  # steps that changed parameters
        self.calls = self.iterations if self.gradient_accumulation_steps is None else np.zeros(1, np.int64)
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
        """Return the names of the arguments that only this class has; they are attributes as well."""
        return ()

    def decay_of(self, parameter: Parameter) -> float:
        """Return the weight decay of a parameter that is not excluded from it."""
        return self.weight_decay or 0.0

    # --- for use ---

    @property
    def learning_rate(self) -> float:
        """The step size of the next step; within `update`, that of the stretch being updated."""
        return self._rate.at(int(self.calls[0])) * self._own_rate[0]

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._rate.set(value)

    @property
    def lr(self) -> Float32:
        """The learning rate as the array that the kernels read; within `update`, that of the stretch being updated."""
        return self._rate.value if self._own_rate[1] is None else self._own_rate[1]

    @property
    def options(self) -> Options:
        """What a kernel needs to know about the stretch being updated besides its arrays."""
        return {"weight_decay": self._decay, "product": self._product, "factor": self._factor, "limit": self._limit}

    @property
    def parameter(self) -> Parameter:
        """The parameter being updated, for classes that are `by_parameter`."""
        assert self._parameter is not None
        return self._parameter

    @property
    def takes_products(self) -> bool:
        """Whether the gradient of a stretch may be left to its update as a product; norms and sums want it before."""
        whole = self.clipnorm or self.global_clipnorm or self.gradient_accumulation_steps
        return not whole and is_recordable(self) and keeps_step(self)

    def scale_loss(self, loss: float) -> float:
        """Return the loss times loss_scale_factor."""
        return loss * (self.loss_scale_factor or 1.0)

    def exclude_from_weight_decay(
        self, var_list: Iterable[Parameter] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Spare parameters, given themselves or by regular expressions for a part of their names, from weight decay."""
        self.exclusions.add([p.name for p in var_list or ()], var_names or ())

    def multiply_learning_rate(
        self, factor: float, var_list: Iterable[Parameter] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Let some parameters learn faster or slower: their learning rate, also in weight decay, is `factor` times the others'.

        Against vanishing gradients the first layers are given more; layers that were trained before, less. Of several factors that
        fit a parameter the last one holds.

        Args:
            factor: >= 0; 0 leaves parameters where they are.
            var_list: the parameters themselves, such as `layer.weights`.
            var_names: regular expressions for a part of their names, such as "dense_1/".

        Raises:
            ValueError: for a negative factor, no parameters, and an optimizer that is `full_batch`.

        Example:
            >>> model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(3, name="first"), fastnn.layers.Dense(1)])
            >>> model.compile("sgd", "mse")
            >>> model.optimizer.multiply_learning_rate(10.0, var_names=["first/"])
            >>> [model.optimizer.rate_factors.of(p) for p in model.weights]
            [10.0, 10.0, 1.0, 1.0]
        """
        if self.full_batch:
            checks.fail(
                type(self).__name__, "an optimizer that updates by parameters", "one that searches along a line"
            )
        self.rate_factors.add(factor, [p.name for p in var_list or ()], var_names or ())

    def build(self, parameters: ParameterStore | Iterable[Parameter]) -> None:
        """Make the slots for a model's parameters; kept when the same layout is built again.

        Args:
            parameters: a store (`model.store`) or the parameters themselves.
        """
        store = parameters if isinstance(parameters, ParameterStore) else _store_of(list(parameters))
        if self.store is store:
            return
        same = self.store is not None and [p.shape for p in self.store.parameters] == [
            p.shape for p in store.parameters
        ]
        self.store = store
        if not same:
            self.iterations[0] = self.calls[0] = 0
            self.slots = self.new_slots(store)

    def new_slots(self, store: ParameterStore) -> dict[str, Float32]:
        """Return the slots' arrays for the parameters of a store."""
        values = self.slot_values()
        values |= {AVERAGE: 0.0} if self.use_ema else {}
        values |= {ACCUMULATED: 0.0} if self.gradient_accumulation_steps else {}
        slots = {name: ops.zeros((store.size,)) for name in values}
        for name, value in values.items():
            slots[name][...] = value
        return slots

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything that steps change but the parameters, by name: counters and slots."""
        counters = {"iterations": self.iterations}
        if self.calls is not self.iterations:
            counters["calls"] = self.calls
        return {**counters, **self.slots}

    def setting(self, parameter: Parameter) -> float | None:
        """Return the weight decay of a parameter, None to leave it alone."""
        if not parameter.trainable:
            return None
        return 0.0 if self.exclusions.spare(parameter) else self.decay_of(parameter)

    def rate_of(self, learning_rate: float) -> AbstractContextManager[None]:
        """Let the steps in a `with` block have this learning rate, whatever the schedule says."""
        rate = checks.number(type(self).__name__, "learning_rate", learning_rate, 0.0)
        return self._rate.instead(rate)

    def prepare(self, steps: int) -> int:
        """Make ready for some steps without Python; return how many of them may follow each other, at least one."""
        return self._rate.ahead(self.calls, steps)

    def step(
        self, active: Callable[[Parameter], bool] | None = None, products: Mapping[Parameter, Product] | None = None
    ) -> None:
        """Update parameters from their gradients, as one step.

        Args:
            active: tells which; None is all of them.
            products: (x, dy) of parameters whose gradient x^T dy has not been computed; an optimizer with `takes_products` does
                that in its own pass.
        """
        products = products or {}
        if self.store is None:
            checks.fail(type(self).__name__, "build(parameters) before step", "no parameters", "compile a built model")
        if not self.store.owns_all():  # another model has taken a shared layer's parameters into its store
            self.build(ParameterStore(self.store.parameters))
        if products and not self.takes_products:
            checks.fail(type(self).__name__, "stored gradients", "products", "compute them before the step")
        runs = self._runs(active, products)
        every = self.gradient_accumulation_steps or 1
        self.prepare(1)
        self._rate.take(self.calls)
        bound = [p for p in self.store.parameters if p.constraint is not None and p.trainable]
        bound = [p for p in bound if active is None or active(p)]
        if every == 1:
            self._apply(runs, products, self.store.grads, bound)
        else:
            self._accumulate(runs)
            ops.when_due(self.calls, every, lambda: self._apply(runs, products, self.slots[ACCUMULATED], bound))
        if self.use_ema:
            self._average(every, runs)
        if every > 1:
            ops.when_due(self.calls, every, lambda: ops.advance(self.iterations, 1))
        ops.advance(self.calls, 1)

    def minimize(self, evaluate: Callable[[], float], active: Callable[[Parameter], bool] | None = None) -> float:
        """Do one step of an optimizer that is `full_batch` and return the loss; evaluate returns it and leaves gradients."""
        cls = type(self).__name__
        raise TypeError(checks.message(cls, "an optimizer that evaluates the loss, as LBFGS", cls, "use step()"))

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Parameter] | None = None) -> None:
        """Do one step with these gradients.

        Args:
            grads: arrays of the parameters' shapes.
            trainable_variables: the parameters; None is those the optimizer was built for.
        """
        cls = type(self).__name__
        if self.store is None and trainable_variables is not None:
            self.build(trainable_variables)
        parameters = list(trainable_variables or (self.store.parameters if self.store else ()))
        if len(parameters) != len(grads):
            checks.fail(cls, f"{len(parameters)} gradients, one for each parameter", len(grads))
        for p, given in zip(parameters, grads):
            g = checks.float32(cls, f"the gradient of '{p.name}'", given)
            if g.shape != p.shape:
                checks.fail(cls, f"a gradient of shape {p.shape} for '{p.name}'", g.shape)
            p.gradient[...] = g
        chosen = {id(p) for p in parameters}
        self.step(lambda p: id(p) in chosen)

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Parameter]]) -> None:
        """Do one step with pairs of gradient and parameter."""
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [p for _, p in pairs])

    def finalize_variable_values(self, var_list: Iterable[Parameter] | None = None) -> None:
        """Put the moving averages in the place of the parameters, with `use_ema`; `fit` does so at its end.

        Args:
            var_list: the parameters; None is all that are trainable.
        """
        if not self.use_ema or self.store is None or not self.iterations[0]:
            return
        if self.swapped:
            self.swap_averages()
        chosen = None if var_list is None else {id(p) for p in var_list}
        self._overwrite(self._runs(lambda p: chosen is None or id(p) in chosen, {}))

    def swap_averages(self) -> None:
        """Exchange the parameters and their moving averages, with `use_ema`; done twice, all is as before.

        Raises:
            ValueError: without averages.
        """
        if not self.use_ema or self.store is None:
            checks.fail("SwapEMAWeights", "an optimizer with use_ema=True", repr(self))
        values, averages = self.store.values, self.slots[AVERAGE]
        values[...], averages[...] = averages.copy(), values.copy()
        self.swapped = not self.swapped

    # --- parts of a step ---

    def _runs(
        self, active: Callable[[Parameter], bool] | None, products: Mapping[Parameter, Product]
    ) -> list[tuple[Any, slice]]:
        """Return ((weight decay, factor of the rate, parameter or None), span) of every stretch that one `update` changes."""
        single = self.by_parameter or self.clipnorm is not None

        def kind(p: Parameter) -> tuple[float, float, Parameter | None] | None:
            decay = self.setting(p) if active is None or active(p) else None
            return None if decay is None else (decay, self.rate_factors.of(p), p if single or p in products else None)

        assert self.store is not None
        runs = []
        for setting, span in self.store.runs(kind):
            p = setting[-1]
            stop = span.stop if p is None else span.start + p.size  # without what fills its last cache line
            runs.append((setting, slice(span.start, stop)))
        return runs

    def _accumulate(self, runs: Sequence[tuple[Any, slice]]) -> None:
        """Add the gradients to those since the last update."""
        assert self.store is not None
        for _, span in runs:
            total = self.slots[ACCUMULATED][span]
            ops.add(total, self.store.grads[span], out=total)

    def _apply(
        self,
        runs: Sequence[tuple[Any, slice]],
        products: Mapping[Parameter, Product],
        gradients: Float32,
        bound: Sequence[Parameter],
    ) -> None:
        """Update every stretch, and bring parameters to where their constraints want them."""
        assert self.store is not None
        scale = 1.0 / (self.gradient_accumulation_steps or 1) / (self.loss_scale_factor or 1.0)
        stretches = [gradients[span] for _, span in runs]
        factors = gradient_factors(stretches, scale, self.clipnorm, self.global_clipnorm)
        fused = is_recordable(self)
        rates = {own: ops.add(self._rate.value, weights=[own]) for (_, own, _), _ in runs if own != 1}
        try:
            for ((decay, own, parameter), span), factor in zip(runs, factors):
                self._own_rate = own, rates.get(own)
                self._decay, self._parameter, self._factor = decay, parameter, factor
                self._limit = np.inf if self.clipvalue is None else self.clipvalue
                self._product = None if parameter is None else products.get(parameter)
                if self._product is not None and parameter is not None:
                    ops.label(parameter.name.rpartition("/")[0], "backward")
                w, g = self.store.values[span], gradients[span]
                if not fused:
                    g = self._ready(w, g)
                self.update(w, g, self.slots_of(span))
                ops.label("optimizer")
        finally:
            self._product = self._factor = self._parameter = None
            self._own_rate = 1.0, None
        if self.gradient_accumulation_steps:
            for _, span in runs:
                ops.fill(gradients[span], 0.0)
        for p in bound:
            if p.constraint is not None:
                p.constraint.project(p.value)

    def slots_of(self, span: slice) -> dict[str, Float32]:
        """Return the stretches of the slots that belong to a stretch of the parameters."""
        return {name: slot[span] for name, slot in self.slots.items()}

    def _ready(self, w: Float32, g: Float32) -> Float32:
        """Return the gradient for an `update` written in Python, after the weights have decayed."""
        if self._decay:
            w -= w * (self._decay * self.lr[0])
        if self._factor is not None or self._limit < np.inf:
            g = ops.prepare_gradient(g, factor=self._factor, limit=self._limit)
        self._decay, self._factor, self._limit = 0.0, None, np.inf
        return g

    def _average(self, every: int, runs: Sequence[tuple[Any, slice]]) -> None:
        """Move the average on after every update, and put it in the place of the weights when that is due."""
        store, average = self.store, self.slots[AVERAGE]
        assert store is not None

        def move() -> None:
            ops.moving_average(store.values, average, self.iterations, momentum=self.ema_momentum)

        ops.when_due(self.calls, every, move)
        if self.ema_overwrite_frequency:
            ops.when_due(self.calls, every * self.ema_overwrite_frequency, lambda: self._overwrite(runs))

    def _overwrite(self, runs: Sequence[tuple[Any, slice]]) -> None:
        assert self.store is not None
        for _, span in runs:
            ops.add(self.slots[AVERAGE][span], out=self.store.values[span])

    # --- as data ---

    def step_key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured of this optimizer's settings."""
        names = (*arguments.DEFAULTS, *self.get_hyper_names())
        hyper = tuple(str(getattr(self, name)) for name in names)
        return (
            id(self),
            self.weight_decay,
            self._rate.scheduled,
            self.exclusions.key(),
            self.rate_factors.key(),
            *hyper,
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this optimizer again."""
        given = self._rate.given
        rate = described(given) if isinstance(given, LearningRateSchedule) else self.learning_rate
        common = {name: getattr(self, name) for name in arguments.DEFAULTS}
        hyper = {name: getattr(self, name) for name in self.get_hyper_names()}
        return {"learning_rate": rate, "weight_decay": self.weight_decay, "name": self.name, **common, **hyper}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Optimizer:
        """Return a new optimizer from what `get_config` returned."""
        return cls(**{**config, "learning_rate": restored(config.get("learning_rate", 0.01))})

    def __repr__(self) -> str:
        kept = {k: v for k, v in self.get_config().items() if k != "name" and arguments.DEFAULTS.get(k, self) != v}
        if self._rate.scheduled:
            kept["learning_rate"] = self._rate.given
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in kept.items())})"

    _decay = 0.0
    _product: Product | None = None
    _factor: Float32 | None = None
    _limit = np.inf
    _parameter: Parameter | None = None
    _own_rate: tuple[float, Float32 | None] = (1.0, None)  # factor of the rate, and the rate with it


def _store_of(parameters: list[Parameter]) -> ParameterStore:
    """Return the store that these parameters are all of, or a new one."""
    store = parameters[0].store if parameters else None
    if store is not None and set(map(id, store.parameters)) == set(map(id, parameters)):
        return store
    return ParameterStore(parameters)
