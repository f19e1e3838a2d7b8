"""What every op needs: the twin switch, new arrays, checks of shapes."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
UINT8 = np.dtype(np.uint8)
UINT64 = np.dtype(np.uint64)
ALIGNMENT = 64  # bytes, a cache line


def twin(native: Callable[P, T]) -> Callable[P, T]:
    """Run the function of the same name in `fastnn.reference` while the backend is "numpy"."""
    other: Callable[P, T] = getattr(reference, native.__name__)

    @functools.wraps(native)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if config.backend() == "numpy":
            return other(*args, **kwargs)
        return native(*args, **kwargs)

    return call


def twin_of(op: Callable[P, T]) -> Callable[P, T]:
    """Return the NumPy twin of an op, which computes in the precision of its arrays."""
    other: Callable[P, T] = getattr(reference, op.__name__)
    return other


def empty(shape: Sequence[int], dtype: np.dtype[Any] = FLOAT32) -> NDArray[Any]:
    """Return a new aligned array; while a tape records, its memory is the tape's."""
    return _core.empty(list(shape), dtype)  # type: ignore[no-any-return]


def zeros(shape: Sequence[int], dtype: np.dtype[Any] = FLOAT32) -> NDArray[Any]:
    """Return a new aligned array of zeros. Not for use while a tape records: the zeros would not be written again.

    What is never written takes no memory: the system gives a page when it is.
    """
    size = math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return np.ndarray(tuple(shape), dtype, memory, start)


_probe = [object()]
_REFERENCES = sys.getrefcount(_probe[0])  # counted where a list alone has an object


def is_alone(arrays: Sequence[NDArray[Any] | None], i: int) -> bool:
    """Return whether a kernel may change a list's array i: it is such as kernels take, and nobody else can see its memory."""
    array = arrays[i]
    if array is None or not array.flags.carray or not (_in_doubles or array.dtype is FLOAT32):
        return False
    base: Any = array.base
    view = isinstance(base, np.ndarray)
    owner = base.base if view else base
    own = owner is None or _core.is_owner(owner)  # not memory of another library, which knows nothing of our references
    del array, base, owner
    if not own or sys.getrefcount(arrays[i]) > _REFERENCES:
        return False
    return not view or sys.getrefcount(arrays[i].base) <= _REFERENCES  # type: ignore[union-attr]


_in_doubles = False


@contextmanager
def in_doubles() -> Iterator[None]:
    """Let the twin compute, and in float64 where its inputs are: to check gradients, for whole processes at a time."""
    global _in_doubles
    before, backend = _in_doubles, config.backend()
    _in_doubles = True
    config.set_backend("numpy")
    try:
        yield
    finally:
        _in_doubles = before
        config.set_backend(backend)


def as_float32(who: str, name: str, x: Any) -> Float32:
    """Return x as the kernels take it; nothing is copied where it is so already."""
    if _in_doubles:
        return np.asarray(x, np.float64)
    if type(x) is np.ndarray and x.dtype is FLOAT32 and x.flags.c_contiguous and x.flags.aligned:
        return x
    return checks.float32(who, name, x)


def check_rank(who: str, name: str, x: NDArray[Any], rank: int) -> None:
    """Raise unless x has this rank."""
    if x.ndim != rank:
        checks.fail(who, f"{name} of rank {rank}", f"shape {x.shape}")


def check_same_shape(who: str, name: str, x: NDArray[Any], shape: Sequence[int]) -> None:
    """Raise unless x has this shape."""
    if x.shape != tuple(shape):
        checks.fail(who, f"{name} of shape {tuple(shape)}", x.shape)


def as_rows(x: Float32) -> Float32:
    """View x as (rows, last axis)."""
    return x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])
