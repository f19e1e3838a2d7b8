"""Activation functions by name: ``activations.get("relu")``. Simplest first."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastnn import checks, ops, reference
from fastnn.checks import Float32
from fastnn.recordable import is_recordable
from fastnn.settings import Settings


class Activation(Settings):
    """A function applied to every element (or, softmax, to every row of the last axis), with its derivative.

    Args:
        kind: name of the kernel's activation, or "softmax".
        alpha: its slope (leaky_relu) or scale (elu), >= 0.
        name: what `serialize` writes; None means kind.

    Example:
        >>> import numpy as np
        >>> relu = fastnn.activations.get("relu")
        >>> relu(np.array([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """

    recordable: ClassVar[bool] = True

    def __init__(self, kind: str, alpha: float = 0.0, name: str | None = None) -> None:
        self.kind = kind
        self.alpha = checks.number("Activation", "alpha", alpha, 0.0)
        self.name = name or kind

    @property
    def from_output(self) -> bool:
        """Whether the derivative is computed from the output, so that the input need not be kept."""
        return self.kind == "softmax" or self.kind in reference.FROM_OUTPUT

    @property
    def fusable(self) -> bool:
        """Whether a product's epilogue may apply it: the kernel's own function, whose input is not needed afterwards."""
        return self.kind != "softmax" and self.from_output and is_recordable(self)

    def forward(self, x: Float32) -> Float32:
        """Return f(x) as a new array (x itself for linear)."""
        if self.kind == "linear":
            return x
        return ops.softmax_forward(x) if self.kind == "softmax" else ops.activation_forward(x, self.kind, self.alpha)

    def backward(self, dy: Float32, x: Float32 | None, y: Float32) -> Float32:
        """Return dy f'(x), given x (may be None if `from_output`) and y = f(x)."""
        if self.kind == "linear":
            return dy
        if self.kind == "softmax":
            return ops.softmax_backward(dy, y)
        return ops.activation_backward(dy, x, y, self.kind, self.alpha)

    def __call__(self, x: Any) -> Float32:
        """Return f(x) for anything that converts to a float32 array."""
        x = checks.float32(f"activation '{self.name}'", "x", x)
        return x.copy() if self.kind == "linear" else self.forward(np.atleast_1d(x)).reshape(x.shape)

    def __repr__(self) -> str:
        return f"<activation {self.name}>"


linear = Activation("linear")
relu = Activation("relu")
leaky_relu = Activation("leaky_relu", 0.2)
elu = Activation("elu", 1.0)
sigmoid = Activation("sigmoid")
tanh = Activation("tanh")
softplus = Activation("softplus")
gelu = Activation("gelu")
gelu_tanh = Activation("gelu_tanh")
silu = Activation("silu")
softmax = Activation("softmax")

_BY_NAME = {a.name: a for a in (linear, relu, leaky_relu, elu, sigmoid, tanh, softplus, gelu, gelu_tanh, silu, softmax)}
_BY_NAME["swish"] = silu


def get(identifier: str | Activation | None) -> Activation:
    """Return the activation with that name; None is linear, an Activation is returned as it is.

    Raises:
        ValueError: for an unknown name, with the nearest ones.
        TypeError: for anything else, such as a plain Python function: it has no derivative here.
    """
    if identifier is None:
        return linear
    if isinstance(identifier, Activation):
        return identifier
    if not isinstance(identifier, str):
        checks.fail_type(
            "activation",
            "a name or an Activation",
            checks.describe(identifier),
            "for a function of your own subclass fastnn.layers.Layer",
        )
    return _BY_NAME[checks.one_of("activation", "name", identifier, sorted(_BY_NAME))]


def serialize(activation: Activation) -> str:
    """Return the name that `get` turns back into this activation."""
    if _BY_NAME.get(activation.name) is not activation:
        checks.fail("activation", "one that has a name of its own", repr(activation), "use its layer form to save it")
    return activation.name
