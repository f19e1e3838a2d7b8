"""Activation functions by name: ``activations.get("relu")``. Simplest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from fastnn import checks, ops, reference
from fastnn.axes import axes_of, axis_argument, from_rows, to_rows
from fastnn.checks import Float32
from fastnn.names import snake_case
from fastnn.recordable import is_recordable
from fastnn.settings import Settings

# What an activation takes besides x, in order, with defaults; all others take nothing.
PARAMETERS: dict[str, dict[str, Any]] = {
    "relu": {"negative_slope": 0.0, "max_value": None, "threshold": 0.0},
    "leaky_relu": {"negative_slope": 0.2},
    "elu": {"alpha": 1.0},
    "celu": {"alpha": 1.0},
    "gelu": {"approximate": False},
    "soft_shrink": {"threshold": 0.5},
    "hard_shrink": {"threshold": 0.5},
    "squareplus": {"b": 4.0},
    "softmax": {"axis": -1},
    "log_softmax": {"axis": -1},
}
OVER_AN_AXIS = ("softmax", "log_softmax")
NAMES = (*reference.ACTIVATIONS, *OVER_AN_AXIS)


class Activation(Settings):
    """A function applied to every element (or, softmax, over an axis), with its derivative.

    One of your own is a subclass with `forward` and `backward`; the model then runs from Python.

    Args:
        name: of the function, such as "relu"; left out by subclasses.
        values: its parameters in the order of Keras: relu(negative_slope, max_value, threshold), leaky_relu(negative_slope),
            elu(alpha), celu(alpha), gelu(approximate), soft_shrink(threshold), hard_shrink(threshold), squareplus(b),
            softmax(axis), log_softmax(axis).
        parameters: the same by name.

    Example:
        >>> import numpy as np
        >>> relu = fastnn.activations.get("relu")
        >>> relu(np.array([-1.0, 2.0])).tolist()
        [0.0, 2.0]
        >>> relu(np.array([-1.0, 2.0, 9.0]), negative_slope=0.5, max_value=6.0).tolist()
        [-0.5, 2.0, 6.0]
        >>> fastnn.layers.Dense(3, activation=fastnn.activations.Activation("elu", alpha=0.5)).activation.parameters
        {'alpha': 0.5}
        >>> class Cube(fastnn.activations.Activation):
        ...     def forward(self, x):
        ...         return x**3
        ...     def backward(self, dy, x, y):
        ...         return 3 * dy * x**2
        >>> model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(4, activation=Cube()), fastnn.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> history = model.fit(np.ones((8, 2)), np.ones((8, 1)), verbose=0)
    """

    recordable: ClassVar[bool] = True

    def __init__(self, name: str | None = None, *values: Any, **parameters: Any) -> None:
        self._parameters: tuple[tuple[str, Any], ...] = ()
        self.alpha = 0.0
        if name is None and type(self) is not Activation:
            self.name, self.kind = snake_case(type(self).__name__), "custom"
            return
        self.name = _CANONICAL.get(str(name), checks.one_of("Activation", "name", name, [*NAMES, *_CANONICAL]))
        given = _checked(self.name, values, parameters)
        self._parameters = tuple(given.items())
        self.kind, self.alpha = _kernel(self.name, given)

    @property
    def parameters(self) -> dict[str, Any]:
        """What the function takes besides x, by the names of Keras."""
        return dict(self._parameters)

    @property
    def from_output(self) -> bool:
        """Whether the derivative is computed from the output, so that the input need not be kept."""
        known = self.name in OVER_AN_AXIS or self.kind in reference.FROM_OUTPUT
        return known and is_recordable(self)

    @property
    def fusable(self) -> bool:
        """Whether a product's epilogue may apply it: the kernel's own function, whose input is not needed afterwards."""
        return self.kind in reference.FROM_OUTPUT and is_recordable(self)

    def step_key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured."""
        return (self.kind, self.alpha, self._parameters)

    def forward(self, x: Float32) -> Float32:
        """Return f(x) as a new array (x itself for linear)."""
        if self.kind == "linear":
            return x
        if self.kind == "custom":
            raise TypeError(checks.message(self.name, "an activation class with a forward method", "none"))
        if self.kind == "clipped_relu":
            return ops.clipped_relu_forward(x, *self._clipping())
        if self.name not in OVER_AN_AXIS:
            return ops.activation_forward(x, self.kind, self.alpha)
        compute = ops.softmax_forward if self.name == "softmax" else ops.log_softmax_forward
        axes = axes_of(f"activation '{self.name}'", self.parameters["axis"], x.ndim)
        return from_rows(compute(to_rows(x, axes)), x.shape, axes)

    def backward(self, dy: Float32, x: Float32 | None, y: Float32) -> Float32:
        """Return dy f'(x), given x (may be None if `from_output`) and y = f(x)."""
        own_forward = type(self).forward is not Activation.forward
        if own_forward and type(self).backward is Activation.backward:
            raise TypeError(checks.message(self.name, "an activation class with a backward method", "forward only"))
        if self.kind == "linear":
            return dy
        if self.kind == "clipped_relu":
            assert x is not None  # its derivative is not taken from the output
            return ops.clipped_relu_backward(dy, x, *self._clipping())
        if self.name not in OVER_AN_AXIS:
            return ops.activation_backward(dy, x, y, self.kind, self.alpha)
        compute = ops.softmax_backward if self.name == "softmax" else ops.log_softmax_backward
        axes = axes_of(f"activation '{self.name}'", self.parameters["axis"], y.ndim)
        dy = ops.as_float32(self.name, "dy", dy)
        return from_rows(compute(to_rows(dy, axes), to_rows(y, axes)), y.shape, axes)

    def _clipping(self) -> tuple[float, float, float]:
        """Return slope, largest value and threshold of a clipped relu."""
        own = self.parameters
        return own["negative_slope"], np.inf if own["max_value"] is None else own["max_value"], own["threshold"]

    def __call__(self, x: Any, *values: Any, **parameters: Any) -> Float32:
        """Return f(x) for anything that converts to a float32 array; with parameters, by those instead of its own."""
        if values or parameters:
            return Activation(self.name, *values, **parameters)(x)
        x = checks.float32(f"activation '{self.name}'", "x", x)
        y = self.forward(np.atleast_1d(x)).reshape(x.shape)
        return y.copy() if np.shares_memory(x, y) else y

    def __repr__(self) -> str:
        changed = [f"{k}={v!r}" for k, v in self._parameters if v != PARAMETERS[self.name][k]]
        return f"<activation {self.name}{'(' + ', '.join(changed) + ')' if changed else ''}>"


