"""Compare fastnn with Keras: the same arguments, weights and arrays on both sides, over random configurations.

Keras computes in float64 on PyTorch (or on JAX where that is missing or KERAS_BACKEND names it: it compiles
every shape anew, and the suite takes some ten times as long), so a difference is fastnn's own rounding or a real one.

    @pytest.mark.parametrize("arguments", configurations(6, units=[1, 5], activation=[None, "tanh"]), ids=str)
    def test_dense(arguments):
        check_layer("Dense", arguments, (7,))

A class that the peer names otherwise is given as `theirs=`. Losses, optimizers and metrics are compared in their own files.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

import fastnn
from fastnn.parameter import Parameter

Array = NDArray[Any]
Arguments = dict[str, Any]
Shape = tuple[int, ...]

# Float32 against float64: some roundings of 6e-8, relative to the largest number of the array.
SHORT = 1e-6
LONG = 1e-5  # sums of many terms, and whatever depends on 50 steps before

QUICK = (
    os.environ.get("FASTNN_PARITY") == "quick"
)  # a third of the configurations and fewer steps: what CI has time for


# ---------------------------------------------------------------- the peer


def has(*packages: str) -> bool:
    """Return whether all these packages are installed."""
    return all(importlib.util.find_spec(package) is not None for package in packages)


BACKEND = os.environ.get("KERAS_BACKEND") or ("torch" if has("torch") else "jax")  # what Keras computes on


def available() -> bool:
    """Return whether there is Keras with something to compute on."""
    return has("keras") and (has("jax") or has("torch"))


def keras() -> Any:
    """Return the keras module; the test is skipped without it."""
    if not available():
        pytest.skip("needs keras, and jax or torch")
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = BACKEND
        if has("torch"):  # whose threads would wait for each other longer than such small arrays take
            importlib.import_module("torch").set_num_threads(1)
    return importlib.import_module("keras")


@contextmanager
def in_float64() -> Iterator[None]:
    """Let Keras compute in float64, as far as it is installed."""
    if not available():
        yield
        return
    module = keras()
    before = module.config.floatx()
    module.config.set_floatx("float64")
    try:
        if BACKEND == "jax":
            with importlib.import_module("jax").enable_x64(True):
                yield
        else:
            yield
    finally:
        module.config.set_floatx(before)


def numpy_of(x: Any) -> Array:
    """Return a tensor of the peer as an array."""
    return np.asarray(keras().ops.convert_to_numpy(x))


def tensor(x: Any) -> Any:
    """Return an array as a tensor of the peer: floats in float64, integers as they are."""
    x = np.asarray(x)
    return keras().ops.convert_to_tensor(x.astype(np.float64) if x.dtype.kind == "f" else x)


def gradients(
    f: Callable[[list[Any]], tuple[Any, Any]], repeated: bool = False
) -> Callable[[Sequence[Any]], tuple[Any, list[Array]]]:
    """Return a function that gives the second result of f and the gradients of its first, a number.

    It is compiled if it is called repeatedly: that takes as long as many calls.
    """
    if BACKEND == "jax":
        jax = importlib.import_module("jax")
        run = jax.value_and_grad(lambda values: f(list(values)), has_aux=True)
        run = jax.jit(run) if repeated else run

        def computed(values: Sequence[Any]) -> tuple[Any, list[Array]]:
            (_, more), found = run([np.asarray(v, np.float64) for v in values])
            return more, [np.asarray(g) for g in found]

        return computed
    torch = importlib.import_module("torch")

    def computed_by_torch(values: Sequence[Any]) -> tuple[Any, list[Array]]:
        leaves = [torch.tensor(np.asarray(v, np.float64), requires_grad=True) for v in values]
        total, more = f(leaves)
        found = torch.autograd.grad(total, leaves, allow_unused=True)
        return more, [np.zeros(v.shape) if g is None else g.numpy() for v, g in zip(leaves, found)]

    return computed_by_torch


# ---------------------------------------------------------------- configurations and closeness


def configurations(
    count: int,
    /,
    *,
    seed: int = 0,
    valid: Callable[[Arguments], bool] = lambda arguments: True,
    quick: bool = QUICK,
    **options: Sequence[Any],
) -> list[Arguments]:
    """Return that many random choices of one value per option, each value about as often as the others.

    Args:
        count: of configurations.
        seed: for others.
        valid: tells which are allowed together.
        quick: whether a third of them is enough.
        options: lists of values by argument.
    """
    count = max(2, count // 3) if quick else count
    rng = np.random.default_rng(seed)
    found: list[Arguments] = []
    for _ in range(1000):
        columns = {name: [values[i % len(values)] for i in rng.permutation(count)] for name, values in options.items()}
        rows = [{name: column[i] for name, column in columns.items()} for i in range(count)]
        for row in rows:
            if valid(row) and row not in found:
                found.append(row)
        if len(found) >= count:
            break
    return found[:count]


def normal(*shape: int, seed: int = 0) -> Array:
    """Return float32 normal numbers, the same for the same shape and seed."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def assert_near(got: ArrayLike, expected: ArrayLike, tolerance: float, what: str, scale: float | None = None) -> None:
    """Check got against the peer's array: |difference| <= tolerance times its largest number (or `scale`, if that is larger)."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, Keras has {expected.shape}"
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(expected), err_msg=what)
    if not got.size:
        return
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(got[~finite], expected[~finite], err_msg=what)
    size = max(float(np.abs(expected[finite]).max(initial=0.0)), scale or 0.0)
    error = float(np.abs(got[finite] - expected[finite]).max(initial=0.0))
    assert error <= tolerance * size + 1e-30, f"{what}: off by {error:.3g}, {error / (size or 1):.3g} of {size:.3g}"


# ---------------------------------------------------------------- layers


def random_weights(layer: fastnn.layers.Layer, seed: int) -> None:
    """Give a built layer random parameters, variances positive ones; outputs of about size 1."""
    for i, p in enumerate(layer.parameters):
        values = normal(*p.shape, seed=100 * seed + i) / np.sqrt(np.prod(p.shape[:-1]) if len(p.shape) > 1 else 1)
        p.assign(np.abs(values) + 0.5 if "variance" in p.name else values)


class LayerPair:
    """A layer of fastnn and its peer with the same weights.

    Args:
        ours: layer of fastnn, not built.
        theirs: layer of Keras, not built.
        shapes: of a sample of each input.
        seed: of the weights.
        permuted: for a parameter's name ("kernel") the axes that turn ours into theirs, where they differ.
    """

    def __init__(
        self, ours: Any, theirs: Any, shapes: Sequence[Shape], seed: int, permuted: dict[str, Sequence[int]] | None
    ) -> None:
        self.ours, self.theirs, self.several = ours, theirs, bool(ours.takes_list)
        self.permuted = permuted or {}
        whole = [(None, *shape) for shape in shapes]
        ours.build_for(whole if self.several else whole[0])
        if not theirs.built:
            theirs.build(whole if self.several else whole[0])
        if theirs.weights:  # a Normalization of given numbers has none
            random_weights(ours, seed)
            theirs.set_weights([self.permute(p, p.numpy()) for p in ours.weights])
        self.state = [numpy_of(v.value) for v in theirs.non_trainable_variables]

    def permute(self, parameter: Parameter, value: Array) -> Array:
        """Return a parameter's array as the peer lays it out."""
        axes = self.permuted.get(parameter.name.rpartition("/")[2])
        return value if axes is None else value.transpose(axes)

    @property
    def learning(self) -> list[Parameter]:
        """Our parameters that are learned: the peer's trainable variables."""
        return self.ours.trainable_weights

    def whole(self, parts: Sequence[Any]) -> Any:
        """Return what the layer takes."""
        return list(parts) if self.several else parts[0]

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        """Return our output."""
        return np.asarray(self.ours.forward(self.whole(inputs), training))

    def backward(self, dy: Array) -> tuple[list[Any], list[Array]]:
        """Return our gradients of the inputs and of the parameters."""
        dx = self.ours.backward(np.ascontiguousarray(dy, np.float32))
        return list(dx) if self.several else [dx], [self.permute(p, p.gradient) for p in self.learning]

    def call(
        self, weights: Sequence[Any], state: Sequence[Any], inputs: Sequence[Any], training: bool
    ) -> tuple[Any, Any]:
        """Return the peer's output and its state afterwards."""
        constants = [tensor(v) if isinstance(v, np.ndarray) else v for v in state]
        mode = {"training": training} if "training" in inspect.signature(self.theirs.call).parameters else {}
        return self.theirs.stateless_call(list(weights), constants, self.whole(inputs), **mode)


