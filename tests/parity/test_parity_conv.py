"""Convolution layers against PyTorch (in float64) and Keras (in float64), over random configurations: outputs and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import QUICK, check_layer
from numpy.typing import NDArray

from fastnn import layers

Array = NDArray[Any]
Generator = np.random.Generator

CLOSE = 2e-6  # of the largest value; sums here have up to a few thousand terms, added up in float32


def normal(rng: Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, np.float32)


def check(got: Array, expected: Array, close: float, what: str) -> None:
    """Compare two arrays of the same shape by their largest difference."""
    assert got.shape == expected.shape, f"{what}: shape {got.shape} instead of {expected.shape}"
    worst = float(np.abs(got - expected).max(initial=0))
    assert worst <= close * (float(np.abs(expected).max(initial=0)) + 1e-3), f"{what}: off by {worst}"


def numbers(rng: Generator, rank: int, low: int, high: int) -> tuple[int, ...]:
    return tuple(int(v) for v in rng.integers(low, high + 1, rank))


def randomize(layer: layers.Layer, rng: Generator) -> None:
    """Give every parameter random values that make outputs of size 1, so that no activation is saturated."""
    for p in layer.parameters:
        p.assign(normal(rng, *p.shape) / np.sqrt(np.prod(p.shape[:-1])))


def passes(layer: layers.Layer, x: Array, rng: Generator) -> tuple[Array, Array, list[Array]]:
    """Return dy, and the layer's output and gradients (of the input, then of the parameters) for it."""
    y = layer.forward(x, training=True)
    dy = normal(rng, *y.shape)
    dx = layer.backward(dy)
    assert dx is not None
    return dy, y, [dx, *(p.gradient for p in layer.weights)]


# ---------------------------------------------------------------- PyTorch


def as_torch(torch: Any, x: Array) -> Any:
    """Return an array of channels last as a float64 leaf with channels first."""
    return torch.tensor(np.moveaxis(x, -1, 1).astype(np.float64), requires_grad=True)


