"""Several arrays into one and back: sums, products, extrema, concatenation, broadcasting; rows of length 1; products of batches."""

from __future__ import annotations

from collections.abc import Sequence

from fastnn import _core, checks
from fastnn.checks import Float32
from fastnn.ops.base import as_float32, as_rows, check_rank, check_same_shape, empty, twin
from fastnn.ops.data import permute
from fastnn.ops.dense import column_sums

AT_ONCE = 8  # arrays that one kernel call takes
LARGEST_RANK = 6


def _same(who: str, x: Sequence[Float32]) -> list[Float32]:
    """Return arrays of the same shape as float32."""
    if not x:
        checks.fail(who, "at least one array", "none")
    arrays = [as_float32(who, "x", part) for part in x]
    for part in arrays[1:]:
        check_same_shape(who, "x", part, arrays[0].shape)
    return arrays


@twin
def add(*x: Float32, weights: Sequence[float] | None = None, out: Float32 | None = None) -> Float32:
    """Return weights[0] x[0] + weights[1] x[1] + ... (None: all 1) of arrays of the same shape; out may be one of them."""
    arrays = _same("add", x)
    factors = [1.0] * len(arrays) if weights is None else list(weights)
    if len(factors) != len(arrays):
        checks.fail("add", f"{len(arrays)} weights", len(factors))
    y = empty(arrays[0].shape) if out is None else out
    check_same_shape("add", "out", y, arrays[0].shape)
    _core.add(arrays[:AT_ONCE], factors[:AT_ONCE], y)
    for i in range(AT_ONCE, len(arrays), AT_ONCE - 1):
        j = i + AT_ONCE - 1
        _core.add([y, *arrays[i:j]], [1.0, *factors[i:j]], y)
    return y


@twin
def multiply(*x: Float32) -> Float32:
    """Return x[0] x[1] ..., element by element, of arrays of the same shape."""
    arrays = _same("multiply", x)
    y = empty(arrays[0].shape)
    _core.multiply(arrays[:AT_ONCE], y)
    for i in range(AT_ONCE, len(arrays), AT_ONCE - 1):
        _core.multiply([y, *arrays[i : i + AT_ONCE - 1]], y)
    return y


@twin
def maximum(*x: Float32) -> Float32:
    """Return the largest of x[0], x[1], ..., element by element; a NaN wins."""
    arrays = _same("maximum", x)
    y = empty(arrays[0].shape)
    _core.maximum(arrays[:AT_ONCE], y)
    for i in range(AT_ONCE, len(arrays), AT_ONCE - 1):
        _core.maximum([y, *arrays[i : i + AT_ONCE - 1]], y)
    return y


@twin
def minimum(*x: Float32) -> Float32:
    """Return the smallest of x[0], x[1], ..., element by element; a NaN wins."""
    arrays = _same("minimum", x)
    y = empty(arrays[0].shape)
    _core.minimum(arrays[:AT_ONCE], y)
    for i in range(AT_ONCE, len(arrays), AT_ONCE - 1):
        _core.minimum([y, *arrays[i : i + AT_ONCE - 1]], y)
    return y


@twin
def extremum_backward(dy: Float32, y: Float32, *x: Float32) -> tuple[Float32, ...]:
    """Return one gradient per x for y = maximum(*x) or minimum(*x): dy where it is the first to equal y, else 0."""
    arrays = _same("extremum_backward", x)
    left = as_float32("extremum_backward", "dy", dy)
    check_same_shape("extremum_backward", "dy", left, arrays[0].shape)
    check_same_shape("extremum_backward", "y", y, arrays[0].shape)
    dx = [empty(part.shape) for part in arrays]
    for i in range(0, len(arrays), AT_ONCE):
        rest = empty(left.shape) if i + AT_ONCE < len(arrays) else None
        _core.extremum_backward(left, y, arrays[i : i + AT_ONCE], dx[i : i + AT_ONCE], rest)
        left = left if rest is None else rest
    return tuple(dx)


def _outer(shape: Sequence[int], axis: int) -> int:
    """Return how many rows there are when the axes from `axis` on are laid in one row."""
    rows = 1
    for size in shape[:axis]:
        rows *= size
    return rows


