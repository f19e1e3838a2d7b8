"""What a timed kernel is, and how it is checked and run: in fastnn's C++, in its NumPy twin and, where a course would write it, in
plain NumPy.

`fastnn.ops` and `fastnn.reference` have the same functions, so a case is written once: `call(ops)` is the one, `call(reference)`
the other. Every `make` gives fresh arrays with the same values, so that no program changes what another one reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import ops, reference
from fastnn.bench.machine import using_backend
from fastnn.bench.timing import Program

Call = Callable[[Any], Any]
Plain = Callable[[], Any]
Made = tuple[Call, Plain | None]

# Of the largest value that is expected. The rounding of a sum of k products grows like sqrt(k) 6e-8 of its terms, k up to 90000
# in a filter's gradient; a wrong formula is off by far more.
TOLERANCE = 2e-5
FOREVER = 1e9  # seconds


@dataclass(frozen=True)
class KernelCase:
    """One kernel on one shape.

    Args:
        name: kernel and shape.
        flops: multiply-adds, counted as two, where these are the bound; else 0.
        nbytes: that must be read and written at least, each array once.
        make: returns, for a dtype, fresh `call` and `plain`.
        quick: whether a quick run has it.
    """

    name: str
    flops: float
    nbytes: float
    make: Callable[[Any], Made]
    quick: bool = False


def normal(dtype: Any, *shapes: tuple[int, ...]) -> list[Any]:
    """Return arrays of normal numbers, the same for every dtype, that begin on cache lines as those of a recorded step do."""
    rng = np.random.default_rng(0)
    made = [ops.empty(shape, np.dtype(dtype)) for shape in shapes]
    for array in made:
        array[...] = rng.standard_normal(array.shape, np.float32)
    return made


def arrays(result: Any) -> list[NDArray[Any]]:
    """Return the arrays in what a program returned."""
    parts = result if isinstance(result, tuple) else (result,)
    return [part for part in parts if part is not None]


def verify(case: KernelCase) -> None:
    """Compare fastnn, its twin and the plain program with the twin in float64.

    Raises:
        ArithmeticError: if one of them is off by more than TOLERANCE of the largest expected value, naming it.
    """
    expected = arrays(case.make(np.float64)[0](reference))
    results = {"numpy": case.make(np.float32)[0](reference)}
    with using_backend("native"):
        results["fastnn"] = case.make(np.float32)[0](ops)
    plain = case.make(np.float32)[1]
    if plain is not None:
        results["plain"] = plain()
    if not expected:
        raise ArithmeticError(f"{case.name}: there is no result to compare")
    for name, result in results.items():
        for got, right in zip(arrays(result), expected, strict=True):
            error = np.abs(got.astype(np.float64) - right).max(initial=0.0)
            if got.shape != right.shape or not error <= TOLERANCE * np.abs(right).max(initial=0.0):
                raise ArithmeticError(f"{case.name}: {name} is off by {error:.3g} from the twin in float64")


def programs(case: KernelCase) -> dict[str, Program]:
    """Return what is timed: fastnn as a recorded step replays it, the twin, and the plain program if there is one."""
    native, twin, plain = case.make(np.float32)[0], case.make(np.float32)[0], case.make(np.float32)[1]
    tape = ops.Tape()
    with using_backend("native"), tape:
        native(ops)

    def replay(calls: int, keep: Any = native) -> None:
        tape.run(calls, FOREVER)  # `keep` holds the arrays that the tape reads

    result: dict[str, Program] = {"fastnn": replay, "numpy": _repeated(lambda: twin(reference))}
    if plain is not None:
        result["plain"] = _repeated(plain)
    return result


def _repeated(program: Plain) -> Program:
    """Return a program that runs another so many times."""

    def run(calls: int) -> None:
        for _ in range(calls):
            program()

    return run
