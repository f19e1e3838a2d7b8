"""Max, average and global average pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import STEP
from ops_calls import Array, Generator, Pooling, double, lanes, normal, pool, random_pooling
from tolerances import assert_bits, assert_close, assert_gradient, bound

from fastnn import ops, reference

Pair = tuple[int, int]


CASES: dict[str, Pooling] = {
    "2 x 2": ((2, 8, 10, 19), pool((2, 2), (2, 2))),
    "2 x 2, odd image": ((2, 7, 9, 5), pool((2, 2), (2, 2), ((0, 1), (0, 1)))),
    "3 x 3": ((2, 9, 11, 7), pool((3, 3), (3, 3))),
    "3 x 3 overlapping": ((2, 8, 9, 17), pool((3, 3), (2, 2), ((0, 1), (1, 1)))),
    "3 x 3 stride 1": ((1, 6, 7, 3), pool((3, 3), (1, 1), ((1, 1), (1, 1)))),
    "overlapping one way": ((2, 7, 9, 3), pool((3, 2), (2, 2), ((1, 0), (0, 1)))),
    "asymmetric padding": ((1, 5, 6, 2), pool((2, 4), (3, 2), ((0, 1), (1, 2)))),
    "all the padding there may be": ((2, 3, 4, 5), pool((4, 3), (1, 2), ((3, 3), (2, 2)))),
    "gaps": ((2, 11, 13, 4), pool((2, 1), (3, 5))),
    "gaps and rest": ((1, 12, 9, 9), pool((2, 2), (5, 3), ((1, 0), (0, 1)))),
    "whole image": ((2, 3, 4, 33), pool((3, 4), (1, 1))),
    "window beyond the image": ((2, 1, 2, 3), pool((3, 4), (1, 2), ((1, 1), (2, 1)))),
    "large windows": ((3, 9, 13, 20), pool((4, 5), (4, 5))),
    "large windows, gaps and rest": ((2, 13, 9, 3), pool((4, 4), (5, 4))),
    "large windows beyond the image": ((2, 10, 11, 5), pool((4, 4), (4, 4), ((0, 2), (0, 1)))),
    "a whole image of more than 256 pixels": ((2, 18, 17, 6), pool((18, 17), (1, 1))),
    "1 x 1": ((2, 4, 3, 6), pool((1, 1), (1, 1))),
    "1 x 1 strided": ((2, 5, 4, 6), pool((1, 1), (2, 3))),
    "256 pixels": ((1, 17, 20, 3), pool((16, 16), (1, 3))),
    "more than 256 pixels": ((2, 24, 20, 5), pool((17, 16), (3, 4), ((1, 2), (0, 3)))),
    "3 wide, odd image": ((2, 9, 13, 20), pool((2, 3), (2, 2))),
    "one row": ((3, 1, 23, 5), pool((1, 4), (1, 3), ((0, 0), (2, 1)))),
    "one column": ((3, 23, 1, 5), pool((5, 1), (4, 1), ((1, 2), (0, 0)))),
    "no images": ((0, 4, 4, 3), pool((2, 2), (2, 2))),
    "no channels": ((2, 4, 4, 0), pool((2, 2), (2, 2))),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
real_case = pytest.mark.parametrize("label", [label for label, case in CASES.items() if np.prod(case[0])])


def overlap(options: dict[str, Any]) -> int:
    """Return how many windows may share a pixel."""
    size, strides = options["pool_size"], options["strides"]
    return int(np.prod([-(-size[i] // strides[i]) for i in (0, 1)]))


def check_max(x: Array, dy_of: Any, options: dict[str, Any], what: str) -> None:
    """Compare max pooling and its gradient with the twin: every value and index the same."""
    y, index = ops.max_pool2d_forward(x, **options)
    expected, places = reference.max_pool2d_forward(double(x), **options)
    assert (y.dtype, index.dtype) == (np.float32, places.dtype)
    np.testing.assert_array_equal(y, expected, err_msg=what)
    np.testing.assert_array_equal(index, places, err_msg=what)
    dy = dy_of(y.shape)
    dx = ops.max_pool2d_backward(dy, index, x.shape, **options)
    want = reference.max_pool2d_backward(double(dy), index, x.shape, **options)
    scale = reference.max_pool2d_backward(abs(double(dy)), index, x.shape, **options)
    assert_close(dx, want, bound("sum", scale, overlap(options)), what)
    relu_y = np.where(np.isnan(y), np.nan, np.maximum(y, 0))
    dx = ops.max_pool2d_backward(dy, index, x.shape, relu_y, **options)
    want = reference.max_pool2d_backward(double(dy), index, x.shape, double(relu_y), **options)
    assert_close(dx, want, bound("sum", scale, overlap(options)), f"{what} behind a relu")


def check_average(x: Array, dy_of: Any, options: dict[str, Any], what: str) -> None:
    """Compare average pooling and its gradient with the twin."""
    y = ops.avg_pool2d_forward(x, **options)
    scale = reference.avg_pool2d_forward(abs(double(x)), **options)
    limit = bound("mean", scale, int(np.prod(options["pool_size"])))
    assert_close(y, reference.avg_pool2d_forward(double(x), **options), limit, what)
    dy = dy_of(y.shape)
    dx = ops.avg_pool2d_backward(dy, x.shape, **options)
    want = reference.avg_pool2d_backward(double(dy), x.shape, **options)
    scale = reference.avg_pool2d_backward(abs(double(dy)), x.shape, **options)
    assert_close(dx, want, bound("mean", scale, overlap(options)), what)


@every_case
def test_pooling(isa: str, rng: Generator, case: Pooling) -> None:
    shape, options = case
    gradient = lambda y_shape: normal(rng, *y_shape)  # noqa: E731
    check_max(normal(rng, *shape), gradient, options, "max")
    check_average(normal(rng, *shape), gradient, options, "average")


def test_channels_around_a_vector(isa: str, rng: Generator) -> None:
    width = lanes()
    gradient = lambda y_shape: normal(rng, *y_shape)  # noqa: E731
    for channels in (1, 2, 3, width - 1, width, width + 1, 2 * width - 1, 2 * width, 4 * width + 1):
        for label in ("2 x 2, odd image", "3 x 3 overlapping", "gaps and rest", "asymmetric padding"):
            (n, h, w, _), options = CASES[label]
            check_max(normal(rng, n, h, w, channels), gradient, options, f"max {label} {channels}")
            check_average(normal(rng, n, h, w, channels), gradient, options, f"average {label} {channels}")


def test_random_poolings(isa: str, rng: Generator) -> None:
    gradient = lambda y_shape: normal(rng, *y_shape)  # noqa: E731
    for _ in range(150):
        shape, options = random_pooling(rng, 11)
        check_max(np.round(normal(rng, *shape) * 2), gradient, options, f"max {shape} {options}")
        check_average(normal(rng, *shape), gradient, options, f"average {shape} {options}")


@real_case
@pytest.mark.parametrize("special", [np.nan, -np.inf, np.inf])
def test_max_of_ties_and_special_values(isa: str, rng: Generator, label: str, special: float) -> None:
    shape, options = CASES[label]
    x = np.round(normal(rng, *shape) * 2)
    x[rng.random(shape) < (0.6 if special < 0 else 0.1)] = special
    check_max(x, lambda y_shape: normal(rng, *y_shape), options, label)


def test_nothing_is_larger_than_minus_infinity(isa: str) -> None:
    x = np.full((1, 4, 4, 3), -np.inf, np.float32)
    y, index = ops.max_pool2d_forward(x, **pool((3, 3), (2, 2), ((1, 1), (1, 1))))
    assert (y == -np.inf).all()
    np.testing.assert_array_equal(index[0, :, :, 0], [[4, 3], [1, 0]])  # the first pixel that is not padding


def test_a_relu_before_a_maximum(isa: str, rng: Generator) -> None:
    """The fused gradient is that of the pooling followed by that of the relu."""
    for label in ("2 x 2", "2 x 2, odd image", "3 x 3 overlapping", "asymmetric padding", "more than 256 pixels"):
        shape, options = CASES[label]
        x = normal(rng, *shape) - 0.5
        relu = ops.activation_forward(x, "relu")
        y, index = ops.max_pool2d_forward(relu, **options)
        dy = normal(rng, *y.shape)
        separate = ops.activation_backward(ops.max_pool2d_backward(dy, index, shape, **options), None, relu, "relu")
        np.testing.assert_array_equal(ops.max_pool2d_backward(dy, index, shape, y, **options), separate, err_msg=label)


@real_case
def test_gradients_are_slopes(isa: str, rng: Generator, label: str) -> None:
    shape, options = CASES[label]
    # Different everywhere by much more than the step, so that no maximum changes its place.
    x = (rng.permutation(int(np.prod(shape))).reshape(shape) / 64).astype(np.float32)
    y, index = ops.max_pool2d_forward(x, **options)
    dy, v = normal(rng, *y.shape), rng.uniform(-1, 1, shape)
    slopes = {
        "max": (
            ops.max_pool2d_backward(dy, index, shape, **options),
            lambda z: reference.max_pool2d_forward(z, **options)[0],
        ),
        "average": (
            ops.avg_pool2d_backward(dy, shape, **options),
            lambda z: reference.avg_pool2d_forward(z, **options),
        ),
    }
    for what, (dx, forward) in slopes.items():
        ahead, behind = forward(double(x) + STEP * v), forward(double(x) - STEP * v)
        assert_gradient(dx, float(np.vdot(double(dy), (ahead - behind) / (2 * STEP))), v, what)


@pytest.mark.parametrize("label", ["2 x 2", "3 x 3 overlapping", "gaps and rest", "asymmetric padding"])
def test_an_image_does_not_see_the_others(isa: str, rng: Generator, label: str) -> None:
    (_, h, w, c), options = CASES[label]
    x = normal(rng, 6, h, w, c)
    x[2] = np.nan
    y, index = ops.max_pool2d_forward(x, **options)
    mean, dy = ops.avg_pool2d_forward(x, **options), normal(rng, *y.shape)
    dy[4] = np.inf
    dmax = ops.max_pool2d_backward(dy, index, x.shape, **options)
    drelu = ops.max_pool2d_backward(dy, index, x.shape, y, **options)
    dmean = ops.avg_pool2d_backward(dy, x.shape, **options)
    for i in range(6):
        one = slice(i, i + 1)
        alone, places = ops.max_pool2d_forward(x[one], **options)
        assert_bits(alone, y[one])
        assert_bits(places, index[one])
        assert_bits(ops.avg_pool2d_forward(x[one], **options), mean[one])
        assert_bits(ops.max_pool2d_backward(dy[one], index[one], (1, h, w, c), **options), dmax[one])
        fused = ops.max_pool2d_backward(dy[one], index[one], (1, h, w, c), y[one], **options)
        assert_bits(fused, drelu[one])
        assert_bits(ops.avg_pool2d_backward(dy[one], (1, h, w, c), **options), dmean[one])
    assert np.isfinite(mean[[0, 1, 3, 4, 5]]).all()
    assert np.isfinite(dmean[[0, 1, 2, 3, 5]]).all()


@pytest.mark.parametrize("size", [(2, 2), (4, 5), (17, 19)])
def test_an_index_outside_of_its_window_gets_nothing(isa: str, rng: Generator, size: Pair) -> None:
    options = pool(size, size, ((0, 1), (0, 1)))
    shape = (2, 2 * size[0] - 1, 2 * size[1] - 1, 7)
    x = normal(rng, *shape)
    y, index = ops.max_pool2d_forward(x, **options)
    dy = normal(rng, *y.shape)
    want = ops.max_pool2d_backward(dy, index, shape, **options)
    strange = index.copy()
    strange[0, 0, 0, 3] = np.iinfo(index.dtype).max
    strange[1, 1, 1, 6] = size[0] * size[1] - 1  # a pixel beyond the image
    strange[0, 1, 0, 0] = np.iinfo(index.dtype).min if index.dtype == np.int32 else 255
    dy_there = dy.copy()
    for place in ((0, 0, 0, 3), (1, 1, 1, 6), (0, 1, 0, 0)):
        dy_there[place] = 0
    got = ops.max_pool2d_backward(dy, strange, shape, **options)
    np.testing.assert_array_equal(got, ops.max_pool2d_backward(dy_there, index, shape, **options))
    assert (got != want).any()


@pytest.mark.parametrize("pixels", [(1, 1), (1, 7), (9, 7), (13, 5), (40, 53)])
def test_global_average(isa: str, rng: Generator, pixels: Pair) -> None:
    width = lanes()
    for n in (0, 1, 3):
        for channels in (0, 1, width - 1, width, width + 1, 4 * width, 5 * width + 3):
            shape = (n, *pixels, channels)
            x, dy = normal(rng, *shape), normal(rng, n, channels)
            y = ops.global_average_pool2d_forward(x)
            scale = reference.global_average_pool2d_forward(abs(double(x)))
            limit = bound("mean", scale, pixels[0] * pixels[1])
            assert_close(y, reference.global_average_pool2d_forward(double(x)), limit, str(shape))
            dx = ops.global_average_pool2d_backward(dy, shape)
            want = reference.global_average_pool2d_backward(double(dy), shape)
            assert_close(dx, want, bound("rounded", want), str(shape))
            for i in range(n):
                assert_bits(ops.global_average_pool2d_forward(x[i : i + 1])[0], y[i])
                assert_bits(ops.global_average_pool2d_backward(dy[i : i + 1], (1, *shape[1:]))[0], dx[i])


def test_global_average_gradient_is_the_slope(isa: str, rng: Generator) -> None:
    x, dy, v = normal(rng, 2, 5, 7, 19), normal(rng, 2, 19), rng.standard_normal((2, 5, 7, 19))
    forward = reference.global_average_pool2d_forward
    slope = np.vdot(double(dy), (forward(double(x) + STEP * v) - forward(double(x) - STEP * v)) / (2 * STEP))
    assert_gradient(ops.global_average_pool2d_backward(dy, x.shape), float(slope), v)


X, DY, INDEX = np.zeros((2, 5, 6, 3), np.float32), np.zeros((2, 2, 3, 3), np.float32), np.zeros((2, 2, 3, 3), np.uint8)
TWO = pool((2, 2), (2, 2))
WRONG: dict[str, tuple[Any, str]] = {
    "max rank": (
        lambda: ops.max_pool2d_forward(X[0], **TWO),
        r"max_pool2d_forward: expected x of shape \(N, H, W, C\), got",
    ),
    "average rank": (lambda: ops.avg_pool2d_forward(X[0], **TWO), r"avg_pool2d_forward: expected x of shape .*, got"),
    "global rank": (
        lambda: ops.global_average_pool2d_forward(X[0]),
        "global_average_pool2d_forward: expected x of rank 4",
    ),
    "max window": (
        lambda: ops.max_pool2d_forward(X, **pool((6, 2), (1, 1))),
        "max_pool2d_forward: expected an image at least as large as the window .*, got 5 x 6 .*; use padding='same'",
    ),
    "average window": (
        lambda: ops.avg_pool2d_forward(X, **pool((2, 7), (1, 1))),
        "avg_pool2d_forward: expected an image at least as large as the window .*, got 5 x 6 .*; use padding='same'",
    ),
    "padding": (
        lambda: ops.max_pool2d_forward(X, **pool((2, 2), (1, 1), ((2, 0), (0, 0)))),
        "expected padding smaller",
    ),
    "window in the padding": (
        lambda: ops.avg_pool2d_forward(X, **pool((2, 2), (2, 2), ((0, 3), (0, 0)))),
        "expected windows that meet the image",
    ),
    "max dy": (
        lambda: ops.max_pool2d_backward(DY[:1], INDEX, X.shape, **TWO),
        r"max_pool2d_backward: expected dy of shape \(2, 2, 3, 3\), got \(1, 2, 3, 3\)",
    ),
    "max relu_y": (
        lambda: ops.max_pool2d_backward(DY, INDEX, X.shape, DY[:1], **TWO),
        r"max_pool2d_backward: expected relu_y of shape \(2, 2, 3, 3\), got \(1, 2, 3, 3\)",
    ),
    "max x_shape": (lambda: ops.max_pool2d_backward(DY, INDEX, (2, 2, 2, 3), **TWO), "expected windows that meet"),
    "average dy": (
        lambda: ops.avg_pool2d_backward(DY, (2, 6, 6, 3), **TWO),
        r"avg_pool2d_backward: expected dy of shape \(2, 3, 3, 3\), got \(2, 2, 3, 3\)",
    ),
    "global dy": (lambda: ops.global_average_pool2d_backward(DY, X.shape), "expected dy of 6 elements, got 36"),
}


@pytest.mark.parametrize(("call", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()


def test_wrong_dtypes() -> None:
    with pytest.raises(TypeError, match="expected index as an aligned, C-contiguous array"):
        ops.max_pool2d_backward(DY, INDEX.astype(np.int32), X.shape, **TWO)
    for forward in (ops.max_pool2d_forward, ops.avg_pool2d_forward):
        with pytest.raises(TypeError, match=r"pool2d_forward: expected x of a real dtype .*, got dtype complex64"):
            forward(X * 1j, **TWO)
