"""Recorded steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core


def recording() -> bool:
    """Return whether a tape records on this thread."""
    return bool(_core.recording())


def stop_recording() -> None:
    """End any recording on this thread: for when Ctrl-C came between its beginning and what would have ended it."""
    _core.stop_recording()


class Arena:
    """Memory for the buffers of recorded steps of which one runs at a time: it is as large as the largest needs it."""

    def __init__(self) -> None:
        self._arena = _core.Arena()

    @property
    def bytes(self) -> int:
        """Memory held."""
        return int(self._arena.bytes)


class Tape:
    """A recorded step. Inside of `with tape:` every call of this module runs and is recorded; `run` then replays them.

    Args:
        arena: memory to share with other steps; None makes its own. So does a recording that begins while arrays of an earlier
            one are still there.
    """

    def __init__(self, arena: Arena | None = None) -> None:
        self._tape = _core.Tape((Arena() if arena is None else arena)._arena)

    def __enter__(self) -> Tape:
        self._tape.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._tape.stop()

    def guard(self, arrays: Iterable[NDArray[Any]]) -> None:
        """Name what the step changes before `commit`: it is put back if Ctrl-C arrives there."""
        for array in arrays:
            self._tape.guard(array)

    def commit(self) -> None:
        """Mark the place in the recording from where on the step is always finished."""
        self._tape.commit()

    def run(self, steps: int, seconds: float) -> int:
        """Replay up to `steps` steps without Python; stop after the one that ends `seconds` later. Return how many were done.

        Raises:
            KeyboardInterrupt: if Ctrl-C came in the middle of a long step; the step has not happened then.
        """
        return int(self._tape.run(steps, seconds))

    def profile(self) -> list[tuple[str, float]]:
        """Replay one step; return (kernel, seconds) of every record."""
        return list(self._tape.profile())

    def names(self) -> list[str]:
        """Return the kernels of the step, in order."""
        return list(self._tape.names())

    def shares(self, arena: Arena) -> bool:
        """Return whether the step's buffers are in this arena."""
        return bool(self._tape.shares(arena._arena))

    @property
    def bytes(self) -> int:
        """Memory of the step's buffers, that of others in the same arena included."""
        return int(self._tape.bytes)


class Replay:
    """A recorded step that is replayed on single batches, whose arrays are checked and pointed to in C++.

    Args:
        tape: of the step.
        position: the place of the batch that the step reads; it is set to 0.
        order_cell: where the step looks for the order of the rows; set to none.
    """

    def __init__(self, tape: Tape, position: NDArray[np.int64], order_cell: NDArray[np.uint64]) -> None:
        self._replay = _core.Replay(tape._tape, position, order_cell)
        self.run: Callable[..., bool] = self._replay.run

    def add(
        self,
        cell: NDArray[np.uint64],
        example: NDArray[Any],
        taken: np.dtype[Any],
        limits: tuple[float, float] | None = None,
    ) -> None:
        """Add one more array to those that `run` wants.

        Args:
            cell: where the step looks for its address.
            example: an array of the same dtype and shape.
            taken: the dtype the step takes; float64 is converted to float32, int64 and uint8 to int32 on the way.
            limits: the least and the greatest value allowed; None does not look.

        Raises:
            ValueError: for other conversions.
        """
        self._replay.add(cell, example, taken, limits)
