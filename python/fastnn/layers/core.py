"""Input, InputLayer, Dense, Flatten and Reshape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from fastnn import activations, checks, initializers, ops
from fastnn.checks import Float32
from fastnn.graph import Node, SymbolicTensor
from fastnn.layers.base import Layer, initializer_of, sample_shape
from fastnn.names import Shape, shape_text
from fastnn.parameter import Parameter

INPUT_DTYPES = (None, "float32", "uint8", "int32", "int64")


class InputLayer(Layer):
    """Where samples enter a model; `Input` makes one and returns its output.

    Args:
        shape: of one sample, without the batch size; None where it is free.
        batch_size: None or a size, for the record only: every batch size works.
        dtype: None, "float32" or, for whole numbers, an integer type; real arrays of any type are taken and become float32.
        batch_shape: the batch size, or None, and the shape behind it, instead of the two.

    Shape:
        x: (N, *shape), unchanged.

    Raises:
        ValueError: for samples of another shape.

    Example:
        >>> fastnn.layers.InputLayer((28, 28), name="image").output
        <SymbolicTensor 'image' (N, 28, 28)>
    """

    recordable: ClassVar[bool] = True

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: str | None = None,
        *,
        batch_shape: Sequence[int | None] | None = None,
        **base: Any,
    ) -> None:
        if not isinstance(dtype, str | None) or dtype not in INPUT_DTYPES:
            rule = "dtype None, 'float32', 'uint8', 'int32' or 'int64'"
            checks.fail("Input", rule, repr(dtype), "inputs of other real dtypes are converted")
        super().__init__(**base)
        if batch_shape is not None:
            if shape is not None or batch_size is not None:
                checks.fail(
                    "Input", "shape and batch_size, or batch_shape", "both", "batch_shape is (batch_size, *shape)"
                )
            if not isinstance(batch_shape, (tuple, list)) or not batch_shape:
                checks.fail_type("Input", "batch_shape as a tuple that begins with the batch size", repr(batch_shape))
            batch_size, shape = batch_shape[0], batch_shape[1:]
        self.sample_shape = sample_shape("Input", "shape", shape)
        self.batch_size = None if batch_size is None else checks.integer("Input", "batch_size", batch_size, 1)
        self.input_dtype = dtype
        self.declared = True  # False for the shape of a first batch, which others need not have

    def expected_shape(self) -> Shape | None:
        return self.sample_shape if self.declared else None

    def shape_advice(self, shape: Sequence[int | None]) -> str:
        return "the model was made for that shape; declare None for sizes that vary"

    @property
    def output(self) -> SymbolicTensor:
        """The symbolic tensor that stands for the samples."""
        alive = [node for ref in self.nodes if (node := ref()) is not None]
        return (alive[0] if alive else Node(self, [], [self.sample_shape])).outputs[0]

    def forward(self, x: Any, training: bool = False) -> Float32:
        return self.check_input(x)

    def backward(self, dy: Float32) -> Float32:
        return dy

    def get_config(self) -> dict[str, Any]:
        own = {"shape": list(self.sample_shape[1:]), "batch_size": self.batch_size, "dtype": self.input_dtype}
        return {**super().get_config(), **own, **({} if self.declared else {"declared": False})}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InputLayer:
        layer = cls(**{name: value for name, value in config.items() if name != "declared"})
        layer.declared = checks.boolean("InputLayer", "declared", config.get("declared", True))
        return layer


def Input(
    shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    dtype: str | None = None,
    *,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
) -> SymbolicTensor:
    """Declare an input of a model: the symbolic tensor to call layers on, or the first entry of a Sequential.

    Args:
        shape: of one sample, without the batch size; None where it is free.
        batch_size: None or a size, for the record only: every batch size works.
        dtype: None, "float32" or, for whole numbers, an integer type; real arrays of any type are taken and become float32, in
            which integers are exact up to 2^24.
        batch_shape: the batch size, or None, and the shape behind it, instead of the two.
        name: None makes "input_layer", "input_layer_1", ...

    Example:
        >>> fastnn.Sequential([fastnn.Input(shape=(3,)), fastnn.layers.Dense(2)]).count_params()
        8
        >>> x = fastnn.Input(shape=(3,))
        >>> fastnn.Model(x, fastnn.layers.Dense(2)(x)).count_params()
        8
    """
    return InputLayer(shape, batch_size, dtype, batch_shape=batch_shape, name=name).output


# A product is left to the optimizer if dz has at most so many rows or elements: more do not stay in the cache.
MOST_ROWS = 1024
MOST_PRODUCT = 2**17


class ActivatedLayer(Layer):
    """A layer that ends with an activation, which a loss may take over (softmax, sigmoid) for a stable fused gradient."""

    def __init__(self, activation: Any, **base: Any) -> None:
        super().__init__(**base)
        self.activation = activations.get(activation)
        self.skip_activation = False  # set by a model while its loss applies the activation

    def effective(self) -> activations.Activation:
        """Return the activation to apply now."""
        return activations.linear if self.skip_activation else self.activation

    def before_activation(self, dy: Float32, z: Float32 | None, y: Float32) -> Float32:
        """Return the gradient of the activation's input z, given that of its output y."""
        return dy if self.skip_slope else self.effective().backward(dy, z, y)

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.skip_activation, *self.activation.step_key())


