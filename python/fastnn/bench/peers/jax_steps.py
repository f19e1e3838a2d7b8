"""The training step in JAX: forward, gradients and update in one compiled function whose state is donated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn.bench.peers.network import Network, Node
from fastnn.checks import Float32

Forward = Callable[[Any, Any, Any, Any], tuple[Any, Any]]
Update = Callable[[Any, Any, Any, Any], tuple[Any, Any]]


class JaxSteps:
    """A network and its optimizer in JAX, float32, images channels last.

    Args:
        network: what to build.
        variant: only "jit".
        threads: that JAX may use; it takes them from the processors that the process may run on.
    """

    def __init__(self, network: Network, variant: str, threads: int) -> None:
        import jax

        self.network, self.jax = network, jax
        self.state: tuple[Any, Any, Any, Any] = ([], [], [], 0)  # weights, moving statistics, optimizer's slots, steps
        rng = np.random.default_rng(0)
        shapes = [shape for node in network.nodes for shape in node.weights]
        self.set_weights([0.05 * rng.standard_normal(shape, np.float32) for shape in shapes])

    @staticmethod
    def versions() -> dict[str, str]:
        """Return what is timed."""
        import jax

        return {"jax": jax.__version__}

    def prepare(self, x: Float32, y: Any, optimizer: str, constants: dict[str, float], dropout: bool) -> None:
        """Take a batch, a new optimizer, and dropout or none."""
        jnp = self.jax.numpy
        slots = {"adam": 2, "momentum": 1}.get(optimizer, 0)
        weights = self.state[0]
        zeros = [self.jax.tree.map(jnp.zeros_like, weights) for _ in range(slots)]
        self.state = (weights, self.state[1], zeros, jnp.zeros((), jnp.int32))
        self.x, self.y = jnp.asarray(x), jnp.asarray(y)
        self.key = self.jax.random.key(0)
        update = _adam(self.jax, constants) if optimizer == "adam" else _sgd(self.jax, constants)
        self.compiled = _compiled(self.jax, _forward(self.jax, self.network, dropout), update)

    def step(self) -> float:
        """Do one step; return the loss before it."""
        self.state, loss = self.compiled(self.state, self.x, self.y, self.key)
        return float(loss)

    def run(self, calls: int) -> None:
        """Do so many steps; the next one may be handed over while one runs, at the end all are done."""
        for _ in range(calls):
            self.state, loss = self.compiled(self.state, self.x, self.y, self.key)
        self.jax.block_until_ready((self.state, loss))

    def set_weights(self, weights: Sequence[Float32]) -> None:
        """Take weights in fastnn's order and layout."""
        left = iter(weights)
        groups = [[self.jax.numpy.array(next(left)) for _ in node.weights] for node in self.network.nodes]
        self.state = ([group[:2] for group in groups], [g[2:] for g in groups], [], 0)

    def get_weights(self) -> list[Float32]:
        """Return the weights in fastnn's order and layout."""
        pairs = zip(self.state[0], self.state[1])
        return [np.array(array) for learned, moving in pairs for array in [*learned, *moving]]


def _forward(jax: Any, network: Network, dropout: bool) -> Forward:
    """Return the forward pass: (weights, moving statistics, x, key) to (logits, new statistics)."""

    def forward(weights: Any, moving: Any, x: Any, key: Any) -> tuple[Any, Any]:
        values, statistics = {0: x}, list(moving)
        for i, node in enumerate(network.nodes):
            given = [values[number] for number in node.inputs]
            if node.kind == "batch_norm":
                y, statistics[i] = _batch_norm(jax, node, given[0], weights[i], moving[i])
            elif node.kind == "dropout":
                keep = 1 - node.options["rate"]
                mask = jax.random.bernoulli(jax.random.fold_in(key, i), keep, given[0].shape) if dropout else True
                y = jax.numpy.where(mask, given[0] / keep, 0) if dropout else given[0]
            else:
                y = _call(jax, node, given, weights[i])
            values[node.output] = jax.nn.relu(y) if node.options.get("relu") else y
        return y, statistics

    return forward


