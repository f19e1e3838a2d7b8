"""The training steps that are timed: networks of the usual courses, one step of forward, loss, backward and update per batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import Model, Sequential, config, losses, optimizers
from fastnn.bench import plain_numpy
from fastnn.bench.machine import using_backend
from fastnn.bench.timing import Program
from fastnn.chains import PooledChain
from fastnn.checks import Float32
from fastnn.graph import SymbolicTensor
from fastnn.layers import (
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Input,
    Layer,
    MaxPooling2D,
    ReLU,
    add,
)

# How far two right programs may be apart, as a share of the norm. They round differently, and so may, once in a million times, let
# another one of two nearly equal values win a pooling window or pass a value near 0 through a ReLU: that changes a gradient by
# up to a hundredth. A wrong formula is off by far more, and a wrong step shows in the step from the same gradient.
TOLERANCE = {"loss": 1e-5, "gradient": 0.02, "step": 1e-3}
SEED = 0
LEARNING_RATE = 1e-9  # while timing


@dataclass(frozen=True)
class Workload:
    """A network and how it is trained.

    Args:
        name: network, batch size, optimizer.
        build: returns the layers, or the model, with Dropout only where its argument is True.
        input_shape: of one sample.
        batch: samples per step.
        optimizer: "sgd", "momentum" or "adam".
        steps: per epoch, which is what one call of `fit` does.
        quick: whether a quick run has it.
        plain: returns the layers of the plain program, given the parameters one after the other; None makes them from the
            layers of a Sequential.
    """

    name: str
    build: Callable[[bool], list[Layer] | Model]
    input_shape: tuple[int, ...]
    batch: int
    optimizer: str
    steps: int
    quick: bool = False
    plain: Callable[[Iterator[Float32]], list[plain_numpy.PlainLayer]] | None = None


def mlp(*units: int) -> Callable[[bool], list[Layer]]:
    """Return what builds dense layers with ReLU between them, for 10 classes."""
    return lambda dropout: [*(Dense(n, activation="relu") for n in units), Dense(10)]


def lenet(dropout: bool) -> list[Layer]:
    """Two convolutions with pooling, three dense layers."""
    return [
        Conv2D(6, 5, padding=2, activation="relu"),
        MaxPooling2D(2),
        Conv2D(16, 5, activation="relu"),
        MaxPooling2D(2),
        Flatten(),
        Dense(120, activation="relu"),
        Dense(84, activation="relu"),
        Dense(10),
    ]


def kerascnn(dropout: bool) -> list[Layer]:
    """The first convolutional example of Keras."""
    return [
        Conv2D(32, 3, activation="relu"),
        MaxPooling2D(2),
        Conv2D(64, 3, activation="relu"),
        MaxPooling2D(2),
        Flatten(),
        *([Dropout(0.5)] if dropout else []),
        Dense(10),
    ]


def deepconv(dropout: bool) -> list[Layer]:
    """Six convolutions, pooling after every second one, two dense layers."""
    result: list[Layer] = []
    for filters, second_padding in ((16, 1), (32, 2), (64, 1)):
        result += [
            Conv2D(filters, 3, padding=1, activation="relu"),
            Conv2D(filters, 3, padding=second_padding, activation="relu"),
            MaxPooling2D(2),
        ]
    result += [Flatten(), Dense(50, activation="relu")]
    if not dropout:
        return [*result, Dense(10)]
    return [*result, Dropout(0.5), Dense(10), Dropout(0.5)]


EPSILON = 1e-5
BLOCKS = tuple(
    (filters, 2 if first and filters > 16 else 1) for filters in (16, 32, 64) for first in (True, False, False)
)


def resnet20(dropout: bool) -> Model:
    """The residual network of 20 layers for small images: three stages of three blocks; projections where the shape changes."""

    def convolution(x: SymbolicTensor, filters: int, size: int, stride: int) -> SymbolicTensor:
        pad = size // 2  # on both sides, also at stride 2
        y = Conv2D(filters, size, strides=stride, padding=pad, use_bias=False)(x)
        result: SymbolicTensor = BatchNormalization(momentum=0.9, epsilon=EPSILON)(y)
        return result

    image = Input(TINY_IMAGE)
    x = ReLU()(convolution(image, 16, 3, 1))
    for filters, stride in BLOCKS:
        y = ReLU()(convolution(x, filters, 3, stride))
        y = convolution(y, filters, 3, 1)
        shortcut = x if stride == 1 else convolution(x, filters, 1, stride)
        x = ReLU()(add([y, shortcut]))
    return Model(image, Dense(10)(GlobalAveragePooling2D()(x)))


def plain_resnet20(parameters: Iterator[Float32]) -> list[plain_numpy.PlainLayer]:
    """The same as a plain program."""

    def convolution(size: int, stride: int) -> list[plain_numpy.PlainLayer]:
        filters = plain_numpy.Convolution(next(parameters), None, size // 2, stride)
        return [filters, plain_numpy.BatchNorm(next(parameters), next(parameters), EPSILON)]

    stack = [*convolution(3, 1), plain_numpy.Relu()]
    for _, stride in BLOCKS:
        main = [*convolution(3, stride), plain_numpy.Relu(), *convolution(3, 1)]
        stack += [plain_numpy.Residual(main, [] if stride == 1 else convolution(1, stride)), plain_numpy.Relu()]
    return [*stack, plain_numpy.GlobalAverage(), plain_numpy.Affine(next(parameters), next(parameters))]


VECTOR, IMAGE, TINY_IMAGE = (784,), (28, 28, 1), (32, 32, 3)
WORKLOADS = (
    Workload("mlp500_b1_sgd", mlp(500, 500), VECTOR, 1, "sgd", 200, quick=True),
    Workload("mlp500_b10_sgd", mlp(500, 500), VECTOR, 10, "sgd", 100),
    Workload("mlp5x100_b128_adam", mlp(100, 100, 100, 100), VECTOR, 128, "adam", 20),
    Workload("mlp300_b32_adam", mlp(300, 200, 100), VECTOR, 32, "adam", 40),
    Workload("mlp300_b128_adam", mlp(300, 200, 100), VECTOR, 128, "adam", 20, quick=True),
    Workload("mlp2048_b256_adam", mlp(2048, 2048, 2048), VECTOR, 256, "adam", 2),
    Workload("lenet_b64_adam", lenet, IMAGE, 64, "adam", 4, quick=True),
    Workload("kerascnn_b128_adam", kerascnn, IMAGE, 128, "adam", 2, quick=True),
    Workload("deepconv_b100_adam", deepconv, IMAGE, 100, "adam", 2),
    Workload("resnet20_b128_sgd", resnet20, TINY_IMAGE, 128, "momentum", 1, plain=plain_resnet20),
)


def get(name: str) -> Workload:
    """Return the workload of that name."""
    return next(workload for workload in WORKLOADS if workload.name == name)


def build_model(workload: Workload, dropout: bool = True) -> Model:
    """Return the compiled model, with the same weights and dropout masks at every call; sets fastnn's seed.

    Example:
        >>> from fastnn.bench import workloads
        >>> workloads.build_model(workloads.get("lenet_b64_adam")).count_params()
        61706
    """
    config.set_seed(SEED)
    built = workload.build(dropout)
    model = built if isinstance(built, Model) else Sequential([Input(workload.input_shape), *built])
    model.compile(_optimizer(workload.optimizer), losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


MOMENTUM = {"momentum": 0.9, "weight_decay": 1e-4}


def _optimizer(name: str) -> str | optimizers.Optimizer:
    return optimizers.SGD(0.1, **MOMENTUM) if name == "momentum" else name  # type: ignore[arg-type]


def data(workload: Workload, samples: int) -> tuple[Float32, NDArray[np.int32]]:
    """Return normal numbers as samples, and random labels."""
    rng = np.random.default_rng(SEED)
    return rng.standard_normal((samples, *workload.input_shape), np.float32), rng.integers(0, 10, samples, np.int32)


def plain_network(model: Model, workload: Workload) -> plain_numpy.Network:
    """Return the plain NumPy program of a workload's model, with copies of its weights."""
    if workload.plain is not None:
        stack = workload.plain(p.numpy() for p in model.trainable_weights)
    else:
        stack = [part for layer in model.leaf_layers for part in _plain_layers(layer)]
    return plain_numpy.Network(stack, plain_optimizer(workload.optimizer))


