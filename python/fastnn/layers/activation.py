"""Activations as layers: Activation, Identity, ReLU, LeakyReLU, ELU, Softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from fastnn import activations, axes, checks
from fastnn.checks import Float32
from fastnn.graph import is_symbolic
from fastnn.layers.core import ActivatedLayer
from fastnn.names import Shape


class Activation(ActivatedLayer):
    """Apply an activation.

    y = f(x)

    Args:
        activation: name or `fastnn.activations.Activation`.

    Shape:
        any, unchanged.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.Activation("relu")(np.array([[-1.0, 2.0]])).tolist()
        [[0.0, 2.0]]
    """

    recordable: ClassVar[bool] = True
    supports_masking: ClassVar[bool] = True
    is_activation: ClassVar[bool] = True  # another layer may take it for its activation

    def __init__(self, activation: Any, **base: Any) -> None:
        super().__init__(activation, **base)

    def expected_shape(self) -> Shape | None:
        return None

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self.check_input(x)
        f = self.effective()
        y = f.forward(x)
        if training:
            self._saved = None if f.from_output else x, y
        return y

    def backward(self, dy: Float32) -> Float32:
        x, y = self.saved()
        return self.before_activation(dy, x, y)

    def base_config(self) -> dict[str, Any]:
        """Return the arguments that every layer has."""
        return super().get_config()

    def get_config(self) -> dict[str, Any]:
        return {**self.base_config(), "activation": activations.serialize(self.activation)}


class Identity(Activation):
    """Pass the input on.

    y = x

    Shape:
        any, unchanged.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.Identity()(np.array([[-1.0, 2.0]])).tolist()
        [[-1.0, 2.0]]
    """

    recordable: ClassVar[bool] = True

    def __init__(self, **base: Any) -> None:
        super().__init__("linear", **base)

    def get_config(self) -> dict[str, Any]:
        return self.base_config()


class ReLU(Activation):
    """Cut off what is small, and perhaps what is large.

    y = min(x, max_value) for x > threshold, else negative_slope (x - threshold); by default max(x, 0)

    Args:
        max_value: largest value of y, >= 0; None for any.
        negative_slope: factor below the threshold, >= 0.
        threshold: from where on values pass, >= 0.

    Shape:
        any, unchanged.

    Reference:
        Nair & Hinton (2010), Rectified linear units improve restricted Boltzmann machines.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.ReLU()(np.array([[-1.0, 2.0]])).tolist()
        [[0.0, 2.0]]
        >>> fastnn.layers.ReLU(max_value=6.0, negative_slope=0.5)(np.array([[-1.0, 2.0, 9.0]])).tolist()
        [[-0.5, 2.0, 6.0]]
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **base: Any,
    ) -> None:
        who = type(self).__name__
        self.max_value = None if max_value is None else checks.number(who, "max_value", max_value, 0.0)
        self.negative_slope = checks.number(who, "negative_slope", negative_slope, 0.0)
        self.threshold = checks.number(who, "threshold", threshold, 0.0)
        parts = self.negative_slope, self.max_value, self.threshold
        super().__init__(activations.Activation("relu", *parts), **base)

    def get_config(self) -> dict[str, Any]:
        return {
            **self.base_config(),
            "max_value": self.max_value,
            "negative_slope": self.negative_slope,
            "threshold": self.threshold,
        }


class LeakyReLU(Activation):
    """Scale negative values down.

    y = x for x > 0, negative_slope x below

    Args:
        negative_slope: factor below 0, >= 0. The notes' form x / a with a > 1 is negative_slope = 1 / a.

    Reference:
        Maas, Hannun & Ng (2013), Rectifier nonlinearities improve neural network acoustic models.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.LeakyReLU(0.5)(np.array([[-1.0, 2.0]])).tolist()
        [[-0.5, 2.0]]
    """

    recordable: ClassVar[bool] = True

    def __init__(self, negative_slope: float = 0.3, **base: Any) -> None:
        if "alpha" in base:  # Keras 2
            checks.warn("LeakyReLU: alpha is now called negative_slope")
            negative_slope = base.pop("alpha")
        self.negative_slope = checks.number(type(self).__name__, "negative_slope", negative_slope, 0.0)
        super().__init__(activations.Activation("leaky_relu", self.negative_slope), **base)

    def get_config(self) -> dict[str, Any]:
        return {**self.base_config(), "negative_slope": self.negative_slope}


class ELU(Activation):
    """Let negative values saturate at -alpha.

    y = x for x > 0, alpha (exp(x) - 1) below

    Args:
        alpha: scale, >= 0.

    Reference:
        Clevert, Unterthiner & Hochreiter (2016), Fast and accurate deep network learning by exponential linear units.

    Example:
        >>> import numpy as np
        >>> round(float(fastnn.layers.ELU()(np.array([[-1.0]]))[0, 0]), 4)
        -0.6321
    """

    recordable: ClassVar[bool] = True

    def __init__(self, alpha: float = 1.0, **base: Any) -> None:
        self.alpha = checks.number(type(self).__name__, "alpha", alpha, 0.0)
        super().__init__(activations.Activation("elu", self.alpha), **base)

    def get_config(self) -> dict[str, Any]:
        return {**self.base_config(), "alpha": self.alpha}


class Softmax(Activation):
    """Turn values along an axis into probabilities.

    y = exp(x - max) / sum(exp(x - max))

    Args:
        axis: that of the classes, or several axes that are one set of classes together; not that of the samples.

    Call arguments:
        mask: True (or above 0.5) where a class may be, in a shape that can be repeated to that of x; others get 0. For calls on
            arrays, not on symbolic tensors.

    Shape:
        any, unchanged.

    Raises:
        ValueError: for an axis that an input does not have, or that of the samples.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.Softmax()(np.zeros((1, 4))).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
        >>> fastnn.layers.Softmax(axis=1)(np.zeros((1, 2, 1))).tolist()
        [[[0.5], [0.5]]]
    """

    recordable: ClassVar[bool] = True

    def __init__(self, axis: int | Sequence[int] = -1, **base: Any) -> None:
        self.axis = axes.axis_argument(type(self).__name__, axis)
        super().__init__(activations.Activation("softmax", axis=self.axis), **base)

    def __call__(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Return forward(x, training), 0 where the mask is; see `Layer`."""
        if mask is None:
            return super().__call__(x, training)
        if is_symbolic(x):
            checks.fail(self.who, "no mask in a call on symbolic tensors", "one", "call the layer on arrays")
        x = self.check_input(x)
        kept = checks.array(self.who, "mask", mask) > 0.5
        if kept.ndim > x.ndim or any(size not in (1, n) for size, n in zip(kept.shape[::-1], x.shape[::-1])):
            checks.fail(self.who, f"a mask that can be repeated to shape {x.shape}", f"shape {kept.shape}")
        y: Float32 = super().__call__(np.where(kept, x, np.finfo(np.float32).min), training)
        y *= kept  # in place: backward takes it; it is all of a row where nothing is left
        return y

    def check_shape(self, shape: Sequence[int | None]) -> None:
        given = (self.axis,) if isinstance(self.axis, int) else self.axis
        rank = len(shape)
        numbers = {axis % rank for axis in given if -rank <= axis < rank}
        if 0 in numbers or len(numbers) < len(given):
            checks.fail(self.who, f"input with axis {self.axis} besides that of the samples", self._got(shape))

    def get_config(self) -> dict[str, Any]:
        return {**self.base_config(), "axis": list(self.axis) if isinstance(self.axis, tuple) else self.axis}
