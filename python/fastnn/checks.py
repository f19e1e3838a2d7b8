"""Checks of user input, all with one error pattern: ``<who>: expected <rule>, got <value>; <how to fix>``."""

from __future__ import annotations

import numbers
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def message(who: str, expected: str, got: object, fix: str = "") -> str:
    """Return the error text ``who: expected ..., got ...; fix``."""
    text = f"{who}: expected {expected}, got {got}"
    return f"{text}; {fix}" if fix else text


def fail(who: str, expected: str, got: object, fix: str = "") -> NoReturn:
    """Raise ValueError in the one pattern (for values and shapes)."""
    raise ValueError(message(who, expected, got, fix))


def fail_type(who: str, expected: str, got: object, fix: str = "") -> NoReturn:
    """Raise TypeError in the one pattern (for dtypes and kinds of objects)."""
    raise TypeError(message(who, expected, got, fix))


def warn(text: str) -> None:
    """Issue a UserWarning at the user's line: the innermost one that is not in this package."""
    package = __name__.partition(".")[0]
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)


def describe(value: object) -> str:
    """Say what a value is, short enough for an error message."""
    if isinstance(value, np.ndarray):
        return f"{type(value).__name__} of shape {value.shape}, dtype {value.dtype}"
    text = repr(value)
    if len(text) > 60:
        text = text[:57] + "..."
    return f"{text} ({type(value).__name__})"


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return 'did you mean ...' or the list of valid names."""
    names = sorted(valid)
    return _close(name, names) or f"valid: {', '.join(names)}"


def _close(name: str, valid: Sequence[str]) -> str:
    """Return 'did you mean ...' if there are names like it."""
    import difflib  # here: only an error needs it

    close = [v for v in valid if "_" in v and "".join(part[:1] for part in v.split("_")) == name]  # lr
    close = close or difflib.get_close_matches(str(name).lower(), valid, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else ""


def one_of(who: str, argument: str, value: Any, valid: Sequence[str]) -> str:
    """Return value if it is one of the valid strings, else raise with the nearest ones."""
    if not isinstance(value, str):
        fail_type(who, f"{argument} to be a string", describe(value), f"valid: {', '.join(valid)}")
    if value not in valid:
        fail(who, f"{argument} to be one of {', '.join(map(repr, valid))}", repr(value), _close(value, valid))
    return value


def unknown_arguments(who: str, given: Iterable[str], valid: Iterable[str]) -> None:
    """Raise TypeError if any name was given (they are what a signature did not take)."""
    for name in given:
        fail_type(who, "only known arguments", repr(name), nearest(name, valid))


def integer(who: str, argument: str, value: Any, minimum: int | None = None, maximum: int | None = None) -> int:
    """Return value as int; bool, fractions and values out of range are refused."""
    rule = f"{argument} to be an integer"
    if minimum is not None:
        rule += f" >= {minimum}"
    if maximum is not None:
        rule += f" and <= {maximum}" if minimum is not None else f" <= {maximum}"
    whole = isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_))
    if not whole:
        fail_type(who, rule, describe(value))
    result = int(value)
    if (minimum is not None and result < minimum) or (maximum is not None and result > maximum):
        fail(who, rule, result)
    return result


def number(
    who: str,
    argument: str,
    value: Any,
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    below: float | None = None,
    above: float | None = None,
) -> float:
    """Return value as a finite float in [minimum, maximum], < below, > above."""
    limits = [
        f"{sign} {limit:g}"
        for sign, limit in ((">=", minimum), (">", above), ("<=", maximum), ("<", below))
        if limit is not None
    ]
    rule = " ".join([f"{argument} to be a finite number", " and ".join(limits)]).strip()
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (numbers.Real, np.floating, np.integer)):
        fail_type(who, rule, describe(value))
    result = float(value)
    ok = (
        np.isfinite(result)
        and (minimum is None or result >= minimum)
        and (maximum is None or result <= maximum)
        and (below is None or result < below)
        and (above is None or result > above)
    )
    if not ok:
        fail(who, rule, result)
    return result


def name(who: str, value: Any) -> str | None:
    """Return the argument `name` if it is None or a non-empty string."""
    if value is not None and (not isinstance(value, str) or not value):
        (fail if isinstance(value, str) else fail_type)(who, "name to be a non-empty string", describe(value))
    return value


def only_float32(who: str, dtype: Any) -> None:
    """Raise unless the argument `dtype` is None or float32, the only one that is computed in."""
    if not (dtype is None or (isinstance(dtype, (str, type, np.dtype)) and dtype in ("float32", np.float32))):
        fail(who, "dtype None or 'float32'", repr(dtype), "fastnn computes in float32")


def several(who: str, argument: str, value: Any) -> list[Any]:
    """Return the entries of a list, tuple, range or array of one axis."""
    if not isinstance(value, (list, tuple, range)) and not (isinstance(value, np.ndarray) and value.ndim == 1):
        fail_type(who, f"{argument} as a list", describe(value))
    return list(value)


def boolean(who: str, argument: str, value: Any) -> bool:
    """Return value as bool; only True and False are taken."""
    if not isinstance(value, (bool, np.bool_)):
        fail_type(who, f"{argument} to be True or False", describe(value))
    return bool(value)


def pair(who: str, argument: str, value: Any, minimum: int = 1) -> tuple[int, int]:
    """Return (a, b) from one integer or from two."""
    if isinstance(value, (tuple, list, np.ndarray)):
        if len(value) != 2:
            fail(who, f"{argument} to be one integer or two", describe(value))
        first, second = value
    else:
        first = second = value
    return integer(who, argument, first, minimum), integer(who, argument, second, minimum)


def array(who: str, argument: str, value: Any) -> NDArray[Any]:
    """Return value as an ndarray of a real number type (bool, integer, float16/32/64), without copying if it can.

    Masked arrays, and arrays of complex numbers, objects, strings or dates are refused: converting them would lose something
    silently. Big-endian, strided and read-only arrays are taken.
    """
    real = f"{argument} of a real dtype (bool, integers, float16/32/64)"
    if value is None:
        fail_type(who, real, "None")
    if isinstance(value, np.ma.MaskedArray):
        fail_type(who, f"{argument} to be a plain array", "a masked array", "fill it first: x.filled(value)")
    try:
        result = np.asarray(value)
    except ValueError:
        fail(who, f"{argument} to be a rectangular array", describe(value), "give all rows the same length")
    if result.dtype.kind not in "buif" or result.dtype.itemsize > 8:
        fail_type(who, real, f"dtype {result.dtype}", "convert it first, e.g. x.astype('float32')")
    return result


def float32(who: str, argument: str, value: Any) -> Float32:
    """Return value as a contiguous, aligned float32 array; no copy where it is one already."""
    source = array(who, argument, value)
    with np.errstate(over="ignore"):
        result = np.require(source, np.float32, ["C", "A"])
    if source.dtype == np.float64 and np.isinf(result).any() and np.isfinite(source).all():
        fail(who, f"{argument} within the range of float32 (3.4e38)", "larger values", "scale the data")
    return result
