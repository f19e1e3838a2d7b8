"""What Keras does not have, or not on PyTorch, against PyTorch in float64: outputs, gradients of inputs and of weights."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from harness import LONG, QUICK, SHORT, assert_near, has, normal, random_weights
from numpy.typing import NDArray

from fastnn import layers

torch: Any = importlib.import_module("torch") if has("torch") else None
pytestmark = pytest.mark.skipif(torch is None, reason="needs torch")
Array = NDArray[Any]
Generator = np.random.Generator

CLOSE = 2e-6  # of the largest value; sums here have up to a few thousand terms, added up in float32
SEEDS = range(4 if QUICK else 12)


def check(layer: Any, x: Array, theirs: Callable[..., Any], tolerance: float = CLOSE, seed: int = 1) -> None:
    """Compare a layer with a function of float64 tensors: the input and then the trainable weights, laid out as ours are."""
    layer.build_for((None, *x.shape[1:]))
    if layer.trainable_weights:
        random_weights(layer, seed)
    y = layer.forward(x, training=True)
    dy = normal(*y.shape, seed=seed)
    dx = layer.backward(dy)
    leaves = [
        torch.tensor(v.astype(np.float64), requires_grad=True)
        for v in (x, *(p.numpy() for p in layer.trainable_weights))
    ]
    expected = theirs(*leaves)
    assert_near(y, expected.detach().numpy(), tolerance, "output")
    expected.backward(torch.tensor(dy.astype(np.float64)))
    size = float(np.abs(dy).max())
    assert_near(dx, leaves[0].grad.numpy(), tolerance, "gradient of the input", size)
    for p, leaf in zip(layer.trainable_weights, leaves[1:], strict=True):
        assert_near(p.gradient, leaf.grad.numpy(), tolerance, f"gradient of {p.name}", size)


def numbers(rng: Generator, rank: int, low: int, high: int) -> tuple[int, ...]:
    return tuple(int(v) for v in rng.integers(low, high + 1, rank))


def first(x: Any) -> Any:
    """Return a batch with its channels first."""
    return x.movedim(-1, 1)


def last(x: Any) -> Any:
    """Return a batch with its channels last."""
    return x.movedim(1, -1)


def outer(kernel: Any) -> Any:
    """Return a kernel (..., C, K) as (K, C, ...)."""
    return kernel.movedim((-1, -2), (0, 1))


# ---------------------------------------------------------------- padding in pixels, strides together with dilations


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_convolution(rank: int, seed: int) -> None:
    rng = np.random.default_rng([seed, rank])
    groups = int(rng.choice([1, 1, 2, 3]))
    filters, depth = groups * int(rng.integers(1, 5)), groups * int(rng.integers(1, 4))
    window, strides, dilation = numbers(rng, rank, 1, 4), numbers(rng, rank, 1, 3), numbers(rng, rank, 1, 3)
    padding = numbers(rng, rank, 0, 2)
    sizes = tuple(d * (k - 1) + 1 + int(rng.integers(0, 6)) for k, d in zip(window, dilation, strict=True))
    layer = getattr(layers, f"Conv{rank}D")(filters, window, strides, padding, dilation_rate=dilation, groups=groups)
    function = getattr(torch.nn.functional, f"conv{rank}d")

    def theirs(x: Any, kernel: Any, bias: Any) -> Any:
        return last(function(first(x), outer(kernel), bias, strides, padding, dilation, groups))

    check(layer, normal(3, *sizes, depth, seed=seed), theirs)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_transposed_convolution(rank: int, seed: int) -> None:
    rng = np.random.default_rng([seed, rank, 1])
    filters, depth = int(rng.integers(1, 7)), int(rng.integers(1, 7))
    window, strides, dilation = numbers(rng, rank, 1, 4), numbers(rng, rank, 1, 3), numbers(rng, rank, 1, 2)
    more = tuple(int(rng.integers(0, s)) for s in strides)
    spans = [d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True)]
    cut = tuple(int(rng.integers(0, min(2, (s - 1) // 2) + 1)) for s in spans)
    cls = getattr(layers, f"Conv{rank}DTranspose")
    layer = cls(filters, window, strides, cut, output_padding=more, dilation_rate=dilation)
    function = getattr(torch.nn.functional, f"conv_transpose{rank}d")

    def theirs(x: Any, kernel: Any, bias: Any) -> Any:
        return last(function(first(x), outer(kernel), bias, strides, cut, more, 1, dilation))

    check(layer, normal(3, *numbers(rng, rank, 1, 6), depth, seed=seed), theirs)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_depthwise_convolution(rank: int, separable: bool, seed: int) -> None:
    rng = np.random.default_rng([seed, rank, 2])
    window, strides, dilation = numbers(rng, rank, 1, 4), numbers(rng, rank, 1, 3), numbers(rng, rank, 1, 3)
    padding, depth, multiplier = numbers(rng, rank, 0, 2), int(rng.integers(1, 6)), int(rng.integers(1, 4))
    sizes = tuple(d * (k - 1) + 1 + int(rng.integers(0, 6)) for k, d in zip(window, dilation, strict=True))
    options: dict[str, Any] = {"dilation_rate": dilation, "depth_multiplier": multiplier}
    if separable:
        layer = getattr(layers, f"SeparableConv{rank}D")(5, window, strides, padding, **options)
    else:
        layer = getattr(layers, f"DepthwiseConv{rank}D")(window, strides, padding, **options)
    function = getattr(torch.nn.functional, f"conv{rank}d")

    def theirs(x: Any, kernel: Any, *rest: Any) -> Any:
        taps = kernel.flatten(-2).movedim(-1, 0).unsqueeze(1)  # (C times multiplier, 1, ...)
        y = function(first(x), taps, None if separable else rest[0], strides, padding, dilation, depth)
        return last(y) @ rest[0].reshape(depth * multiplier, 5) + rest[1] if separable else last(y)

    check(layer, normal(3, *sizes, depth, seed=seed), theirs)


# ---------------------------------------------------------------- pooling and sizes of images


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_average_over_a_border(rank: int, seed: int) -> None:
    """The mean over what is inside: of the sums, divided by how many places are not padding."""
    rng = np.random.default_rng([seed, rank, 3])
    sizes, pool, strides = numbers(rng, rank, 4, 8), numbers(rng, rank, 1, 3), numbers(rng, rank, 1, 3)
    layer = getattr(layers, f"AveragePooling{rank}D")(pool, strides, "same")
    mean = getattr(torch.nn.functional, f"avg_pool{rank}d")
    border: list[int] = []
    for size, window, step in zip(sizes[::-1], pool[::-1], strides[::-1], strict=True):
        more = max((-(-size // step) - 1) * step + window - size, 0)
        border += [more // 2, more - more // 2]

    def theirs(x: Any) -> Any:
        padded = [torch.nn.functional.pad(v, border) for v in (first(x), torch.ones_like(first(x)))]
        return last(mean(padded[0], pool, strides) / mean(padded[1], pool, strides))

    check(layer, normal(2, *sizes, 3, seed=seed), theirs)


@pytest.mark.parametrize(
    ("pool", "strides", "size"),
    [
        (2, None, (6, 8)),
        (3, None, (7, 9)),
        ((2, 3), None, (5, 7)),
        (3, 2, (7, 9)),
        ((2, 3), (1, 2), (5, 7)),
        (2, 3, (8, 8)),
    ],
)
def test_unpooling(pool: Any, strides: Any, size: tuple[int, int]) -> None:
    image = normal(3, *size, 4)
    y, index = torch.nn.functional.max_pool2d(first(torch.tensor(image)), pool, strides, return_indices=True)
    values = torch.tensor(normal(*y.shape, seed=1), requires_grad=True)
    layer = layers.MaxUnpooling2D(pool, strides)
    got = layer.forward([last(values).detach().numpy(), image], training=True)
    dy = normal(*got.shape, seed=2)
    found = layer.backward(dy)[0]
    # A place that several windows chose has the last one's value there and their sum here.
    flat = torch.zeros(3, 4, size[0] * size[1]).scatter_add(2, index.flatten(2), values.flatten(2))
    want = flat.reshape(3, 4, *size)
    if strides is None:
        assert torch.equal(want, torch.nn.functional.max_unpool2d(values, index, pool, output_size=size))
    want.backward(first(torch.tensor(dy)))
    assert values.grad is not None
    assert_near(got, last(want).detach().numpy(), SHORT, "output")
    assert_near(found, last(values.grad).numpy(), SHORT, "gradient")


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(3, 4), (1, 5), (4, 1)])
@pytest.mark.parametrize("factors", [(2, 2), (1, 3), (4, 1)])
def test_bilinear_upsampling(size: tuple[int, int], factors: tuple[int, int], align_corners: bool) -> None:
    def theirs(x: Any) -> Any:
        options = {"scale_factor": factors, "mode": "bilinear", "align_corners": align_corners}
        return last(torch.nn.functional.interpolate(first(x), **options))

    layer = layers.UpSampling2D(factors, interpolation="bilinear", align_corners=align_corners)
    check(layer, normal(2, *size, 3), theirs)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("new", [(4, 3), (9, 13), (3, 14), (12, 2)])
def test_resizing_without_aliases(mode: str, new: tuple[int, int]) -> None:
    def theirs(x: Any) -> Any:
        return last(torch.nn.functional.interpolate(first(x), new, mode=mode, antialias=True))

    layer = layers.Resizing(*new, interpolation=mode, antialias=True)
    check(layer, normal(2, 7, 8, 3), theirs)


# ---------------------------------------------------------------- normalization


@pytest.mark.parametrize("axis", [1, 2, (1, 2), [1, 3], (1, 2, 3)], ids=str)
@pytest.mark.parametrize("epsilon", [1e-3, 1e-5])
def test_other_axes(axis: Any, epsilon: float) -> None:
    """A layer normalization over axes that are not the last, by moving them there."""
    axes = [axis] if isinstance(axis, int) else list(axis)
    ends = list(range(-len(axes), 0))

    def theirs(x: Any, gamma: Any, beta: Any) -> Any:
        moved = x.movedim(axes, ends)
        shape = moved.shape[len(moved.shape) - len(axes) :]
        y = torch.nn.functional.layer_norm(moved, shape, gamma.reshape(shape), beta.reshape(shape), epsilon)
        return y.movedim(ends, axes)

    check(layers.LayerNormalization(axis=axis, epsilon=epsilon), normal(3, 4, 5, 6), theirs, 4e-6)


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_group_normalization(groups: int) -> None:
    def theirs(x: Any, gamma: Any, beta: Any) -> Any:
        return torch.nn.functional.group_norm(x, groups, gamma, beta, 1e-3)

    check(layers.GroupNormalization(groups, axis=1), normal(3, 8, 5, 6), theirs, 4e-6)


@pytest.mark.parametrize("shape", [(7,), (4, 5, 3)], ids=str)
def test_batch_normalization(shape: tuple[int, ...]) -> None:
    def theirs(x: Any, gamma: Any, beta: Any) -> Any:
        return last(torch.nn.functional.batch_norm(first(x), None, None, gamma, beta, training=True, eps=1e-5))

    check(layers.BatchNormalization(epsilon=1e-5), normal(9, *shape), theirs, LONG)


# ---------------------------------------------------------------- rectifiers


@pytest.mark.parametrize(("lower", "upper"), [(0.125, 1 / 3), (0.0, 0.5), (0.2, 0.2)])
def test_randomized_relu(lower: float, upper: float) -> None:
    """In use the slope is the mean of both; where they are one number there is nothing random in training, either."""
    x = normal(6, 5)
    expected = torch.nn.functional.rrelu(torch.tensor(x.astype(np.float64)), lower, upper, training=False)
    assert_near(layers.RReLU(lower, upper)(x), expected.numpy(), SHORT, "in use")
    if lower == upper:
        check(layers.RReLU(lower, upper), x, lambda z: torch.nn.functional.rrelu(z, lower, upper, training=True))
    else:
        layer = layers.RReLU(lower, upper, seed=3)
        y, dy = layer.forward(x, training=True), normal(6, 5, seed=1)
        slopes = y[x < 0] / x[x < 0]
        assert ((lower <= slopes + SHORT) & (slopes - SHORT <= upper)).all()
        np.testing.assert_array_equal(y[x >= 0], x[x >= 0])
        np.testing.assert_allclose(layer.backward(dy), dy * np.where(x < 0, y / x, 1), rtol=1e-6)


def test_parametric_relu() -> None:
    def theirs(x: Any, alpha: Any) -> Any:
        return last(torch.nn.functional.prelu(first(x), alpha.reshape(-1)))

    check(layers.PReLU(shared_axes=[1, 2]), normal(4, 5, 6, 3), theirs)


@pytest.mark.parametrize("group_size", [1, 2, 4])
def test_maxout(group_size: int) -> None:
    def theirs(x: Any) -> Any:
        return x.reshape(*x.shape[:-1], -1, group_size).amax(-1)

    check(layers.Maxout(group_size), normal(3, 5, 8), theirs)
