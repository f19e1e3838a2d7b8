"""RBM and pretrain: initial weights found layer by layer, by restricted Boltzmann machines; Gibbs sampling."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import checks, ops, optimizers
from fastnn.checks import Float32
from fastnn.initializers import RandomNormal
from fastnn.layers.core import Dense
from fastnn.models.sequential import Sequential
from fastnn.optimizers import SGD, Optimizer
from fastnn.parameter import Parameter
from fastnn.training.splits import generator

__all__ = ["RBM", "pretrain"]


class RBM:
    """A restricted Boltzmann machine of binary units, trained by contrastive divergence (CD).

    E(v, h) = -(v kernel h + visible_bias v + hidden_bias h), p(v, h) = exp(-E(v, h)) / Z
    p(h = 1 | v) = sigmoid(v kernel + hidden_bias), p(v = 1 | h) = sigmoid(h kernel^T + visible_bias)

    A step of `fit` follows v^T h - v'^T h', the mean over a batch: h and h' are the probabilities of the hidden units for the
    samples v and for what `steps` alternations of Gibbs sampling make of them, v'. The first layers of a deep net may start from
    such weights: `dense`, `pretrain`.

    Args:
        units: hidden units, >= 1.
        steps: alternations of Gibbs sampling per gradient, >= 1: CD-1, CD-2, ...
        optimizer: name or Optimizer; None is SGD(0.1, momentum=0.5).
        seed: of the initial weights and all draws; None takes the next of the process (see `fastnn.config.set_seed`).

    Attributes:
        kernel: (D, units), visible_bias: (D,), hidden_bias: (units,), once built; `.value` has the array.

    Reference:
        Hinton (2002), Training products of experts by minimizing contrastive divergence; Hinton, Osindero & Teh (2006), A fast
        learning algorithm for deep belief nets.

    Example:
        >>> import numpy as np
        >>> x = np.repeat([[1, 1, 0, 0], [0, 0, 1, 1]], 50, axis=0)
        >>> rbm = fastnn.RBM(2, seed=1)
        >>> errors = rbm.fit(x, epochs=100, batch_size=10)
        >>> errors[0] > 0.2 and errors[-1] < 0.05
        True
        >>> rbm.dense(name="first").get_weights()[0].shape
        (4, 2)
    """

    def __init__(self, units: int, steps: int = 1, optimizer: Any = None, seed: int | None = None) -> None:
        self.units = checks.integer("RBM", "units", units, 1)
        self.steps = checks.integer("RBM", "steps", steps, 1)
        self.optimizer = _own(optimizer)
        self._rng = generator(seed)
        self._parameters: list[Parameter] = []

    # --- parameters ---

    def build(self, inputs: int) -> None:
        """Make the parameters for samples of this many values, unless there are some."""
        d = checks.integer("RBM", "inputs", inputs, 1)
        if self._parameters:
            return
        start = RandomNormal(stddev=0.01, seed=int(self._rng.integers(2**31)))((d, self.units))
        values = {"kernel": start, "visible_bias": np.zeros(d), "hidden_bias": np.zeros(self.units)}
        self._parameters = [Parameter(f"rbm/{name}", value) for name, value in values.items()]
        self.optimizer.build(self._parameters)

    def _parameter(self, i: int) -> Parameter:
        if not self._parameters:
            checks.fail("RBM", "a built machine", "one without a number of inputs", "call fit or build first")
        return self._parameters[i]

    @property
    def kernel(self) -> Parameter:
        """The weights between visible and hidden units, (D, units)."""
        return self._parameter(0)

    @property
    def visible_bias(self) -> Parameter:
        """(D,)."""
        return self._parameter(1)

    @property
    def hidden_bias(self) -> Parameter:
        """(units,)."""
        return self._parameter(2)

    def dense(self, **arguments: Any) -> Dense:
        """Return Dense(units, "sigmoid", ...), built, that starts from kernel and hidden_bias."""
        layer = Dense(self.units, "sigmoid", **arguments)
        layer.build_for((None, self.kernel.shape[0]))
        layer.set_weights([self.kernel.value, self.hidden_bias.value])
        return layer

    # --- units ---

    def hidden(self, v: Any) -> Float32:
        """Return p(h = 1 | v): (N, D) -> (N, units), the features that the machine has found."""
        return ops.dense_forward(self._visible("v", v), self.kernel.value, self.hidden_bias.value, "sigmoid")

    def visible(self, h: Any) -> Float32:
        """Return p(v = 1 | h): (N, units) -> (N, D)."""
        states = _probabilities("h", h, self.units)
        return ops.gemm(states, self.kernel.value, transpose_b=True, bias=self.visible_bias.value, activation="sigmoid")

    def reconstruct(self, v: Any) -> Float32:
        """Return what the probabilities of the hidden units say of the visible ones: (N, D) -> (N, D)."""
        return self.visible(self.hidden(v))

    def gibbs(self, v: Any, steps: int = 1) -> Float32:
        """Return the states of the visible units, 0 and 1, after `steps` times drawing h from p(h | v) and v from p(v | h).

        After many steps they are samples of p(v), whatever they began with.
        """
        states = self._visible("v", v)
        for _ in range(checks.integer("RBM", "steps", steps, 1)):
            states = self._draw(self.visible(self._draw(self.hidden(states))))
        return states

    def free_energy(self, v: Any) -> Float32:
        """Return F(v) = -visible_bias v - sum of log(1 + exp(v kernel + hidden_bias)): (N, D) -> (N,); p(v) = exp(-F(v)) / Z."""
        states = self._visible("v", v)
        sums = ops.dense_forward(states, self.kernel.value, self.hidden_bias.value)
        field = states @ self.visible_bias.value.astype(np.float64)
        return np.asarray(-field - np.logaddexp(0.0, sums, dtype=np.float64).sum(axis=1), np.float32)

    def _draw(self, p: Float32) -> Float32:
        """Return units that are 1 with these probabilities, else 0."""
        return (self._rng.random(p.shape, np.float32) < p).astype(np.float32)

    def _visible(self, argument: str, value: Any) -> Float32:
        return _probabilities(argument, value, self.kernel.shape[0])

    # --- training ---

    def fit(self, x: Any, epochs: int = 1, batch_size: int = 32, verbose: int = 0) -> list[float]:
        """Train, and return the reconstruction error of every epoch: the mean of (v - p(v = 1 | h))^2 with h drawn from p(h | v).

        Args:
            x: samples (N, D), N >= 1, values in [0, 1]; what is neither 0 nor 1 is taken for a probability.
            epochs: times that all samples are gone through, >= 1, each time in another order.
            batch_size: samples per step, >= 1.
            verbose: 1 prints a line after every epoch.

        Raises:
            ValueError: for samples of another shape or range.
        """
        count, size = checks.integer("RBM", "epochs", epochs, 1), checks.integer("RBM", "batch_size", batch_size, 1)
        checks.integer("RBM", "verbose", verbose, 0, 1)
        samples = _probabilities("x", x, self.kernel.shape[0] if self._parameters else None)
        if not samples.size:
            checks.fail("RBM", "at least one sample", f"shape {samples.shape}")
        self.build(samples.shape[1])
        errors = []
        for epoch in range(count):
            order, total = self._rng.permutation(len(samples)), 0.0
            for start in range(0, len(order), size):
                batch = samples[order[start : start + size]]
                total += self._step(batch) * len(batch)
            errors.append(total / len(samples))
            if verbose:
                print(f"epoch {epoch + 1}/{count}: reconstruction error {errors[-1]:.4f}")
        return errors

    def _step(self, v: Float32) -> float:
        """Do one step of contrastive divergence; return the reconstruction error."""
        h = self.hidden(v)
        p = self.visible(self._draw(h))
        error = float(np.mean(np.square(v - p, dtype=np.float64)))
        ends = self._draw(p)
        if self.steps > 1:
            ends = self.gibbs(ends, self.steps - 1)
        ends_h = self.hidden(ends)
        kernel = ops.gemm(ends, ends_h, transpose_a=True) - ops.gemm(v, h, transpose_a=True)
        biases = [ops.column_sums(a) - ops.column_sums(b) for a, b in ((ends, v), (ends_h, h))]
        self.optimizer.apply([g / np.float32(len(v)) for g in (kernel, *biases)], self._parameters)
        return error


def pretrain(
    model: Sequential,
    x: Any,
    epochs: int = 10,
    batch_size: int = 32,
    steps: int = 1,
    optimizer: Any = None,
    seed: int | None = None,
    verbose: int = 0,
) -> dict[str, list[float]]:
    """Train the hidden layers of a model one after the other, each as an RBM of what the layers before make of the samples.

    The layers are Dense ones with sigmoids and a bias, but for the model's last layer; others are passed through as in `predict`.
    Their kernel and bias become those of the RBM; nothing else is changed. `fit` then trains all of them together.

    Args:
        model: a built Sequential.
        x: samples, so that the inputs of those layers are in [0, 1].
        epochs, batch_size, verbose: as `RBM.fit` takes them, for every layer.
        steps, optimizer, seed: as `RBM` takes them; an Optimizer is copied for every layer.

    Returns:
        the reconstruction errors of every such layer, by its name.

    Raises:
        ValueError: for a model that is not built or has no such layer, and samples that do not fit.

    Example:
        >>> import numpy as np
        >>> layers = [fastnn.layers.Dense(4, "sigmoid", name="a"), fastnn.layers.Dense(3, "sigmoid", name="b")]
        >>> model = fastnn.Sequential([fastnn.Input((6,)), *layers, fastnn.layers.Dense(2, "softmax")])
        >>> errors = fastnn.pretrain(model, np.random.default_rng(0).random((50, 6)).round(), epochs=2)
        >>> [(name, len(values)) for name, values in errors.items()]
        [('a', 2), ('b', 2)]
    """
    if not isinstance(model, Sequential):
        checks.fail_type(
            "pretrain", "a Sequential", checks.describe(model), "pretrain its parts with RBM, and RBM.dense()"
        )
    if not model.built:
        checks.fail("pretrain", "a built model", f"'{model.name}'", "put Input(shape) first")
    hidden = [layer for layer in model.layers[:-1] if _is_hidden(layer)]
    if not hidden:
        checks.fail("pretrain", "Dense layers with sigmoids before the last layer", f"none in '{model.name}'")
    rng, errors = generator(seed), {}
    values: Any = checks.float32("pretrain", "x", x)
    model.check_shapes([values.shape])
    for layer in model.layers[: model.layers.index(hidden[-1]) + 1]:
        if layer in hidden:
            machine = RBM(layer.units, steps, optimizer, int(rng.integers(2**31)))  # type: ignore[union-attr]
            if verbose:
                print(layer.name)
            errors[layer.name] = machine.fit(values, epochs, batch_size, verbose)
            layer.set_weights([machine.kernel.value, machine.hidden_bias.value])
        values = layer(values)
    return errors


def _is_hidden(layer: Any) -> bool:
    return type(layer) is Dense and layer.activation.name == "sigmoid" and layer.use_bias


def _own(optimizer: Any) -> Optimizer:
    """Return an optimizer that nobody else uses."""
    if optimizer is None:
        return SGD(0.1, momentum=0.5)
    found = optimizers.get(optimizer)
    if found.full_batch:
        checks.fail("RBM", "an optimizer that follows gradients", type(found).__name__)
    if found is not optimizer:
        return found
    data = optimizers.serialize(found)
    return optimizers.deserialize(data, {data["class"]: type(found)})


def _probabilities(argument: str, value: Any, width: int | None) -> Float32:
    """Return an array of shape (N, width) with values in [0, 1]."""
    result = checks.float32("RBM", argument, value)
    if result.ndim != 2 or width not in (None, result.shape[1]):
        rule = f"{argument} of shape (N, {'D' if width is None else width})"
        checks.fail("RBM", rule, result.shape, "flatten the samples: x.reshape(len(x), -1)" if result.ndim > 2 else "")
    if result.size and not (result.min() >= 0 and result.max() <= 1):
        checks.fail("RBM", f"{argument} in [0, 1]", f"{result.min():g} to {result.max():g}", "scale the samples")
    return result
