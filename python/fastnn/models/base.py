"""What every model has, whatever it is made of: parameters, weights, files, the training methods."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from fastnn import backup, checks, graph, ops
from fastnn.checks import Float32
from fastnn.files import FileName
from fastnn.graph import Node, SymbolicTensor
from fastnn.layers.base import Layer
from fastnn.layers.core import InputLayer
from fastnn.models.stored import Stored
from fastnn.names import Shape
from fastnn.parameter import Parameter, ParameterStore, WithVariables, assign_all
from fastnn.plan import Plan
from fastnn.structure import Structure
from fastnn.summary import Entry, Style, bytes_text, summary_text
from fastnn.training.batches import BatchTrainer
from fastnn.training.classes import Classifying
from fastnn.training.gradients import GradientChecked
from fastnn.training.inspection import Inspected


class BaseModel(BatchTrainer, Classifying, Inspected, GradientChecked, Stored, WithVariables):
    """A model over a plan: `Sequential` and `Model` say how the plan comes about."""

    recordable: ClassVar[bool] = True

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        unused = {"train_step", "test_step", "predict_step", "compute_loss"} & vars(cls).keys()
        if unused:
            fix = "write a layer or loss with its own gradient, or the loop by hand: forward, loss, backward, optimizer.step"
            checks.fail_type(cls.__name__, "a model class without steps of its own", sorted(unused)[0], fix)

    def __init__(self, name: str) -> None:
        super().__init__()
        if not isinstance(name, str) or not name or "/" in name:
            checks.fail(type(self).__name__, "name to be a non-empty string without '/'", repr(name))
        self.name = name
        self.layers: list[Layer | BaseModel] = []
        self.built = False
        self.nodes: list[weakref.ref[Node]] = []  # the model's calls on symbolic tensors
        self._plan: Plan | None = None
        self._inputs: list[SymbolicTensor] = []
        self._outputs: list[SymbolicTensor] = []
        self._calls: list[Node] = []
        self._leaves: list[Layer] = []
        self.input_structure = Structure("one", ("x",))
        self.output_structure = Structure("one", ("y",))
        self._store = ParameterStore([])
        self._state = ParameterStore([])

    @property
    def who(self) -> str:
        """The model in error messages: class and name."""
        return f"{type(self).__name__} '{self.name}'"

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self.optimizer is not None

    # --- structure ---

    @property
    def plan(self) -> Plan:
        """The calls of the layers, those of models inside included."""
        self._require_built()
        assert self._plan is not None
        return self._plan

    @property
    def leaf_layers(self) -> list[Layer]:
        """All layers that compute, those of models inside included, each once."""
        return self._leaves if self.built else self._find_leaves()

    def _find_leaves(self) -> list[Layer]:
        found: dict[int, Layer] = {}
        for layer in self.layers:
            for leaf in layer.leaf_layers if isinstance(layer, BaseModel) else [layer]:
                if not isinstance(leaf, InputLayer):
                    found[id(leaf)] = leaf
        return list(found.values())

    def _set_graph(self, inputs: Sequence[SymbolicTensor], nodes: Sequence[Node]) -> None:
        """Make the plan from what the calls start from, the calls and the outputs."""
        self._plan = Plan.of(inputs, self._outputs, nodes)
        self._leaves = self._find_leaves()
        self.built = True
        self._check_names()
        self._gather_parameters()

    def _check_names(self) -> None:
        """Raise if two layers have one name: weights are kept by it."""
        for group in (self.layers, self.leaf_layers):
            names: dict[str, object] = {}
            for layer in group:
                if names.setdefault(layer.name, layer) is not layer:
                    checks.fail(self.who, "layers of different names", f"two named '{layer.name}'", "give name=")

    def _gather_parameters(self) -> None:
        every = [p for layer in self.leaf_layers for p in layer.parameters]
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
                self.who,
                "a built model",
                "one without an input shape",
                "call build((None, ...)), put Input(shape) first, or fit it",
            )

    def build_for_shapes(self, shapes: Sequence[Sequence[int | None]]) -> None:
        """Make the parameters for inputs of these shapes, one per input."""
        self.build(shapes[0] if len(shapes) == 1 else list(shapes))  # type: ignore[arg-type]

    def build_for_some(self, shapes: Sequence[Sequence[int | None]]) -> None:
        """Make the parameters for inputs of shapes that nobody declared: those of others may differ where the layers allow it."""
        self.build_for_shapes(shapes)
        for layer in self.input_layers:
            layer.declared = False

    @property
    def input_layers(self) -> list[InputLayer]:
        """The layers that make the inputs."""
        return [tensor.node.layer for tensor in self._inputs]  # type: ignore[misc]

    @property
    def store(self) -> ParameterStore:
        """The flat values and gradients of all parameters that have a gradient."""
        self._require_built()
        return self._store

    @property
    def inputs(self) -> list[SymbolicTensor]:
        """The symbolic tensors that stand for the inputs."""
        self._require_built()
        return list(self._inputs)

    @property
    def outputs(self) -> list[SymbolicTensor]:
        """The symbolic tensors that stand for the outputs: `Model(model.inputs, ...)` goes on from them."""
        self._require_built()
        return list(self._outputs)

    @property
    def input(self) -> Any:
        """The input, or the list or dict of inputs, as symbolic tensors."""
        return self.input_structure.whole(self.inputs)

    @property
    def output(self) -> Any:
        """The output, or the list or dict of outputs, as symbolic tensors."""
        return self.output_structure.whole(self.outputs)

    @property
    def output_shapes(self) -> list[Shape]:
        """Shape of every output, None for the batch size."""
        return [tensor.shape for tensor in self.outputs]

    @property
    def output_shape(self) -> Any:
        """Shape of the output (or list or dict of them), None for the batch size."""
        return self.output_structure.whole(self.output_shapes)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """Return a layer by name or by index."""
        if (name is None) == (index is None):
            checks.fail(self.who, "either name or index", f"name={name!r}, index={index!r}")
        if index is not None:
            checks.integer("get_layer", "index", index, -len(self.layers), len(self.layers) - 1)
            return self.layers[index]
        names = [layer.name for layer in self.layers]
        return self.layers[names.index(checks.one_of("get_layer", "name", name, names))]

    # --- forward, backward ---

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """Return forward(x, training); symbolic tensors for symbolic ones: a model can be a layer of another one.

        With training=False its layers then run as in inference while the other one is trained, too; gradients go through them.
        """
        if graph.is_symbolic(x):
            return self._call_symbolic(x, graph.is_inference(self.who, training))
        return self.forward(x, bool(training))

    def _call_symbolic(self, x: Any, inference: bool) -> Any:
        if type(self).forward is not BaseModel.forward or type(self).backward is not BaseModel.backward:
            checks.fail_type(self.who, "a model that computes what its layers do", "its own forward or backward")
        tensors = graph.tensors_of(self.who, "x", self.input_structure.parts(self.who, "x", x))
        return self.output_structure.whole(self.call_parts(tensors, inference).outputs)

    def call_parts(self, tensors: Sequence[SymbolicTensor], inference: bool = False) -> Node:
        """Return the call of the model on its inputs, in order; `inference`: its layers run as in inference, in training, too."""
        if len(tensors) != len(self.input_structure):
            checks.fail(self.who, f"{len(self.input_structure)} inputs", len(tensors))
        self._build_for_call(tensors)
        shapes = [tensor.shape for tensor in tensors]
        self.check_shapes(shapes)
        return Node(self, tensors, self.compute_output_shapes(shapes), inference)

    def _build_for_call(self, tensors: Sequence[SymbolicTensor]) -> None:
        """Make the parameters, if that waits for a shape."""

    def forward(self, x: Any, training: bool = False) -> Any:
        """Return the output (or list or dict) for a batch; with training=True remember what `backward` needs."""
        arrays = [ops.as_float32(self.who, "input", part) for part in self.input_structure.parts(self.who, "x", x)]
        if not self.built:
            self.build_for_some([(None, *arrays[0].shape[1:])])
        if not ops.recording():
            self.check_shapes([array.shape for array in arrays])
            self.refresh()
        return self.output_structure.whole(self.plan.forward(arrays, training))

    def backward(self, dy: Any, input_gradient: bool = True) -> Any:
        """Write the gradients of all parameters, given that of the output; return that of the input.

        Args:
            dy: gradient of the loss with respect to the output of the last forward(x, training=True); a list or dict for several.
            input_gradient: False skips the input's gradient (None is returned): it costs as much as a layer.
        """
        gradients = self.plan.backward(self.output_structure.parts(self.who, "dy", dy), input_gradient)
        return self.input_structure.whole(gradients) if input_gradient else None

    def forward_parts(self, x: Sequence[Any], training: bool = False) -> list[Float32]:
        return self.output_structure.parts(self.who, "output", self.forward(self.input_structure.whole(x), training))

    def backward_parts(self, dy: Sequence[Float32]) -> None:
        self.backward(self.output_structure.whole(dy), input_gradient=False)

    def forget(self) -> None:
        super().forget()
        if self._plan is not None:
            self._plan.forget()

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the output (or list or dict) for that of the input."""
        shapes = self.input_structure.parts(self.who, "input_shape", input_shape)
        return self.output_structure.whole(self.compute_output_shapes(shapes))

    def compute_output_shapes(self, shapes: Sequence[Sequence[int | None]]) -> list[Shape]:
        return self.plan.output_shapes([(None, *shape[1:]) for shape in shapes])

    def check_shapes(self, shapes: Sequence[Sequence[int | None]]) -> None:
        given = [(None, *shape[1:]) for shape in shapes]
        if given != [tensor.shape for tensor in self._inputs]:
            self.plan.output_shapes(given, check=True)
            for layer, shape in zip(self.input_layers, given):
                layer.check_shape(shape)

    def input_shapes(self) -> list[Shape]:
        self._require_built()
        return [tensor.shape for tensor in self._inputs]

    def input_ranks(self) -> list[int]:
        return [tensor.ndim for tensor in self._inputs]

    # --- weights ---

    def _every(self, attribute: str) -> list[Parameter]:
        self._require_built()
        return [p for layer in self.leaf_layers for p in getattr(layer, attribute)]

    @property
    def parameters(self) -> list[Parameter]:
        """All parameters, layer by layer."""
        return self._every("weights")

    @property
    def weights(self) -> list[Parameter]:
        """All parameters, layer by layer."""
        return self._every("weights")

    @property
    def trainable_weights(self) -> list[Parameter]:
        """The parameters that training changes by gradients."""
        return self._every("trainable_weights")

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        """Moving statistics and the parameters of frozen layers."""
        return self._every("non_trainable_weights")

    @property
    def losses(self) -> list[float]:
        """What regularizers add to the loss: penalties of parameters now, then those of outputs in the last call.

        `backward` adds their gradients to those of the parameters.
        """
        self._require_built()
        of_weights = [value for layer in self.leaf_layers for value in layer.losses]
        return of_weights + [value for _, value in sorted(self.plan.activity_losses.items())]

    @property
    def trainable(self) -> bool:
        """Whether any layer is trainable; setting it sets all layers."""
        return any(layer.trainable for layer in self.leaf_layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self.leaf_layers:
            layer.trainable = checks.boolean(self.who, "trainable", value)

    def get_weights(self) -> list[Float32]:
        """Return copies of all parameters, layer by layer."""
        return [p.numpy() for p in self.parameters]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all parameters from arrays in the order of `get_weights`; nothing changes if one does not fit."""
        assign_all(self.who, self.parameters, weights)

    def count_params(self) -> int:
        """Return the number of parameter values."""
        return sum(p.size for p in self.parameters)

    # --- output ---

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
        *,
        batch_size: int = 32,
        profile: bool = False,
        x: Any = None,
        y: Any = None,
    ) -> None:
        """Print layers, output shapes, parameter counts and memory, and, unless one layer follows the other, the connections.

        The bytes of the buffers are those that the first step of that batch size will take, exactly; nothing is computed for it.

        Args:
            line_length: columns of the table; None fits the contents.
            positions: where each column ends: shares of line_length up to 1, or numbers of characters.
            print_fn: called with the text instead of print.
            expand_nested: list the layers of models inside of the model, too.
            show_trainable: add a column that says which layers learn.
            layer_range: names of the first and of the last layer to list, or regular expressions for them.
            batch_size: samples of the step whose memory is stated, and of those that are profiled.
            profile: add the table of `profile`: where the time of a step goes.
            x, y: samples and targets to profile with; None makes some that fit.

        Raises:
            ValueError: for a model that is not built, and for arguments that do not fit.
        """
        self._require_built()
        style = Style(line_length, positions, expand_nested, show_trainable, layer_range)
        checks.integer("summary", "batch_size", batch_size, 1)
        checks.boolean("summary", "profile", profile)
        if not profile and (x is not None or y is not None):
            checks.fail("summary", "profile=True with x or y", "profile=False")
        lines = [summary_text(self.name, self.summary_entries(), self.leaf_layers, style), *self._memory(batch_size)]
        if profile:
            lines += ["", str(self.profile(x, y, batch_size))]
        (print_fn or print)("\n".join(lines))

    def _memory(self, batch_size: int) -> Iterator[str]:
        """Yield the lines of a summary about the optimizer's slots and the buffers of a step."""
        if self.optimizer is not None:
            count = len(self.optimizer.slots) * sum(p.size for p in self.store.parameters)
            yield f"Optimizer params: {count:,} ({bytes_text(4 * count)})"
        kind = "training step" if self.optimizer is not None and self.scores else "prediction"
        try:
            buffers = self.buffer_bytes(batch_size)
        except RuntimeError:
            yield f"Buffers of a {kind}: not known while another thread trains the model"
            return
        if buffers is not None:
            yield f"Buffers of a {kind}, batch size {batch_size}: {buffers:,} bytes ({bytes_text(buffers)})"

    def summary_entries(self) -> list[Entry]:
        """Return the lines of the summary's table."""
        raise TypeError(checks.message(self.who, "a model class with summary_entries", type(self).__name__))

    def save_backup(self, filepath: FileName, progress: Mapping[str, Any]) -> None:
        """Write the state of the training, of which `progress` has the epoch and the batch; see `BackupAndRestore`."""
        backup.save_backup(self, filepath, progress)

    def load_backup(self, filepath: FileName) -> None:
        """Take up the state of a training that `save_backup` wrote; nothing changes if it is of another model."""
        backup.load_backup(self, filepath)
