"""Layer, the base of all layers: a forward/backward pair over parameters."""

from __future__ import annotations

import inspect
import math
import numbers
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from fastnn import checks, constraints, graph, initializers, ops, regularizers
from fastnn.checks import Float32
from fastnn.graph import Node, SymbolicTensor
from fastnn.initializers.base import FromFunction
from fastnn.layers.budget import spend_weights
from fastnn.names import Shape, shape_text, snake_case, unique_name
from fastnn.parameter import Parameter, WithVariables, assign_all
from fastnn.settings import Settings, missing

# What a model says around single calls of a layer: no part of what a forward leaves for its backward.
ASKED = ("inference", "need_dx", "relu_input", "skip_slope", "onto")
BASE_ARGUMENTS = ("name", "trainable", "dtype", "input_shape", "input_dim", "activity_regularizer")


def sample_shape(who: str, argument: str, shape: Any) -> Shape:
    """Return the shape of a batch from that of a sample, after checking it."""
    if not isinstance(shape, (tuple, list)):
        fix = f"write {argument}=({shape},)" if isinstance(shape, numbers.Integral) else ""
        checks.fail_type(who, f"{argument} to be a tuple", checks.describe(shape), fix)
    return (None, *(None if s is None else checks.integer(who, argument, s, 1) for s in shape))


