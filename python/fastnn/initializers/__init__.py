"""Initial values of parameters, with Keras's names: ``GlorotUniform()`` or, in a layer, ``"glorot_uniform"``.

An initializer is called with a shape and returns a new float32 array. With a seed it is a function of seed and shape:
every call returns the same values. Without one, each call takes the next seed of the package
(``fastnn.config.next_seed()``), so two layers that share an initializer still start differently. Numbers come from
Philox, drawn and scaled in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks
from fastnn.checks import Float32
from fastnn.custom import get_custom_objects, name_of
from fastnn.initializers.base import Initializer, Shape, compute_fans
from fastnn.initializers.constants import Constant, Identity, Ones, Zeros
from fastnn.initializers.fourier import STFT
from fastnn.initializers.random import (
    GlorotNormal,
    GlorotUniform,
    He,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
    Xavier,
)
from fastnn.names import snake_case

# Keras's other names of the same classes, and the textbooks' of theirs.
constant, zeros, ones, identity, IdentityInitializer = Constant, Zeros, Ones, Identity, Identity
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
glorot_normal, glorot_uniform, he_normal, he_uniform = GlorotNormal, GlorotUniform, HeNormal, HeUniform
lecun_normal, lecun_uniform, variance_scaling = LecunNormal, LecunUniform, VarianceScaling
orthogonal, OrthogonalInitializer = Orthogonal, Orthogonal
stft, STFTInitializer = STFT, STFT
xavier_book, he_book = Xavier, He

__all__ = [
    "STFT",
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "He",
    "HeNormal",
    "HeUniform",
    "Identity",
    "IdentityInitializer",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "OrthogonalInitializer",
    "RandomNormal",
    "RandomUniform",
    "STFTInitializer",
    "TruncatedNormal",
    "VarianceScaling",
    "Xavier",
    "Zeros",
    "compute_fans",
    "constant",
    "deserialize",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_book",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "serialize",
    "stft",
    "truncated_normal",
    "variance_scaling",
    "xavier_book",
    "zeros",
]

_CLASSES: tuple[type[Initializer], ...] = (
    Constant, Zeros, Ones, Identity, RandomUniform, RandomNormal, TruncatedNormal, VarianceScaling, Orthogonal,
    GlorotUniform, GlorotNormal, HeUniform, HeNormal, LecunUniform, LecunNormal,
    Xavier, He, STFT,
)  # fmt: skip
_NAMES: dict[str, type[Initializer]] = {
    **{cls.__name__: cls for cls in _CLASSES},
    **{snake_case(cls.__name__): cls for cls in _CLASSES},
    **{"zero": Zeros, "one": Ones, "uniform": RandomUniform, "normal": RandomNormal},
    **{"xavier_book": Xavier, "he_book": He},
}


def serialize(initializer: Initializer) -> dict[str, Any]:
    """Return ``{"class_name": ..., "config": ...}``, from which ``deserialize`` makes an equal initializer.

    >>> from fastnn import initializers
    >>> initializers.serialize(initializers.Constant(2))
    {'class_name': 'Constant', 'config': {'value': 2.0}}
    """
    if not isinstance(initializer, Initializer):
        fix = "a function cannot be written to a file: write a subclass of Initializer"
        checks.fail_type("initializers.serialize", "an Initializer", checks.describe(initializer), fix)
    return {"class_name": name_of(type(initializer)), "config": initializer.get_config()}


def deserialize(
    config: str | Mapping[str, Any], custom_objects: Mapping[str, type[Initializer]] | None = None
) -> Initializer:
    """Return a new initializer from its name or from what ``serialize`` returned.

    Args:
        config: a name such as "zeros" or "Zeros", or a dict with "class_name" and, if need be, "config".
        custom_objects: further classes by name.

    Raises:
        TypeError, ValueError: not such a name or dict; says which names are near.

    >>> from fastnn import initializers
    >>> initializers.deserialize({"class_name": "Constant", "config": {"value": 2}}).value
    2.0
    """
    who = "initializers.deserialize"
    if isinstance(config, str):
        config = {"class_name": config}
    if not isinstance(config, Mapping) or not isinstance(config.get("class_name"), str):
        checks.fail_type(who, "a name or a dict with 'class_name'", checks.describe(config))
    arguments = config.get("config") or {}
    if not isinstance(arguments, Mapping):
        checks.fail_type(who, "'config' to be a dict", checks.describe(arguments))
    names = {**_NAMES, **get_custom_objects(), **(custom_objects or {})}
    name = config["class_name"]
    if name not in names:
        checks.fail(who, "the name of an initializer", repr(name), checks.nearest(name, names))
    made: Initializer = names[name].from_config(arguments)
    return made


def get(identifier: Any) -> Callable[..., Float32] | None:
    """Return the initializer that an argument of a layer means.

    Args:
        identifier: a name ("he_normal", "HeNormal"), a dict as from ``serialize``, an Initializer or a class of them,
            any function of (shape, dtype=None), an array with the values themselves, a float, which is the deviation of
            normal values with mean 0 (textbooks write std = 0.01), or None, which is returned.

    Raises:
        TypeError, ValueError: none of these; says which names are near.

    >>> from fastnn import initializers
    >>> initializers.get("zeros")((2,)).tolist()
    [0.0, 0.0]
    """
    if identifier is None:
        return None
    if isinstance(identifier, (str, Mapping)):
        return deserialize(identifier)
    if isinstance(identifier, (float, np.floating)):
        return RandomNormal(stddev=float(identifier))
    if isinstance(identifier, np.ndarray):
        return _given(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Initializer):
        return identifier()
    if not callable(identifier):
        fix = "for example 'glorot_uniform', Constant(0.1) or a function of (shape, dtype=None)"
        checks.fail_type("initializers.get", "an initializer", checks.describe(identifier), fix)
    result: Callable[..., Float32] = identifier
    return result


def _given(values: NDArray[Any]) -> Callable[..., Float32]:
    """Return an initializer that returns copies of the given values, for their shape only."""
    array = checks.float32("initializers.get", "the array", values).copy()

    def initialize(shape: Shape, dtype: Any = None) -> Float32:
        if tuple(shape) != array.shape:
            checks.fail("initializers.get", f"shape {array.shape}, that of the given array", tuple(shape))
        return array.copy()

    return initialize


if not TYPE_CHECKING:  # a type checker would take any name for a known one

    def __getattr__(name: str) -> type[Initializer]:
        """Return a class by the other name that Keras has for it, such as he_normal."""
        if name in _NAMES:
            return _NAMES[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
