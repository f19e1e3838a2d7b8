"""One function per kernel: check shapes, allocate, call.

Every function has a twin of the same name and signature in `fastnn.reference`, which runs instead while the backend is "numpy".
Arrays are float32 and C-contiguous; images are (N, H, W, C), filters (R, S, C / groups, K). While a tape records, the calls made
here become its records.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastnn import _core, checks, config, reference
from fastnn.checks import Float32

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]
NO_PADDING: Padding = ((0, 0), (0, 0))

P = ParamSpec("P")
T = TypeVar("T")

FLOAT32 = np.dtype(np.float32)
INT32 = np.dtype(np.int32)
UINT64 = np.dtype(np.uint64)


def twin(native: Callable[P, T]) -> Callable[P, T]:
    """Run the function of the same name in `fastnn.reference` while the backend is "numpy"."""
    other: Callable[P, T] = getattr(reference, native.__name__)

    @functools.wraps(native)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if config.backend() == "numpy":
            return other(*args, **kwargs)
        return native(*args, **kwargs)

    return call


def empty(shape: Sequence[int], dtype: np.dtype[Any] = FLOAT32) -> NDArray[Any]:
    """Return a new aligned array; while a tape records, its memory is the tape's."""
    return _core.empty(list(shape), dtype)  # type: ignore[no-any-return]


def zeros(shape: Sequence[int], dtype: np.dtype[Any] = FLOAT32) -> NDArray[Any]:
    """Return a new aligned array of zeros. Not for use while a tape records: the zeros would not be written again."""
    result = empty(shape, dtype)
    result[...] = 0
    return result


def as_float32(who: str, name: str, x: Any) -> Float32:
    """Return x as the kernels take it; nothing is copied where it is so already."""
    if type(x) is np.ndarray and x.dtype is FLOAT32 and x.flags.c_contiguous and x.flags.aligned:
        return x
    return checks.float32(who, name, x)


def _rank(who: str, name: str, x: NDArray[Any], rank: int) -> None:
    if x.ndim != rank:
        checks.fail(who, f"{name} of rank {rank}", f"shape {x.shape}")


def _same_shape(who: str, name: str, x: NDArray[Any], shape: Sequence[int]) -> None:
    if x.shape != tuple(shape):
        checks.fail(who, f"{name} of shape {tuple(shape)}", x.shape)


def _rows(x: Float32) -> Float32:
    """View x as (rows, last axis)."""
    return x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])


# --- products ---


@twin
def gemm(
    a: Float32,
    b: Float32,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    bias: Float32 | None = None,
    activation: str = "linear",
    alpha: float = 0.0,
) -> Float32:
    """Return f(a b + bias), a and b taken transposed where said: (m, k) (k, n) -> (m, n)."""
    a, b = as_float32("gemm", "a", a), as_float32("gemm", "b", b)
    _rank("gemm", "a", a, 2)
    _rank("gemm", "b", b, 2)
    (m, k), (k_b, n) = (a.shape[::-1] if transpose_a else a.shape), (b.shape[::-1] if transpose_b else b.shape)
    if k != k_b:
        checks.fail("gemm", "matrices that fit", f"({m}, {k}) times ({k_b}, {n})", "the inner sizes must be equal")
    c = empty((m, n))
    _core.gemm(a, b, c, transpose_a, transpose_b, bias, activation, alpha)
    return c


@twin
def column_sums(x: Float32) -> Float32:
    """Return the sum over rows: (rows, cols) -> (cols,)."""
    _rank("column_sums", "x", x, 2)
    y = empty((x.shape[1],))
    _core.column_sums(as_float32("column_sums", "x", x), y)
    return y


