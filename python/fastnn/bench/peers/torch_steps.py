"""The training step in PyTorch: eager, with images in the order channels last, or compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastnn.bench.peers.network import Network, Node
from fastnn.checks import Float32

Forward = Callable[[Any], Any]


class TorchSteps:
    """A network and its optimizer in PyTorch, float32, the optimizer's update in one fused call.

    Args:
        network: what to build.
        variant: "eager", "channels_last" or "compile".
        threads: that PyTorch may use.
    """

    def __init__(self, network: Network, variant: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        torch.manual_seed(0)
        self.network, self.torch = network, torch
        self.modules = [_modules(torch, node) for node in network.nodes]
        self.container = torch.nn.Sequential(*(module for group in self.modules for module in group))
        self.layout = torch.channels_last if variant == "channels_last" else torch.contiguous_format
        self.container.to(memory_format=self.layout)
        forward = self.container if network.chain else _graph(network, self.modules)
        self.forward: Forward = torch.compile(forward) if variant == "compile" else forward

    @staticmethod
    def versions() -> dict[str, str]:
        """Return what is timed."""
        import torch

        return {"torch": torch.__version__}

    def prepare(self, x: Float32, y: Any, optimizer: str, constants: dict[str, float], dropout: bool) -> None:
        """Take a batch, a new optimizer, and dropout or none."""
        torch = self.torch
        for group, node in zip(self.modules, self.network.nodes):
            if node.kind == "dropout":
                group[0].p = node.options["rate"] if dropout else 0.0
        samples = torch.from_numpy(x.transpose(0, 3, 1, 2).copy() if x.ndim == 4 else x)
        self.x = samples.to(memory_format=self.layout) if x.ndim == 4 else samples
        self.y = torch.from_numpy(y.astype("int64"))
        self.optimizer = _optimizer(torch, optimizer, constants, self.container.parameters())

    def step(self) -> float:
        """Do one step; return the loss before it."""
        return float(self._step().detach())

    def run(self, calls: int) -> None:
        """Do so many steps."""
        for _ in range(calls):
            self._step()

    def _step(self) -> Any:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.torch.nn.functional.cross_entropy(self.forward(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        return loss

    def set_weights(self, weights: Sequence[Float32]) -> None:
        """Take weights in fastnn's order and layout."""
        left = iter(weights)
        with self.torch.no_grad():
            for group, node in zip(self.modules, self.network.nodes):
                for i, tensor in enumerate(_tensors(group, node)):
                    array = next(left)
                    value = _to_torch(node, array) if i == 0 else array
                    tensor.copy_(self.torch.from_numpy(value.copy()))

    def get_weights(self) -> list[Float32]:
        """Return the weights in fastnn's order and layout."""
        result = []
        for group, node in zip(self.modules, self.network.nodes):
            for i, tensor in enumerate(_tensors(group, node)):
                array = tensor.detach().contiguous().numpy().copy()
                result.append(_from_torch(node, array) if i == 0 else array)
        return result


def _modules(torch: Any, node: Node) -> list[Any]:
    """Return the modules of a call: the layer, and its ReLU."""
    nn, options = torch.nn, node.options
    match node.kind:
        case "dense":
            found = nn.Linear(*node.weights[0], bias=len(node.weights) > 1)
        case "conv":
            size, _, channels, filters = node.weights[0]
            bias = len(node.weights) > 1
            found = nn.Conv2d(channels, filters, size, options["stride"], options["pad"], bias=bias)
        case "batch_norm":
            found = nn.BatchNorm2d(node.weights[0][0], eps=options["epsilon"], momentum=1 - options["momentum"])
        case "max_pool":
            found = nn.MaxPool2d(options["size"])
        case "dropout":
            found = nn.Dropout(options["rate"])
        case "global_average":
            return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        case "add":
            return []
        case _:
            found = {"relu": nn.ReLU, "flatten": nn.Flatten}[node.kind]()
    return [found, nn.ReLU()] if options.get("relu") else [found]


def _graph(network: Network, modules: list[list[Any]]) -> Forward:
    """Return the forward pass of a network with branches."""
    plan = [(group, node.inputs, node.output) for group, node in zip(modules, network.nodes)]

    def forward(x: Any) -> Any:
        values = {0: x}
        for group, inputs, output in plan:
            y = values[inputs[0]]
            for other in inputs[1:]:
                y = y + values[other]
            for module in group:
                y = module(y)
            values[output] = y
        return y

    return forward


def _optimizer(torch: Any, name: str, constants: dict[str, float], parameters: Any) -> Any:
    lr = constants["learning_rate"]
    if name == "adam":
        betas = constants["beta_1"], constants["beta_2"]
        return torch.optim.Adam(parameters, lr=lr, betas=betas, eps=constants["epsilon"], fused=True)
    momentum, decay = constants.get("momentum", 0.0), constants.get("weight_decay", 0.0)
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=decay, fused=True)


def _tensors(group: list[Any], node: Node) -> list[Any]:
    """Return the tensors of a call's modules in fastnn's order."""
    if not node.weights:
        return []
    module = group[0]
    if node.kind == "batch_norm":
        return [module.weight, module.bias, module.running_mean, module.running_var]
    return [module.weight, *([module.bias] if len(node.weights) > 1 else [])]


def _to_torch(node: Node, kernel: Float32) -> Float32:
    """Return a kernel in PyTorch's layout: filters (K, C, R, S), matrices (out, in), images flattened channels first."""
    if node.kind == "conv":
        return kernel.transpose(3, 2, 0, 1)
    if node.kind == "dense":
        if image := node.options["image"]:
            kernel = kernel.reshape(*image, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
        return kernel.T
    return kernel


def _from_torch(node: Node, kernel: Float32) -> Float32:
    """Undo `_to_torch`."""
    if node.kind == "conv":
        return kernel.transpose(2, 3, 1, 0)
    if node.kind == "dense":
        kernel = kernel.T
        if image := node.options["image"]:
            height, width, channels = image
            kernel = kernel.reshape(channels, height, width, -1).transpose(1, 2, 0, 3).reshape(kernel.shape)
    return kernel
