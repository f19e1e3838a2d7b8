"""Activations as layers: Activation, ReLU, LeakyReLU, ELU, Softmax."""

from __future__ import annotations

from typing import Any, ClassVar

from fastnn import activations, checks
from fastnn.checks import Float32
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

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": activations.serialize(self.activation)}


class ReLU(Activation):
    """Cut negative values to 0.

    y = max(x, 0), or negative_slope x for x < 0

    Args:
        negative_slope: factor below 0, >= 0.

    Reference:
        Nair & Hinton (2010), Rectified linear units improve restricted Boltzmann machines.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.ReLU()(np.array([[-1.0, 2.0]])).tolist()
        [[0.0, 2.0]]
    """

    recordable: ClassVar[bool] = True

    def __init__(self, negative_slope: float = 0.0, **base: Any) -> None:
        self.negative_slope = checks.number(type(self).__name__, "negative_slope", negative_slope, 0.0)
        kind = "leaky_relu" if self.negative_slope else "relu"
        super().__init__(activations.Activation(kind, self.negative_slope), **base)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "trainable": self.trainable, "negative_slope": self.negative_slope}


class LeakyReLU(ReLU):
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
        super().__init__(negative_slope, **base)


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
        return {"name": self.name, "trainable": self.trainable, "alpha": self.alpha}


class Softmax(Activation):
    """Turn the last axis into probabilities.

    y = exp(x - max) / sum(exp(x - max))

    Args:
        axis: -1, the last one.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.Softmax()(np.zeros((1, 4))).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """

    recordable: ClassVar[bool] = True

    def __init__(self, axis: int = -1, **base: Any) -> None:
        if axis != -1:
            checks.fail(type(self).__name__, "axis -1", axis, "move the axis to the end first")
        super().__init__("softmax", **base)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "trainable": self.trainable}