class Dense(ActivatedLayer):
    """Connect every input with every output unit.

    y = f(x kernel + bias), kernel of shape (D, units)

    Args:
        units: number of outputs, >= 1.
        activation: name or Activation; None is linear.
        use_bias: whether bias is added.
        kernel_initializer: initializer of kernel.
        bias_initializer: initializer of bias.
        kernel_regularizer, bias_regularizer, activity_regularizer: what kernel, bias and output add to the loss, or None.
        kernel_constraint, bias_constraint: what kernel and bias are brought to after every update, or None.

    Shape:
        x: (N, ..., D) float32 -> y: (N, ..., units).

    Raises:
        ValueError: if units < 1, or the last axis of an input is not the D it was built for.

    Reference:
        Rumelhart, Hinton & Williams (1986), Learning representations by back-propagating errors.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.Dense(3, activation="relu")(np.ones((2, 4))).shape
        (2, 3)
    """

    recordable: ClassVar[bool] = True
    takes_relu: ClassVar[bool] = True
    leaves_product: ClassVar[bool] = True
    supports_masking: ClassVar[bool] = True
    weight_names: ClassVar[tuple[str, ...]] = ("kernel", "bias")

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **base: Any,
    ) -> None:
        super().__init__(
            activation,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            **base,
        )
        self.units = checks.integer(self.who, "units", units, 1)
        self.use_bias = checks.boolean(self.who, "use_bias", use_bias)
        self.kernel_initializer = initializer_of(kernel_initializer)
        self.bias_initializer = initializer_of(bias_initializer)
        self.kernel: Parameter
        self.bias: Parameter | None = None

    def build(self, input_shape: Shape) -> None:
        width = input_shape[-1]
        if width is None:
            checks.fail(self.who, "a last axis of known size", shape_text(input_shape))
        self.kernel = self.add_weight("kernel", (width, self.units), self.kernel_initializer)
        if self.use_bias:
            self.bias = self.add_weight("bias", (self.units,), self.bias_initializer)

    def expected_shape(self) -> Shape | None:
        if self.input_shape is None:
            return None
        return (*(None for _ in self.input_shape[:-1]), self.input_shape[-1])

    def check_shape(self, shape: Sequence[int | None]) -> None:
        if len(shape) < 2:
            checks.fail(
                self.who, "input of shape (N, D)", self._got(shape), "give every sample an axis: x.reshape(-1, 1)"
            )
        super().check_shape(shape)

    def shape_advice(self, shape: Sequence[int | None]) -> str:
        width = self.input_shape[-1] if self.input_shape else None
        if len(shape) > 2 and None not in shape[1:] and np.prod(np.array(shape[1:], dtype=np.int64)) == width:
            return "add Flatten() before it"
        return f"it was built for {width} features"

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self.check_input(x)
        flat = x.reshape(-1, x.shape[-1]) if x.ndim != 2 else x
        f = self.effective()
        bias = None if self.bias is None else self.bias.value
        shape = (*x.shape[:-1], self.units)
        if f.fusable:
            z = None
            y = ops.dense_forward(flat, self.kernel.value, bias, f.kind, f.alpha, skip_zeros=training).reshape(shape)
        else:
            z = ops.dense_forward(flat, self.kernel.value, bias, skip_zeros=training).reshape(shape)
            y = f.forward(z)
        if training:
            self._saved = flat, None if f.from_output else z, y, x.shape
        return y

    def backward(self, dy: Float32) -> Float32 | None:
        x, z, y, shape = self.saved()
        dz = self.before_activation(dy.reshape(y.shape), z, y).reshape(len(x), self.units)
        fits = len(dz) <= MOST_ROWS or dz.size <= MOST_PRODUCT
        self.product = (x, dz) if self.keep_product and fits else None
        dkernel = self.kernel.grad if self.trainable and self.product is None else None
        dbias = self.bias.grad if self.trainable and self.bias is not None else None
        dx = ops.dense_backward(
            x, self.kernel.value, dz, dkernel, dbias, need_dx=self.need_dx, relu_input=self.relu_input
        )
        return None if dx is None else dx.reshape(shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
        }


