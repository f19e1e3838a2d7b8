"""The driver's end of a worker: starts it, asks it, and survives it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

WORKER = (sys.executable, "-m", "fastnn.bench.peers.worker")
MODULE_PATH = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


class WorkerError(Exception):
    """A worker answered with an error, ended, or did not answer in time."""


class Process:
    """A worker that is pinned to processors and waits for requests.

    Args:
        command: of the program.
        cores: processors that it and its threads may use.
    """

    def __init__(self, command: Sequence[str], cores: Sequence[int]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed at the end)
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)  # inherited: set before any library of the worker counts processors
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env={**os.environ, **environment(len(cores))},
            )
        finally:
            os.sched_setaffinity(0, before)
        self._received = b""

    def ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Send a request and return its answer.

        Raises:
            WorkerError: if there is none within so many seconds, or an error.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._last_words()) from None
        line = self._line(time.monotonic() + timeout, timeout)
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            raise WorkerError(f"answered {line[:80]!r}, which is not JSON") from None
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def _line(self, deadline: float, timeout: float) -> bytes:
        """Return the next line that the worker writes."""
        assert self._process.stdout is not None
        while b"\n" not in self._received:
            ready = select.select([self._process.stdout], [], [], max(deadline - time.monotonic(), 0))[0]
            if not ready:
                raise WorkerError(f"did not answer within {timeout:.0f} s")
            part = os.read(self._process.stdout.fileno(), 1 << 16)
            if not part:
                raise WorkerError(self._last_words())
            self._received += part
        line, self._received = self._received.split(b"\n", 1)
        return line

    def _last_words(self) -> str:
        """Return how a worker ended, with the last line that it wrote to its standard error."""
        self.close()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        code = self._process.returncode
        how = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
        return f"{how}: {lines[-1][:200]}" if lines else how

    def close(self) -> None:
        """End the worker: first politely, by ending its input."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()
        self._errors.close()


def environment(threads: int) -> dict[str, str]:
    """Return what tells every library how many threads to use; nothing about how they wait, which stays each library's choice."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    result = {name: str(threads) for name in names}
    result |= {"JAX_PLATFORMS": "cpu", "TORCHINDUCTOR_COMPILE_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    if threads == 1:
        flags = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
        result["XLA_FLAGS"] = flags.strip()
    paths = [MODULE_PATH, os.environ.get("PYTHONPATH", "")]
    return {**result, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