def plain_optimizer(name: str) -> plain_numpy.Sgd | plain_numpy.Momentum | plain_numpy.Adam:
    """Return the plain optimizer of that name, with the same constants as fastnn's."""
    if name == "momentum":
        return plain_numpy.Momentum(0.1, MOMENTUM["momentum"], MOMENTUM["weight_decay"])
    return plain_numpy.Sgd() if name == "sgd" else plain_numpy.Adam()


def _plain_layers(layer: Layer) -> list[plain_numpy.PlainLayer]:
    """Return what a layer is in the plain program: itself, and its activation."""
    if isinstance(layer, MaxPooling2D):
        return [plain_numpy.MaxPooling(layer.pool_size[0])]
    if isinstance(layer, Dropout):
        return [plain_numpy.Dropout(layer.rate)]
    if isinstance(layer, Flatten):
        return [plain_numpy.Flatten()]
    w, b = layer.get_weights()
    if isinstance(layer, Conv2D):
        pad = 0 if isinstance(layer.padding, str) else layer.padding[0][0]
        return [plain_numpy.Convolution(w, b, pad), plain_numpy.Relu()]
    relu = isinstance(layer, Dense) and layer.activation.kind == "relu"
    return [plain_numpy.Affine(w, b), *([plain_numpy.Relu()] if relu else [])]


