"""explain: the numbers of a tiny network, forward and backward, as one would work them out by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, losses, ops
from fastnn.layers.core import Dense

Array = NDArray[Any]

WHO = "explain"
MOST_UNITS = 16  # of a layer: more nobody follows by hand


def explain(
    model: Any,
    x: Any,
    y: Any,
    loss: Any = None,
    learning_rate: float | None = None,
    factor: float = 1.0,
    digits: int = 4,
    print_fn: Callable[[str], Any] = print,
) -> None:
    """Print what a tiny network computes for one sample, and how its gradients come about: every number, rounded at the end only.

    The network is a chain of Dense layers. x1, x2, ... are its inputs, h1, h2, ... the outputs of the first layer, k and so on
    those of the next, y1, y2, ... those of the last; z is what goes into an activation. wij of a layer goes from its input i to its
    unit j; some books write it wji. Everything is computed in float64; nothing is changed.

    Args:
        model: a model; compiled, unless loss is given.
        x, y: one sample and its target.
        loss: name or Loss; None is the model's.
        learning_rate: print the weights after a step of gradient descent as well; None leaves that out.
        factor: what the loss is multiplied by: 0.5 makes half the squared error of "mse", as books have it.
        digits: decimals.
        print_fn: called with the text instead of print.

    Raises:
        ValueError: for more than one sample, layers other than Dense, more than 16 units a layer.

    Example:
        >>> import numpy as np
        >>> model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(1, "sigmoid", False, name="out")])
        >>> model.set_weights([np.array([[0.5], [0.25]])])
        >>> fastnn.explain(model, [[1.0, 2.0]], [[1.0]], loss="mse", learning_rate=1.0)
        x1 = 1.0000, x2 = 2.0000
        <BLANKLINE>
        out: 1 unit, sigmoid
          z1 = 0.5000*1.0000 + 0.2500*2.0000 = 1.0000, y1 = sigmoid(z1) = 0.7311
        <BLANKLINE>
        MeanSquaredError of y1 = 0.7311 for 1.0000: L = 0.0723
          dL/dy1 = -0.5379
        <BLANKLINE>
        out, backward
          dL/dz1 = dL/dy1 * dy1/dz1 = -0.5379*0.1966 = -0.1058
          dL/dw11 = dL/dz1 * x1 = -0.1058*1.0000 = -0.1058, w11: 0.5000 - 1.0000*-0.1058 = 0.6058
          dL/dw21 = dL/dz1 * x2 = -0.1058*2.0000 = -0.2115, w21: 0.2500 - 1.0000*-0.2115 = 0.4615
    """
    places = checks.integer(WHO, "digits", digits, 0, 17)
    rate = None if learning_rate is None else checks.number(WHO, "learning_rate", learning_rate, 0.0)
    scale = checks.number(WHO, "factor", factor)
    layers = _chain(model)
    sample = np.asarray(checks.array(WHO, "x", x), np.float64)
    if sample.shape != (1, int(layers[0].weights[0].shape[0])):
        checks.fail(WHO, f"one sample x of shape (1, {layers[0].weights[0].shape[0]})", sample.shape)
    chosen = _loss(model, loss)
    truth = chosen.prepare(y, (None, layers[-1].units))
    if len(truth) != 1:
        checks.fail(WHO, "one target y", f"{len(truth)}")
    with ops.in_doubles():
        text = _Text(places, rate)
        print_fn("\n".join(text.lines(layers, sample, truth, chosen, scale)))


def _chain(model: Any) -> list[Dense]:
    """Return the layers of a network that can be explained."""
    if not hasattr(model, "leaf_layers") or not hasattr(model, "plan"):
        checks.fail_type(WHO, "a model", checks.describe(model))
    calls = model.plan.calls
    chained = all(call.inputs == (before.output,) for before, call in itertools.pairwise(calls))
    others = [layer for layer in model.leaf_layers if type(layer) is not Dense]
    if others or not chained or not calls:
        got = ", ".join(type(layer).__name__ for layer in others) or "another graph"
        checks.fail(WHO, "a chain of Dense layers", got, "give activations to the Dense layers")
    largest = max(max(layer.weights[0].shape) for layer in model.leaf_layers)
    if largest > MOST_UNITS:
        checks.fail(WHO, f"at most {MOST_UNITS} units a layer", largest)
    return [call.layer for call in calls]


def _loss(model: Any, loss: Any) -> losses.Loss:
    """Return the loss that is given, or the model's."""
    if loss is not None:
        return losses.get(loss)
    if len(model.scores) != 1:
        checks.fail(WHO, "a compiled model, or loss=", "none", "write explain(model, x, y, loss='mse')")
    found: losses.Loss = model.scores[0].loss
    return found


class _Layer:
    """One layer's numbers: names of its inputs and outputs, sums z, outputs a, and the gradients."""

    def __init__(self, layer: Dense, given: Array, inputs: list[str], outputs: list[str]) -> None:
        self.layer, self.given, self.inputs, self.outputs = layer, given[0], inputs, outputs
        self.kernel = layer.weights[0].value.astype(np.float64)
        self.bias = layer.weights[1].value.astype(np.float64) if layer.use_bias else None
        self.z = self.given @ self.kernel + (0 if self.bias is None else self.bias)
        self.activation = layer.activation
        self.out = np.asarray(self.activation.forward(self.z[None]), np.float64)

    def slopes(self) -> Array:
        """Return da_j/dz_i (i, j): the rows of the activation's derivative."""
        units = len(self.z)
        z, a = np.repeat(self.z[None], units, 0), np.repeat(self.out, units, 0)
        return np.asarray(
            self.activation.backward(*(ops.as_float32(WHO, "z", part) for part in (np.eye(units), z, a))), np.float64
        ).T


