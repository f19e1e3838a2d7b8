"""The progress bar of ``fit``, ``evaluate`` and ``predict``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from typing import Any, TextIO

from fastnn import checks
from fastnn.training.callback import Callback, Logs

REDRAW_SECONDS = 0.1  # between two redraws
_FORMAT = "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{remaining} left{postfix}]"
_FORMAT_DONE = "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
_FORMAT_UNKNOWN = "{desc}{n_fmt} steps [{elapsed}{postfix}]"


def _in_notebook() -> bool:
    """Return whether this is a Jupyter kernel that can show widgets."""
    ipython = sys.modules.get("IPython")  # where it is not imported, this is not a kernel
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell" and importlib.util.find_spec("ipywidgets") is not None


def _bar_class(notebook: bool) -> Any:
    """Return tqdm's class for a notebook or a terminal, without the thread that watches for stalled bars."""
    module = importlib.import_module("tqdm.notebook" if notebook else "tqdm.std")
    return type("Bar", (module.tqdm,), {"monitor_interval": 0})


def _number(value: float) -> str:
    """Return a number with four decimals, with an exponent where these would not show it or be too long; an array's in brackets."""
    if getattr(value, "ndim", 0):
        return f"[{' '.join(map(_number, value))}]"  # type: ignore[call-overload]
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.4e}"


class ProgressBar:
    """Shows epoch, steps, samples per second, time left, loss and metrics.

    On a terminal, or in a notebook with ipywidgets, a bar that is redrawn at most ten times a second; anywhere else (a
    file, a pipe), and with ``verbose=2``, one line at the end of the epoch.

    Args:
        total_steps: steps of the epoch; None if unknown.
        samples_per_step: batch size.
        epoch: index of the epoch, from 0; None, with ``evaluate`` and ``predict``, shows no epoch.
        epochs: how many there will be; None, likewise, if there is no epoch.
        verbose: 0 silent, 1 or "auto" a bar, 2 one line per epoch.
        stream: text file to write to; default ``sys.stdout``.

    Raises:
        ValueError: another ``verbose``.

    >>> import io
    >>> from fastnn.training.progress import ProgressBar
    >>> out = io.StringIO()
    >>> bar = ProgressBar(10, 32, epoch=1, epochs=5, verbose=2, stream=out)
    >>> bar.update(5, {"loss": 0.5})
    >>> bar.update(10, {"loss": 0.25})
    >>> bar.close({"loss": 0.25, "val_loss": 0.5})
    >>> out.getvalue().startswith("Epoch 2/5 - 10/10 steps - ")
    True
    >>> out.getvalue().endswith(" samples/s - loss: 0.2500 - val_loss: 0.5000\\n")
    True
    """

    def __init__(
        self,
        total_steps: int | None,
        samples_per_step: int,
        epoch: int | None,
        epochs: int | None,
        verbose: int | str = 1,
        stream: TextIO | None = None,
    ) -> None:
        if verbose not in (0, 1, 2, "auto"):
            checks.fail("fit", "verbose to be 0 (silent), 1 or 'auto' (bar) or 2 (one line per epoch)", repr(verbose))
        self._total = total_steps
        self._samples_per_step = samples_per_step
        self._title = "" if epoch is None else f"Epoch {epoch + 1}/{epochs}"
        self._stream = sys.stdout if stream is None else stream
        self._steps = 0
        self._logs: Logs = {}
        self._start = self._drawn = time.perf_counter()
        # A program without a console has no sys.stdout.
        self._silent = verbose == 0 or self._stream is None
        self._bar: Any = None if self._silent or verbose == 2 else self._new_bar(stream is None)

    def _new_bar(self, standard: bool) -> Any:
        """Return a tqdm bar; None where only lines are wanted."""
        notebook = standard and _in_notebook()
        terminal = getattr(self._stream, "isatty", lambda: False)()
        if not notebook and not terminal:
            return None
        return _bar_class(notebook)(
            total=self._total,
            desc=self._title and self._title + ": ",
            file=self._stream,
            dynamic_ncols=True,
            bar_format=_FORMAT_UNKNOWN if self._total is None else _FORMAT,
        )

    def update(self, steps_done: int, logs: Logs | None = None) -> None:
        """Tell how many steps of the epoch are done, and what loss and metrics are now; redraws if it is time."""
        self._steps = steps_done
        if logs is not None:
            self._logs = logs
        now = time.perf_counter()
        if self._bar is not None and now - self._drawn >= REDRAW_SECONDS:
            self._drawn = now
            self._draw(now)

    def close(self, logs: Logs | None = None) -> None:
        """Show the end of the epoch, with these logs if given; a second call, or one without any step, adds nothing."""
        if self._silent:
            return
        self._silent = True
        now = time.perf_counter()
        if logs is not None:
            self._logs = logs
        if self._bar is not None:
            if self._total is not None:
                self._bar.bar_format = _FORMAT_DONE
            self._draw(now)
            self._bar.close()
            self._bar = None
            return
        if self._steps == 0:  # an exception came first
            return
        of = "" if self._total is None else f"/{self._total}"
        parts = [self._title, f"{self._steps}{of} steps", f"{now - self._start:.1f}s", *self._values(now)]
        print(" - ".join(part for part in parts if part), file=self._stream, flush=True)

    def _draw(self, now: float) -> None:
        """Redraw the bar."""
        self._bar.n = self._steps
        self._bar.set_postfix_str(", ".join(self._values(now)), refresh=False)
        self._bar.refresh()

    def _values(self, now: float) -> list[str]:
        """Return the speed, and loss and metrics with their names."""
        speed = self._steps * self._samples_per_step / max(now - self._start, 1e-9)
        return [f"{speed:,.0f} samples/s", *(f"{name}: {_number(value)}" for name, value in self._logs.items())]


class ProgbarLogger(Callback):
    """Shows a progress bar where ``fit`` is called with ``verbose=0``; with another ``verbose`` fit shows one by itself.

    >>> from fastnn import callbacks
    >>> bar = callbacks.ProgbarLogger()
    >>> bar.set_params({"verbose": 0, "epochs": 2, "steps": 3})
    >>> bar.on_epoch_begin(0)
    >>> bar.on_steps_end(2, {"loss": 0.5})
    >>> bar.on_epoch_end(0, {"loss": 0.5})  # doctest: +ELLIPSIS
    Epoch 1/2 - 3/3 steps - ...s - ... - loss: 0.5000
    """

    def __init__(self) -> None:
        self._bar: ProgressBar | None = None

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        params = self.params or {}
        if not params.get("verbose"):
            self._bar = ProgressBar(params.get("steps"), 1, epoch, params.get("epochs"))

    def on_steps_end(self, batch: int, logs: Logs | None = None) -> None:
        if self._bar is not None:
            self._bar.update(batch + 1, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self._bar is not None:
            self._bar.close(logs)
            self._bar = None
