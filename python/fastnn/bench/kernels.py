"""The kernels that are timed, on shapes that networks use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastnn import reference
from fastnn.bench import plain_numpy
from fastnn.bench.cases import KernelCase, Made, Plain, normal
from fastnn.bench.windows import windows

# --- products ---

SQUARES = (64, 128, 256, 512, 1024, 2048)
SKINNY = (  # (m, n, k): layers of the networks that are trained in the benchmark
    (1, 500, 784),
    (10, 500, 784),
    (2, 500, 500),
    (16, 500, 500),
    (1, 2048, 2048),
    (16, 2048, 2048),
    (128, 300, 784),
    (128, 100, 784),
    (128, 300, 256),
    (128, 10, 100),
    (2000, 10, 784),
    (20000, 1, 784),
    (256, 2048, 2048),
    (86528, 32, 9),
    (15488, 64, 288),
)


def _gemm(kind: str, m: int, n: int, k: int, quick: bool) -> KernelCase:
    ta, tb = kind[0] == "t", kind[1] == "t"

    def make(dtype: Any) -> Made:
        a, b = normal(dtype, (k, m) if ta else (m, k), (n, k) if tb else (k, n))
        out = np.empty((m, n), dtype)
        left, right = (a.T if ta else a), (b.T if tb else b)
        return (
            lambda kernels: kernels.gemm(a, b, transpose_a=ta, transpose_b=tb),
            lambda: np.matmul(left, right, out=out),
        )

    return KernelCase(f"gemm_{kind} {m}x{n}x{k}", 2.0 * m * n * k, 4.0 * (m * k + k * n + m * n), make, quick)


def _products() -> Iterator[KernelCase]:
    for size in SQUARES:
        for kind in ("nn", "tn", "nt"):
            yield _gemm(kind, size, size, size, quick=kind == "nn" and size in (64, 256, 1024))
    for m, n, k in SKINNY:
        yield _gemm("nn", m, n, k, quick=m in (10, 128, 15488) and n > 10)
        yield _gemm("tn", k, n, m, quick=(m, n) == (128, 300))  # the kernel's gradient, x^T dy
        yield _gemm("nt", m, k, n, quick=(m, n) == (128, 300))  # the input's gradient, dy kernel^T


# --- convolution ---

CONVOLUTIONS = (  # network, N, H = W, C, K, R = S, padding
    ("lenet", 64, 28, 1, 6, 5, 2),
    ("lenet", 64, 14, 6, 16, 5, 0),
    ("kerascnn", 128, 28, 1, 32, 3, 0),
    ("kerascnn", 128, 13, 32, 64, 3, 0),
    ("deepconv", 100, 28, 16, 16, 3, 1),
    ("deepconv", 100, 14, 32, 32, 3, 1),
    ("deepconv", 100, 8, 64, 64, 3, 1),
)


def _convolution(n: int, h: int, c: int, k: int, r: int, pad: int, kind: str, quick: bool) -> KernelCase:
    p = h + 2 * pad - r + 1
    shapes = {"x": (n, h, h, c), "w": (r, r, c, k), "b": (k,), "dy": (n, p, p, k)}
    padding = ((pad, pad), (pad, pad))
    geometry: dict[str, Any] = {"strides": (1, 1), "padding": padding, "dilation": (1, 1), "groups": 1}

    def make(dtype: Any) -> Made:
        x, w, b, dy = normal(dtype, *shapes.values())
        dw, db = np.empty_like(w), np.empty_like(b)
        plain = plain_numpy.Convolution(w, b, pad)
        if kind == "forward":
            return (
                lambda kernels: kernels.conv2d_forward(x, w, b, activation="relu", **geometry),
                lambda: np.maximum(plain.forward(x), 0),
            )
        plain.forward(x)
        if kind == "backward_input":
            return (
                lambda kernels: kernels.conv2d_backward_input(dy, w, x.shape, **geometry),
                lambda: plain.input_gradient(dy),
            )
        return (
            lambda kernels: (kernels.conv2d_backward_filter(x, dy, dw, db, **geometry), dw, db),
            lambda: plain.filter_gradient(dy),
        )

    name = f"conv2d_{kind} {n}x{h}x{h}x{c} {r}x{r} to {k}"
    nbytes = 4.0 * sum(np.prod(shapes[key]) for key in ("x", "w", "dy"))
    return KernelCase(name, 2.0 * np.prod(shapes["dy"]) * r * r * c, nbytes, make, quick)


def _convolutions() -> Iterator[KernelCase]:
    for network, n, h, c, k, r, pad in CONVOLUTIONS:
        for kind in ("forward", "backward_input", "backward_filter"):
            if kind != "backward_input" or c > 1:  # the first layer's input needs no gradient
                yield _convolution(n, h, c, k, r, pad, kind, quick=network == "kerascnn")


# --- pooling, normalization, dropout ---

POOLED = ((64, 28, 28, 6), (128, 26, 26, 32), (100, 28, 28, 16))
POOL: dict[str, Any] = {"pool_size": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))}


def _pooling(shape: tuple[int, ...], kind: str, quick: bool) -> Iterator[KernelCase]:
    n, h, w, c = shape
    size = float(np.prod(shape))
    small = size / 4
    text = "x".join(map(str, shape))

    def forward(dtype: Any) -> Made:
        (x,) = normal(dtype, shape)
        plain = plain_numpy.MaxPooling(2)
        return (
            (lambda kernels: kernels.max_pool2d_forward(x, **POOL)[0], lambda: plain.forward(x))
            if kind == "max"
            else (lambda kernels: kernels.avg_pool2d_forward(x, **POOL), None)
        )

    def backward(dtype: Any) -> Made:
        x, dy = normal(dtype, shape, (n, h // 2, w // 2, c))
        if kind == "avg":
            return lambda kernels: kernels.avg_pool2d_backward(dy, shape, **POOL), None
        index = reference.max_pool2d_forward(x, **POOL)[1]
        plain = plain_numpy.MaxPooling(2)
        plain.forward(x)
        return lambda kernels: kernels.max_pool2d_backward(dy, index, shape, **POOL), lambda: plain.backward(dy, True)

    index_bytes = small if kind == "max" else 0
    nbytes = 4 * (size + small) + index_bytes
    yield KernelCase(f"{kind}_pool2d_forward {text}", 0, nbytes, forward, quick)
    yield KernelCase(f"{kind}_pool2d_backward {text}", 0, nbytes, backward, quick)


def _batch_norm(rows: int, channels: int, kind: str) -> KernelCase:
    def make(dtype: Any) -> Made:
        x, dy, gamma, beta = normal(dtype, (rows, channels), (rows, channels), (channels,), (channels,))
        mean, variance = np.zeros(channels, dtype), np.ones(channels, dtype)
        if kind == "forward":
            return lambda kernels: kernels.batch_norm_forward(
                x, gamma, beta, mean, variance, momentum=0.99, epsilon=1e-3
            ), None
        center, rstd = x.mean(0), 1 / x.std(0)
        dgamma, dbeta = np.empty_like(mean), np.empty_like(mean)
        return lambda kernels: (
            kernels.batch_norm_backward(x, dy, gamma, center, rstd, dgamma, dbeta),
            dgamma,
            dbeta,
        ), None

    touched = 2 if kind == "forward" else 3
    return KernelCase(f"batch_norm_{kind} {rows}x{channels}", 0, 4.0 * touched * rows * channels, make, True)


def _normalization(name: str, shape: tuple[int, ...], kind: str, *groups: int) -> KernelCase:
    """Return the case of a normalization of rows, or of groups of channels of each sample."""

    def make(dtype: Any) -> Made:
        x, dy, gamma, beta = normal(dtype, shape, shape, shape[-1:], shape[-1:])
        if kind == "forward":
            return lambda kernels: getattr(kernels, f"{name}_forward")(x, gamma, beta, *groups, epsilon=1e-3), None
        _, mean, rstd = getattr(reference, f"{name}_forward")(x, None, None, *groups, epsilon=1e-3)
        dgamma, dbeta = np.empty_like(gamma), np.empty_like(beta)
        return lambda kernels: (
            getattr(kernels, f"{name}_backward")(x, dy, gamma, mean, rstd, dgamma, dbeta),
            dgamma,
            dbeta,
        ), None

    text = "x".join(map(str, shape)) + "".join(f" by {count}" for count in groups)
    return KernelCase(f"{name}_{kind} {text}", 0, 4.0 * (2 if kind == "forward" else 3) * float(np.prod(shape)), make)


def _global_pooling(shape: tuple[int, ...]) -> Iterator[KernelCase]:
    n, h, w, c = shape
    text, nbytes = "x".join(map(str, shape)), 4.0 * float(np.prod(shape))
    whole: dict[str, Any] = {"pool_size": (h, w), "strides": (1, 1)}

    def maximum(dtype: Any) -> Made:
        x, dy = normal(dtype, shape, (n, 1, 1, c))
        index = reference.max_pool2d_forward(x, **whole)[1]
        return lambda kernels: kernels.max_pool2d_backward(dy, index, shape, **whole), None

    def mean(dtype: Any) -> Made:
        (x,) = normal(dtype, shape)
        return lambda kernels: kernels.global_average_pool2d_forward(x), None

    yield KernelCase(f"global_max_pool2d_backward {text}", 0, nbytes, maximum)
    yield KernelCase(f"global_average_pool2d_forward {text}", 0, nbytes, mean)


def _dropout(rows: int, cols: int, kind: str) -> KernelCase:
    def make(dtype: Any) -> Made:
        (x,) = normal(dtype, (rows, cols))
        counter = np.zeros(1, np.uint64)
        if kind == "forward":
            return lambda kernels: kernels.dropout_forward(x, 0.5, 7, 0, counter)[0], None
        kept = np.random.default_rng(0).integers(0, 256, x.size // 8, np.uint8)
        return lambda kernels: kernels.dropout_backward(x, kept, 0.5), None

    return KernelCase(f"dropout_{kind} {rows}x{cols}", 0, 8.0 * rows * cols, make, kind == "forward")


def _pooling_behind_relu(shape: tuple[int, ...]) -> KernelCase:
    """Return the gradient of a relu and the max pooling after it, in one pass."""
    n, h, w, c = shape

    def make(dtype: Any) -> Made:
        x, dy = normal(dtype, shape, (n, h // 2, w // 2, c))
        y, index = reference.max_pool2d_forward(np.maximum(x, 0), **POOL)
        return lambda kernels: kernels.max_pool2d_backward(dy, index, shape, y, **POOL), None

    nbytes = 4.0 * np.prod(shape) + 9 * np.prod(shape) / 4
    return KernelCase(f"max_pool2d_backward_relu {'x'.join(map(str, shape))}", 0, nbytes, make)


def _batch_norm_and_relu(rows: int, channels: int, kind: str) -> KernelCase:
    """Return batch normalization, a residual and a relu in one pass, or their gradients."""

    def make(dtype: Any) -> Made:
        x, dy, y = normal(dtype, (rows, channels), (rows, channels), (rows, channels))
        mean, variance = np.zeros(channels, dtype), np.ones(channels, dtype)
        if kind == "forward":
            options: dict[str, Any] = {"momentum": 0.99, "epsilon": 1e-3, "residual": dy, "relu": True}
            return lambda kernels: kernels.batch_norm_forward(x, None, None, mean, variance, **options), None
        center, rstd, dresidual = x.mean(0), 1 / x.std(0), np.empty_like(x)
        return lambda kernels: (
            kernels.batch_norm_backward(x, dy, None, center, rstd, None, None, dresidual, relu=True, relu_y=y),
            dresidual,
        ), None

    touched = 3 if kind == "forward" else 5
    return KernelCase(f"batch_norm_{kind}_relu {rows}x{channels}", 0, 4.0 * touched * rows * channels, make)


def _relu_and_bias(rows: int, cols: int) -> KernelCase:
    """Return the gradients of a relu and of the bias before it, in one pass."""

    def make(dtype: Any) -> Made:
        dy, y = normal(dtype, (rows, cols), (rows, cols))
        sums = np.empty(cols, dtype)
        return lambda kernels: (kernels.activation_backward(dy, None, y, "relu", 0.0, sums), sums), None

    return KernelCase(f"relu_backward_bias {rows}x{cols}", 0, 12.0 * rows * cols, make)


def _fused() -> Iterator[KernelCase]:
    yield _pooling_behind_relu(POOLED[1])
    for kind in ("forward", "backward"):
        yield _batch_norm_and_relu(128 * 13 * 13, 64, kind)
    yield _relu_and_bias(128 * 26 * 26, 32)


def _regularization() -> Iterator[KernelCase]:
    for shape in POOLED:
        yield from _pooling(shape, "max", quick=shape == POOLED[1])
    yield from _pooling(POOLED[1], "avg", quick=False)
    for kind in ("forward", "backward"):
        yield _batch_norm(128 * 13 * 13, 64, kind)
        yield _normalization("layer_norm", (1024, 512), kind)
        yield _normalization("group_norm", (32, 28, 28, 32), kind, 8)
        yield _dropout(256, 2048, kind)
    yield from _global_pooling((32, 28, 28, 32))


# --- activations, losses ---


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


PLAIN_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "silu": lambda x: x * _sigmoid(x),
}


def _activation(activation: str, rows: int, cols: int, kind: str) -> KernelCase:
    def make(dtype: Any) -> Made:
        x, dy = normal(dtype, (rows, cols), (rows, cols))
        plain = PLAIN_ACTIVATIONS.get(activation)
        if kind == "forward":
            return (
                lambda kernels: kernels.activation_forward(x, activation),
                None if plain is None else lambda: plain(x),
            )
        y = reference.activation_forward(x, activation)
        return lambda kernels: kernels.activation_backward(dy, x, y, activation), None

    touched = 2 if kind == "forward" else 3
    name = f"{activation}_{kind} {rows}x{cols}"
    return KernelCase(name, 0, 4.0 * touched * rows * cols, make, activation in ("relu", "tanh"))


def _softmax_cross_entropy(rows: int, cols: int) -> KernelCase:
    def make(dtype: Any) -> Made:
        (logits,) = normal(dtype, (rows, cols))
        labels = (np.arange(rows) * 7 % cols).astype(np.int32)
        scale = 1.0 / rows
        return lambda kernels: kernels.softmax_cross_entropy(logits, labels, scale=scale), None

    return KernelCase(f"softmax_cross_entropy {rows}x{cols}", 0, 12.0 * rows * cols, make, True)


def _elementwise() -> Iterator[KernelCase]:
    for shape in ((128, 32, 32, 16), (128, 8, 8, 64)):  # of residual networks
        yield _add(shape)
    yield _concatenate(2048, (64, 192, 32))
    for activation in ("relu", "sigmoid", "tanh", "gelu", "silu"):
        for kind in ("forward", "backward"):
            yield _activation(activation, 256, 2048, kind)
    yield _softmax_cross_entropy(128, 10)
    yield _softmax_cross_entropy(1024, 1000)


def _add(shape: tuple[int, ...]) -> KernelCase:
    def make(dtype: Any) -> Made:
        a, b = normal(dtype, shape, shape)
        return lambda kernels: kernels.add(a, b), lambda: a + b

    return KernelCase(f"add {'x'.join(map(str, shape))}", 0, 12.0 * np.prod(shape), make, True)


def _concatenate(rows: int, widths: tuple[int, ...]) -> KernelCase:
    def make(dtype: Any) -> Made:
        parts = normal(dtype, *((rows, width) for width in widths))
        return lambda kernels: kernels.concatenate(*parts), lambda: np.concatenate(parts, -1)

    return KernelCase(f"concatenate {rows}x{'+'.join(map(str, widths))}", 0, 8.0 * rows * sum(widths), make)


# --- optimizers, data ---

PARAMETERS = (317_000, 10_000_000)  # of the networks mlp300 and mlp2048, nearly


def _stepped(optimizer: plain_numpy.Sgd | plain_numpy.Adam, w: Any, g: Any) -> Plain:
    """Return what updates w and returns it."""

    def step() -> Any:
        optimizer.update([w], [g])
        return w

    return step


def _sgd(n: int, quick: bool) -> KernelCase:
    def make(dtype: Any) -> Made:
        w, g = normal(dtype, (n,), (n,))
        lr = np.full(1, 0.01, dtype)
        plain = plain_numpy.Sgd(0.01)
        return lambda kernels: (kernels.sgd_step(w, g, lr), w), _stepped(plain, w, g)

    return KernelCase(f"sgd_step {n}", 0, 12.0 * n, make, quick)


def _adam(n: int, quick: bool) -> KernelCase:
    def make(dtype: Any) -> Made:
        w, g = normal(dtype, (n,), (n,))
        m, v = np.zeros_like(w), np.zeros_like(w)
        lr, iterations = np.full(1, 0.001, dtype), np.zeros(1, np.int64)
        constants = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
        plain = plain_numpy.Adam()
        return (
            lambda kernels: (kernels.adam_step(w, g, m, v, None, lr, iterations, **constants), w),
            _stepped(plain, w, g),
        )

    return KernelCase(f"adam_step {n}", 0, 28.0 * n, make, quick)


def _gather(dtype_name: str, rows: int, row: int, quick: bool) -> KernelCase:
    def make(dtype: Any) -> Made:
        rng = np.random.default_rng(0)
        source = rng.integers(0, 256, (20_000, row)).astype(dtype_name)
        order, position = rng.permutation(20_000), np.zeros(1, np.int64)
        return (
            lambda kernels: kernels.gather_rows(source, order, position, rows),
            lambda: source[order[:rows]].astype(np.float32),
        )

    item = np.dtype(dtype_name).itemsize
    return KernelCase(f"gather_rows {dtype_name} {rows}x{row}", 0, (4.0 + item) * rows * row, make, quick)


def _training() -> Iterator[KernelCase]:
    for n in PARAMETERS:
        yield _sgd(n, quick=n < 1_000_000)
        yield _adam(n, quick=True)
    yield _gather("uint8", 128, 784, quick=True)
    yield _gather("float32", 128, 784, quick=False)


def kernel_cases() -> list[KernelCase]:
    """Return the kernels to time.

    Example:
        >>> from fastnn.bench.kernels import kernel_cases
        >>> [case.name for case in kernel_cases()][:2]
        ['gemm_nn 64x64x64', 'gemm_tn 64x64x64']
    """
    families = (_products, _convolutions, windows, _regularization, _fused, _elementwise, _training)
    return [case for family in families for case in family()]