class _Text:
    """The lines of an explanation."""

    def __init__(self, digits: int, rate: float | None) -> None:
        self.digits, self.rate = digits, rate

    def number(self, value: float) -> str:
        """Return a number as it is printed; no minus before a zero."""
        return f"{round(float(value), self.digits) + 0.0:.{self.digits}f}"

    def lines(self, layers: list[Dense], x: Array, truth: Array, loss: losses.Loss, factor: float) -> Iterator[str]:
        """Yield the explanation, line by line."""
        steps: list[_Layer] = []
        names, given = [f"x{i + 1}" for i in range(x.shape[1])], x
        yield ", ".join(f"{name} = {self.number(v)}" for name, v in zip(names, x[0]))
        for i, layer in enumerate(layers):
            letter = "y" if i == len(layers) - 1 else "hklmnopqrstuv"[i % 13]
            outputs = [f"{letter}{j + 1}" for j in range(layer.units)]
            steps.append(_Layer(layer, given, names, outputs))
            yield ""
            yield from self.forward(steps[-1])
            names, given = outputs, steps[-1].out
        yield ""
        target = np.eye(len(names))[truth] if truth.dtype == np.int32 else truth.reshape(1, -1)
        value, dy = loss.evaluate(*loss.counting(loss.truth_rows(truth), None)[:1], given, None, factor)
        assert dy is not None
        shown = ", ".join(f"{n} = {self.number(v)} for {self.number(t)}" for n, v, t in zip(names, given[0], target[0]))
        yield f"{type(loss).__name__} of {shown}: L = {self.number(factor * float(value[0]))}"
        yield "  " + ", ".join(f"dL/d{name} = {self.number(v)}" for name, v in zip(names, dy[0]))
        gradient = np.asarray(dy[0], np.float64)
        for i, step in reversed(list(enumerate(steps))):
            yield ""
            yield f"{step.layer.name}, backward"
            gradient = yield from self.backward(step, gradient, i > 0)

    def forward(self, step: _Layer) -> Iterator[str]:
        """Yield a layer's sums and outputs."""
        count, kind = len(step.outputs), step.activation.name
        yield f"{step.layer.name}: {count} unit{'' if count == 1 else 's'}, {kind}"
        for j, name in enumerate(step.outputs):
            terms = [f"{self.number(w)}*{self.number(v)}" for w, v in zip(step.kernel[:, j], step.given)]
            terms += [] if step.bias is None else [self.number(step.bias[j])]
            out = "z" if kind == "softmax" else f"z{j + 1}"
            total, value = self.number(step.z[j]), self.number(step.out[0, j])
            yield f"  z{j + 1} = {' + '.join(terms)} = {total}, {name} = {kind}({out}) = {value}"

    def backward(self, step: _Layer, dy: Array, more: bool) -> Generator[str, None, Array]:
        """Yield a layer's gradients; return those of its inputs."""
        slopes = step.slopes()
        dz = slopes @ dy
        for i in range(len(dz)):
            if step.activation.name == "softmax":
                what = " + ".join(f"dL/d{name} * d{name}/dz{i + 1}" for name in step.outputs)
                numbers = " + ".join(f"{self.number(d)}*{self.number(s)}" for d, s in zip(dy, slopes[i]))
            else:
                name = step.outputs[i]
                what = f"dL/d{name} * d{name}/dz{i + 1}"
                numbers = f"{self.number(dy[i])}*{self.number(slopes[i, i])}"
            yield f"  dL/dz{i + 1} = {what} = {numbers} = {self.number(dz[i])}"
        for i, name in enumerate(step.inputs):
            for j in range(len(dz)):
                w, g = f"w{i + 1}{j + 1}", step.given[i] * dz[j]
                numbers = f"{self.number(dz[j])}*{self.number(step.given[i])} = {self.number(g)}"
                yield f"  dL/d{w} = dL/dz{j + 1} * {name} = {numbers}{self.step(w, step.kernel[i, j], g)}"
        if step.bias is not None:
            for j, b in enumerate(step.bias):
                yield f"  dL/db{j + 1} = dL/dz{j + 1} = {self.number(dz[j])}{self.step(f'b{j + 1}', b, dz[j])}"
        dx: Array = step.kernel @ dz
        if more:
            for i, name in enumerate(step.inputs):
                what = " + ".join(f"w{i + 1}{j + 1} * dL/dz{j + 1}" for j in range(len(dz)))
                numbers = " + ".join(f"{self.number(w)}*{self.number(d)}" for w, d in zip(step.kernel[i], dz))
                yield f"  dL/d{name} = {what} = {numbers} = {self.number(dx[i])}"
        return dx

    def step(self, name: str, value: float, gradient: float) -> str:
        """Return what a step of gradient descent makes of a weight, if that is wanted."""
        if self.rate is None:
            return ""
        numbers = f"{self.number(value)} - {self.number(self.rate)}*{self.number(gradient)}"
        return f", {name}: {numbers} = {self.number(value - self.rate * gradient)}"