def step_flops(model: Model, batch: int) -> float:
    """Return the flops of the products of one training step, a multiply-add for every one of their formulas.

    Those of the forward pass, of the kernel's gradient and, unless the layer is the first, of the input's. Where a convolution is
    pooled they are fewer: of its outputs only those in windows are needed, and one of each window has a gradient. That filter
    gradients of 3 x 3 taps need fewer is not counted.
    """
    total, plan = 0.0, model.plan
    shapes: list[Any] = plan.shapes([tensor.shape for tensor in model.inputs])
    wanted = plan.wanted(False)
    pooled = {chain.calls[0]: chain for chain in plan.held_chains() if isinstance(chain, PooledChain)}
    for i, call in enumerate(plan.calls):
        if isinstance(call.layer, (Conv2D, Dense)):
            forward = backward = float(np.prod(shapes[call.output][1:-1]))  # the empty product is 1
            if i in pooled:
                backward = float(np.prod(shapes[pooled[i].output][1:-1]))
                forward = backward * pooled[i].window(plan.calls)
            products = forward + backward * (2 if wanted[call.inputs[0]] else 1)
            total += 2.0 * batch * products * call.layer.kernel.size
    return total


def step_bytes(model: Model, batch: int) -> float:
    """Return the bytes that one training step reads and writes at least, were nothing but a layer's own values near the processor.

    Values between layers are written, read by the next layer and again for gradients; so are their gradients, but read once. A
    parameter is read forward and backward, its gradient written and read, parameter and optimizer state read and written. What one
    kernel makes and uses is not counted.
    """
    shapes: list[Any] = model.plan.shapes([tensor.shape for tensor in model.inputs])
    inside = {i for chain in model.plan.held_chains() for i in chain.calls[:-1]}
    outputs = [call.output for i, call in enumerate(model.plan.calls) if i not in inside]
    made = sum(float(batch * np.prod(shapes[value][1:])) for value in outputs)
    given = sum(float(batch * np.prod(shapes[value][1:])) for value in model.plan.inputs)
    slots = {"Adam": 2}.get(type(model.optimizer).__name__, int(bool(getattr(model.optimizer, "momentum", 0))))
    weights = sum(p.size for p in model.trainable_weights)
    return 4.0 * (5 * made + 2 * given + (6 + 2 * slots) * weights)