def check_layer(
    cls: str,
    arguments: Arguments,
    shape: Any,
    *,
    theirs: Any = None,
    training: bool = True,
    tolerance: float = SHORT,
    steps: int = 50,
    batch: int = 3,
    seed: int = 0,
    inputs: Sequence[Array] | None = None,
    permuted: dict[str, Sequence[int]] | None = None,
) -> None:
    """Check a layer's output, state, gradients of inputs and weights, and the weights after steps of gradient descent.

    Args:
        cls: of the layer, a name in fastnn.layers (and in keras.layers).
        arguments: for both.
        shape: of a sample; a list of shapes for a layer of several inputs.
        theirs: None makes keras.layers.<cls>(**arguments); otherwise a function that makes the peer.
        training: whether the layer is called in training, too. False for one that is random there.
        tolerance: relative to the largest number of each array.
        steps: of gradient descent on the squared distance from random numbers, for a layer that has weights.
        batch: number of samples.
        seed: of weights and arrays.
        inputs: arrays to use instead of normal numbers; integers have no gradient.
        permuted: axes that turn our parameter of a name into theirs.
    """
    peer = keras().layers
    shapes: list[Shape] = list(shape) if isinstance(shape, list) else [shape]
    ours = getattr(fastnn.layers, cls)(**arguments)
    pair = LayerPair(ours, theirs() if theirs else getattr(peer, cls)(**arguments), shapes, seed, permuted)
    arrays = [normal(batch, *s, seed=seed + i) for i, s in enumerate(shapes)] if inputs is None else list(inputs)
    for mode in (False, True) if training else (False,):
        check_passes(pair, arrays, mode, tolerance, seed)
    if steps and training and pair.learning:
        check_descent(pair, arrays, min(steps, 10) if QUICK else steps, max(tolerance, LONG), seed)


