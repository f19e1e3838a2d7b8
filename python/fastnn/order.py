"""The order in which the calls of a plan are made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastnn.layers.convolution import Conv1D, Conv2D

if TYPE_CHECKING:
    from fastnn.plan import Call

CONVOLUTIONS = (Conv1D, Conv2D)


def side_by_side(calls: Sequence[Call]) -> list[Call]:
    """Return the calls, in an order in which they can be made: convolutions of one value directly behind each other.

    So the second one finds the value in a cache, as the one in a shortcut with strides does, and backward their gradients meet
    there. A layer that is called several times stays where it is, as its calls are told apart by their order, and so does one of
    the user's, which may do anything besides.

    Args:
        calls: in another such order, which is kept otherwise.
    """
    times = Counter(id(call.layer) for call in calls)
    together: list[list[Call]] = []
    reading: dict[int, list[Call]] = {}  # by value: its convolutions
    for call in calls:
        moves = type(call.layer) in CONVOLUTIONS and times[id(call.layer)] == 1
        if moves and call.inputs[0] in reading:
            reading[call.inputs[0]].append(call)
            continue
        together.append([call])
        if moves:
            reading[call.inputs[0]] = together[-1]
    return [call for some in together for call in some]
