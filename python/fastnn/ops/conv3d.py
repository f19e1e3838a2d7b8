"""3-D convolution and its transpose, made of 2-D ones: the depth taps of an output slice become channels of one image."""

from __future__ import annotations

from collections.abc import Sequence

from fastnn import _core, checks
from fastnn.checks import Float32
from fastnn.ops.base import Pair, as_float32, check_rank, check_same_shape, empty, twin
from fastnn.ops.conv import conv_output

Triple = tuple[int, int, int]
Padding3 = tuple[Pair, Pair, Pair]

ONE: Triple = (1, 1, 1)
NO_PADDING_3: Padding3 = ((0, 0), (0, 0), (0, 0))


class _Depth:
    """How a 3-D convolution with these options reads slices, and the options of the 2-D convolution that is left.

    Args:
        who: for errors.
        shape: of the images (N, D, H, W, C).
        kernel: (T, R, S, C / groups, K).
    """

    def __init__(
        self,
        who: str,
        shape: Sequence[int],
        kernel: Float32,
        strides: Triple,
        padding: Padding3,
        dilation: Triple,
        groups: int,
    ) -> None:
        if len(kernel.shape) != 5 or groups < 1 or kernel.shape[3] * groups != shape[4]:
            checks.fail(who, f"a kernel of shape (T, R, S, {shape[4]} / {groups}, K)", kernel.shape)
        self.shape = tuple(shape)
        self.out = conv_output(who, shape, kernel.shape[:3], strides, padding, dilation)
        self.taps, self.groups = kernel.shape[0], groups
        self.plain = self.taps == 1 and strides[0] == 1 and padding[0] == (0, 0)  # every slice by itself
        self.along = (self.taps, strides[0], padding[0][0], dilation[0], groups)  # the depth
        pads = [padding[1][0], padding[2][0]]
        self.across = (list(strides[1:]), pads, list(dilation[1:]), groups)  # the slices

    @property
    def slices(self) -> tuple[int, ...]:
        """The shape of the images of the 2-D convolution: slices with all that their taps read."""
        n, _, h, w, c = self.shape
        return n * self.out[0], h, w, c * self.taps

    @property
    def unfolded(self) -> tuple[int, ...]:
        """The same with the slices of a sample apart."""
        return self.shape[0], self.out[0], *self.slices[1:]

    def unfold(self, x: Float32) -> Float32:
        """Return those images."""
        if self.plain:
            return x.reshape(self.slices)
        y = empty(self.unfolded)
        _core.unfold_depth(x, y, *self.along)
        return y.reshape(self.slices)

    def flat(self, kernel: Float32) -> Float32:
        """Return the kernel (R, S, T C / groups, K) of the 2-D convolution."""
        t, r, s, c, k = kernel.shape
        if t == 1:
            return kernel.reshape(r, s, c, k)
        y = empty((r, s, t, c, k))
        _core.permute(kernel, y, [1, 2, 0, 3, 4])
        return y.reshape(r, s, t * c, k)

    def fold(
        self,
        dy: Float32,
        kernel: Float32,
        bias: Float32 | None,
        relu_output: Float32 | None,
        activation: str = "linear",
        alpha: float = 0.0,
    ) -> Float32:
        """Return what the transposed convolution of dy gives, after bias and activation or times the slope of a relu."""
        strides, pads, dilation, groups = self.across
        flat, dy = self.flat(kernel), dy.reshape(self.shape[0] * self.out[0], *dy.shape[2:])
        if self.plain and relu_output is None:
            y = empty(self.slices)
            _core.conv2d_transpose_forward(dy, flat, bias, y, strides, pads, dilation, groups, activation, alpha)
            return y.reshape(self.shape)
        parts = empty(self.slices)
        _core.conv2d_backward_input(dy, flat, parts, strides, pads, dilation, groups, None, False)
        y = empty(self.shape)
        _core.fold_depth(parts.reshape(self.unfolded), bias, relu_output, y, *self.along, activation, alpha)
        return y