def check_passes(pair: LayerPair, arrays: Sequence[Array], training: bool, tolerance: float, seed: int) -> None:
    """Check one pass forward and, in training, one back."""
    what = f"{pair.ours.who}, training={training}"
    y = pair.forward(arrays, training)
    dy = normal(*y.shape, seed=seed + 50)
    floats = [i for i, x in enumerate(arrays) if x.dtype.kind == "f"]

    def objective(values: list[Any]) -> tuple[Any, Any]:
        inputs = [tensor(x) for x in arrays]
        for i, value in zip(floats, values):
            inputs[i] = value + 0.0  # some layers of the peer write into what they are given
        expected, after = pair.call(values[len(floats) :], pair.state, inputs, training)
        assert tuple(expected.shape) == y.shape, f"{what}: output of shape {y.shape}, Keras has {tuple(expected.shape)}"
        return keras().ops.sum(expected * tensor(dy)), (expected, after)

    weights = [pair.permute(p, p.numpy()) for p in pair.learning]
    (expected, after), found = gradients(objective)([*(arrays[i] for i in floats), *weights])
    assert_near(y, numpy_of(expected), tolerance, f"{what}: output")
    if not training:
        return
    dx, dweights = pair.backward(dy)
    for i, want in zip(floats, found):
        assert_near(dx[i], want, tolerance, f"{what}: gradient of input {i}", float(np.abs(dy).max()))
    for p, got, want in zip(pair.learning, dweights, found[len(floats) :]):
        assert_near(got, want, tolerance, f"{what}: gradient of {p.name}", float(np.abs(dy).max()))
    pair.state = [numpy_of(v) for v in after]
    for p, want in zip(pair.ours.non_trainable_weights, pair.state):
        assert_near(pair.permute(p, p.value), want, tolerance, f"{what}: {p.name} afterwards")


def check_descent(pair: LayerPair, arrays: Sequence[Array], steps: int, tolerance: float, seed: int) -> None:
    """Check the weights after gradient descent on half the mean squared distance from random numbers."""
    rate, count = 0.05, len(pair.learning)
    optimizer = fastnn.optimizers.SGD(rate)
    optimizer.build(pair.learning)
    target = normal(*pair.forward(arrays, False).shape, seed=seed + 60)
    weights = [pair.permute(p, p.numpy()).astype(np.float64) for p in pair.learning]

    def objective(values: list[Any]) -> tuple[Any, Any]:
        y, after = pair.call(values[:count], values[count:], [tensor(x) for x in arrays], True)
        return keras().ops.mean((y - tensor(target)) ** 2) / 2, after

    run = gradients(objective, repeated=steps > 20)
    for _ in range(steps):
        y = pair.forward(arrays, True)
        pair.backward((y - target) / y.size)
        optimizer.step()
        after, found = run([*weights, *pair.state])
        weights = [w - rate * g for w, g in zip(weights, found)]
        pair.state = [numpy_of(v) for v in after]
    for p, want in zip(pair.learning, weights):
        assert_near(pair.permute(p, p.value), want, tolerance, f"{pair.ours.who}: {p.name} after {steps} steps")


# ---------------------------------------------------------------- functions


def check_function(ours: Any, theirs: Callable[[Any], Any], x: Array, tolerance: float = SHORT) -> None:
    """Check an activation of fastnn (forward, backward) against a function of the peer's tensors."""
    dy = normal(*x.shape, seed=70)

    def objective(values: list[Any]) -> tuple[Any, Any]:
        y = theirs(values[0])
        return keras().ops.sum(y * tensor(dy)), y

    expected, (slope,) = gradients(objective)([x])
    y = ours.forward(x)
    assert_near(y, numpy_of(expected), tolerance, f"{ours}: output")
    dx = ours.backward(dy, None if ours.from_output else x, y)
    assert_near(dx, slope, tolerance, f"{ours}: gradient", float(np.abs(dy).max()))
