"""A training step as plain data, that goes through a pipe and from which other libraries build the same network."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from fastnn import Model, layers
from fastnn.bench import workloads
from fastnn.bench.workloads import Workload
from fastnn.names import Shape


@dataclass(frozen=True)
class Node:
    """A call of a layer.

    Args:
        kind: "dense", "conv", "batch_norm", "max_pool", "relu", "flatten", "dropout", "add" or "global_average".
        inputs: numbers of the values that it reads; 0 is the network's input.
        output: number of the value that it makes.
        weights: shapes, in fastnn's layout.
        options: of that kind: "relu" (dense, conv), "stride" and "pad" (conv), "size" (max_pool), "rate" (dropout), "epsilon" and
            "momentum" (batch_norm), "image" (dense: the shape (H, W, C) that was flattened for it, or None).
    """

    kind: str
    inputs: list[int]
    output: int
    weights: list[list[int]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """What every library trains: the calls in order, whose last one makes the logits; samples; optimizer and its constants."""

    nodes: list[Node]
    input_shape: list[int]
    batch: int
    optimizer: str
    constants: dict[str, float]

    @property
    def chain(self) -> bool:
        """Whether every call reads what the one before made."""
        return all(node.inputs == [node.output - 1] for node in self.nodes)

    def data(self) -> dict[str, Any]:
        """Return it as what JSON can say."""
        return asdict(self)

    @classmethod
    def of_data(cls, data: dict[str, Any]) -> Network:
        """Return what `data` was made of."""
        return cls(**{**data, "nodes": [Node(**node) for node in data["nodes"]]})


def describe(workload: Workload) -> Network:
    """Return a workload's network as data.

    Raises:
        NotImplementedError: for a layer that has no counterpart here.

    Example:
        >>> from fastnn.bench import workloads
        >>> from fastnn.bench.peers.network import describe
        >>> [node.kind for node in describe(workloads.get("mlp500_b1_sgd")).nodes]
        ['dense', 'dense', 'dense']
    """
    model = workloads.build_model(workload)
    plan = model.plan
    shapes = plan.shapes([tensor.shape for tensor in model.inputs])
    flattened: dict[int, Shape] = {}  # by value: the image that it was
    nodes = []
    for call in plan.as_written():
        first = call.inputs[0]
        if isinstance(call.layer, layers.Flatten):
            flattened[call.output] = shapes[first][1:]
        elif isinstance(call.layer, layers.Dropout) and first in flattened:
            flattened[call.output] = flattened[first]
        kind, options = _kind(call.layer)
        if kind == "dense":
            options["image"] = list(flattened[first]) if first in flattened else None
        weights = [list(p.shape) for p in call.layer.parameters]
        nodes.append(Node(kind, list(call.inputs), call.output, weights, options))
    return Network(nodes, list(workload.input_shape), workload.batch, workload.optimizer, _constants(model))


def _kind(layer: layers.Layer) -> tuple[str, dict[str, Any]]:
    """Return what a layer is, and its options."""
    match layer:
        case layers.Dense():
            return "dense", {"relu": _is_relu(layer)}
        case layers.Conv2D():
            pad = 0 if isinstance(layer.padding, str) else layer.padding[0][0]
            return "conv", {"relu": _is_relu(layer), "stride": layer.strides[0], "pad": pad}
        case layers.BatchNormalization():
            return "batch_norm", {"epsilon": layer.epsilon, "momentum": layer.momentum}
        case layers.MaxPooling2D():
            return "max_pool", {"size": layer.pool_size[0]}
        case layers.Dropout():
            return "dropout", {"rate": layer.rate}
    plain = {
        layers.ReLU: "relu",
        layers.Flatten: "flatten",
        layers.Add: "add",
        layers.GlobalAveragePooling2D: "global_average",
    }
    if type(layer) not in plain:
        raise NotImplementedError(f"{type(layer).__name__} has no counterpart in other libraries here")
    return plain[type(layer)], {}


def _is_relu(layer: layers.Dense | layers.Conv2D) -> bool:
    """Return whether a layer ends in a ReLU; any other activation is refused."""
    if layer.activation.kind not in ("relu", "linear"):
        raise NotImplementedError(f"the activation {layer.activation.kind} has no counterpart in other libraries here")
    return layer.activation.kind == "relu"


def _constants(model: Model) -> dict[str, float]:
    """Return the optimizer's numbers."""
    config = model.optimizer.get_config() if model.optimizer is not None else {}
    wanted = ("learning_rate", "momentum", "weight_decay", "beta_1", "beta_2", "epsilon")
    return {name: float(config[name]) for name in wanted if config.get(name) is not None}