def torch_kernel(torch: Any, kernel: Array) -> Any:
    """Return a kernel (..., C, K) as (K, C, ...)."""
    return torch.tensor(np.moveaxis(kernel, (-1, -2), (0, 1)).astype(np.float64), requires_grad=True)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_convolution_like_torch(rank: int, seed: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng([seed, rank])
    groups = int(rng.choice([1, 1, 2, 3]))
    filters, depth = groups * int(rng.integers(1, 5)), groups * int(rng.integers(1, 4))
    window, strides, dilation = numbers(rng, rank, 1, 4), numbers(rng, rank, 1, 3), numbers(rng, rank, 1, 3)
    padding = numbers(rng, rank, 0, 2)
    sizes = tuple(d * (k - 1) + 1 + int(rng.integers(0, 6)) for k, d in zip(window, dilation, strict=True))
    cls = getattr(layers, f"Conv{rank}D")
    layer = cls(filters, window, strides, padding, dilation_rate=dilation, groups=groups)
    x = normal(rng, 3, *sizes, depth)
    layer.build_for((None, *x.shape[1:]))
    randomize(layer, rng)
    dy, y, found = passes(layer, x, rng)

    leaves = [as_torch(torch, x), torch_kernel(torch, layer.kernel.value), torch.tensor(layer.bias.value).double()]
    leaves[2].requires_grad_()
    function = getattr(torch.nn.functional, f"conv{rank}d")
    expected = function(*leaves, stride=strides, padding=padding, dilation=dilation, groups=groups)
    expected.backward(torch.tensor(np.moveaxis(dy, -1, 1).astype(np.float64)))
    check(y, np.moveaxis(expected.detach().numpy(), 1, -1), CLOSE, "output")
    check(found[0], np.moveaxis(leaves[0].grad.numpy(), 1, -1), CLOSE, "dx")
    check(found[1], np.moveaxis(leaves[1].grad.numpy(), (0, 1), (-1, -2)), CLOSE, "dkernel")
    check(found[2], leaves[2].grad.numpy(), CLOSE, "dbias")


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_transposed_convolution_like_torch(rank: int, seed: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng([seed, rank, 1])
    filters, depth = int(rng.integers(1, 7)), int(rng.integers(1, 7))
    window, strides, dilation = numbers(rng, rank, 1, 4), numbers(rng, rank, 1, 3), numbers(rng, rank, 1, 2)
    more = tuple(int(rng.integers(0, s)) for s in strides)
    spans = [d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True)]
    cut = tuple(int(rng.integers(0, min(2, (s - 1) // 2) + 1)) for s in spans)
    cls = getattr(layers, f"Conv{rank}DTranspose")
    layer = cls(filters, window, strides, cut, output_padding=more, dilation_rate=dilation)
    x = normal(rng, 3, *numbers(rng, rank, 1, 6), depth)
    layer.build_for((None, *x.shape[1:]))
    randomize(layer, rng)
    dy, y, found = passes(layer, x, rng)

    leaves = [as_torch(torch, x), torch_kernel(torch, layer.kernel.value), torch.tensor(layer.bias.value).double()]
    leaves[2].requires_grad_()
    function = getattr(torch.nn.functional, f"conv_transpose{rank}d")
    expected = function(*leaves, stride=strides, padding=cut, output_padding=more, dilation=dilation)
    expected.backward(torch.tensor(np.moveaxis(dy, -1, 1).astype(np.float64)))
    check(y, np.moveaxis(expected.detach().numpy(), 1, -1), CLOSE, "output")
    check(found[0], np.moveaxis(leaves[0].grad.numpy(), 1, -1), CLOSE, "dx")
    check(found[1], np.moveaxis(leaves[1].grad.numpy(), (0, 1), (-1, -2)), CLOSE, "dkernel")
    check(found[2], leaves[2].grad.numpy(), CLOSE, "dbias")


# ---------------------------------------------------------------- Keras


def random_arguments(rng: Generator, cls: str, rank: int) -> dict[str, Any]:
    """Return any arguments that Keras takes for a layer: a stride or a dilation, not both."""
    arguments: dict[str, Any] = {
        "kernel_size": numbers(rng, rank, 1, 4),
        "padding": str(rng.choice(["valid", "same"])),
        "data_format": str(rng.choice(["channels_last", "channels_first"])),
        "activation": str(rng.choice(["linear", "relu", "tanh", "softmax"])),
        "use_bias": bool(rng.integers(0, 4)),
    }
    arguments["strides" if rng.integers(0, 2) else "dilation_rate"] = numbers(rng, rank, 1, 3)
    if arguments["activation"] == "softmax":
        arguments["data_format"] = "channels_last"
    if "Depthwise" not in cls:
        arguments["filters"] = 2 * int(rng.integers(1, 4))
    if "Depthwise" in cls or "Separable" in cls:
        arguments["depth_multiplier"] = int(rng.integers(1, 4))
    if cls in ("Conv1D", "Conv2D", "Conv3D"):
        arguments["groups"] = int(rng.integers(1, 3))
    if cls == "Conv1D" and rng.integers(0, 3) == 0:
        arguments["padding"] = "causal"
    if "Transpose" in cls and rng.integers(0, 2):
        strides = arguments.get("strides", (1,) * rank)
        arguments["output_padding"] = tuple(int(rng.integers(0, s)) for s in strides)
    return arguments


KERAS_LAYERS = [
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "Conv1DTranspose",
    "Conv2DTranspose",
    "Conv3DTranspose",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "SeparableConv1D",
    "SeparableConv2D",
]


@pytest.mark.parametrize("cls", KERAS_LAYERS)
@pytest.mark.parametrize("seed", range(2 if QUICK else 8))
def test_layer_like_keras(cls: str, seed: int) -> None:
    rank = int(cls.split("D")[0][-1]) if cls.startswith("Conv") else int(cls[-2])
    rng = np.random.default_rng([seed, *cls.encode()])
    arguments = random_arguments(rng, cls, rank)
    spans = [d * (k - 1) + 1 for k, d in zip(arguments["kernel_size"], arguments.get("dilation_rate", (1,) * 3))]
    sizes = tuple(s + int(rng.integers(0, 5)) for s in spans)
    shape = (*sizes, 4) if arguments["data_format"] == "channels_last" else (4, *sizes)
    check_layer(cls, arguments, shape, tolerance=CLOSE, steps=10)
