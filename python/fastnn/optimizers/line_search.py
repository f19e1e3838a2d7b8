"""A line search that ends where the strong Wolfe conditions hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple


class Point(NamedTuple):
    """A place on the line: how far it is, the function there and its slope along the line."""

    step: float
    value: float
    slope: float

    @property
    def finite(self) -> bool:
        """Whether there is a number."""
        return math.isfinite(self.value) and math.isfinite(self.slope)


def line_search(
    evaluate: Callable[[float], Point],
    start: Point,
    first_step: float,
    *,
    armijo: float,
    curvature: float,
    noise: float,
    most: int,
) -> Point | None:
    """Return a point where the function has fallen enough and its slope is flat enough, or None if none was found.

    value <= start.value + armijo step start.slope, |slope| <= curvature |start.slope|

    Args:
        evaluate: the function at a step > 0.
        start: the point at step 0, with slope < 0.
        first_step: to be tried first.
        armijo, curvature: 0 < armijo < curvature < 1.
        noise: how far a value may be off: below that the slopes decide.
        most: evaluations.

    Reference:
        Nocedal & Wright (2006), Numerical optimization, algorithms 3.5 and 3.6.
    """

    def fell(p: Point) -> bool:
        return p.finite and p.value <= start.value + armijo * p.step * start.slope + noise

    def flat(p: Point) -> bool:
        return abs(p.slope) <= -curvature * start.slope

    low, high, step = start, None, first_step
    best: Point | None = None
    for _ in range(most):
        p = evaluate(step)
        if fell(p) and (best is None or p.value < best.value):
            best = p
        if fell(p) and p.value <= low.value + noise:
            if flat(p):
                return p
            if high is None and p.slope < 0:  # still downhill: further
                low, step = p, step * 4
                continue
            if high is None or p.slope * (high.step - low.step) >= 0:
                high = low
            low = p
        else:
            high = p
        step = _between(low, high)
        if step == low.step or step == high.step:
            break
    return best


def _between(low: Point, high: Point) -> float:
    """Return the minimum of the cubic through two points, kept away from both; their middle where there is none."""
    width = high.step - low.step
    step = low.step + width / 2
    if high.finite:
        d1 = low.slope + high.slope - 3 * (low.value - high.value) / (low.step - high.step)
        square = d1 * d1 - low.slope * high.slope
        if square >= 0:
            d2 = math.copysign(math.sqrt(square), width)
            divisor = high.slope - low.slope + 2 * d2
            if divisor != 0:
                step = high.step - width * (high.slope + d2 - d1) / divisor
    else:
        step = low.step + width / 10
    nearest, farthest = sorted((low.step + 0.1 * width, high.step - 0.1 * width))
    return min(max(step, nearest), farthest)
