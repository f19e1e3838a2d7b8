"""Recorded steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn import _core


def recording() -> bool:
    """Return whether a tape records on this thread."""
    return bool(_core.recording())


def planning() -> bool:
    """Return whether calls are only written down on this thread: arrays hold nothing then, and nothing may be changed."""
    return bool(_core.planning())


def stop_recording() -> None:
    """End any recording on this thread: for when Ctrl-C came between its beginning and what would have ended it."""
    _core.stop_recording()


def label(part: str, phase: str = "") -> None:
    """Say what the calls that a tape records from here on belong to; nothing happens where none records."""
    _core.label(f"{part}/{phase}" if phase else part)


class Arena:
    """Memory for the buffers of recorded steps. Tapes that never run at the same time may share one."""

    def __init__(self) -> None:
        self.native = _core.Arena()

    @property
    def bytes(self) -> int:
        """Memory held."""
        return int(self.native.bytes)

    @property
    def unused(self) -> bool:
        """Whether no array lies in it."""
        return bool(self.native.unused)


class Call(NamedTuple):
    """A recorded call: its kernel, the label it was made under, and what it has to do at least (`csrc/work.h`)."""

    kernel: str
    label: str
    flops: float
    bytes: float


class Tape:
    """A recorded step. Inside of `with tape:` every call of this module runs and is recorded; `run` then replays them.

    Args:
        arena: where its buffers lie, one in which no array does; None is one of its own.
        plan: calls are not made, only written down: what the step needs is found out without doing it. It cannot be run.
    """

    def __init__(self, arena: Arena | None = None, plan: bool = False) -> None:
        self.arena = arena or Arena()
        self._tape = _core.Tape(self.arena.native, plan)

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

    def profile(self, steps: int = 1) -> NDArray[np.float64]:
        """Replay 2 `steps` steps, as `run` does, in turn one timed call by call and one timed whole.

        Returns:
            the seconds, shape (steps, calls + 1): those of every call of the one, then those of the other.
        """
        return np.array(self._tape.profile(steps), np.float64).reshape(steps, len(self.names()) + 1)

    def names(self) -> list[str]:
        """Return the kernels of the step, in order."""
        return list(self._tape.names())

    def groups(self) -> list[list[int]]:
        """Return the numbers of the calls of each group that a replay makes image by image, not one call after the other."""
        return [list(group) for group in self._tape.groups()]

    def calls(self) -> list[Call]:
        """Return the recorded calls, in order."""
        return [Call(*call) for call in self._tape.calls()]

    @property
    def shares(self) -> bool:
        """Whether some call in it has work worth sharing among threads."""
        return bool(self._tape.shares)

    @property
    def bytes(self) -> int:
        """Memory of the arena that the step's buffers lie in."""
        return self.arena.bytes


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
