"""lr_finder: what losses learning rates from very small to too large give, in one short run that leaves the model as it was."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks
from fastnn.figures import axes_for
from fastnn.models.base import BaseModel
from fastnn.optimizers.schedules import ExponentialDecay

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST_STEPS = 10  # before a rising loss is taken for divergence


@dataclass(frozen=True)
class LearningRateCurve:
    """What `lr_finder` found.

    Attributes:
        rates: the learning rates that were tried, rising, shape (n,).
        losses: of the batch of each step, before the step.
        smoothed: a running mean of them.
        suggestion: the learning rate where the smoothed loss falls fastest, below that of its minimum.
        diverged: whether the run ended because the loss grew too much.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    suggestion: float
    diverged: bool

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the losses over the learning rates, and the suggestion; needs matplotlib.

        Args:
            ax: matplotlib Axes to draw into; None makes a new figure.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        ax = axes_for("lr_finder", ax)
        ax.plot(self.rates, self.losses, alpha=0.3, label="loss of the batch")
        ax.plot(self.rates, self.smoothed, label="smoothed")
        ax.axvline(self.suggestion, linestyle="--", color="gray", label=f"suggestion {self.suggestion:.2g}")
        ax.set(xscale="log", xlabel="learning rate", ylabel="loss", title="Learning rates")
        ax.legend()
        return ax


def lr_finder(
    model: BaseModel,
    x: Any,
    y: Any,
    start: float = 1e-6,
    end: float = 10.0,
    steps: int = 100,
    batch_size: int = 32,
    sample_weight: Any = None,
    smoothing: float = 0.9,
    stop_factor: float = 4.0,
    seed: int = 0,
) -> LearningRateCurve:
    """Train for some steps with a learning rate that grows from `start` to `end`, and suggest one; the model stays as it was.

    Everything a step changes is put back bit by bit afterwards, whatever happens: weights, moving statistics, the optimizer's state
    and learning rate or schedule, random counters, metrics.

    Args:
        model: compiled.
        x, y, sample_weight: as `fit` takes them, whole arrays, lists or dicts of arrays.
        start: first learning rate, > 0.
        end: last learning rate, > start.
        steps: >= 2; the samples are gone through several times if need be.
        batch_size: samples per step, >= 1.
        smoothing: share of the earlier losses in the running mean, in [0, 1).
        stop_factor: end when the smoothed loss is above this many times its least value, > 1, or not finite.
        seed: of the order of the samples.

    Returns:
        LearningRateCurve: with `.suggestion` and `.plot()`.

    Raises:
        ValueError: for arguments out of range, a model that is not compiled, arrays that do not fit.

    Reference:
        Smith (2017), Cyclical learning rates for training neural networks, section 3.3.

    Example:
        >>> import numpy as np
        >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
        >>> model = fastnn.Sequential([fastnn.Input((1,)), fastnn.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> curve = fastnn.tune.lr_finder(model, x, 3 * x, steps=50)
        >>> bool(curve.suggestion < curve.rates[np.argmin(curve.smoothed)]), int(model.optimizer.iterations[0])
        (True, 0)
    """
    start = checks.number("lr_finder", "start", start, above=0.0)
    end = checks.number("lr_finder", "end", end, above=start)
    steps = checks.integer("lr_finder", "steps", steps, 2)
    batch_size = checks.integer("lr_finder", "batch_size", batch_size, 1)
    smoothing = checks.number("lr_finder", "smoothing", smoothing, 0.0, below=1.0)
    stop_factor = checks.number("lr_finder", "stop_factor", stop_factor, above=1.0)
    if model.optimizer is None:
        checks.fail("lr_finder", "a compiled model", "one without an optimizer", "call model.compile(...) first")
    count = _length(x)
    if count == 0:
        checks.fail("lr_finder", "at least one sample", "none")
    schedule = ExponentialDecay(start, steps - 1, end / start)
    rng = np.random.default_rng(checks.integer("lr_finder", "seed", seed, 0))
    order = np.concatenate([rng.permutation(count) for _ in range(-(-steps * batch_size // count))])
    if not model.built:
        model.test_on_batch(_rows(x, order[:1]), _rows(y, order[:1]))
    losses: list[float] = []
    with model.exclusively("lr_finder"), model.unchanged():
        model.optimizer.build(model.store)
        for step in range(steps):
            rows = order[step * batch_size : (step + 1) * batch_size]
            with model.optimizer.rate_of(schedule(step)):
                result = model.train_on_batch(_rows(x, rows), _rows(y, rows), _rows(sample_weight, rows))
            losses.append(float(result[0] if isinstance(result, list) else result))
            if not math.isfinite(losses[-1]) or _diverges(_smoothed(losses, smoothing), stop_factor):
                break
    return _curve(schedule.values(0, len(losses)), losses, smoothing, len(losses) < steps)


def _curve(rates: NDArray[np.float64], losses: list[float], smoothing: float, diverged: bool) -> LearningRateCurve:
    """Return what was found, without the step that gave no number."""
    known = len(losses) if math.isfinite(losses[-1]) else len(losses) - 1
    if known < 2:
        checks.fail("lr_finder", "finite losses with the first learning rates", losses, "start smaller")
    rates, values = rates[:known], np.array(losses[:known])
    smoothed = _smoothed(losses[:known], smoothing)
    best = _steepest(np.log(rates), values, before=max(int(np.argmin(smoothed)), 1))
    return LearningRateCurve(rates, values, smoothed, float(rates[best]), diverged)


def _steepest(x: NDArray[np.float64], y: NDArray[np.float64], before: int) -> int:
    """Return the place, below `before`, where a straight line through a fifth of the points around it falls fastest."""
    half = max(len(x) // 10, 1)
    places = range(min(half, before - 1), before)
    slopes = [np.polyfit(x[max(i - half, 0) : i + half + 1], y[max(i - half, 0) : i + half + 1], 1)[0] for i in places]
    return places[int(np.argmin(slopes))]


def _smoothed(losses: list[float], share: float) -> NDArray[np.float64]:
    """Return the running mean, corrected for its start at 0."""
    mean, result = 0.0, []
    for i, loss in enumerate(losses):
        mean = share * mean + (1 - share) * loss
        result.append(mean / (1 - share ** (i + 1)))
    return np.array(result)


def _diverges(smoothed: NDArray[np.float64], factor: float) -> bool:
    return len(smoothed) >= FEWEST_STEPS and bool(smoothed[-1] > factor * smoothed.min())


def _several(data: Any) -> bool:
    """Return whether data is a list of arrays, one for each input or output."""
    return isinstance(data, (list, tuple)) and len(data) > 0 and isinstance(data[0], np.ndarray) and data[0].ndim > 0


def _length(x: Any) -> int:
    """Return the number of samples."""
    if isinstance(x, Mapping):
        return len(next(iter(x.values()), ()))
    return len(x[0] if _several(x) else x)


def _rows(data: Any, rows: NDArray[np.int64]) -> Any:
    """Return these samples of an array, or of every array of a list or dict."""
    if data is None:
        return None
    if isinstance(data, Mapping):
        return {name: _rows(part, rows) for name, part in data.items()}
    return [_rows(part, rows) for part in data] if _several(data) else np.asarray(data)[rows]
