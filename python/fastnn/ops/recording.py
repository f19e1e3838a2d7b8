"""Recorded steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from fastnn import _core


def recording() -> bool:
    """Return whether a tape records on this thread."""
    return bool(_core.recording())


def stop_recording() -> None:
    """End any recording on this thread: for when Ctrl-C came between its beginning and what would have ended it."""
    _core.stop_recording()


class Tape:
    """A recorded step. Inside of `with tape:` every call of this module runs and is recorded; `run` then replays them."""

    def __init__(self) -> None:
        self._tape = _core.Tape()

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

    @property
    def shares(self) -> bool:
        """Whether some call in it has work worth sharing among threads."""
        return bool(self._tape.shares)

    @property
    def bytes(self) -> int:
        """Memory of the step's buffers."""
        return int(self._tape.bytes)