class Layer(WithVariables, Settings):
    """A step of a model: `forward` computes its output and remembers what `backward` needs.

    A subclass writes `build` (make parameters with `add_weight`), `forward`, `backward` and `compute_output_shape`. If it works in
    Python or NumPy, the model runs step by step; if it calls only `fastnn.ops`, it may declare ``recordable = True`` in its own
    body and the step is replayed without Python. Called on a symbolic tensor (see `fastnn.Input`) it is built for its shape and
    gives another one.

    Args:
        name: unique in its model; None makes one from the class.
        trainable: False freezes the parameters: their bits do not change in training.
        dtype: None or "float32", the only one there is.
        input_shape: shape of one sample, for the first layer of a model.
        input_dim: the same for samples of one axis: its size.
        activity_regularizer: regularizer of the output (its penalty divided by the batch size), or None.
        unknown: `<weight>_regularizer` and `<weight>_constraint` of the parameters that a class names in `weight_names`.

    Example:
        >>> import numpy as np
        >>> class Scale(fastnn.layers.Layer):
        ...     def build(self, input_shape):
        ...         self.factor = self.add_weight("factor", (1,), "ones")
        ...     def forward(self, x, training=False):
        ...         self.saved = x
        ...         return x * self.factor.value
        ...     def backward(self, dy):
        ...         self.factor.gradient[...] = (dy * self.saved).sum()
        ...         return dy * self.factor.value
        >>> Scale()(np.ones((1, 2))).tolist()
        [[1.0, 1.0]]
    """

    recordable: ClassVar[bool] = False
    # What forward leaves for backward, and what a model says around its calls:
    unwatched: ClassVar[frozenset[str]] = frozenset(
        {
            "_saved",
            *ASKED,
            "skip_activation",
            "keep_product",
            "product",
            "input_mask",
            "output_mask",
        }
    )
    takes_relu: ClassVar[bool] = False  # whether backward heeds `relu_input`
    leaves_product: ClassVar[bool] = False  # whether backward heeds `keep_product`
    takes_list: ClassVar[bool] = False  # whether x is a list of arrays, and so what backward returns
    supports_masking: ClassVar[bool] = False  # whether the mask of its input holds for its output
    weight_names: ClassVar[tuple[str, ...]] = ()  # parameters whose regularizer and constraint are arguments

    if not TYPE_CHECKING:  # a type checker would take any attribute for a known one
        __getattr__ = missing

    def __init__(
        self,
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: str | None = None,
        input_shape: Sequence[int] | None = None,
        input_dim: int | None = None,
        activity_regularizer: Any = None,
        **unknown: Any,
    ) -> None:
        cls = type(self).__name__
        self.activity_regularizer = regularizers.get(activity_regularizer)
        for weight in self.weight_names:
            setattr(self, f"{weight}_regularizer", regularizers.get(unknown.pop(f"{weight}_regularizer", None)))
            setattr(self, f"{weight}_constraint", constraints.get(unknown.pop(f"{weight}_constraint", None)))
        if unknown:
            own = inspect.signature(type(self)).parameters.values()
            valid = {p.name for p in own if p.kind is not p.VAR_KEYWORD}.union(BASE_ARGUMENTS)
            valid |= {f"{weight}_{kind}" for weight in self.weight_names for kind in ("regularizer", "constraint")}
            checks.unknown_arguments(cls, unknown, valid)
        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            checks.fail(cls, "name to be a non-empty string without '/'", repr(name))
        checks.only_float32(cls, dtype)
        self.name = name or unique_name(snake_case(cls))
        self.trainable = trainable
        self.given_shape: Shape | None = None
        if input_dim is not None and input_shape is None:
            input_shape = (checks.integer(cls, "input_dim", input_dim, 1),)
        if input_shape is not None:
            self.given_shape = sample_shape(cls, "input_shape", input_shape)
        self.built = False
        self.input_shape: Shape | None = None
        self.parameters: list[Parameter] = []
        # Set by a model around calls that run as in inference in a step of training: there training=True, for backward follows.
        self.inference = False
        # Set by a model around its calls of backward:
        self.need_dx = True  # False for what no parameter lies before
        self.relu_input = False  # the input is a relu's output, whose derivative backward is to take as well
        self.skip_slope = False  # the activation's derivative is in dy already, taken by the layer above
        self.onto: Float32 | None = None  # other gradients of the input, which backward is to add its own to, in place
        # Set by a model while it trains: leave the gradient of the kernel, x^T dz, to the optimizer's step.
        self.keep_product = False
        self.product: tuple[Float32, Float32] | None = None  # x and dz, then
        self.input_mask: Float32 | None = None  # 0 where the input has nothing; set by a model
        self.output_mask: Float32 | None = (
            None  # of an output that has one of its own: set by forward, taken by a model
        )
        self.nodes: list[weakref.ref[Node]] = []  # its calls on symbolic tensors
        self._saved: Any = None

    # --- to override ---

    def build(self, input_shape: Shape) -> None:
        """Make the parameters for inputs of this shape (the first entry, the batch size, is None)."""

    def forward(self, x: Any, training: bool = False) -> Float32:
        """Return the output for a batch; with training=True remember what `backward` needs."""
        fix = "Keras's call is forward here, with a backward beside it" if hasattr(self, "call") else ""
        raise TypeError(checks.message(self.who, "a layer class with a forward method", type(self).__name__, fix))

    def backward(self, dy: Float32) -> Float32 | None:
        """Write the gradients of the parameters and return that of the input, given that of the output.

        The input's gradient may be None where `need_dx` is False.
        """
        raise TypeError(checks.message(self.who, "a layer class with a backward method", type(self).__name__))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the output's shape for an input's; the default is the same."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again, as plain data."""
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable}
        for name in [f"{weight}_regularizer" for weight in self.weight_names] + ["activity_regularizer"]:
            if getattr(self, name) is not None:
                config[name] = regularizers.serialize(getattr(self, name))
        for name in [f"{weight}_constraint" for weight in self.weight_names]:
            if getattr(self, name) is not None:
                config[name] = constraints.serialize(getattr(self, name))
        return config

    def adds_onto(self) -> bool:
        """Return whether `backward` heeds `onto`. Not for layers of your own."""
        return False

    # --- for use ---

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """Return a new layer from what `get_config` returned."""
        return cls(**config)

    @property
    def who(self) -> str:
        """The layer in error messages: class and name."""
        return f"{type(self).__name__} '{self.name}'"

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """Return forward(x, training), building the layer for x if that has not been done; a symbolic tensor for a symbolic one.

        With training=False a call on a symbolic tensor runs as in inference while its model is trained, too; gradients go through.
        """
        if graph.is_symbolic(x):
            return self.call_symbolic(x, graph.is_inference(self.who, training))
        return self.forward(self.check_input(x), bool(training))

    def call_symbolic(self, x: Any, inference: bool = False) -> SymbolicTensor:
        """Build or check the layer for the shape of a symbolic tensor (or of a list) and return that of its output.

        inference: the call computes what it does in inference, in training, too.
        """
        several = isinstance(x, (list, tuple))
        if several != self.takes_list:
            rule, fix = (
                ("a list of tensors", "") if self.takes_list else ("one tensor", "put Concatenate or Add before it")
            )
            checks.fail_type(self.who, rule, f"a list of {len(x)}" if several else repr(x), fix)
        tensors = graph.tensors_of(self.who, "x", x if several else [x])
        shape: Any = [t.shape for t in tensors] if several else tensors[0].shape
        if self.built:
            self.check_shape(shape)
        else:
            self.build_for(shape)
        return Node(self, tensors, [self.compute_output_shape(shape)], inference).outputs[0]

    @property
    def input(self) -> Any:
        """The symbolic tensor (or list) that the layer was first called on: where it stands in its model."""
        tensors = graph.first_node(self.who, self.nodes).inputs
        return list(tensors) if self.takes_list else tensors[0]

    @property
    def output(self) -> SymbolicTensor:
        """What that call gave: `fastnn.Model(model.inputs, layer.output)` computes it."""
        return graph.first_node(self.who, self.nodes).outputs[0]

    def build_for(self, input_shape: Shape) -> None:
        """Check the shape, then build, once."""
        self.check_shape(input_shape)
        self.compute_output_shape(input_shape)
        self.build(input_shape)
        self.input_shape = tuple(input_shape)
        self.built = True

    def check_input(self, x: Any) -> Float32:
        """Return x as float32 after building or checking the layer for its shape."""
        array = ops.as_float32(self.who, "input", x)
        if not self.built:
            self.build_for((None, *array.shape[1:]))
        elif self.input_shape is None or array.shape[1:] != self.input_shape[1:]:
            self.check_shape(array.shape)
        return array

    def expected_shape(self) -> Shape | None:
        """Return the shape this layer takes, None for a free entry; None if any shape will do."""
        return self.input_shape

    def check_shape(self, shape: Sequence[int | None]) -> None:
        """Raise unless an input of this shape will do."""
        expected = self.expected_shape()
        if expected is None:
            return
        fits = len(shape) == len(expected) and all(
            e is None or s is None or s == e for s, e in zip(shape[1:], expected[1:])
        )
        if not fits:
            checks.fail(self.who, f"input of shape {shape_text(expected)}", self._got(shape), self.shape_advice(shape))

    def check_values(self, x: Any) -> None:
        """Raise unless these values will do: asked of layers that read a model's inputs before steps are replayed on them."""

    @staticmethod
    def _got(shape: Sequence[int | None]) -> str:
        return shape_text(shape) if shape and shape[0] is None else str(tuple(shape))

    def shape_advice(self, shape: Sequence[int | None]) -> str:
        """Return how to mend an input of a wrong shape."""
        return "it was built for that shape; make a new layer for another one" if self.built else ""

    def add_weight(
        self,
        name: str | None = None,
        shape: Sequence[int] = (),
        initializer: Any = "glorot_uniform",
        *,
        trainable: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        argument: str | None = None,
    ) -> Parameter:
        """Make a parameter of this layer, named "<layer>/<name>"; a name of None is "weight", "weight_1", ...

        Without a regularizer or constraint of its own it has the layer's for that name, or for the name that it has in the layer's
        arguments, if `weight_names` has it.
        """
        if name is None:
            count = len(self.parameters)
            name = f"weight_{count}" if count else "weight"
        if not isinstance(name, str):
            checks.fail_type(self.who, "the name of a weight as a string", checks.describe(name), "write shape=(...)")
        argument = argument or name
        spend_weights(self.who, math.prod(shape))
        value = initializer_of(initializer)(tuple(shape))
        parameter = Parameter(
            f"{self.name}/{name}",
            value,
            trainable=trainable,
            regularizer=regularizers.get(regularizer) or getattr(self, f"{argument}_regularizer", None),
            constraint=constraints.get(constraint) or getattr(self, f"{argument}_constraint", None),
        )
        self.parameters.append(parameter)
        return parameter

    def saved(self) -> Any:
        """Return what forward kept, or raise if there was no forward pass in training."""
        if self._saved is None:
            checks.fail(self.who, "forward(x, training=True) before backward", "no such call", "call forward first")
        return self._saved

    def forget(self) -> None:
        """Let go of what forward kept."""
        self._saved = None

    def keep(self) -> dict[str, Any]:
        """Return what the last forward left in this object, for `recalled`: what a model keeps per call of a shared layer."""
        return {name: value for name, value in vars(self).items() if name not in ASKED}

    @contextmanager
    def recalled(self, kept: dict[str, Any]) -> Iterator[None]:
        """Be as after the forward that `kept` is from."""
        now = dict(vars(self))
        vars(self).update(kept)
        try:
            yield
        finally:
            vars(self).update(now)

    def step_key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured of this layer's settings: if it changes, the step is recorded anew."""
        activity = self.activity_regularizer and self.activity_regularizer.step_key()
        return (self.trainable, activity, *(p.step_key() for p in self.parameters))

    @property
    def attached(self) -> list[Any]:
        """The regularizers and constraints that take part in its steps."""
        parts = [self.activity_regularizer, *(part for p in self.parameters for part in (p.regularizer, p.constraint))]
        return [part for part in parts if part is not None]

    @property
    def trainable(self) -> bool:
        """Whether training changes the parameters; setting it holds from the next step on."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = checks.boolean(self.who, "trainable", value)

    @property
    def losses(self) -> list[float]:
        """The penalties of its parameters now."""
        return [p.regularizer(p.value) for p in self.trainable_weights if p.regularizer is not None]

    @property
    def counters(self) -> dict[str, Any]:
        """Return the integer arrays that training changes (random counters), saved with the training state."""
        return {}

    @property
    def weights(self) -> list[Parameter]:
        """All parameters: those that have a gradient first, then the others (moving statistics)."""
        return [p for p in self.parameters if p.learns] + [p for p in self.parameters if not p.learns]

    @property
    def trainable_weights(self) -> list[Parameter]:
        """The parameters that training changes by gradients now."""
        return [p for p in self.parameters if p.trainable and self.trainable]

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        """The other parameters: moving statistics, and all of a frozen layer."""
        return [p for p in self.weights if not (p.trainable and self.trainable)]

    def get_weights(self) -> list[Float32]:
        """Return copies of the parameters."""
        return [p.numpy() for p in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set the parameters from arrays in the order of `get_weights`; nothing changes if one does not fit."""
        assign_all(self.who, self.weights, weights)

    def count_params(self) -> int:
        """Return the number of parameter values."""
        return sum(p.size for p in self.parameters)

    def __repr__(self) -> str:
        return f"<{self.who}>"


def initializer_of(identifier: Any) -> initializers.Initializer:
    """Return the initializer that an argument means: a name, an object, a class, a function, an array, a deviation."""
    found = initializers.get(identifier)
    if found is None:
        checks.fail_type("initializer", "a name or an Initializer", "None", "such as 'glorot_uniform'")
    return found if isinstance(found, initializers.Initializer) else FromFunction(found)
