"""Small helpers that Keras's users expect."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import checks, config
from fastnn.checks import Float32
from fastnn.custom import custom_object_scope, get_custom_objects, register_keras_serializable
from fastnn.names import clear_names
from fastnn.training.sources import PyDataset
from fastnn.training.splits import train_test_split

if TYPE_CHECKING:
    from fractions import Fraction

    from fastnn.diagram import plot_model
    from fastnn.plotting import (
        plot_activation_functions,
        plot_activations,
        plot_confusion_matrix,
        plot_decision_boundary,
        plot_gradients,
        plot_history,
        plot_loss_surface,
        plot_paths,
        plot_weights,
    )

Sequence = PyDataset  # as it was called before

__all__ = [
    "PyDataset",
    "Sequence",
    "clear_session",
    "conv_output_size",
    "custom_object_scope",
    "get_custom_objects",
    "hidden_units",
    "normalize",
    "plot_activation_functions",
    "plot_activations",
    "plot_confusion_matrix",
    "plot_decision_boundary",
    "plot_gradients",
    "plot_history",
    "plot_loss_surface",
    "plot_model",
    "plot_paths",
    "plot_weights",
    "receptive_field",
    "register_keras_serializable",
    "set_random_seed",
    "to_categorical",
    "train_test_split",
]


def __getattr__(name: str) -> Any:
    """Bring along what draws pictures when it is first asked for."""
    if name.startswith("plot_") and name in __all__:
        return getattr(import_module("fastnn.diagram" if name == "plot_model" else "fastnn.plotting"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def to_categorical(x: Any, num_classes: int | None = None) -> Float32:
    """Return one-hot rows for class numbers.

    Args:
        x: integers in [0, num_classes), any shape.
        num_classes: number of columns; None means the largest class number plus one.

    Raises:
        ValueError: for numbers out of range.

    Example:
        >>> fastnn.utils.to_categorical([0, 2]).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    labels = checks.array("to_categorical", "x", x)
    if labels.dtype.kind == "f" and (labels != np.floor(labels)).any():
        checks.fail("to_categorical", "integer class numbers", "fractions or NaN")
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    largest = int(labels.max()) if labels.size else -1
    count = largest + 1 if num_classes is None else checks.integer("to_categorical", "num_classes", num_classes, 1)
    if labels.size and (labels.min() < 0 or largest >= count):
        checks.fail("to_categorical", f"class numbers from 0 to {count - 1}", f"{labels.min():g} to {largest}")
    return np.eye(count, dtype=np.float32)[labels.astype(np.int64)]