def _checked(name: str, values: Sequence[Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters of an activation, those not given by their defaults."""
    who, valid = f"activation '{name}'", PARAMETERS.get(name, {})
    if len(values) > len(valid):
        checks.fail_type(who, f"at most {len(valid)} parameters", len(values), f"valid: {', '.join(valid) or 'none'}")
    given = dict(zip(valid, values))
    checks.unknown_arguments(who, set(parameters) - set(valid), valid)
    twice = given.keys() & parameters.keys()
    if twice:
        checks.fail_type(who, f"one value for {', '.join(sorted(twice))}", "two")
    result = {**valid, **given, **parameters}
    for key, value in result.items():
        if key == "approximate":
            result[key] = checks.boolean(who, key, value)
        elif key == "axis":
            result[key] = axis_argument(who, value)
        elif key == "b" or (name, key) == ("celu", "alpha"):
            result[key] = checks.number(who, key, value, above=0.0)
        elif not (key == "max_value" and value is None):
            result[key] = checks.number(who, key, value, 0.0)
    return result


def _kernel(name: str, given: dict[str, Any]) -> tuple[str, float]:
    """Return the kernel's name of an activation with these parameters, and the number in its formula."""
    if name == "relu":
        slope, most, threshold = given["negative_slope"], given["max_value"], given["threshold"]
        if threshold == 0 and most is None:
            return ("leaky_relu", slope) if slope else ("relu", 0.0)
        return ("relu6", 0.0) if (slope, most, threshold) == (0, 6, 0) else ("clipped_relu", slope)
    if name == "gelu":
        return ("gelu_tanh" if given["approximate"] else "gelu"), 0.0
    if name in OVER_AN_AXIS:
        return name if given["axis"] == -1 else f"{name} over axes", 0.0
    return name, float(next(iter(given.values()), 0.0))


_CANONICAL = {"swish": "silu", "hard_swish": "hard_silu"}
_BY_NAME = {name: Activation(name) for name in NAMES}

linear = _BY_NAME["linear"]
relu = _BY_NAME["relu"]
relu6 = _BY_NAME["relu6"]
leaky_relu = _BY_NAME["leaky_relu"]
elu = _BY_NAME["elu"]
selu = _BY_NAME["selu"]
celu = _BY_NAME["celu"]
exponential = _BY_NAME["exponential"]
step = _BY_NAME["step"]
sign = _BY_NAME["sign"]
hard_tanh = _BY_NAME["hard_tanh"]
hard_sigmoid = _BY_NAME["hard_sigmoid"]
sparse_sigmoid = _BY_NAME["sparse_sigmoid"]
sigmoid = _BY_NAME["sigmoid"]
tanh = _BY_NAME["tanh"]
softplus = _BY_NAME["softplus"]
gelu = _BY_NAME["gelu"]
gelu_tanh = _BY_NAME["gelu_tanh"]
silu = swish = _BY_NAME["silu"]
mish = _BY_NAME["mish"]
hard_silu = hard_swish = _BY_NAME["hard_silu"]
softsign = _BY_NAME["softsign"]
log_sigmoid = _BY_NAME["log_sigmoid"]
tanh_shrink = _BY_NAME["tanh_shrink"]
soft_shrink = _BY_NAME["soft_shrink"]
hard_shrink = _BY_NAME["hard_shrink"]
squareplus = _BY_NAME["squareplus"]
sparse_plus = _BY_NAME["sparse_plus"]
softmax = _BY_NAME["softmax"]
log_softmax = _BY_NAME["log_softmax"]


def get(identifier: str | Mapping[str, Any] | Activation | None) -> Activation:
    """Return the activation with that name; None is linear, an Activation is returned as it is, of a layer such as ReLU() its own.

    A dict as `serialize` gives it, such as {"name": "relu", "max_value": 6.0}, makes one with parameters.

    Raises:
        ValueError: for an unknown name, with the nearest ones.
        TypeError: for anything else, such as a plain Python function: it has no derivative here.
    """
    if identifier is None:
        return linear
    if getattr(identifier, "is_activation", False):  # a layer that is nothing else
        identifier = identifier.activation  # type: ignore[union-attr]
    if isinstance(identifier, Activation):
        return identifier
    if isinstance(identifier, Mapping) and "name" in identifier:
        return Activation(**{str(k): v for k, v in identifier.items()})
    if not isinstance(identifier, str):
        checks.fail_type(
            "activation",
            "a name or an Activation",
            checks.describe(identifier),
            "for a function of your own subclass fastnn.activations.Activation",
        )
    name = _CANONICAL.get(identifier, identifier)
    return _BY_NAME[checks.one_of("activation", "name", name, sorted([*_BY_NAME, *_CANONICAL]))]


def serialize(activation: Activation) -> str | dict[str, Any]:
    """Return the name that `get` turns back into this activation, or a dict with its name and parameters."""
    if type(activation) is not Activation:
        checks.fail("activation", "one of fastnn's own", repr(activation), "a class of yours cannot be saved by name")
    if activation.parameters == PARAMETERS.get(activation.name, {}):
        return activation.name
    axes = {k: list(v) if isinstance(v, tuple) else v for k, v in activation.parameters.items()}
    return {"name": activation.name, **axes}


def deserialize(config: str | Mapping[str, Any], custom_objects: Mapping[str, Activation] | None = None) -> Activation:
    """Return the activation that `serialize` described.

    Args:
        config: the name, or a dict with it and the parameters.
        custom_objects: your own activations by name.
    """
    own = custom_objects or {}
    return own[config] if isinstance(config, str) and config in own else get(config)
