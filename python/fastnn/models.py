"""Sequential: a model that is a list of layers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from fastnn import checks, ops, saving
from fastnn.checks import Float32
from fastnn.layers.base import Layer, assign_all
from fastnn.layers.core import ActivatedLayer, InputSpec
from fastnn.names import Shape, unique_name
from fastnn.parameter import Parameter, ParameterStore
from fastnn.recordable import is_recordable
from fastnn.summary import summary_text
from fastnn.training.trainer import Trainer


def leaves_slope(below: Layer, above: Layer) -> bool:
    """Return whether the derivative of the relu at the end of a layer may be taken by the one above, in its backward pass."""
    if not (above.takes_relu and isinstance(below, ActivatedLayer) and below.effective().kind == "relu"):
        return False
    return all(is_recordable(part) for part in (below, below.effective(), above))


@contextmanager
def asked(layer: Layer, need_dx: bool, relu_input: bool, skip_slope: bool) -> Iterator[None]:
    """Tell a layer what its backward pass is to do, for one call."""
    layer.need_dx, layer.relu_input, layer.skip_slope = need_dx, relu_input, skip_slope
    try:
        yield
    finally:
        layer.need_dx, layer.relu_input, layer.skip_slope = True, False, False


class Sequential(Trainer):
    """A stack of layers: each takes the output of the one before.

    Args:
        layers: `fastnn.layers` objects, the first of them may be `Input(shape)`; more can be added with `add`.
        name: None makes "sequential", "sequential_1", ...

    Raises:
        ValueError: when built, if a layer does not fit the one before; the error names the layer and both shapes.

    Example:
        >>> import numpy as np
        >>> model = fastnn.Sequential([
        ...     fastnn.layers.Flatten(input_shape=(28, 28)),
        ...     fastnn.layers.Dense(10, activation="softmax"),
        ... ])
        >>> model.count_params()
        7850
        >>> model.predict(np.zeros((2, 28, 28)), verbose=0).shape
        (2, 10)
    """

    recordable: ClassVar[bool] = True

    def __init__(self, layers: Iterable[Layer | InputSpec] | None = None, name: str | None = None) -> None:
        super().__init__()
        self.name = name or unique_name("sequential")
        self.layers: list[Layer] = []
        self.built = False
        self.input_shape: Shape | None = None
        self._output_shape: Shape | None = None
        self._store = ParameterStore([])
        self._state = ParameterStore([])
        if layers is not None and (isinstance(layers, (Layer, InputSpec, str)) or not isinstance(layers, Iterable)):
            checks.fail_type(
                f"Sequential '{self.name}'", "a list of layers", checks.describe(layers), "write Sequential([...])"
            )
        for layer in layers or []:
            self._append(layer)
        self._build_if_known()

    # --- structure ---

    def add(self, layer: Layer | InputSpec) -> None:
        """Put a layer behind the others."""
        self._append(layer)
        self.built = False
        self._build_if_known()

    def _append(self, layer: Layer | InputSpec) -> None:
        if isinstance(layer, InputSpec):
            if self.layers or self.input_shape:
                checks.fail(f"Sequential '{self.name}'", "Input as the first layer only", "another one behind")
            self.input_shape = layer.shape
            return
        if not isinstance(layer, Layer):
            fix = "make an object of the class: Dense(10)" if isinstance(layer, type) else "see fastnn.layers"
            checks.fail_type(f"Sequential '{self.name}'", "layers", checks.describe(layer), fix)
        if any(layer is other or layer.name == other.name for other in self.layers):
            checks.fail(
                f"Sequential '{self.name}'", "layers of different names", f"two named '{layer.name}'", "give name="
            )
        if not self.layers and self.input_shape is None:
            self.input_shape = layer.given_shape or (layer.input_shape if layer.built else None)
        self.layers.append(layer)

    def pop(self) -> Layer:
        """Take the last layer off and return it."""
        if not self.layers:
            checks.fail(f"Sequential '{self.name}'", "a layer to pop", "none")
        layer = self.layers.pop()
        self.built = False
        self._build_if_known()
        return layer

    def _build_if_known(self) -> None:
        if self.layers and self.input_shape is not None:
            self.build(self.input_shape)

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Make the parameters of all layers for inputs of a shape.

        Args:
            input_shape: of a batch, the first entry None: (None, 28, 28). None: the one given by Input or the first layer.
        """
        shape = self.input_shape if input_shape is None else self._checked_shape(input_shape)
        if shape is None:
            checks.fail(
                f"Sequential '{self.name}'", "an input shape", "none", "give build((None, ...)) or an Input layer"
            )
        if not self.layers:
            checks.fail(f"Sequential '{self.name}'", "at least one layer", "none", "add layers first")
        self.input_shape = shape
        for layer in self.layers:
            if not layer.built:
                layer.build_for(shape)
            else:
                layer.check_shape(shape)
            shape = layer.compute_output_shape(shape)
        self._output_shape = shape
        self.built = True
        self._gather_parameters()

    def _checked_shape(self, input_shape: Any) -> Shape:
        who = f"Sequential '{self.name}'"
        if not isinstance(input_shape, (tuple, list)) or len(input_shape) < 1:
            checks.fail_type(
                who, "input_shape of a batch as a tuple", checks.describe(input_shape), "such as (None, 28, 28)"
            )
        return (None, *(None if s is None else checks.integer(who, "input_shape", s, 1) for s in input_shape[1:]))

    def _gather_parameters(self) -> None:
        every = [p for layer in self.layers for p in layer.parameters]
        self._store = ParameterStore([p for p in every if p.learns])
        self._state = ParameterStore([p for p in every if not p.learns])
        self._steps.clear()
        if self.optimizer is not None:
            self.optimizer.build(self._store)

    def refresh(self) -> None:
        if not (self._store.owns_all() and self._state.owns_all()):
            self._gather_parameters()

    def _require_built(self) -> None:
        if not self.built:
            checks.fail(
                f"Sequential '{self.name}'",
                "a built model",
                "one without an input shape",
                "call build((None, ...)), put Input(shape) first, or fit it",
            )

    @property
    def store(self) -> ParameterStore:
        """The flat values and gradients of all parameters that have a gradient."""
        self._require_built()
        return self._store

    @property
    def output_shape(self) -> Shape:
        """Shape of the output, None for the batch size."""
        self._require_built()
        assert self._output_shape is not None
        return self._output_shape

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Shape:
        shape = tuple(input_shape)
        for layer in self.layers:
            shape = layer.compute_output_shape(shape)
        return shape

    def check_shape(self, input_shape: Sequence[int | None]) -> None:
        shape: Shape = (None, *input_shape[1:])
        if self.input_shape is not None and shape[1:] == self.input_shape[1:]:
            return
        for layer in self.layers:
            layer.check_shape(shape)
            shape = layer.compute_output_shape(shape)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return a layer by name or by index."""
        if (name is None) == (index is None):
            checks.fail(f"Sequential '{self.name}'", "either name or index", f"name={name!r}, index={index!r}")
        if index is not None:
            checks.integer("get_layer", "index", index, -len(self.layers), len(self.layers) - 1)
            return self.layers[index]
        names = [layer.name for layer in self.layers]
        return self.layers[names.index(checks.one_of("get_layer", "name", name, names))]

    # --- forward, backward ---

    def __call__(self, x: Any, training: bool = False) -> Float32:
        """Return forward(x, training)."""
        return self.forward(x, training)

    def forward(self, x: Any, training: bool = False) -> Float32:
        """Return the output for a batch; with training=True remember what `backward` needs."""
        y = ops.as_float32(f"Sequential '{self.name}'", "input", x)
        if not self.built:
            self.build((None, *y.shape[1:]))
        if not ops.recording():
            self.refresh()
        for layer in self.layers:
            y = layer.forward(y, training)
        return y

    def backward(self, dy: Float32, input_gradient: bool = True) -> Float32 | None:
        """Write the gradients of all parameters, given that of the output; return that of the input.

        Args:
            dy: gradient of the loss with respect to the output of the last forward(x, training=True).
            input_gradient: False skips the input's gradient (None is returned): it costs as much as a layer.
        """
        recording = ops.recording()
        lowest = next((i for i, layer in enumerate(self.layers) if layer.trainable_weights), len(self.layers))
        gradient: Float32 | None = dy
        slope_taken = False
        for i in reversed(range(len(self.layers))):
            if not input_gradient and i < lowest:
                return None
            layer, need_dx = self.layers[i], input_gradient or i > lowest
            take_slope = need_dx and i > 0 and leaves_slope(self.layers[i - 1], layer)
            with asked(layer, need_dx, take_slope, slope_taken):
                gradient = layer.backward(gradient)  # type: ignore[arg-type]
            slope_taken = take_slope
            if recording:
                layer.forget()  # so that later calls of the recording may use its buffers
        return gradient

    # --- weights ---

    @property
    def parameters(self) -> list[Parameter]:
        """All parameters, layer by layer."""
        self._require_built()
        return [p for layer in self.layers for p in layer.weights]

    @property
    def weights(self) -> list[Parameter]:
        """All parameters, layer by layer."""
        return self.parameters

    @property
    def trainable_weights(self) -> list[Parameter]:
        """The parameters that training changes by gradients."""
        self._require_built()
        return [p for layer in self.layers for p in layer.trainable_weights]

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        """Moving statistics and the parameters of frozen layers."""
        self._require_built()
        return [p for layer in self.layers for p in layer.non_trainable_weights]

    @property
    def trainable(self) -> bool:
        """Whether any layer is trainable; setting it sets all layers."""
        return any(layer.trainable for layer in self.layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self.layers:
            layer.trainable = checks.boolean(f"Sequential '{self.name}'", "trainable", value)

    def get_weights(self) -> list[Float32]:
        """Return copies of all parameters, layer by layer."""
        return [p.numpy() for p in self.parameters]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all parameters from arrays in the order of `get_weights`; nothing changes if one does not fit."""
        assign_all(f"Sequential '{self.name}'", self.parameters, weights)

    def count_params(self) -> int:
        """Return the number of parameter values."""
        return sum(p.size for p in self.parameters)

    # --- output ---

    def summary(self, line_length: int | None = None, print_fn: Callable[[str], Any] | None = None) -> None:
        """Print layers, output shapes and parameter counts.

        Args:
            line_length: columns of the table; None fits the contents.
            print_fn: called with the text instead of print.
        """
        self._require_built()
        if line_length is not None:
            checks.integer("summary", "line_length", line_length, 1)
        text = summary_text(self.name, self.layers, self.input_shape or (None,), line_length)
        (print_fn or print)(text)

    def save(self, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write architecture, weights, optimizer and training state to one file, atomically.

        Args:
            filepath: by custom ending in .fastnn; a safetensors file that carries no code.
            overwrite: False raises if the file is there.
        """
        saving.save_model(self, filepath, overwrite)

    def save_weights(self, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write all parameters by name to one safetensors file, atomically."""
        saving.save_weights(self, filepath, overwrite)

    def load_weights(self, filepath: str | os.PathLike[str]) -> None:
        """Set all parameters from a file of `save_weights` or `save`, by name; nothing changes if one does not fit."""
        saving.load_weights(self, filepath)

    def get_config(self) -> dict[str, Any]:
        """Return the model's architecture as plain data."""
        shape = None if self.input_shape is None else list(self.input_shape)
        return {"name": self.name, "input_shape": shape, "layers": [saving.layer_data(layer) for layer in self.layers]}

    def __repr__(self) -> str:
        return f"<Sequential '{self.name}', {len(self.layers)} layers, {'built' if self.built else 'not built'}>"


def load_model(
    filepath: str | os.PathLike[str], custom_objects: Mapping[str, type[Layer]] | None = None, compile: bool = True
) -> Sequential:
    """Read a model that `save` wrote, ready to predict and to go on training.

    Args:
        filepath: the file.
        custom_objects: your own layer classes by name; no other code is ever run.
        compile: False leaves optimizer, loss and metrics out.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is truncated, damaged, not written by fastnn, or has a layer of an unknown class.

    Example:
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "m.fastnn")
        >>> fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(2)]).save(path)
        >>> fastnn.models.load_model(path).count_params()
        8
    """
    return saving.load_model(Sequential, filepath, custom_objects, compile)