@twin
def conv3d_forward(
    x: Float32,
    kernel: Float32,
    bias: Float32 | None = None,
    *,
    strides: Triple = ONE,
    padding: Padding3 = NO_PADDING_3,
    dilation: Triple = ONE,
    groups: int = 1,
    activation: str = "linear",
    alpha: float = 0.0,
) -> Float32:
    """Return f(convolution of x with kernel + bias): (N, D, H, W, C) (T, R, S, C / groups, K) -> (N, O, P, Q, K)."""
    x = as_float32("conv3d_forward", "x", x)
    check_rank("conv3d_forward", "x", x, 5)
    depth = _Depth("conv3d_forward", x.shape, kernel, strides, padding, dilation, groups)
    n, (o, p, q), k = x.shape[0], depth.out, kernel.shape[4]
    y = empty((n * o, p, q, k))
    _core.conv2d_forward(depth.unfold(x), depth.flat(kernel), bias, y, *depth.across, activation, alpha)
    return y.reshape(n, o, p, q, k)


@twin
def conv3d_backward_input(
    dy: Float32,
    kernel: Float32,
    x_shape: Sequence[int],
    *,
    strides: Triple = ONE,
    padding: Padding3 = NO_PADDING_3,
    dilation: Triple = ONE,
    groups: int = 1,
    relu_output: Float32 | None = None,
) -> Float32:
    """Return dx, the transposed convolution of dy; where x is a relu's output, times the relu's derivative."""
    dy = as_float32("conv3d_backward_input", "dy", dy)
    depth = _Depth("conv3d_backward_input", x_shape, kernel, strides, padding, dilation, groups)
    check_same_shape("conv3d_backward_input", "dy", dy, (x_shape[0], *depth.out, kernel.shape[4]))
    if relu_output is not None:
        relu_output = as_float32("conv3d_backward_input", "relu_output", relu_output)
        check_same_shape("conv3d_backward_input", "relu_output", relu_output, x_shape)
    return depth.fold(dy, kernel, None, relu_output)


@twin
def conv3d_backward_filter(
    x: Float32,
    dy: Float32,
    dkernel: Float32,
    dbias: Float32 | None = None,
    *,
    strides: Triple = ONE,
    padding: Padding3 = NO_PADDING_3,
    dilation: Triple = ONE,
    groups: int = 1,
) -> None:
    """Write dkernel[t, r, s, c, k] = sum over pixels of x[tap t, r, s of it, c] dy[pixel, k], and dbias = sum(dy) if given."""
    x, dy = as_float32("conv3d_backward_filter", "x", x), as_float32("conv3d_backward_filter", "dy", dy)
    check_rank("conv3d_backward_filter", "x", x, 5)
    depth = _Depth("conv3d_backward_filter", x.shape, dkernel, strides, padding, dilation, groups)
    check_same_shape("conv3d_backward_filter", "dy", dy, (x.shape[0], *depth.out, dkernel.shape[4]))
    t, r, s, c, k = dkernel.shape
    flat = empty((r, s, t * c, k))
    dy = dy.reshape(x.shape[0] * depth.out[0], *dy.shape[2:])
    _core.conv2d_backward_filter(depth.unfold(x), dy, flat, dbias, *depth.across)
    _core.permute(flat.reshape(r, s, t, c, k), dkernel, [2, 0, 1, 3, 4])


@twin
def conv3d_transpose_forward(
    x: Float32,
    kernel: Float32,
    size: Triple,
    bias: Float32 | None = None,
    *,
    strides: Triple = ONE,
    padding: Padding3 = NO_PADDING_3,
    dilation: Triple = ONE,
    groups: int = 1,
    activation: str = "linear",
    alpha: float = 0.0,
) -> Float32:
    """Return f(z + bias), z the transpose of the convolution with these options that takes images of `size` to x's.

    (N, O, P, Q, K) (T, R, S, C / groups, K) -> (N, *size, C): z is the input gradient of that convolution where x is its output's.
    """
    x = as_float32("conv3d_transpose_forward", "x", x)
    check_rank("conv3d_transpose_forward", "x", x, 5)
    y_shape = (x.shape[0], *size, kernel.shape[3] * groups)
    depth = _Depth("conv3d_transpose_forward", y_shape, kernel, strides, padding, dilation, groups)
    check_same_shape("conv3d_transpose_forward", "x", x, (x.shape[0], *depth.out, kernel.shape[4]))
    return depth.fold(x, kernel, bias, None, activation, alpha)