def normalize(x: Any, axis: int = -1, order: float = 2) -> Float32:
    """Return x / |x|, the norms taken along an axis; vectors of length 0 stay.

    For features of mean 0 and deviation 1 see `fastnn.layers.Normalization`, which keeps them with the model.

    Args:
        x: an array of at least one axis.
        axis: of the vectors that get length 1; -1 makes each sample's features one.
        order: of the norm: 2 Euclidean, 1 the sum of absolute values, or any p > 0; infinity is the largest absolute value.

    Raises:
        ValueError: for an axis that x does not have, and an order that is not above 0.

    Example:
        >>> fastnn.utils.normalize([[3.0, 4.0], [0.0, 0.0]]).round(2).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    who = "normalize"
    values = np.atleast_1d(checks.array(who, "x", x)).astype(np.float64)
    place = checks.integer(who, "axis", axis, -values.ndim, values.ndim - 1)
    if order != np.inf:
        checks.number(who, "order", order, above=0.0)
    size = np.abs(values).max(
        axis=place, keepdims=True, initial=0.0
    )  # taken out first: the square of 1e200 is infinite
    scaled = np.divide(values, size, out=np.zeros_like(values), where=size > 0)
    length = np.linalg.norm(scaled, order, axis=place, keepdims=True)
    return np.asarray(np.divide(scaled, length, out=scaled, where=length > 0), np.float32)


def clear_session(free_memory: bool = True) -> None:
    """Count the names of layers from the start again: the next Dense is "dense".

    Args:
        free_memory: taken as Keras has it; the memory of a model is free as soon as nobody has the model.
    """
    clear_names()


def set_random_seed(seed: int) -> None:
    """Make everything random that follows a function of `seed`; the same as `fastnn.config.set_seed`."""
    config.set_seed(seed)


def conv_output_size(size: int, window: int, padding: int = 0, stride: int = 1, dilation: int = 1) -> int:
    """Return (size + 2 padding - dilation (window - 1) - 1) // stride + 1, the places that a window has along an axis.

    Args:
        size: of the input, >= 1.
        window: taps, >= 1.
        padding: added before and behind, >= 0.
        stride: distance between places, >= 1; what is left over at the end is not used.
        dilation: distance between taps, >= 1.

    Raises:
        ValueError: if the window is larger than the padded input.

    Example:
        >>> fastnn.utils.conv_output_size(4, 3), fastnn.utils.conv_output_size(4, 3, padding=1)
        (2, 4)
    """
    who, given = "conv_output_size", (size, window, stride, dilation)
    for name, value in zip(("size", "window", "stride", "dilation"), given):
        checks.integer(who, name, value, 1)
    room = size + 2 * checks.integer(who, "padding", padding, 0)
    if dilation * (window - 1) + 1 > room:
        got = f"{window} taps, {dilation} apart, and {room} places with padding"
        checks.fail(who, "a window that fits into the padded input", got, "use more padding or a smaller window")
    return (room - dilation * (window - 1) - 1) // stride + 1


def hidden_units(samples: int, inputs: int, outputs: int, alpha: tuple[float, float] = (2.0, 10.0)) -> tuple[int, int]:
    """Return the fewest and the most hidden units that a rule of thumb gives: samples / (alpha (inputs + outputs)).

    It keeps the number of weights, (inputs + outputs) per hidden unit, below a share of the samples. A range to start trying from.

    Args:
        samples: for training, >= 1.
        inputs, outputs: units of the first and of the last layer, >= 1.
        alpha: the smallest and the largest factor, > 0; the largest gives the fewest units.

    Returns:
        (fewest, most), rounded down, at least 1.

    Example:
        >>> fastnn.utils.hidden_units(60000, 784, 10)
        (7, 37)
    """
    who = "hidden_units"
    n, width = checks.integer(who, "samples", samples, 1), checks.integer(who, "inputs", inputs, 1)
    width += checks.integer(who, "outputs", outputs, 1)
    if not isinstance(alpha, (tuple, list)) or len(alpha) != 2:
        checks.fail_type(who, "alpha as two numbers", checks.describe(alpha))
    low, high = (checks.number(who, "alpha", factor, above=0.0) for factor in alpha)
    if low > high:
        checks.fail(who, "alpha with the smallest factor first", alpha)
    return max(int(n / (high * width)), 1), max(int(n / (low * width)), 1)


def receptive_field(model: Any) -> dict[str, tuple[int, ...]]:
    """Return for every layer how many inputs along each axis one of its outputs can depend on.

    A window of `span` = dilation (taps - 1) + 1 adds (span - 1) jump to the field, and a stride multiplies the jump, the distance
    between neighboring outputs in inputs; a transposed convolution adds (ceil(span / stride) - 1) jump and divides it. Padding is
    not taken off. Layers behind one that sees all places, such as Flatten, are left out.

    Args:
        model: a built Sequential or Model of convolution, pooling and elementwise layers.

    Example:
        >>> from fastnn.layers import Conv2D, MaxPooling2D
        >>> model = fastnn.Sequential([fastnn.Input((32, 32, 3)), Conv2D(8, 3, name="c"), MaxPooling2D(2, name="p")])
        >>> fastnn.utils.receptive_field(model)
        {'c': (3, 3), 'p': (4, 4)}
    """
    from fractions import Fraction  # a fortieth of the time that importing fastnn takes

    plan = model.plan
    shapes = plan.shapes([tensor.shape for tensor in model.inputs])
    fields: dict[int, list[tuple[int, Fraction]]] = {v: [(1, Fraction(1))] * (len(shapes[v]) - 2) for v in plan.inputs}
    found: dict[str, tuple[int, ...]] = {}
    for call in plan.as_written():
        seen = [fields[v] for v in call.inputs if v in fields]
        before, after = shapes[call.inputs[0]], shapes[call.output]
        window = getattr(call.layer, "kernel_size", getattr(call.layer, "pool_size", None))
        elementwise = len(before) == len(after) and (before[1:-1] == after[1:-1] or before[2:] == after[2:])
        if len(seen) < len(call.inputs) or not (window or elementwise) or len(after) < 3:
            continue
        widest = [max(axes) for axes in zip(*seen)]
        if window:
            dilation = getattr(call.layer, "dilation_rate", (1,) * len(window))
            for i, (size, jump) in enumerate(widest):
                span, stride = dilation[i] * (window[i] - 1) + 1, call.layer.strides[i]
                if hasattr(call.layer, "output_padding"):
                    widest[i] = size + int((-(-span // stride) - 1) * jump), jump / stride
                else:
                    widest[i] = size + int((span - 1) * jump), jump * stride
        fields[call.output] = widest
        found[call.layer.name] = tuple(size for size, _ in widest)
    return found
