"""A convolution and the max pooling of its output as one: as the two one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops_calls import ALPHA, CONVOLUTIONS, Array, Convolution, Generator, double, geometry, lanes, normal
from pooled_calls import POOLED, Pooled, output_of, random_pooled
from tolerances import assert_bits, assert_close, bound

from fastnn import ops, reference


def windows_of(case: Pooled) -> dict[str, Any]:
    """Return the options of the pooling alone."""
    return {"pool_size": case.window, "strides": case.window}


def check(rng: Generator, case: Pooled, activation: str = "relu") -> None:
    """Compare forward with the two ops, to the bit, and the gradients with the twin."""
    x_shape, kernel_shape, options = case.convolution
    x, kernel, bias = normal(rng, *x_shape), normal(rng, *kernel_shape), normal(rng, kernel_shape[3])
    f = {"activation": activation, "alpha": ALPHA}
    y, index = ops.max_pooled_conv2d_forward(x, kernel, bias, pool_size=case.window, **options, **f)
    full = ops.conv2d_forward(x, kernel, bias, **options, **f)
    expected_y, expected_index = ops.max_pool2d_forward(full, **windows_of(case))
    assert_bits(y, expected_y)
    assert_bits(index, expected_index)

    dy, relu_y = normal(rng, *y.shape), y if activation == "relu" else None
    dz = ops.max_pool2d_backward(dy, index, full.shape, relu_y, **windows_of(case))
    given = (dy, index, relu_y)
    dx = ops.max_pooled_conv2d_backward_input(*given, kernel, x_shape, pool_size=case.window, **options)
    wide = double(dz), double(kernel)
    expected = reference.conv2d_backward_input(*wide, x_shape, **options)
    scale = reference.conv2d_backward_input(abs(wide[0]), abs(wide[1]), x_shape, **options)
    terms = kernel_shape[0] * kernel_shape[1] * kernel_shape[3] // options["groups"]
    assert_close(dx, expected, bound("product", scale, terms), f"backward_input {case}")
    behind = {"pool_size": case.window, "relu_output": x}
    fused = ops.max_pooled_conv2d_backward_input(*given, kernel, x_shape, **behind, **options)
    assert_bits(fused, ops.activation_backward(dx, None, x, "relu"))

    shapes = kernel_shape, kernel_shape[3:]
    found = [np.full(s, np.nan, np.float32) for s in shapes]
    ops.max_pooled_conv2d_backward_filter(x, *given, *found, pool_size=case.window, **options)
    exact, sizes = [np.empty(s) for s in shapes], [np.empty(s) for s in shapes]
    reference.conv2d_backward_filter(double(x), wide[0], *exact, **options)
    reference.conv2d_backward_filter(abs(double(x)), abs(wide[0]), *sizes, **options)
    for got, want, scale in zip(found, exact, sizes, strict=True):
        assert_close(got, want, bound("product", scale, dz.size // kernel_shape[3]), f"backward_filter {case}")


@pytest.mark.parametrize("activation", ["relu", "linear", "tanh", "elu"])
@pytest.mark.parametrize("case", POOLED.values(), ids=POOLED)
def test_pooled_convolution(isa: str, rng: Generator, case: Pooled, activation: str) -> None:
    check(rng, case, activation)


def test_random_pooled_convolutions(isa: str, rng: Generator) -> None:
    for _ in range(150):
        check(rng, random_pooled(rng, 19))


def test_channels_around_a_vector(isa: str, rng: Generator) -> None:
    width = lanes()
    for outputs in (1, 2, 3, width // 2, width - 1, width, width + 1, 2 * width, 2 * width + 3):
        for columns in (7, 12, 33):
            convolution = ((2, 9, columns, 2), (3, 2, 2, outputs), geometry(padding=((1, 1), (1, 0))))
            check(rng, Pooled(convolution, (2, 2)))


@pytest.mark.parametrize("label", ["stride 1", "groups", "depthwise"])
def test_pixels_in_no_window_do_not_count(isa: str, rng: Generator, label: str) -> None:
    x_shape, kernel_shape, options = CONVOLUTIONS[label]
    x, kernel = normal(rng, *x_shape), normal(rng, *kernel_shape)
    size = output_of((x_shape, kernel_shape, options))
    window = (size[0] // 2, size[1] // 2)  # leaves at most a row and a column out
    y, index = ops.max_pooled_conv2d_forward(x, kernel, pool_size=window, **options)
    assert y.shape == (x_shape[0], 2, 2, kernel_shape[3])
    dy = normal(rng, *y.shape)
    dx = ops.max_pooled_conv2d_backward_input(dy, index, None, kernel, x_shape, pool_size=window, **options)
    dz = ops.max_pool2d_backward(dy, index, (x_shape[0], *size, kernel_shape[3]), pool_size=window, strides=window)
    np.testing.assert_allclose(dx, ops.conv2d_backward_input(dz, kernel, x_shape, **options), rtol=1e-4, atol=1e-4)


def test_a_nan_wins(isa: str, rng: Generator) -> None:
    for outputs in (3, lanes() + 1):
        x, kernel = normal(rng, 2, 12, 14, 2), normal(rng, 3, 3, 2, outputs)
        x[1, 5, 6, 0] = np.nan
        y, index = ops.max_pooled_conv2d_forward(x, kernel, pool_size=(2, 2), activation="relu")
        full = ops.conv2d_forward(x, kernel, activation="relu")
        expected, places = ops.max_pool2d_forward(full, pool_size=(2, 2), strides=(2, 2))
        assert np.isnan(y).any()
        assert_bits(y, expected)
        assert_bits(index, places)


def test_the_gradient_goes_to_the_first_of_equals(isa: str, rng: Generator) -> None:
    x, kernel = np.ones((1, 8, 8, 1), np.float32), np.ones((1, 1, 1, 3), np.float32)
    y, index = ops.max_pooled_conv2d_forward(x, kernel, pool_size=(2, 2))
    assert not index.any()
    dx = ops.max_pooled_conv2d_backward_input(np.ones_like(y), index, None, kernel, x.shape, pool_size=(2, 2))
    assert_bits(dx[0, ::2, ::2, 0], np.full((4, 4), 3, np.float32))
    assert dx.sum() == 48


def given() -> tuple[Array, Array, Array, Array]:
    x, kernel = np.ones((2, 7, 9, 3), np.float32), np.ones((3, 2, 3, 4), np.float32)
    y, index = ops.max_pooled_conv2d_forward(x, kernel, pool_size=(2, 3))
    return x, kernel, y, index


@pytest.mark.parametrize("size", [(0, 2), (2, -1), (17, 16), (6, 1), (1, 9)])
def test_windows_that_do_not_fit(size: tuple[int, int]) -> None:
    x, kernel, _, _ = given()
    with pytest.raises(ValueError, match="max_pooled_conv2d_forward: expected"):
        ops.max_pooled_conv2d_forward(x, kernel, pool_size=size)


def test_gradients_of_another_shape() -> None:
    x, kernel, y, index = given()
    options: dict[str, Any] = {"pool_size": (2, 3)}
    dkernel = np.empty_like(kernel)
    for dy, places, relu_y in ((y[:1], index, None), (y, index[:1], None), (y, index, y[:1])):
        with pytest.raises(ValueError, match="of shape"):
            ops.max_pooled_conv2d_backward_input(dy, places, relu_y, kernel, x.shape, **options)
        with pytest.raises(ValueError, match="of shape"):
            ops.max_pooled_conv2d_backward_filter(x, dy, places, relu_y, dkernel, **options)


def test_no_images(isa: str, rng: Generator) -> None:
    convolution: Convolution = ((0, 7, 9, 3), (3, 2, 3, 4), geometry())
    check(rng, Pooled(convolution, (2, 2)))
