"""Depthwise, transposed and 3-D convolution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import STEP
from ops_calls import ALPHA, CONVOLUTIONS, Array, Generator, double, geometry, lanes, normal, random_convolution
from test_ops_conv import check_against_twin
from tolerances import assert_bits, assert_close, assert_gradient, bound
from window_calls import DEPTHWISE, VOLUMES, Volume, random_depthwise, random_volume, volume_geometry

from fastnn import ops, reference

# ---------------------------------------------------------------- depthwise


def test_random_depthwise_convolutions(isa: str, rng: Generator) -> None:
    for _ in range(150):
        check_against_twin(rng, random_depthwise(rng, 11))


@pytest.mark.parametrize("times", [1, 2])
def test_channels_of_depthwise_around_a_vector(isa: str, rng: Generator, times: int) -> None:
    width = lanes()
    for channels in (2, 3, 5, width - 1, width, width + 1, 2 * width - 1, 2 * width, 7 * width + 3):
        for columns in (1, 2, 7, 8, 9, 17):
            options = geometry(padding=((0, 1), (1, 1)), groups=channels)
            check_against_twin(rng, ((2, 3, columns, channels), (2, 3, 1, channels * times), options))


@pytest.mark.parametrize("window", [(1, 1), (3, 3), (5, 5), (7, 7), (2, 3), (1, 10), (11, 1), (4, 7)], ids=str)
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (1, 2), (3, 2), (6, 7)], ids=str)
def test_windows_of_depthwise(isa: str, rng: Generator, window: Any, strides: Any) -> None:
    for dilation in ((1, 1), (2, 1), (2, 3)):
        for channels in (5, lanes() + 3):
            options = geometry(strides, ((3, 2), (4, 5)), dilation, channels)
            check_against_twin(rng, ((2, 19, 24, channels), (*window, 1, channels), options))


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 1)], ids=str)
@pytest.mark.parametrize("taps", [3, 4, 5])
def test_images_of_a_large_depthwise_do_not_see_each_other(isa: str, rng: Generator, strides: Any, taps: int) -> None:
    # Arrays larger than the caches, of which the rows below are fetched; past the last one there are none.
    channels, options = 48, geometry(strides, ((1, 1), (1, 2)), groups=48)
    x, kernel = normal(rng, 10, 35, 36, channels), normal(rng, taps, taps, 1, channels)
    y = ops.conv2d_forward(x, kernel, **options)
    dy, dkernel = normal(rng, *y.shape), np.zeros_like(kernel)
    dx = ops.conv2d_backward_input(dy, kernel, x.shape, **options)
    ops.conv2d_backward_filter(x, dy, dkernel, **options)
    parts = np.zeros_like(kernel)
    for i in range(len(x)):
        image, part = slice(i, i + 1), np.zeros_like(kernel)
        assert_bits(ops.conv2d_forward(x[image], kernel, **options)[0], y[i])
        assert_bits(ops.conv2d_backward_input(dy[image], kernel, (1, *x.shape[1:]), **options)[0], dx[i])
        ops.conv2d_backward_filter(x[image], dy[image], part, **options)
        parts += part
    np.testing.assert_allclose(dkernel, parts, rtol=1e-4, atol=1e-3)


def test_depthwise_of_no_images(isa: str, rng: Generator) -> None:
    check_against_twin(rng, ((0, 5, 6, 3), (2, 3, 1, 6), geometry((2, 1), groups=3)))


@pytest.mark.parametrize("case", DEPTHWISE.values(), ids=DEPTHWISE)
@pytest.mark.parametrize("activation", ["relu", "elu", "tanh", "gelu"])
def test_bias_and_activation_of_depthwise_change_no_bits(isa: str, rng: Generator, case: Any, activation: str) -> None:
    x_shape, kernel_shape, options = case
    x, kernel, bias = normal(rng, *x_shape), normal(rng, *kernel_shape), normal(rng, kernel_shape[3])
    linear = ops.conv2d_forward(x, kernel, bias, **options)
    fused = ops.conv2d_forward(x, kernel, bias, activation=activation, alpha=ALPHA, **options)
    assert_bits(fused, ops.activation_forward(linear, activation, ALPHA))


@pytest.mark.parametrize("case", DEPTHWISE.values(), ids=DEPTHWISE)
def test_a_channel_does_not_see_the_others(isa: str, rng: Generator, case: Any) -> None:
    x_shape, kernel_shape, options = case
    x, kernel, times = normal(rng, *x_shape), normal(rng, *kernel_shape), kernel_shape[3] // x_shape[3]
    y = ops.conv2d_forward(x, kernel, **options)
    dy = normal(rng, *y.shape)
    dx = ops.conv2d_backward_input(dy, kernel, x_shape, **options)
    dkernel, broken = np.zeros_like(kernel), np.zeros_like(kernel)
    ops.conv2d_backward_filter(x, dy, dkernel, **options)
    x[..., 1], dy[..., times : 2 * times] = np.nan, np.nan
    again = ops.conv2d_forward(x, kernel, **options)
    ops.conv2d_backward_filter(x, dy, broken, **options)
    others, outputs = np.arange(x_shape[3]) != 1, np.arange(kernel_shape[3]) // times != 1
    assert_bits(again[..., outputs], y[..., outputs])
    assert_bits(ops.conv2d_backward_input(dy, kernel, x_shape, **options)[..., others], dx[..., others])
    assert_bits(broken[..., outputs], dkernel[..., outputs])
    assert np.isnan(broken[..., ~outputs]).all()


def test_depthwise_is_convolution_channel_by_channel(isa: str, rng: Generator) -> None:
    x, kernel = normal(rng, 2, 9, 10, 4), normal(rng, 3, 2, 1, 8)
    options = geometry((2, 1), ((1, 0), (0, 1)), (1, 2))
    y = ops.conv2d_forward(x, kernel, **{**options, "groups": 4})
    for c in range(4):
        own = np.ascontiguousarray(kernel[..., 2 * c : 2 * c + 2])
        alone = ops.conv2d_forward(np.ascontiguousarray(x[..., c : c + 1]), own, **options)
        np.testing.assert_allclose(y[..., 2 * c : 2 * c + 2], alone, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- transposed


def check_transposed(rng: Generator, case: Any) -> None:
    """Compare the transposed convolution with the twin, and with the convolution by <conv(y), x> = <y, transposed(x)>."""
    y_shape, kernel_shape, options = case
    y, kernel, bias = normal(rng, *y_shape), normal(rng, *kernel_shape), normal(rng, y_shape[-1])
    small = ops.conv2d_forward(y, kernel, **options)
    x, size = normal(rng, *small.shape), y_shape[1:3]
    z = ops.conv2d_transpose_forward(x, kernel, size, **options)
    assert z.shape == y_shape
    scale = float(np.linalg.norm(small.astype(np.float64)) * np.linalg.norm(x) + 1)
    assert abs(np.vdot(double(small), double(x)) - np.vdot(double(y), double(z))) <= 1e-5 * scale
    assert_bits(ops.conv2d_transpose_forward(x, kernel, size, bias, **options), z + bias)
    wide, sizes = [double(v) for v in (x, kernel)], [abs(double(v)) for v in (x, kernel)]
    terms = kernel_shape[0] * kernel_shape[1] * kernel_shape[3] // options["groups"]
    scale_of = reference.conv2d_transpose_forward(*sizes, size, **options)
    exact = reference.conv2d_transpose_forward(*wide, size, **options)
    assert_close(z, exact, bound("product", scale_of, terms), f"{case}")


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_transposed_convolution(isa: str, rng: Generator, case: Any) -> None:
    check_transposed(rng, case)


def test_random_transposed_convolutions(isa: str, rng: Generator) -> None:
    for _ in range(60):
        check_transposed(rng, random_convolution(rng, 11))
        check_transposed(rng, random_depthwise(rng, 8))


@pytest.mark.parametrize("activation", ["relu", "elu", "sigmoid", "silu"])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_bias_and_activation_of_the_transpose_change_no_bits(
    isa: str, rng: Generator, activation: str, strides: Any
) -> None:
    x, kernel, bias = (
        normal(rng, 3, 4, 5, 6),
        normal(rng, 1, 2, 19, 6),
        normal(rng, 19),
    )  # some of y is reached by no tap
    size, options = (4 * strides[0], 5 * strides[1]), geometry(strides, ((0, 0), (0, 1)))
    for b in (None, bias):
        linear = ops.conv2d_transpose_forward(x, kernel, size, b, **options)
        fused = ops.conv2d_transpose_forward(x, kernel, size, b, activation=activation, alpha=ALPHA, **options)
        assert_bits(fused, ops.activation_forward(linear, activation, ALPHA))


# ---------------------------------------------------------------- three axes


def volume_by_loops(x: Array, kernel: Array, options: dict[str, Any]) -> Array:
    """Return a 3-D convolution straight from its definition."""
    n, groups, (t, r, s, depth, k) = len(x), options["groups"], kernel.shape
    padded = np.pad(x, ((0, 0), *options["padding"], (0, 0)))
    sizes = [
        (padded.shape[1 + i] - options["dilation"][i] * (kernel.shape[i] - 1) - 1) // options["strides"][i] + 1
        for i in range(3)
    ]
    y = np.zeros((n, *sizes, k))
    for place in np.ndindex(*sizes):
        for tap in np.ndindex(t, r, s):
            at = [p * a + w * d for p, a, w, d in zip(place, options["strides"], tap, options["dilation"], strict=True)]
            pixel = padded[:, at[0], at[1], at[2]]
            for j in range(k):
                first = j // (k // groups) * depth
                y[:, *place, j] += pixel[:, first : first + depth] @ kernel[*tap, :, j]
    return y


def check_volume(rng: Generator, case: Volume) -> None:
    """Compare forward, both gradients and the transpose with the twin."""
    x_shape, kernel_shape, options = case
    taps, outputs = int(np.prod(kernel_shape[:4])), kernel_shape[4]
    x, kernel, bias = normal(rng, *x_shape), normal(rng, *kernel_shape), normal(rng, outputs)
    wide, sizes = [double(v) for v in (x, kernel, bias)], [abs(double(v)) for v in (x, kernel, bias)]
    y = ops.conv3d_forward(x, kernel, bias, **options)
    limit = bound("product", reference.conv3d_forward(*sizes, **options), taps + 1)
    assert_close(y, reference.conv3d_forward(*wide, **options), limit, f"forward {case}")

    dy = normal(rng, *y.shape)
    dx = ops.conv3d_backward_input(dy, kernel, x_shape, **options)
    terms = taps // kernel_shape[3] * outputs // options["groups"]
    scale = reference.conv3d_backward_input(abs(double(dy)), sizes[1], x_shape, **options)
    expected = reference.conv3d_backward_input(double(dy), wide[1], x_shape, **options)
    assert_close(dx, expected, bound("product", scale, terms), f"backward_input {case}")
    fused = ops.conv3d_backward_input(dy, kernel, x_shape, **options, relu_output=x)
    assert_bits(fused, ops.activation_backward(dx, None, x, "relu"))
    shift = normal(rng, x_shape[-1])
    moved = ops.conv3d_transpose_forward(dy, kernel, x_shape[1:4], shift, activation="elu", alpha=ALPHA, **options)
    assert_bits(ops.conv3d_transpose_forward(dy, kernel, x_shape[1:4], **options), dx)
    assert_bits(moved, ops.activation_forward(dx + shift, "elu", ALPHA))

    found, exact, scales = [
        [np.full(s, np.nan, t) for s in (kernel_shape, outputs)] for t in (np.float32, np.float64, np.float64)
    ]
    ops.conv3d_backward_filter(x, dy, *found, **options)
    reference.conv3d_backward_filter(wide[0], double(dy), *exact, **options)
    reference.conv3d_backward_filter(sizes[0], abs(double(dy)), *scales, **options)
    for got, want, scale in zip(found, exact, scales, strict=True):
        assert_close(got, want, bound("product", scale, dy.size // outputs), f"backward_filter {case}")


@pytest.mark.parametrize("case", VOLUMES.values(), ids=VOLUMES)
def test_volumes(isa: str, rng: Generator, case: Volume) -> None:
    check_volume(rng, case)


def test_random_volumes(isa: str, rng: Generator) -> None:
    for _ in range(40):
        check_volume(rng, random_volume(rng, 7))
    check_volume(rng, ((0, 3, 4, 5, 2), (2, 2, 2, 2, 3), volume_geometry()))


def test_the_twin_of_volumes_by_loops(rng: Generator) -> None:
    for _ in range(12):
        x_shape, kernel_shape, options = random_volume(rng, 5)
        x, kernel = rng.standard_normal(x_shape), rng.standard_normal(kernel_shape)
        found = reference.conv3d_forward(x, kernel, **options)
        np.testing.assert_allclose(found, volume_by_loops(x, kernel, options), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("label", VOLUMES)
def test_gradients_of_volumes_are_slopes(isa: str, rng: Generator, label: str) -> None:
    _, kernel_shape, options = VOLUMES[label]
    x = normal(rng, 1, 6, 5, 4, kernel_shape[3] * options["groups"])
    kernel, bias = normal(rng, *kernel_shape), normal(rng, kernel_shape[4])
    dy = normal(rng, *ops.conv3d_forward(x, kernel, **options).shape)
    dkernel, dbias = np.empty(kernel_shape, np.float32), np.empty(kernel_shape[4], np.float32)
    ops.conv3d_backward_filter(x, dy, dkernel, dbias, **options)
    arguments = [double(v) for v in (x, kernel, bias)]
    for i, gradient in enumerate((ops.conv3d_backward_input(dy, kernel, x.shape, **options), dkernel, dbias)):
        v = rng.standard_normal(gradient.shape)

        def at(step: float, i: int = i, v: Array = v) -> float:
            moved = [a + step * v if j == i else a for j, a in enumerate(arguments)]
            return float(np.vdot(double(dy), reference.conv3d_forward(*moved, **options)))

        assert_gradient(gradient, (at(STEP) - at(-STEP)) / (2 * STEP), v, ("dx", "dkernel", "dbias")[i])


# ---------------------------------------------------------------- errors

X, KERNEL = np.zeros((2, 5, 6, 4, 3), np.float32), np.zeros((2, 3, 2, 3, 8), np.float32)
SMALL, FLAT = np.zeros((2, 3, 5, 8), np.float32), np.zeros((3, 2, 4, 8), np.float32)
WRONG: dict[str, tuple[Any, str]] = {
    "rank": (
        lambda: ops.conv3d_forward(X[0], KERNEL),
        r"conv3d_forward: expected x of rank 5, got shape \(5, 6, 4, 3\)",
    ),
    "channels": (
        lambda: ops.conv3d_forward(X, KERNEL, groups=2),
        r"conv3d_forward: expected a kernel of shape \(T, R, S, 3 / 2, K\), got \(2, 3, 2, 3, 8\)",
    ),
    "volume too small": (
        lambda: ops.conv3d_forward(X, KERNEL, dilation=(5, 1, 1)),
        r"expected an image at least as large as the window \(2, 3, 2\) \(dilation \(5, 1, 1\)\), got 5 x 6 x 4 with",
    ),
    "stride": (lambda: ops.conv3d_forward(X, KERNEL, strides=(0, 1, 1)), "expected strides and dilation >= 1"),
    "dy": (
        lambda: ops.conv3d_backward_input(X, KERNEL, X.shape),
        r"conv3d_backward_input: expected dy of shape \(2, 4, 4, 3, 8\), got \(2, 5, 6, 4, 3\)",
    ),
    "filter": (
        lambda: ops.conv3d_backward_filter(X, X, KERNEL.copy()),
        r"conv3d_backward_filter: expected dy of shape \(2, 4, 4, 3, 8\), got \(2, 5, 6, 4, 3\)",
    ),
    "size in 3 axes": (
        lambda: ops.conv3d_transpose_forward(np.zeros((2, 4, 4, 3, 8), np.float32), KERNEL, (5, 6, 5)),
        r"conv3d_transpose_forward: expected x of shape \(2, 4, 4, 4, 8\), got \(2, 4, 4, 3, 8\)",
    ),
    "size": (
        lambda: ops.conv2d_transpose_forward(SMALL, FLAT, (6, 6)),
        r"conv2d_transpose_forward: expected x of shape \(2, 4, 5, 8\), got \(2, 3, 5, 8\)",
    ),
    "bias": (lambda: ops.conv2d_transpose_forward(SMALL, FLAT, (5, 6), SMALL[0, 0, 0]), "bias of 4 elements, got 8"),
    "activation": (
        lambda: ops.conv2d_transpose_forward(SMALL, FLAT, (5, 6), activation="none"),
        "expected the name of an activation",
    ),
}


@pytest.mark.parametrize(("call", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()
