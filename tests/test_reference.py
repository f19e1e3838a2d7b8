"""The layers of the NumPy twin. It is the oracle of all other tests, so it is proved by mathematics alone.

Backward functions are held against numerical gradients, convolution and pooling against loops written from the
definition, the rest against formulas in plain Python numbers and published values. No kernel is called here.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from gradcheck import assert_gradient, normal

from fastnn import reference as ref

EXACT = {"rtol": 1e-12, "atol": 1e-13}  # float64 against float64: a few hundred roundings of 1e-16


@pytest.mark.parametrize(
    "wrong",
    [
        lambda d: -d,
        lambda d: 1.001 * d,
        lambda d: d.T,
        lambda d: np.roll(d, 1),
        lambda d: d * (d > d.min()),
        np.zeros_like,
    ],
)
def test_gradient_check_notices_a_wrong_gradient(wrong):
    x = normal(4, 4)
    with pytest.raises(AssertionError):
        assert_gradient(lambda z: np.sum(np.sin(z) * x), x, wrong(np.cos(x) * x))


# ---- dense ----


@pytest.mark.parametrize(("transpose_a", "transpose_b"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (3, 5, 7), (2, 1, 4), (0, 3, 2), (3, 2, 0)])
def test_gemm(m, n, k, transpose_a, transpose_b):
    a, b, bias = normal(m, k), normal(k, n), normal(n)
    expected = [[math.tanh(sum(a[i, p] * b[p, j] for p in range(k)) + bias[j]) for j in range(n)] for i in range(m)]
    c = ref.gemm(
        a.T.copy() if transpose_a else a,
        b.T.copy() if transpose_b else b,
        transpose_a=transpose_a,
        transpose_b=transpose_b,
        bias=bias,
        activation="tanh",
    )
    np.testing.assert_allclose(c, np.reshape(expected, (m, n)), **EXACT)


def test_dense():
    x, kernel, bias, u = normal(5, 3), normal(3, 4), normal(4), normal(5, 4)
    np.testing.assert_allclose(ref.dense_forward(x, kernel, bias), np.einsum("nd,du->nu", x, kernel) + bias, **EXACT)
    dkernel, dbias = np.full((3, 4), np.nan), np.full(4, np.nan)
    dx = ref.dense_backward(x, kernel, u, dkernel, dbias)
    assert_gradient(lambda z: np.vdot(u, ref.dense_forward(z, kernel, bias)), x, dx)
    assert_gradient(lambda z: np.vdot(u, ref.dense_forward(x, z, bias)), kernel, dkernel)
    assert_gradient(lambda z: np.vdot(u, ref.dense_forward(x, kernel, z)), bias, dbias)
    assert ref.dense_backward(x, kernel, u, None, need_dx=False) is None


def test_column_sums_keep_growing():
    assert ref.column_sums(np.ones((2**24 + 4, 1), np.float32)) == 2**24 + 4


# ---- convolution and pooling ----


def taps(size, strides, padding, dilation, image, p, q):
    """Yield (r, s, h, w) for what a window at (p, q) sees inside of the image."""
    for r in range(size[0]):
        for s in range(size[1]):
            h = p * strides[0] + r * dilation[0] - padding[0][0]
            w = q * strides[1] + s * dilation[1] - padding[1][0]
            if 0 <= h < image[0] and 0 <= w < image[1]:
                yield r, s, h, w


def output_size(image, size, strides, padding, dilation=(1, 1)):
    return tuple((image[i] + sum(padding[i]) - dilation[i] * (size[i] - 1) - 1) // strides[i] + 1 for i in (0, 1))


def conv_by_loops(x, kernel, strides, padding, dilation, groups):
    n, c, k = x.shape[0], kernel.shape[2], kernel.shape[3]
    p, q = output_size(x.shape[1:3], kernel.shape, strides, padding, dilation)
    y = np.zeros((n, p, q, k))
    for i, a, b, j in np.ndindex(y.shape):
        first = j // (k // groups) * c  # the group's first input channel
        for r, s, h, w in taps(kernel.shape[:2], strides, padding, dilation, x.shape[1:3], a, b):
            y[i, a, b, j] += sum(x[i, h, w, first + d] * kernel[r, s, d, j] for d in range(c))
    return y


CONVOLUTIONS = {  # x shape, kernel shape, strides, padding, dilation, groups
    "all different": ((2, 7, 9, 3), (3, 2, 3, 5), (2, 3), ((1, 2), (0, 3)), (2, 1), 1),
    "other dilation": ((2, 6, 11, 2), (2, 3, 2, 3), (1, 2), ((0, 1), (2, 0)), (1, 3), 1),
    "groups": ((2, 5, 6, 4), (2, 3, 2, 6), (1, 2), ((1, 0), (1, 2)), (1, 1), 2),
    "depthwise": ((1, 5, 4, 3), (3, 2, 1, 6), (2, 1), ((1, 1), (0, 0)), (1, 2), 3),
    "1 x 1": ((3, 2, 4, 5), (1, 1, 5, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "whole image": ((2, 4, 3, 2), (4, 3, 2, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "stride beyond filter": ((1, 8, 9, 1), (2, 1, 1, 2), (3, 4), ((0, 0), (0, 0)), (1, 1), 1),
    "more padding than image": ((1, 1, 2, 2), (3, 2, 2, 2), (2, 1), ((3, 2), (1, 4)), (1, 1), 1),
}


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_conv2d(case):
    x_shape, kernel_shape, strides, padding, dilation, groups = case
    shape = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    x, kernel, bias = normal(*x_shape), normal(*kernel_shape), normal(kernel_shape[3])
    y = ref.conv2d_forward(x, kernel, bias, activation="leaky_relu", alpha=0.3, **shape)
    linear = conv_by_loops(x, kernel, **shape) + bias
    np.testing.assert_allclose(y, np.where(linear > 0, linear, 0.3 * linear), **EXACT)

    u = normal(*y.shape, seed=1)
    dkernel, dbias = np.full(kernel_shape, np.nan), np.full(bias.shape, np.nan)
    dx = ref.conv2d_backward_input(u, kernel, x_shape, **shape)
    ref.conv2d_backward_filter(x, u, dkernel, dbias, **shape)
    assert_gradient(lambda z: np.vdot(u, ref.conv2d_forward(z, kernel, bias, **shape)), x, dx)
    assert_gradient(lambda z: np.vdot(u, ref.conv2d_forward(x, z, bias, **shape)), kernel, dkernel)
    assert_gradient(lambda z: np.vdot(u, ref.conv2d_forward(x, kernel, z, **shape)), bias, dbias)


def test_conv2d_defaults():
    x, kernel = normal(2, 4, 5, 3), normal(2, 3, 3, 4)
    plain = ((1, 1), ((0, 0), (0, 0)), (1, 1), 1)
    np.testing.assert_allclose(ref.conv2d_forward(x, kernel), conv_by_loops(x, kernel, *plain), **EXACT)


POOLS = {  # x shape, pool size, strides, padding
    "overlapping": ((2, 7, 9, 3), (3, 2), (2, 1), ((1, 0), (0, 1))),
    "asymmetric padding": ((1, 5, 6, 2), (2, 4), (3, 2), ((0, 1), (1, 2))),
    "gaps": ((2, 8, 7, 1), (2, 1), (3, 2), ((0, 0), (0, 0))),
    "whole image": ((2, 3, 4, 2), (3, 4), (1, 1), ((0, 0), (0, 0))),
}


@pytest.mark.parametrize("case", POOLS.values(), ids=POOLS)
@pytest.mark.parametrize("special", [None, np.nan, -np.inf])
def test_max_pool2d(case, special):
    x_shape, size, strides, padding = case
    shape = {"pool_size": size, "strides": strides, "padding": padding}
    x = np.round(normal(*x_shape) * 2)  # many ties
    if special is not None:
        x[normal(*x_shape, seed=2) > (0.8 if np.isnan(special) else -0.5)] = special
    y, index = ref.max_pool2d_forward(x, **shape)
    assert index.dtype == np.uint8
    assert y.shape == (x_shape[0], *output_size(x_shape[1:3], size, strides, padding), x_shape[3])
    dy, dx = normal(*y.shape, seed=1), np.zeros(x_shape)
    for n, p, q, c in np.ndindex(y.shape):
        seen = [(h, w) for _, _, h, w in taps(size, strides, padding, (1, 1), x_shape[1:3], p, q)]
        values = [x[n, h, w, c] for h, w in seen]
        best = next((i for i, v in enumerate(values) if math.isnan(v)), values.index(max(values)))
        h, w = seen[best]
        place = (h - p * strides[0] + padding[0][0]) * size[1] + w - q * strides[1] + padding[1][0]
        np.testing.assert_equal((y[n, p, q, c], index[n, p, q, c]), (values[best], place))
        dx[n, h, w, c] += dy[n, p, q, c]
    np.testing.assert_allclose(ref.max_pool2d_backward(dy, index, x_shape, **shape), dx, **EXACT)


def test_max_pool2d_of_a_large_window():
    x = normal(1, 17, 20, 2)
    y, index = ref.max_pool2d_forward(x, pool_size=(17, 16), strides=(1, 4))
    assert index.dtype == np.int32
    dx = ref.max_pool2d_backward(np.ones_like(y), index, x.shape, pool_size=(17, 16), strides=(1, 4))
    for q, c in np.ndindex(2, 2):
        place = np.unravel_index(x[0, :, 4 * q : 4 * q + 16, c].argmax(), (17, 16))
        assert index[0, 0, q, c] == place[0] * 16 + place[1]
        assert dx[0, place[0], 4 * q + place[1], c] >= 1


@pytest.mark.parametrize("case", POOLS.values(), ids=POOLS)
def test_max_pool2d_behind_a_relu(case):
    x_shape, size, strides, padding = case
    shape = {"pool_size": size, "strides": strides, "padding": padding}
    x = normal(*x_shape)
    relu = np.maximum(x, 0)
    y, index = ref.max_pool2d_forward(relu, **shape)
    dy = normal(*y.shape, seed=1)
    separate = ref.activation_backward(ref.max_pool2d_backward(dy, index, x_shape, **shape), None, relu, "relu")
    np.testing.assert_array_equal(ref.max_pool2d_backward(dy, index, x_shape, y, **shape), separate)


@pytest.mark.parametrize("case", POOLS.values(), ids=POOLS)
def test_pool2d_gradients(case):
    x_shape, size, strides, padding = case
    shape = {"pool_size": size, "strides": strides, "padding": padding}
    x = normal(*x_shape)
    y, index = ref.max_pool2d_forward(x, **shape)
    u = normal(*y.shape, seed=1)
    assert_gradient(
        lambda z: np.vdot(u, ref.max_pool2d_forward(z, **shape)[0]),
        x,
        ref.max_pool2d_backward(u, index, x_shape, **shape),
    )
    assert_gradient(
        lambda z: np.vdot(u, ref.avg_pool2d_forward(z, **shape)), x, ref.avg_pool2d_backward(u, x_shape, **shape)
    )


@pytest.mark.parametrize("case", POOLS.values(), ids=POOLS)
def test_avg_pool2d(case):
    x_shape, size, strides, padding = case
    x = normal(*x_shape)
    y = ref.avg_pool2d_forward(x, pool_size=size, strides=strides, padding=padding)
    for n, p, q, c in np.ndindex(y.shape):
        values = [x[n, h, w, c] for _, _, h, w in taps(size, strides, padding, (1, 1), x_shape[1:3], p, q)]
        assert y[n, p, q, c] == pytest.approx(sum(values) / len(values), rel=1e-12, abs=1e-13)


def test_global_average_pool2d():
    x, u = normal(2, 3, 5, 4), normal(2, 4)
    np.testing.assert_allclose(ref.global_average_pool2d_forward(x), np.einsum("nhwc->nc", x) / 15, **EXACT)
    assert_gradient(
        lambda z: np.vdot(u, ref.global_average_pool2d_forward(z)), x, ref.global_average_pool2d_backward(u, x.shape)
    )


# ---- activations, softmax, batch normalization ----

ALPHA = 0.3
SELU = 1.0507009873554805, 1.0507009873554805 * 1.6732632423543772
FORMULAS = {
    "linear": lambda x: x,
    "relu": lambda x: max(x, 0.0),
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "leaky_relu": lambda x: x if x > 0 else ALPHA * x,
    "elu": lambda x: x if x > 0 else ALPHA * (math.exp(x) - 1),
    "selu": lambda x: SELU[0] * x if x > 0 else SELU[1] * (math.exp(x) - 1),
    "celu": lambda x: x if x > 0 else ALPHA * (math.exp(x / ALPHA) - 1),
    "exponential": math.exp,
    "step": lambda x: 1.0 if x > 0 else 0.0,
    "sign": lambda x: math.copysign(1, x) if x else 0.0,
    "hard_tanh": lambda x: min(max(x, -1.0), 1.0),
    "hard_sigmoid": lambda x: min(max((x + 3) / 6, 0.0), 1.0),
    "sparse_sigmoid": lambda x: min(max((x + 1) / 2, 0.0), 1.0),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "softplus": lambda x: math.log(1 + math.exp(x)),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "silu": lambda x: x / (1 + math.exp(-x)),
    "mish": lambda x: x * math.tanh(math.log(1 + math.exp(x))),
    "hard_silu": lambda x: x * min(max((x + 3) / 6, 0.0), 1.0),
    "softsign": lambda x: x / (1 + abs(x)),
    "log_sigmoid": lambda x: -math.log(1 + math.exp(-x)),
    "tanh_shrink": lambda x: x - math.tanh(x),
    "soft_shrink": lambda x: math.copysign(max(abs(x) - ALPHA, 0.0), x),
    "hard_shrink": lambda x: x if abs(x) > ALPHA else 0.0,
    "squareplus": lambda x: (x + math.sqrt(x * x + ALPHA)) / 2,
    "sparse_plus": lambda x: 0.0 if x <= -1 else x if x >= 1 else (x + 1) ** 2 / 4,
}
KINKS = (0.0, -ALPHA, ALPHA, -1.0, 1.0, -3.0, 3.0, 6.0)


def test_activation_lists():
    assert tuple(FORMULAS) == ref.ACTIVATIONS
    assert ref.ACTIVATIONS[:15] == ref.FROM_OUTPUT


@pytest.mark.parametrize("kind", ref.ACTIVATIONS)
def test_activation(kind):
    x = np.concatenate([np.linspace(-9, 9, 145), normal(55)]).reshape(8, 25)
    expected = np.vectorize(FORMULAS[kind])(x)
    y = ref.activation_forward(x, kind, ALPHA)
    np.testing.assert_allclose(y, expected, **EXACT)
    assert not np.shares_memory(x, y)

    x = x[np.abs(x[..., None] - KINKS).min(-1) > 1e-3]  # away from the kinks, where there is no derivative
    u, y = normal(*x.shape, seed=1), ref.activation_forward(x, kind, ALPHA)
    from_output = kind in ref.FROM_OUTPUT
    dx = ref.activation_backward(u, None if from_output else x, y if from_output else None, kind, ALPHA)
    slope = ref.activation_forward(x + 1e-5, kind, ALPHA) - ref.activation_forward(x - 1e-5, kind, ALPHA)
    np.testing.assert_allclose(dx, u * slope / 2e-5, rtol=1e-7, atol=1e-9)


def test_slope_at_the_kink():
    zero, one = np.zeros(1), np.ones(1)
    assert ref.activation_backward(one, zero, zero, "relu") == 0
    assert ref.activation_backward(one, zero, zero, "leaky_relu", ALPHA) == ALPHA


SHRINKS = ("tanh_shrink", "soft_shrink", "hard_shrink")
# Values at -infinity and infinity, "x" where they grow with x; 0 and "x" for all others.
FAR = {
    "linear": ("x", "x"),
    "leaky_relu": ("x", "x"),
    "elu": (-ALPHA, "x"),
    "celu": (-ALPHA, "x"),
    "selu": (-SELU[1], "x"),
    "log_sigmoid": ("x", 0),
    **dict.fromkeys(("tanh", "sign", "hard_tanh", "softsign"), (-1, 1)),
    **dict.fromkeys(("sigmoid", "hard_sigmoid", "sparse_sigmoid", "step"), (0, 1)),
    "relu6": (0, 6),
    **dict.fromkeys(SHRINKS, ("x", "x")),
}
SLOPES = {
    "linear": (1, 1),
    "leaky_relu": (ALPHA, 1),
    "selu": (0, SELU[0]),
    "log_sigmoid": (1, 0),
    **dict.fromkeys(SHRINKS, (1, 1)),
    **{name: (0, 0) for name, (_, right) in FAR.items() if right != "x" and name != "log_sigmoid"},
}
SLOW = ("softsign", "squareplus", "tanh_shrink", "soft_shrink")  # that come near these values only slowly, or never


@pytest.mark.parametrize("kind", [kind for kind in ref.ACTIVATIONS if kind != "exponential"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activation_far_out(kind, dtype):
    x = np.array([-1e30, -1000, -100, 100, 1000, 1e30], dtype)
    at = [FAR.get(kind, (0, "x"))[int(v > 0)] for v in x]
    factors = [{"leaky_relu": (ALPHA, 1), "selu": (0, SELU[0])}.get(kind, (1, 1))[int(v > 0)] for v in x]
    expected = [f * float(v) if a == "x" else a for a, f, v in zip(at, factors, x, strict=True)]
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = ref.activation_forward(x, kind, ALPHA)
        dx = ref.activation_backward(np.ones_like(x), x, y, kind, ALPHA)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1.0 if kind in SLOW else 1e-30)
    slopes = [SLOPES.get(kind, (0, 1))[int(v > 0)] for v in x]
    np.testing.assert_allclose(dx, slopes, rtol=1e-6, atol=2e-4 if kind in SLOW else 1e-7)


def test_softmax():
    y = ref.softmax_forward(np.array([[1010.0, 1000.0, 990.0]]))
    np.testing.assert_allclose(y, [[0.99995460, 4.5397868e-05, 2.0610601e-09]], rtol=1e-7)
    x, u = normal(2, 3, 5), normal(2, 3, 5, seed=1)
    y = ref.softmax_forward(x)
    np.testing.assert_allclose(y, np.exp(x) / np.exp(x).sum(-1)[..., None], **EXACT)
    assert_gradient(lambda z: np.vdot(u, ref.softmax_forward(z)), x, ref.softmax_backward(u, y))


@pytest.mark.parametrize("shape", [(6, 3), (1, 3), (2, 3, 4, 5)])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm(shape, affine):
    x, u, channels = 2 + 3 * normal(*shape), normal(*shape, seed=1), shape[-1]
    gamma, beta = (normal(channels, seed=2), normal(channels, seed=3)) if affine else (None, None)
    moving = np.full(channels, 0.5), np.full(channels, 2.0)

    def forward(x, gamma, beta):
        unused = np.zeros(channels), np.ones(channels)
        return np.vdot(u, ref.batch_norm_forward(x, gamma, beta, *unused, momentum=0.9, epsilon=0.1)[0])

    y, mean, rstd = ref.batch_norm_forward(x, gamma, beta, *moving, momentum=0.9, epsilon=0.1)
    axes = tuple(range(x.ndim - 1))
    variance = x.var(axes)
    np.testing.assert_allclose(mean, x.mean(axes), **EXACT)
    np.testing.assert_allclose(rstd, (variance + 0.1) ** -0.5, **EXACT)
    np.testing.assert_allclose(moving, (0.45 + 0.1 * mean, 1.8 + 0.1 * variance), **EXACT)
    scale, shift = (gamma, beta) if affine else (1, 0)
    np.testing.assert_allclose(y, scale * (x - mean) * rstd + shift, **EXACT)

    dgamma, dbeta = np.full(channels, np.nan), np.full(channels, np.nan)
    dx = ref.batch_norm_backward(x, u, gamma, mean, rstd, dgamma, dbeta)
    assert_gradient(lambda z: forward(z, gamma, beta), x, dx)
    assert_gradient(lambda z: forward(x, z, beta), np.ones(channels) if gamma is None else gamma, dgamma)
    assert_gradient(lambda z: forward(x, gamma, z), np.zeros(channels) if beta is None else beta, dbeta)


def test_batch_norm_inference():
    x, u = normal(4, 2, 3), normal(4, 2, 3, seed=1)
    gamma, beta, moving_mean = normal(3), normal(3, seed=1), normal(3, seed=2)
    moving_variance = np.array([0.5, 1.0, 2.0])

    def forward(x, gamma):
        return ref.batch_norm_inference(x, gamma, beta, moving_mean, moving_variance, epsilon=0.01)

    y, mean, rstd = forward(x, gamma)
    np.testing.assert_allclose(y, gamma * (x - moving_mean) / np.sqrt(moving_variance + 0.01) + beta, **EXACT)
    np.testing.assert_allclose((mean, rstd), (moving_mean, (moving_variance + 0.01) ** -0.5), **EXACT)
    dgamma = np.empty(3)
    dx = ref.batch_norm_backward(x, u, gamma, mean, rstd, dgamma, fixed_statistics=True)
    assert_gradient(lambda z: np.vdot(u, forward(z, gamma)[0]), x, dx)
    assert_gradient(lambda z: np.vdot(u, forward(x, z)[0]), gamma, dgamma)


def test_batch_norm_variance_survives_a_large_mean():
    x = (1e4 + normal(100000, 2)).astype(np.float32)
    _, _, rstd = ref.batch_norm_forward(x, None, None, np.zeros(2), np.ones(2), momentum=0.9, epsilon=0.0)
    np.testing.assert_allclose(rstd**-2.0, x.astype(np.float64).var(0), rtol=1e-5)