@twin
def dense_forward(
    x: Float32, kernel: Float32, bias: Float32 | None = None, activation: str = "linear", alpha: float = 0.0
) -> Float32:
    """Return f(x kernel + bias): (N, D) (D, K) -> (N, K)."""
    x = as_float32("dense_forward", "x", x)
    _rank("dense_forward", "x", x, 2)
    if x.shape[1] != kernel.shape[0]:
        checks.fail("dense_forward", f"x of shape (N, {kernel.shape[0]})", x.shape)
    y = empty((x.shape[0], kernel.shape[1]))
    _core.gemm(x, kernel, y, False, False, bias, activation, alpha)
    return y


@twin
def dense_backward(
    x: Float32,
    kernel: Float32,
    dy: Float32,
    dkernel: Float32 | None,
    dbias: Float32 | None = None,
    *,
    need_dx: bool = True,
) -> Float32 | None:
    """Write dkernel = x^T dy and dbias = sum(dy) where they are given; return dx = dy kernel^T, or None."""
    x, dy = as_float32("dense_backward", "x", x), as_float32("dense_backward", "dy", dy)
    _same_shape("dense_backward", "dy", dy, (x.shape[0], kernel.shape[1]))
    if dkernel is not None:
        _core.gemm(x, dy, dkernel, True, False, None, "linear", 0.0)
    if dbias is not None:
        _core.column_sums(dy, dbias)
    if not need_dx:
        return None
    dx = empty(x.shape)
    _core.gemm(dy, kernel, dx, False, True, None, "linear", 0.0)
    return dx


# --- convolution ---


def conv_output_size(size: int, window: int, stride: int, padding: Pair, dilation: int = 1) -> int:
    """Return (size + padding - dilation (window - 1) - 1) // stride + 1, the number of places a window has."""
    return (size + padding[0] + padding[1] - dilation * (window - 1) - 1) // stride + 1


def _conv_output(who: str, shape: Sequence[int], window: Pair, strides: Pair, padding: Padding, dilation: Pair) -> Pair:
    sizes = [conv_output_size(shape[1 + i], window[i], strides[i], padding[i], dilation[i]) for i in (0, 1)]
    if min(sizes) < 1:
        checks.fail(
            who,
            f"an image at least as large as the window {window} (dilation {dilation})",
            f"{shape[1]} x {shape[2]} with padding {padding}",
            "use padding='same', a smaller window or fewer strided layers",
        )
    return sizes[0], sizes[1]


def _pads(padding: Padding) -> list[int]:
    return [padding[0][0], padding[1][0]]


@twin
def conv2d_forward(
    x: Float32,
    kernel: Float32,
    bias: Float32 | None = None,
    *,
    strides: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    dilation: Pair = (1, 1),
    groups: int = 1,
    activation: str = "linear",
    alpha: float = 0.0,
) -> Float32:
    """Return f(convolution of x with kernel + bias): (N, H, W, C) (R, S, C / groups, K) -> (N, P, Q, K)."""
    x = as_float32("conv2d_forward", "x", x)
    _rank("conv2d_forward", "x", x, 4)
    p, q = _conv_output("conv2d_forward", x.shape, kernel.shape[:2], strides, padding, dilation)
    y = empty((x.shape[0], p, q, kernel.shape[3]))
    _core.conv2d_forward(x, kernel, bias, y, strides, _pads(padding), dilation, groups, activation, alpha)
    return y


