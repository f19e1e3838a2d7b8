"""A step that is recorded when it is first made and replayed without Python from then on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

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


class Step:
    """One kind of step of a model, for one batch size.

    Args:
        body: does the step through `fastnn.ops`.
        record: whether body does nothing else, so that its kernel calls may be replayed.
    """

    def __init__(self, body: Callable[[], None], record: bool) -> None:
        self._body = body
        self._record = record
        self.tape: ops.Tape | None = None

    def run(self, steps: int) -> int:
        """Do up to `steps` steps, as many as fit in about RUN_SECONDS, at least one. Return how many were done."""
        if self.tape is not None:
            return self.tape.run(steps, RUN_SECONDS)
        with uninterrupted():
            if self._record:
                tape = ops.Tape()
                with tape:
                    self._body()
                self.tape = tape
            else:
                self._body()
        return 1


class Steps:
    """The recorded steps of a model by what they depend on."""

    def __init__(self) -> None:
        self._steps: dict[Any, Step] = {}

    def get(self, key: Any, body: Callable[[], None], record: bool) -> Step:
        """Return the step recorded under this key, or a new one."""
        step = self._steps.get(key)
        if step is None:
            while len(self._steps) >= KEPT_STEPS:
                del self._steps[next(iter(self._steps))]
            step = self._steps[key] = Step(body, record)
        return step

    def clear(self) -> None:
        """Forget all recorded steps and their buffers."""
        self._steps.clear()

    def bytes(self) -> int:
        """Return the memory of all recorded steps' buffers."""
        return sum(step.tape.bytes for step in self._steps.values() if step.tape is not None)
