"""2-D convolution: forward, both gradients, the bias."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import STEP
from ops_calls import ALPHA, Array, Convolution, Generator, double, geometry, lanes, normal, random_convolution
from tolerances import assert_bits, assert_close, assert_gradient, bound

from fastnn import ops, reference

CASES: dict[str, Convolution] = {
    "all different": ((2, 7, 9, 3), (3, 2, 3, 5), geometry((2, 3), ((1, 2), (0, 3)), (2, 1))),
    "one pixel": ((1, 1, 1, 1), (1, 1, 1, 1), geometry()),
    "pointwise": ((3, 5, 7, 19), (1, 1, 19, 37), geometry()),
    "pointwise strided": ((2, 6, 9, 5), (1, 1, 5, 17), geometry((3, 2))),
    "pointwise padded": ((2, 4, 3, 5), (1, 1, 5, 6), geometry(padding=((1, 0), (0, 2)))),
    "pointwise groups": ((2, 3, 5, 12), (1, 1, 4, 9), geometry(groups=3)),
    "same": ((2, 8, 6, 16), (3, 3, 16, 32), geometry(padding=((1, 1), (1, 1)))),
    "same, even kernel": ((2, 5, 8, 3), (4, 2, 3, 33), geometry(padding=((1, 2), (0, 1)))),
    "dilated": ((1, 11, 13, 4), (3, 4, 4, 7), geometry(padding=((2, 1), (0, 3)), dilation=(2, 3))),
    "strided and dilated": ((2, 12, 11, 2), (2, 3, 2, 3), geometry((3, 2), ((0, 1), (2, 0)), (1, 3))),
    "groups": ((2, 5, 6, 4), (2, 3, 2, 6), geometry((1, 2), ((1, 0), (1, 2)), groups=2)),
    "groups, stride 1": ((2, 5, 6, 9), (3, 2, 3, 51), geometry(padding=((1, 1), (0, 1)), groups=3)),
    "depthwise": ((1, 5, 4, 3), (3, 2, 1, 6), geometry((2, 1), ((1, 1), (0, 0)), (1, 2), 3)),
    "depthwise, many channels": ((2, 6, 5, 37), (3, 3, 1, 37), geometry(padding=((1, 1), (1, 1)), groups=37)),
    "whole image": ((3, 4, 3, 5), (4, 3, 5, 21), geometry()),
    "stride beyond kernel": ((2, 8, 9, 2), (2, 1, 2, 3), geometry((3, 4))),
    "more padding than image": ((1, 1, 2, 2), (3, 2, 2, 2), geometry((2, 1), ((3, 2), (1, 4)))),
    "padding beyond the kernel": ((1, 3, 2, 2), (2, 1, 2, 3), geometry(padding=((4, 3), (2, 5)))),
    "long row of taps": ((1, 6, 7, 67), (3, 3, 67, 5), geometry(padding=((1, 0), (0, 1)))),
    "very long row of taps": ((2, 8, 7, 131), (5, 3, 131, 35), geometry(padding=((2, 2), (1, 1)))),
    "one row": ((2, 1, 40, 3), (1, 7, 3, 18), geometry((1, 2), ((0, 0), (3, 3)))),
    "one column": ((2, 40, 1, 3), (7, 1, 3, 18), geometry((2, 1), ((3, 3), (0, 0)))),
    "many pixels": ((3, 33, 29, 1), (3, 3, 1, 6), geometry()),
    "no images": ((0, 5, 6, 3), (2, 3, 3, 4), geometry()),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def check_against_twin(rng: Generator, case: Convolution) -> None:
    """Compare forward and both gradients with the twin."""
    x_shape, kernel_shape, options = case
    taps, outputs = int(np.prod(kernel_shape[:3])), kernel_shape[3]
    x, kernel, bias = normal(rng, *x_shape), normal(rng, *kernel_shape), normal(rng, outputs)
    wide = [double(v) for v in (x, kernel, bias)]
    size = [abs(v) for v in wide]

    y = ops.conv2d_forward(x, kernel, bias, **options)
    expected = reference.conv2d_forward(*wide, **options)
    scale = reference.conv2d_forward(*size, **options)
    assert_close(y, expected, bound("product", scale, taps + 1), f"forward {case}")

    dy = normal(rng, *y.shape)
    dx = ops.conv2d_backward_input(dy, kernel, x_shape, **options)
    expected = reference.conv2d_backward_input(double(dy), wide[1], x_shape, **options)
    scale = reference.conv2d_backward_input(abs(double(dy)), size[1], x_shape, **options)
    terms = kernel_shape[0] * kernel_shape[1] * outputs // options["groups"]
    assert_close(dx, expected, bound("product", scale, terms), f"backward_input {case}")
    fused = ops.conv2d_backward_input(dy, kernel, x_shape, **options, relu_output=x)
    assert_bits(fused, ops.activation_backward(dx, None, x, "relu"))
    if options["groups"] == 1:
        more = normal(rng, *x_shape)
        total = more.copy()
        assert ops.conv2d_backward_input(dy, kernel, x_shape, **options, onto=total) is total
        limit = bound("product", scale + abs(double(more)), terms + 1)
        assert_close(total, expected + double(more), limit, f"backward_input onto another {case}")
        fused = ops.conv2d_backward_input(dy, kernel, x_shape, **options, relu_output=x, onto=more)
        assert_bits(fused, ops.activation_backward(total, None, x, "relu"))

    found, sizes = [[np.full(s, np.nan, t) for s in (kernel_shape, outputs)] for t in (np.float32, np.float64)]
    ops.conv2d_backward_filter(x, dy, *found, **options)
    exact = [np.empty(kernel_shape), np.empty(outputs)]
    reference.conv2d_backward_filter(wide[0], double(dy), *exact, **options)
    reference.conv2d_backward_filter(size[0], abs(double(dy)), *sizes, **options)
    for got, want, scale in zip(found, exact, sizes, strict=True):
        assert_close(got, want, bound("product", scale, dy.size // outputs), f"backward_filter {case}")


@every_case
def test_convolution(isa: str, rng: Generator, case: Convolution) -> None:
    check_against_twin(rng, case)


def test_channels_around_a_vector(isa: str, rng: Generator) -> None:
    width = lanes()
    for channels in (1, 2, width - 1, width, width + 1, 2 * width + 1):
        for outputs in (1, width - 1, width, width + 1, 2 * width, 2 * width + 3):
            check_against_twin(
                rng, ((1, 3, 5, channels), (2, 3, channels, outputs), geometry(padding=((0, 1), (1, 1))))
            )


@pytest.mark.parametrize("taps", [3, 5, 7])
def test_few_taps_beside_each_other(isa: str, rng: Generator, taps: int) -> None:
    # Several filter rows share a tile of the filter's gradient where all of them meet the image, here in some rows, one or none.
    width = lanes()
    for rows, height, options in (
        (3, 9, geometry(padding=((1, 1), (1, 2)))),
        (5, 9, geometry(padding=((2, 2), (0, 1)), strides=(1, 2))),
        (7, 8, geometry(padding=((3, 3), (2, 2)))),
        (4, 11, geometry(padding=((0, 5), (1, 1)), strides=(2, 1))),
        (2, 10, geometry(padding=((4, 0), (0, 0)), dilation=(3, 1))),
        (6, 2, geometry(padding=((5, 4), (3, 3)))),
    ):
        for outputs in (1, width // 2, width - 1, width, width + 1, 2 * width, 2 * width + width // 2):
            check_against_twin(rng, ((3, height, 9, 1), (rows, taps, 1, outputs), options))


@pytest.mark.parametrize(("depth", "outputs"), [(72, 16), (16, 72)])
def test_pointwise_convolution_larger_than_the_caches(isa: str, rng: Generator, depth: int, outputs: int) -> None:
    # Pixels are fetched before they are multiplied: past the last one there are none.
    x, kernel = normal(rng, 5, 99, 97, depth), normal(rng, 1, 1, depth, outputs)
    y = ops.conv2d_forward(x, kernel)
    dy, dkernel = normal(rng, *y.shape), np.zeros_like(kernel)
    dx = ops.conv2d_backward_input(dy, kernel, x.shape)
    for i in range(len(x)):
        assert_bits(ops.conv2d_forward(x[i : i + 1], kernel)[0], y[i])
        assert_bits(ops.conv2d_backward_input(dy[i : i + 1], kernel, (1, *x.shape[1:]))[0], dx[i])
    ops.conv2d_backward_filter(x, dy, dkernel)
    pixels, above = double(x).reshape(-1, depth), double(dy).reshape(-1, outputs)
    limit = bound("product", abs(pixels).T @ abs(above), len(pixels))
    assert_close(dkernel[0, 0], pixels.T @ above, limit, "backward_filter")


@pytest.mark.parametrize("depth", [90, 200, 451])
@pytest.mark.parametrize("groups", [1, 2])
def test_large_filters(isa: str, rng: Generator, depth: int, groups: int) -> None:
    # The gradient's sum over output rows is in fewer runs, and columns are shared out.
    options = geometry((1, 2), ((1, 0), (1, 1)), groups=groups)
    check_against_twin(rng, ((2, 5, 6, depth * groups), (2, 3, depth, 389 * groups), options))


@pytest.mark.parametrize("taps", [3, 5])
def test_taps_that_share_a_value(isa: str, rng: Generator, taps: int) -> None:
    # Stride 1 across, at most 16 filters: a value of the image meets all taps of a filter row in one tile.
    for columns in (*range(taps, 22), 32, 33, 47):
        channels, outputs = int(rng.integers(1, 20)), int(rng.integers(1, 18))
        padding = (
            (int(rng.integers(0, 3)), int(rng.integers(0, taps))),
            (int(rng.integers(0, taps)), int(rng.integers(0, 3))),
        )
        groups = int(rng.choice([1, 1, 2]))
        options = geometry((int(rng.integers(1, 3)), 1), padding, (int(rng.integers(1, 3)), 1), groups)
        kernel = (int(rng.integers(1, 4)), taps, channels, outputs * groups)
        check_against_twin(rng, ((2, int(rng.integers(6, 10)), columns, channels * groups), kernel, options))
    for outputs in (1, 7, 8, 9, 15, 16, 17):
        for channels in (2, 3, 8, 9, 10, 16):
            check_against_twin(
                rng, ((1, 5, 11, channels), (3, taps, channels, outputs), geometry(padding=((1, 1), (1, taps - 2))))
            )


@pytest.mark.parametrize(
    "case",
    [
        ((1, 0, 24, 8), (3, 3, 8, 5), geometry((2, 2), ((2, 2), (1, 1)))),
        ((0, 9, 24, 8), (3, 3, 8, 5), geometry((2, 2))),
        ((2, 9, 24, 8), (3, 3, 8, 0), geometry((2, 2))),
        ((9, 28, 28, 1), (3, 3, 1, 0), geometry()),
        ((0, 28, 28, 1), (3, 3, 1, 4), geometry()),
        ((2, 9, 9, 20), (3, 3, 20, 0), geometry()),
        ((2, 9, 24, 0), (3, 3, 0, 4), geometry((2, 2))),
    ],
)
def test_nothing_to_convolve(isa: str, rng: Generator, case: Convolution) -> None:
    x_shape, kernel_shape, options = case
    x, kernel, bias = normal(rng, *x_shape), normal(rng, *kernel_shape), normal(rng, kernel_shape[3])
    y = ops.conv2d_forward(x, kernel, bias, **options)
    wide = reference.conv2d_forward(double(x), double(kernel), double(bias), **options)
    assert y.shape == wide.shape
    dx = ops.conv2d_backward_input(np.ones_like(y), kernel, x_shape, **options)
    assert dx.shape == x_shape
    if y.size == 0:
        assert not dx.any()
    dkernel, dbias = np.full_like(kernel, np.nan), np.full_like(bias, np.nan)
    ops.conv2d_backward_filter(x, np.ones_like(y), dkernel, dbias, **options)
    assert_bits(dbias, np.full_like(bias, y.size // max(1, kernel_shape[3])))


@pytest.mark.parametrize("strides", [(2, 2), (1, 2), (2, 1), (3, 2), (2, 3)])
@pytest.mark.parametrize(
    ("channels", "outputs", "groups"), [(8, 5, 1), (16, 32, 1), (33, 7, 1), (34, 18, 2), (72, 64, 1)]
)
def test_strides(isa: str, rng: Generator, strides: tuple[int, int], channels: int, outputs: int, groups: int) -> None:
    # Rows long enough for tiles: the input gradient goes phase by phase.
    cases = (
        ((2, 13, 19), (3, 3), ((1, 1), (1, 1)), (1, 1)),
        ((1, 16, 24), (5, 4), ((3, 0), (0, 2)), (1, 1)),
        ((3, 9, 22), (2, 6), ((0, 1), (4, 5)), (1, 1)),
        ((1, 12, 33), (3, 3), ((2, 2), (2, 1)), (2, 3)),
        ((1, 40, 26), (4, 3), ((0, 0), (0, 0)), (3, 2)),
        ((1, 1, 41), (1, 5), ((0, 0), (2, 9)), (1, 1)),
    )
    for image, size, padding, dilation in cases:
        options = geometry(strides, padding, dilation, groups)
        check_against_twin(rng, ((*image, channels), (*size, channels // groups, outputs), options))


@pytest.mark.parametrize("column", [0, 1, 4, 7, 8])
def test_a_nan_reaches_the_taps_it_meets(isa: str, rng: Generator, column: int) -> None:
    x, kernel = normal(rng, 2, 6, 9, 4), normal(rng, 3, 5, 4, 12)
    options = geometry(padding=((1, 1), (1, 2)))
    dy = normal(rng, *ops.conv2d_forward(x, kernel, **options).shape)
    clean, found = np.empty_like(kernel), np.empty_like(kernel)
    ops.conv2d_backward_filter(x, dy, clean, **options)
    x[1, 5, column, 2] = np.nan
    ops.conv2d_backward_filter(x, dy, found, **options)
    hit = np.zeros(kernel.shape, bool)
    for tap in range(
        5
    ):  # output column q reads column q + tap - 1; the last row is beyond what the first filter row reads
        hit[1:, tap, 2] = 0 <= column + 1 - tap < dy.shape[2]
    np.testing.assert_array_equal(np.isnan(found), hit)
    np.testing.assert_array_equal(found[~hit], clean[~hit])


def test_random_convolutions(isa: str, rng: Generator) -> None:
    for _ in range(100):
        check_against_twin(rng, random_convolution(rng, 11))


@pytest.mark.parametrize("label", [label for label, case in CASES.items() if case[0][0] and "long" not in label])
def test_gradients_are_slopes(isa: str, rng: Generator, label: str) -> None:
    x_shape, kernel_shape, options = CASES[label]
    x, kernel, bias = normal(rng, *x_shape), normal(rng, *kernel_shape), normal(rng, kernel_shape[3])
    dy = normal(rng, *ops.conv2d_forward(x, kernel, **options).shape)
    dkernel, dbias = np.empty(kernel_shape, np.float32), np.empty(kernel_shape[3], np.float32)
    ops.conv2d_backward_filter(x, dy, dkernel, dbias, **options)
    arguments = [double(v) for v in (x, kernel, bias)]
    for i, gradient in enumerate((ops.conv2d_backward_input(dy, kernel, x_shape, **options), dkernel, dbias)):
        v = rng.standard_normal(gradient.shape)

        def at(step: float, i: int = i, v: Array = v) -> float:
            moved = [a + step * v if j == i else a for j, a in enumerate(arguments)]
            return float(np.vdot(double(dy), reference.conv2d_forward(*moved, **options)))

        assert_gradient(gradient, (at(STEP) - at(-STEP)) / (2 * STEP), v, ("dx", "dkernel", "dbias")[i])


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
@pytest.mark.parametrize("label", ["all different", "groups", "pointwise"])
def test_bias_and_activation_change_no_bits(isa: str, rng: Generator, activation: str, label: str) -> None:
    x_shape, kernel_shape, options = CASES[label]
    x, kernel = normal(rng, *x_shape), normal(rng, *kernel_shape)
    for bias in (None, normal(rng, kernel_shape[3])):
        linear = ops.conv2d_forward(x, kernel, bias, **options)
        fused = ops.conv2d_forward(x, kernel, bias, activation=activation, alpha=ALPHA, **options)
        assert_bits(fused, ops.activation_forward(linear, activation, ALPHA))


@pytest.mark.parametrize("label", ["all different", "same", "groups, stride 1", "pointwise", "very long row of taps"])
def test_an_image_does_not_see_the_others(isa: str, rng: Generator, label: str) -> None:
    x_shape, kernel_shape, options = CASES[label]
    x, kernel, bias = normal(rng, 7, *x_shape[1:]), normal(rng, *kernel_shape), normal(rng, kernel_shape[3])
    x[3] = np.nan
    y = ops.conv2d_forward(x, kernel, bias, activation="sigmoid", **options)
    dy = normal(rng, *y.shape)
    dy[3] = np.nan
    dx = ops.conv2d_backward_input(dy, kernel, x.shape, **options)
    for i in (0, 1, 2, 4, 5, 6):
        alone = ops.conv2d_forward(x[i : i + 1], kernel, bias, activation="sigmoid", **options)
        assert_bits(alone[0], y[i])
        assert_bits(ops.conv2d_backward_input(dy[i : i + 1], kernel, (1, *x.shape[1:]), **options)[0], dx[i])
    assert np.isfinite(dx[[0, 1, 2, 4, 5, 6]]).all()


def test_a_nan_reaches_the_windows_it_is_in(isa: str, rng: Generator) -> None:
    x, kernel = normal(rng, 2, 9, 8, 5), normal(rng, 3, 2, 5, 19)
    options = geometry((2, 1), ((1, 0), (0, 1)))
    clean = ops.conv2d_forward(x, kernel, **options)
    x[1, 4, 6, 3] = np.nan
    y = ops.conv2d_forward(x, kernel, **options)
    hit = np.zeros(y.shape, bool)
    hit[1, 2, 5:7] = True  # row 4 lies in the window of rows 3 to 5, column 6 in those from columns 5 and 6
    assert np.isnan(y[hit]).all()
    np.testing.assert_array_equal(y[~hit], clean[~hit])


def test_bias_gradient_is_written_only_where_wanted(isa: str, rng: Generator) -> None:
    x_shape, kernel_shape, options = CASES["all different"]
    x, kernel = normal(rng, *x_shape), normal(rng, *kernel_shape)
    dy = normal(rng, *ops.conv2d_forward(x, kernel, **options).shape)
    with_bias, without = np.empty(kernel_shape, np.float32), np.empty(kernel_shape, np.float32)
    dbias = np.empty(kernel_shape[3], np.float32)
    ops.conv2d_backward_filter(x, dy, with_bias, dbias, **options)
    ops.conv2d_backward_filter(x, dy, without, **options)
    assert_bits(with_bias, without)


@pytest.mark.parametrize(
    ("size", "window", "stride", "padding", "dilation", "places"),
    [
        (5, 3, 1, (0, 0), 1, 3),
        (5, 3, 2, (1, 1), 1, 3),
        (6, 3, 2, (0, 1), 1, 3),
        (7, 3, 1, (0, 0), 3, 1),
        (2, 3, 1, (0, 0), 1, 0),
    ],
)
def test_conv_output_size(size: int, window: int, stride: int, padding: Any, dilation: int, places: int) -> None:
    assert ops.conv_output_size(size, window, stride, padding, dilation) == places
    # By counting: a place is where the last tap still lies inside.
    last = dilation * (window - 1)
    assert places == sum(start + last < size + sum(padding) for start in range(0, size + sum(padding), stride))


X, KERNEL, DY = (np.zeros(shape, np.float32) for shape in ((2, 5, 6, 4), (3, 2, 4, 8), (2, 3, 5, 8)))
PLAIN = geometry()
WRONG: dict[str, tuple[Any, str]] = {
    "rank": (lambda: ops.conv2d_forward(X[0], KERNEL), r"conv2d_forward: expected x of rank 4, got shape \(5, 6, 4\)"),
    "channels": (lambda: ops.conv2d_forward(X, KERNEL[:, :, :3].copy()), "expected channels that groups divide"),
    "groups": (lambda: ops.conv2d_forward(X, KERNEL, groups=3), "expected channels that groups divide"),
    "image too small": (
        lambda: ops.conv2d_forward(X, KERNEL, dilation=(3, 1)),
        r"conv2d_forward: expected an image at least as large as the window \(3, 2\) \(dilation \(3, 1\)\), got 5 x 6 "
        r"with padding \(\(0, 0\), \(0, 0\)\); use padding='same', a smaller window or fewer strided layers",
    ),
    "bias": (lambda: ops.conv2d_forward(X, KERNEL, X[0, 0, 0]), "expected bias of 8 elements, got 4"),
    "activation": (lambda: ops.conv2d_forward(X, KERNEL, activation="none"), "expected the name of an activation, got"),
    "stride": (lambda: ops.conv2d_forward(X, KERNEL, strides=(1, -1)), "expected"),
    "dilation": (lambda: ops.conv2d_forward(X, KERNEL, dilation=(0, 1)), "expected strides and dilation >= 1"),
    "dy": (
        lambda: ops.conv2d_backward_input(DY, KERNEL, (2, 6, 6, 4), **PLAIN),
        r"conv2d_backward_input: expected dy of shape \(2, 4, 5, 8\), got \(2, 3, 5, 8\)",
    ),
    "x_shape": (lambda: ops.conv2d_backward_input(DY, KERNEL, (2, 5, 6, 5), **PLAIN), "expected channels that groups"),
    "dy of another batch": (
        lambda: ops.conv2d_backward_filter(X, DY[:1], KERNEL.copy(), **PLAIN),
        r"conv2d_backward_filter: expected dy of shape \(2, 3, 5, 8\), got \(1, 3, 5, 8\)",
    ),
    "dbias": (lambda: ops.conv2d_backward_filter(X, DY, KERNEL.copy(), X[0, 0, 0], **PLAIN), "expected .*, got 4"),
}


@pytest.mark.parametrize(("call", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()


def test_wrong_dtypes() -> None:
    for wrong in (KERNEL.astype(np.float64), np.asfortranarray(KERNEL)):
        with pytest.raises(TypeError, match="expected w as an aligned, C-contiguous array"):
            ops.conv2d_forward(X, wrong)
    with pytest.raises(TypeError, match=r"conv2d_forward: expected x of a real dtype .*, got dtype complex64"):
        ops.conv2d_forward(X * 1j, KERNEL)


@pytest.mark.parametrize("filters", range(1, 9))
@pytest.mark.parametrize("activation", ["linear", "relu", "tanh"])
def test_few_filters_on_one_channel(isa: str, rng: Generator, filters: int, activation: str) -> None:
    """Pixels side by side in a vector give the bits of filters side by side in one."""
    shapes = [((3, 3), (1, 1), (1, 1), (1, 1)), ((2, 5), (2, 1), (0, 3), (1, 1)), ((5, 4), (1, 1), (2, 0), (1, 2))]
    for width in (3, 9, 15, 16, 17, 20, 31, 34, 49):
        for size, strides, pads, dilation in shapes:
            if width + 2 * pads[1] < dilation[1] * (size[1] - 1) + 1:
                continue
            options = geometry(strides, ((pads[0], pads[0]), (pads[1], pads[1])), dilation)
            x, kernel, bias = normal(rng, 2, 11, width, 1), normal(rng, *size, 1, 24), normal(rng, 24)
            wide = ops.conv2d_forward(x, kernel, bias, activation=activation, **options)
            few = np.ascontiguousarray(kernel[..., :filters])
            y = ops.conv2d_forward(x, few, bias[:filters].copy(), activation=activation, **options)
            assert_bits(y, np.ascontiguousarray(wide[..., :filters]), f"{width} {size} {pads}")