@twin
def conv2d_backward_input(
    dy: Float32,
    kernel: Float32,
    x_shape: Sequence[int],
    *,
    strides: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Float32:
    """Return dx, the transposed convolution of dy."""
    dy = as_float32("conv2d_backward_input", "dy", dy)
    p, q = _conv_output("conv2d_backward_input", x_shape, kernel.shape[:2], strides, padding, dilation)
    _same_shape("conv2d_backward_input", "dy", dy, (x_shape[0], p, q, kernel.shape[3]))
    dx = empty(x_shape)
    _core.conv2d_backward_input(dy, kernel, dx, strides, _pads(padding), dilation, groups)
    return dx


@twin
def conv2d_backward_filter(
    x: Float32,
    dy: Float32,
    dkernel: Float32,
    dbias: Float32 | None = None,
    *,
    strides: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> None:
    """Write dkernel[r, s, c, k] = sum over n, p, q of x[n, p.., q.., c] dy[n, p, q, k], and dbias = sum(dy) if given."""
    x, dy = as_float32("conv2d_backward_filter", "x", x), as_float32("conv2d_backward_filter", "dy", dy)
    p, q = _conv_output("conv2d_backward_filter", x.shape, dkernel.shape[:2], strides, padding, dilation)
    _same_shape("conv2d_backward_filter", "dy", dy, (x.shape[0], p, q, dkernel.shape[3]))
    _core.conv2d_backward_filter(x, dy, dkernel, strides, _pads(padding), dilation, groups)
    if dbias is not None:
        _core.column_sums(_rows(dy), dbias)


# --- pooling ---


def _pool_output(who: str, shape: Sequence[int], size: Pair, strides: Pair, padding: Padding) -> list[int]:
    if len(shape) != 4:
        checks.fail(who, "x of shape (N, H, W, C)", tuple(shape))
    p, q = _conv_output(who, shape, size, strides, padding, (1, 1))
    return [shape[0], p, q, shape[3]]


@twin
def max_pool2d_forward(
    x: Float32, *, pool_size: Pair, strides: Pair, padding: Padding = NO_PADDING
) -> tuple[Float32, NDArray[np.int32]]:
    """Return (y, index): the largest value of every window, and where in the image (h W + w) it was found first."""
    x = as_float32("max_pool2d_forward", "x", x)
    shape = _pool_output("max_pool2d_forward", x.shape, pool_size, strides, padding)
    y, index = empty(shape), empty(shape, INT32)
    _core.max_pool2d_forward(x, y, index, pool_size, strides, _pads(padding))
    return y, index


@twin
def max_pool2d_backward(
    dy: Float32,
    index: NDArray[np.int32],
    x_shape: Sequence[int],
    *,
    pool_size: Pair,
    strides: Pair,
    padding: Padding = NO_PADDING,
) -> Float32:
    """Return dx: every dy is added at its index, the rest is 0."""
    dy = as_float32("max_pool2d_backward", "dy", dy)
    _same_shape("max_pool2d_backward", "dy", dy, index.shape)
    dx = empty(x_shape)
    _core.max_pool2d_backward(dy, index, dx, pool_size, strides, _pads(padding))
    return dx


@twin
def avg_pool2d_forward(x: Float32, *, pool_size: Pair, strides: Pair, padding: Padding = NO_PADDING) -> Float32:
    """Return the mean of every window; padding is not counted."""
    x = as_float32("avg_pool2d_forward", "x", x)
    y = empty(_pool_output("avg_pool2d_forward", x.shape, pool_size, strides, padding))
    _core.avg_pool2d_forward(x, y, pool_size, strides, _pads(padding))
    return y


@twin
def avg_pool2d_backward(
    dy: Float32, x_shape: Sequence[int], *, pool_size: Pair, strides: Pair, padding: Padding = NO_PADDING
) -> Float32:
    """Return dx: every dy spread evenly over its window."""
    dy = as_float32("avg_pool2d_backward", "dy", dy)
    _same_shape(
        "avg_pool2d_backward", "dy", dy, _pool_output("avg_pool2d_backward", x_shape, pool_size, strides, padding)
    )
    dx = empty(x_shape)
    _core.avg_pool2d_backward(dy, dx, pool_size, strides, _pads(padding))
    return dx


@twin
def global_average_pool2d_forward(x: Float32) -> Float32:
    """Return the mean over H and W: (N, H, W, C) -> (N, C)."""
    x = as_float32("global_average_pool2d_forward", "x", x)
    _rank("global_average_pool2d_forward", "x", x, 4)
    n, h, w, c = x.shape
    y = empty((n, c))
    _core.spatial_mean_forward(x.reshape(n, h * w, c), y)
    return y


@twin
def global_average_pool2d_backward(dy: Float32, x_shape: Sequence[int]) -> Float32:
    """Return dx = dy / (H W) at every pixel."""
    n, h, w, c = x_shape
    dx = empty((n, h * w, c))
    _core.spatial_mean_backward(as_float32("global_average_pool2d_backward", "dy", dy), dx)
    return dx.reshape(n, h, w, c)


# --- activations ---


@twin
def activation_forward(x: Float32, kind: str, alpha: float = 0.0) -> Float32:
    """Return f(x) for the activation named `kind`; alpha is its slope (leaky_relu) or scale (elu)."""
    x = as_float32("activation_forward", "x", x)
    y = empty(x.shape)
    _core.activation_forward(x, y, kind, alpha)
    return y


@twin
def activation_backward(dy: Float32, x: Float32 | None, y: Float32 | None, kind: str, alpha: float = 0.0) -> Float32:
    """Return dy f'(x); of x and y only the one that the kind needs (`reference.FROM_OUTPUT`) must be given."""
    dy = as_float32("activation_backward", "dy", dy)
    dx = empty(dy.shape)
    _core.activation_backward(dy, x, y, dx, kind, alpha)
    return dx


@twin
def softmax_forward(x: Float32) -> Float32:
    """Return exp(x - max) / sum over the last axis."""
    x = as_float32("softmax_forward", "x", x)
    y = empty(x.shape)
    _core.softmax_forward(_rows(x), _rows(y))
    return y


@twin
def softmax_backward(dy: Float32, y: Float32) -> Float32:
    """Return y (dy - sum(dy y)) over the last axis."""
    dx = empty(y.shape)
    _core.softmax_backward(_rows(as_float32("softmax_backward", "dy", dy)), _rows(y), _rows(dx))
    return dx


# --- normalization, dropout ---


@twin
def batch_norm_forward(
    x: Float32,
    gamma: Float32 | None,
    beta: Float32 | None,
    moving_mean: Float32,
    moving_variance: Float32,
    *,
    momentum: float,
    epsilon: float,
) -> tuple[Float32, Float32, Float32]:
    """Normalize each channel (last axis) by its batch statistics; return (y, mean, rstd), update the moving statistics."""
    x = as_float32("batch_norm_forward", "x", x)
    y, mean, rstd = empty(x.shape), empty(x.shape[-1:]), empty(x.shape[-1:])
    if x.size == 0:
        checks.fail("batch_norm_forward", "at least one sample in training", f"x of shape {x.shape}")
    _core.batch_norm_forward(
        _rows(x), gamma, beta, _rows(y), mean, rstd, moving_mean, moving_variance, momentum, epsilon
    )
    return y, mean, rstd


@twin
def batch_norm_inference(
    x: Float32,
    gamma: Float32 | None,
    beta: Float32 | None,
    moving_mean: Float32,
    moving_variance: Float32,
    *,
    epsilon: float,
) -> tuple[Float32, Float32, Float32]:
    """Normalize each channel (last axis) by the moving statistics; return (y, mean, rstd) with what was used."""
    x = as_float32("batch_norm_inference", "x", x)
    y, mean, rstd = empty(x.shape), empty(x.shape[-1:]), empty(x.shape[-1:])
    _core.batch_norm_inference(_rows(x), gamma, beta, moving_mean, moving_variance, _rows(y), mean, rstd, epsilon)
    return y, mean, rstd


@twin
def batch_norm_backward(
    x: Float32,
    dy: Float32,
    gamma: Float32 | None,
    mean: Float32,
    rstd: Float32,
    dgamma: Float32 | None = None,
    dbeta: Float32 | None = None,
    *,
    fixed_statistics: bool = False,
) -> Float32:
    """Return dx; write dgamma and dbeta where they are given. fixed_statistics: mean and rstd did not depend on x."""
    dx, channels = empty(x.shape), x.shape[-1:]
    dgamma = empty(channels) if dgamma is None else dgamma
    dbeta = empty(channels) if dbeta is None else dbeta
    dy = as_float32("batch_norm_backward", "dy", dy)
    _core.batch_norm_backward(_rows(x), _rows(dy), gamma, mean, rstd, _rows(dx), dgamma, dbeta, fixed_statistics)
    return dx


@twin
def dropout_forward(
    x: Float32, rate: float, seed: int, stream: int, counter: NDArray[np.uint64]
) -> tuple[Float32, NDArray[np.uint64]]:
    """Return (y, used): x with a share `rate` set to 0 and the rest scaled up; counter[0] increases by one."""
    x = as_float32("dropout_forward", "x", x)
    y, used = empty(x.shape), empty((1,), UINT64)
    _core.dropout_forward(x, y, rate, seed, stream, counter, used)
    return y, used


@twin
def dropout_backward(dy: Float32, rate: float, seed: int, stream: int, used: NDArray[np.uint64]) -> Float32:
    """Return dx: dy where the forward pass with that `used` kept x, scaled alike, 0 elsewhere."""
    dy = as_float32("dropout_backward", "dy", dy)
    dx = empty(dy.shape)
    _core.dropout_backward(dy, dx, rate, seed, stream, used)
    return dx


# --- losses, metrics ---


@twin
def softmax_cross_entropy(
    logits: Float32,
    y_true: NDArray[Any],
    weights: Float32 | None = None,
    *,
    scale: float,
    need_gradient: bool = True,
) -> tuple[Float32, Float32, Float32 | None]:
    """Return (probs, losses, dlogits) of cross-entropy on softmax(logits); y_true is int32 labels or float targets."""
    logits = as_float32("softmax_cross_entropy", "logits", logits)
    probs, losses = empty(logits.shape), empty(logits.shape[:1])
    dlogits = empty(logits.shape) if need_gradient else None
    _core.softmax_cross_entropy(logits, y_true, weights, probs, losses, dlogits, scale)
    return probs, losses, dlogits


@twin
def cross_entropy(
    probs: Float32,
    y_true: NDArray[Any],
    weights: Float32 | None = None,
    *,
    scale: float,
    need_gradient: bool = True,
) -> tuple[Float32, Float32 | None]:
    """Return (losses, dprobs) of cross-entropy on probabilities, clipped to [1e-7, 1 - 1e-7]."""
    probs = as_float32("cross_entropy", "probs", probs)
    losses = empty(probs.shape[:1])
    dprobs = empty(probs.shape) if need_gradient else None
    _core.cross_entropy(probs, y_true, weights, losses, dprobs, scale)
    return losses, dprobs


@twin
def elementwise_loss(
    kind: str,
    y_pred: Float32,
    y_true: Float32,
    weights: Float32 | None = None,
    *,
    scale: float,
    need_gradient: bool = True,
) -> tuple[Float32, Float32 | None]:
    """Return (losses, dpred): row means of "squared_error", "absolute_error" or "binary_crossentropy"."""
    y_pred = as_float32("elementwise_loss", "y_pred", y_pred)
    losses = empty(y_pred.shape[:1])
    dpred = empty(y_pred.shape) if need_gradient else None
    _core.elementwise_loss(kind, y_pred, y_true, weights, None, losses, dpred, scale)
    return losses, dpred


@twin
def sigmoid_cross_entropy(
    logits: Float32,
    y_true: Float32,
    weights: Float32 | None = None,
    *,
    scale: float,
    need_gradient: bool = True,
) -> tuple[Float32, Float32, Float32 | None]:
    """Return (probs, losses, dlogits) of binary cross-entropy on sigmoid(logits), row means."""
    logits = as_float32("sigmoid_cross_entropy", "logits", logits)
    probs, losses = empty(logits.shape), empty(logits.shape[:1])
    dlogits = empty(logits.shape) if need_gradient else None
    _core.elementwise_loss("sigmoid_crossentropy", logits, y_true, weights, probs, losses, dlogits, scale)
    return probs, losses, dlogits


@twin
def mean_update(values: Float32, state: NDArray[np.float64]) -> None:
    """Add the sum of values to state[0] and their number to state[1]."""
    _core.mean_update(values, state)


@twin
def count_matches(
    kind: str, y_pred: Float32, y_true: NDArray[Any], state: NDArray[np.float64], threshold: float = 0.5
) -> None:
    """Add the number of right predictions to state[0] and of all to state[1]; kind: sparse, categorical or binary."""
    _core.count_matches(kind, y_pred, y_true, state, threshold)


# --- optimizer steps: w in place ---


@twin
def sgd_step(w: Float32, g: Float32, lr: Float32, *, weight_decay: float = 0.0) -> None:
    """Do w -= lr g."""
    _core.sgd_step(w, g, lr, weight_decay)


@twin
def momentum_step(
    w: Float32,
    g: Float32,
    v: Float32,
    lr: Float32,
    *,
    momentum: float,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> None:
    """Do v = momentum v - lr g; w += v, or momentum v - lr g with nesterov."""
    _core.momentum_step(w, g, v, lr, momentum, nesterov, weight_decay)


@twin
def adagrad_step(w: Float32, g: Float32, a: Float32, lr: Float32, *, epsilon: float, weight_decay: float = 0.0) -> None:
    """Do a += g^2; w -= lr g / sqrt(a + epsilon)."""
    _core.adagrad_step(w, g, a, lr, epsilon, weight_decay)


@twin
def rmsprop_step(
    w: Float32,
    g: Float32,
    v: Float32,
    mean: Float32 | None,
    velocity: Float32 | None,
    lr: Float32,
    *,
    rho: float,
    momentum: float,
    epsilon: float,
    weight_decay: float = 0.0,
) -> None:
    """Do v = rho v + (1 - rho) g^2; w -= lr g / sqrt(v + epsilon); mean: centered, velocity: with momentum."""
    _core.rmsprop_step(w, g, v, mean, velocity, lr, rho, momentum, epsilon, weight_decay)


@twin
def adam_step(
    w: Float32,
    g: Float32,
    m: Float32,
    v: Float32,
    vhat: Float32 | None,
    lr: Float32,
    iterations: NDArray[np.int64],
    *,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    weight_decay: float = 0.0,
) -> None:
    """Do one Adam step (AMSGrad if vhat is given) as step number iterations[0] + 1; iterations is not changed."""
    _core.adam_step(w, g, m, v, vhat, lr, iterations, beta_1, beta_2, epsilon, weight_decay)


# --- data ---


@twin
def gather_rows(
    source: NDArray[Any], order: NDArray[np.int64] | None, position: NDArray[np.int64], rows: int, *, scale: float = 1.0
) -> NDArray[Any]:
    """Return rows order[position[0]], order[position[0] + 1], ... of source; uint8 and float32 times scale, int32 as it is."""
    who = "gather_rows"
    count = len(source) if order is None else len(order)
    start = int(position[0])
    if start < 0 or start + rows > count:
        checks.fail(who, f"rows inside of the {count} there are", f"{start} to {start + rows}")
    if (
        order is not None
        and rows
        and not 0 <= order[start : start + rows].min() <= order[start : start + rows].max() < len(source)
    ):
        checks.fail(who, f"order within 0..{len(source) - 1}", "a number outside")
    source_cell = np.array([source.ctypes.data], np.uint64)
    order_cell = np.array([0 if order is None else order.ctypes.data], np.uint64)
    return gather_cells(source_cell, order_cell, position, rows, source.shape[1:], source.dtype, scale)


def gather_cells(
    source_cell: NDArray[np.uint64],
    order_cell: NDArray[np.uint64],
    position: NDArray[np.int64],
    rows: int,
    row_shape: Sequence[int],
    dtype: np.dtype[Any],
    scale: float = 1.0,
) -> NDArray[Any]:
    """Gather like `gather_rows` from the addresses that the cells hold when it runs, so that a tape finds new data there.

    Whoever fills the cells answers for the arrays: contiguous, of this dtype and row shape, alive, every order in range.
    """
    out = empty((rows, *row_shape), INT32 if dtype == INT32 else FLOAT32)
    _core.gather_rows(source_cell, order_cell, position, dtype.name, out, scale)
    return out


@twin
def store_rows(rows: Float32, target: Float32, position: NDArray[np.int64]) -> None:
    """Write rows into target, from row position[0] on."""
    rows, start = as_float32("store_rows", "rows", rows), int(position[0])
    _same_shape("store_rows", "rows", rows, (len(rows), *target.shape[1:]))
    if start < 0 or start + len(rows) > len(target):
        checks.fail("store_rows", f"a place inside of the {len(target)} rows", f"{start} to {start + len(rows)}")
    store_cells(rows, np.array([target.ctypes.data], np.uint64), position)


def store_cells(rows: Float32, target_cell: NDArray[np.uint64], position: NDArray[np.int64]) -> None:
    """Store like `store_rows` at the address that the cell holds when it runs; see `gather_cells`."""
    _core.store_rows(rows, target_cell, position)


@twin
def advance(counter: NDArray[np.int64], by: int) -> None:
    """Do counter[0] += by."""
    _core.advance(counter, by)


@twin
def permute(x: Float32, axes: Sequence[int]) -> Float32:
    """Return x with its axes in another order, contiguous."""
    x = as_float32("permute", "x", x)
    y = empty([x.shape[a] for a in axes])
    _core.permute(x, y, list(axes))
    return y


@twin
def fill(y: Float32, value: float) -> None:
    """Do y[...] = value."""
    _core.fill(y, value)


# --- the machine's roofs ---


def _best_rate(run: Callable[[int], None], amount: float, seconds: float) -> float:
    """Return the best amount per second of run(rounds), doubling rounds until one call takes a tenth of the time."""
    rounds, best, end = 1, 0.0, time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        run(rounds)
        now = time.perf_counter()
        best = max(best, amount * rounds / (now - start))
        if now >= end:
            return best
        if now - start < seconds / 10:
            rounds *= 2


def measure_peak(threads: int = 1, seconds: float = 0.2) -> float:
    """Return the multiply-add peak in flop/s: independent chains in registers, with the instruction set in use."""
    out = empty((threads,))
    return _best_rate(
        lambda rounds: _core.multiply_add_probe(out, rounds, threads),
        float(_core.multiply_add_probe_flops() * threads),
        seconds,
    )


def measure_bandwidth(nbytes: int, threads: int = 1, seconds: float = 0.2) -> float:
    """Return the bytes/s of y = x + z / 2 over three arrays of nbytes together (12 bytes an element)."""
    n = max(nbytes // 12, 16)
    y, x, z = (zeros((n,)) for _ in range(3))
    return _best_rate(lambda rounds: _core.triad_probe(y, x, z, rounds, threads), 12.0 * n, seconds)


# --- recording ---


def recording() -> bool:
    """Return whether a tape records on this thread."""
    return bool(_core.recording())


class Tape:
    """A recorded step. Inside of `with tape:` every call of this module runs and is recorded; `run` then replays them."""

    def __init__(self) -> None:
        self._tape = _core.Tape()

    def __enter__(self) -> Tape:
        self._tape.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._tape.stop()

    def run(self, steps: int, seconds: float) -> int:
        """Replay up to `steps` steps without Python; stop after the one that ends `seconds` later. Return how many were done."""
        return int(self._tape.run(steps, seconds))

    def profile(self) -> list[tuple[str, float]]:
        """Replay one step; return (kernel, seconds) of every record."""
        return list(self._tape.profile())

    def names(self) -> list[str]:
        """Return the kernels of the step, in order."""
        return list(self._tape.names())

    @property
    def bytes(self) -> int:
        """Memory of the step's buffers."""
        return int(self._tape.bytes)
