"""Which objects may take part in a recorded step.

A tape replays kernels only; work that an object does in Python or NumPy would be left out. So a class declares
``recordable = True`` for itself, and a subclass that overrides one of the methods that run inside a step does not inherit it.
"""

from __future__ import annotations

from fastnn.custom import is_own

STEP_METHODS = frozenset(
    {
        "__call__",
        "add_to",
        "apply",
        "backward",
        "before_activation",
        "effective",
        "evaluate",
        "evaluate_fused",
        "evaluate_shares",
        "forward",
        "gradient",
        "gradients",
        "project",
        "step",
        "update",
        "update_state",
    }
)


def is_recordable(obj: object) -> bool:
    """Return whether the class that defines obj's step methods declared itself recordable."""
    if not STEP_METHODS.isdisjoint(vars(obj)):
        return False
    for cls in type(obj).__mro__:
        if "recordable" in vars(cls):
            return bool(vars(cls)["recordable"])
        if not STEP_METHODS.isdisjoint(vars(cls)):
            return False
    return False


def keeps_step(obj: object, unless: str = "") -> bool:
    """Return whether no class of the user's has another way of doing what an object does in a step.

    Recordable or not: what such a class does around its base's methods is not seen where a step leaves a part of them to others.

    unless: the name of a method; a class that has it as well knows what is left.
    """
    if not STEP_METHODS.isdisjoint(vars(obj)):
        return False
    own = (vars(cls) for cls in type(obj).__mro__ if is_own(cls))
    return all(STEP_METHODS.isdisjoint(methods) or unless in methods for methods in own)