class Reshape(Layer):
    """Give every sample another shape; values keep their order.

    Args:
        target_shape: shape of one sample; one entry may be -1 and is computed.

    Shape:
        x: (N, ...) -> y: (N, *target_shape).

    Raises:
        ValueError: if the sizes do not match.

    Example:
        >>> import numpy as np
        >>> fastnn.layers.Reshape((2, -1))(np.ones((5, 6))).shape
        (5, 2, 3)
    """

    recordable: ClassVar[bool] = True

    def __init__(self, target_shape: Sequence[int], **base: Any) -> None:
        super().__init__(**base)
        if isinstance(target_shape, (int, np.integer)):
            target_shape = (int(target_shape),)
        sizes = checks.several(self.who, "target_shape", target_shape)
        self.target_shape = tuple(checks.integer(self.who, "target_shape", s, -1) for s in sizes)
        if self.target_shape.count(-1) > 1 or 0 in self.target_shape:
            checks.fail(self.who, "target_shape of sizes >= 1 with at most one -1", self.target_shape)

    def expected_shape(self) -> Shape | None:
        return None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if None in input_shape[1:]:
            checks.fail(self.who, "an input of known shape", shape_text(input_shape))
        size = int(np.prod(np.array(input_shape[1:], dtype=np.int64)))
        known = int(np.prod([s for s in self.target_shape if s != -1]))
        target = tuple(size // known if s == -1 else s for s in self.target_shape)
        if int(np.prod(target)) != size:
            checks.fail(
                self.who, f"samples of {known} values", f"shape {shape_text(input_shape)}", f"{size} values each"
            )
        return (None, *target)

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self.check_input(x)
        if training:
            self._saved = x.shape
        y: Float32 = x.reshape(x.shape[0], *(s for s in self.compute_output_shape(x.shape)[1:] if s is not None))
        return y

    def backward(self, dy: Float32) -> Float32:
        return dy.reshape(self.saved())

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "target_shape": list(self.target_shape)}


class Flatten(Layer):
    """Lay all values of a sample in one row.

    Args:
        data_format: None, "channels_last" or "channels_first"; the latter moves the channels behind the other axes first.

    Shape:
        x: (N, ...) -> y: (N, product of the rest).

    Example:
        >>> import numpy as np
        >>> fastnn.layers.Flatten()(np.ones((5, 2, 3))).shape
        (5, 6)
    """

    recordable: ClassVar[bool] = True

    def __init__(self, data_format: str | None = None, **base: Any) -> None:
        super().__init__(**base)
        self.data_format = data_format_of(self.who, data_format)

    def expected_shape(self) -> Shape | None:
        return None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if None in input_shape[1:]:
            return (None, None)
        return (None, int(np.prod(np.array(input_shape[1:], dtype=np.int64))))

    def forward(self, x: Any, training: bool = False) -> Float32:
        x = self.check_input(x)
        if self._moves(x):
            x = ops.permute(x, (0, *range(2, x.ndim), 1))
        if training:
            self._saved = x.shape
        y: Float32 = x.reshape(x.shape[0], int(np.prod(x.shape[1:])))
        return y

    def backward(self, dy: Float32) -> Float32:
        dx = dy.reshape(self.saved())
        return ops.permute(dx, (0, dx.ndim - 1, *range(1, dx.ndim - 1))) if self._moves(dx) else dx

    def _moves(self, x: Float32) -> bool:
        return self.data_format == "channels_first" and x.ndim > 2

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}


def data_format_of(who: str, data_format: str | None) -> str:
    """Return "channels_last" (also for None) or "channels_first"."""
    given = "channels_last" if data_format is None else data_format
    return checks.one_of(who, "data_format", given, ("channels_last", "channels_first"))