def _axis(who: str, axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        checks.fail(who, f"an axis of arrays of rank {rank}", axis)
    return axis % rank


@twin
def concatenate(*x: Float32, axis: int = -1) -> Float32:
    """Return the arrays one behind the other along an axis; their other sizes are the same."""
    if not x:
        checks.fail("concatenate", "at least one array", "none")
    arrays = [as_float32("concatenate", "x", part) for part in x]
    first = arrays[0].shape
    at = _axis("concatenate", axis, len(first))
    for part in arrays[1:]:
        check_same_shape("concatenate", "x", part, (*first[:at], *part.shape[at : at + 1], *first[at + 1 :]))
    y = empty((*first[:at], sum(part.shape[at] for part in arrays), *first[at + 1 :]))
    rows, column = _outer(first, at), 0
    for i in range(0, len(arrays) if y.size else 0, AT_ONCE):
        some = arrays[i : i + AT_ONCE]
        _core.concatenate(some, y, rows, column)
        column += sum(part.size for part in some) // rows
    return y


@twin
def split(x: Float32, sizes: Sequence[int], axis: int = -1) -> tuple[Float32, ...]:
    """Return parts of x of these sizes along an axis: the reverse of `concatenate`."""
    x = as_float32("split", "x", x)
    at = _axis("split", axis, x.ndim)
    if sum(sizes) != x.shape[at] or any(size < 0 for size in sizes):
        checks.fail("split", f"sizes that add up to {x.shape[at]}", tuple(sizes))
    parts = [empty((*x.shape[:at], size, *x.shape[at + 1 :])) for size in sizes]
    rows, column = _outer(x.shape, at), 0
    for i in range(0, len(parts) if x.size else 0, AT_ONCE):
        some = parts[i : i + AT_ONCE]
        _core.split(x, some, rows, column)
        column += sum(part.size for part in some) // rows
    return tuple(parts)


@twin
def broadcast(x: Float32, shape: Sequence[int]) -> Float32:
    """Return x repeated along the axes where it has size 1, to a shape of the same rank."""
    x = as_float32("broadcast", "x", x)
    fits = x.ndim == len(shape) <= LARGEST_RANK and all(a in (1, b) for a, b in zip(x.shape, shape))
    if not fits:
        checks.fail(
            "broadcast", f"x of rank {len(shape)} <= {LARGEST_RANK}, sizes 1 or those of {tuple(shape)}", x.shape
        )
    y = empty(shape)
    _core.broadcast(x, y)
    return y


@twin
def broadcast_backward(dy: Float32, shape: Sequence[int]) -> Float32:
    """Return the gradient of x of this shape for y = broadcast(x, dy.shape): dy added up over the repeated axes."""
    dy = as_float32("broadcast_backward", "dy", dy)
    fits = dy.ndim == len(shape) <= LARGEST_RANK and all(a in (1, b) for a, b in zip(shape, dy.shape))
    if not fits:
        checks.fail("broadcast_backward", f"a shape with sizes 1 or those of {dy.shape}", tuple(shape))
    repeated = [i for i, (a, b) in enumerate(zip(shape, dy.shape)) if a != b]
    kept = [i for i in range(dy.ndim) if i not in repeated]
    if not repeated:
        return permute(dy, kept)
    rows = _outer([dy.shape[i] for i in repeated], len(repeated))
    moved = permute(dy, [*repeated, *kept])
    return column_sums(moved.reshape(rows, _outer(shape, len(shape)))).reshape(tuple(shape))


@twin
def batch_gemm(a: Float32, b: Float32, *, transpose_a: bool = False, transpose_b: bool = False) -> Float32:
    """Return a[i] b[i] for every i, matrices taken transposed where said: (N, m, k) (N, k, n) -> (N, m, n)."""
    a, b = as_float32("batch_gemm", "a", a), as_float32("batch_gemm", "b", b)
    check_rank("batch_gemm", "a", a, 3)
    check_rank("batch_gemm", "b", b, 3)
    (m, k), (k_b, n) = (
        (a.shape[:0:-1] if transpose_a else a.shape[1:]),
        (b.shape[:0:-1] if transpose_b else b.shape[1:]),
    )
    if k != k_b or len(a) != len(b):
        checks.fail("batch_gemm", "as many matrices in a as in b, that fit", f"shapes {a.shape} and {b.shape}")
    c = empty((len(a), m, n))
    for i in range(len(a)):
        _core.gemm(a[i], b[i], c[i], transpose_a, transpose_b, None, "linear", 0.0, None, False, False)
    return c


@twin
def unit_norm_forward(x: Float32) -> tuple[Float32, Float32]:
    """Return (y, r): rows (last axis) divided by their length, and what they were multiplied with, at most 1e6."""
    x = as_float32("unit_norm_forward", "x", x)
    y, r = empty(x.shape), empty(x.shape[:-1])
    _core.unit_norm_forward(as_rows(x), as_rows(y), r.reshape(-1))
    return y, r


@twin
def unit_norm_backward(dy: Float32, y: Float32, r: Float32) -> Float32:
    """Return dx from what `unit_norm_forward` returned."""
    dy = as_float32("unit_norm_backward", "dy", dy)
    check_same_shape("unit_norm_backward", "dy", dy, y.shape)
    dx = empty(y.shape)
    _core.unit_norm_backward(as_rows(dy), as_rows(y), r.reshape(-1), as_rows(dx))
    return dx