def _call(jax: Any, node: Node, given: list[Any], weights: list[Any]) -> Any:
    """Return what a layer without state makes, before its activation."""
    x = given[0]
    match node.kind:
        case "dense":
            y = x @ weights[0]
        case "conv":
            stride, pad = node.options["stride"], node.options["pad"]
            y = jax.lax.conv_general_dilated(
                x, weights[0], (stride, stride), ((pad, pad), (pad, pad)), dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
        case "max_pool":
            window = (1, node.options["size"], node.options["size"], 1)
            return jax.lax.reduce_window(x, -jax.numpy.inf, jax.lax.max, window, window, "VALID")
        case "add":
            return given[0] + given[1]
        case _:
            plain = {
                "relu": jax.nn.relu,
                "flatten": lambda x: x.reshape(len(x), -1),
                "global_average": lambda x: x.mean((1, 2)),
            }
            return plain[node.kind](x)
    return y + weights[1] if len(weights) > 1 else y


def _batch_norm(jax: Any, node: Node, x: Any, weights: Any, moving: Any) -> tuple[Any, Any]:
    """Return normalized values and the new moving statistics."""
    (gamma, beta), momentum = weights, node.options["momentum"]
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    y = (x - mean) * (jax.lax.rsqrt(variance + node.options["epsilon"]) * gamma) + beta
    statistics = [momentum * old + (1 - momentum) * new for old, new in zip(moving, (mean, variance))]
    return y, jax.lax.stop_gradient(statistics)


def _sgd(jax: Any, constants: dict[str, float]) -> Update:
    lr, momentum, decay = (constants.get(name, 0.0) for name in ("learning_rate", "momentum", "weight_decay"))

    def update(weights: Any, grads: Any, slots: Any, t: Any) -> tuple[Any, Any]:
        if decay:
            grads = jax.tree.map(lambda w, g: g + decay * w, weights, grads)
        if slots:
            grads = jax.tree.map(lambda v, g: momentum * v + g, slots[0], grads)
        return jax.tree.map(lambda w, g: w - lr * g, weights, grads), [grads] if slots else []

    return update


def _adam(jax: Any, constants: dict[str, float]) -> Update:
    lr, epsilon = constants["learning_rate"], constants["epsilon"]
    b1, b2 = constants["beta_1"], constants["beta_2"]

    def update(weights: Any, grads: Any, slots: Any, t: Any) -> tuple[Any, Any]:
        m = jax.tree.map(lambda m, g: m + (1 - b1) * (g - m), slots[0], grads)
        v = jax.tree.map(lambda v, g: v + (1 - b2) * (g * g - v), slots[1], grads)
        rate = lr * jax.numpy.sqrt(1 - b2**t) / (1 - b1**t)
        step = jax.tree.map(lambda w, m, v: w - rate * m / (jax.numpy.sqrt(v) + epsilon), weights, m, v)
        return step, [m, v]

    return update


def _compiled(jax: Any, forward: Forward, update: Update) -> Callable[..., Any]:
    """Return the whole step as one compiled function: (state, x, y, key) to (state, loss)."""

    def loss_of(weights: Any, moving: Any, x: Any, y: Any, key: Any) -> tuple[Any, Any]:
        logits, moving = forward(weights, moving, x, key)
        logs = jax.nn.log_softmax(logits)
        return -jax.numpy.take_along_axis(logs, y[:, None], 1).mean(), moving

    def step(state: Any, x: Any, y: Any, key: Any) -> tuple[Any, Any]:
        weights, moving, slots, t = state
        t = t + 1
        gradients = jax.value_and_grad(loss_of, has_aux=True)
        (loss, moving), grads = gradients(weights, moving, x, y, jax.random.fold_in(key, t))
        weights, slots = update(weights, grads, slots, t.astype(jax.numpy.float32))
        return (weights, moving, slots, t), loss

    return jax.jit(step, donate_argnums=0)  # type: ignore[no-any-return]