def verify(workload: Workload) -> None:
    """Compare one step of fastnn with its twin's, and with the plain program's (both without dropout, whose masks differ).

    Raises:
        ArithmeticError: if a loss, a gradient or an update of weights is off by more than TOLERANCE, naming it.
    """
    x, y = data(workload, workload.batch)
    for dropout, name in ((True, "numpy"), (False, "plain")):
        model, other = build_model(workload, dropout), build_model(workload, dropout)
        plain = plain_network(other, workload)
        learned = model.trainable_weights
        start = [p.numpy() for p in learned]
        with using_backend("native"):
            loss = model.train_on_batch(x, y)
        if name == "plain":
            right, grads = plain.train_step(x, y), plain.grads
        else:
            with using_backend("numpy"):
                right, grads = other.train_on_batch(x, y), [p.gradient for p in other.trainable_weights]
        _compare(f"{workload.name}: loss of fastnn and {name}", "loss", loss, right)
        own = _gradients(build_model(workload, dropout), x, y)
        for p, g, expected in zip(learned, own, grads, strict=True):
            _compare(f"{workload.name}: gradient of {p.name} of fastnn and {name}", "gradient", g, expected)
        stepped = [w.copy() for w in start]
        plain_optimizer(workload.optimizer).update(stepped, own)
        for p, before, after in zip(learned, start, stepped, strict=True):
            _compare(f"{workload.name}: step of {p.name}", "step", p.value - before, after - before)


def _gradients(model: Model, x: Float32, y: NDArray[np.int32]) -> list[Float32]:
    """Return the gradients of a step that stores them all, as a recorded one does not."""
    model.run_eagerly = True
    with using_backend("native"):
        model.train_on_batch(x, y)
    return [p.gradient for p in model.trainable_weights]


def _compare(what: str, kind: str, got: Any, right: Any) -> None:
    error, size = float(np.linalg.norm(np.subtract(got, right))), float(np.linalg.norm(right))
    if not error <= TOLERANCE[kind] * size:
        raise ArithmeticError(f"{what} differ by {error:.3g}, where {TOLERANCE[kind] * size:.3g} may be rounding")


def programs(workload: Workload) -> dict[str, Program]:
    """Return what is timed: `fit` of fastnn, `fit` of its twin, and the loop of the plain program; one call is an epoch.

    All three take the samples in a random order, copy them into batches and train on them, with a learning rate that changes next
    to nothing: a network that has learned its few samples by heart has gradients that vanish, and such numbers slow NumPy down.
    """
    x, y = data(workload, workload.batch * workload.steps)
    plain = plain_network(build_model(workload), workload)
    plain.optimizer.lr = LEARNING_RATE
    rng = np.random.default_rng(SEED)

    def fit(backend: str) -> Program:
        model = build_model(workload)
        assert model.optimizer is not None
        model.optimizer.learning_rate = LEARNING_RATE

        def run(calls: int) -> None:
            with using_backend(backend):
                history = model.fit(x, y, batch_size=workload.batch, epochs=calls, verbose=0)
            if history.interrupted:  # fit ends quietly at Ctrl-C, a benchmark must not go on
                raise KeyboardInterrupt

        return run

    def loop(calls: int) -> None:
        for _ in range(calls):
            order = rng.permutation(len(x))
            for start in range(0, len(x), workload.batch):
                rows = order[start : start + workload.batch]
                plain.train_step(x[rows], y[rows])

    return {"fastnn": fit("native"), "numpy": fit("numpy"), "plain": loop}
