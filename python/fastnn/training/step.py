"""A step that is recorded when it is first made and replayed without Python from then on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from fastnn import ops

RUN_SECONDS = 0.05  # how long a replay keeps Python waiting: for Ctrl-C, callbacks and the progress bar
KEPT_STEPS = 12  # recorded steps a model keeps: each owns the buffers of its batch size


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait until the block is done, so that a model never stays half updated."""
    main = threading.current_thread() is threading.main_thread()
    previous = signal.getsignal(signal.SIGINT) if main else None
    if previous is None:
        yield
        return
    pending: list[Any] = []
    signal.signal(signal.SIGINT, lambda *caught: pending.append(caught))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if pending and callable(previous):
        previous(*pending[0])


def _done() -> None:
    """Nothing is left to do from Python."""


class Step:
    """One kind of step of a model, for one batch size: first computed, then committed.

    Ctrl-C while it computes takes the step back; once it commits it is finished. So a model is always as after a whole number of
    steps.

    Args:
        compute: does the first part through `fastnn.ops`; changes only gradients and `guarded`.
        commit: does the second part: updates the parameters, moves on.
        guarded: the arrays that compute changes: moving statistics, counters, metrics.
        arena: gives the memory for a recording; None: compute and commit do more than calls of kernels, nothing is recorded.
    """

    def __init__(
        self,
        compute: Callable[[], None],
        commit: Callable[[], None],
        guarded: Sequence[NDArray[Any]],
        arena: Callable[[], ops.Arena] | None,
    ) -> None:
        self._compute = compute
        self._commit = commit
        self._guarded = list(guarded)
        self._arena = arena
        self.tape: ops.Tape | None = None

    def run(self, steps: int) -> int:
        """Do up to `steps` steps, as many as fit in about RUN_SECONDS, at least one. Return how many were done."""
        if self.tape is not None:
            return self.tape.run(steps, RUN_SECONDS)
        if self._arena is not None:
            tape = ops.Tape(self._arena())
            with tape:
                self._once(tape.commit)
            tape.guard(self._guarded)
            self.tape = tape
            self._compute = self._commit = _done  # they hold the model, which holds this step
            self._arena = None
        else:
            self._once(lambda: None)
        return 1

    def _once(self, mark_commit: Callable[[], None]) -> None:
        """Do the step from Python."""
        before, committing = [a.copy() for a in self._guarded], False
        try:
            self._compute()
            mark_commit()
            with uninterrupted():
                committing = True
                self._commit()
        except BaseException:
            if not committing:
                for array, value in zip(self._guarded, before):
                    array[...] = value
            raise


class Steps:
    """The recorded steps of a model by what they depend on. Only one of them runs at a time, so they share their buffers."""

    def __init__(self) -> None:
        self._steps: dict[Any, Step] = {}
        self._arena = ops.Arena()
        self.last: Step | None = None  # that was looked up
        self.known: dict[Any, tuple[Any, Step]] = {}  # what holds as long as no setting changes; see stepping.py
        self.shortcuts: dict[Any, Any] = {}  # to steps, for batches like earlier ones; see batches.py

    def arena(self) -> ops.Arena:
        """Return memory for the buffers of a new step: what the others use, unless an array from there is still held."""
        if not self._arena.unused:
            self._arena = ops.Arena()
        return self._arena

    def get(self, key: Any, new: Callable[[], Step]) -> Step:
        """Return the step recorded under this key, or a new one."""
        step = self._steps.get(key)
        if step is None:
            while len(self._steps) >= KEPT_STEPS:
                del self._steps[next(iter(self._steps))]
                self._forget_ways()
            step = self._steps[key] = new()
        self.last = step
        return step

    def clear(self) -> None:
        """Forget all recorded steps and their buffers."""
        self._steps.clear()
        self._arena = ops.Arena()
        self._forget_ways()
        self.last = None

    def _forget_ways(self) -> None:
        """Forget the quick ways to steps, which keep them alive."""
        self.known.clear()
        self.shortcuts.clear()

    def bytes(self) -> int:
        """Return the memory of all recorded steps' buffers."""
        arenas = {id(step.tape.arena): step.tape.arena for step in self._steps.values() if step.tape is not None}
        return sum(arena.bytes for arena in arenas.values())
